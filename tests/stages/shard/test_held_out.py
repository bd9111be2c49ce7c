"""Held-out rows in a file of their own: for a model from elsewhere, which knows all the others."""

from pathlib import Path

import pandas as pd
import pytest
from unlearn.stages.context import Context, check_params
from unlearn.stages.errors import InputError
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.project.paths import HOLDOUT
from unlearn.stages.requests.id_file import Wanted
from unlearn.stages.requests.request import add_request
from unlearn.stages.rows.shard_file import read_shard, record_tokens
from unlearn.stages.shard import stage as shard_stage
from unlearn.stages.training.method_record import WHOLE

from tests.conftest import make_frame
from tests.stages.conftest import make_context
from tests.stages.posthoc import files_in, posthoc_params

HELD_OUT = "data/held_out.csv"


def ids_in(path: Path) -> set[str]:
    """Return the tokens of a file's rows."""
    return set(record_tokens(read_shard(path, path.name).rows))


def project(root: Path, known: pd.DataFrame, others: pd.DataFrame) -> Context:
    raw = posthoc_params(holdout=0.0).model_dump(mode="json")
    raw["dataset"]["held_out"] = HELD_OUT
    context = make_context(root, known, check_params(raw))
    others.to_csv(root / HELD_OUT, index=False)
    return context


def tokens(context: Context, frame: pd.DataFrame) -> set[str]:
    return {context.tokenizer.token("record", raw) for raw in frame["id"]}


@pytest.fixture
def frames() -> tuple[pd.DataFrame, pd.DataFrame]:
    frame = make_frame(60)
    return frame.iloc[:45], frame.iloc[45:]


def test_every_row_is_where_its_file_puts_it(
    tmp_path: Path, frames: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    context = project(tmp_path / "project", *frames)
    shard_stage.run(context)

    shard_file = context.project.shard_file
    assert ids_in(shard_file(WHOLE)) == tokens(context, frames[0])
    assert ids_in(shard_file(HOLDOUT)) == tokens(context, frames[1])


def test_a_record_of_both_files_is_refused_and_nothing_is_written(
    tmp_path: Path, frames: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    known, others = frames
    context = project(tmp_path / "project", known, pd.concat([others, known.iloc[:2]]))

    with pytest.raises(InputError, match=r"2 ids are in data/dataset.csv and in data/held_out"):
        shard_stage.run(context)

    assert files_in(context.project.shards) == {}


def test_a_held_out_record_is_found_and_forgotten(
    tmp_path: Path, frames: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    context = project(tmp_path / "project", *frames)
    raw = frames[1]["id"].iloc[0]
    unread = add_request(context, Wanted(records=((raw, "here"),)), dry_run=True)
    shard_stage.run(context)

    found = add_request(context, Wanted(records=((raw, "here"),)))
    forget_stage.run(context)

    assert unread.added == found.added == (context.tokenizer.token("record", raw),)
    left = ids_in(context.project.retain_file(HOLDOUT))
    assert left == tokens(context, frames[1].iloc[1:])
    assert ids_in(context.project.retain_file(WHOLE)) == tokens(context, frames[0])


def test_a_row_in_it_is_checked_as_any_other(
    tmp_path: Path, frames: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    known, others = frames
    context = project(tmp_path / "project", known, others.assign(label="nothing known"))

    with pytest.raises(InputError, match=r"data/held_out.csv.*data row 1"):
        shard_stage.run(context)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sharding": {"holdout": 0.2}}, "sharding.holdout must be 0"),
        ({"unlearn": None}, "shards hold out a share of the dataset"),
        ({"dataset": {"held_out": "data/dataset.csv"}}, "must name a separate file"),
        ({"dataset": {"held_out": "../rows.csv"}}, "inside the project"),
    ],
)
def test_params_that_contradict_it_are_refused(change: dict[str, object], said: str) -> None:
    raw = posthoc_params(holdout=0.0).model_dump(mode="json")
    raw["dataset"]["held_out"] = HELD_OUT
    for section, values in change.items():
        raw[section] = {**raw[section], **values} if isinstance(values, dict) else values

    with pytest.raises(InputError, match=said):
        check_params(raw)


def test_the_share_is_what_counts_without_it(
    tmp_path: Path, frames: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    context = make_context(tmp_path / "project", frames[0], posthoc_params(holdout=0.3))
    shard_stage.run(context)

    held_out = ids_in(context.project.shard_file(HOLDOUT))
    assert held_out
    assert held_out < tokens(context, frames[0])
