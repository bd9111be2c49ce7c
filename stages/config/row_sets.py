"""Options of the models that are functions of the key and the set of their rows."""

from typing import Annotated, Literal

from pydantic import Field, field_validator
from unlearn.stages.config.section import Section

Range = Annotated[list[Annotated[float, Field(strict=False)]], Field(min_length=2, max_length=2)]


class RowSetOptions(Section):
    """What the options of all of these models have.

    `range` has the two ends of the grid of each number and date, which `unlearn init` pins. They
    are not learned from the rows of a training: else they would tell of rows that were forgotten.
    """

    range: dict[str, Range] = Field(default_factory=dict)
    """The two ends of the grid of each number and date, pinned by `unlearn init`."""

    @field_validator("range")
    @classmethod
    def _low_and_high(cls, value: dict[str, list[float]]) -> dict[str, list[float]]:
        if not all(low < high for low, high in value.values()):
            raise ValueError("must be [low, high], low being less than high")
        return value


class ExactForestOptions(RowSetOptions):
    """Options of `exact_forest`.

    Each row is in `share` of the `trees`, rounded up: less makes forgetting and fitting cheaper,
    more makes trees more accurate, above all with few rows. `depth` bounds the depth of trees, and
    `leaf` is the least number of rows on either side of a split. `candidates` is how many splits
    are drawn for a node; the best one is used.
    """

    trees: Annotated[int, Field(ge=1, le=1000)] = 100
    """The number of trees."""
    share: Annotated[float, Field(gt=0, le=1, strict=False)] = 0.1
    """The share of the trees that each row is in."""
    depth: Annotated[int, Field(ge=1, le=64)] = 20
    """The greatest depth of a tree."""
    leaf: Annotated[int, Field(ge=1)] = 5
    """The least number of rows on either side of a split."""
    candidates: Annotated[int, Field(ge=1, le=100)] = 10
    """How many splits are drawn for a node."""


class ExactBoostingOptions(RowSetOptions):
    """Options of `exact_boosting`.

    `rate` shrinks what each of the `trees` adds, and all nodes of a level of a tree have one split.
    `stage` is how many trees choose their splits by the same gradients: less is more accurate,
    and more is cheaper when rows are forgotten. For each tree as many `features` are drawn, and for
    each of its `depth` levels as many `candidates` of each; the best one is used. More of both is
    more accurate, and makes it more likely that a deletion changes a split. `smoothing` is added to
    the second derivatives of a leaf. `steps` is how many different values a leaf may have per unit
    of log-odds, or of the scale of a target of numbers: with fewer, fewer deletions change a value.
    """

    trees: Annotated[int, Field(ge=1, le=2000)] = 180
    """The number of trees."""
    depth: Annotated[int, Field(ge=1, le=8)] = 5
    """The number of levels of a tree."""
    rate: Annotated[float, Field(gt=0, le=1, strict=False)] = 0.25
    """What the answer of each tree is multiplied by."""
    stage: Annotated[int, Field(ge=1, le=2000)] = 5
    """How many trees choose their splits by the same gradients."""
    features: Annotated[int, Field(ge=1, le=1000)] = 12
    """How many features are drawn for a tree."""
    candidates: Annotated[int, Field(ge=1, le=64)] = 8
    """How many splits are drawn of each feature."""
    smoothing: Annotated[float, Field(gt=0, strict=False)] = 1.0
    """What is added to the second derivatives of a leaf."""
    steps: Annotated[int, Field(ge=4, le=64)] = 16
    """How many values a leaf may have per unit."""


class ExactLinearOptions(RowSetOptions):
    """Options of `exact_linear`.

    `rule` is `ridge` (least squares on -1 and 1 for each class, with a penalty) or `discriminant`
    (linear discriminant analysis, which gives probabilities). Classes have `discriminant` by
    default. Numbers always have `ridge`, which is least squares on the numbers. `regularization` is
    the penalty of `ridge`, as scikit-learn's `alpha`, for inputs between -1 and 1. `shrinkage` is
    added to the variances of `discriminant`. `fourier` is the number of random Fourier features
    beside the columns themselves, and `bandwidth` the factor of their frequencies.
    """

    rule: Literal["ridge", "discriminant"] | None = None
    """Least squares with a penalty, or linear discriminant analysis."""
    regularization: Annotated[float, Field(gt=0, strict=False)] = 1.0
    """The penalty of `ridge`."""
    shrinkage: Annotated[float, Field(gt=0, strict=False)] = 1e-4
    """What is added to the variances of `discriminant`."""
    fourier: Annotated[int, Field(ge=0, le=4096)] = 0
    """The number of random Fourier features."""
    bandwidth: Annotated[float, Field(ge=0.01, le=64, strict=False)] = 0.5
    """The factor of their frequencies."""


class ExactNaiveBayesOptions(RowSetOptions):
    """Options of `exact_naive_bayes`.

    `smoothing` is added to every count of a category, as scikit-learn's `alpha`. `variance` is
    added to the variances of numbers between -1 and 1.
    """

    smoothing: Annotated[float, Field(gt=0, strict=False)] = 1.0
    """What is added to every count of a category."""
    variance: Annotated[float, Field(gt=0, strict=False)] = 1e-4
    """What is added to the variances of numbers."""
