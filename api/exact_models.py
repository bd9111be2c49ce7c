"""scikit-learn estimators, for notebooks, that forget rows instead of being fitted again."""

import hashlib
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from unlearn.stages.config.row_sets import (
    ExactBoostingOptions,
    ExactForestOptions,
    ExactLinearOptions,
    ExactNaiveBayesOptions,
    RowSetOptions,
)
from unlearn.stages.estimators.row_sets.base import RowSetEstimator, Shape
from unlearn.stages.estimators.row_sets.boosting import ExactBoosting
from unlearn.stages.estimators.row_sets.boosting_model import BoostingModel
from unlearn.stages.estimators.row_sets.code_columns import (
    BUCKETS,
    Column,
    HashedColumn,
    NumericColumn,
)
from unlearn.stages.estimators.row_sets.forest import ExactForest, ForestModel
from unlearn.stages.estimators.row_sets.grids import Grid, check_columns, find_ends
from unlearn.stages.estimators.row_sets.linear import ExactLinear
from unlearn.stages.estimators.row_sets.naive_bayes import ExactNaiveBayes
from unlearn.stages.estimators.row_sets.row_set import (
    Bytes,
    Codes,
    find_rows,
    row_digests,
    row_set,
)
from unlearn.stages.rows.tokens import Key

Floats = npt.NDArray[np.float64]

#: The key where none is given. Everybody knows it: what is drawn from it is no secret.
PUBLIC_KEY = hashlib.sha256(b"unlearn notebook key: public, never for real data").hexdigest()


class UnknownIdsError(ValueError):
    """An id is not one of those that the estimator was fitted with, or was forgotten already."""


