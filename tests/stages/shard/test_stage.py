"""The shard stage as a whole: all files, or those from before."""

import os
from pathlib import Path

import pandas as pd
import pytest
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.reading import csv_reading
from unlearn.stages.shard import spilled_rows
from unlearn.stages.shard import stage as shard_stage

from tests.conftest import make_frame
from tests.stages.conftest import make_context, make_params

FRAME = make_frame(120)


def state(context: Context) -> dict[str, tuple[int, bytes]]:
    """Return the bytes of all shard files, and when each was written."""
    files = context.project.shards.iterdir()
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def rewrite(context: Context, frame: pd.DataFrame) -> None:
    frame.to_csv(context.project.root / context.params.dataset.path, index=False)


@pytest.mark.parametrize("row", range(12))
def test_an_id_that_two_rows_have_leaves_all_shards_as_they_were(tmp_path: Path, row: int) -> None:
    # Whichever shard the two rows are in, the first as well as the last.
    context = make_context(tmp_path, FRAME, make_params(shards=4))
    shard_stage.run(context)
    before = state(context)
    changed = FRAME.assign(age=FRAME["age"] + 1)
    rewrite(context, pd.concat([changed, changed.iloc[row : row + 1]]))

    with pytest.raises(InputError, match=rf"data rows {row + 1} and 121 have the same id"):
        shard_stage.run(context)

    assert state(context) == before
    assert not context.project.scratch("shard").exists()


def test_a_shard_whose_rows_did_not_change_is_not_written_again(tmp_path: Path) -> None:
    context = make_context(tmp_path, FRAME, make_params(shards=4))
    counts = shard_stage.run(context)
    before = state(context)
    assert shard_stage.run(context) == counts
    assert state(context) == before

    rewrite(context, FRAME.iloc[1:])
    shard_stage.run(context)

    after = state(context)
    assert len([name for name in after if after[name] != before[name]]) == 1


@pytest.mark.parametrize("processors", [2, 64])
def test_the_bytes_do_not_depend_on_the_number_of_processors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processors: int
) -> None:
    # Several batches, and rows that are moved to their shards several times.
    monkeypatch.setattr(csv_reading, "_PIECE_BYTES", 500)
    monkeypatch.setattr(spilled_rows, "_TOGETHER", 2_000)
    found = {}
    for name, count in (("one", 1), ("many", processors)):
        monkeypatch.setattr(os, "cpu_count", lambda count=count: count)
        context = make_context(tmp_path / name, make_frame(400), make_params(shards=4))
        assert sum(shard_stage.run(context).values()) == 400
        found[name] = {file: content for file, (_, content) in state(context).items()}

    assert found["many"] == found["one"]
