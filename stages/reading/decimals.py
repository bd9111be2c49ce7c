"""Which decimal mark a table's numbers have."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.config.dataset import Decimal
from unlearn.stages.errors import Facts, InputError

#: A number with a decimal comma, or without a decimal mark.
_COMMA = r"^\s*[-+]?(?:[0-9]+(?:,[0-9]+)?|,[0-9]+)(?:[eE][-+]?[0-9]+)?\s*$"

COMMA_NUMBER = re.compile(_COMMA, re.ASCII)

#: What a number with a point is changed to where numbers have a decimal comma: no number.
NO_POINT = ";"

#: Among these, what can also be a whole number with commas between its thousands.
_THOUSANDS = r"^\s*[-+]?[1-9][0-9]{0,2}(?:,[0-9]{3})+\s*$"


def other_mark(value: str) -> Decimal | None:
    """Return the decimal mark with which a text that is no number would be one.

    Parameters
    ----------
    value
        As it was read from CSV: with a decimal comma, `1.5` is `1;5`.

    >>> other_mark("1,5"), other_mark("1;5"), other_mark("many")
    (',', '.', None)
    """
    if COMMA_NUMBER.match(value):
        return ","
    is_point = NO_POINT in value and COMMA_NUMBER.match(value.replace(NO_POINT, ","))
    return "." if is_point else None


@dataclass
class DecimalFacts:
    """What a pass over one column found about decimal marks."""

    all_commas: bool = True
    any_comma: bool = False
    any_clear: bool = False
    any_point: bool = False

    def see(self, values: pa.Array) -> None:
        """Take distinct values, none of which is missing, into account."""
        if not self.all_commas:
            return
        self.all_commas = bool(pc.all(pc.match_substring_regex(values, _COMMA)).as_py())
        if not self.all_commas:
            self.any_point |= bool(pc.any(pc.match_substring(values, ".")).as_py())
            return
        with_comma = values.filter(pc.match_substring(values, ","))
        if len(with_comma):
            self.any_comma = True
            clear = pc.invert(pc.match_substring_regex(with_comma, _THOUSANDS))
            self.any_clear |= bool(pc.any(clear).as_py())

    @property
    def is_comma(self) -> bool:
        """Whether all values are numbers, and one has a comma."""
        return self.all_commas and self.any_comma


def find_decimal(
    columns: Sequence[tuple[str, bool, DecimalFacts]], known: Decimal | None
) -> Decimal:
    """Return the decimal mark of a table.

    Parameters
    ----------
    columns
        Of each column its name, whether all of its values are numbers with a decimal point, and
        what was found.
    known
        What the user chose.

    Raises
    ------
    InputError
        If the columns have different marks, or 1,234 can be two numbers.
    """
    if known is not None:
        return known
    commas = [(name, facts) for name, _, facts in columns if facts.is_comma]
    if not commas:
        return "."
    points = [name for name, is_number, facts in columns if is_number and facts.any_point]
    choose = "choose --decimal ',' or --decimal '.'; with the other mark they are no numbers"
    if points:
        raise InputError(
            f"column {commas[0][0]!r} has numbers with a comma, and column {points[0]!r} has "
            "numbers with a point",
            choose,
            facts=Facts(column=commas[0][0]),
        )
    if not any(facts.any_clear for _, facts in commas):
        raise InputError(
            f"column {commas[0][0]!r}: a number such as 1,234 can be 1.234 or 1234",
            choose,
            facts=Facts(column=commas[0][0]),
        )
    return ","
