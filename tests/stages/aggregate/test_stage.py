"""The `aggregate` stage: only shard models that are what their lineage says become members."""

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from unlearn.stages.aggregate.stage import run
from unlearn.stages.config.params import shard_names
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.final_model.ensemble import load_ensemble
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.rows.shard_file import read_shard, record_tokens
from unlearn.stages.train import stage as train_stage

from tests.conftest import make_frame
from tests.stages.conftest import (
    make_context,
    make_params,
    put_on_list,
    read_json,
    run_stages,
)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_it_writes_the_same_bytes_again(built: Context) -> None:
    before = contents(built.project.final_model)
    shutil.rmtree(built.project.final_model)

    assert run(built).members == ["s000", "s001", "s002"]
    assert contents(built.project.final_model) == before


def test_members_are_the_shards_of_params_and_no_others(built: Context) -> None:
    sharding = built.params.sharding.model_copy(update={"shards": shard_names(2)})
    fewer = replace(built, params=built.params.model_copy(update={"sharding": sharding}))

    run(fewer)

    names = contents(built.project.final_model)
    assert not any("s002" in name for name in names)
    assert [member.shard for member in load_ensemble(built.project.final_model).members] == [
        "s000",
        "s001",
    ]


def test_a_shard_that_lost_all_its_rows_leaves_the_ensemble(built: Context) -> None:
    rows = read_shard(built.project.shard_file("s001"), "s001").rows
    put_on_list(built, *record_tokens(rows))
    forget_stage.run(built)
    train_stage.run(built, "s001")

    done = run(built)

    assert (done.members, done.empty) == (["s000", "s002"], ["s001"])
    assert "members/s001/model.json" not in contents(built.project.final_model)
    assert load_ensemble(built.project.final_model).predict(make_frame(5))


def test_an_ensemble_can_lose_its_last_member(built: Context) -> None:
    for shard in built.params.sharding.shards:
        rows = read_shard(built.project.shard_file(shard), shard).rows
        put_on_list(built, *record_tokens(rows))
    forget_stage.run(built)
    for shard in built.params.sharding.shards:
        train_stage.run(built, shard)

    assert run(built).members == []
    assert load_ensemble(built.project.final_model).members == ()


def swap(folder: Path) -> None:
    other = folder.with_name("s001")
    for name in ("model.json", "model.skops", "lineage.json"):
        (folder / name).write_bytes((other / name).read_bytes())


CHANGES: dict[str, Callable[[Path], object]] = {
    "a pickle": lambda folder: (folder / "model.skops").write_bytes(pickle.dumps({"a": 1})),
    "other weights": lambda folder: (folder / "model.skops").write_bytes(
        (folder.with_name("s001") / "model.skops").read_bytes()
    ),
    "another shard's folder": swap,
    "cut weights": lambda folder: (folder / "model.skops").write_bytes(b"PK\x03\x04"),
    "no weights": lambda folder: (folder / "model.skops").unlink(),
    "other rows": lambda folder: (folder / "model.json").write_text(
        json.dumps(read_json(folder / "model.json") | {"rows": 1}), encoding="utf-8"
    ),
    "another file": lambda folder: (folder / "model.json").write_text(
        json.dumps(read_json(folder / "model.json") | {"file": "model.pkl"}), encoding="utf-8"
    ),
    "no JSON": lambda folder: (folder / "model.json").write_bytes(b"\x80\x04N."),
    "no description": lambda folder: (folder / "model.json").write_bytes(b"{}"),
    "no lineage": lambda folder: (folder / "lineage.json").unlink(),
    "a damaged lineage": lambda folder: (folder / "lineage.json").write_bytes(b"{}"),
    "no folder": shutil.rmtree,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_shard_model_that_was_tampered_with_is_refused(
    built: Context, change: Callable[[Path], object]
) -> None:
    before = contents(built.project.final_model)
    change(built.project.shard_models / "s000")

    with pytest.raises(InputError) as caught:
        run(built)

    assert caught.value.exit_code == 2
    assert "s000" in caught.value.message
    assert contents(built.project.final_model) == before


def test_models_without_probabilities_can_only_vote(tmp_path: Path) -> None:
    train = {"model": "sklearn.svm.LinearSVC"}
    params = make_params(train=train, rule="majority_vote")
    context = make_context(tmp_path / "p", make_frame(60), params)
    run_stages(context)
    model = load_ensemble(context.project.final_model)
    assert not model.has_probabilities

    for rule in ("mean_probability", "size_weighted"):
        other = replace(context, params=make_params(train=train, rule=rule))
        with pytest.raises(InputError, match=f"no probabilities, but aggregate.rule: {rule}"):
            run(other)


def test_models_made_for_other_classes_are_refused(built: Context) -> None:
    dataset = built.params.dataset.model_copy(update={"classes": ["c0", "c1", "c2", "c3"]})
    other = replace(built, params=built.params.model_copy(update={"dataset": dataset}))

    with pytest.raises(InputError, match="was made for other features or classes"):
        run(other)


def test_where_the_training_data_was_is_not_in_the_final_model(built: Context) -> None:
    assert b"data/dataset" not in b"".join(contents(built.project.final_model).values())
