"""A final model of a table, as `verify` asks it."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from unlearn.stages.config.params import AggregationRule
from unlearn.stages.context import Context
from unlearn.stages.estimators.registry import find_spec
from unlearn.stages.final_model.ensemble import Ensemble, load_ensemble
from unlearn.stages.final_model.members import Member, StoredMember
from unlearn.stages.rows.shard_file import Layout, row_weights, target_numbers, targets
from unlearn.stages.verify.measures.number_utility import measure_numbers
from unlearn.stages.verify.measures.utility import measure
from unlearn.stages.verify.membership.answers import Answers, Question
from unlearn.stages.verify.membership.arrays import Floats
from unlearn.stages.verify.membership.tabular_answers import ask_rows
from unlearn.stages.verify_report.quality import KnowledgeOfRows, Utility


@dataclass(frozen=True)
class TabularModel:
    """Classifiers or regressors that answer as one; see `MeasuredModel`.

    Parameters
    ----------
    ensemble
        The models.
    layout
        The project's columns and target.
    quantile
        The quantile of the target that regressors predict; None where they predict another centre.
    """

    ensemble: Ensemble
    layout: Layout
    quantile: float | None = None

    @property
    def rule(self) -> AggregationRule:
        """How its members answer together."""
        return self.ensemble.rule

    @property
    def members(self) -> tuple[Member | StoredMember, ...]:
        """The models that have rows."""
        return self.ensemble.members

    @property
    def has_probabilities(self) -> bool:
        """Whether its probabilities are more than votes."""
        return self.ensemble.has_probabilities

    def answers(self, questions: Sequence[Question]) -> list[Answers]:
        """Return the answers as attacks take them; see `FinalModel`."""
        return ask_rows(self.ensemble, questions, self.layout)

    def utility(self, rows: pa.Table, min_rows: int) -> Utility:
        """Return accuracy and calibration, or the errors of numbers; see `MeasuredModel`."""
        if not self.members or rows.num_rows == 0:
            return Utility(rows=rows.num_rows)
        if self.layout.outputs.is_number:
            return measure_numbers(
                self.ensemble.answers(rows),
                target_numbers(rows),
                self.quantile,
                min_rows,
                row_weights(rows),
            )
        return measure(
            self.ensemble.probabilities(rows),
            targets(rows, self.layout),
            self.ensemble.classes,
            has_probabilities=self.has_probabilities,
            min_rows=min_rows,
            weights=row_weights(rows),
        )

    def probabilities(self, rows: pa.Table) -> Floats | None:
        """Return class probabilities; None where there are none; see `MeasuredModel`."""
        has_some = self.has_probabilities and not self.layout.outputs.is_number
        return self.ensemble.probabilities(rows) if has_some else None

    def memorisation(
        self, forgotten: pa.Table, utility: Utility, min_rows: int
    ) -> KnowledgeOfRows | None:
        """Return None: memorisation is measured of text alone."""
        del forgotten, utility, min_rows
        return None


def open_final_model(context: Context) -> TabularModel:
    """Open `models/final_model` of a project; see `Modality`.

    Its members are read one at a time: all of them may be more than memory holds.
    """
    train = context.params.train
    ensemble = load_ensemble(
        context.project.final_model,
        own_code=context.code,
        own_types=train.trusted_types,
        root=context.project.root,
        keep=False,
    )
    return TabularModel(ensemble, context.layout, find_spec(train.model).quantile(train))
