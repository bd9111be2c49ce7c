"""Linear models by sums of integers: ridge scores, and linear discriminant analysis.

The state is one matrix: the sum over rows of the products of all pairs of columns, in integers.
Rows are added and forgotten by sums over these rows alone. Weights are then solved for from the
matrix, which has no rows in it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from unlearn.stages.config.row_sets import ExactLinearOptions
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.row_sets.base import (
    Shape,
    load_tensors,
    save_tensors,
)
from unlearn.stages.estimators.row_sets.code_columns import BINS
from unlearn.stages.estimators.row_sets.fourier import SCALE, cosines, draw_frequencies
from unlearn.stages.estimators.row_sets.integer_sums import (
    Floats,
    Integers,
    sum_of_products,
)
from unlearn.stages.estimators.row_sets.row_set import (
    Codes,
    RowSet,
)
from unlearn.stages.estimators.row_sets.solving import solve_penalised
from unlearn.stages.estimators.row_sets.sums import Sums, SumsEstimator, SumsState
from unlearn.stages.estimators.row_sets.target_grid import FARTHEST
from unlearn.stages.rows.tokens import Key

_TWO = 2

#: Rows that are answered at a time.
_BLOCK = 4096


@dataclass(frozen=True)
class LinearModel:
    """A linear model, ready to answer.

    Parameters
    ----------
    shape
        What rows look like.
    is_ridge
        Whether the scores of classes are votes.
    weights
        One row of weights a score, with the constant's weight first, shape (columns, scores).
    counts
        Rows of each class, shape (classes,); of a regression all rows, shape (1,).
    frequencies, phases
        Of the Fourier features.
    """

    shape: Shape
    is_ridge: bool
    weights: Floats
    counts: Integers
    frequencies: Integers
    phases: Integers

    def scores(self, codes: Codes) -> Floats:
        """Return the score of each class for each row, shape (n, classes).

        Of a regression it is the step of the target's grid, shape (n, 1).
        """
        scale = np.append(1.0, np.full(len(self.weights) - 1, 1.0 / SCALE))[:, None]
        weights, found = self.weights * scale, np.empty((len(codes), self.weights.shape[1]))
        for first in range(0, len(codes), _BLOCK):
            block = inputs_of(self.shape, codes[first : first + _BLOCK])
            block = with_features(block, self.frequencies, self.phases)
            found[first : first + _BLOCK] = block @ weights
        if found.shape[1] == 1 and self.shape.classes == _TWO:
            found = np.hstack([-found, found])
        return found

    def probabilities(self, codes: Codes) -> npt.NDArray[np.float64]:
        """Return posteriors of the discriminant analysis, or the vote of ridge scores."""
        if not self.counts.any():
            return np.full((len(codes), self.shape.classes), 1.0 / self.shape.classes)
        scores = self.scores(codes)
        if self.is_ridge:
            votes: npt.NDArray[np.float64] = np.eye(self.shape.classes)[scores.argmax(axis=1)]
            return votes
        with np.errstate(divide="ignore"):
            scores = scores + np.log(self.counts / self.counts.sum())
        likely = np.exp(scores - scores.max(axis=1, keepdims=True))
        answer: npt.NDArray[np.float64] = likely / likely.sum(axis=1, keepdims=True)
        return answer

    def values(self, codes: Codes) -> npt.NDArray[np.float64]:
        """Return the predicted numbers; without rows, they are the pinned centre."""
        if self.shape.target is None:
            raise TypeError("the model predicts classes")
        return self.shape.target.decode(self.scores(codes)[:, 0])


class ExactLinear(SumsEstimator):
    """`RowSetEstimator` of linear models.

    The state is one matrix: the products of all pairs of columns, summed over the rows. The columns
    are the constant 1, the inputs and the Fourier features times SCALE, and for each class whether
    a row is of it. Of a regression, the last column is the target on its grid, and the matrix has
    no row for it.

    Parameters
    ----------
    key
        The project key.
    shape
        What rows look like.
    options
        The settings.

    Raises
    ------
    InputError
        If the rule is not one of the task.
    """

    _dimensions = MappingProxyType({"sums": 2})
    _bounds = (SCALE, SCALE)

    def __init__(self, key: Key, shape: Shape, options: ExactLinearOptions) -> None:
        super().__init__(key, shape)
        self._options = options
        self._is_ridge = _is_ridge(options, shape)
        if shape.target is not None:
            self._bounds = (SCALE, FARTHEST)
        self._frequencies, self._phases = draw_frequencies(
            key, "exact_linear", (input_width(shape), options.fourier), options.bandwidth
        )
        self._width = 1 + input_width(shape) + options.fourier

    def model(self, state: SumsState) -> bytes:
        """Solve for the weights."""
        sums = state.sums["sums"]
        counts = sums[0, self._width :] if self._shape.target is None else sums[0, :1]
        return save_tensors(
            {
                "weights": self._weights(sums, counts),
                "counts": counts,
                "frequencies": self._frequencies,
                "phases": self._phases,
                "nonce": self._nonce(state),
            }
        )

    def predictor(self, model: bytes) -> LinearModel:
        """Return the model, ready to answer."""
        kinds = {"weights": ("float64", 2), "counts": ("int64", 1)}
        kinds |= {"frequencies": ("int64", 2), "phases": ("int64", 1)}
        kinds["nonce"] = ("uint8", 1)
        found = load_tensors(model, kinds)
        return LinearModel(
            self._shape,
            self._is_ridge,
            found["weights"].astype(np.float64),
            *(found[name].astype(np.int64) for name in ("counts", "frequencies", "phases")),
        )

    def _sums(self, rows: RowSet) -> Sums:
        is_number = self._shape.target is not None
        width = self._width + (1 if is_number else self._shape.classes)
        if len(rows) == 0:
            return {"sums": np.zeros((width - is_number, width), np.int64)}

        def factors(part: slice) -> tuple[Floats, Floats]:
            inputs = with_features(
                inputs_of(self._shape, rows.codes[part]), self._frequencies, self._phases
            )
            if is_number:
                numbers = rows.targets[part, None].astype(np.float64)
                return inputs, np.hstack([inputs, numbers])
            targets = np.eye(self._shape.classes)[rows.targets[part]]
            block = np.hstack([inputs, targets])
            return block, block

        return {"sums": sum_of_products(len(rows), self._bounds, factors)}

    def _weights(self, sums: Integers, counts: Integers) -> Floats:
        """Return the weights of each score, with the constant's first, shape (columns, scores)."""
        rows, size = int(counts.sum()), self._width
        is_number = self._shape.target is not None
        products = sums[:size, :size] / np.append(1.0, np.full(size - 1, SCALE))
        products /= np.append(1.0, np.full(size - 1, SCALE))[:, None]
        by_class = sums[:size, size:] / np.append(1.0, np.full(size - 1, SCALE))[:, None]
        scores = 1 if self._shape.classes == _TWO and self._is_ridge else len(counts)
        if rows == 0:
            return np.zeros((size, scores))
        if self._is_ridge:
            # Targets are 1 for rows of the class and -1 for all others.
            right = by_class if is_number else 2.0 * by_class[:, -scores:] - products[:, :1]
            # The constant has no penalty; it is first, so that eliminating it centres the others.
            return solve_penalised(products, self._options.regularization, right, free=1)
        return _discriminant(products, by_class, counts, self._options.shrinkage)


