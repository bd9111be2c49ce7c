"""The `forget` stage: the retain set and the forget set, and what was applied."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from unlearn.stages.audit.status import applied_tokens, list_is_applied
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.forget.stage import run
from unlearn.stages.project.paths import HOLDOUT
from unlearn.stages.rows.forget_list import place_of_line
from unlearn.stages.rows.shard_file import read_shard, record_tokens, subject_tokens, write_shard
from unlearn.stages.shard import stage as shard_stage

from tests.conftest import make_frame
from tests.stages.conftest import (
    make_context,
    make_params,
    put_on_list,
    read_json,
    token_of,
)

NAMES = ["s000", "s001", "s002", HOLDOUT]


def rows_of(path: Path) -> pa.Table:
    return read_shard(path, path.name).rows


def tokens_of(context: Context, name: str) -> list[str]:
    found = record_tokens(rows_of(context.project.shard_file(name)))
    assert isinstance(found, list)
    return found


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.iterdir()}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_row_is_kept_or_forgotten_and_never_both(built: Context) -> None:
    asked = [tokens_of(built, name)[1] for name in ("s000", "s002", HOLDOUT)]
    put_on_list(built, *asked)

    done = run(built)

    assert (done.forgotten, done.without_rows) == (3, 0)
    assert done.rewritten == ["s000", "s002", HOLDOUT]
    project = built.project
    for name in NAMES:
        whole = rows_of(project.shard_file(name))
        gone = pa.array([token in asked for token in record_tokens(whole)], pa.bool_())
        assert rows_of(project.retain_file(name)).equals(whole.filter(pc.invert(gone)))
        if name == "s001":
            assert not project.forget_file(name).exists()
        else:
            assert rows_of(project.forget_file(name)).equals(whole.filter(gone))


def test_a_shard_without_requests_is_kept_byte_by_byte(built: Context) -> None:
    project = built.project
    for name in NAMES:
        kept = project.retain_file(name).read_bytes()
        assert kept == project.shard_file(name).read_bytes()
        # As it would be written.
        project.retain_file(name).unlink()
        rows = rows_of(project.shard_file(name))
        write_shard(project.retain_file(name), built.key, rows, built.layout)
        assert project.retain_file(name).read_bytes() == kept


def test_only_the_shards_that_a_request_names_are_written(built: Context) -> None:
    before = stamps(built.project.retain_set)
    put_on_list(built, tokens_of(built, "s001")[0])

    run(built)

    after = stamps(built.project.retain_set)
    assert {name for name in before if before[name] != after[name]} == {"s001.parquet"}


def test_a_second_run_writes_nothing(built: Context) -> None:
    put_on_list(built, tokens_of(built, "s001")[0])
    run(built)
    folders = (built.project.retain_set, built.project.forget_set)
    before = [stamps(folder) for folder in folders]

    assert run(built).rewritten == []
    assert [stamps(folder) for folder in folders] == before


def test_rows_of_slices_that_are_off_are_in_neither_set(built: Context) -> None:
    project = built.project
    sharding = built.params.sharding.model_copy(update={"slices": 2})
    whole = rows_of(project.shard_file("s001"))
    slices = [place_of_line(token, sharding).slice for token in record_tokens(whole)]
    late = [
        token for token, number in zip(record_tokens(whole), slices, strict=True) if number == 2
    ]
    assert 2 <= len(late) < whole.num_rows
    put_on_list(built, late[0])

    for off in ({}, {"s001": 2}, {}):
        params = built.params.model_copy(
            update={"sharding": sharding.model_copy(update={"switched_off": off})}
        )
        context = replace(built, params=params)
        # The list is the same each time: switching alone rewrites this shard, and no other one.
        assert run(context).rewritten == ["s001"]
        assert run(context).rewritten == []
        gone = set(late) if off else {late[0]}
        kept = [token for token in record_tokens(whole) if token not in gone]
        assert record_tokens(rows_of(project.retain_file("s001"))) == kept
        assert record_tokens(rows_of(project.forget_file("s001"))) == [late[0]]
    assert record_tokens(rows_of(project.retain_file("s000"))) == tokens_of(built, "s000")


def test_the_order_of_requests_means_nothing(built: Context) -> None:
    one, other = tokens_of(built, "s001")[:2]
    found = []
    for order in ((one, other), (other, one)):
        built.project.forget_list.write_bytes(b"")
        run(built)
        for token in order:
            put_on_list(built, token)
            run(built)
        found.append([contents(built.project.retain_set), contents(built.project.forget_set)])

    assert found[0] == found[1]


def test_a_request_that_is_taken_back_leaves_no_trace(built: Context) -> None:
    before = contents(built.project.retain_set), contents(built.project.forget_set)
    put_on_list(built, tokens_of(built, "s001")[0])
    run(built)
    built.project.forget_list.write_bytes(b"")

    run(built)

    assert (contents(built.project.retain_set), contents(built.project.forget_set)) == before


def test_it_says_which_list_it_applied(built: Context) -> None:
    token = tokens_of(built, "s001")[0]
    assert list_is_applied(built.project)
    put_on_list(built, token)
    assert not list_is_applied(built.project)

    run(built)

    applied = read_json(built.project.applied)
    content = built.project.forget_list.read_bytes()
    assert applied["list"] == hashlib.sha256(content).hexdigest()
    assert applied["tokens"] == [token]
    assert applied_tokens(built.project) == {token}
    assert list_is_applied(built.project)


def test_tokens_without_rows_are_counted_and_no_error(built: Context) -> None:
    put_on_list(built, token_of("someone else"), tokens_of(built, "s000")[0])

    done = run(built)

    assert (done.forgotten, done.without_rows) == (1, 1)
    assert read_json(built.project.applied)["without_rows"] == 1


def test_a_raw_id_written_by_hand_counts(built: Context) -> None:
    built.project.forget_list.write_text("r0003\r\n", encoding="ascii")

    assert run(built).forgotten == 1
    assert applied_tokens(built.project) == {token_of("r0003")}


def test_a_line_written_while_it_runs_is_applied_as_well(
    built: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DVC hashes the list when the stage has ended, and would take the line for applied."""
    first, second = tokens_of(built, "s000")[0], tokens_of(built, "s001")[0]
    put_on_list(built, first)
    replace = Path.replace

    def write_meanwhile(self: Path, target: Path) -> Path:
        if Path(target).name == "s000.parquet":
            put_on_list(built, second)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", write_meanwhile)
    done = run(built)

    assert done.forgotten == 2
    assert applied_tokens(built.project) == {first, second}
    assert list_is_applied(built.project)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "another shard": lambda path: path.write_bytes((path.parent / "s000.parquet").read_bytes()),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_retain_file_is_written_again(
    built: Context, damage: Callable[[Path], object]
) -> None:
    before = contents(built.project.retain_set)
    damage(built.project.retain_file("s001"))

    assert run(built).rewritten == ["s001"]
    assert contents(built.project.retain_set) == before


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"shards": {"s000": 3}}'])
def test_a_damaged_note_of_the_last_run_costs_time_only(
    built: Context, content: bytes | None
) -> None:
    before = contents(built.project.retain_set), contents(built.project.forget_set)
    if content is None:
        built.project.applied.unlink()
    else:
        built.project.applied.write_bytes(content)

    assert set(run(built).rewritten) == set(NAMES)
    assert (contents(built.project.retain_set), contents(built.project.forget_set)) == before


