"""scikit-learn classifiers, for notebooks, that forget rows instead of being fitted again."""

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data
from unlearn.exact_base import PUBLIC_KEY, ExactModel, Floats, HasTrees, UnknownIdsError
from unlearn.stages.config.row_sets import (
    ExactBoostingOptions,
    ExactForestOptions,
    ExactLinearOptions,
    ExactNaiveBayesOptions,
)
from unlearn.stages.estimators.base import IntArray
from unlearn.stages.estimators.row_sets.base import Shape
from unlearn.stages.estimators.row_sets.boosting import ExactBoosting
from unlearn.stages.estimators.row_sets.forest import ExactForest
from unlearn.stages.estimators.row_sets.linear import ExactLinear
from unlearn.stages.estimators.row_sets.naive_bayes import ExactNaiveBayes
from unlearn.stages.rows.outputs import Outputs

__all__ = [
    "PUBLIC_KEY",
    "ExactBoostingClassifier",
    "ExactForestClassifier",
    "ExactLinearClassifier",
    "ExactNaiveBayesClassifier",
    "UnknownIdsError",
]


class _ExactClassifier(ClassifierMixin, ExactModel):  # type: ignore[misc]  # it has no types
    """What the classifiers have in common.

    Attributes
    ----------
    classes_
        The class labels.
    """

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
        return self._fit(values, labels, ids)

    def _outputs(self, y: npt.NDArray[Any]) -> Outputs:
        self.classes_ = np.unique(y)
        return Outputs(len(self.classes_))

    def _targets(self, y: npt.NDArray[Any], shape: Shape) -> IntArray:
        del shape
        return np.searchsorted(self.classes_, y).astype(np.int64)

    def predict_proba(self, X: Any) -> Floats:  # noqa: N803 - as in scikit-learn
        """Return class probabilities, shape (rows, classes)."""
        codes = self._codes_of(X)
        found: Floats = self._model.probabilities(codes)
        return found

    def predict(self, X: Any) -> npt.NDArray[Any]:  # noqa: N803 - as in scikit-learn
        """Return the most probable class of each row, shape (rows,)."""
        answers = self.predict_proba(X)
        found: npt.NDArray[Any] = self.classes_[answers.argmax(axis=1)]
        return found


class ExactForestClassifier(HasTrees, _ExactClassifier):
    """Extremely randomised trees that forget rows; see docs/exact-models.md.

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


class ExactBoostingClassifier(HasTrees, _ExactClassifier):
    """Gradient boosting that forgets rows; see docs/exact-models.md.

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
    categorical
        Numbers of the features whose values have no order.
    key
        64 hexadecimal digits that everything is drawn from. None takes a public key.
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
    rule
        Least squares with a penalty, or linear discriminant analysis.
    fourier
        The number of random Fourier features.
    bandwidth
        The factor of their frequencies.
    shrinkage
        What is added to the variances of `discriminant`.
    regularization
        The penalty of `ridge`.
    ranges
        As of `ExactForestClassifier`: the ends of the grid of each feature.
    categorical
        Numbers of the features whose values have no order.
    key
        64 hexadecimal digits that everything is drawn from. None takes a public key.
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
    smoothing
        What is added to every count of a category.
    variance
        What is added to the variances of numbers.
    ranges
        As of `ExactForestClassifier`: the ends of the grid of each feature.
    categorical
        Numbers of the features whose values have no order.
    key
        64 hexadecimal digits that everything is drawn from. None takes a public key.
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
