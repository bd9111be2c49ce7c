"""Rows without a class that are dropped: in no shard, counted, and still known to requests."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from unlearn.stages.config.params import Params
from unlearn.stages.context import Context, check_params
from unlearn.stages.errors import InputError
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.project.paths import UNLABELLED
from unlearn.stages.requests.id_file import Wanted
from unlearn.stages.requests.request import add_request
from unlearn.stages.requests.resolving import Resolved
from unlearn.stages.rows.applied import read_applied
from unlearn.stages.rows.shard_file import RECORD, SUBJECT, count_rows, read_shard, record_tokens
from unlearn.stages.shard import stage as shard_stage

from tests.conftest import make_frame
from tests.stages.conftest import make_context, make_params
from tests.stages.posthoc import posthoc_params

FRAME = make_frame(90, subjects=30)


def params(*, drop: bool | None = True, subject: str | None = "person") -> Params:
    raw = make_params(subject=subject).model_dump(mode="json")
    raw["dataset"]["drop_unlabelled"] = drop
    return check_params(raw)


def with_unlabelled(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with every tenth class missing in one way or another."""
    found = frame.copy()
    for row, text in zip(range(0, len(frame), 10), ["", " ", "?", "NA", "nan"] * 2, strict=False):
        found.loc[row, "label"] = text
    return found


def files(context: Context) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in context.project.shards.iterdir()}


def ask(context: Context, *ids: str) -> Resolved:
    return add_request(context, Wanted(records=tuple((raw, "line 1") for raw in ids)))


def test_shards_are_those_of_a_dataset_without_these_rows(tmp_path: Path) -> None:
    frame = with_unlabelled(FRAME)
    dropped = make_context(tmp_path / "a", frame, params())
    without = make_context(tmp_path / "b", FRAME.drop(index=range(0, 90, 10)), params())

    counts = shard_stage.run(dropped)
    expected = shard_stage.run(without)

    assert counts == expected | {UNLABELLED: 9}
    found = files(dropped)
    tokens = read_shard(dropped.project.shard_file(UNLABELLED), UNLABELLED).rows
    assert sorted(tokens.column_names) == sorted([RECORD, SUBJECT])
    assert set(record_tokens(tokens)) == {
        dropped.tokenizer.token("record", raw) for raw in FRAME["id"][::10]
    }
    del found[f"{UNLABELLED}.parquet"]
    assert found == files(without)
    assert count_rows(without.project.shard_file(UNLABELLED)) is None


def test_the_file_goes_when_every_row_has_a_class(tmp_path: Path) -> None:
    context = make_context(tmp_path / "a", with_unlabelled(FRAME), params())
    shard_stage.run(context)
    FRAME.to_csv(context.project.root / context.params.dataset.path, index=False)

    shard_stage.run(context)

    assert not context.project.shard_file(UNLABELLED).exists()


@pytest.mark.parametrize("drop", [False, None])
def test_without_the_setting_they_are_refused_by_their_row(
    tmp_path: Path, drop: bool | None
) -> None:
    context = make_context(tmp_path / "a", with_unlabelled(FRAME), params(drop=drop))

    with pytest.raises(InputError, match=r"a class is missing \(data row 1\)") as caught:
        shard_stage.run(context)

    assert "dataset.drop_unlabelled: true" in caught.value.hints[0]


def test_a_class_that_is_pinned_is_none_that_is_missing(tmp_path: Path) -> None:
    raw = params().model_dump(mode="json")
    raw["dataset"]["classes"] += ["NA"]
    context = make_context(tmp_path / "a", with_unlabelled(FRAME), check_params(raw))

    assert shard_stage.run(context)[UNLABELLED] == 7


@pytest.mark.parametrize("subject", ["person", None])
def test_one_id_of_a_row_with_and_one_without_a_class_is_refused(
    tmp_path: Path, subject: str | None
) -> None:
    frame = with_unlabelled(FRAME)
    frame.loc[1, "id"] = frame.loc[0, "id"]
    context = make_context(tmp_path / "a", frame, params(subject=subject))

    with pytest.raises(InputError, match="data rows 1 and 2 have the same id"):
        shard_stage.run(context)


def test_a_request_for_such_a_row_is_known_and_touches_no_shard(tmp_path: Path) -> None:
    context = make_context(tmp_path / "a", with_unlabelled(FRAME), params(subject=None))
    shard_stage.run(context)
    # A machine may have the shards alone.
    dataset = context.project.root / context.params.dataset.path
    dataset.unlink()

    found = ask(context, "r0000", "r0010", "r0001")

    assert (len(found.added), found.unlabelled, found.unknown) == (3, 2, ())
    assert len(found.shards) <= 1
    done = forget_stage.run(context)
    assert (done.forgotten, done.unlabelled, done.without_rows) == (1, 2, 0)
    applied = read_applied(context.project)
    assert applied is not None
    assert applied.without_rows == 0
    assert ask(context, "r0010").already == 1

    # A class that comes later brings no row back.
    FRAME.to_csv(dataset, index=False)
    shard_stage.run(context)
    assert forget_stage.run(context).forgotten == 3


def test_a_person_with_other_rows_goes_with_these(tmp_path: Path) -> None:
    frame = FRAME.copy()
    person = frame["person"].value_counts().index[0]
    alone = frame["person"].value_counts().index[-1]
    frame.loc[frame.index[frame["person"] == person][0], "label"] = ""
    frame.loc[frame["person"] == alone, "label"] = ""
    context = make_context(tmp_path / "a", frame, params())
    shard_stage.run(context)

    found = add_request(context, Wanted(subjects=((person, "line 1"), (alone, "line 2"))))

    assert (len(found.added), found.unlabelled) == (2, 1)
    done = forget_stage.run(context)
    assert done.forgotten == np.sum(frame["person"] == person) - 1
    assert (done.unlabelled, done.without_rows) == (1, 0)


def test_held_out_rows_without_a_class_are_dropped_too(tmp_path: Path) -> None:
    raw = posthoc_params(holdout=0.0).model_dump(mode="json")
    raw["dataset"] |= {"held_out": "data/held_out.csv", "drop_unlabelled": True}
    frame = make_frame(60)
    context = make_context(tmp_path / "a", with_unlabelled(frame)[:40], check_params(raw))
    with_unlabelled(frame)[40:].to_csv(context.project.root / "data/held_out.csv", index=False)

    assert shard_stage.run(context) == {"s000": 36, "holdout": 18, UNLABELLED: 6}
