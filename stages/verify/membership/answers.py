"""The models' answers on the rows of an attack."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
from unlearn.stages.config.params import AggregationRule
from unlearn.stages.rows.shard_file import RECORD, SUBJECT
from unlearn.stages.verify.membership.row_scores import Said
from unlearn.stages.verify.membership.scores import Bools, Floats, Ints


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


def persons(rows: pa.Table) -> Ints:
    """Return a number for every row, the same for all rows of a person, shape (rows,)."""
    governing = rows[SUBJECT if SUBJECT in rows.column_names else RECORD].to_pylist()
    _, groups = np.unique(np.array(governing, dtype=str), return_inverse=True)
    return groups.astype(np.int64)
