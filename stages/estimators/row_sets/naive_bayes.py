"""Naive Bayes by counts and sums of integers.

Numbers are normal in each class, and codes of categories have the frequencies that they have in
the class. A missing number says nothing of a row; a missing category is a category.
"""

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from unlearn.stages.config.row_sets import ExactNaiveBayesOptions
from unlearn.stages.estimators.row_sets.base import (
    Shape,
    load_tensors,
    save_tensors,
)
from unlearn.stages.estimators.row_sets.code_columns import BINS
from unlearn.stages.estimators.row_sets.integer_sums import (
    Floats,
    Integers,
    sum_of_products,
)
from unlearn.stages.estimators.row_sets.row_set import (
    Codes,
    RowSet,
)
from unlearn.stages.estimators.row_sets.sums import Sums, SumsEstimator, SumsState
from unlearn.stages.rows.tokens import Key

#: Numbers are multiples of 1 / SCALE, between -1 and 1.
_SCALE = BINS + 1

#: Sums of a number: rows that have it, their values, and their squares.
_MOMENTS = 3


@dataclass(frozen=True)
class NaiveBayesSums:
    """Counts and sums over rows.

    Parameters
    ----------
    classes
        Rows of each class, shape (classes,).
    moments
        For each class and number: rows that have it, their values and their squares, in multiples
        of 1 / SCALE, shape (classes, 3 * numbers).
    categories
        For each class, the rows with each code of each categorical feature, shape (classes, codes).
    """

    classes: Integers
    moments: Integers
    categories: Integers


@dataclass(frozen=True)
class Normals:
    """What the numbers of each class are like.

    Parameters
    ----------
    features
        The columns of codes that are numbers.
    means, variances
        Between the ends of the grid, -1 and 1; shape (classes, numbers).
    has_rows
        Whether a row of the class has the number, shape (classes, numbers).
    """

    features: list[int]
    means: Floats
    variances: Floats
    has_rows: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class NaiveBayesModel:
    """A naive Bayes model, ready to answer."""

    shape: Shape
    options: ExactNaiveBayesOptions
    sums: NaiveBayesSums

    def probabilities(self, codes: Codes) -> npt.NDArray[np.float64]:
        """Return class probabilities, shape (n, classes)."""
        classes = self.sums.classes
        if not classes.any():
            return np.full((len(codes), len(classes)), 1.0 / len(classes))
        with np.errstate(divide="ignore"):
            likely = np.log(classes / classes.sum()) + np.zeros((len(codes), 1))
        likely += self._of_numbers(codes) + self._of_categories(codes)
        answer = np.exp(likely - likely.max(axis=1, keepdims=True))
        found: npt.NDArray[np.float64] = answer / answer.sum(axis=1, keepdims=True)
        return found

    def parameters(self) -> tuple["Normals", list[tuple[int, Floats]]]:
        """Return what numbers are like in each class, and the logarithms of shares of codes.

        The latter are of each categorical feature, shape (classes, codes).
        """
        rows, sums, squares = np.split(self.sums.moments, _MOMENTS, axis=1)
        known = np.maximum(rows, 1)
        means = sums / known / _SCALE
        spread = np.maximum(squares / known / _SCALE**2 - means**2, 0) + self.options.variance
        shares, at = [], 0
        for feature in _features(self.shape, categorical=True):
            size = self.shape.sizes[feature]
            counts = self.sums.categories[:, at : at + size] + self.options.smoothing
            shares.append((feature, np.log(counts / counts.sum(axis=1, keepdims=True))))
            at += size
        return Normals(_features(self.shape, categorical=False), means, spread, rows > 0), shares

    def _of_numbers(self, codes: Codes) -> Floats:
        normals, _ = self.parameters()
        found = np.zeros((len(codes), len(self.sums.classes)))
        for at, feature in enumerate(normals.features):
            values = _values(codes[:, feature])[:, None] / _SCALE
            mean, variance = normals.means[:, at], normals.variances[:, at]
            # A class in which nobody has the number says nothing of it.
            terms = -((values - mean) ** 2 / variance + np.log(variance)) / 2
            says = (codes[:, feature] > 0)[:, None] & normals.has_rows[:, at]
            found += np.where(says, terms, 0.0)
        return found

    def _of_categories(self, codes: Codes) -> Floats:
        found = np.zeros((len(codes), len(self.sums.classes)))
        for feature, shares in self.parameters()[1]:
            found += shares.T[codes[:, feature]]
        return found


class ExactNaiveBayes(SumsEstimator):
    """`RowSetEstimator` of naive Bayes models; see `NaiveBayesSums`.

    Parameters
    ----------
    key
        The project key; no weight depends on it.
    shape
        What rows look like.
    options
        The settings.
    """

    _dimensions = MappingProxyType({"classes": 1, "moments": 2, "categories": 2})
    _bounds = (1, _SCALE**2)

    def __init__(self, key: Key, shape: Shape, options: ExactNaiveBayesOptions) -> None:
        super().__init__(key, shape)
        self._options = options

    def model(self, state: SumsState) -> bytes:
        """Return the sums."""
        return save_tensors({"nonce": self._nonce(state), **state.sums})

    def predictor(self, model: bytes) -> NaiveBayesModel:
        """Return the model, ready to answer."""
        kinds = {name: ("int64", count) for name, count in self._dimensions.items()}
        found = load_tensors(model, {"nonce": ("uint8", 1), **kinds})
        sums = NaiveBayesSums(**{name: found[name].astype(np.int64) for name in kinds})
        return NaiveBayesModel(self._shape, self._options, sums)

    def _sums(self, rows: RowSet) -> Sums:
        shape, targets = self._shape, rows.targets
        numbers = _features(shape, categorical=False)
        categories = [
            np.bincount(
                targets * shape.sizes[feature] + rows.codes[:, feature],
                minlength=shape.classes * shape.sizes[feature],
            ).reshape(shape.classes, -1)
            for feature in _features(shape, categorical=True)
        ]
        nothing = np.zeros((shape.classes, 0), np.int64)
        return {
            "classes": np.bincount(targets, minlength=shape.classes).astype(np.int64),
            "moments": self._moments(rows, numbers),
            "categories": np.hstack([nothing, *categories]).astype(np.int64),
        }

    def _moments(self, rows: RowSet, numbers: list[int]) -> Integers:
        classes = self._shape.classes
        if len(rows) == 0 or not numbers:
            return np.zeros((classes, _MOMENTS * len(numbers)), np.int64)

        def factors(part: slice) -> tuple[Floats, Floats]:
            codes = rows.codes[part][:, numbers]
            values = _values(codes)
            moments = np.hstack([codes > 0, values, values**2])
            return np.eye(classes)[rows.targets[part]], moments

        return sum_of_products(len(rows), self._bounds, factors)


def _features(shape: Shape, *, categorical: bool) -> list[int]:
    return [at for at, kind in enumerate(shape.categorical) if kind is categorical]


def _values(codes: Codes) -> Floats:
    """Return numbers times SCALE: between -SCALE and SCALE, and 0 where one is missing."""
    return np.where(codes > 0, 2.0 * codes - (BINS + 1), 0.0)
