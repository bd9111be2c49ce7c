"""What need not be read again is known by marks, and whatever changed is seen."""

import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unlearn.stages.context import Context
from unlearn.stages.forget.file_marks import MARGIN
from unlearn.stages.forget.stage import run
from unlearn.stages.project.files import digest_file
from unlearn.stages.project.paths import HOLDOUT
from unlearn.stages.rows.forget_list import place_of_line
from unlearn.stages.rows.shard_file import read_shard, record_tokens
from unlearn.stages.shard import stage as shard_stage

from tests.conftest import make_frame
from tests.stages.conftest import make_context, make_params, put_on_list, token_of

NAMES = ["s000", "s001", "s002", HOLDOUT]


def age(context: Context) -> None:
    """Make the marks as much later than the files as they are after a while."""
    path = context.project.file_marks
    later = path.stat().st_mtime_ns + 10 * MARGIN
    os.utime(path, ns=(later, later))


def tokens_of(context: Context, name: str) -> list[str]:
    path = context.project.shard_file(name)
    found: list[str] = record_tokens(read_shard(path, path.name).rows)
    return found


def outcome(context: Context) -> dict[str, bytes]:
    folders = (context.project.retain_set, context.project.forget_set)
    return {
        f"{folder.name}/{path.name}": path.read_bytes()
        for folder in folders
        for path in folder.iterdir()
    }


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files of data/shards that the stage reads, as it reads them."""
    seen: list[str] = []

    def noting(path: Path, *arguments: Any) -> Any:
        seen.extend([path.stem] if path.parent.name == "shards" else [])
        return read_shard(path, *arguments)

    def noting_digests(path: Path) -> str:
        seen.extend([path.stem] if path.parent.name == "shards" else [])
        return digest_file(path)

    monkeypatch.setattr("unlearn.stages.forget.stage.read_shard", noting)
    monkeypatch.setattr("unlearn.stages.forget.stage.digest_file", noting_digests)
    return seen


def test_switching_slices_is_noticed_without_a_new_line(built: Context) -> None:
    run(built)
    age(built)
    sharding = built.params.sharding.model_copy(update={"slices": 2, "switched_off": {"s001": 2}})
    params = built.params.model_copy(update={"sharding": sharding})

    assert run(replace(built, params=params)).rewritten == ["s001"]
    age(built)
    assert run(built).rewritten == ["s001"]


def test_only_shards_that_a_new_line_names_are_read(built: Context, read: list[str]) -> None:
    put_on_list(built, tokens_of(built, "s000")[0])
    first = run(built)
    age(built)
    read.clear()
    put_on_list(built, tokens_of(built, "s001")[0])

    done = run(built)

    assert set(read) == {"s001"}
    assert done.rewritten == ["s001"]
    assert (first.forgotten, done.forgotten, done.without_rows) == (1, 2, 0)


def test_files_as_new_as_their_marks_are_read(built: Context, read: list[str]) -> None:
    run(built)
    os.utime(built.project.file_marks)
    read.clear()

    assert run(built).rewritten == []
    assert set(read) == set(NAMES)


def test_a_person_is_looked_for_in_one_shard_and_a_record_in_all(
    tmp_path: Path, read: list[str]
) -> None:
    frame = make_frame(80, subjects=15)
    context = make_context(tmp_path / "p", frame, make_params(subject="person"))
    shard_stage.run(context)
    run(context)
    age(context)
    person = str(frame["person"].iloc[0])
    subject = token_of(person, "subject")
    read.clear()
    put_on_list(context, subject)

    assert run(context).forgotten == int((frame["person"] == person).sum())
    assert set(read) == {place_of_line(subject, context.params.sharding).shard}

    age(context)
    read.clear()
    put_on_list(context, token_of(frame.loc[frame["person"] != person, "id"].iloc[0]))

    assert run(context).without_rows == 0
    assert set(read) == set(NAMES)


@pytest.mark.parametrize("subjects", [False, True])
def test_any_lists_one_after_another_end_as_the_last_one_alone(
    tmp_path: Path, subjects: bool
) -> None:
    frame = make_frame(80, subjects=15) if subjects else make_frame(80)
    params = make_params(subject="person") if subjects else make_params()
    context = make_context(tmp_path / "p", frame, params)
    shard_stage.run(context)
    draws = random.Random(1)  # noqa: S311 - a choice of lines, not a secret
    lines = [token_of(name) for name in frame["id"]] + [token_of("someone else")]
    if subjects:
        people = [token_of(str(name), "subject") for name in frame["person"]]
        lines += [*people, *(f"{s}.{r}" for s, r in zip(people, lines, strict=False))]
    for _ in range(12):
        chosen = draws.sample(lines, draws.choice([0, 1, 2, 5, 20]))
        context.project.forget_list.write_bytes(b"")
        put_on_list(context, *chosen)
        done = run(context)
        found = outcome(context)
        context.project.file_marks.unlink()
        again = run(context)
        assert outcome(context) == found
        assert (again.forgotten, again.without_rows) == (done.forgotten, done.without_rows)
        age(context)


@pytest.mark.parametrize("folder", ["retain_set", "forget_set"])
def test_a_file_that_was_edited_is_noticed_whatever_its_size_and_time(
    built: Context, folder: str
) -> None:
    put_on_list(built, tokens_of(built, "s001")[0])
    run(built)
    age(built)
    before = outcome(built)
    path = getattr(built.project, folder) / "s001.parquet"
    stat, content = path.stat(), path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    assert run(built).rewritten == ["s001"]
    assert outcome(built) == before


def test_a_shard_that_was_replaced_is_read(built: Context) -> None:
    run(built)
    age(built)
    path, other = built.project.shard_file("s001"), built.project.shard_file("s002")
    other.replace(path)
    other.write_bytes(path.read_bytes())

    assert run(built).rewritten == ["s001"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"of": 1}', b'{"of": "", "shards": {}}'])
def test_damaged_marks_cost_time_only(built: Context, content: bytes) -> None:
    run(built)
    before = outcome(built)
    built.project.file_marks.write_bytes(content)
    put_on_list(built, tokens_of(built, "s001")[0])

    assert run(built).rewritten == ["s001"]
    assert outcome(built) != before


def test_the_mark_of_another_list_is_no_mark(built: Context, read: list[str]) -> None:
    run(built)
    age(built)
    applied = built.project.applied.read_text(encoding="utf-8")
    built.project.applied.write_text(applied.replace('"without_rows": 0', '"without_rows": 1'))
    read.clear()

    assert run(built).without_rows == 0
    assert set(read) == set(NAMES)


def test_the_list_knows_lines_left_out(built: Context) -> None:
    """A line that changes its mark alone is a change, too."""
    token = tokens_of(built, "s001")[0]
    built.project.forget_list.write_bytes(f"{token}.left-out\n".encode())
    run(built)
    age(built)
    built.project.forget_list.write_bytes(b"")

    assert run(built).rewritten == ["s001"]
    assert not built.project.forget_file("s001").exists()
