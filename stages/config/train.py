"""The `train` section: the model, its options and its budget."""

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)
from unlearn.stages.config.methods import own_code
from unlearn.stages.config.networks import NetworkParams
from unlearn.stages.config.section import Section

#: scikit-learn estimators that can go on from a state, by import path. All others take one slice.
INCREMENTAL_ON_UNION = frozenset(
    {
        "sklearn.linear_model.PassiveAggressiveClassifier",
        "sklearn.linear_model.PassiveAggressiveRegressor",
        "sklearn.linear_model.Perceptron",
        "sklearn.linear_model.SGDClassifier",
        "sklearn.linear_model.SGDRegressor",
        "sklearn.neural_network.MLPClassifier",
        "sklearn.neural_network.MLPRegressor",
    }
)
#: Those that count rows: they see only a slice's new rows, once.
INCREMENTAL_ON_NEW_ROWS = frozenset(
    {
        "sklearn.naive_bayes.BernoulliNB",
        "sklearn.naive_bayes.CategoricalNB",
        "sklearn.naive_bayes.ComplementNB",
        "sklearn.naive_bayes.GaussianNB",
        "sklearn.naive_bayes.MultinomialNB",
    }
)


#: Begins values of `train.model` that name an estimator with scikit-learn's interface: a function
#: of the user's that returns one, or a class of an installed package.
SKLEARN_INTERFACE = "sklearn:"


class PreprocessingParams(Section):
    """What turns columns into numbers; fitted on a shard's first non-empty slice and frozen."""

    scale: Literal["standard", "none"] = "standard"
    """Whether numbers are shifted and divided to mean 0 and deviation 1."""
    #: `none` leaves missing values as they are, for models that read them.
    impute: Literal["median", "mean", "zero", "none"] = "median"
    """What takes the place of missing numbers; `none` leaves them missing."""


class MlpOptions(Section):
    """Shape of the built-in multilayer perceptron."""

    hidden: list[Annotated[int, Field(ge=1)]] = Field(default_factory=lambda: [64])
    """The widths of the hidden layers."""
    activation: Literal["relu", "tanh", "gelu", "sigmoid"] = "relu"
    """The activation function."""
    dropout: Annotated[float, Field(ge=0, lt=1, strict=False)] = 0.0
    """The share of units that are left out at random in a step."""


Range = Annotated[list[Annotated[float, Field(strict=False)]], Field(min_length=2, max_length=2)]


class PerturbedLogisticOptions(Section):
    """Objective of a logistic regression that rows can be removed from with a certificate.

    Guo et al., "Certified Data Removal from Machine Learning Models", ICML 2020: `sigma` is the
    standard deviation of the noise in the objective, `regularization` the lambda beside each row's
    loss, which the paper chooses by the data. `range` takes numeric features from [low, high] to
    [0, 1], all by one pair or each by its own: learned from the rows, it would give them away.
    """

    sigma: Annotated[float, Field(gt=0, strict=False)] = 10.0
    """The standard deviation of the noise in the objective."""
    regularization: Annotated[float, Field(gt=0, strict=False)] = 1e-3
    """The weight of the penalty that is added to the loss of each row."""
    range: Range | dict[str, Range] | None = None
    """The low and high end of numeric features, for all or by column."""

    @field_validator("range")
    @classmethod
    def _low_and_high(
        cls, value: list[float] | dict[str, list[float]] | None
    ) -> list[float] | dict[str, list[float]] | None:
        pairs = value.values() if isinstance(value, dict) else [] if value is None else [value]
        if not all(low < high for low, high in pairs):
            raise ValueError("must be [low, high], low being less than high")
        return value

    def range_of(self, feature: str) -> tuple[float, float]:
        """Return what becomes 0 and 1 of a numeric feature."""
        pair = self.range.get(feature) if isinstance(self.range, dict) else self.range
        return (0.0, 1.0) if pair is None else (pair[0], pair[1])


class OptimizerParams(Section):
    """Optimizer of torch models; scikit-learn estimators have their own options."""

    name: Literal["adam", "adamw", "sgd"] = "adam"
    """The optimizer."""
    rate: Annotated[float, Field(gt=0, strict=False)] = 1e-3
    """The learning rate."""
    weight_decay: Annotated[float, Field(ge=0, strict=False)] = 0.0
    """The weight decay."""
    momentum: Annotated[float, Field(ge=0, lt=1, strict=False)] = 0.0
    """The momentum of SGD."""


#: A type by its full name, such as `package.module.Class`.
TypeName = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")]


class TrainParams(NetworkParams):
    """One shard model.

    `model` names it to a family of estimators, such as `mlp`, the import path of a classifier or
    regressor of scikit-learn or XGBoost, or `path/to/net.py:build`; `options` are that family's.

    Estimators of one's own with scikit-learn's interface can have two more settings. With `raw`
    they read a pandas DataFrame of the features in place of numbers. `trusted_types` are types of
    other packages than scikit-learn that their files may hold. Networks have the settings of
    `NetworkParams`. All of these are recorded only where they are used: other models have the same
    files as before these settings.
    """

    model: str
    """The model: a built-in name, an import path, or `path/to/file.py:function`."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The options of that model; see below."""
    epochs: int = Field(default=20, ge=1)
    """How many times training passes over the rows of a slice."""
    batch: int = Field(default=32, ge=1)
    """The number of rows of a step."""
    optimizer: OptimizerParams = Field(default_factory=OptimizerParams)
    """The optimizer of networks."""
    preprocessing: PreprocessingParams = Field(default_factory=PreprocessingParams)
    """What turns columns into numbers."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where networks are trained."""
    raw: bool = False
    """Whether an estimator of your own reads a DataFrame of the features."""
    trusted_types: list[TypeName] = Field(default_factory=list)
    """Types of other packages that the files of your own estimator may hold."""

    @model_serializer(mode="wrap")
    def _without_unused(
        self, handler: SerializerFunctionWrapHandler, _info: SerializationInfo
    ) -> dict[str, Any]:
        found: dict[str, Any] = handler(self)
        for name in ("raw", "trusted_types"):
            if not getattr(self, name):
                found.pop(name, None)
        for name in NetworkParams.model_fields.keys() - set(self.network_settings):
            found.pop(name, None)
        return found

    @property
    def code_path(self) -> str | None:
        """The user's own module, relative to the project; None for other models."""
        code = own_code(self.model.removeprefix(SKLEARN_INTERFACE))
        return None if code is None else code[0]

    @property
    def code_paths(self) -> list[str]:
        """All files of one's own that training runs, relative to the project."""
        others = [code[0] for value in self.own_functions if (code := own_code(value)) is not None]
        return sorted({*others, *filter(None, [self.code_path])})

    @property
    def read_paths(self) -> list[str]:
        """All files that training reads besides the rows, relative to the project."""
        backbone = [] if self.freeze is None else [self.freeze.weights]
        return sorted({*self.code_paths, *backbone})
