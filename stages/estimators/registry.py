"""The families of estimators that `train.model` may name: one line for each.

Examples
--------
>>> find_spec("mlp").file_name
'model.safetensors'
>>> find_spec("sklearn.naive_bayes.GaussianNB").format.name
'skops'
"""

from pathlib import Path
from typing import TYPE_CHECKING

from unlearn.stages.config.text import LanguageOptions
from unlearn.stages.config.train import SKLEARN_INTERFACE, TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.boosted.catboost_spec import CATBOOST, CATBOOST_REGRESSOR
from unlearn.stages.estimators.boosted.lightgbm_spec import LIGHTGBM, LIGHTGBM_REGRESSOR
from unlearn.stages.estimators.boosted.xgboost_spec import XGBOOST, XGBOOST_REGRESSOR
from unlearn.stages.estimators.causal_spec import CAUSAL_LM, LORA
from unlearn.stages.estimators.own_sklearn_spec import OWN_SKLEARN
from unlearn.stages.estimators.packing import Packing
from unlearn.stages.estimators.perturbed_logistic_spec import PERTURBED_LOGISTIC
from unlearn.stages.estimators.resnet_spec import RESNET
from unlearn.stages.estimators.row_sets_spec import (
    EXACT_BOOSTING,
    EXACT_FOREST,
    EXACT_LINEAR,
    EXACT_NAIVE_BAYES,
)
from unlearn.stages.estimators.sklearn_spec import SKLEARN
from unlearn.stages.estimators.spec import (
    EstimatorSpec,
    FeatureTraining,
    RowTransform,
    TextTraining,
)
from unlearn.stages.estimators.torch_spec import MLP, OWN_MODULE
from unlearn.stages.rows.outputs import Outputs
from unlearn.stages.rows.shard_file import Layout

if TYPE_CHECKING:
    from unlearn.stages.estimators.base import Estimator
    from unlearn.stages.estimators.causal import CausalEstimator

#: Kinds of models without weights, which belong to no family.
WITHOUT_WEIGHTS = ("empty", "constant")

_SPECS: dict[str, EstimatorSpec] = {}


def register(spec: EstimatorSpec) -> None:
    """Add a family.

    Raises
    ------
    ValueError
        If another family has its name or answers to one of its models, another file format has the
        name or the suffix of its format, or its kind is one of models without weights.
    """
    if spec.kind in WITHOUT_WEIGHTS:
        raise ValueError(f"estimator family {spec.name!r}: kind {spec.kind!r} is reserved")
    for other in _SPECS.values():
        if other.name == spec.name:
            raise ValueError(f"estimator family {spec.name!r} is registered already")
        shared = [model for model in spec.models if other.accepts(model)]
        shared += [model for model in other.models if spec.accepts(model)]
        if shared:
            raise ValueError(
                f"estimator family {spec.name!r}: {shared[0]!r} belongs to {other.name!r}"
            )
        known, own = other.format, spec.format
        if known != own and (known.name == own.name or known.suffix == own.suffix):
            raise ValueError(f"file format {own.name!r} ({own.suffix}) is registered already")
    _SPECS[spec.name] = spec


def specs() -> tuple[EstimatorSpec, ...]:
    """Return all families, in the order of their registration."""
    return tuple(_SPECS.values())


def find_spec(model: str) -> EstimatorSpec:
    """Return the family that a value of `train.model` names.

    Raises
    ------
    InputError
        If there is none.
    """
    for spec in _SPECS.values():
        if spec.accepts(model):
            return spec
    other = f"{SKLEARN_INTERFACE}{model}"
    hints = []
    if OWN_SKLEARN.accepts(other):
        hints = [f"a class of another package with scikit-learn's interface is named {other}"]
    raise InputError(f"train.model: {model!r} is neither {', nor '.join(_SPECS)}", *hints)


def make_estimator(
    train: TrainParams, inputs: int, outputs: Outputs, *, sliced: bool, code: Path | None
) -> "Estimator":
    """Return the estimator of features that `train.model` names; see `FeatureBuilder`."""
    training = find_spec(train.model).training
    if not isinstance(training, FeatureTraining):
        rows = "text" if isinstance(training, TextTraining) else "sets of rows"
        raise InputError(f"train.model: {train.model} reads {rows}, not tables of numbers")
    return training.build(train, inputs, outputs, sliced=sliced, code=code)


def estimator_of(
    train: TrainParams,
    transform: RowTransform,
    outputs: Outputs,
    *,
    sliced: bool,
    code: Path | None,
    root: Path | None = None,
) -> "Estimator":
    """Return the estimator that reads rows as a transformation gives them.

    Parameters
    ----------
    train, outputs
        The settings, and what models are to answer with.
    transform
        What the rows pass.
    sliced
        Whether it is to go on from slice to slice.
    code, root
        See `NetworkBuilder`.
    """
    training = find_spec(train.model).training
    if not isinstance(training, FeatureTraining) or training.network is None:
        return make_estimator(train, transform.width, outputs, sliced=sliced, code=code)
    packing: Packing | None = getattr(transform, "packing", None)
    inputs = transform.width if packing is None else packing
    return training.network(train, inputs, outputs, code=code, root=root)


def make_text_estimator(train: TrainParams, layout: Layout, root: Path) -> "CausalEstimator":
    """Return the estimator of text that `train.model` names; see `TextTraining`."""
    training = find_spec(train.model).training
    if not isinstance(training, TextTraining):
        raise InputError(f"train.model: {train.model} reads features, not text")
    return training.build(train, layout, root)


def text_options(train: TrainParams) -> LanguageOptions:
    """Return the options of a language model."""
    options = find_spec(train.model).options
    if options is None or not issubclass(options, LanguageOptions):
        raise InputError(f"train.model: {train.model} reads features, not text")
    return options.model_validate(train.options)


register(MLP)
register(SKLEARN)
register(RESNET)
register(OWN_MODULE)
register(OWN_SKLEARN)
register(PERTURBED_LOGISTIC)
register(EXACT_FOREST)
register(EXACT_LINEAR)
register(EXACT_NAIVE_BAYES)
register(EXACT_BOOSTING)
register(XGBOOST)
register(XGBOOST_REGRESSOR)
register(LIGHTGBM)
register(LIGHTGBM_REGRESSOR)
register(CATBOOST)
register(CATBOOST_REGRESSOR)
register(LORA)
register(CAUSAL_LM)
