"""Which file each row of a dataset is from, by the number that the row has in the whole dataset."""

import bisect
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pyarrow as pa
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.reading.records import RowPlace, place_of_row

_SUBJECT = "if the column names people, it is the subject: --subject, with another column for --id"
_WHICH_ARE_ONE = (
    "dataset.id_type and dataset.identity in params.yaml say which ids are one: 7 and 7.0, or r7 "
    "and R7"
)


@dataclass
class RowPlaces:
    """The first row of each file of a dataset.

    Parameters
    ----------
    name
        The dataset, which rows are said to be from where no file is known.
    """

    name: str
    _first: list[int] = field(default_factory=list)
    _places: list[RowPlace] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path, name: str) -> "RowPlaces":
        """Return what `write` wrote; without the file, no file is known."""
        found = cls(name)
        if path.is_file():
            for first, file, row in json.loads(path.read_text(encoding="utf-8")):
                found._first.append(first)
                found._places.append(RowPlace(file, row))
        return found

    def write(self, path: Path) -> None:
        """Write a temporary file for `read`."""
        rows = [
            (first, place.file, place.row)
            for first, place in zip(self._first, self._places, strict=True)
        ]
        path.write_text(json.dumps(rows), encoding="utf-8")

    def __len__(self) -> int:
        return len(self._places)

    def see(self, batch: pa.Table, first_row: int) -> None:
        """Take a batch into account, whose first row has this number in the dataset."""
        place = place_of_row(batch, 0, self.name, first_row)
        if not self._places or self._places[-1].file != place.file:
            self._first.append(first_row)
            self._places.append(place)

    def of(self, number: int) -> RowPlace:
        """Return the place of the row that has a number in the dataset."""
        index = bisect.bisect_right(self._first, number) - 1
        if index < 0:
            return RowPlace(self.name, number)
        place = self._places[index]
        return RowPlace(place.file, place.row + number - self._first[index])

    def refuse_repeat(self, first: int, second: int) -> NoReturn:
        """Raise the InputError about two rows with the same id."""
        one, other = self.of(first), self.of(second)
        where = f"{one.file}: data rows {one.row} and {other.row} have the same id"
        hints = [_SUBJECT, _WHICH_ARE_ONE]
        if one.file != other.file:
            where = f"{one}, and {other}, have the same id"
            hints.insert(0, "do the two files hold the same rows? If so, keep one of them")
        raise InputError(where, *hints, facts=_facts(one, other))


def _facts(one: RowPlace, other: RowPlace) -> Facts:
    if one.file == other.file:
        return Facts(file=one.file, row=one.row, rows=(one.row, other.row))
    return Facts(file=one.file, row=one.row)
