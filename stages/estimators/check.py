"""Whether params.yaml suits the family of estimators that its `train.model` names."""

from pydantic import ValidationError
from unlearn.stages.config.params import Params, as_input_error
from unlearn.stages.config.section import Section, Task
from unlearn.stages.config.text import LanguageOptions, LoraOptions
from unlearn.stages.config.train import SKLEARN_INTERFACE
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.registry import find_spec
from unlearn.stages.estimators.spec import EstimatorSpec, FeatureTraining, TextTraining


def check_model(params: Params, name: str) -> None:
    """Check what depends on the family.

    Parameters
    ----------
    params
        The settings, each section checked by itself.
    name
        The file's name, for errors.

    Raises
    ------
    InputError
        If no family answers to `train.model`, it does not have these options, or another section
        asks for what it cannot do.
    """
    try:
        spec = find_spec(params.train.model)
        _check_sections(params, spec)
        _check_answers(params)
        if spec.options is not None:
            options = spec.options.model_validate(params.train.options)
            _check_chats(params, options)
            _check_slices(
                params, by_layers=isinstance(options, LoraOptions) and options.layers_by_slice
            )
        elif params.sharding.switched_off:
            _check_slices(params, by_layers=False)
        spec.check(params)
    except ValidationError as error:
        raise as_input_error(error, name, ("train", "options"), spec.options) from None
    except InputError as error:
        raise InputError(f"{name}: {error.message}", *error.hints, facts=error.facts) from None


def _check_chats(params: Params, options: Section) -> None:
    """Check the settings of chats against what rows are."""
    if not isinstance(options, LanguageOptions):
        return
    are_chats = "messages" in params.dataset.features.values()
    if options.turns is not None and not are_chats:
        raise InputError("train.options.turns: is for chats, and no column has the role `messages`")
    if are_chats and not options.chat:
        raise InputError("train.options.chat: is false, and chats need the tokenizer's template")


def _check_slices(params: Params, *, by_layers: bool) -> None:
    """Check the settings of slices that have layers of their own."""
    if by_layers and (params.sharding.slices == 1 or params.kind != "exact"):
        raise InputError(
            "train.options.layers_by_slice: is for shards of several slices, "
            "so `sharding.slices` must be at least 2"
        )
    if params.sharding.switched_off and not by_layers:
        raise InputError(
            "sharding.switched_off: only slices that have layers of their own can be switched off",
            "set train.options.layers_by_slice: true, or remove it",
        )


def _check_answers(params: Params) -> None:
    try:
        params.check_answers()
    except ValueError as error:
        raise InputError(str(error)) from None


def _check_sections(params: Params, spec: EstimatorSpec) -> None:
    model, shards, slices = params.train.model, params.sharding.shards, params.sharding.slices
    if slices > 1 and not spec.can_slice(model):
        raise InputError(
            f"sharding.slices is {slices}, but {model} cannot go on from a state and takes 1 slice"
        )
    if params.train.preprocessing.impute == "none" and not spec.native:
        raise InputError(
            f"train.preprocessing.impute is none, but {model} does not read missing values"
        )
    if params.modality != spec.modality:
        rows = "text: messages, a prompt and completion, or a body"
        raise InputError(
            f"train.model: {model} takes "
            + (rows if spec.modality == "text" else "a target and classes")
        )
    for name in ("raw", "trusted_types"):
        if getattr(params.train, name) and not spec.takes_raw:
            raise InputError(
                f"train.{name}: is for estimators with scikit-learn's interface, whose train.model "
                f"begins with {SKLEARN_INTERFACE!r}"
            )
    takes_arrays = isinstance(spec.training, FeatureTraining) and spec.training.network is not None
    if not takes_arrays:
        _refuse_networks(params, model)
    if params.modality == "tabular" and params.dataset.task not in spec.tasks(model):
        raise _other_task(model, params.dataset.task)
    if params.dataset.weight is not None:
        _check_weights(params, spec)
    if isinstance(spec.training, TextTraining) and not spec.training.combines and len(shards) > 1:
        raise InputError(f"train.model: {model} makes one model; use lora for shards")


def _refuse_networks(params: Params, model: str) -> None:
    """Refuse what only networks read, and settings that only they have."""
    if params.dataset.has_arrays:
        name = next(iter(params.dataset.shapes or {}))
        raise InputError(
            f"train.model: {model} reads columns, and the feature {name!r} is an array",
            "models that read arrays: path/to/net.py:build and resnet",
        )
    for name in params.train.network_settings:
        raise InputError(
            f"train.{name}: {model} does not have this setting",
            "it is for path/to/net.py:build and resnet",
        )


def _check_weights(params: Params, spec: EstimatorSpec) -> None:
    if params.unlearn is not None:
        raise InputError(
            "dataset.weight: is for shards: post-hoc methods count each row once",
            "remove the setting, or use --template sisa",
        )
    if not spec.takes_weights:
        raise InputError(
            f"dataset.weight: {params.train.model} counts each row once",
            "models that take weights of rows: mlp, torch modules, XGBoost, LightGBM, CatBoost and "
            "estimators with scikit-learn's interface whose `fit` has `sample_weight`",
        )


def _other_task(model: str, task: Task) -> InputError:
    """Return the error about a model that does not predict what the target is."""
    if task == "classification":
        return InputError(
            f"train.model: {model} predicts numbers, and the target has classes",
            "`task: regression` in schema.yaml makes the target a number",
        )
    return InputError(
        f"train.model: {model} predicts classes, and the task is regression",
        "models that predict numbers: exact_forest, exact_boosting, exact_linear, mlp, a "
        "scikit-learn regressor such as sklearn.ensemble.HistGradientBoostingRegressor, the "
        "regressors of XGBoost, LightGBM and CatBoost, or a module of your own",
    )
