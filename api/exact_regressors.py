"""scikit-learn regressors, for notebooks, that forget rows instead of being fitted again."""

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import RegressorMixin
from sklearn.utils.validation import validate_data
from unlearn.exact_base import ExactModel, Floats, HasTrees
from unlearn.stages.columns.target_scale import find_scale
from unlearn.stages.config.row_sets import (
    ExactBoostingOptions,
    ExactForestOptions,
    ExactLinearOptions,
)
from unlearn.stages.estimators.base import IntArray
from unlearn.stages.estimators.row_sets.base import Shape
from unlearn.stages.estimators.row_sets.boosting import ExactBoosting
from unlearn.stages.estimators.row_sets.forest import ExactForest
from unlearn.stages.estimators.row_sets.linear import ExactLinear
from unlearn.stages.rows.outputs import Outputs


class _ExactRegressor(RegressorMixin, ExactModel):  # type: ignore[misc]  # it has no types
    """What the regressors have in common.

    Attributes
    ----------
    target_scale_
        Centre and scale of the grid that targets are on.
    """

    def __init__(
        self, *, ranges: Any, target_scale: Any, categorical: Sequence[int], key: str | None
    ) -> None:
        super().__init__(ranges=ranges, categorical=categorical, key=key)
        self.target_scale = target_scale

    def fit(self, X: Any, y: Any, ids: Iterable[Hashable] | None = None) -> Self:  # noqa: N803 - as in scikit-learn
        """Fit the model.

        Parameters
        ----------
        X
            Numbers, shape (rows, features); NaN is missing.
        y
            Numbers to predict, shape (rows,).
        ids
            A different id for each row, by which `forget` finds it; by default the numbers of the
            rows, from 0 on.
        """
        values, numbers = validate_data(
            self, X, y, dtype=np.float64, ensure_all_finite="allow-nan", y_numeric=True
        )
        return self._fit(values, numbers.astype(np.float64), ids)

    def predict(self, X: Any) -> Floats:  # noqa: N803 - as in scikit-learn
        """Return the predicted number of each row, shape (rows,)."""
        codes = self._codes_of(X)
        found: Floats = self._model.values(codes)
        return found

    def _outputs(self, y: npt.NDArray[Any]) -> Outputs:
        given = self.target_scale
        if given is None:
            pinned = find_scale([y])
            given = pinned.centre, pinned.scale
        centre, scale = (float(value) for value in np.asarray(given, np.float64).reshape(-1))
        if not (np.isfinite(centre) and np.isfinite(scale) and scale > 0):
            raise ValueError("target_scale: must be [centre, scale], and the scale more than 0")
        self.target_scale_ = np.array([centre, scale])
        return Outputs(0, centre, scale)

    def _targets(self, y: npt.NDArray[Any], shape: Shape) -> IntArray:
        if shape.target is None:
            raise TypeError("a regression has a grid of targets")
        return shape.target.encode(y)


class ExactForestRegressor(HasTrees, _ExactRegressor):
    """Extremely randomised regression trees that forget rows; see docs/exact-models.md.

    Parameters
    ----------
    trees
        The number of trees.
    share
        The share of the trees that each row is in. The default is for tables of a few thousand
        rows; less is cheaper.
    depth
        The greatest depth of a tree.
    leaf
        The least number of rows on either side of a split.
    candidates
        How many splits are drawn for a node.
    ranges
        Ends of the grid of each feature, shape (features, 2). None takes the 20th smallest and
        largest value of the rows of `fit`, rounded to two digits.
    target_scale
        Centre and scale of the grid of the targets, whose steps are 1/256 of the scale. None takes
        them from the median and the quartiles of the targets of `fit`, rounded.
    categorical
        Numbers of the features whose values have no order.
    key
        64 hexadecimal digits that everything is drawn from. None takes a public key.
    """

    _kind, _options = ExactForest, ExactForestOptions

    def __init__(  # noqa: PLR0913 - scikit-learn reads the names of all options here
        self,
        trees: int = 100,
        share: float = 0.5,
        depth: int = 20,
        leaf: int = 2,
        candidates: int = 10,
        *,
        ranges: Any = None,
        target_scale: Any = None,
        categorical: Sequence[int] = (),
        key: str | None = None,
    ) -> None:
        super().__init__(ranges=ranges, target_scale=target_scale, categorical=categorical, key=key)
        self.trees = trees
        self.share = share
        self.depth = depth
        self.leaf = leaf
        self.candidates = candidates


class ExactBoostingRegressor(HasTrees, _ExactRegressor):
    """Gradient boosting of the squared error that forgets rows; see docs/exact-models.md.

    Parameters
    ----------
    trees
        The number of trees.
    depth
        The number of levels of a tree.
    rate
        What the answer of each tree is multiplied by.
    stage
        How many trees choose their splits by the same gradients.
    features
        How many features are drawn for a tree.
    candidates
        How many splits are drawn of each feature.
    smoothing
        What is added to the second derivatives of a leaf.
    steps
        How many values a leaf may have per unit.
    ranges
        As of `ExactForestClassifier`: the ends of the grid of each feature.
    target_scale
        As of `ExactForestRegressor`: the centre and scale of the target.
    categorical
        Numbers of the features whose values have no order.
    key
        64 hexadecimal digits that everything is drawn from. None takes a public key.
    """

    _kind, _options = ExactBoosting, ExactBoostingOptions

    def __init__(  # noqa: PLR0913 - scikit-learn reads the names of all options here
        self,
        trees: int = 180,
        depth: int = 6,
        rate: float = 0.25,
        stage: int = 5,
        features: int = 12,
        candidates: int = 8,
        smoothing: float = 10.0,
        steps: int = 32,
        *,
        ranges: Any = None,
        target_scale: Any = None,
        categorical: Sequence[int] = (),
        key: str | None = None,
    ) -> None:
        super().__init__(ranges=ranges, target_scale=target_scale, categorical=categorical, key=key)
        self.trees = trees
        self.depth = depth
        self.rate = rate
        self.stage = stage
        self.features = features
        self.candidates = candidates
        self.smoothing = smoothing
        self.steps = steps


class ExactLinearRegressor(_ExactRegressor):
    """Ridge regression that forgets rows; see docs/exact-models.md.

    Parameters
    ----------
    fourier
        The number of random Fourier features.
    bandwidth
        The factor of their frequencies.
    regularization
        The penalty of `ridge`.
    ranges
        As of `ExactForestClassifier`: the ends of the grid of each feature.
    target_scale
        As of `ExactForestRegressor`: the centre and scale of the target.
    categorical
        Numbers of the features whose values have no order.
    key
        64 hexadecimal digits that everything is drawn from. None takes a public key.
    """

    _kind, _options = ExactLinear, ExactLinearOptions

    def __init__(
        self,
        fourier: int = 0,
        bandwidth: float = 0.5,
        regularization: float = 1.0,
        *,
        ranges: Any = None,
        target_scale: Any = None,
        categorical: Sequence[int] = (),
        key: str | None = None,
    ) -> None:
        super().__init__(ranges=ranges, target_scale=target_scale, categorical=categorical, key=key)
        self.fourier = fourier
        self.bandwidth = bandwidth
        self.regularization = regularization
