"""Each written-out gradient against autograd's, through the module that models are loaded into."""

from collections.abc import Sequence

import pytest
import torch
from torch import nn
from unlearn.stages.estimators.mlp import build_mlp
from unlearn.stages.estimators.mlp_gradients import ACTIVATIONS, MlpGradients

INPUTS, CLASSES = 11, 5
#: Nothing hidden, one layer, several; odd widths, and one that fills whole vectors.
SHAPES: dict[str, list[int]] = {"none": [], "one": [7], "two": [16, 3], "three": [9, 1, 6]}
#: How far apart two results may be, by the type of the numbers: relative, and absolute.
CLOSE = {
    torch.float32: (1e-4, 2e-6),
    torch.float64: (1e-12, 1e-13),
}


def module_of(
    hidden: Sequence[int], activation: str, dropout: float, dtype: torch.dtype, *, seed: int = 3
) -> nn.Module:
    torch.manual_seed(seed)
    module = build_mlp(INPUTS, CLASSES, hidden=list(hidden), activation=activation, dropout=dropout)
    return module.to(dtype).train()


def batch_of(rows: int, dtype: torch.dtype, *, seed: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    inputs = 2 * torch.randn(rows, INPUTS, generator=draw, dtype=dtype)
    return inputs, torch.randint(0, CLASSES, (rows,), generator=draw)


def by_autograd(
    module: nn.Module, inputs: torch.Tensor, classes: torch.Tensor, seed: int
) -> dict[str, torch.Tensor]:
    module.zero_grad()
    torch.manual_seed(seed)  # of the masks
    nn.functional.cross_entropy(module(inputs), classes).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return {
        name: part.grad.clone() for name, part in module.named_parameters() if part.grad is not None
    }


def written_out(
    network: MlpGradients, inputs: torch.Tensor, classes: torch.Tensor, seed: int
) -> dict[str, torch.Tensor]:
    network.differentiate(inputs, classes[:, None], torch.Generator().manual_seed(seed))
    return {name: part.clone() for name, part in network.gradients_by_name.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize("shape", list(SHAPES))
def test_every_gradient_is_that_of_autograd(
    shape: str, activation: str, dropout: float, dtype: torch.dtype
) -> None:
    module = module_of(SHAPES[shape], activation, dropout, dtype)
    network = MlpGradients(module, activation, dropout)
    relative, absolute = CLOSE[dtype]
    # One network for all sizes, and the first size again at the end: its buffers are used again.
    for seed, rows in enumerate((16, 1, 2, 33, 16)):
        inputs, classes = batch_of(rows, dtype, seed=rows)
        expected = by_autograd(module, inputs, classes, seed)
        found = written_out(network, inputs, classes, seed)

        assert found.keys() == expected.keys()
        assert len(found) == 2 * (len(SHAPES[shape]) + 1)
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, rtol=relative, atol=absolute)


def test_the_comparison_can_fail() -> None:
    """A mask, an activation or a share of rows that is another changes gradients by more."""
    module = module_of([7], "tanh", 0.4, torch.float64)
    inputs, classes = batch_of(16, torch.float64)
    expected = by_autograd(module, inputs, classes, 1)
    for activation, dropout, seed in (("sigmoid", 0.4, 1), ("tanh", 0.3, 1), ("tanh", 0.4, 2)):
        found = written_out(MlpGradients(module, activation, dropout), inputs, classes, seed)
        with pytest.raises(AssertionError):
            torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_flat_and_steep_places_are_those_of_autograd(activation: str) -> None:
    """At 0, where relu has a corner, and far out, where the others are flat."""
    module = module_of([7], activation, 0.0, torch.float64)
    weight, bias = list(module.parameters())[:2]
    with torch.no_grad():
        weight[0] = bias[0] = 0.0
        weight[1:] *= 1e3
    inputs, classes = batch_of(16, torch.float64)

    found = written_out(MlpGradients(module, activation, 0.0), inputs, classes, 1)
    expected = by_autograd(module, inputs, classes, 1)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


def test_large_logits_and_one_class_have_finite_gradients() -> None:
    module = module_of([], "relu", 0.0, torch.float32)
    with torch.no_grad():
        next(module.parameters()).mul_(1e4)
    inputs, classes = batch_of(16, torch.float32)
    found = written_out(MlpGradients(module, "relu", 0.0), inputs, classes, 1)
    torch.testing.assert_close(found, by_autograd(module, inputs, classes, 1))

    torch.manual_seed(1)
    only = build_mlp(INPUTS, 1, hidden=[4])
    alone = written_out(MlpGradients(only, "relu", 0.0), inputs, torch.zeros_like(classes), 1)
    assert not any(gradient.any() for gradient in alone.values())


def test_weights_and_gradients_are_views_of_the_flat_tensors() -> None:
    module = module_of([7], "relu", 0.0, torch.float32)
    network = MlpGradients(module, "relu", 0.0)
    flat = torch.cat([part.detach().flatten() for part in module.parameters()])

    assert torch.equal(network.weights, flat)
    network.weights.zero_()
    assert not any(part.any() for part in network.weights_by_name.values())
    assert all(part.any() for part in module.parameters()), "the module keeps its own"
    inputs, classes = batch_of(4, torch.float32)
    found = written_out(network, inputs, classes, 1)
    assert torch.equal(network.gradients, torch.cat([part.flatten() for part in found.values()]))
