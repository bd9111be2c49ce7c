"""A final model of classifiers, as `verify` asks it."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from unlearn.stages.config.params import AggregationRule
from unlearn.stages.context import Context
from unlearn.stages.final_model.ensemble import Ensemble, load_ensemble
from unlearn.stages.final_model.members import Member, StoredMember
from unlearn.stages.rows.shard_file import Layout, targets
from unlearn.stages.verify.measures.utility import measure
from unlearn.stages.verify.membership.answers import Answers, Question
from unlearn.stages.verify.membership.arrays import Floats
from unlearn.stages.verify.membership.class_answers import ask_classes
from unlearn.stages.verify_report.quality import KnowledgeOfRows, Utility


@dataclass(frozen=True)
class TabularModel:
    """Classifiers that answer as one; see `MeasuredModel`.

    Parameters
    ----------
    ensemble
        The classifiers.
    layout
        The project's columns and classes.
    """

    ensemble: Ensemble
    layout: Layout

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
        """Return class probabilities as attacks take them; see `FinalModel`."""
        return ask_classes(self.ensemble, questions, self.layout)

    def utility(self, rows: pa.Table, min_rows: int) -> Utility:
        """Return accuracy and calibration; see `MeasuredModel`."""
        if not self.members or rows.num_rows == 0:
            return Utility(rows=rows.num_rows)
        return measure(
            self.ensemble.probabilities(rows),
            targets(rows, self.layout),
            self.ensemble.classes,
            has_probabilities=self.has_probabilities,
            min_rows=min_rows,
        )

    def probabilities(self, rows: pa.Table) -> Floats | None:
        """Return class probabilities; None where they are votes; see `MeasuredModel`."""
        return self.ensemble.probabilities(rows) if self.has_probabilities else None

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
    ensemble = load_ensemble(
        context.project.final_model,
        own_code=context.code,
        own_types=context.params.train.trusted_types,
        keep=False,
    )
    return TabularModel(ensemble, context.layout)
