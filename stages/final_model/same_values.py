"""Which texts write the same value: 1003 and 01003, true and True, a day and its midnight."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

import pyarrow as pa
from unlearn.stages.reading.datetimes import seconds_of_text
from unlearn.stages.rows.roles import EXACT_WHOLE_NUMBERS
from unlearn.stages.rows.schema import BOOLEAN_TEXTS

#: A longer text is no number that anybody means as one.
_MOST_DIGITS = 40

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?", re.ASCII)

#: A number, a point in time, or a boolean.
_Value = tuple[str, Decimal | float | bool]


def value_of(text: str) -> _Value | None:
    """Return the number, the time or the boolean that a text writes; None if it is only text.

    >>> value_of("01003") == value_of("1003.0"), value_of("True") == value_of("true")
    (True, True)
    >>> value_of("red") is None, value_of("yes") is None
    (True, True)
    """
    plain = text.strip()
    if len(plain) <= _MOST_DIGITS and _NUMBER.fullmatch(plain):
        return "number", Decimal(plain)
    if (seconds := seconds_of_text(plain)) is not None:
        return "time", seconds
    if plain.lower() in ("true", "false"):
        return "boolean", plain.lower() == "true"
    return None


@dataclass(frozen=True)
class SameValues:
    """The categories that a model knows, by the values that they write.

    Parameters
    ----------
    known
        The categories.
    missing
        Texts that mean a missing value.
    by_value
        The texts of both that write a number, a time or a boolean, by that.
    has_synonyms
        Whether the model knows two texts of one value: then its training tells notations apart.
    knows_numbers
        Whether a category is a number.
    """

    known: frozenset[str]
    missing: frozenset[str]
    by_value: Mapping[_Value, frozenset[str]]
    has_synonyms: bool
    knows_numbers: bool

    @classmethod
    def of(cls, known: Iterable[str], missing: Iterable[str]) -> "SameValues":
        """Return the categories of a column."""
        known, missing = frozenset(known), frozenset(missing)
        by_value: dict[_Value, set[str]] = {}
        for text in known | missing:
            if (value := value_of(text)) is not None:
                by_value.setdefault(value, set()).add(text)
        return cls(
            known,
            missing,
            {value: frozenset(texts) for value, texts in by_value.items()},
            any(len(texts & known) > 1 for texts in by_value.values()),
            any(name == "number" for name, _ in by_value),
        )

    def meant(self, text: str, kind: pa.DataType) -> str | None:
        """Return the category that a value is.

        Parameters
        ----------
        text
            The value as text.
        kind
            The type that it has in its file.

        Returns
        -------
        str or None
            The text itself; or for a whole number that a float has as 1003.0 its digits, and the
            reverse. None if the model knows the value in another notation, and nobody can tell
            which was meant.
        """
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        others = self._others(text, kind)
        if _is_text(kind):
            is_clear = text in self.known or self.has_synonyms or not others
            return text if is_clear else None
        if text in self.known:
            return None if others or self.has_synonyms else text
        if self.knows_numbers and _lost_digits(text, kind):
            return None
        if not others:
            return text
        # A column of whole numbers becomes one of floats once a value is missing.
        other = f"{text}.0" if pa.types.is_integer(kind) else _whole_number(text, kind)
        return other if others == {other} and not self.has_synonyms else None

    def _others(self, text: str, kind: pa.DataType) -> Collection[str]:
        """Return the other texts of a value that the model knows."""
        if pa.types.is_boolean(kind):
            same = {
                other
                for other in self.known | self.missing
                if BOOLEAN_TEXTS.get(other.strip().lower()) == (text == "true")
            }
        else:
            value = value_of(text)
            same = set() if value is None else set(self.by_value.get(value, ()))
        return same - {text}


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _whole_number(text: str, kind: pa.DataType) -> str | None:
    """Return the digits of a whole number that a float or a decimal has with decimals."""
    if not (pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        return None
    value = value_of(text)
    if value is None or value[0] != "number":
        return None
    number = Decimal(value[1])
    return str(int(number)) if number == number.to_integral_value() else None


def _lost_digits(text: str, kind: pa.DataType) -> bool:
    """Return whether a float may stand for a number that its type does not hold."""
    if not pa.types.is_floating(kind):
        return False
    whole = _whole_number(text, kind)
    if whole is None:
        return bool(kind != pa.float64())
    return abs(int(whole)) >= EXACT_WHOLE_NUMBERS[kind.bit_width]
