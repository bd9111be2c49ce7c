"""What a target is, by its values: one of some classes, or a number to predict."""

from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa
from unlearn.stages.columns.number_marks import marks_of
from unlearn.stages.config.dataset import Decimal
from unlearn.stages.config.section import Task
from unlearn.stages.reading.decimals import COMMA_NUMBER, DecimalFacts
from unlearn.stages.rows.schema import is_float

#: So many different values are classes, whatever they are.
_CLASSES = 10

#: So many different whole numbers are classes where each has rows enough.
_CODES = 50

#: More different whole numbers than this are a quantity; or fewer, where hardly any is repeated.
_QUANTITIES = 1_000
_UNREPEATED = 200

#: Where this share of the different values are numbers or look like some, the others are mistakes.
_MOST = 0.9


@dataclass
class ValueForms:
    """Of which form the different values of a target are, by batches.

    A value counts once in each batch that has it.

    Attributes
    ----------
    points, commas
        How many are finite numbers with a decimal point, and how many with a decimal comma; whole
        numbers are both.
    fractions
        How many are numbers, but no whole ones, by the decimal mark.
    marked
        How many look like numbers and are none, such as $1,234.
    total
        How many there are.
    marks
        What makes values look like numbers that are none.
    decimals
        The decimal marks of a CSV column.
    """

    points: int = 0
    commas: int = 0
    fractions: Counter[Decimal] = field(default_factory=Counter)
    marked: int = 0
    total: int = 0
    marks: set[str] = field(default_factory=set)
    decimals: DecimalFacts = field(default_factory=DecimalFacts)

    def see(self, texts: list[str], *, is_csv: bool) -> None:
        """Take different values, none of which is missing, into account."""
        self.total += len(texts)
        for text in texts:
            point = number_of(text, ".")
            comma = number_of(text, ",") if is_csv else None
            self.points += point is not None
            self.commas += comma is not None
            self.fractions["."] += point is not None and not point.is_integer()
            self.fractions[","] += comma is not None and not comma.is_integer()
            if point is None and comma is None and (marks := marks_of(text.strip())):
                self.marked += 1
                self.marks |= marks
        if is_csv and texts:
            self.decimals.see(pa.array(texts, pa.string()))

    def numbers(self, decimal: Decimal) -> int:
        """Return how many are numbers with this decimal mark."""
        return self.commas if decimal == "," else self.points

    def are_numbers(self, decimal: Decimal) -> bool:
        """Return whether all values are numbers."""
        return 0 < self.total == self.numbers(decimal)

    def are_mostly_numbers(self, decimal: Decimal) -> bool:
        """Return whether almost all values are numbers, or look like some."""
        return self.numbers(decimal) + self.marked >= _MOST * max(1, self.total)


def number_of(text: str, decimal: Decimal) -> float | None:
    """Return the number that a text writes with a decimal mark, infinite ones too; else None.

    >>> number_of("1.5", "."), number_of("1,5", ","), number_of("1.5", ","), number_of("a", ".")
    (1.5, 1.5, None, None)
    """
    if decimal == ",":
        return float(text.replace(",", ".")) if COMMA_NUMBER.match(text) else None
    return float(text) if is_float(text) else None


def find_task(forms: ValueForms, different: int, rows: int, decimal: Decimal) -> Task | None:
    """Return what a target looks like; None where its values can be classes or a quantity.

    Classes are texts, and numbers of which there are few. A quantity has many different values, and
    fractions among them, or is hardly ever the same.

    Parameters
    ----------
    forms
        The forms of its values.
    different, rows
        How many different values there are, and how many rows have one.
    decimal
        The decimal mark of numbers.

    Examples
    --------
    >>> def task(values: list[str]) -> Task | None:
    ...     forms = ValueForms()
    ...     forms.see(sorted(set(values)), is_csv=False)
    ...     return find_task(forms, len(set(values)), len(values), ".")
    >>> task(["yes", "no", "no"]), task([str(digit) for digit in range(10)])
    ('classification', 'classification')
    >>> task([f"{number}.25" for number in range(60)]), task([str(age) for age in range(60)] * 3)
    ('regression', None)
    """
    if different <= _CLASSES:
        return "classification"
    if not forms.are_numbers(decimal):
        return "regression" if forms.are_mostly_numbers(decimal) else "classification"
    repeated = 2 * different <= rows
    if forms.fractions[decimal]:
        return "regression" if different > _CODES or not repeated else None
    if different <= _CODES and repeated:
        return "classification"
    if different > _QUANTITIES or (different > _UNREPEATED and not repeated):
        return "regression"
    return None