def _is_ridge(options: ExactLinearOptions, shape: Shape) -> bool:
    """Return whether the rule is `ridge`: numbers have no other."""
    if shape.target is None:
        return options.rule == "ridge"
    if options.rule == "discriminant":
        raise InputError(
            "train.options.rule: discriminant tells classes apart, and the task is regression",
            "`rule: ridge` predicts numbers",
        )
    return True


def _discriminant(products: Floats, by_class: Floats, counts: Integers, shrinkage: float) -> Floats:
    """Return the weights of linear discriminant analysis, without the logarithms of priors.

    Fisher's rule with the pooled covariance S: the score of a class with mean m is x S^-1 m - m
    S^-1 m / 2.
    """
    rows = float(counts.sum())
    present = np.maximum(counts, 1).astype(np.float64)
    means = by_class[1:] / present
    within = products[1:, 1:].copy()
    for label in range(len(counts)):
        within -= np.multiply.outer(by_class[1:, label], means[:, label])
    directions = solve_penalised(within / rows, shrinkage, means)
    # One term after another, so that no library chooses an order.
    constants = np.zeros(len(counts))
    for mean, direction in zip(means, directions, strict=True):
        constants -= mean * direction / 2
    return np.vstack([constants, directions])


def input_width(shape: Shape) -> int:
    """Return how many input columns rows have: one a number, and one a code of a category."""
    return sum(
        size if categorical else 1
        for size, categorical in zip(shape.sizes, shape.categorical, strict=True)
    )


def inputs_of(shape: Shape, codes: Codes) -> Floats:
    """Return the constant 1 and the inputs of rows: integers in float64, shape (n, 1 + width).

    A number is between -SCALE and SCALE, its grid's ends, and 0 where it is missing. A category is
    SCALE in its own column.
    """
    found = np.zeros((len(codes), 1 + input_width(shape)))
    found[:, 0] = 1
    every = np.arange(len(codes))
    for feature, first in _first_columns(shape):
        values = codes[:, feature]
        if shape.categorical[feature]:
            found[every, first + values] = SCALE
        else:
            found[:, first] = np.where(values > 0, 2.0 * values - (BINS + 1), 0.0)
    return found


def _first_columns(shape: Shape) -> Iterator[tuple[int, int]]:
    at = 1
    for feature, size in enumerate(shape.sizes):
        yield feature, at
        at += size if shape.categorical[feature] else 1


def with_features(inputs: Floats, frequencies: Integers, phases: Integers) -> Floats:
    """Return inputs, and their Fourier features after them."""
    if len(phases) == 0:
        return inputs
    return np.hstack([inputs, cosines(inputs[:, 1:], frequencies, phases)])
