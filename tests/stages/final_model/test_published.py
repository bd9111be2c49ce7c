"""Copies for publication: they answer the same, and say nothing of how many rows shards have."""

import io
import json
import re
import shutil
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import unlearn
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from sklearn.decomposition import PCA
from sklearn.ensemble import BaggingClassifier
from sklearn.linear_model import SGDClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.estimators import skops_file
from unlearn.stages.export.noted import write_published
from unlearn.stages.final_model.files import read_final_model
from unlearn.stages.final_model.published import published_digest, published_model
from unlearn.stages.project.files import json_bytes
from unlearn.stages.project.paths import Project
from unlearn.stages.training.shard_model import ShardModel, model_digest, read_shard_model
from unlearn.stages.verify.exactness.checks import check_exactness, derive_rows

from tests.conftest import make_frame
from tests.stages.conftest import (
    EXACT,
    KEY,
    MLP,
    NAIVE_BAYES,
    make_context,
    make_params,
    run_stages,
)
from tests.stages.export.documented import undocumented

FRAME = make_frame(90)
FAMILIES: Mapping[str, Mapping[str, Any]] = {
    "mlp": MLP,
    "exact": EXACT,
    "bayes": NAIVE_BAYES,
}
#: What numbers of rows are replaced by, to see whether a copy tells them apart.
OTHER_ROWS = 100_003


def numbers_in(value: Any) -> list[float]:
    """Return all numbers in a JSON value."""
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        return [number for part in parts for number in numbers_in(part)]
    return [value] if isinstance(value, int | float) else []


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def with_other_rows(folder: Path) -> None:
    """Give each member of a final model another number of rows, with digests that cover it."""
    whole = json.loads((folder / "ensemble.json").read_bytes())
    for entry in whole["members"]:
        path = folder / "members" / entry["shard"] / "model.json"
        description = json.loads(path.read_bytes()) | {"rows": OTHER_ROWS}
        weights = (path.parent / description["file"]).read_bytes()
        path.write_bytes(json_bytes(description))
        entry |= {"rows": OTHER_ROWS, "digest": model_digest(description, weights)}
    (folder / "ensemble.json").write_bytes(json_bytes(whole))


def make_folder(root: Path, train: Mapping[str, Any], rule: str = "mean_probability") -> Path:
    """Return the final model of a project of two shards."""
    context = make_context(root, FRAME, make_params(shards=2, train=train, rule=rule))
    run_stages(context)
    return context.project.final_model


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("made") / "project", NAIVE_BAYES)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_copy_answers_the_same_and_has_no_number_of_rows(family: str, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "project", FAMILIES[family])
    before = files_of(folder)
    sizes = {entry["rows"] for entry in json.loads(before["ensemble.json"])["members"]}
    copy = tmp_path / "copy"
    write_published(folder, copy)

    assert files_of(folder) == before
    model, published = unlearn.load_model(folder), unlearn.load_model(copy)
    assert published.predict_proba(FRAME).tobytes() == model.predict_proba(FRAME).tobytes()
    found = {name: content for name, content in files_of(copy).items() if name.endswith(".json")}
    assert len(found) == 3
    for name, content in found.items():
        assert not sizes & set(numbers_in(json.loads(content))), name
        assert b'"rows"' not in content, name
        assert undocumented(name.rpartition("/")[2], content) == set()


def test_folders_that_differ_in_numbers_of_rows_have_one_copy(made: Path, tmp_path: Path) -> None:
    other = shutil.copytree(made, tmp_path / "other")
    with_other_rows(other)
    for folder, name in ((made, "one"), (other, "two")):
        write_published(folder, tmp_path / name)

    assert files_of(made) != files_of(other)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    members = [read_final_model(folder)[1] for folder in (made, other, tmp_path / "one")]
    assert len({published_digest(models) for models in members}) == 1


def test_numbers_stay_where_the_rule_weighs_by_them(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "project", NAIVE_BAYES, "size_weighted")
    write_published(folder, tmp_path / "copy")
    before, after = (
        json.loads((place / "ensemble.json").read_bytes()) for place in (folder, tmp_path / "copy")
    )

    assert [each["rows"] for each in after["members"]] == [
        each["rows"] for each in before["members"]
    ]
    model, published = unlearn.load_model(folder), unlearn.load_model(tmp_path / "copy")
    assert np.array_equal(published.predict_proba(FRAME), model.predict_proba(FRAME))
    change_json(tmp_path / "copy/ensemble.json", lambda value: value["members"][0].update(rows=7))
    with pytest.raises(InputError, match="was changed after it was made"):
        unlearn.load_model(tmp_path / "copy")


