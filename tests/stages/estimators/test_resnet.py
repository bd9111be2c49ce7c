"""The built-in residual network."""

import copy
from typing import Any

import pytest
import torch
from torch import nn
from unlearn.stages.config.networks import ResnetOptions
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.resnet import build_resnet
from unlearn.stages.estimators.resnet_spec import multiplications
from unlearn.stages.estimators.torch_machine import be_deterministic

be_deterministic()


def built(shape: Any, classes: int = 3, **options: Any) -> nn.Module:
    torch.manual_seed(5)
    return build_resnet(shape, classes, **({"width": 8} | options))


@pytest.mark.parametrize(
    "shape", [(1, 4, 4), (3, 8, 8), (3, 16, 20), (4, 31, 33), (3, 32, 32), (3, 64, 64)]
)
@pytest.mark.parametrize("norm", ["group", "batch"])
def test_it_reads_pictures_of_many_sizes(shape: tuple[int, ...], norm: str) -> None:
    answers = built(shape, norm=norm)(torch.randn(2, *shape))

    assert answers.shape == (2, 3)
    assert bool(torch.isfinite(answers).all())


def test_group_norm_answers_a_row_whatever_rows_are_beside_it() -> None:
    network, rows = built((3, 8, 8)), torch.randn(6, 3, 8, 8)
    for weight in network.parameters():
        nn.init.normal_(weight)

    alone = torch.cat([network(row[None]) for row in rows])

    torch.testing.assert_close(network(rows), alone, rtol=1e-4, atol=1e-4)
    with_batch_norm = built((3, 8, 8), norm="batch")
    beside = with_batch_norm(rows)[:2]
    assert not torch.allclose(with_batch_norm(rows[:2]), beside, rtol=1e-3)


def test_several_pictures_and_numbers_are_read_together() -> None:
    shapes = {"photo": (3, 8, 8), "a name. with dots": (1, 4, 4), "spectrum": (5,), "columns": (2,)}
    network = built(shapes)
    inputs = {name: torch.randn(4, *shape) for name, shape in shapes.items()}

    before = network(inputs)

    assert before.shape == (4, 3)
    for name, shape in shapes.items():
        changed = network({**inputs, name: torch.randn(4, *shape)})
        assert not torch.equal(before, changed), name


def test_it_is_the_same_for_the_same_seed() -> None:
    one, other = built((3, 8, 8)).state_dict(), built((3, 8, 8)).state_dict()

    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_block_is_the_identity_at_first() -> None:
    block = built((3, 8, 8)).get_submodule("trunks.0.blocks.0")
    rows = torch.rand(2, 8, 8, 8)

    assert torch.equal(block(rows), rows)


def test_its_multiplications_are_what_is_told() -> None:
    counted = 0

    def count(layer: nn.Module, _args: Any, answers: torch.Tensor) -> None:
        nonlocal counted
        assert isinstance(layer, nn.Conv2d)
        counted += layer.weight.numel() * answers.shape[2] * answers.shape[3]

    for shape, blocks in (((3, 32, 32), 1), ((1, 64, 64), 2), ((3, 16, 16), 3)):
        counted = 0
        network = copy.deepcopy(built(shape, blocks=blocks))
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                layer.register_forward_hook(count)
        network(torch.randn(1, *shape))
        assert counted == multiplications(shape, ResnetOptions(width=8, blocks=blocks))


def test_what_it_cannot_read_is_one_clear_line() -> None:
    with pytest.raises(InputError, match="no feature of schema.yaml is one"):
        build_resnet(7, 3)
    with pytest.raises(InputError, match="no feature of schema.yaml is one"):
        build_resnet({"spectrum": (64,), "columns": (2,)}, 3)
    with pytest.raises(InputError, match="one is of 3 x 9"):
        build_resnet((1, 3, 9), 3)
