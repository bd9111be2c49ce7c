"""A backbone from a pinned file, which training does not change."""

import copy
import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from unlearn.stages.config.networks import FreezeParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.frozen import freeze, is_frozen, read_backbone
from unlearn.stages.estimators.torch_state import Tensors


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5)
        )
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4, 2)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        answers: torch.Tensor = self.head(self.drop(self.trunk(rows).mean(dim=(2, 3))))
        return answers


def backbone(folder: Path, drop: str | None = None, **more: torch.Tensor) -> FreezeParams:
    torch.manual_seed(8)
    tensors = {
        name.removeprefix("trunk."): value.clone() + 0.1
        for name, value in Network().state_dict().items()
        if name.startswith("trunk.") and name != drop
    }
    save_file({**tensors, **more}, folder / "backbone.safetensors")
    content = (folder / "backbone.safetensors").read_bytes()
    return FreezeParams(
        weights="backbone.safetensors", sha256=hashlib.sha256(content).hexdigest(), prefix="trunk."
    )


def frozen(folder: Path) -> nn.Module:
    torch.manual_seed(9)
    network = Network()
    freeze(network, read_backbone(backbone(folder), folder), "backbone.safetensors")
    return network


def everything(module: nn.Module) -> Tensors:
    return {name: value.clone() for name, value in module.named_buffers()}


def test_only_the_head_is_trained_and_kept(tmp_path: Path) -> None:
    network = frozen(tmp_path)

    assert list(network.state_dict()) == ["head.weight", "head.bias"]
    assert [name for name, _ in network.named_parameters()] == ["head.weight", "head.bias"]
    pinned = read_backbone(backbone(tmp_path), tmp_path)
    held = dict(network.named_buffers())
    assert held.keys() == pinned.keys()
    assert all(torch.equal(held[name], pinned[name].to(held[name].dtype)) for name in pinned)


def test_no_step_changes_the_backbone(tmp_path: Path) -> None:
    network = frozen(tmp_path)
    before, head = everything(network), network.state_dict()["head.weight"].clone()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    for part in (network, copy.deepcopy(network)):
        part.train()
        part.get_submodule("trunk").train()
    network.requires_grad_(requires_grad=True)

    for _ in range(3):
        optimizer.zero_grad()
        network(torch.randn(5, 1, 6, 6)).sum().backward()
        optimizer.step()

    after = everything(network)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not torch.equal(head, network.state_dict()["head.weight"])


def test_it_stays_in_evaluation_mode_in_copies_too(tmp_path: Path) -> None:
    network = copy.deepcopy(frozen(tmp_path)).train()

    modes = {name: part.training for name, part in network.named_modules()}

    assert {name for name, training in modes.items() if training} == {"", "drop", "head"}
    rows = torch.randn(3, 1, 6, 6)
    trunk = network.get_submodule("trunk")
    assert torch.equal(trunk(rows), trunk(rows))  # dropout does nothing there
    assert isinstance(trunk[1], nn.BatchNorm2d)  # type: ignore[index]  # a Sequential
    state = network.state_dict()
    network.load_state_dict(dict(state))  # as a file has it, without PyTorch's own notes
    with pytest.raises(RuntimeError, match=r"Unexpected key.*trunk\.1\.bias"):
        network.load_state_dict({**state, "trunk.1.bias": torch.zeros(4)})
    assert is_frozen(trunk[1])  # type: ignore[index]  # a Sequential
    assert not is_frozen(network.get_submodule("head"))


def test_a_copy_has_the_backbone_and_moves_with_the_module(tmp_path: Path) -> None:
    network = frozen(tmp_path)

    doubled = copy.deepcopy(network).double()

    held = dict(doubled.named_buffers())
    assert held["trunk.0.weight"].dtype == torch.float64
    assert network.get_buffer("trunk.0.weight").dtype == torch.float32


def test_tied_weights_are_not_frozen_in_part() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = nn.Linear(2, 2), nn.Linear(2, 2)
            self.other.weight = self.one.weight

    with pytest.raises(InputError, match="also a weight that is trained"):
        freeze(Tied(), {"one.weight": torch.zeros(2, 2), "one.bias": torch.zeros(2)}, "file")


CASES: dict[str, tuple[dict[str, Any], str]] = {
    "another name": ({"9.weight": torch.zeros(1)}, "has trunk.9.weight, which the network"),
    "another shape": ({"0.bias": torch.zeros(7)}, r"shape \(7,\) in .* and \(4,\) in the network"),
    "a part of a layer": ({"drop": "trunk.1.running_var"}, "lacks trunk.1.running_var"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_file_that_does_not_fit_is_one_clear_line(case: str, tmp_path: Path) -> None:
    changes, message = CASES[case]

    with pytest.raises(InputError, match=message):
        freeze(Network(), read_backbone(backbone(tmp_path, **changes), tmp_path), "b.safetensors")


def test_all_weights_frozen_is_refused() -> None:
    with pytest.raises(InputError, match="none is trained"):
        freeze(Network(), Network().state_dict(), "b.safetensors")


def test_a_missing_or_another_file_is_one_clear_line(tmp_path: Path) -> None:
    settings = backbone(tmp_path)
    path = tmp_path / "backbone.safetensors"
    content = path.read_bytes()

    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError, match="another file than params.yaml pins"):
        read_backbone(settings, tmp_path)

    path.write_bytes(b"no tensors")
    digest = hashlib.sha256(b"no tensors").hexdigest()
    with pytest.raises(InputError, match="is no safetensors file"):
        read_backbone(settings.model_copy(update={"sha256": digest}), tmp_path)

    path.unlink()
    with pytest.raises(InputError, match="does not exist"):
        read_backbone(settings, tmp_path)
