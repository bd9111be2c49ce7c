"""The gradients of a multilayer perceptron, written out.

For a batch of B rows H_0 and their classes, the layers l = 1..L compute

    Z_l = H_{l-1} W_l^T + b_l        H_l = f(Z_l) * M_l  (l < L)        P = softmax(Z_L)

where f is the activation and M_l the mask of dropout. The gradients of the mean cross-entropy are

    dW_l = D_l^T H_{l-1} / B         D_L = P - onehot(classes)
    db_l = D_l^T 1 / B               D_l = (D_{l+1} W_{l+1}) * f'(Z_l) * M_l

Where a number is predicted, the loss is the mean squared error of Z_L, whose one column it is, and

    D_L = 2 (Z_L - targets)

(Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors", Nature 323,
1986). With small batches autograd takes longer to record these few products than they take. Here
nothing is recorded, and every result goes to a buffer that is used again for the next batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import pi, sqrt

import torch
from torch import nn

#: Turns pre-activations Z into f(Z), in place, and writes f'(Z) to a second tensor of their shape.
Activation = Callable[[torch.Tensor, torch.Tensor], None]

_ONE = torch.ones(())


#: Turns the last layer's Z into D_L in place of the second tensor, given the targets, shape (B, 1),
#: and a column of -1.
Errors = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], None]


def class_errors(
    last: torch.Tensor, errors: torch.Tensor, classes: torch.Tensor, minus_one: torch.Tensor
) -> None:
    """Write the errors of cross-entropy: softmax(Z) - onehot(classes)."""
    torch.softmax(last, 1, out=errors)
    errors.scatter_add_(1, classes, minus_one)


def squared_errors(
    last: torch.Tensor, errors: torch.Tensor, targets: torch.Tensor, minus_one: torch.Tensor
) -> None:
    """Write the errors of the squared error: 2 (Z - targets)."""
    del minus_one
    torch.sub(last, targets, out=errors).mul_(2)


def _relu(values: torch.Tensor, slopes: torch.Tensor) -> None:
    """Apply max(z, 0), whose slope is 1 above 0, and 0 elsewhere."""
    torch.sign(values.relu_(), out=slopes)


def _tanh(values: torch.Tensor, slopes: torch.Tensor) -> None:
    """Apply h = tanh(z), whose slope is 1 - h^2."""
    values.tanh_()
    torch.mul(values, values, out=slopes)
    torch.sub(_ONE, slopes, out=slopes)


def _sigmoid(values: torch.Tensor, slopes: torch.Tensor) -> None:
    """Apply h = 1 / (1 + exp(-z)), whose slope is h - h^2."""
    values.sigmoid_()
    torch.addcmul(values, values, values, value=-1, out=slopes)


def _gelu(values: torch.Tensor, slopes: torch.Tensor) -> None:
    """Apply z Phi(z), whose slope is Phi(z) + z phi(z); Phi and phi are of the standard normal.

    Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016, in the exact form.
    """
    cumulative = torch.mul(values, sqrt(0.5)).erf_().add_(1).mul_(0.5)
    density = torch.mul(values, values, out=slopes).mul_(-0.5).exp_().mul_(1 / sqrt(2 * pi))
    density.mul_(values).add_(cumulative)
    values.mul_(cumulative)


ACTIVATIONS: dict[str, Activation] = {
    "relu": _relu,
    "tanh": _tanh,
    "gelu": _gelu,
    "sigmoid": _sigmoid,
}


@dataclass(frozen=True)
class _Layer:
    """A layer's part of the flat tensors.

    Parameters
    ----------
    weight, weight_gradient
        W and dW, shape (outputs, inputs).
    transposed
        W^T.
    bias, bias_gradient
        b and db, shape (outputs,).
    """

    weight: torch.Tensor
    transposed: torch.Tensor
    bias: torch.Tensor
    weight_gradient: torch.Tensor
    bias_gradient: torch.Tensor


class _Buffers:
    """What one layer computes for batches of a number of rows: tensors of shape (B, outputs).

    Parameters
    ----------
    rows
        B.
    layer
        The layer.
    """

    def __init__(self, rows: int, layer: _Layer) -> None:
        #: Z, and then H.
        self.values = layer.bias.new_empty(rows, len(layer.bias))
        #: f'(Z) * M.
        self.slopes = torch.empty_like(self.values)
        #: M.
        self.mask = torch.empty_like(self.values)
        #: D, and D^T.
        self.errors = torch.empty_like(self.values)
        self.transposed = self.errors.t()


class _Batch:
    """The buffers for batches of a number of rows, and what else depends on the number only."""

    def __init__(self, rows: int, layers: list[_Layer]) -> None:
        self.hidden = [_Buffers(rows, layer) for layer in layers[:-1]]
        self.last = _Buffers(rows, layers[-1])
        self.share = 1 / rows
        self.shares = layers[-1].bias.new_full((rows,), self.share)
        self.minus_one = layers[-1].bias.new_full((rows, 1), -1)


class MlpGradients:
    """A perceptron's weights and their gradients, each in one flat tensor.

    Parameters
    ----------
    module
        Linear layers, with what is between them. Weights, type and device are taken from it.
    activation
        What is between them: a name in `ACTIVATIONS`.
    dropout
        The share of each hidden layer's outputs that is set to 0 (Srivastava et al., "Dropout",
        JMLR 15, 2014); the others are divided by what is left.
    errors
        The loss, by what it gives the last layer: `class_errors` or `squared_errors`.
    """

    def __init__(
        self, module: nn.Module, activation: str, dropout: float, errors: Errors = class_errors
    ) -> None:
        named = {name: weights.detach() for name, weights in module.named_parameters()}
        self._activate = ACTIVATIONS[activation]
        self._keep = 1 - dropout
        self._errors = errors
        #: All weights and biases, one after another, and their gradients.
        self.weights = torch.cat([part.flatten() for part in named.values()])
        self.gradients = torch.zeros_like(self.weights)
        #: Each weight and each bias by its name in the module, and its gradient.
        self.weights_by_name = _views(self.weights, named)
        self.gradients_by_name = _views(self.gradients, named)
        parts = list(self.weights_by_name.values())
        gradients = list(self.gradients_by_name.values())
        self._layers = [
            _Layer(weight, weight.t(), bias, weight_gradient, bias_gradient)
            for weight, bias, weight_gradient, bias_gradient in zip(
                parts[::2], parts[1::2], gradients[::2], gradients[1::2], strict=True
            )
        ]
        self._batches: dict[int, _Batch] = {}

    def differentiate(
        self,
        inputs: torch.Tensor,
        targets: torch.Tensor,
        draw: torch.Generator,
        weights: torch.Tensor | None = None,
    ) -> None:
        """Write the gradients of a batch's mean loss to `gradients`.

        Parameters
        ----------
        inputs
            Rows, shape (B, width of the first layer).
        targets
            The class of each, int64, or its number, shape (B, 1).
        draw
            Draws the masks of dropout, layer by layer.
        weights
            What the loss of each row is multiplied by, shape (B, 1); None for 1.
        """
        rows = len(inputs)
        batch = self._batches.get(rows)
        if batch is None:
            batch = self._batches[rows] = _Batch(rows, self._layers)
        entering = self._forward(batch, inputs, draw)
        last = batch.last
        self._errors(last.values, last.errors, targets, batch.minus_one)
        if weights is not None:
            last.errors.mul_(weights)
        self._backward(batch, entering)

    def _forward(
        self, batch: _Batch, inputs: torch.Tensor, draw: torch.Generator
    ) -> list[torch.Tensor]:
        """Compute the logits; return what enters each layer."""
        entering = [inputs]
        for layer, own in zip(self._layers, batch.hidden, strict=False):
            torch.addmm(layer.bias, entering[-1], layer.transposed, out=own.values)
            self._activate(own.values, own.slopes)
            if self._keep < 1:
                own.mask.bernoulli_(self._keep, generator=draw).div_(self._keep)
                own.values.mul_(own.mask)
                own.slopes.mul_(own.mask)
            entering.append(own.values)
        layer = self._layers[-1]
        torch.addmm(layer.bias, entering[-1], layer.transposed, out=batch.last.values)
        return entering

    def _backward(self, batch: _Batch, entering: list[torch.Tensor]) -> None:
        """Take the errors from the last layer to the first, and write each layer's gradients."""
        own = batch.last
        for number in reversed(range(len(self._layers))):
            layer = self._layers[number]
            layer.weight_gradient.addmm_(
                own.transposed, entering[number], beta=0, alpha=batch.share
            )
            torch.mv(own.transposed, batch.shares, out=layer.bias_gradient)
            if number > 0:
                below = batch.hidden[number - 1]
                torch.mm(own.errors, layer.weight, out=below.errors).mul_(below.slopes)
                own = below


def _views(flat: torch.Tensor, like: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the parts of a flat tensor, in the shapes of others."""
    parts = torch.split(flat, [part.numel() for part in like.values()])
    return {
        name: part.view_as(shape) for part, (name, shape) in zip(parts, like.items(), strict=True)
    }
