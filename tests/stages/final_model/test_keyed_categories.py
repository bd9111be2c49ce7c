"""Categories as keyed digests: no file of rows or models has their text, and all else holds."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import unlearn
from unlearn.stages.aggregate import stage as aggregate_stage
from unlearn.stages.context import Context, check_params
from unlearn.stages.errors import InputError
from unlearn.stages.final_model.category_key import CATEGORY_KEY_VARIABLE, find_category_key
from unlearn.stages.final_model.description import read_description
from unlearn.stages.final_model.ensemble import load_ensemble
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.rows.keyed_categories import PURPOSE
from unlearn.stages.train import stage as train_stage
from unlearn.stages.training.recipe import Recipe

from tests.conftest import make_frame
from tests.stages.conftest import (
    EXACT,
    FEATURES,
    KEY,
    MLP,
    make_context,
    make_params,
    put_on_list,
    run_stages,
    token_of,
)

FRAME = make_frame(90).assign(city=lambda rows: rows["city"].replace("", "Ürümqi"))
CITIES = ("Rome", "Oslo", "Lima", "Ürümqi")
TREES = {"model": "sklearn.ensemble.ExtraTreesClassifier", "options": {"n_estimators": 3}}
TEXT = KEY.subkey(PURPOSE).hex()


def keyed_context(
    root: Path, train: Mapping[str, Any] = TREES, frame: pd.DataFrame = FRAME, **dataset: Any
) -> Context:
    raw = make_params(shards=2, train=train).model_dump(mode="json")
    raw["dataset"] |= {"category_texts": "keyed", **dataset}
    return make_context(root, frame, check_params(raw))


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("keyed") / "project"
    run_stages(keyed_context(root))
    return root


@pytest.mark.parametrize("train", [TREES, MLP, EXACT], ids=["trees", "mlp", "exact"])
@pytest.mark.parametrize("pinned", [False, True], ids=["learned", "pinned"])
def test_no_file_of_rows_or_models_has_a_text(
    train: Mapping[str, Any], pinned: bool, tmp_path: Path
) -> None:
    own = {"rare_categories": "bucket", "categories": {"city": list(CITIES[:3])}} if pinned else {}
    context = keyed_context(tmp_path / "project", train, **own)
    run_stages(context)

    found = {
        name: content
        for folder in ("models", "data/shards", "data/retain_set")
        for name, content in files_below(context.project.root / folder).items()
    }
    assert len(found) > 5
    for name, content in found.items():
        for city in CITIES:
            assert city.encode() not in content, name
            assert city.encode("unicode_escape") not in content, name
    assert TEXT.encode() not in b"".join(found.values())


def test_the_answers_are_those_of_the_texts(root: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    run_stages(make_context(plain, FRAME, make_params(shards=2, train=MLP)))
    keyed = tmp_path / "keyed"
    run_stages(keyed_context(keyed, MLP))
    rows = FRAME[list(FEATURES)]
    one, other = unlearn.load_model(plain), unlearn.load_model(keyed, category_key=TEXT)

    # The columns of categories are in another order, and nothing else differs.
    assert (one.predict(rows) == other.predict(rows)).mean() > 0.8
    model = unlearn.load_model(root, category_key=TEXT)
    changed = rows.assign(city="Rome")
    assert not np.array_equal(model.predict_proba(rows), model.predict_proba(changed))
    with pytest.warns(UserWarning, match="'city': 90 rows have a category"):
        model.predict(rows.assign(city="Paris"))
    assert model.feature_importances_.shape == (4,)


def test_a_request_leaves_the_files_of_a_clean_room(tmp_path: Path) -> None:
    gone = ["r0003", "r0017"]
    found = []
    for name, frame in (("project", FRAME), ("room", FRAME[~FRAME["id"].isin(gone)])):
        context = keyed_context(tmp_path / name, TREES, frame)
        run_stages(context)
        for raw in gone if name == "project" else ():
            put_on_list(context, token_of(raw))
            forget_stage.run(context)
            for shard in context.params.sharding.shards:
                train_stage.run(context, shard)
            aggregate_stage.run(context)
        found.append(files_below(context.project.root / "models"))

    assert found[0] == found[1]


def test_a_model_needs_its_key_and_no_other(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(root / "models/final_model", tmp_path / "copy")
    monkeypatch.chdir(tmp_path)
    expected = unlearn.load_model(folder, category_key=TEXT).predict_proba(FRAME)

    with pytest.raises(InputError, match="are keyed, and the key is not at hand") as raised:
        unlearn.load_model(folder)
    assert CATEGORY_KEY_VARIABLE in raised.value.hints[0]
    # The settings of another tool, where the caller happens to be.
    (tmp_path / "params.yaml").write_text("lr: 0.1\n", encoding="utf-8")
    with pytest.raises(InputError, match="are keyed, and the key is not at hand"):
        unlearn.load_model(folder)
    for wrong in ("00" * 32, "no hex", KEY.text):
        with pytest.raises(InputError, match="is not the one that this final model was made with"):
            unlearn.load_model(folder, category_key=wrong)
    monkeypatch.setenv(CATEGORY_KEY_VARIABLE, TEXT)
    model = unlearn.load_model(folder)
    assert np.array_equal(model.predict_proba(FRAME), expected)
    assert TEXT not in repr(model.get_params()) + repr(vars(model))
    assert find_category_key(read_description(folder), None, None).hex() == TEXT


def test_no_onnx_file_is_written_of_it(root: Path) -> None:
    from unlearn.stages.export.onnx_model import onnx_file

    model = load_ensemble(root / "models/final_model", category_key=TEXT)
    with pytest.raises(InputError, match="'city' are keyed digests, which no operation of ONNX"):
        onnx_file(model, "a model", {})


def test_projects_without_the_setting_have_no_trace_of_it(tmp_path: Path) -> None:
    context = make_context(tmp_path / "project", FRAME, make_params(shards=1))
    run_stages(context)

    for name, content in files_below(context.project.root / "models").items():
        assert b"category_" not in content, name
    assert "category" not in str(Recipe.of_project(context).as_json().get("dataset", ""))
    assert os.environ.get(CATEGORY_KEY_VARIABLE) is None
