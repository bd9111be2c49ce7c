"""Linear equations solved to the same bytes on every processor.

LAPACK adds in an order that its kernels choose, so its results differ between processors in the
last digits. Here each operation is one of NumPy's on single elements (a product, a difference, a
quotient, a root), which IEEE 754 rounds in one way, and no sum has an order to choose.
"""

import math

import numpy as np
import numpy.typing as npt

#: By what a penalty that is too small is multiplied.
_STEP = 16.0

Floats = npt.NDArray[np.float64]


class SingularError(ValueError):
    """The matrix is not positive definite, as far as rounding lets it be seen."""


def solve_positive(matrix: Floats, right: Floats) -> Floats:
    """Return X with `matrix @ X == right`, by a Cholesky factor.

    Parameters
    ----------
    matrix
        Symmetric and positive definite, shape (d, d). Only its lower half is read.
    right
        Shape (d, columns).

    Raises
    ------
    SingularError
        If a pivot is not positive.
    """
    factor, solution = np.array(matrix, np.float64), np.array(right, np.float64)
    size = len(factor)
    # Each step takes one column out of the rest of the matrix, and one unknown of what is right.
    for at in range(size):
        pivot = float(factor[at, at])
        if not pivot > 0:
            raise SingularError("the matrix of a linear model is singular")
        root = math.sqrt(pivot)
        column = factor[at + 1 :, at] / root
        factor[at, at], factor[at + 1 :, at] = root, column
        factor[at + 1 :, at + 1 :] -= np.multiply.outer(column, column)
        solution[at] /= root
        solution[at + 1 :] -= np.multiply.outer(column, solution[at])
    for at in reversed(range(size)):
        solution[at] /= factor[at, at]
        solution[:at] -= np.multiply.outer(factor[at, :at], solution[at])
    return solution


def solve_penalised(matrix: Floats, penalty: float, right: Floats, free: int = 0) -> Floats:
    """Return X with `(matrix + penalty * I) @ X == right`.

    Where the sum is singular as far as rounding lets it be seen, the penalty is made larger until
    it is not. So the result is a function of the sums, and there is one for any of them.

    Parameters
    ----------
    matrix
        Symmetric and positive semidefinite, shape (d, d).
    penalty
        More than 0.
    right
        Shape (d, columns).
    free
        So many of the first unknowns have no penalty.
    """
    diagonal = np.diag(np.append(np.zeros(free), np.ones(len(matrix) - free)))
    while True:
        try:
            return solve_positive(matrix + penalty * diagonal, right)
        except SingularError:
            if not math.isfinite(penalty):
                raise
            penalty *= _STEP
