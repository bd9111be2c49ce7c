"""Reasons without figures: what a sentence may say where everybody can read it."""

import re
from collections.abc import Sequence

#: A number that stands for itself. Not the digits of a name such as `s003` or `reports/v2.json`.
_FIGURE = re.compile(r"(?<![\w./@-])[-+]?\.?\d[\d.,]*(?:e[-+]?\d+)?%?(?![\w/@])", re.IGNORECASE)

#: The one public reason of an attack that was made and did not decide: which of several reasons it
#: was would depend on single rows.
UNSETTLED = (
    "the attack does not settle it, or not by enough to say so without a hint at single rows: the "
    "figures are in reports/verify.json"
)

WITHHELD = "the reason has figures: it is in reports/verify.json"


def has_figures(sentence: str) -> bool:
    """Return whether a sentence has a number in it, other than in the name of something."""
    return _FIGURE.search(sentence) is not None


def without_figures(sentences: Sequence[str]) -> tuple[str, ...]:
    """Return the sentences, with a fixed one in the place of each that has figures.

    A reason may come from a user's own method or from a file, so its author cannot be relied upon.
    """
    shown = (WITHHELD if has_figures(sentence) else sentence for sentence in sentences)
    return tuple(dict.fromkeys(shown))
