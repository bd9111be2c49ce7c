"""What `init` finds in the column of classes: whether it has classes at all, and which are odd."""

from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.rows.ids import fold
from unlearn.stages.rows.records import RowPlace, place_of_row
from unlearn.stages.rows.schema import as_text, is_float

#: More distinct targets than this are no classes.
MAX_CLASSES = 10_000

#: From so many different numbers on, in more than one row of twenty or with decimals, a target
#: looks like a quantity.
_MANY_NUMBERS = 50
_SHARE = 20

#: How many classes or pairs of classes a note names.
_SHOWN = 3


@dataclass
class TargetFacts:
    """Facts about a target column, batch by batch.

    Parameters
    ----------
    column
        Its name.
    kept
        Whether the user says that its numbers are classes.
    """

    column: str
    kept: bool = False
    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    _first: dict[str, RowPlace] = field(default_factory=dict)
    _missing: int = 0
    _first_missing: RowPlace | None = None

    def see(self, batch: pa.Table, name: str) -> None:
        """Take a batch into account.

        Raises
        ------
        InputError
            If there are more different values than there can be classes.
        """
        labels = as_text(batch[self.column], self.column)
        empty = pc.or_(pc.is_null(labels), pc.equal(pc.fill_null(labels, ""), ""))
        if count := pc.sum(empty).as_py() or 0:
            self._missing += count
            if self._first_missing is None:
                index = pc.index(empty, value=True).as_py()
                self._first_missing = place_of_row(batch, index, name, self.rows + 1)
        for entry in pc.value_counts(labels.filter(pc.invert(empty))).to_pylist():
            label = entry["values"]
            if label not in self.counts:
                index = pc.index(labels, label).as_py()
                self._first[label] = place_of_row(batch, index, name, self.rows + 1)
            self.counts[label] += entry["counts"]
        self.rows += batch.num_rows
        if len(self.counts) > MAX_CLASSES:
            raise InputError(
                f"{name}: column {self.column!r} has more than {MAX_CLASSES} different values; a "
                "classifier's target has few",
                facts=Facts(file=name, column=self.column),
            )

    @property
    def classes(self) -> list[str]:
        """The class labels, numbers in numeric order, else in text order."""
        if all(is_float(label) for label in self.counts):
            return sorted(self.counts, key=lambda label: (float(label), label))
        return sorted(self.counts)

    def refuse(self) -> None:
        """Refuse a column with rows without a class, or one of quantities.

        Raises
        ------
        InputError
            With the first row without a class, or with how many different numbers there are.
        """
        if self._missing and self._first_missing is not None:
            rows = "1 row" if self._missing == 1 else f"{self._missing:,} rows"
            raise InputError(
                f"column {self.column!r}: {rows} without a class, the first is "
                f"{self._first_missing}",
                "take these rows out of the dataset, or give them a class",
                facts=self._first_missing.facts(self.column),
            )
        if self._is_quantity() and not self.kept:
            raise InputError(
                f"column {self.column!r} has {len(self.counts):,} different numbers in "
                f"{self.rows:,} rows: this looks like a regression target, and only classes can "
                "be predicted",
                "write a column of classes, such as ranges of these numbers",
                f"if the numbers are classes: --keep={self.column}",
                facts=Facts(column=self.column),
            )

    def _is_quantity(self) -> bool:
        if len(self.counts) <= _MANY_NUMBERS or not all(is_float(label) for label in self.counts):
            return False
        whole = all(float(label).is_integer() for label in self.counts)
        return not whole or len(self.counts) * _SHARE > self.rows

    def notes(self) -> list[str]:
        """Return a sentence for each oddity that is no error."""
        found = []
        by_folded: dict[str, list[str]] = {}
        for label in self.classes:
            by_folded.setdefault(fold(label), []).append(label)
        alike = [labels for labels in by_folded.values() if len(labels) > 1]
        for labels in alike[:_SHOWN]:
            each = ", ".join(
                f"{label!r} in {self.counts[label]:,} rows from {self._first[label]} on"
                for label in labels
            )
            found.append(
                f"column {self.column!r} has classes that differ only in case or spaces: {each}"
            )
        if len(alike) > _SHOWN:
            found.append(f"and {len(alike) - _SHOWN} more such classes")
        single = [label for label in self.classes if self.counts[label] == 1]
        if single and len(self.counts) > 1:
            what = "1 class" if len(single) == 1 else f"{len(single):,} classes"
            found.append(
                f"column {self.column!r} has {what} with a single row, such as "
                f"{self._first[single[0]]}: only one shard can learn such a class"
            )
        return found
