"""Ids as a dataset's files have them: from typed columns to text, one rule for all files."""

import math
from dataclasses import dataclass
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.config.dataset import DatasetParams, IdType
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.reading.needed_columns import require_column
from unlearn.stages.reading.records import place_of_row
from unlearn.stages.rows.ids import IdKind, IdRules, fold, is_cut, lost_digits, whole_number
from unlearn.stages.rows.texts import as_text
from unlearn.stages.rows.tokens import PREFIX, check_raw_id

#: Whole numbers below this are the same in every floating point type of that many bits.
EXACT_WHOLE_NUMBERS = {16: 2**11, 32: 2**24, 64: 2**53}

#: Whole numbers as almost all files write them; `whole_number` decides about the rest.
_PLAIN = r"^-?(?:[1-9][0-9]*|0)$"

#: What `str.strip` removes from ASCII text.
_ASCII_SPACES = " \t\n\v\f\r\x1c\x1d\x1e\x1f"

#: Folded ASCII text that `whole_number` may shorten.
_NUMBER = r"^-?[0-9]+\.[0-9]|^-0"

_AS_TEXT = "write the column as text, or as whole numbers, in the files themselves"


def role_columns(dataset: DatasetParams) -> list[tuple[IdKind, str]]:
    """Return the columns of ids, with what they name."""
    columns: list[tuple[IdKind, str]] = [("record", dataset.id)]
    if dataset.subject is not None:
        columns.append(("subject", dataset.subject))
    return columns


@dataclass(frozen=True)
class RoleReader:
    """Reads one column of ids as text.

    Parameters
    ----------
    kind, column
        What the ids name, and the column.
    rules
        How params.yaml says that ids are read.
    """

    kind: IdKind
    column: str
    rules: IdRules

    def texts(self, batch: pa.Table, name: str, first_row: int) -> pa.ChunkedArray:
        """Return the ids of a batch as text; missing ones stay missing.

        Parameters
        ----------
        batch
            Rows as read.
        name, first_row
            The dataset, and the number of the batch's first row in it, for errors.

        Raises
        ------
        InputError
            If there is no such column, its type cannot name anybody, or a number is not whole.
        """
        require_column(batch, self.column, name)
        values = batch[self.column]
        if self.rules.type_of(self.kind) is None:
            return as_text(values, self.column)
        at = _Column(batch, self.column, name, first_row)
        return _texts(values, at)

    def checked(self, batch: pa.Table, name: str, first_row: int) -> list[str]:
        """Return the ids of a batch as text, of which none is missing or of another type.

        Raises
        ------
        InputError
            As `texts`, and if an id is missing, begins like a token, or is not of the column's
            type. The error names file and row, never the id.
        """
        texts = self.texts(batch, name, first_row)
        at = _Column(batch, self.column, name, first_row)
        found: list[str] = texts.to_pylist()
        for index in _suspicious(texts):
            check_raw_id(found[index] or "", at.where(index))
        if self.rules.folded:
            for index, raw in enumerate(found):
                if not fold(raw):
                    where = at.where(index)
                    raise InputError(f"{where}: an id is blank", facts=where)
        if self.rules.type_of(self.kind) == "integer":
            for index in _not_plain(texts):
                if is_cut(found[index].strip()):
                    raise _cut_number(at.where(index))
                if not self.rules.accepts(self.kind, found[index]):
                    raise self._other_type(at.where(index))
        return found

    def _other_type(self, where: Facts) -> InputError:
        setting = "dataset.id_type" if self.kind == "record" else "dataset.subject_type"
        return InputError(
            f"{where}: an id is not a whole number, but {setting} in params.yaml is integer",
            "correct the file; a dataset with other ids needs a new project",
            facts=where,
        )


@dataclass(frozen=True)
class _Column:
    """A column of a batch, for errors."""

    batch: pa.Table
    name: str
    dataset: str
    first_row: int

    def where(self, index: int) -> Facts:
        place = place_of_row(self.batch, index, self.dataset, self.first_row)
        return place.facts(self.name)

    def whole(self) -> Facts:
        place = place_of_row(self.batch, 0, self.dataset, self.first_row)
        return Facts(file=place.file, column=self.name)


def _suspicious(texts: pa.ChunkedArray) -> list[int]:
    """Return the positions of ids that are missing or begin like a token."""
    missing = pc.fill_null(pc.equal(texts, ""), fill_value=True)
    token = pc.fill_null(pc.starts_with(texts, PREFIX), fill_value=False)
    found: list[int] = pc.indices_nonzero(pc.or_(missing, token)).to_pylist()
    return found


def _not_plain(texts: pa.ChunkedArray) -> list[int]:
    """Return the positions of values that are not plainly whole numbers; missing ones are."""
    plain = pc.fill_null(pc.match_substring_regex(texts, _PLAIN), fill_value=True)
    found: list[int] = pc.indices_nonzero(pc.invert(plain)).to_pylist()
    return found


