"""What `init` finds in the column of classes: whether it has classes at all, and which are odd."""

import shlex
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.columns.column_facts import USUAL_WORDS
from unlearn.stages.config.dataset import DEFAULT_MISSING
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.reading.records import RowPlace, place_of_row
from unlearn.stages.reading.spelling import folded_text
from unlearn.stages.rows.schema import is_float, is_unlabelled
from unlearn.stages.rows.texts import as_text

#: More distinct targets than this are no classes.
MAX_CLASSES = 10_000

#: From so many different numbers on, in more than one row of twenty or with decimals, a target
#: looks like a quantity.
_MANY_NUMBERS = 50
_SHARE = 20

#: How many classes or pairs of classes a note names, and how many rows without a class.
_SHOWN = 3
_ROWS_SHOWN = 5


@dataclass
class TargetFacts:
    """Facts about a target column, batch by batch.

    Parameters
    ----------
    column
        Its name.
    kept
        Whether the user says that its numbers, and the texts of `missing`, are classes.
    missing
        Texts that mean a missing value.
    drops
        Whether rows without a class are left out.
    """

    column: str
    kept: bool = False
    missing: tuple[str, ...] = DEFAULT_MISSING
    drops: bool = False
    rows: int = 0
    unlabelled: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    _first: dict[str, RowPlace] = field(default_factory=dict)
    _places: list[RowPlace] = field(default_factory=list)
    _texts: set[str] = field(default_factory=set)

    def see(self, batch: pa.Table, name: str) -> None:
        """Take a batch into account.

        Raises
        ------
        InputError
            If there are more different values than there can be classes.
        """
        labels = as_text(batch[self.column], self.column)
        empty = is_unlabelled(labels, () if self.kept else self.missing)
        if count := pc.sum(empty).as_py() or 0:
            self.unlabelled += count
            self._texts |= set(pc.unique(labels.filter(empty)).drop_null().to_pylist())
            indices = np.flatnonzero(empty.to_numpy())[: _ROWS_SHOWN - len(self._places)]
            self._places += [
                place_of_row(batch, int(index), name, self.rows + 1) for index in indices
            ]
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
            With the first rows without a class, or with how many different numbers there are.
        """
        if self.unlabelled and (not self.drops or self.unlabelled == self.rows):
            raise InputError(
                f"column {self.column!r}: {self._missing_rows()}",
                "--drop-unlabelled leaves these rows out; or give them a class",
                *self._texts_hint(),
                facts=self._places[0].facts(self.column),
            )
        if self._is_quantity() and not self.kept:
            raise InputError(
                f"column {self.column!r} has {len(self.counts):,} different numbers in "
                f"{self.rows:,} rows: this looks like a regression target, and only classes can "
                "be predicted",
                "write a column of classes, such as ranges of these numbers",
                f"if the numbers are classes: --keep={shlex.quote(self.column)}",
                facts=Facts(column=self.column),
            )

    def _is_quantity(self) -> bool:
        if len(self.counts) <= _MANY_NUMBERS or not all(is_float(label) for label in self.counts):
            return False
        whole = all(float(label).is_integer() for label in self.counts)
        return not whole or len(self.counts) * _SHARE > self.rows - self.unlabelled

    def _missing_rows(self) -> str:
        if self.unlabelled == 1:
            return f"1 row without a class: {self._places[0]}"
        files = [place.file for place in self._places]
        where = "; ".join(map(str, self._places))
        if len(set(files)) == 1:
            numbers = ", ".join(f"{place.row:,}" for place in self._places)
            where = f"{files[0]}, data rows {numbers}"
        more = ", ..." if self.unlabelled > len(self._places) else ""
        return f"{self.unlabelled:,} rows without a class: {where}{more}"

    def _texts_hint(self) -> list[str]:
        if texts := sorted(text for text in self._texts if text.strip()):
            named = ", ".join(map(repr, texts))
            return [f"if {named} is a class: --keep={shlex.quote(self.column)}"]
        return []

    def notes(self) -> list[str]:
        """Return a sentence for each oddity that is no error."""
        found = []
        if self.unlabelled:
            found.append(f"column {self.column!r}: {self._missing_rows()}; dropped")
        for label in self.classes:
            if label.strip() in USUAL_WORDS and not self.kept:
                word = shlex.quote(label.strip())
                found.append(
                    f"column {self.column!r} has a class {label!r} in {self.counts[label]:,} rows; "
                    f"if it means that there is none: --missing={word} --drop-unlabelled"
                )
        by_folded: dict[str, list[str]] = {}
        for label in self.classes:
            by_folded.setdefault(folded_text(label), []).append(label)
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
                f"{self._first[single[0]]}: only one shard can learn such a class, and its name is "
                "in every model"
            )
        return found
