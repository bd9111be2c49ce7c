"""Adapters whose slices have layers of their own: later slices change nothing of earlier ones."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.layer_groups import layer_groups
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.slices import plan_shard

from tests.language_models import (
    author_rows,
    language_recipe,
    made_once,
    make_blank_base,
)
from tests.stages.conftest import put, train_at_once
from tests.stages.estimators.test_causal import in_slices

SLICES = 3
ROWS = author_rows(6)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    base = made_once(
        tmp_path_factory, "three-layers", lambda folder: make_blank_base(folder, layers=3)
    )
    return layered(base)


def layered(base: Path, slices: int = SLICES) -> Recipe:
    return language_recipe(base, "lora", slices=slices, options={"layers_by_slice": True})


def adapter(files: dict[str, bytes]) -> dict[str, torch.Tensor]:
    return load(files["adapter_model.safetensors"])


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=20, unique=True),
    st.integers(1, 6),
    st.data(),
)
def test_groups_are_blocks_from_the_last_to_the_first(
    blocks: list[int], slices: int, data: st.DataObject
) -> None:
    names = [f"model.layers.{block}.{part}" for block in blocks for part in ("up", "experts.3.up")]
    names = data.draw(st.permutations([*names, "project_in"]))
    if len(blocks) < slices:
        with pytest.raises(InputError, match=rf"on {len(blocks)} blocks of layers, and {slices} "):
            layer_groups(names, slices)
        return
    groups = layer_groups(names, slices)

    assert sorted(name for group in groups for name in group) == sorted(names)
    assert "project_in" in groups[-1]
    numbers = [
        sorted({int(name.split(".")[2]) for name in group if name != "project_in"})
        for group in groups
    ]
    assert [n for group in numbers for n in reversed(group)] == sorted(blocks, reverse=True)
    assert max(map(len, numbers)) - min(map(len, numbers)) <= 1


def test_a_slice_trains_its_own_layers_and_no_others(recipe: Recipe) -> None:
    files = train_at_once(recipe, ROWS)
    names = [name for name in files if name.startswith("checkpoints/")]
    assert len(names) == SLICES - 1
    states = [
        {name.removeprefix("model."): value for name, value in load(files[name]).items()}
        for name in sorted(names)
    ]
    states.append(adapter(files))
    groups = layer_groups([key.split(".lora_")[0] for key in states[0]], SLICES)
    before: dict[str, torch.Tensor] = {}
    for number, state in enumerate(states):
        for group, layers in enumerate(groups):
            mine = {key: value for key, value in state.items() if key.split(".lora_")[0] in layers}
            seconds = [value for key, value in mine.items() if ".lora_B." in key]
            if group < number:
                assert all(torch.equal(value, before[key]) for key, value in mine.items())
            elif group == number:
                assert all(value.abs().max() > 0 for value in seconds)
            else:
                assert all(value.abs().max() == 0 for value in seconds)
        before = state
    # The next slice begins with an optimizer of its own.
    assert set(load(files[min(names)])) == {f"model.{key}" for key in states[0]}


def test_a_model_without_later_slices_is_the_checkpoint_before_them(
    recipe: Recipe, tmp_path: Path
) -> None:
    whole = train_at_once(recipe, ROWS)
    put(tmp_path / "s000", whole)
    rows = in_slices(ROWS, 1, 2)
    work = plan_shard(recipe, "s000", rows, tmp_path / "s000")
    assert (work.first, work.rows_to_train) == (3, 0)
    assert work.rows_in_full == rows.num_rows + in_slices(ROWS, 1).num_rows

    shorter = train_at_once(recipe, rows)
    names = sorted(name for name in whole if name.startswith("checkpoints/"))
    state = {key.removeprefix("model."): value for key, value in load(whole[names[1]]).items()}
    found = adapter(shorter)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], state[key]) for key in found)


def test_a_base_of_fewer_blocks_than_slices_is_refused(blank_base: Path) -> None:
    with pytest.raises(InputError, match="on 2 blocks of layers, and 3 slices need as many") as why:
        train_at_once(layered(blank_base), ROWS)
    assert why.value.hints == ("set sharding.slices to at most 2",)
