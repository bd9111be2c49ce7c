"""What is measured of classifiers that post-hoc methods made."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from unlearn.stages.config.train import TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.preprocessing import Preprocessor
from unlearn.stages.estimators.registry import make_estimator
from unlearn.stages.final_model.distance import disagreement, divergence
from unlearn.stages.final_model.ensemble import Ensemble
from unlearn.stages.final_model.members import Member
from unlearn.stages.rows.holdout import fewest
from unlearn.stages.rows.shard_file import targets
from unlearn.stages.training.method_record import RETRAIN, WHOLE
from unlearn.stages.training.shard_model import ShardModel, read_shard_model
from unlearn.stages.verify.exactness.methods import ORIGINAL
from unlearn.stages.verify.measures.base import Modality, Setting
from unlearn.stages.verify.measures.relearning import Continues, relearning_steps
from unlearn.stages.verify.measures.tabular_model import TabularModel, open_final_model
from unlearn.stages.verify.measures.utility import accuracy, log_loss

#: At most so many rows are learned again, and at most so many retained rows are asked about.
_MOST_RELEARNED, _MOST_RETAINED = 1_000, 20_000


class ClassMeasures:
    """Measures classifiers; see `Measures`. They are small, and all of them are kept."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._models: dict[str, ShardModel] = {}
        self._ensembles: dict[str, Ensemble] = {}
        self._steps: dict[str, int | None] = {}

    def open(self, folder: Path, name: str) -> TabularModel | None:
        """Open the model in a folder; see `Measures`."""
        context = self._setting.context
        model = read_shard_model(folder, name)
        if model.kind == "empty":
            return None
        predictor = model.predictor(context.code, context.params.train.trusted_types)
        member = Member(WHOLE, int(model.description["rows"]), predictor, model.has_probabilities)
        ensemble = Ensemble(
            context.params.dataset, "mean_probability", (member,), model.has_probabilities
        )
        self._models[name], self._ensembles[name] = model, ensemble
        return TabularModel(ensemble, context.layout)

    def look(self, name: str, model: TabularModel) -> None:
        """Do nothing: the models are kept; see `Measures`."""

    def collapse(self, name: str) -> str | None:
        """Return None: the tables say what accuracy is left; see `Measures`."""
        del name
        return None

    def doubt(self) -> str | None:
        """Return None: there is no gate."""
        return None

    def numbers(self, name: str) -> dict[str, Any]:
        """Return accuracies, distances from the retrained model and relearning; see `Measures`."""
        numbers = self._accuracies(name)
        if name != RETRAIN and RETRAIN in self._ensembles:
            numbers |= self._distances(name)
        numbers["relearning_ratio"] = self._relearning(name)
        return numbers

    def _accuracies(self, name: str) -> dict[str, float | None]:
        """Return the accuracies; on few forgotten rows none, for few rows are a person."""
        rows = self._setting.rows
        samples = {
            "forget_accuracy": rows.forget,
            "retain_accuracy": fewest(rows.retain, _MOST_RETAINED),
            "holdout_accuracy": self._setting.tested,
        }
        return {
            key: self._accuracy(name, table) if table.num_rows >= self._setting.min_rows else None
            for key, table in samples.items()
        }

    def _accuracy(self, name: str, rows: pa.Table) -> float:
        truth = targets(rows, self._setting.context.layout)
        return accuracy(self._ensembles[name].probabilities(rows), truth)

    def _distances(self, name: str) -> dict[str, float | None]:
        tested, forget = self._setting.tested, self._setting.rows.forget
        model, retrained = self._ensembles[name], self._ensembles[RETRAIN]
        found: dict[str, float | None] = {}
        if tested.num_rows >= self._setting.min_rows:
            answers, reference = (each.probabilities(tested) for each in (model, retrained))
            found["disagreement_with_retrain"] = disagreement(answers, reference)
            if model.has_probabilities and np.isfinite([answers, reference]).all():
                found["kl_from_retrain"] = divergence(answers, reference)
        if forget.num_rows >= self._setting.min_rows:
            answers, reference = (each.probabilities(forget) for each in (model, retrained))
            found["disagreement_on_forgotten"] = disagreement(answers, reference)
        return found

    def _relearning(self, name: str) -> float | None:
        """Return the ratio of steps to learn the rows again; None where there is none to give."""
        if ORIGINAL not in self._ensembles or name == RETRAIN:
            return None
        if self._setting.rows.forget.num_rows < self._setting.min_rows:
            return None
        own, reference = (self._steps_of(each) for each in (name, RETRAIN))
        return None if own is None or not reference else own / reference

    def _steps_of(self, name: str) -> int | None:
        if name not in self._steps:
            try:
                self._steps[name] = self._relearn(name)
            except InputError:
                # A model that someone edited may not be one to train on with: a finding elsewhere.
                self._steps[name] = None
        return self._steps[name]

    def _relearn(self, name: str) -> int | None:
        model = self._models.get(name)
        if model is None or model.weights is None:
            return None
        context = self._setting.context
        rows = fewest(self._setting.rows.forget, _MOST_RELEARNED)
        description = model.description
        preprocessor = Preprocessor.from_json(description["preprocessing"])
        train = TrainParams.model_validate(description["train"])
        code = train.code_path
        estimator = make_estimator(
            train,
            preprocessor.width,
            context.layout.outputs,
            sliced=True,
            code=None if code is None else context.project.root / code,
        )
        if not isinstance(estimator, Continues):
            return None
        truth = targets(rows, context.layout)
        return relearning_steps(
            estimator,
            model.weights,
            preprocessor.transform(rows, estimator.dtype),
            truth,
            log_loss(self._ensembles[ORIGINAL].probabilities(rows), truth),
            context.key.seed(context.params.seed, "relearn"),
        )


#: Tables of features and a class.
TABULAR = Modality(
    open_final_model=open_final_model,
    measures=ClassMeasures,
    covers=lambda _params: None,
    reports_original=False,
)
