"""Optimizers of one flat tensor against those of torch, over many steps."""

from typing import Any

import pytest
import torch
from unlearn.stages.config.train import OptimizerParams
from unlearn.stages.estimators.flat_optimizers import make_flat_optimizer

STEPS = 400
#: An odd number, so that a part is left after whole vectors.
SIZES = (37, 64, 5)

SETTINGS: dict[str, dict[str, Any]] = {
    "adam": {"name": "adam", "rate": 0.01},
    "adam with decay": {"name": "adam", "rate": 0.01, "weight_decay": 0.1},
    "adamw": {"name": "adamw", "rate": 0.01},
    "adamw with decay": {"name": "adamw", "rate": 0.01, "weight_decay": 0.1},
    "sgd": {"name": "sgd", "rate": 0.1},
    "sgd with decay": {"name": "sgd", "rate": 0.1, "weight_decay": 0.1},
    "sgd with momentum": {"name": "sgd", "rate": 0.02, "momentum": 0.9},
    "sgd with both": {"name": "sgd", "rate": 0.02, "momentum": 0.9, "weight_decay": 0.1},
}


def gradients_at(step: int, dtype: torch.dtype) -> list[torch.Tensor]:
    """Return gradients of many sizes, some of them 0 in some steps."""
    draw = torch.Generator().manual_seed(step)
    parts = [torch.randn(size, generator=draw, dtype=torch.float64) for size in SIZES]
    scaled = [part * 10.0 ** (index - step % 3) for index, part in enumerate(parts)]
    return [torch.where(part.abs() < 0.1, 0.0, part).to(dtype) for part in scaled]


def by_torch(params: OptimizerParams, start: list[torch.Tensor]) -> torch.Tensor:
    """Return the weights after many steps of torch's own optimizer, which loops over tensors."""
    weights = [torch.nn.Parameter(part.clone()) for part in start]
    rate, decay = params.rate, params.weight_decay
    kinds: dict[str, torch.optim.Optimizer] = {
        "sgd": torch.optim.SGD(
            weights, lr=rate, weight_decay=decay, momentum=params.momentum, foreach=False
        ),
        "adam": torch.optim.Adam(weights, lr=rate, weight_decay=decay, foreach=False),
        "adamw": torch.optim.AdamW(weights, lr=rate, weight_decay=decay, foreach=False),
    }
    optimizer = kinds[params.name]
    for step in range(STEPS):
        for weight, gradient in zip(weights, gradients_at(step, start[0].dtype), strict=True):
            weight.grad = gradient
        optimizer.step()
    return torch.cat([weight.detach() for weight in weights])


@pytest.mark.parametrize(
    ("dtype", "relative", "absolute"),
    [(torch.float64, 1e-10, 1e-12), (torch.float32, 1e-4, 1e-5)],
    ids=["float64", "float32"],
)
@pytest.mark.parametrize("settings", list(SETTINGS))
def test_many_steps_end_where_those_of_torch_do(
    settings: str, dtype: torch.dtype, relative: float, absolute: float
) -> None:
    params = OptimizerParams.model_validate(SETTINGS[settings])
    draw = torch.Generator().manual_seed(1)
    start = [torch.randn(size, generator=draw, dtype=torch.float64).to(dtype) for size in SIZES]
    weights = torch.cat(start)
    gradients = torch.zeros_like(weights)
    optimizer = make_flat_optimizer(params, weights, gradients)

    for step in range(STEPS):
        gradients.copy_(torch.cat(gradients_at(step, dtype)))
        optimizer.step()

    expected = by_torch(params, start)
    assert not torch.allclose(expected, torch.cat(start), rtol=0.1)
    torch.testing.assert_close(weights, expected, rtol=relative, atol=absolute)


@pytest.mark.parametrize("settings", list(SETTINGS))
def test_restored_slots_take_the_same_steps(settings: str) -> None:
    params = OptimizerParams.model_validate(SETTINGS[settings])
    weights, gradients = torch.ones(101), torch.zeros(101)
    optimizer = make_flat_optimizer(params, weights, gradients)

    def step(count: int) -> None:
        gradients.copy_(torch.randn(101, generator=torch.Generator().manual_seed(count)))
        optimizer.step()

    for count in range(5):
        step(count)
    kept = weights.clone(), {name: slot.clone() for name, slot in optimizer.slots.items()}
    for count in range(5, 10):
        step(count)
    expected = weights.clone()

    weights.copy_(kept[0])
    optimizer = make_flat_optimizer(params, weights, gradients)
    assert optimizer.slots.keys() == kept[1].keys()
    for name, slot in optimizer.slots.items():
        slot.copy_(kept[1][name])
    for count in range(5, 10):
        step(count)

    assert torch.equal(weights, expected)
