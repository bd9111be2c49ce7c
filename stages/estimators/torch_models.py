"""Torch modules, trained in memory, one thread each, deterministically."""

import hashlib
from collections.abc import Callable
from contextlib import nullcontext
from functools import cached_property
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
from unlearn.stages.estimators.augmentation import Augmenter, augmenter_of
from unlearn.stages.estimators.base import Dtype, SliceData, Targets
from unlearn.stages.estimators.frozen import freeze, read_backbone
from unlearn.stages.estimators.network_loss import NetworkLoss, training_weights
from unlearn.stages.estimators.network_steps import (
    NetworkSteps,
    SliceRows,
    batches,
    has_batch_norm,
)
from unlearn.stages.estimators.option_names import check_names, parameters_of
from unlearn.stages.estimators.own_loop import OwnLoop
from unlearn.stages.estimators.own_loop_rows import LoopRows, Networks
from unlearn.stages.estimators.packing import Packing
from unlearn.stages.estimators.torch_machine import (
    be_deterministic,
    find_device,
    seed_all,
    unfilled_memory,
)
from unlearn.stages.estimators.torch_predictors import TorchPredictor, TorchRegressor
from unlearn.stages.estimators.torch_state import (
    WEIGHTS,
    Tensors,
    make_optimizer,
    restore_optimizer,
    snapshot,
    weights_of,
)
from unlearn.stages.estimators.training_errors import refuse_diverged, training_errors
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
        The project's folder, where the other files are that a network needs; None where the
        settings name none.
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
        self._packing = inputs if isinstance(inputs, Packing) else None
        self._shape = inputs.shape if isinstance(inputs, Packing) else inputs
        self._unpack = None
        if self._packing is not None:
            self._unpack = Unpack(self._packing, train.pixels or PixelParams(), train.channels_last)
        self._root = root
        self._outputs = outputs
        self._build = build
        self._code = code
        self._device = find_device(train.device)
        be_deterministic()

    def fit_slice(self, state: bytes | None, data: SliceData, init_seed: int) -> bytes:
        """Take `data.steps` optimizer steps on the loss, in epochs over the slice's union.

        A loop of the user's own takes the steps that it likes.
        """
        if self.own_loop is not None:
            return self._fit_by_own_loop(self.own_loop, state, data, init_seed)
        seed_all(init_seed)
        module = self._module()
        optimizer = make_optimizer(self._train.optimizer, list(module.parameters()))
        if state is not None:
            tensors = load_tensors(state)
            module.load_state_dict(weights_of(tensors))
            restore_optimizer(tensors, optimizer)
        rows = self._rows(data)
        steps = NetworkSteps(
            self._train, self.loss(), self._device, self._packing, self.augmenter()
        )
        is_ours = self._code is None and not self._train.code_paths
        memory = unfilled_memory() if is_ours else nullcontext()
        with training_errors(self._train.model), memory:
            steps.take(module, optimizer, rows, data)
        refuse_diverged(self._train.model, module.state_dict().values())
        if self._code is not None:
            self._check_complete(module, rows.inputs[: self._train.batch])
        return save_tensors(snapshot(module.state_dict(), optimizer))

    def _fit_by_own_loop(
        self, loop: OwnLoop, state: bytes | None, data: SliceData, init_seed: int
    ) -> bytes:
        """Return the state that the user's own loop makes of a slice."""
        networks = Networks(self._module, init_seed)
        module = networks.fresh()
        own = self._rows(data)
        joined = has_batch_norm(module)
        rows = LoopRows(
            data,
            own,
            networks,
            batches=batches(len(data.targets), self._train.batch, joined=joined),
            unpack=self._unpack,
            augmenter=self.augmenter(),
        )
        with training_errors(f"train.loop: {loop.name}"):
            made = loop.fit(state, rows, data.seed(0))
        weights = weights_of(load_tensors(made))
        refuse_diverged(loop.name, weights.values())
        if self._code is not None:
            module.load_state_dict(weights)
            self._check_complete(module, own.inputs[: self._train.batch])
        return made

    @cached_property
    def own_loop(self) -> OwnLoop | None:
        """The user's own training loop; None where the settings name none."""
        if self._train.loop is None:
            return None
        seed_all(0)  # for what the file may draw when it is loaded
        return OwnLoop(self._train, self._root or Path())

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

    def _rows(self, data: SliceData) -> SliceRows:
        """Return the rows of a slice's training on the device."""
        inputs = torch.from_numpy(data.inputs).to(self._device)
        return SliceRows(inputs, self.target_tensor(data.targets), self.weight_tensor(data))

    def target_tensor(self, targets: Targets) -> torch.Tensor:
        """Return targets as the loss takes them, on the device, shape (rows,).

        These are class indices; or for a regression numbers in the pinned scale, as float32.
        """
        if self._outputs.is_number:
            scaled = self._outputs.scaled(targets.astype(np.float64))
            return torch.from_numpy(scaled.astype(np.float32)).to(self._device)
        return torch.from_numpy(targets).to(self._device)

    def weight_tensor(self, data: SliceData) -> torch.Tensor | None:
        """Return what the loss of each row is multiplied by, as float32; None without weights."""
        weights = training_weights(self._train, self._outputs, data.targets, data.weights)
        if weights is None:
            return None
        return torch.from_numpy(weights.astype(np.float32)).to(self._device)

    def augmenter(self) -> Augmenter | None:
        """Return what changes pictures in training; None where the settings ask for no change."""
        if self._packing is None:
            return None
        seed_all(0)  # for what a file may draw when it is loaded
        return augmenter_of(self._train, self._packing, self._root or Path())

    def loss(self) -> NetworkLoss:
        """Return what training makes small."""
        if self._train.loss is not None:
            seed_all(0)  # for what the file may draw when it is loaded
        return NetworkLoss.of(self._train, self._outputs, self._root)

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
        seed_all(0)  # for what the module draws when it is built
        return 2 if has_batch_norm(self._module()) else 1

    def describe(self) -> dict[str, Any]:
        """Return which code builds the module, if it is the user's."""
        return {} if self._code is None else {"code": self._code}

    def _module(self) -> nn.Module:
        """Return the network as it is built, with frozen weights where it has some."""
        module = self._built()
        if self._train.freeze is not None:
            freeze(module, self._backbone, self._train.freeze.weights)
        if self._unpack is not None:
            module.register_forward_pre_hook(self._unpack)
        module = module.to(self._device)
        if self._train.channels_last:
            # The types of torch do not know this form.
            module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return module

    @cached_property
    def _backbone(self) -> Tensors:
        """The pinned weights that the network does not change, by their names in it."""
        if self._train.freeze is None:
            return {}
        if self._root is None:
            raise InputError(
                f"train.freeze.weights: {self._train.freeze.weights} is needed, and no folder is "
                "known where it is"
            )
        return read_backbone(self._train.freeze, self._root)

    def _built(self) -> nn.Module:
        first = "inputs" if self._packing is None else "shape"
        names, takes_any = parameters_of(self._build)
        if not takes_any:
            check_names(self._train.model, self._train.options, names[2:])
        try:
            module = self._build(self._shape, self._outputs.width, **self._train.options)
        except TypeError:
            raise InputError(
                f"{self._train.model} does not take ({first}, classes, **train.options)",
                "a function that returns a scikit-learn estimator is named "
                f"{SKLEARN_INTERFACE}{self._train.model}",
            ) from None
        if not isinstance(module, nn.Module):
            raise InputError(
                f"{self._train.model} does not return a torch module",
                "a function that returns a scikit-learn estimator is named "
                f"{SKLEARN_INTERFACE}{self._train.model}",
            )
        return module


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
