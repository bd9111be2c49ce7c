"""Texts that look like numbers to people, and are none: $1,234.50, 12 %, (5)."""

import re

#: A longer text is no number that anybody means as one.
_MOST_CHARACTERS = 40

#: Spaces that do not break, apostrophes and underscores separate thousands, too.
_SEPARATOR = "[,. \u00a0\u202f'\u2019_]"
_CURRENCY = r"(?:[$€£¥₹]|USD|EUR|GBP|CHF)"
_MINUS = "\u2212\u2013"

#: A number with marks, of which each may be there.
_MARKED = re.compile(
    rf"(?P<bracket>\()?\s*(?P<sign>[-+{_MINUS}])?\s*(?P<before>{_CURRENCY})?\s*"
    rf"(?P<inner>[-+{_MINUS}])?(?P<number>[0-9](?:{_SEPARATOR}?[0-9])*)"
    rf"\s*(?:(?P<percent>%)|(?P<after>{_CURRENCY}))?\s*(?P<end>\))?"
)
_PLAIN = re.compile(r"[0-9]+(?:[.,][0-9]+)?")
_THOUSANDS = re.compile(
    r"[0-9]{1,3}(?P<mark>[,. \u00a0\u202f'\u2019_])[0-9]{3}"
    r"(?:(?P=mark)[0-9]{3})*(?:[.,][0-9]+)?"
)


def marks_of(text: str) -> frozenset[str]:
    """Return what makes a number of this text for people, and none for programs.

    Returns
    -------
    frozenset of str
        Names of the marks. None if the text is a plain number, or no number at all.

    >>> sorted(marks_of("$1,234.50")), sorted(marks_of("(5)")), sorted(marks_of("12 %"))
    (['currency signs', 'thousands separators'], ['parentheses'], ['percent signs'])
    >>> marks_of("1234.5") == marks_of("A1") == marks_of("1,2,3") == frozenset()
    True
    """
    match = _MARKED.fullmatch(text) if len(text) <= _MOST_CHARACTERS else None
    if match is None or (match["bracket"] is None) != (match["end"] is None):
        return frozenset()
    found = {
        "parentheses": match["bracket"],
        "currency signs": match["before"] or match["after"],
        "percent signs": match["percent"],
        "another minus sign than -": {match["sign"], match["inner"]} & set(_MINUS),
    }
    names = {name for name, mark in found.items() if mark}
    if _PLAIN.fullmatch(match["number"]) is None:
        if _THOUSANDS.fullmatch(match["number"]) is None:
            return frozenset()
        names.add("thousands separators")
    return frozenset(names)
