"""How many of its trees a row of a forest is in, where nobody says it."""

import math

#: Rows of each class that a tree is to have, on average: with so many, a forest whose rows are in
#: some trees is less than a point of accuracy behind one whose rows are in all trees. Measured on
#: drawn rows with 2, 7 and 26 classes (`benchmarks/exact_forest_share.py`).
ROWS_OF_A_CLASS = 2_000

#: Where numbers are predicted, rows of a tree: the error is within about 5 % of that of a forest
#: whose rows are in all trees (`benchmarks/exact_regression.py`).
ROWS_WITH_NUMBERS = 8_000

_LEAST = 0.1
_STEPS = 20


def default_share(rows: int, classes: int) -> float:
    """Return the share for so many rows: from .1 on large tables to 1 on small ones.

    It is rounded up to .05, so that it hardly ever changes with a few rows.

    Parameters
    ----------
    rows
        Rows of the forest, about.
    classes
        Number of classes; 0 where numbers are predicted.
    """
    of_tree = ROWS_OF_A_CLASS * classes or ROWS_WITH_NUMBERS
    wanted = of_tree / max(1, rows)
    return min(1.0, max(_LEAST, math.ceil(wanted * _STEPS) / _STEPS))
