"""The built-in multilayer perceptron: its module, and a training loop without autograd."""

from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn
from unlearn.stages.config.train import MlpOptions, TrainParams
from unlearn.stages.estimators.base import SliceData
from unlearn.stages.estimators.flat_optimizers import FlatOptimizer, make_flat_optimizer
from unlearn.stages.estimators.mlp_gradients import (
    Errors,
    MlpGradients,
    class_errors,
    squared_errors,
)
from unlearn.stages.estimators.torch_machine import seed_all
from unlearn.stages.estimators.torch_models import TorchEstimator
from unlearn.stages.estimators.torch_state import OPTIMIZER, WEIGHTS
from unlearn.stages.estimators.training_errors import refuse_diverged, training_errors
from unlearn.stages.rows.outputs import Outputs

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "sigmoid": nn.Sigmoid,
}


class MlpEstimator(TorchEstimator):
    """The built-in perceptron. Its models are torch modules, as those of any `TorchEstimator`.

    Parameters
    ----------
    train
        The settings.
    inputs
        Number of input columns.
    outputs
        What models answer with.
    """

    def __init__(self, train: TrainParams, inputs: int, outputs: Outputs) -> None:
        super().__init__(train, inputs, outputs, build_mlp)
        self._errors = squared_errors if outputs.is_number else class_errors

    def fit_slice(self, state: bytes | None, data: SliceData, init_seed: int) -> bytes:
        """Take `data.steps` optimizer steps on the loss, in epochs over the slice's union."""
        seed_all(init_seed)
        options = MlpOptions.model_validate(self._train.options)
        network = MlpGradients(self._module(), options.activation, options.dropout, self._errors)
        optimizer = make_flat_optimizer(self._train.optimizer, network.weights, network.gradients)
        # What the next step reads, by its name in a state.
        named = {
            **{f"{WEIGHTS}{name}": part for name, part in network.weights_by_name.items()},
            **{f"{OPTIMIZER}{name}": slot for name, slot in optimizer.slots.items()},
        }
        if state is not None:
            for name, value in load_tensors(state).items():
                named[name].copy_(value)
        with training_errors(self._train.model), torch.inference_mode():
            self._take_steps(network, optimizer, data)
        refuse_diverged(self._train.model, [network.weights])
        return save_tensors({name: value.cpu().clone() for name, value in named.items()})

    def steps(self, module: nn.Module, draw: torch.Generator) -> "MlpSteps":
        """Return training's steps for a module that `load` or `fresh` returned.

        Parameters
        ----------
        module
            Its weights are where the steps start.
        draw
            Draws the masks of dropout, on the estimator's device.
        """
        return MlpSteps(module, self._train, draw, self._errors)

    def _take_steps(self, network: MlpGradients, optimizer: FlatOptimizer, data: SliceData) -> None:
        rows = torch.from_numpy(data.inputs).to(self.device)
        columns = self.target_tensor(data.targets).unsqueeze(1)
        weights = self.weight_tensor(data)
        size = self._train.batch
        # Each batch is gathered into the same memory: no second copy of all rows is held.
        gathered = rows.new_empty(min(size, len(rows)), rows.shape[1])
        left, epoch = data.steps, 0
        while left > 0:
            draw = torch.Generator(self.device)
            draw.manual_seed(data.seed(epoch))
            order = torch.randperm(len(rows), generator=draw, device=self.device)[: left * size]
            targets = torch.split(columns[order], size)
            for part, answers in zip(torch.split(order, size), targets, strict=True):
                inputs = gathered[: len(part)]
                torch.index_select(rows, 0, part, out=inputs)
                counts = None if weights is None else weights[part].unsqueeze(1)
                network.differentiate(inputs, answers, draw, counts)
                optimizer.step()
            left -= len(targets)
            epoch += 1


class MlpSteps:
    """Training's own optimizer on single batches of rows, without autograd.

    Parameters
    ----------
    module
        A module of `build_mlp`. It changes only when `write` is called.
    train
        The settings of the model.
    draw
        Draws the masks of dropout.
    errors
        The loss; see `MlpGradients`.
    """

    def __init__(
        self,
        module: nn.Module,
        train: TrainParams,
        draw: torch.Generator,
        errors: Errors = class_errors,
    ) -> None:
        options = MlpOptions.model_validate(train.options)
        self._module, self._draw = module, draw
        self._network = MlpGradients(module, options.activation, options.dropout, errors)
        self._optimizer = make_flat_optimizer(
            train.optimizer, self._network.weights, self._network.gradients
        )

    def take(
        self, inputs: torch.Tensor, targets: torch.Tensor, *, rate: float, l1: float = 0.0
    ) -> None:
        """Take a step on the mean loss of a batch, and l1 times the absolute weights.

        Parameters
        ----------
        inputs, targets
            Rows, shape (rows, width), and their classes or scaled numbers, shape (rows,).
        rate
            The learning rate.
        l1
            Weighs the sum of the absolute weights and biases.
        """
        network = self._network
        with torch.no_grad():
            network.differentiate(inputs, targets.unsqueeze(1), self._draw)
            if l1:
                network.gradients.add_(torch.sign(network.weights), alpha=l1)
            self._optimizer.rate = rate
            self._optimizer.step()

    def write(self) -> None:
        """Give the module the weights as they are now."""
        with torch.no_grad():
            for name, weight in self._module.named_parameters():
                weight.copy_(self._network.weights_by_name[name])


def build_mlp(inputs: int, classes: int, **options: Any) -> nn.Module:
    """Return the built-in multilayer perceptron.

    Parameters
    ----------
    inputs, classes
        Width of the first and of the last layer.
    **options
        As `MlpOptions`.
    """
    shape = MlpOptions.model_validate(options)
    layers: list[nn.Module] = []
    width = inputs
    for hidden in shape.hidden:
        layers += [nn.Linear(width, hidden), _ACTIVATIONS[shape.activation]()]
        if shape.dropout:
            layers.append(nn.Dropout(shape.dropout))
        width = hidden
    return nn.Sequential(*layers, nn.Linear(width, classes))
