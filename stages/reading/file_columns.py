"""The columns of a dataset's files: the same in all of them, or missing in some and said so."""

import difflib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.reading.spelling import folded_text

_ALLOW_MISSING = (
    "`unlearn init --missing-columns null` reads such files with missing values in the column"
)


def refuse_other_columns(found: list[str], file: str, first: str, columns: list[str]) -> None:
    """Compare the columns of a file with those of the first one.

    Raises
    ------
    InputError
        If one of them has a column that the other does not have.
    """
    more = [column for column in found if column not in columns]
    for column in columns:
        if column not in found:
            raise InputError(
                f"{file} has no column {column!r}, which {first} has",
                *_nearest(column, more),
                _ALLOW_MISSING,
                facts=_facts(file, column, found, more),
            )
    for column in more:
        raise InputError(
            f"{file} has a column {column!r}, which {first} does not have",
            _ALLOW_MISSING,
            facts=Facts(file=file, column=column, columns=tuple(found)),
        )


def _near(column: str, others: list[str]) -> str | None:
    alike = [other for other in others if folded_text(other) == folded_text(column)]
    return next(iter(alike or difflib.get_close_matches(column, others, n=1)), None)


def _nearest(column: str, others: list[str]) -> list[str]:
    near = _near(column, others)
    return [] if near is None else [f"it has a column {near!r}: if that is the same one, rename it"]


def _facts(file: str, column: str, found: list[str], others: list[str]) -> Facts:
    near = _near(column, others)
    return Facts(file=file, column=column, columns=tuple(found), nearest=near)


@dataclass
class AllColumns:
    """The columns of all files together, for a dataset whose files may lack some.

    Parameters
    ----------
    required
        Columns that no file may lack.
    columns
        All columns, in the order in which files have them.
    """

    required: frozenset[str]
    columns: list[str] = field(default_factory=list)
    _files: dict[str, str] = field(default_factory=dict)
    _folded: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def see(self, found: Iterable[str], file: str) -> None:
        """Take a file's columns into account.

        Raises
        ------
        InputError
            If the file lacks a column that is required, or has one that is written otherwise in a
            file before.
        """
        found = list(found)
        for column in sorted(self.required - set(found)):
            others = [other for other in found if other not in self.columns]
            raise InputError(
                f"{file} has no column {column!r}, which no file may lack",
                *_nearest(column, others),
                facts=_facts(file, column, found, others),
            )
        here = set(found)
        new = [column for column in found if column not in self._files]
        for column in new:
            for before in self._folded[folded_text(column)]:
                if before not in here:
                    raise InputError(
                        f"{file} has a column {column!r}, and {self._files[before]} has a column "
                        f"{before!r}",
                        "if they are one column, write its name the same in all files",
                        facts=Facts(file=file, column=column, columns=tuple(found)),
                    )
        for column in new:
            self._folded[folded_text(column)].append(column)
            self._files[column] = file
        self.columns.extend(new)

    def complete(self, batch: pa.Table) -> pa.Table:
        """Return a batch with all columns; those that its file lacks have no values."""
        for column in self.columns:
            if column not in batch.column_names:
                batch = batch.append_column(column, pa.nulls(batch.num_rows))
        return batch.select(self.columns)


def lacking(columns_by_file: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Return the files that lack a column, by column."""
    names = dict.fromkeys(name for found in columns_by_file.values() for name in found)
    files = {
        name: [file for file, found in columns_by_file.items() if name not in found]
        for name in names
    }
    return {name: found for name, found in files.items() if found}
