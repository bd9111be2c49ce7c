"""An estimator of the user's own in a new project: what it is, and whether it can be trained."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from unlearn.cli.init.request.request import InitRequest
from unlearn.cli.output import say
from unlearn.stages.config.methods import own_code
from unlearn.stages.config.params import AggregationRule, Params
from unlearn.stages.config.section import Task
from unlearn.stages.config.train import SKLEARN_INTERFACE, TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.option_names import without_default
from unlearn.stages.estimators.own_packages import UntrustedTypesError
from unlearn.stages.estimators.own_sklearn_spec import OWN_SKLEARN
from unlearn.stages.estimators.registry import find_spec, specs
from unlearn.stages.project.user_code import function_of, load_module
from unlearn.stages.rows.outputs import Outputs
from unlearn.stages.rows.tokens import Key
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.trial import try_settings

#: How many classes there are does not matter where nothing is fitted.
_SOME_CLASSES = 2


@dataclass(frozen=True)
class OwnModel:
    """What params.yaml is to say of a model.

    Parameters
    ----------
    model
        Value of `train.model`.
    raw, trusted_types
        Settings of an estimator with scikit-learn's interface.
    rule
        How models answer together; None where the family says it.
    """

    model: str
    raw: bool = False
    trusted_types: tuple[str, ...] = ()
    rule: AggregationRule | None = None


def look_at(request: InitRequest, model: str, task: Task) -> OwnModel:
    """Find out what a model of the user's own is, by building it once.

    Parameters
    ----------
    request
        What the user asks for.
    model
        The model: any, of which only some are the user's own.
    task
        What the target is.

    Raises
    ------
    InputError
        If its file is missing or fails, or an option is not for this model.
    """
    code = own_code(model.removeprefix(SKLEARN_INTERFACE))
    if code is not None:
        path = request.root / code[0]
        if not path.is_file():
            raise InputError(f"--model: there is no {code[0]} in {request.root.name}")
        if not model.startswith(SKLEARN_INTERFACE) and _is_estimator(path, code[1]):
            model = f"{SKLEARN_INTERFACE}{model}"
    elif _is_other_class(model):
        model = f"{SKLEARN_INTERFACE}{model}"
    if not find_spec(model).takes_raw:
        for option, value in (("--raw", request.raw), ("--trust-type", request.trust_type)):
            if value:
                raise InputError(
                    f"{option} is for estimators with scikit-learn's interface, such as "
                    "--model model.py:build"
                )
        return OwnModel(model)
    from unlearn.stages.estimators.own_sklearn import OwnEstimator  # noqa: PLC0415 - seconds

    train = TrainParams(model=model, raw=request.raw, trusted_types=list(request.trust_type))
    outputs = Outputs() if task == "regression" else Outputs(classes=_SOME_CLASSES)
    try:
        estimator = OwnEstimator(train, outputs, None if code is None else request.root / code[0])
    except UntrustedTypesError as error:
        raise _with_option(error) from None
    rule: AggregationRule | None = None if estimator.has_probabilities else "majority_vote"
    return OwnModel(model, request.raw, request.trust_type, rule)


def _is_other_class(model: str) -> bool:
    """Return whether a model is the import path of a class that no family is about."""
    known = any(spec.accepts(model) for spec in specs())
    return not known and OWN_SKLEARN.accepts(f"{SKLEARN_INTERFACE}{model}")


def _is_estimator(path: Path, function: str) -> bool:
    """Return whether a function builds an estimator: one that builds a module takes its size."""
    build = function_of(load_module(path, "--model"), path, function, "--model")
    if without_default(build):
        return False
    try:
        built = build()
    except Exception as error:
        raise InputError(
            f"--model: {path.name}:{function} cannot be called ({type(error).__name__})"
        ) from error
    return not any(kind.__module__.startswith("torch.") for kind in type(built).__mro__)


def _with_option(error: UntrustedTypesError) -> InputError:
    """Return the error with the option that a project without params.yaml takes."""
    options = " ".join(f"--trust-type {name}" for name in error.types)
    return InputError(error.message, f"if you trust what they do, add {options}")


def needs_trial(model: str) -> bool:
    """Return whether a model is to be fitted on few rows before a project is set up."""
    return find_spec(model).trial != "none"


def try_model(params: Params, key: Key, root: Path, rows: pa.Table) -> None:
    """Fit the model of a new project on few of its rows.

    Parameters
    ----------
    params, key, root
        The settings and the key of the project, and its folder.
    rows
        Rows of the first shard.

    Raises
    ------
    InputError
        If the settings are wrong whatever the rows are.
    """
    try:
        refused = try_settings(Recipe.of(params, key, root), rows)
    except UntrustedTypesError as error:
        raise _with_option(error) from None
    if refused is not None:
        say(f"note: with the first rows of {params.sharding.shards[0]} alone, {refused}")
