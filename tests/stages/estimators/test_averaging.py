"""The mean of the weights over a slice's last steps."""

import pytest
import torch
from torch import nn
from unlearn.stages.estimators.averaging import WeightAverage


def steps_of(module: nn.Module, average: WeightAverage | None, steps: int) -> list[torch.Tensor]:
    taken = []
    for step in range(steps):
        with torch.no_grad():
            for weight in module.parameters():
                weight.add_(torch.full_like(weight, 0.1 * (step + 1) ** 2))
        module(torch.randn(4, 3))
        if average is not None:
            average.count(step)
        taken.append(torch.cat([v.flatten().double() for v in module.state_dict().values()]))
    return taken


@pytest.mark.parametrize(("share", "counted"), [(0.3, 3), (0.01, 1), (1.0, 10), (0.25, 3)])
def test_it_is_the_mean_over_the_last_steps(share: float, counted: int) -> None:
    torch.manual_seed(2)
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    average = WeightAverage.of(module, share, 10)
    assert average is not None

    taken = steps_of(module, average, 10)
    average.write()

    found = torch.cat([value.flatten().double() for value in module.state_dict().values()])
    mean = torch.stack(taken[-counted:]).mean(dim=0)
    # The last number is the counter of batches, which is not averaged.
    torch.testing.assert_close(found[:-1], mean[:-1], rtol=1e-5, atol=1e-5)
    assert found[-1] == 10


def test_a_share_of_0_averages_nothing() -> None:
    assert WeightAverage.of(nn.Linear(1, 1), 0.0, 10) is None


def test_without_a_step_the_weights_stay() -> None:
    module = nn.Linear(2, 1)
    before = module.weight.detach().clone()
    average = WeightAverage.of(module, 0.5, 4)
    assert average is not None

    average.write()

    assert torch.equal(module.weight, before)