def change_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads(path.read_bytes())
    change(value)
    path.write_bytes(json_bytes(value))


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("ensemble.json", lambda value: value["members"][0].update(rows=7)),
        ("ensemble.json", lambda value: value.update(schema_version=1)),
        ("ensemble.json", lambda value: value.update(rule="size_weighted")),
        ("ensemble.json", lambda value: value.update(adapter="0" * 64)),
        ("members/s000/model.json", lambda value: value.update(rows=7)),
        ("members/s000/model.json", lambda value: value.update(schema_version=1)),
        ("members/s000/model.json", lambda value: value.update(has_probabilities=False)),
    ],
)
def test_a_changed_copy_is_refused(
    made: Path, tmp_path: Path, file: str, change: Callable[[dict[str, Any]], object]
) -> None:
    write_published(made, tmp_path / "copy")
    change_json(tmp_path / "copy" / file, change)

    with pytest.raises(InputError, match="is not readable|was changed after it was made"):
        unlearn.load_model(tmp_path / "copy")


def test_a_copy_is_no_part_of_a_project(made: Path, tmp_path: Path) -> None:
    """Its parts are refused as shard models, and its folder is not the project's final model."""
    root = shutil.copytree(made.parents[1], tmp_path / "project")
    write_published(made, tmp_path / "copy")
    with pytest.raises(InputError, match=r"^x: model\.json is not readable$"):
        read_shard_model(tmp_path / "copy/members/s000", "x")

    shutil.rmtree(root / "models/final_model")
    shutil.copytree(tmp_path / "copy", root / "models/final_model")
    params = make_params(shards=2, train=NAIVE_BAYES, rule="mean_probability")
    context = Context(Project(root), params, KEY)
    none = context.read_list()
    found = check_exactness(context, none, lambda name: derive_rows(context, name, none))

    assert [*found.problems] == ["models/final_model is not made of the shard models as they stand"]


def arrays_in(content: bytes) -> list[Any]:
    """Return the arrays in a skops file."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = [name for name in archive.namelist() if name.endswith(".npy")]
        return [np.load(io.BytesIO(archive.read(name))) for name in names]


@pytest.mark.parametrize(
    "estimator",
    [
        SGDClassifier(max_iter=3, tol=None),
        MLPClassifier((2,), max_iter=2),
        BaggingClassifier(SGDClassifier(max_iter=3, tol=None), 2),
        make_pipeline(StandardScaler(), PCA(1), SGDClassifier(max_iter=3, tol=None)),
    ],
)
def test_rows_and_steps_that_scikit_learn_counted_are_left_out(estimator: Any) -> None:
    inputs = np.random.default_rng(1).normal(size=(709, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(inputs, inputs[:, 0] > 0)
    content = skops_file.dump(estimator)
    train = {"model": "sklearn.linear_model.SGDClassifier"}
    description = {"kind": "sklearn", "train": train, "file": "model.skops", "rows": 709}

    found = published_model(ShardModel(description, content)).weights or b""

    counts = re.compile(rb'"(709|709\.0|1418|1419|2127|2128|2128\.0)"')
    assert counts.search(content)
    assert not counts.search(found)
    assert not any(np.any(array == 709) for array in arrays_in(found))
    again = skops_file.load(found)
    assert again.predict(inputs).tobytes() == estimator.predict(inputs).tobytes()


def test_steps_that_a_network_counted_are_left_out() -> None:
    tensors = {
        "norm.num_batches_tracked": torch.tensor(912),
        "norm.running_mean": torch.tensor([1.5]),
    }
    train = {"model": "mlp"}
    description = {"kind": "torch", "train": train, "file": "model.safetensors", "rows": 9}
    model = ShardModel(description, save_tensors(tensors))

    found = load_tensors(published_model(model).weights or b"")

    assert found["norm.num_batches_tracked"].item() == 0
    assert found["norm.running_mean"].item() == 1.5
