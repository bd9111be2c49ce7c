"""What `init` finds in the column of the target: classes or numbers, and which are odd."""

import math
import shlex
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.columns.column_facts import USUAL_WORDS
from unlearn.stages.columns.several_labels import is_nested, separator, several_labels
from unlearn.stages.columns.target_task import ValueForms, find_task, number_of
from unlearn.stages.config.dataset import DEFAULT_MISSING, Decimal
from unlearn.stages.config.section import Task
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.reading.records import RowPlace, place_of_row
from unlearn.stages.reading.spelling import folded_text
from unlearn.stages.rows.schema import is_float, is_unlabelled
from unlearn.stages.rows.texts import as_text

#: More distinct targets than this are no classes.
MAX_CLASSES = 10_000

#: How many classes or pairs of classes a note names, and how many rows without a target.
_SHOWN = 3
_ROWS_SHOWN = 5


@dataclass
class TargetFacts:
    """Facts about a target column, batch by batch.

    Parameters
    ----------
    column
        Its name.
    asked
        What the user says that it is; None where the values are to tell.
    kept
        Whether the user says that its numbers, and the texts of `missing`, are classes.
    missing
        Texts that mean a missing value.
    drops
        Whether rows without a target are left out.
    is_csv
        Whether numbers may have a decimal comma.

    Attributes
    ----------
    counts
        Rows of each value; of no use where there are `many`.
    many
        Whether there are more different values than there can be classes.
    """

    column: str
    asked: Task | None = None
    kept: bool = False
    missing: tuple[str, ...] = DEFAULT_MISSING
    drops: bool = False
    is_csv: bool = False
    rows: int = 0
    unlabelled: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    many: bool = False
    forms: ValueForms = field(default_factory=ValueForms)
    _first: dict[str, RowPlace] = field(default_factory=dict)
    _places: list[RowPlace] = field(default_factory=list)
    _texts: set[str] = field(default_factory=set)
    _infinite: int = 0
    _infinite_places: list[RowPlace] = field(default_factory=list)
    _no_number: dict[Decimal, RowPlace] = field(default_factory=dict)

    @property
    def may_be_numbers(self) -> bool:
        """Whether it is not settled that the values are classes."""
        return self.asked != "classification" and not self.kept

    def see(self, batch: pa.Table, name: str) -> None:
        """Take a batch into account.

        Raises
        ------
        InputError
            If there are more different values than there can be classes, and these are no numbers.
        """
        if is_nested(batch[self.column].type):
            raise several_labels(self.column, "its values are lists or objects")
        labels = as_text(batch[self.column], self.column)
        empty = is_unlabelled(labels, () if self.kept else self.missing)
        if count := pc.sum(empty).as_py() or 0:
            self.unlabelled += count
            self._texts |= set(pc.unique(labels.filter(empty)).drop_null().to_pylist())
            self._places += self._rows_of(empty, batch, name, len(self._places))
        entries = pc.value_counts(labels.filter(pc.invert(empty))).to_pylist()
        if self.may_be_numbers:
            self._see_numbers([entry["values"] for entry in entries], labels, batch, name)
        if not self.many:
            self._count(entries, labels, batch, name)
        self.rows += batch.num_rows
        if len(self.counts) > MAX_CLASSES:
            self._see_many(name)

    def _count(
        self, entries: list[dict[str, Any]], labels: pa.ChunkedArray, batch: pa.Table, name: str
    ) -> None:
        for entry in entries:
            label = entry["values"]
            if label not in self.counts:
                index = pc.index(labels, label).as_py()
                self._first[label] = place_of_row(batch, index, name, self.rows + 1)
            self.counts[label] += entry["counts"]

    def _see_numbers(
        self, texts: list[str], labels: pa.ChunkedArray, batch: pa.Table, name: str
    ) -> None:
        self.forms.see(texts, is_csv=self.is_csv)
        marks: tuple[Decimal, ...] = (".", ",")
        for decimal in marks:
            bad = next((text for text in texts if number_of(text, decimal) is None), None)
            if bad is not None and decimal not in self._no_number:
                index = pc.index(labels, bad).as_py()
                self._no_number[decimal] = place_of_row(batch, index, name, self.rows + 1)
        infinite = [text for text in texts if not math.isfinite(number_of(text, ".") or 0.0)]
        if infinite:
            mask = pc.is_in(labels, pa.array(infinite, pa.string()))
            self._infinite += pc.sum(mask).as_py()
            self._infinite_places += self._rows_of(mask, batch, name, len(self._infinite_places))

    def _see_many(self, name: str) -> None:
        numbers = self.forms.are_mostly_numbers(".") or self.forms.are_mostly_numbers(",")
        if not (self.may_be_numbers and (numbers or self.asked == "regression")):
            raise InputError(
                f"{name}: column {self.column!r} has more than {MAX_CLASSES} different values; a "
                "classifier's target has few",
                facts=Facts(file=name, column=self.column),
            )
        self.many = True
        self.counts.clear()
        self._first.clear()

    def _rows_of(
        self, mask: pa.ChunkedArray, batch: pa.Table, name: str, known: int
    ) -> list[RowPlace]:
        """Return where the first rows of a mask are, if fewer than that are known."""
        indices = np.flatnonzero(mask.to_numpy())[: max(0, _ROWS_SHOWN - known)]
        return [place_of_row(batch, int(index), name, self.rows + 1) for index in indices]

    @property
    def classes(self) -> list[str]:
        """The class labels, numbers in numeric order, else in text order."""
        if all(is_float(label) for label in self.counts):
            return sorted(self.counts, key=lambda label: (float(label), label))
        return sorted(self.counts)

    def settle(self, decimal: Decimal = ".") -> Task:
        """Return what the target is.

        Parameters
        ----------
        decimal
            The decimal mark of numbers.

        Raises
        ------
        InputError
            If the values can be classes or a quantity and the user did not say which, with how many
            different numbers there are; or on rows without a target, with the first of them.
        """
        task = self.task(decimal)
        if self.asked is None and not (self.kept or self.many) and (mark := separator(self.counts)):
            how = f"most of its values are several ones with {mark!r} between them"
            each = "--task classification makes each combination a class"
            raise several_labels(self.column, how, each)
        if task is None:
            raise InputError(
                f"column {self.column!r} has {len(self.counts):,} different numbers in "
                f"{self.rows:,} rows: they can be classes, or a quantity to predict",
                "--task regression predicts a number; --task classification makes each number a "
                "class",
                facts=Facts(column=self.column),
            )
        if task == "regression" and not self.forms.are_numbers(decimal) and self.forms.total:
            raise self._not_numbers(decimal)
        gone = self.without_target(task)
        if gone and (not self.drops or gone == self.rows):
            what = "number" if task == "regression" else "class"
            raise InputError(
                f"column {self.column!r}: {self._missing_rows(task)}",
                f"--drop-unlabelled leaves these rows out; or give them a {what}",
                *(self._texts_hint() if task == "classification" else ()),
                facts=self._gone_places(task)[0].facts(self.column),
            )
        return task

    def task(self, decimal: Decimal = ".") -> Task | None:
        """Return what the target is, as the user says or the values tell; None if neither does."""
        if self.asked is not None or self.kept:
            return self.asked or "classification"
        different = MAX_CLASSES + 1 if self.many else len(self.counts)
        return find_task(self.forms, different, self.rows - self.unlabelled, decimal)

    def without_target(self, task: Task | None) -> int:
        """Return how many rows have no class, or no finite number to predict."""
        return self.unlabelled + (self._infinite if task == "regression" else 0)

    def _not_numbers(self, decimal: Decimal) -> InputError:
        place = self._no_number[decimal]
        looks = f"; they have {', '.join(sorted(self.forms.marks))}" if self.forms.marks else ""
        return InputError(
            f"{place}: column {self.column!r}: the value is not a number, and most values of the "
            f"target are, or look like numbers{looks}",
            "write numbers as -1234.56; if the value means a missing one: --missing=TEXT",
            "--task classification makes each value a class",
            facts=place.facts(self.column),
        )

    def _gone_places(self, task: Task) -> list[RowPlace]:
        places = [*self._places, *(self._infinite_places if task == "regression" else ())]
        return sorted(places, key=lambda place: (place.file, place.row))[:_ROWS_SHOWN]

    def _missing_rows(self, task: Task) -> str:
        gone, shown = self.without_target(task), self._gone_places(task)
        what = "a finite number" if task == "regression" else "a class"
        if gone == 1:
            return f"1 row without {what}: {shown[0]}"
        where = "; ".join(map(str, shown))
        if len({place.file for place in shown}) == 1:
            numbers = ", ".join(f"{place.row:,}" for place in shown)
            where = f"{shown[0].file}, data rows {numbers}"
        more = ", ..." if gone > len(shown) else ""
        return f"{gone:,} rows without {what}: {where}{more}"

    def _texts_hint(self) -> list[str]:
        if texts := sorted(text for text in self._texts if text.strip()):
            named = ", ".join(map(repr, texts))
            return [f"if {named} is a class: --keep={shlex.quote(self.column)}"]
        return []

    def notes(self, decimal: Decimal = ".") -> list[str]:
        """Return a sentence for each oddity that is no error, and for a task that was proposed."""
        found = []
        task = self.task(decimal) or "classification"
        if self.without_target(task):
            found.append(f"column {self.column!r}: {self._missing_rows(task)}; dropped")
        if task == "regression":
            return found + self._notes_on_numbers()
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

    def _notes_on_numbers(self) -> list[str]:
        if self.asked == "regression":
            return []
        different = f"more than {MAX_CLASSES:,}" if self.many else f"{len(self.counts):,}"
        return [
            (
                f"column {self.column!r} has {different} different numbers, so the task is "
                "regression: a model predicts the number (--task classification makes each number "
                "a class)"
            )
        ]