class _ExactClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # they have no types
    """What the classifiers have in common.

    Attributes
    ----------
    classes_
        The class labels.
    ranges_
        Ends of the grid of each feature, shape (features, 2); NaN for categorical features.
    ids_
        The ids of the rows that it is of.
    """

    #: What fits the model, and its options, whose names are parameters.
    _kind: ClassVar[type[Any]]
    _options: ClassVar[type[RowSetOptions]]

    def __init__(self, *, ranges: Any, categorical: Sequence[int], key: str | None) -> None:
        self.ranges = ranges
        self.categorical = categorical
        self.key = key

    def _build(self, key: Key, shape: Shape) -> RowSetEstimator[Any]:
        names = self._options.model_fields.keys() - {"range"}
        values = {name: _plain(getattr(self, name)) for name in names}
        options = self._options.model_validate(values)
        found: RowSetEstimator[Any] = self._kind(key, shape, options)
        return found

    def fit(self, X: Any, y: Any, ids: Iterable[Hashable] | None = None) -> Self:  # noqa: N803 - as in scikit-learn
        """Fit the model.

        Parameters
        ----------
        X
            Numbers, shape (rows, features); NaN is missing.
        y
            Class labels, shape (rows,).
        ids
            A different id for each row, by which `forget` finds it; by default the numbers of the
            rows, from 0 on.
        """
        values, labels = validate_data(self, X, y, dtype=np.float64, ensure_all_finite="allow-nan")
        check_classification_targets(labels)
        self.classes_, targets = np.unique(labels, return_inverse=True)
        names = list(range(len(values)) if ids is None else map(_plain, ids))
        if len(names) != len(values) or len(set(names)) != len(names):
            raise ValueError("ids: there must be one for each row, and no two may be equal")
        self.ids_ = names
        self._grid = self._make_grid(values)
        self.ranges_ = np.array([_ends(column) for column in self._grid.columns.values()])
        codes = self._encode(values)
        key = Key(PUBLIC_KEY if self.key is None else self.key)
        digests = row_digests(key, [_id_digests(names), codes.view(np.uint8), _bytes(targets)])
        self._digests = dict(zip(names, digests, strict=True))
        self._rows = row_set(digests, codes, targets.astype(np.int64))
        shape = Shape(self._grid.sizes, self._grid.categorical, len(self.classes_))
        self._estimator = self._build(key, shape)
        self._state = self._estimator.fit(self._rows)
        return self._answer()

    def forget(self, ids: Iterable[Hashable]) -> Self:
        """Change the model to what it would be without some rows.

        It is then byte for byte what `fit` makes of the other rows, if `ranges` is `ranges_` and
        the other rows have all classes.

        Parameters
        ----------
        ids
            The ids of these rows.

        Raises
        ------
        UnknownIdsError
            If one of them is not in the model. Nothing is changed then.
        """
        check_is_fitted(self)
        names = set(map(_plain, ids))
        if unknown := names - self._digests.keys():
            raise UnknownIdsError(f"{len(unknown):,} of {len(names):,} ids are not in the model")
        is_gone = np.zeros(len(self._rows), bool)
        if names:
            digests = np.stack([self._digests[name] for name in names])
            is_gone[find_rows(self._rows.digests, digests)] = True
        gone, left = self._rows.take(is_gone), self._rows.take(~is_gone)
        self._state = self._estimator.forget(self._state, gone, left)
        self._rows = left
        self.ids_ = [name for name in self.ids_ if name not in names]
        self._digests = {name: self._digests[name] for name in self.ids_}
        return self._answer()

    def predict_proba(self, X: Any) -> Floats:  # noqa: N803 - as in scikit-learn
        """Return class probabilities, shape (rows, classes)."""
        check_is_fitted(self)
        values = validate_data(
            self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=False
        )
        found: Floats = self._model.probabilities(self._encode(values))
        return found

    def predict(self, X: Any) -> npt.NDArray[Any]:  # noqa: N803 - as in scikit-learn
        """Return the most probable class of each row, shape (rows,)."""
        answers = self.predict_proba(X)
        found: npt.NDArray[Any] = self.classes_[answers.argmax(axis=1)]
        return found

    def model_bytes(self) -> bytes:
        """Return the model as a safetensors file: equal models are equal in every byte."""
        check_is_fitted(self)
        return self._estimator.model(self._state)

    def _answer(self) -> Self:
        self._model = self._estimator.predictor(self.model_bytes())
        return self

    def _make_grid(self, values: Floats) -> Grid:
        features, ranges = values.shape[1], self.ranges
        given = None if ranges is None else np.asarray(ranges, np.float64)
        if given is not None and given.shape != (features, 2):
            raise ValueError(f"ranges: the shape must be ({features}, 2)")
        columns: dict[str, Column] = {}
        for at in range(features):
            if at in self.categorical:
                columns[str(at)] = HashedColumn(PUBLIC_KEY)
            else:
                low, high = find_ends(values[:, at]) if given is None else given[at]
                columns[str(at)] = NumericColumn(float(low), float(high))
        check_columns(columns)
        return Grid(columns)

    def _encode(self, values: Floats) -> Codes:
        codes: Codes = np.empty(values.shape, np.uint16)
        for at, column in enumerate(self._grid.columns.values()):
            if isinstance(column, NumericColumn):
                codes[:, at] = column.encode(values[:, at])
            else:
                codes[:, at] = _hash(values[:, at])
        return codes

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


class _Trees(_ExactClassifier):
    """What the classifiers of trees have in common."""

    @property
    def feature_importances_(self) -> Floats:
        """The share of each feature in all decreases of the loss, shape (features,)."""
        check_is_fitted(self)
        if not isinstance(self._model, ForestModel | BoostingModel):
            raise TypeError("the model has no trees")
        return self._model.importances()


class ExactForestClassifier(_Trees):
    """Extremely randomised trees that forget rows; see docs/exact-models.md.

    Parameters
    ----------
    trees, share, depth, leaf, candidates
        As the options of `exact_forest`. The default of `share` is for tables of a few thousand
        rows; less is cheaper.
    ranges
        Ends of the grid of each feature, shape (features, 2). None takes the 20th smallest and
        largest value of the rows of `fit`, rounded to two digits.
    categorical
        Numbers of the features whose values have no order.
    key
        64 hexadecimal digits that everything is drawn from. None takes a public key.
    """

    _kind, _options = ExactForest, ExactForestOptions

    def __init__(
        self,
        trees: int = 100,
        share: float = 0.5,
        depth: int = 20,
        leaf: int = 2,
        candidates: int = 10,
        *,
        ranges: Any = None,
        categorical: Sequence[int] = (),
        key: str | None = None,
    ) -> None:
        super().__init__(ranges=ranges, categorical=categorical, key=key)
        self.trees = trees
        self.share = share
        self.depth = depth
        self.leaf = leaf
        self.candidates = candidates


