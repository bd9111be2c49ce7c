"""What is measured of models of tables that post-hoc methods made."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from unlearn.stages.config.params import AggregationRule
from unlearn.stages.config.train import TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.base import Targets
from unlearn.stages.estimators.registry import estimator_of, find_spec
from unlearn.stages.estimators.spec import FeatureTraining
from unlearn.stages.final_model.distance import disagreement, divergence
from unlearn.stages.final_model.ensemble import Ensemble
from unlearn.stages.final_model.members import Member
from unlearn.stages.rows.holdout import fewest
from unlearn.stages.rows.shard_file import target_numbers, targets, training_targets
from unlearn.stages.training.method_record import RETRAIN, WHOLE
from unlearn.stages.training.shard_model import ShardModel, read_shard_model
from unlearn.stages.verify.exactness.methods import ORIGINAL
from unlearn.stages.verify.measures.base import Modality, Setting
from unlearn.stages.verify.measures.number_utility import root_mean_squared_error
from unlearn.stages.verify.measures.relearning import Continues, class_loss, relearning_steps
from unlearn.stages.verify.measures.tabular_model import TabularModel, open_final_model
from unlearn.stages.verify.measures.utility import accuracy, log_loss
from unlearn.stages.verify.membership.arrays import Floats, Ints

#: At most so many rows are learned again, and at most so many retained rows are asked about.
_MOST_RELEARNED, _MOST_RETAINED = 1_000, 20_000


class TabularMeasures:
    """What measures of classifiers and of regressions share; see `Measures`.

    The models are small, and all of them are kept.
    """

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
        predictor = model.predictor(
            context.code, context.params.train.trusted_types, context.project.root
        )
        member = Member(WHOLE, int(model.description["rows"]), predictor, model.has_probabilities)
        # Of one model, every mean is its answer.
        rule: AggregationRule = "mean" if context.layout.outputs.is_number else "mean_probability"
        ensemble = Ensemble(context.params.dataset, rule, (member,), model.has_probabilities)
        self._models[name], self._ensembles[name] = model, ensemble
        return TabularModel(ensemble, context.layout)

    def answers(self, name: str, rows: pa.Table) -> Floats:
        """Return what a model that was opened answers; see `Ensemble.answers`."""
        return self._ensembles[name].answers(rows)

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
        """Return quality, distances from the retrained model and relearning; see `Measures`."""
        rows, least = self._setting.rows, self._setting.min_rows
        samples = {
            "forget": rows.forget,
            "retain": fewest(rows.retain, _MOST_RETAINED),
            "holdout": self._setting.tested,
        }
        # On few rows nothing: they are a person.
        numbers: dict[str, Any] = {
            f"{side}_{self.quality_name}": (
                self.quality(name, table) if table.num_rows >= least else None
            )
            for side, table in samples.items()
        }
        if name != RETRAIN and RETRAIN in self._ensembles:
            if self._setting.tested.num_rows >= least:
                numbers |= self.distances(name, self._setting.tested)
            if rows.forget.num_rows >= least:
                numbers |= self.distances_on_forgotten(name, rows.forget)
        numbers["relearning_ratio"] = self._relearning(name)
        return numbers

    #: What `quality` is called in the report.
    quality_name: str

    def quality(self, name: str, rows: pa.Table) -> float | None:
        """Return how good a model is on rows."""
        raise NotImplementedError

    def distances(self, name: str, unseen: pa.Table) -> dict[str, float | None]:
        """Return how far a model is from the retrained one on unseen rows, by names of fields."""
        raise NotImplementedError

    def distances_on_forgotten(self, name: str, forgotten: pa.Table) -> dict[str, float | None]:
        """Return the same on the forgotten rows."""
        raise NotImplementedError

    def loss_of(self, model: Any, inputs: Any, truth: Targets) -> float:
        """Return the mean loss of a model on its rows; see `relearning.LossOf`."""
        raise NotImplementedError

    def loss(self, name: str, rows: pa.Table) -> float:
        """Return the mean loss of a model that was opened."""
        raise NotImplementedError

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
        train = TrainParams.model_validate(description["train"])
        training = find_spec(train.model).training
        if not isinstance(training, FeatureTraining):
            return None
        preprocessor = training.stored(description["preprocessing"], train)
        code = train.code_path
        estimator = estimator_of(
            train,
            preprocessor,
            context.layout.outputs,
            sliced=True,
            code=None if code is None else context.project.root / code,
            root=context.project.root,
        )
        if not isinstance(estimator, Continues):
            return None
        return relearning_steps(
            estimator,
            model.weights,
            preprocessor.transform(rows, estimator.dtype),
            training_targets(rows, context.layout),
            self.loss(ORIGINAL, rows),
            context.key.seed(context.params.seed, "relearn"),
            self.loss_of,
        )


class ClassMeasures(TabularMeasures):
    """Measures classifiers; see `Measures`."""

    quality_name = "accuracy"

    def quality(self, name: str, rows: pa.Table) -> float:
        """Return the accuracy."""
        return accuracy(self.answers(name, rows), self._truth(rows))

    def distances(self, name: str, unseen: pa.Table) -> dict[str, float | None]:
        """Return disagreement and divergence from the retrained model on unseen rows."""
        answers, reference = (self.answers(each, unseen) for each in (name, RETRAIN))
        found: dict[str, float | None] = {
            "disagreement_with_retrain": disagreement(answers, reference)
        }
        probable = self._ensembles[name].has_probabilities
        if probable and np.isfinite([answers, reference]).all():
            found["kl_from_retrain"] = divergence(answers, reference)
        return found

    def distances_on_forgotten(self, name: str, forgotten: pa.Table) -> dict[str, float | None]:
        """Return the disagreement on the forgotten rows."""
        answers, reference = (self.answers(each, forgotten) for each in (name, RETRAIN))
        return {"disagreement_on_forgotten": disagreement(answers, reference)}

    def loss_of(self, model: Any, inputs: Any, truth: Targets) -> float:
        """Return the mean cross-entropy."""
        return class_loss(model, inputs, truth)

    def loss(self, name: str, rows: pa.Table) -> float:
        """Return the mean cross-entropy of a model that was opened."""
        return log_loss(self.answers(name, rows), self._truth(rows))

    def _truth(self, rows: pa.Table) -> Ints:
        return targets(rows, self._setting.context.layout)


class NumberMeasures(TabularMeasures):
    """Measures regressions; see `Measures`. Errors and distances are in the target's units."""

    quality_name = "error"

    def quality(self, name: str, rows: pa.Table) -> float | None:
        """Return the root mean squared error; None if it is no number."""
        return _finite(self.loss(name, rows))

    def distances(self, name: str, unseen: pa.Table) -> dict[str, float | None]:
        """Return the distance from the retrained model's predictions on unseen rows."""
        return {"distance_from_retrain": self._distance(name, unseen)}

    def distances_on_forgotten(self, name: str, forgotten: pa.Table) -> dict[str, float | None]:
        """Return the same on the forgotten rows."""
        return {"distance_on_forgotten": self._distance(name, forgotten)}

    def _distance(self, name: str, rows: pa.Table) -> float | None:
        answers, reference = (self.answers(each, rows) for each in (name, RETRAIN))
        return _finite(root_mean_squared_error(answers, reference))

    def loss_of(self, model: Any, inputs: Any, truth: Targets) -> float:
        """Return the root mean squared error."""
        return root_mean_squared_error(model.values(inputs), truth)

    def loss(self, name: str, rows: pa.Table) -> float:
        """Return the root mean squared error of a model that was opened."""
        return root_mean_squared_error(self.answers(name, rows), target_numbers(rows))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def measures_of(setting: Setting) -> TabularMeasures:
    """Return what measures the models of a project, by its task."""
    is_number = setting.context.layout.outputs.is_number
    return NumberMeasures(setting) if is_number else ClassMeasures(setting)


#: Tables of features and a target.
TABULAR = Modality(
    open_final_model=open_final_model,
    measures=measures_of,
    covers=lambda _params: None,
    reports_original=False,
)
