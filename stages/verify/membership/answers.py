"""The models' answers on the rows of an attack."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
from unlearn.stages.config.params import AggregationRule
from unlearn.stages.rows.shard_file import governing_tokens
from unlearn.stages.verify.membership.arrays import Bools, Floats, Ints
from unlearn.stages.verify.membership.row_scores import RowScores

#: Rows of the project's columns, and what `Answers` calls their home.
Question = tuple[pa.Table, Ints]


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
    """A final model of either modality, as attacks ask it."""

    @property
    def rule(self) -> AggregationRule:
        """How its members answer together."""

    @property
    def members(self) -> Sequence[MemberModel]:
        """The models that have rows."""

    @property
    def has_probabilities(self) -> bool:
        """Whether its probabilities are more than votes."""

    def answers(self, questions: Sequence[Question]) -> "list[Answers]":
        """Return the answers of the model and of each of its members.

        All questions are put together: each member is opened once for all of them.

        Parameters
        ----------
        questions
            Rows to be asked about. The model has at least one member.
        """


@dataclass(frozen=True)
class ReferenceLogits:
    """Reference models' logits of the right answers, or their residuals; see `ComparedRows`.

    Parameters
    ----------
    logits
        Shape (rows, models).
    usable
        Which of the models were not trained on each row, shape (rows, models).
    own
        The logit of the part of the model under attack that is to be compared with them, shape
        (rows,); None for the whole model's.
    held
        Which of the models were trained on each row, shape (rows, models); None where forgotten
        rows and non-members are in none.
    """

    logits: Floats
    usable: Bools
    own: Floats | None = None
    held: Bools | None = None


@dataclass(frozen=True)
class Answers:
    """The answers of an ensemble and of its members on rows.

    Parameters
    ----------
    home
        For every row the member that was or would have been trained on it, or its replacement: an
        index into the ensemble's members, shape (rows,).
    targets
        True class indices, shape (rows,); 0 for rows of text, and where numbers are predicted.
    groups
        Rows of one person share a number, shape (rows,).
    logits
        Every member's logit of the right answer, or its residual, shape (rows, members).
    of_home
        The home members' answers, as attacks read them.
    of_final
        The ensemble's answers, as attacks read them.
    references
        The logits of reference models; None where the other members are the reference models.
    final_references
        The same for attacks on the ensemble; None where they follow from the members' logits.
    online
        The logits of reference models that were trained on halves of all rows; None without them.
    """

    home: Ints
    targets: Ints
    groups: Ints
    logits: Floats
    of_home: RowScores
    of_final: RowScores
    references: ReferenceLogits | None = None
    final_references: ReferenceLogits | None = None
    online: ReferenceLogits | None = None

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def finite(self) -> bool:
        """Whether all answers are numbers."""
        return bool(np.isfinite(self.logits).all() and self.of_final.finite)


def persons(rows: pa.Table) -> Ints:
    """Return a number for each row, the same for all rows of a person, shape (rows,)."""
    governing = governing_tokens(rows)
    _, groups = np.unique(np.array(governing, dtype=str), return_inverse=True)
    return groups.astype(np.int64)
