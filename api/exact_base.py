"""What the scikit-learn estimators that forget rows have in common."""

import hashlib
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data
from unlearn.stages.config.row_sets import RowSetOptions
from unlearn.stages.estimators.base import IntArray
from unlearn.stages.estimators.row_sets.base import RowSetEstimator, Shape
from unlearn.stages.estimators.row_sets.code_columns import (
    BUCKETS,
    Column,
    HashedColumn,
    NumericColumn,
)
from unlearn.stages.estimators.row_sets.grids import Grid, check_columns, find_ends
from unlearn.stages.estimators.row_sets.row_set import (
    Bytes,
    Codes,
    find_rows,
    row_digests,
    row_set,
)
from unlearn.stages.rows.outputs import Outputs
from unlearn.stages.rows.tokens import Key

Floats = npt.NDArray[np.float64]

#: The key where none is given. Everybody knows it: what is drawn from it is no secret.
PUBLIC_KEY = hashlib.sha256(b"unlearn notebook key: public, never for real data").hexdigest()


class UnknownIdsError(ValueError):
    """An id is not one of those that the estimator was fitted with, or was forgotten already."""


class ExactModel(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """What classifiers and regressors have in common.

    Attributes
    ----------
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
        names = self._options.model_fields.keys() & self.get_params(deep=False).keys()
        values = {name: _plain(getattr(self, name)) for name in names}
        options = self._options.model_validate(values)
        found: RowSetEstimator[Any] = self._kind(key, shape, options)
        return found

    def _outputs(self, y: npt.NDArray[Any]) -> Outputs:
        """Return what the model answers with, given the targets of `fit`."""
        raise NotImplementedError

    def _targets(self, y: npt.NDArray[Any], shape: Shape) -> IntArray:
        """Return targets as the model is fitted to them, shape (rows,)."""
        raise NotImplementedError

    def _fit(self, values: Floats, y: npt.NDArray[Any], ids: Iterable[Hashable] | None) -> Self:
        names = list(range(len(values)) if ids is None else map(_plain, ids))
        if len(names) != len(values) or len(set(names)) != len(names):
            raise ValueError("ids: there must be one for each row, and no two may be equal")
        outputs = self._outputs(y)
        self.ids_ = names
        self._grid = self._make_grid(values)
        self.ranges_ = np.array([_ends(column) for column in self._grid.columns.values()])
        codes = self._encode(values)
        key = Key(PUBLIC_KEY if self.key is None else self.key)
        shape = Shape.of(self._grid, outputs)
        targets = self._targets(y, shape)
        digests = row_digests(key, [_id_digests(names), codes.view(np.uint8), _bytes(targets)])
        self._digests = dict(zip(names, digests, strict=True))
        self._rows = row_set(digests, codes, targets)
        self._estimator = self._build(key, shape)
        self._state = self._estimator.fit(self._rows)
        return self._answer()

    def forget(self, ids: Iterable[Hashable]) -> Self:
        """Change the model to what it would be without some rows.

        It is then byte for byte what `fit` makes of the other rows, if `ranges` is `ranges_`; and
        if the other rows have all classes, or `target_scale` is `target_scale_`.

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

    def _codes_of(self, X: Any) -> Codes:  # noqa: N803 - as in scikit-learn
        """Return rows to predict as codes, shape (rows, features)."""
        check_is_fitted(self)
        values = validate_data(
            self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=False
        )
        return self._encode(values)

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


class HasTrees(ExactModel):
    """What models of trees have in common."""

    @property
    def feature_importances_(self) -> Floats:
        """The share of each feature in all decreases of the loss, shape (features,)."""
        check_is_fitted(self)
        found: Floats = self._model.importances()
        return found


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