def test_what_is_not_planned_is_removed(built: Context) -> None:
    put_on_list(built, tokens_of(built, "s001")[0])
    run(built)
    for name in ("s003.parquet", ".unlearn-tmp-1-s000.parquet", "notes.txt"):
        (built.project.retain_set / name).write_bytes(b"")
        (built.project.forget_set / name).write_bytes(b"")

    run(built)

    assert set(contents(built.project.retain_set)) == {f"{name}.parquet" for name in NAMES}
    assert set(contents(built.project.forget_set)) == {"applied.json", "s001.parquet"}


def test_a_link_to_a_cache_is_not_written_through(built: Context, tmp_path: Path) -> None:
    path = built.project.retain_file("s001")
    cached = tmp_path / "cached"
    os.link(path, cached)
    before = cached.read_bytes()
    put_on_list(built, tokens_of(built, "s001")[0])

    run(built)

    assert cached.read_bytes() == before
    assert path.read_bytes() != before


def test_a_shard_can_lose_all_its_rows(built: Context) -> None:
    put_on_list(built, *tokens_of(built, "s001"))
    run(built)

    assert rows_of(built.project.retain_file("s001")).num_rows == 0
    assert rows_of(built.project.forget_file("s001")).equals(
        rows_of(built.project.shard_file("s001"))
    )


@pytest.mark.parametrize("by", ["subject", "record", "both"])
def test_a_person_can_be_forgotten_whole_or_in_part(tmp_path: Path, by: str) -> None:
    frame = make_frame(80, subjects=15)
    context = make_context(tmp_path / "p", frame, make_params(subject="person"))
    shard_stage.run(context)
    person = frame["person"].value_counts().index[0]
    records = frame.loc[frame["person"] == person, "id"].tolist()
    subject, record = token_of(person, "subject"), token_of(records[0])
    line = {"subject": subject, "record": record, "both": f"{subject}.{record}"}[by]
    put_on_list(context, line)

    done = run(context)

    expected = len(records) if by == "subject" else 1
    assert (done.forgotten, done.without_rows) == (expected, 0)
    left = pa.concat_tables([rows_of(context.project.retain_file(name)) for name in NAMES])
    assert left.num_rows == 80 - expected
    assert (subject in subject_tokens(left)) == (by != "subject" and len(records) > 1)


def test_nothing_is_written_where_a_shard_is_not_as_params_say(built: Context) -> None:
    other = make_params(features={"age": "numeric"})
    before = contents(built.project.retain_set)
    put_on_list(built, tokens_of(built, "s000")[0])

    with pytest.raises(InputError, match="does not have the columns of schema.yaml"):
        run(Context(built.project, other, built.key))
    assert contents(built.project.retain_set) == before


def test_a_missing_shard_is_an_error_that_says_what_makes_it(built: Context) -> None:
    built.project.shard_file("s001").unlink()

    with pytest.raises(InputError, match=r"data/shards/s001\.parquet is missing"):
        run(built)


def test_no_raw_id_is_in_what_it_writes(built: Context) -> None:
    built.project.forget_list.write_text("r0003\n", encoding="ascii")
    run(built)

    written = [*contents(built.project.forget_set).values()]
    written += contents(built.project.retain_set).values()
    assert not any(b"r0003" in content for content in written)
    assert json.dumps(read_json(built.project.applied)).count("u1_") == 1
