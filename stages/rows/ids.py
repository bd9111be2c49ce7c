"""Which ids are one: the canonical text of an id, from which its token is made.

The same person is often written in two ways: pandas writes the column of integers 1003 as 1003.0
once a value is missing, and e-mail addresses come in any case. `params.yaml` therefore says what
the ids of a column are (`id_type`, `subject_type`) and which of them are one (`identity`).
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from unlearn.stages.config.dataset import DatasetParams, IdType
from unlearn.stages.reading.spelling import folded_text

IdKind = Literal["record", "subject"]

#: From here on a double does not hold every whole number: two ids can become one.
EXACT_FLOATS = 2**53

#: A whole number without leading zeros, as text; with decimals that are all zero it is a float's.
_WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]*))(\.0+)?")

#: How Java and Python write a float with an exponent. With a decimal point only: 12e5 may well be
#: an id in hexadecimal digits.
_EXPONENT = re.compile(r"-?[1-9]\.[0-9]+[eE]\+?[0-9]{1,2}")

#: How spreadsheets write large numbers: the digits after the point, and the exponent.
_SCIENTIFIC = re.compile(r"-?[1-9](?:\.([0-9]+))?[eE]\+([0-9]{1,2})")


def whole_number(text: str) -> str | None:
    """Return the digits of a whole number; None if `text` is none.

    >>> whole_number("1003"), whole_number("1003.0"), whole_number("1.0034567E7")
    ('1003', '1003', '10034567')
    >>> whole_number("007"), whole_number("1003.5"), whole_number(" 1003")
    (None, None, None)

    Notes
    -----
    A number that is written as a float is none from 2**53 on, because its last digits are lost, and
    neither is one of which a spreadsheet shows the first digits only: see `is_cut`.
    """
    if match := _WHOLE.fullmatch(text):
        digits, decimals = match.groups()
        if decimals is not None and not _is_exact(digits):
            return None
        return "0" if digits == "-0" else digits
    if _EXPONENT.fullmatch(text) and not is_cut(text):
        value = Decimal(text)
        if value == value.to_integral_value() and abs(value) < EXACT_FLOATS:
            return str(int(value))
    return None


def _is_plain_number(text: str) -> bool:
    """Return whether `text` is a positive whole number that is its own canonical text."""
    return text.isascii() and text.isdigit() and text[0] != "0"


def lost_digits(text: str) -> bool:
    """Return whether `text` is a whole number that a float wrote, and too large for a float."""
    if match := _WHOLE.fullmatch(text):
        return match[2] is not None and not _is_exact(match[1])
    return _EXPONENT.fullmatch(text) is not None and abs(Decimal(text)) >= EXACT_FLOATS


def is_cut(text: str) -> bool:
    """Return whether a text is a large number of which a program wrote the first digits only.

    Spreadsheets write 100100123456 as 1.00100E+11, and `%e` in other programs does likewise.
    Shortest forms without a plus sign, as Java writes them, have all digits.
    """
    match = _SCIENTIFIC.fullmatch(text)
    return match is not None and int(match[2]) > len(match[1] or "")


def _is_exact(digits: str) -> bool:
    # Not int() first: it refuses thousands of digits.
    return len(digits.lstrip("-")) < len(str(EXACT_FLOATS)) or (
        len(digits.lstrip("-")) == len(str(EXACT_FLOATS)) and abs(int(digits)) < EXACT_FLOATS
    )


def fold(text: str) -> str:
    """Return what is left of an id without its case, outer spaces and Unicode form.

    Two ids are look-alikes if they differ and their folded texts do not. A whole number that is
    written as a float folds to its digits.

    >>> fold(" Jane.Roe@Example.org"), fold("1003.0")
    ('jane.roe@example.org', '1003')
    """
    folded = folded_text(text)
    return whole_number(folded) or folded


@dataclass(frozen=True)
class IdRules:
    """How the ids of a project are read.

    Parameters
    ----------
    record, subject
        What all ids of the column are; None in projects from before this setting.
    folded
        Whether ids that differ only in case, outer spaces and Unicode form are one.
    """

    record: IdType | None = None
    subject: IdType | None = None
    folded: bool = False

    @classmethod
    def of(cls, dataset: DatasetParams) -> "IdRules":
        """Return the rules that params.yaml states."""
        return cls(dataset.id_type, dataset.subject_type, dataset.identity == "folded")

    def type_of(self, kind: IdKind) -> IdType | None:
        """Return what the ids of records, or of subjects, are."""
        return self.record if kind == "record" else self.subject

    def canonical(self, kind: IdKind, raw: str) -> str:
        """Return the one text of all ids that are the same as `raw`.

        An id that cannot be in the column, such as a word among whole numbers, keeps its own text,
        which no row has.
        """
        if self.folded:
            return fold(raw)
        text = raw if raw.isascii() else unicodedata.normalize("NFC", raw)
        if self.type_of(kind) == "integer":
            return whole_number(text) or text
        return text

    def canonicals(self, kind: IdKind, raws: Sequence[str]) -> Iterable[str]:
        """Return what `canonical` returns for each id, fast for ids as most files have them."""
        if self.folded:
            return (fold(raw) for raw in raws)
        if self.type_of(kind) == "integer":
            return (raw if _is_plain_number(raw) else self.canonical(kind, raw) for raw in raws)
        if "".join(raws).isascii():
            return raws
        return (unicodedata.normalize("NFC", raw) for raw in raws)

    def accepts(self, kind: IdKind, raw: str) -> bool:
        """Return whether `raw` is of the column's type."""
        if self.type_of(kind) != "integer":
            return True
        return whole_number(fold(raw) if self.folded else raw) is not None


#: The rules of projects that state none: an id is its text, in NFC.
AS_WRITTEN = IdRules()
