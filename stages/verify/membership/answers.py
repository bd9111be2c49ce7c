"""What the models say on the rows that an attack asks them about."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
from unlearn.stages.config.params import AggregationRule
from unlearn.stages.final_model.ensemble import Ensemble, combine
from unlearn.stages.rows.shard_file import RECORD, SUBJECT, Layout, targets
from unlearn.stages.verify.membership.row_scores import Said, of_classes
from unlearn.stages.verify.membership.scores import Bools, Floats, Ints, logit

#: Rows asked about at once: every member's answer on them is in memory together.
_ROWS_AT_ONCE = 2_000


class MemberModel(Protocol):
    """One model in a final model."""

    @property
    def shard(self) -> str:
        """Name of the shard that it was trained on."""

    @property
    def rows(self) -> int:
        """How many rows that had."""

    @property
    def has_probabilities(self) -> bool:
        """Whether its probabilities are more than votes."""


class FinalModel(Protocol):
    """A final model of whichever kind of rows: an `Ensemble`, or a `LanguageEnsemble`."""

    @property
    def rule(self) -> AggregationRule:
        """How its members answer together."""

    @property
    def members(self) -> Sequence[MemberModel]:
        """The models that have rows."""

    @property
    def has_probabilities(self) -> bool:
        """Whether its probabilities are more than votes."""


@dataclass(frozen=True)
class Answers:
    """What an ensemble and its members say on rows.

    Parameters
    ----------
    home
        For every row the member that saw it, would have seen it, or is asked instead: an index
        into the ensemble's members, shape (rows,).
    targets
        True class indices, shape (rows,); rows of text are all of one.
    groups
        Rows of one person share a number, shape (rows,).
    logits
        Every member's logit of the right answer, shape (rows, members).
    asked
        What the home member says.
    final
        What the ensemble says.
    outside
        Logits of models trained to compare with, shape (rows, models); None where the other
        members are compared with.
    unseen
        Which of those never saw each row, shape (rows, models).
    beside, beside_unseen
        The same of models to compare the ensemble with, both of shape (rows, models); None where
        they follow from the members' logits.
    """

    home: Ints
    targets: Ints
    groups: Ints
    logits: Floats
    asked: Said
    final: Said
    outside: Floats | None = None
    unseen: Bools | None = None
    beside: Floats | None = None
    beside_unseen: Bools | None = None

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def finite(self) -> bool:
        """Whether all answers are numbers."""
        return bool(np.isfinite(self.logits).all() and self.final.finite)


def ask(model: FinalModel, rows: pa.Table, home: Ints, layout: Layout) -> Answers:
    """Ask every member of an ensemble about rows.

    Parameters
    ----------
    model
        The ensemble, of at least one member.
    rows
        A table of `layout`.
    home
        See `Answers`.
    layout
        The project's columns and classes.
    """
    if not isinstance(model, Ensemble):
        from unlearn.stages.verify.membership.text_answers import ask_language

        return ask_language(model, rows, home)
    truth = targets(rows, layout)
    logits = np.zeros((rows.num_rows, len(model.members)))
    asked = np.zeros((rows.num_rows, len(layout.classes)))
    final = np.zeros_like(asked)
    for start in range(0, rows.num_rows, _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        table = rows.slice(start, _ROWS_AT_ONCE)
        answers = [member.predictor.probabilities(table) for member in model.members]
        final[part] = combine(model.rule, answers, [member.rows for member in model.members])
        for index, answer in enumerate(answers):
            logits[part, index] = logit(answer, truth[part])
            here = home[part] == index
            asked[part][here] = answer[here]
    return Answers(
        home, truth, persons(rows), logits, of_classes(asked, truth), of_classes(final, truth)
    )


def persons(rows: pa.Table) -> Ints:
    """Return a number for every row, the same for all rows of a person, shape (rows,)."""
    governing = rows[SUBJECT if SUBJECT in rows.column_names else RECORD].to_pylist()
    _, groups = np.unique(np.array(governing, dtype=str), return_inverse=True)
    return groups.astype(np.int64)