def _cut(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return which ids are numbers of which only the first digits were written."""
    found = pc.match_substring(texts, "+")
    if not pc.any(found).as_py():
        return found
    return pa.chunked_array(
        [[raw is not None and is_cut(raw.strip()) for raw in texts.to_pylist()]]
    )


def _cut_number(where: Facts) -> InputError:
    return InputError(
        f"{where}: an id is a number in scientific notation, whose last digits may be lost",
        "spreadsheets write long numbers so: format the column as text, or as a number without "
        "decimals, and export it from the original again",
        facts=where,
    )


def _texts(values: pa.ChunkedArray, at: _Column) -> pa.ChunkedArray:
    kind = values.type
    if pa.types.is_dictionary(kind):
        return _texts(values.cast(kind.value_type), at)
    if pa.types.is_floating(kind):
        return _whole_floats(values, at)
    if pa.types.is_decimal(kind):
        return _array([None if value is None else _digits(value) for value in values.to_pylist()])
    if pa.types.is_date(kind):
        return values.cast(pa.date32()).cast(pa.string())
    if (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
    ):
        return values.cast(pa.string())
    where = at.whole()
    raise InputError(f"{where} has type {kind}, which cannot be an id", _AS_TEXT, facts=where)


def _whole_floats(values: pa.ChunkedArray, at: _Column) -> pa.ChunkedArray:
    """Return floats as the digits of whole numbers; NaN is missing."""
    limit = EXACT_WHOLE_NUMBERS[values.type.bit_width]
    texts: list[str | None] = []
    for index, value in enumerate(values.to_pylist()):
        if value is None or math.isnan(value):
            texts.append(None)
        elif not math.isfinite(value) or value != int(value):
            where = at.where(index)
            raise InputError(
                f"{where}: a number is not whole: it cannot be an id", _AS_TEXT, facts=where
            )
        elif abs(value) >= limit:
            where = at.where(index)
            raise InputError(
                f"{where}: a number is too large for its type ({values.type}): from "
                f"{limit:,} on, two ids can be the same number",
                _AS_TEXT,
                facts=where,
            )
        else:
            texts.append(str(int(value)))
    return _array(texts)


def _digits(value: Decimal) -> str:
    # Not a cast of the column: Arrow writes a decimal zero as 0E-10.
    return str(int(value)) if value == value.to_integral_value() else f"{value:f}"


def _array(texts: list[str | None]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(texts, pa.string())])


def fold_column(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the folded text of every id; what `fold` returns, and fast for ASCII."""
    folded = pc.ascii_lower(pc.ascii_trim(texts, characters=_ASCII_SPACES))
    rare = pc.or_(
        pc.invert(pc.string_is_ascii(texts)), pc.match_substring_regex(folded, _NUMBER)
    ).combine_chunks()
    rare = pc.fill_null(rare, fill_value=False)
    if not pc.any(rare).as_py():
        return folded
    values = [fold(raw) for raw in texts.combine_chunks().filter(rare).to_pylist()]
    whole = pc.replace_with_mask(folded.combine_chunks(), rare, pa.array(values, pa.string()))
    return pa.chunked_array([whole])


class IdTypeFinder:
    """Finds what the ids of a column are, from all values in all files.

    Parameters
    ----------
    kind, column
        What the ids name, and the column.
    folded
        Whether ids that differ only in case, outer spaces and Unicode form are to be one.
    """

    def __init__(self, kind: IdKind, column: str, *, folded: bool) -> None:
        self._folded = folded
        self._reader = RoleReader(kind, column, IdRules("text", "text", folded))
        self._whole = True
        self._too_large: Facts | None = None

    def see(self, batch: pa.Table, name: str) -> pa.ChunkedArray:
        """Take a batch of `read_batches` into account; return its ids as text.

        Raises
        ------
        InputError
            If there is no such column, its type cannot name anybody, a number is not whole, or it
            is one of which only the first digits were written.
        """
        texts = self._reader.texts(batch, name, 1)
        at = _Column(batch, self._reader.column, name, 1)
        if (index := pc.index(_cut(texts), value=True).as_py()) >= 0:
            raise _cut_number(at.where(index))
        if not self._whole:
            return texts
        for index in _not_plain(texts):
            raw = texts[index].as_py()
            text = fold(raw) if self._folded else raw
            if lost_digits(text):
                self._too_large = self._too_large or at.where(index)
            elif whole_number(text) is None:
                self._whole = False
                break
        return texts

    @property
    def id_type(self) -> IdType:
        """The column's type.

        Raises
        ------
        InputError
            If all ids are whole numbers, but some were written as floats that lost digits.
        """
        if not self._whole:
            return "text"
        if self._too_large is not None:
            raise InputError(
                f"{self._too_large}: a number with a decimal point is 2^53 or more: two ids can be "
                "the same number",
                _AS_TEXT,
                facts=self._too_large,
            )
        return "integer"
