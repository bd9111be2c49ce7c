"""Torch modules, trained in memory, one thread each, deterministically."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn
from unlearn.stages.config.networks import PixelParams
from unlearn.stages.config.train import SKLEARN_INTERFACE, TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.base import Dtype, RefusedRowsError, SliceData, Targets
from unlearn.stages.estimators.option_names import check_names, parameters_of
from unlearn.stages.estimators.packing import Packing
from unlearn.stages.estimators.torch_machine import be_deterministic, find_device, seed_all
from unlearn.stages.estimators.torch_predictors import TorchPredictor, TorchRegressor, one_number
from unlearn.stages.estimators.torch_state import (
    WEIGHTS,
    make_optimizer,
    restore_optimizer,
    snapshot,
    weights_of,
)
from unlearn.stages.estimators.unpacking import Unpack
from unlearn.stages.project.user_code import load_function
from unlearn.stages.rows.outputs import Outputs


class TorchEstimator:
    """A torch module that maps (n, inputs) to logits (n, classes), and its training.

    For a regression it maps to one number a row, (n, 1) or (n,), in the pinned scale of the target,
    and the loss is the mean squared error in that scale.

    Parameters
    ----------
    train
        The settings.
    inputs
        Number of input columns; or the parts of a row where features are arrays.
    outputs
        What models answer with.
    build
        Makes the module: `build(inputs, classes, **options)`; `build(inputs, 1, **options)` for a
        regression. Where features are arrays, it gets their shape in place of the number of
        columns.
    code
        Name and SHA-256 of the user's own module file, if `build` comes from one.
    root
        The project's folder, where the other files are that training reads; None to predict alone.
    """

    dtype: Dtype = np.float32
    has_probabilities = True

    def __init__(
        self,
        train: TrainParams,
        inputs: int | Packing,
        outputs: Outputs,
        build: Callable[..., nn.Module],
        code: dict[str, str] | None = None,
        root: Path | None = None,
    ) -> None:
        self._train = train
        self._inputs = inputs
        self._root = root
        self._unpack = None
        if isinstance(inputs, Packing):
            self._unpack = Unpack(inputs, train.pixels or PixelParams(), train.channels_last)
        self._outputs = outputs
        self._build = build
        self._code = code
        self._device = find_device(train.device)
        be_deterministic()

    def fit_slice(self, state: bytes | None, data: SliceData, init_seed: int) -> bytes:
        """Take `data.steps` optimizer steps on the loss, in epochs over the slice's union."""
        seed_all(init_seed)
        module = self._module()
        optimizer = make_optimizer(self._train.optimizer, list(module.parameters()))
        if state is not None:
            tensors = load_tensors(state)
            module.load_state_dict(weights_of(tensors))
            restore_optimizer(tensors, optimizer)
        inputs = torch.from_numpy(data.inputs).to(self._device)
        targets, weights = self.target_tensor(data.targets), self.weight_tensor(data)
        module.train()
        taken = epoch = 0
        with training_errors(self._train.model):
            while taken < data.steps:
                rows = (inputs, targets, weights)
                taken += self._epoch(module, optimizer, rows, data, (epoch, taken))
                epoch += 1
        refuse_diverged(self._train.model, module.state_dict().values())
        if self._code is not None:
            self._check_complete(module, inputs[: self._train.batch])
        return save_tensors(snapshot(module.state_dict(), optimizer))

    def _check_complete(self, module: nn.Module, inputs: torch.Tensor) -> None:
        """Make sure that a user's module keeps all that it answers from in its state_dict.

        What is drawn when the module is built, and is no parameter or buffer, is drawn again
        when the model is loaded: it would answer differently each time.
        """
        seed_all(1)
        again = self._module()
        again.load_state_dict(module.state_dict())
        module.eval()
        with torch.inference_mode():
            same = torch.equal(module(inputs), again.eval()(inputs))
        if not same:
            raise InputError(
                f"{self._train.model} has values outside its state_dict, and would answer "
                "differently after loading",
                "make it a parameter, or use register_buffer",
            )

    def _epoch(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        rows: tuple[torch.Tensor, torch.Tensor, torch.Tensor | None],
        data: SliceData,
        at: tuple[int, int],
    ) -> int:
        """Take the steps of one epoch, or those left in the budget; return how many."""
        epoch, taken = at
        seed_all(data.seed(epoch))
        order = torch.randperm(len(data.targets)).to(self._device)
        # One gather an epoch; batches are then views.
        inputs, targets = rows[0][order], rows[1][order]
        weights = None if rows[2] is None else rows[2][order]
        steps = 0
        for batch in batches(len(targets), self._train.batch, joined=has_batch_norm(module)):
            if taken + steps == data.steps:
                break
            counts = None if weights is None else weights[batch]
            loss = self._loss(module(inputs[batch]), targets[batch], counts)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()
            steps += 1
        return steps

    def target_tensor(self, targets: Targets) -> torch.Tensor:
        """Return targets as the loss takes them, on the device, shape (rows,).

        These are class indices; or for a regression numbers in the pinned scale, as float32.
        """
        if self._outputs.is_number:
            scaled = self._outputs.scaled(targets.astype(np.float64))
            return torch.from_numpy(scaled.astype(np.float32)).to(self._device)
        return torch.from_numpy(targets).to(self._device)

    def weight_tensor(self, data: SliceData) -> torch.Tensor | None:
        """Return the sample weights of rows on the device, as float32; None if there are none."""
        if data.weights is None:
            return None
        return torch.from_numpy(data.weights.astype(np.float32)).to(self._device)

    def _loss(
        self, answers: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the mean over the rows of the cross-entropy, or of a regression's squared error.

        With weights, it is the mean of each row's loss times its weight.
        """
        reduction = "mean" if weights is None else "none"
        if self._outputs.is_number:
            loss = nn.functional.mse_loss(one_number(answers), targets, reduction=reduction)
        else:
            loss = nn.functional.cross_entropy(answers, targets, reduction=reduction)
        return loss if weights is None else (loss * weights).mean()

    def export(self, state: bytes) -> bytes:
        """Return the module's parameters and buffers, without the optimizer."""
        return save_tensors(weights_of(load_tensors(state)))

    def state_of(self, model: bytes) -> bytes:
        """Return a state that goes on from a finished model, its optimizer at the start."""
        return save_tensors(
            {f"{WEIGHTS}{name}": value for name, value in load_tensors(model).items()}
        )

    def predictor(self, model: bytes) -> TorchPredictor | TorchRegressor:
        """Return the module with these weights, in evaluation mode."""
        module = self.load(model).eval()
        if self._outputs.is_number:
            return TorchRegressor(module, self._device, self._outputs)
        return TorchPredictor(module, self._device)

    @property
    def device(self) -> torch.device:
        """Where its modules are, and the rows that they are given have to be."""
        return self._device

    def load(self, model: bytes) -> nn.Module:
        """Return a module with the weights that `export` wrote, ready to be trained further."""
        module = self._module()
        try:
            module.load_state_dict(load_tensors(model))
        except (RuntimeError, KeyError, SafetensorError):
            raise InputError("a model's weights do not fit the module they are for") from None
        return module

    def fresh(self, seed: int) -> nn.Module:
        """Return a module with newly drawn weights."""
        seed_all(seed)
        return self._module()

    @cached_property
    def min_rows(self) -> int:
        """Two where a layer normalises over the rows of a batch, else one."""
        if self._code is None:
            return 1
        seed_all(0)  # for what the module draws when it is built
        return 2 if has_batch_norm(self._module()) else 1

    def describe(self) -> dict[str, Any]:
        """Return which code builds the module, if it is the user's."""
        return {} if self._code is None else {"code": self._code}

    def _module(self) -> nn.Module:
        names, takes_any = parameters_of(self._build)
        if not takes_any:
            check_names(self._train.model, self._train.options, names[2:])
        try:
            inputs = self._inputs.shape if isinstance(self._inputs, Packing) else self._inputs
            module = self._build(inputs, self._outputs.width, **self._train.options)
        except TypeError:
            raise InputError(
                f"{self._train.model} does not take (inputs, classes, **train.options)",
                "a function that returns a scikit-learn estimator is named "
                f"{SKLEARN_INTERFACE}{self._train.model}",
            ) from None
        if not isinstance(module, nn.Module):
            raise InputError(
                f"{self._train.model} does not return a torch module",
                "a function that returns a scikit-learn estimator is named "
                f"{SKLEARN_INTERFACE}{self._train.model}",
            )
        if self._unpack is not None:
            module.register_forward_pre_hook(self._unpack)
        return module.to(self._device)


def has_batch_norm(module: nn.Module) -> bool:
    """Tell whether a layer normalises over the rows of a batch: one row has no variance."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    return any(isinstance(layer, kinds) for layer in module.modules())


def batches(rows: int, size: int, *, joined: bool) -> list[slice]:
    """Return the batches of an epoch, in order.

    Parameters
    ----------
    rows, size
        Rows in all, and rows a batch.
    joined
        Whether a last batch of one row joins the batch before it.

    Examples
    --------
    >>> batches(5, 2, joined=False)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    >>> batches(5, 2, joined=True)
    [slice(0, 2, None), slice(2, 5, None)]
    """
    starts = list(range(0, rows, size))
    if joined and size > 1 and len(starts) > 1 and rows % size == 1:
        del starts[-1]
    return [slice(start, end) for start, end in pairwise([*starts, rows])]


@contextmanager
def training_errors(model: str) -> Iterator[None]:
    """Turn the errors of a training into errors of the input, which name the model."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        # Torch's words on shapes and operations.
        reason = str(error).partition("\n")[0]
        raise _kind(error)(f"{model} cannot be trained: {reason}") from error
    except Exception as error:
        # Of a user's module: only the name, because the message may quote a row.
        reason = type(error).__name__
        raise _kind(error)(f"{model} cannot be trained ({reason})") from error


def refuse_diverged(model: str, values: Iterable[torch.Tensor]) -> None:
    """Raise a RefusedRowsError if a model's numbers are no longer finite."""
    if not all(bool(torch.isfinite(value).all()) for value in values if value.is_floating_point()):
        raise RefusedRowsError(
            f"{model} diverged: its weights are no longer finite",
            "decrease train.optimizer.rate, or look for extreme values in a feature",
        )


def _kind(error: Exception) -> type[InputError]:
    """Return the error of refused rows where they may be the reason; a lack of memory is not."""
    # Torch's type of it is a RuntimeError, as a lack of memory is.
    singular = type(error).__name__ == "_LinAlgError"
    of_rows = (ValueError, ArithmeticError, LookupError)
    return RefusedRowsError if singular or isinstance(error, of_rows) else InputError


def user_estimator(
    train: TrainParams,
    inputs: int | Packing,
    outputs: Outputs,
    path: Path,
    root: Path | None = None,
) -> TorchEstimator:
    """Return the estimator of a user's own module, whose code is run from `path`.

    Raises
    ------
    InputError
        If the file is missing, fails, or has no such function.
    """
    seed_all(0)  # for what the file may draw when it is loaded
    build = load_function(path, train.model.rpartition(":")[2], "train.model")
    code = {"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    return TorchEstimator(train, inputs, outputs, build, code, root)
