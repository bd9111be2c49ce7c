"""The rows that a search reads: within bounds, and none that a test looks at."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unlearn.stages.config.params import Params
from unlearn.stages.context import PosthocContext, check_params
from unlearn.stages.errors import InputError
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.recipe import stage as recipe_stage
from unlearn.stages.rows.canaries import coin
from unlearn.stages.rows.shard_file import RECORD, read_shard, record_tokens
from unlearn.stages.rows.token_arrays import DIGEST
from unlearn.stages.shard import stage as shard_stage
from unlearn.stages.unlearn.tuning_rows import choose, sample_rows

from tests.conftest import make_frame
from tests.stages.conftest import (
    KEY,
    make_context,
    make_params,
    make_rows,
    put_on_list,
    token_of,
)
from tests.stages.unlearn.tunable import MOST, TRAIN


def test_rows_that_were_asked_for_since_the_last_run_are_not_searched_on(
    tunable: PosthocContext,
) -> None:
    sampled = sample_rows(tunable, MOST)
    pending = record_tokens(sampled.rows.forget)[:4]
    held_out = record_tokens(sampled.rows.calibration)[:2]

    put_on_list(tunable, *pending, *held_out)

    again = sample_rows(tunable, MOST)
    left = {*record_tokens(again.whole), *record_tokens(again.rows.calibration)}
    assert left.isdisjoint({*pending, *held_out})
    assert again.whole.num_rows == sampled.whole.num_rows - 4
    # As many to forget as will be on trial; the cap is a fifth.
    assert again.rows.forget.num_rows == again.whole.num_rows // 5


def test_canaries_are_the_sample_where_enough_are_in_the_model(tmp_path: Path) -> None:
    frame = make_frame(120)
    planted = make_frame(60, seed=11).assign(id=[f"canary-{n:06d}" for n in range(1, 61)])
    root = tmp_path / "project"
    (root / "data").mkdir(parents=True)
    planted.to_csv(root / "data/canaries.csv", index=False)
    dataset = make_params().dataset.model_dump(mode="json") | {"canaries": "data/canaries.csv"}
    shutil.move(root / "data/canaries.csv", tmp_path / "canaries.csv")
    shutil.rmtree(root)

    context = _with_canaries(root, frame, tmp_path / "canaries.csv", dataset)

    heads = {
        token_of(raw) for raw in planted["id"] if coin(KEY, token_of(raw)) and _stays(context, raw)
    }
    assert len(heads) > 15
    sampled = sample_rows(context, MOST)
    assert sampled.sample_of == "canaries"
    assert (
        sampled.whole.num_rows
        == read_shard(context.project.retain_file("s000"), "retain").rows.num_rows
    )
    assert set(record_tokens(sampled.rows.forget)) <= heads
    limit = sampled.whole.num_rows // 5
    assert sampled.rows.forget.num_rows == min(len(heads), limit)
    # Too few of them to say anything: rows of the dataset instead.
    few = replace(context, params=_with_min_rows(context.params, len(heads) + 1))
    with pytest.raises(InputError, match="needs"):
        sample_rows(few, 60)
    put_on_list(context, *sorted(heads)[: len(heads) - 5])
    assert sample_rows(context, MOST).sample_of == "retained rows"


def _with_canaries(
    root: Path, frame: pd.DataFrame, canaries: Path, dataset: dict[str, Any]
) -> PosthocContext:
    raw = make_params(shards=1, holdout=0.3, train=TRAIN).model_dump(mode="json")
    raw |= {"dataset": dataset, "unlearn": {"methods": ["ssd"], "deploy": "ssd"}}
    context = make_context(root, frame, check_params(raw)).posthoc()
    shutil.copy(canaries, root / "data/canaries.csv")
    recipe_stage.run(context)
    shard_stage.run(context)
    forget_stage.run(context)
    return context


def _stays(context: PosthocContext, raw: str) -> bool:
    rows = read_shard(context.project.retain_file("s000"), "retain").rows
    return token_of(raw) in set(record_tokens(rows))


def _with_min_rows(params: Params, rows: int) -> Params:
    verify = params.verify.model_copy(update={"min_rows": rows})
    return params.model_copy(update={"verify": verify})


ROWS = make_rows(200)
NONE = pa.array([], DIGEST)


@given(
    wanted=st.integers(0, 300),
    most=st.integers(50, 400),
    canaries=st.sets(st.integers(0, 199), max_size=80),
)
@settings(max_examples=40, deadline=None)
def test_a_choice_of_rows_is_a_sample_in_a_whole_within_bounds(
    wanted: int, most: int, canaries: set[int]
) -> None:
    tokens = ROWS[RECORD].take(pa.array(sorted(canaries), pa.int64())).combine_chunks()

    sample, whole, of = choose(ROWS, tokens, wanted=wanted, most=most, least=10)

    everyone, chosen = record_tokens(ROWS), record_tokens(sample)
    kept = record_tokens(whole)
    assert len(kept) == len(set(kept)) == min(most, 200)
    assert kept == [token for token in everyone if token in set(kept)]
    assert set(chosen) <= set(kept)
    assert 10 <= len(chosen) <= len(kept) // 5
    if len(canaries) >= 10:
        assert of == "canaries"
        assert set(chosen) <= {everyone[number] for number in canaries}
        assert len(chosen) == min(len(canaries), len(kept) // 5)
    else:
        assert len(chosen) == min(max(wanted, 10), len(kept) // 5)


@pytest.mark.parametrize(("most", "least"), [(49, 1), (5_000, 41)])
def test_too_few_rows_are_refused(most: int, least: int) -> None:
    with pytest.raises(InputError, match="to forget, and needs"):
        choose(ROWS, NONE, wanted=20, most=most, least=least)
