"""What it costs to pass a row through a network, counted and not timed: the same in every run."""

import torch
from torch import nn

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def row_work(module: nn.Module, inputs: torch.Tensor) -> int:
    """Return about how many multiplications a row takes, at least 1.

    Of numbers in columns, each weight counts once. Of rows with arrays, the weights of a
    convolution or a linear layer count for each place that they are applied to: a network for
    pictures has few weights, and does a hundred times as much with each.

    Parameters
    ----------
    module
        The network; it is as before afterwards.
    inputs
        Rows as it reads them, shape (rows, width); bytes where features are arrays.
    """
    weights = sum(weight.numel() for weight in module.parameters())
    if inputs.dtype != torch.uint8 or len(inputs) == 0:
        return max(1, weights)
    more = 0

    def count(layer: nn.Module, _inputs: object, answers: torch.Tensor) -> None:
        nonlocal more
        if not isinstance(layer.weight, torch.Tensor):
            return
        channels = layer.weight.shape[0]
        more += layer.weight.numel() * (answers.numel() // channels - 1)

    counted = [
        layer.register_forward_hook(count)
        for layer in module.modules()
        if isinstance(layer, (*_CONVOLUTIONS, nn.Linear))
    ]
    modes = [(layer, layer.training) for layer in module.modules()]
    try:
        with torch.no_grad():
            module.eval()(inputs[:1])
    finally:
        for layer, training in modes:
            layer.training = training
        for handle in counted:
            handle.remove()
    return max(1, weights + more)
