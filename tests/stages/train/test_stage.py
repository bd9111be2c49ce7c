"""The `train` stage: one shard's folder, whatever stood in it."""

from dataclasses import replace
from pathlib import Path

import pytest
from unlearn.stages.config.params import shard_names
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.recipe import stage as recipe_stage
from unlearn.stages.rows.shard_file import read_nonce, read_shard, record_tokens
from unlearn.stages.rows.tokens import place
from unlearn.stages.train.stage import remove_others, run
from unlearn.stages.training.lineage import read_lineage

from tests.conftest import make_frame
from tests.stages.conftest import (
    NAIVE_BAYES,
    make_context,
    make_params,
    put_on_list,
    run_stages,
    token_of,
)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_it_says_what_training_came_to(built: Context) -> None:
    rows = read_shard(built.project.retain_file("s000"), "s000").rows.num_rows
    done = run(built, "s000")

    assert (done.shard, done.kind, done.rows) == ("s000", "sklearn", rows)
    assert (done.first_slice, done.slices, done.timing.rows) == (2, 1, 0)


def test_a_damaged_folder_is_mended(built: Context) -> None:
    folder = built.project.shard_models / "s000"
    before = contents(folder)
    (folder / "model.skops").write_bytes(b"damaged")
    (folder / "notes.txt").write_bytes(b"")

    assert run(built, "s000").first_slice == 1
    assert contents(folder) == before


def test_what_is_not_planned_leaves_even_a_folder_that_stands(built: Context) -> None:
    folder = built.project.shard_models / "s000"
    before = contents(folder)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints/slice-009.skops").write_bytes(b"")

    assert run(built, "s000").first_slice == 2
    assert contents(folder) == before


def test_the_lineage_names_the_retain_file_it_was_trained_on(built: Context) -> None:
    rows = read_shard(built.project.retain_file("s000"), "s000").rows
    put_on_list(built, record_tokens(rows)[0])
    forget_stage.run(built)
    folder = built.project.shard_models / "s000"
    before = read_lineage(folder)

    run(built, "s000")

    after = read_lineage(folder)
    assert before is not None
    assert after is not None
    assert after.retain == read_nonce(built.project.retain_file("s000"), "s000") != before.retain
    assert after.rows == before.rows - 1


def test_checkpoints_of_more_slices_do_not_outlive_fewer(tmp_path: Path) -> None:
    params = make_params(slices=4, train=NAIVE_BAYES)
    context = make_context(tmp_path / "p", make_frame(90), params)
    run_stages(context)
    folder = context.project.shard_models / "s000"
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {
        "slice-001.skops",
        "slice-002.skops",
        "slice-003.skops",
    }

    sharding = params.sharding.model_copy(update={"slices": 2})
    fewer = replace(context, params=params.model_copy(update={"sharding": sharding}))
    with pytest.raises(InputError, match="does not have the current settings"):
        run(fewer, "s000")
    recipe_stage.run(fewer)
    run(fewer, "s000")

    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"slice-001.skops"}


def test_it_resumes_at_the_slice_of_the_request(tmp_path: Path) -> None:
    context = make_context(tmp_path / "p", make_frame(120), make_params(slices=4))
    run_stages(context)
    tokens = [token_of(f"r{number:04d}") for number in range(120)]
    token = next(token for token in tokens if place(token, 3, 4, 0.2).slice == 3)
    shard = place(token, 3, 4, 0.2).shard
    put_on_list(context, token)
    forget_stage.run(context)

    assert run(context, shard).first_slice == 3


@pytest.mark.parametrize("shard", ["s003", "", "../s000", "holdout"])
def test_a_shard_that_params_do_not_name_is_an_error(built: Context, shard: str) -> None:
    with pytest.raises(InputError, match="shards.yaml names no shard"):
        run(built, shard)


def test_a_retain_file_that_is_not_there_or_of_other_columns_is_an_error(built: Context) -> None:
    other = replace(built, params=make_params(features={"age": "numeric"}))
    with pytest.raises(InputError, match="does not have the columns of schema.yaml"):
        run(other, "s000")
    built.project.retain_file("s000").unlink()
    with pytest.raises(InputError, match=r"data/retain_set/s000\.parquet is missing"):
        run(built, "s000")


def test_models_of_shards_that_params_do_not_name_are_removed(built: Context) -> None:
    folder = built.project.shard_models
    (folder / ".gitignore").write_bytes(b"/s000\n")
    kept = {name: content for name, content in contents(folder).items() if "s002" not in name}
    sharding = built.params.sharding.model_copy(update={"shards": shard_names(2)})
    fewer = replace(built, params=built.params.model_copy(update={"sharding": sharding}))

    assert remove_others(fewer) == ["s002"]
    assert contents(folder) == kept
    assert remove_others(fewer) == []
