"""Rows of erased and suppressed people reach no shard, and are counted."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unlearn.stages.context import Context, check_params
from unlearn.stages.errors import InputError
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.ledger.log import Details, Log, new_entry, read_log
from unlearn.stages.ledger.suppressed import (
    dropped_rows,
    read_suppressed,
    suppress_erased,
    suppressed_by,
    write_suppressed,
)
from unlearn.stages.requests.id_file import Wanted
from unlearn.stages.requests.request import add_request, settle_list, write_change
from unlearn.stages.shard import stage as shard_stage

from tests.conftest import make_frame
from tests.stages.conftest import make_context, token_of
from tests.stages.ledger.erasures import ERASED, log_erasure
from tests.stages.posthoc import posthoc_params

FRAME = make_frame(60, subjects=12)
PERSON = FRAME["person"].value_counts().index[0]
THEIRS = FRAME["person"] == PERSON


def with_rows(context: Context, frame: pd.DataFrame) -> None:
    frame.to_csv(context.project.root / context.params.dataset.path, index=False)


def shard_files(context: Context) -> dict[str, bytes]:
    """Return the files of rows that models are made from."""
    return {path.name: path.read_bytes() for path in context.project.shards.glob("*.parquet")}


def erased(root: Path, wanted: Wanted, frame: pd.DataFrame, left: pd.DataFrame) -> Context:
    """Return a project after an erasure: the rows went from the dataset and from the shards."""
    context = make_context(root, frame)
    shard_stage.run(context)
    add_request(context, wanted, ticket="T-1")
    with_rows(context, left)
    suppress_erased(context.project, read_log(context.project))
    shard_stage.run(context)
    log_erasure(context)
    return context


def test_rows_that_come_back_after_an_erasure_reach_no_shard(tmp_path: Path) -> None:
    wanted = Wanted(subjects=((PERSON, "line 1"),))
    context = erased(tmp_path / "a", wanted, FRAME, FRAME[~THEIRS])
    without = shard_files(context)
    assert read_suppressed(context.project) == {token_of(PERSON, "subject")}
    assert dropped_rows(context.project) == 0

    with_rows(context, FRAME)
    counts = shard_stage.run(context)

    assert shard_files(context) == without
    assert counts["suppressed"] == dropped_rows(context.project) == THEIRS.sum()
    assert forget_stage.run(context).forgotten == 0
    # A clean room has the same retain set: the models follow from it alone.
    room = make_context(tmp_path / "room", FRAME[~THEIRS])
    shard_stage.run(room)
    forget_stage.run(room)
    for path in room.project.retain_set.glob("*.parquet"):
        assert (context.project.retain_set / path.name).read_bytes() == path.read_bytes()


def test_listed_rows_that_are_not_erased_are_in_the_forget_set_as_ever(tmp_path: Path) -> None:
    context = make_context(tmp_path / "a", FRAME)
    shard_stage.run(context)
    add_request(context, Wanted(subjects=((PERSON, "line 1"),)))

    assert not context.project.suppressed.exists()
    assert "suppressed" not in shard_stage.run(context)
    assert forget_stage.run(context).forgotten == THEIRS.sum()
    assert not context.project.dropped.exists()


def test_one_record_of_a_person_and_records_by_themselves(tmp_path: Path) -> None:
    rows = FRAME.index[THEIRS]
    wanted = Wanted(records=((FRAME.loc[rows[0], "id"], "line 1"),))
    context = erased(tmp_path / "a", wanted, FRAME, FRAME.drop(rows[0]))

    with_rows(context, FRAME)
    assert shard_stage.run(context)["suppressed"] == 1
    moved = FRAME.copy()
    moved.loc[rows[0], "person"] = "somebody else"
    with_rows(context, moved)
    # The line names this record of this person.
    assert shard_stage.run(context)["suppressed"] == 0


def test_people_without_rows_are_suppressed_and_dropped_when_they_appear(tmp_path: Path) -> None:
    context = make_context(tmp_path / "a", FRAME[~THEIRS])
    shard_stage.run(context)
    before = shard_files(context)
    known = FRAME.loc[~THEIRS, "id"].iloc[0]
    wanted = Wanted(records=((known, "line 1"),), subjects=((PERSON, "line 2"),))

    found = add_request(context, wanted, unknown="suppress")

    # The known record has rows, which the pipeline and `verify` need.
    assert read_suppressed(context.project) == found.absent == {token_of(PERSON, "subject")}
    with_rows(context, FRAME)
    assert shard_stage.run(context)["suppressed"] == THEIRS.sum()
    assert shard_files(context) == before
    assert forget_stage.run(context).forgotten == 1


def test_asking_again_with_suppress_covers_lines_that_have_no_rows(tmp_path: Path) -> None:
    context = make_context(tmp_path / "a", FRAME)
    shard_stage.run(context)
    wanted = Wanted(subjects=((PERSON, "line 1"),))
    add_request(context, wanted)
    with_rows(context, FRAME[~THEIRS])
    shard_stage.run(context)

    assert add_request(context, wanted, unknown="suppress").already == 1
    assert read_suppressed(context.project) == {token_of(PERSON, "subject")}
    entries = len(read_log(context.project).entries)
    add_request(context, wanted, unknown="suppress")
    assert len(read_log(context.project).entries) == entries


def test_held_out_rows_and_rows_without_a_class_are_dropped_too(tmp_path: Path) -> None:
    raw = posthoc_params(holdout=0.0).model_dump(mode="json")
    raw["dataset"] |= {"held_out": "data/held_out.csv", "drop_unlabelled": True}
    frame = make_frame(60)
    frame.loc[5, "label"] = frame.loc[45, "label"] = ""
    context = make_context(tmp_path / "a", frame[:40], check_params(raw))
    frame[40:].to_csv(context.project.root / "data/held_out.csv", index=False)
    gone = [0, 5, 45, 50]
    lines = [token_of(frame.loc[number, "id"]) for number in gone]
    context.project.forget_list.write_text("".join(f"{line}\n" for line in sorted(lines)))
    write_suppressed(context.project, lines)

    counts = shard_stage.run(context)

    assert counts == {"s000": 38, "holdout": 18, "suppressed": 4}


def test_repeated_ids_are_named_by_their_rows_in_the_dataset(tmp_path: Path) -> None:
    frame = FRAME.copy()
    others = frame.index[~THEIRS]
    frame.loc[others[-1], "id"] = frame.loc[others[-2], "id"]
    wanted = Wanted(subjects=((PERSON, "line 1"),))
    context = erased(tmp_path / "a", wanted, FRAME, FRAME[~THEIRS])
    with_rows(context, frame)

    rows = f"data rows {others[-2] + 1} and {others[-1] + 1} have the same id"
    with pytest.raises(InputError, match=rows):
        shard_stage.run(context)


def test_a_restored_line_is_suppressed_no_longer(tmp_path: Path) -> None:
    context = erased(tmp_path / "a", Wanted(subjects=((PERSON, "l"),)), FRAME, FRAME[~THEIRS])
    write_change(context.project, "restore", removed=[token_of(PERSON, "subject")])

    assert read_suppressed(context.project) == frozenset()
    with_rows(context, FRAME)
    assert "suppressed" not in shard_stage.run(context)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "data/suppressed.txt lacks 1 of the lines"),
        ("{person}{other}", "data/suppressed.txt has 1 lines that are not on the forget list"),
        ("{person}r0001\n", "data/suppressed.txt, line 2: is no line of a forget list"),
        ("{person}<<<<<<< HEAD\n", "data/suppressed.txt, line 2: a conflict marker of git"),
    ],
)
def test_a_file_that_is_not_what_the_log_says_is_refused(
    tmp_path: Path, content: str, message: str
) -> None:
    context = erased(tmp_path / "a", Wanted(subjects=((PERSON, "l"),)), FRAME, FRAME[~THEIRS])
    before = shard_files(context)
    lines = {"person": token_of(PERSON, "subject") + "\n", "other": token_of("r0001") + "\n"}
    context.project.suppressed.write_text(content.format(**lines), encoding="ascii")
    with_rows(context, FRAME)

    with pytest.raises(InputError, match=message):
        shard_stage.run(context)

    assert shard_files(context) == before
    if "line 2" not in message:
        settle_list(context)
        assert read_suppressed(context.project) == {token_of(PERSON, "subject")}


def test_a_file_that_git_took_away_is_written_again(tmp_path: Path) -> None:
    context = erased(tmp_path / "a", Wanted(subjects=((PERSON, "l"),)), FRAME, FRAME[~THEIRS])
    context.project.suppressed.unlink()
    with pytest.raises(InputError, match="lacks 1 of the lines"):
        shard_stage.run(context)
    settle_list(context)
    assert read_suppressed(context.project) == {token_of(PERSON, "subject")}


STEPS = st.lists(
    st.tuples(st.sampled_from(["forget", "suppress", "restore", "erase"]), st.integers(0, 3)),
    max_size=8,
)


@given(steps=STEPS)
@settings(max_examples=60)
def test_the_log_decides_what_is_suppressed(steps: list[tuple[str, int]]) -> None:
    """A line is suppressed from an erasure, or a suppression without rows, until it is restored."""
    log, expected, listed = Log(), set[str](), set[str]()
    for kind, number in steps:
        line = token_of(f"r{number}")
        if kind == "erase":
            entry = new_entry(log, "erase", (), b"", erasure=ERASED)
            expected |= listed
        elif kind == "restore":
            entry = new_entry(log, "restore", [line], b"")
            expected -= {line}
            listed -= {line}
        else:
            absent = [line] if kind == "suppress" else []
            ticket = str(len(log.entries))
            details = Details(frozenset(absent))
            entry = new_entry(log, "suppress", [line], b"", ticket=ticket, details=details)
            expected |= set(absent)
            listed |= {line}
        log = Log((*log.entries, entry))
    assert suppressed_by(log) == expected
    assert suppressed_by(log, erasing=True) == expected | listed
