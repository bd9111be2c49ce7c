"""From a model in its folder to a torch module that methods can change, and back.

What methods work on: networks as they were trained, and linear models of scikit-learn as the linear
modules that they are. All others have no weights that a gradient could move.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import torch
from torch import nn
from unlearn.stages.config.train import OptimizerParams, PerturbedLogisticOptions, TrainParams
from unlearn.stages.estimators import skops_file, torch_machine, torch_models, torch_state
from unlearn.stages.estimators.base import Dtype, FloatArray
from unlearn.stages.estimators.linear import LinearModel, from_sklearn, to_sklearn, unsupported
from unlearn.stages.estimators.mlp import MlpEstimator
from unlearn.stages.estimators.perturbed_logistic import (
    PerturbedLogisticEstimator,
    bounded,
    draw_noise,
)
from unlearn.stages.estimators.registry import estimator_of, find_spec
from unlearn.stages.estimators.sklearn_models import SklearnEstimator
from unlearn.stages.estimators.spec import FeatureTraining, RowTransform
from unlearn.stages.rows.outputs import Outputs
from unlearn.stages.rows.shard_file import Layout, target_numbers, targets
from unlearn.stages.training.shard_model import ShardModel
from unlearn.stages.unlearn.base.problem import NotApplicableError
from unlearn.stages.unlearn.tabular.linear_objective import (
    objective_of_perturbed,
    objective_of_sklearn,
)
from unlearn.stages.unlearn.tabular.problem import MakeSteps, Objective
from unlearn.stages.unlearn.tabular.rows import Rows


@dataclass(frozen=True)
class Opened:
    """A model as methods take it.

    Parameters
    ----------
    module
        The module with the model's weights; a copy that may be changed.
    objective
        What training made small.
    rows
        Turns rows of the model's layout, targets among them, into what the module reads.
    fresh
        Returns a module of the same kind with weights drawn from a seed.
    close
        Returns the content of the weights file that holds a module of this kind: with the same
        model.json, but for `rows`, it is a model again. Raises NotApplicableError if the module's
        numbers are no longer finite.
    steps
        Returns training's own steps for a module of this kind; None where autograd takes them.
    """

    module: nn.Module
    objective: Objective
    rows: Callable[[pa.Table], Rows]
    fresh: Callable[[int], nn.Module]
    close: Callable[[nn.Module], bytes]
    steps: MakeSteps | None = None


def open_model(
    model: ShardModel, code: Path | None, *, init_seed: int, root: Path | None = None
) -> Opened:
    """Open a model for methods.

    Parameters
    ----------
    model
        As read from its folder.
    code
        The user's own module file, for a model made with one. It is run.
    init_seed
        The seed that training drew from before its first slice: noise that a model was trained
        with follows from it, and stands in no file.
    root
        The project's folder, where the other files are that a network needs.

    Raises
    ------
    NotApplicableError
        If its kind has no weights that methods could change.
    """
    if model.kind in ("constant", "empty") or model.weights is None:
        raise NotApplicableError(f"a model of kind `{model.kind}` has no weights to change")
    torch_machine.be_deterministic()
    train = TrainParams.model_validate(model.description["train"])
    spec = find_spec(train.model)
    if not isinstance(spec.training, FeatureTraining):
        raise NotApplicableError(
            f"methods cannot change the weights of a model of kind `{model.kind}`"
        )
    preprocessor = spec.training.stored(model.description["preprocessing"], train)
    outputs = model.layout.outputs
    estimator = estimator_of(
        train,
        preprocessor,
        outputs,
        sliced=True,
        code=code if train.code_path else None,
        root=root,
    )
    transform = _Transform(model.layout, preprocessor, estimator.dtype)
    if isinstance(estimator, torch_models.TorchEstimator):
        return _open_network(estimator, model.weights, train, transform)
    if isinstance(estimator, PerturbedLogisticEstimator):
        return _open_perturbed(estimator, model.weights, train, transform, init_seed)
    if isinstance(estimator, SklearnEstimator) and not outputs.is_number:
        return _open_linear(model.weights, outputs.classes, transform)
    if outputs.is_number:
        raise NotApplicableError("of regressors, methods change the weights of networks alone")
    raise NotApplicableError(f"methods cannot change the weights of a model of kind `{model.kind}`")


@dataclass(frozen=True)
class _Transform:
    """Rows of a layout as numbers."""

    layout: Layout
    preprocessor: RowTransform
    dtype: Dtype

    def rows(self, table: pa.Table, device: torch.device | str = "cpu") -> Rows:
        return self.bounded_by(lambda inputs: inputs, table, device)

    def bounded_by(
        self,
        bound: Callable[[FloatArray], FloatArray],
        table: pa.Table,
        device: torch.device | str = "cpu",
    ) -> Rows:
        inputs = torch.from_numpy(bound(self.preprocessor.transform(table, self.dtype)))
        outputs = self.layout.outputs
        if outputs.is_number:
            scaled = outputs.scaled(target_numbers(table)).astype(np.float32)
            return Rows(inputs.to(device), torch.from_numpy(scaled).to(device))
        answers = torch.from_numpy(targets(table, self.layout))
        return Rows(inputs.to(device), answers.to(device))


def _open_network(
    estimator: torch_models.TorchEstimator,
    weights: bytes,
    train: TrainParams,
    transform: _Transform,
) -> Opened:
    loss = estimator.loss()
    return Opened(
        module=estimator.load(weights),
        objective=replace(
            objective_of_training(train.optimizer, transform.layout.outputs),
            network=loss if train.loss or train.label_smoothing else None,
        ),
        rows=lambda table: transform.rows(table, estimator.device),
        fresh=estimator.fresh,
        close=_close_module,
        steps=estimator.steps if isinstance(estimator, MlpEstimator) else None,
    )


def _open_perturbed(
    estimator: PerturbedLogisticEstimator,
    weights: bytes,
    train: TrainParams,
    transform: _Transform,
    init_seed: int,
) -> Opened:
    module = estimator.load(weights)
    options = PerturbedLogisticOptions.model_validate(train.options)
    noise = draw_noise(init_seed, options.sigma, module)

    def fresh(seed: int) -> nn.Module:
        blank = estimator.blank()
        blank.draw(seed)
        return blank

    return Opened(
        module=module,
        objective=objective_of_perturbed(options, noise, module.classes),
        rows=lambda table: transform.bounded_by(bounded, table),
        fresh=fresh,
        close=_close_module,
    )


def _open_linear(weights: bytes, classes: int, transform: _Transform) -> Opened:
    estimator = skops_file.load(weights)
    if reason := unsupported(estimator):
        raise NotApplicableError(reason)

    def fresh(seed: int) -> nn.Module:
        blank = from_sklearn(estimator, classes)
        blank.draw(seed)
        return blank

    def close(module: nn.Module) -> bytes:
        if not isinstance(module, LinearModel):
            raise NotApplicableError("the method returned another kind of model")
        _check_finite(module)
        return skops_file.dump(to_sklearn(estimator, module))

    return Opened(
        module=from_sklearn(estimator, classes),
        objective=objective_of_sklearn(estimator),
        rows=transform.rows,
        fresh=fresh,
        close=close,
    )


def objective_of_training(optimizer: OptimizerParams, outputs: Outputs) -> Objective:
    """Return what a network's optimizer made small: the rows' loss, and weight decay.

    SGD and Adam add d * w to the gradient of the mean loss, so d is the penalty per row. AdamW
    takes rate * d * w off the weights beside the step (Loshchilov and Hutter, "Decoupled Weight
    Decay Regularization", ICLR 2019): where it comes to rest depends on the step sizes and is no
    minimum of a penalised loss, so none is named here.
    """
    decay = 0.0 if optimizer.name == "adamw" else optimizer.weight_decay
    loss: Literal["cross_entropy", "squared_error"] = (
        "squared_error" if outputs.is_number else "cross_entropy"
    )
    return Objective(loss, l2_per_row=decay)


def _close_module(module: nn.Module) -> bytes:
    _check_finite(module)
    return torch_state.module_bytes(module)


def _check_finite(module: nn.Module) -> None:
    """Refuse a module that a method has left without finite numbers."""
    numbers = (value for value in module.state_dict().values() if value.is_floating_point())
    if not all(bool(torch.isfinite(value).all()) for value in numbers):
        raise NotApplicableError("the method left weights that are no longer finite")