class ExactBoostingClassifier(_Trees):
    """Gradient boosting that forgets rows; see docs/exact-models.md.

    Parameters
    ----------
    trees, depth, rate, stage, features, candidates, smoothing, steps
        As the options of `exact_boosting`.
    ranges, categorical, key
        See `ExactForestClassifier`.
    """

    _kind, _options = ExactBoosting, ExactBoostingOptions

    def __init__(  # noqa: PLR0913 - scikit-learn reads the names of all options here
        self,
        trees: int = 180,
        depth: int = 4,
        rate: float = 0.25,
        stage: int = 5,
        features: int = 12,
        candidates: int = 8,
        smoothing: float = 1.0,
        steps: int = 32,
        *,
        ranges: Any = None,
        categorical: Sequence[int] = (),
        key: str | None = None,
    ) -> None:
        super().__init__(ranges=ranges, categorical=categorical, key=key)
        self.trees = trees
        self.depth = depth
        self.rate = rate
        self.stage = stage
        self.features = features
        self.candidates = candidates
        self.smoothing = smoothing
        self.steps = steps


class ExactLinearClassifier(_ExactClassifier):
    """Linear discriminant analysis or ridge scores that forget rows; see docs/exact-models.md.

    Parameters
    ----------
    rule, fourier, bandwidth, shrinkage, regularization
        As the options of `exact_linear`.
    ranges, categorical, key
        See `ExactForestClassifier`.
    """

    _kind, _options = ExactLinear, ExactLinearOptions

    def __init__(
        self,
        rule: str = "discriminant",
        fourier: int = 0,
        bandwidth: float = 0.5,
        shrinkage: float = 1e-4,
        regularization: float = 1.0,
        *,
        ranges: Any = None,
        categorical: Sequence[int] = (),
        key: str | None = None,
    ) -> None:
        super().__init__(ranges=ranges, categorical=categorical, key=key)
        self.rule = rule
        self.fourier = fourier
        self.bandwidth = bandwidth
        self.shrinkage = shrinkage
        self.regularization = regularization


class ExactNaiveBayesClassifier(_ExactClassifier):
    """Naive Bayes that forgets rows; see docs/exact-models.md.

    Parameters
    ----------
    smoothing, variance
        As the options of `exact_naive_bayes`.
    ranges, categorical, key
        See `ExactForestClassifier`.
    """

    _kind, _options = ExactNaiveBayes, ExactNaiveBayesOptions

    def __init__(
        self,
        smoothing: float = 1.0,
        variance: float = 1e-4,
        *,
        ranges: Any = None,
        categorical: Sequence[int] = (),
        key: str | None = None,
    ) -> None:
        super().__init__(ranges=ranges, categorical=categorical, key=key)
        self.smoothing = smoothing
        self.variance = variance


def _ends(column: Any) -> tuple[float, float]:
    is_number = isinstance(column, NumericColumn)
    return (column.low, column.high) if is_number else (np.nan, np.nan)


def _bytes(targets: npt.NDArray[np.intp]) -> Bytes:
    return targets[:, None].astype("<i8").view(np.uint8)


def _id_digests(names: Sequence[Hashable]) -> Bytes:
    """Return a digest of each id: of its type and its text."""
    joined = b"".join(
        hashlib.sha256(f"{type(name).__name__} {name!r}".encode()).digest() for name in names
    )
    return np.frombuffer(joined, np.uint8).reshape(-1, 32)


def _plain(value: Any) -> Any:
    """Return a value as Python has it: NumPy's numbers are other types with other texts."""
    return value.item() if isinstance(value, np.generic) else value


def _hash(values: Floats) -> Codes:
    """Return a code for each value: equal values have one code, NaN has 0."""
    # -0 equals 0, and is written in another way.
    different, index = np.unique(values + 0.0, return_inverse=True)
    codes = [
        0 if np.isnan(value) else int(hashlib.sha256(float(value).hex().encode()).hexdigest(), 16)
        for value in different
    ]
    found = np.array([code % BUCKETS + 1 if code else 0 for code in codes], np.uint16)
    return found[index]
