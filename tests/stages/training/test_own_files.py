"""Files that training runs are part of the recipe, and what is drawn for a row is its own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.config.train import TrainParams
from unlearn.stages.dvc.pipeline import check_code_is_a_dependency
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.augmentation import augmenter_of
from unlearn.stages.estimators.tensor_transform import TensorTransform, fit_inputs
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.shard_file import RECORD
from unlearn.stages.training.fitting import row_draws
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.sliced_rows import by_slice

from tests.properties import tried_on
from tests.stages.conftest import MLP, OTHER_KEY, make_params
from tests.stages.picture_shards import picture_recipe, picture_rows

ROWS = picture_rows(40)
AUGMENT: dict[str, Any] = {"augment": {"crop": 2, "flip": True, "colour": 0.3, "cutout": 3}}
OWN: dict[str, Any] = {
    "model": "code/net.py:build",
    "options": {},
    "loss": "my.py:loss",
    "augment": {"own": "aug.py:augment"},
}


def changed_pictures(recipe: Recipe, rows: pa.Table, epoch: int) -> dict[tuple[bytes, int], bytes]:
    """Return the picture of each row in an epoch of each slice that trains on it."""
    sliced = by_slice(rows, recipe.slices)
    transform = fit_inputs(sliced.rows, recipe.layout, recipe.train)
    assert isinstance(transform, TensorTransform)
    augmenter = augmenter_of(recipe.train, transform.packing, recipe.root)
    assert augmenter is not None
    found = {}
    for number, end in enumerate(sliced.ends, start=1):
        union = sliced.rows.slice(0, end)
        draws = row_draws(recipe, union)
        assert draws is not None
        inputs = torch.from_numpy(transform.transform(union))
        pictures = augmenter(inputs, draws, number, epoch).numpy()
        for record, picture in zip(union[RECORD].to_pylist(), pictures, strict=True):
            found[record, number] = picture.tobytes()
    return found


@tried_on(few=5, many=30)
@given(data=st.data(), slices=st.sampled_from([1, 3]), epoch=st.integers(0, 2))
def test_a_rows_picture_is_the_same_whichever_other_rows_there_are(
    *, data: st.DataObject, slices: int, epoch: int
) -> None:
    recipe = picture_recipe(AUGMENT, slices=slices)
    kept = data.draw(st.lists(st.sampled_from(range(40)), min_size=1, unique=True).map(sorted))
    whole = changed_pictures(recipe, ROWS, epoch)
    some = changed_pictures(recipe, ROWS.take(kept), epoch)

    assert some == {place: whole[place] for place in some}
    assert len({record for record, _ in some}) == len(kept)


def test_another_key_seed_or_record_draws_something_else() -> None:
    recipe = picture_recipe(AUGMENT)
    draws = row_draws(recipe, ROWS)
    assert draws is not None
    assert len(set(draws.tolist())) == 40
    for other in (replace(recipe, key=OTHER_KEY), replace(recipe, seed=1)):
        found = row_draws(other, ROWS)
        assert found is not None
        assert (found != draws).all()
    assert row_draws(picture_recipe({}), ROWS) is None
    assert row_draws(picture_recipe({"augment": {"mixup": 0.2}}), ROWS) is None


@pytest.mark.parametrize("name", ["code/net.py", "my.py", "aug.py"])
def test_each_own_file_is_part_of_the_recipe(tmp_path: Path, name: str) -> None:
    (tmp_path / "code").mkdir()
    for path in ("code/net.py", "my.py", "aug.py"):
        (tmp_path / path).write_text("")
    recipe = picture_recipe(OWN, root=tmp_path)
    before = recipe.digest("s000")
    assert recipe.as_json()["codes"].keys() == {"my.py", "aug.py"}

    (tmp_path / name).write_text("\n")
    assert recipe.digest("s000") != before
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match=f"{Path(name).name} does not exist"):
        recipe.digest("s000")


def test_a_recipe_without_own_functions_says_nothing_of_them(tmp_path: Path) -> None:
    assert "codes" not in picture_recipe({}).as_json()
    (tmp_path / "net.py").write_text("")
    assert "codes" not in picture_recipe({"model": "net.py:build"}, root=tmp_path).as_json()
    unused = TrainParams.model_validate(MLP).model_dump(mode="json")
    assert not {"augment", "loss", "loop", "freeze", "schedule"} & unused.keys()


@pytest.mark.parametrize("missing", ["code/net.py", "my.py", "aug.py"])
def test_each_own_file_has_to_be_a_dependency_of_the_recipe(tmp_path: Path, missing: str) -> None:
    params = make_params().model_copy(update={"train": TrainParams.model_validate(OWN)})
    files = ["schema.yaml", "code/net.py", "my.py", "aug.py"]
    for listed in (files, [file for file in files if file != missing]):
        stages = {"stages": {"recipe": {"cmd": "unlearn stage recipe", "deps": listed}}}
        (tmp_path / "dvc.yaml").write_text(yaml.safe_dump(stages))
        if missing in listed:
            check_code_is_a_dependency(Project(tmp_path), params)
            continue
        with pytest.raises(InputError) as caught:
            check_code_is_a_dependency(Project(tmp_path), params)
        assert caught.value.message == (
            f"params.yaml names {missing}, which dvc.yaml does not list as a dependency of recipe"
        )
