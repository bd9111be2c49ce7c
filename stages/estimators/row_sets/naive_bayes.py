"""Naive Bayes by counts and sums of integers.

Numbers are normal in each class, and codes of categories have the frequencies that they have in
the class. A missing number says nothing of a row; a missing category is a category.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from unlearn.stages.config.row_sets import ExactNaiveBayesOptions
from unlearn.stages.estimators.row_sets.base import (
    STATE_FILE,
    Files,
    Shape,
    load_tensors,
    save_tensors,
)
from unlearn.stages.estimators.row_sets.grids import BINS
from unlearn.stages.estimators.row_sets.integer_sums import (
    Floats,
    Integers,
    check_bounds,
    sum_of_products,
)
from unlearn.stages.estimators.row_sets.row_set import (
    Bytes,
    Codes,
    RowSet,
    check_split,
    check_union,
    set_nonce,
)
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
class NaiveBayesState:
    """Sums over a set of rows, and the sorted digests of the rows, shape (rows, 16)."""

    digests: Bytes
    sums: NaiveBayesSums


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

    def _of_numbers(self, codes: Codes) -> Floats:
        features = _features(self.shape, categorical=False)
        rows, sums, squares = np.split(self.sums.moments, _MOMENTS, axis=1)
        known = np.maximum(rows, 1)
        means = sums / known / _SCALE
        spread = np.maximum(squares / known / _SCALE**2 - means**2, 0) + self.options.variance
        found = np.zeros((len(codes), len(rows)))
        for at, feature in enumerate(features):
            values = _values(codes[:, feature])[:, None] / _SCALE
            mean, variance = means[:, at], spread[:, at]
            # A class in which nobody has the number says nothing of it.
            terms = -((values - mean) ** 2 / variance + np.log(variance)) / 2
            says = (codes[:, feature] > 0)[:, None] & (rows[:, at] > 0)
            found += np.where(says, terms, 0.0)
        return found

    def _of_categories(self, codes: Codes) -> Floats:
        found = np.zeros((len(codes), len(self.sums.classes)))
        at = 0
        for feature in _features(self.shape, categorical=True):
            size = self.shape.sizes[feature]
            counts = self.sums.categories[:, at : at + size] + self.options.smoothing
            shares = np.log(counts / counts.sum(axis=1, keepdims=True))
            found += shares.T[codes[:, feature]]
            at += size
        return found


class ExactNaiveBayes:
    """`RowSetEstimator` of naive Bayes models.

    Parameters
    ----------
    key
        The project key; no weight depends on it.
    shape
        What rows look like.
    options
        The settings.
    """

    def __init__(self, key: Key, shape: Shape, options: ExactNaiveBayesOptions) -> None:
        self._key = key
        self._shape = shape
        self._options = options

    def fit(self, rows: RowSet) -> NaiveBayesState:
        """Return the sums over a set of rows."""
        return NaiveBayesState(rows.digests, self._sums(rows))

    def forget(self, state: NaiveBayesState, gone: RowSet, left: RowSet) -> NaiveBayesState:
        """Subtract the sums over the rows that go; none of the others is read."""
        check_split(state.digests, gone, left)
        return NaiveBayesState(left.digests, _combined(state.sums, self._sums(gone), -1))

    def add(self, state: NaiveBayesState, new: RowSet, union: RowSet) -> NaiveBayesState:
        """Add the sums over the new rows; none of the others is read."""
        check_union(state.digests, new, union)
        check_bounds(len(union), 1, _SCALE**2)
        return NaiveBayesState(union.digests, _combined(state.sums, self._sums(new), 1))

    def refits(self, moved: int, rows: int) -> bool:
        """Return False: each row is subtracted or added at the cost of one row of fitting."""
        del moved, rows
        return False

    def row_digests(self, state: NaiveBayesState) -> Bytes:
        """Return the digests of the rows that the sums are over."""
        return state.digests

    def save(self, state: NaiveBayesState) -> Files:
        """Return the sums and the digests as one file."""
        return {STATE_FILE: save_tensors({"digests": state.digests, **_tensors(state.sums)})}

    def load(self, files: Files) -> NaiveBayesState:
        """Return the state that `save` wrote."""
        found = load_tensors(files.get(STATE_FILE), {"digests": ("uint8", 2), **_KINDS})
        sums = NaiveBayesSums(**{name: found[name].astype(np.int64) for name in _KINDS})
        return NaiveBayesState(found["digests"].astype(np.uint8), sums)

    def model(self, state: NaiveBayesState) -> bytes:
        """Return the sums."""
        nonce = set_nonce(self._key, state.digests)
        return save_tensors({"nonce": nonce, **_tensors(state.sums)})

    def predictor(self, model: bytes) -> NaiveBayesModel:
        """Return the model, ready to answer."""
        found = load_tensors(model, {"nonce": ("uint8", 1), **_KINDS})
        sums = NaiveBayesSums(**{name: found[name].astype(np.int64) for name in _KINDS})
        return NaiveBayesModel(self._shape, self._options, sums)

    def _sums(self, rows: RowSet) -> NaiveBayesSums:
        shape, targets = self._shape, rows.targets
        numbers = _features(shape, categorical=False)
        categories = [
            np.bincount(
                targets * shape.sizes[feature] + rows.codes[:, feature],
                minlength=shape.classes * shape.sizes[feature],
            ).reshape(shape.classes, -1)
            for feature in _features(shape, categorical=True)
        ]
        return NaiveBayesSums(
            np.bincount(targets, minlength=shape.classes).astype(np.int64),
            self._moments(rows, numbers),
            np.hstack([np.zeros((shape.classes, 0), np.int64), *categories]).astype(np.int64),
        )

    def _moments(self, rows: RowSet, numbers: list[int]) -> Integers:
        classes = self._shape.classes
        if len(rows) == 0 or not numbers:
            return np.zeros((classes, _MOMENTS * len(numbers)), np.int64)

        def factors(part: slice) -> tuple[Floats, Floats]:
            codes = rows.codes[part][:, numbers]
            values = _values(codes)
            moments = np.hstack([codes > 0, values, values**2])
            return np.eye(classes)[rows.targets[part]], moments

        return sum_of_products(len(rows), (1, _SCALE**2), factors)


_KINDS = {"classes": ("int64", 1), "moments": ("int64", 2), "categories": ("int64", 2)}


def _tensors(sums: NaiveBayesSums) -> dict[str, Integers]:
    return {"classes": sums.classes, "moments": sums.moments, "categories": sums.categories}


def _combined(first: NaiveBayesSums, second: NaiveBayesSums, sign: int) -> NaiveBayesSums:
    return NaiveBayesSums(
        first.classes + sign * second.classes,
        first.moments + sign * second.moments,
        first.categories + sign * second.categories,
    )


def _features(shape: Shape, *, categorical: bool) -> list[int]:
    return [at for at, kind in enumerate(shape.categorical) if kind is categorical]


def _values(codes: Codes) -> Floats:
    """Return numbers times SCALE: between -SCALE and SCALE, and 0 where one is missing."""
    return np.where(codes > 0, 2.0 * codes - (BINS + 1), 0.0)
