"""Sums over rows without rounding: products of matrices of integers, through float64.

A sum of integers below 2**53 is exact in float64 whatever its order is, so BLAS may add in any
order, on any number of threads and with any instructions. Blocks of rows are so small that their
sums stay below 2**53; totals are int64. Both bounds are checked before anything is added.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from unlearn.stages.errors import InputError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

#: From here on not all integers are numbers of float64.
_EXACT = 2**53

#: From here on int64 wraps around.
_TOTAL = 2**63

#: The way out where a model has too many rows.
MORE_SHARDS = "more shards have fewer rows each (shards.yaml)"

#: Rows of a block: as much as a processor's cache holds.
_BLOCK = 2048


class SumsTooLargeError(InputError, ValueError):
    """There are too many rows for sums without rounding."""


def check_bounds(rows: int, left: int, right: int) -> int:
    """Return how many rows a block may have.

    Parameters
    ----------
    rows
        Rows in all.
    left, right
        Bounds of the absolute values of the two factors.

    Raises
    ------
    SumsTooLargeError
        If a total could be 2**63 or more, or a single product 2**53 or more.
    """
    product = max(1, left * right)
    if product >= _EXACT or max(1, rows) * product >= _TOTAL:
        raise SumsTooLargeError(
            f"sums over {rows:,} rows of products up to {product:,} would be rounded", MORE_SHARDS
        )
    return max(1, min(_BLOCK, (_EXACT - 1) // product))


def sum_of_products(
    rows: int, bounds: tuple[int, int], factors: Callable[[slice], tuple[Floats, Floats]]
) -> Integers:
    """Return the sum over rows of the products of two factors, shape (left width, right width).

    Parameters
    ----------
    rows
        Number of rows; at least 1.
    bounds
        Bounds of the absolute values of the left and of the right factor.
    factors
        Returns both factors of a block of rows: integers in float64, shapes (block, width).
    """
    block = check_bounds(rows, *bounds)
    total: Integers | None = None
    for first in range(0, rows, block):
        left, right = factors(slice(first, min(rows, first + block)))
        part = (left.T @ right).astype(np.int64)
        total = part if total is None else total + part
    if total is None:
        raise ValueError("there are no rows to add")
    return total
