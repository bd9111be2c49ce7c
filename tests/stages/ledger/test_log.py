"""The request log: one file for each entry, and the older log of one line for each entry."""

import json

import pytest
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.log import FOLDER, OLD_LOG, Log, new_entry, parse_log, read_log
from unlearn.stages.rows.forget_list import render

from tests.stages.conftest import token_of
from tests.stages.ledger.repositories import IDS, GitProject

OLD = {"time": "2026-05-03T01:30:00+00:00", "ticket": None, "count": 1, "digest": "d"}


def old_log(*entries: object) -> dict[str, bytes]:
    return {OLD_LOG: "".join(f"{json.dumps(entry)}\n" for entry in entries).encode()}


def test_an_entry_is_read_as_it_was_written(repository: GitProject) -> None:
    repository.forget(IDS[0], ticket="T-1", commit=False)
    repository.forget(IDS[1], commit=False)

    first, second = read_log(repository.context.project).entries
    assert (first.kind, first.ticket, first.count) == ("forget", "T-1", 1)
    assert first.lines == (token_of(IDS[0]),)
    assert (first.heads, second.heads) == ((), (first.name,))


def test_a_changed_entry_is_damaged(repository: GitProject) -> None:
    repository.forget(IDS[0], ticket="T-1", commit=False)
    (path,) = repository.context.project.requests.glob("*.json")
    whole = path.read_bytes()

    for content in (b"", whole[:-20], whole.replace(b"T-1", b"T-2"), b"[]", b"\xff"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"{FOLDER}/{path.stem}.json is not a whole entry"):
            read_log(repository.context.project)
    path.write_bytes(whole)
    assert len(read_log(repository.context.project).entries) == 1


def test_the_older_log_is_read_on(repository: GitProject) -> None:
    project = repository.context.project
    project.old_requests.write_bytes(old_log(OLD, OLD | {"more": 1})[OLD_LOG])
    repository.forget(IDS[0], commit=False)

    entries = read_log(project).entries
    assert [entry.count for entry in entries] == [1, 1, 1]
    assert [entry.lines for entry in entries[:2]] == [None, None]
    # Nothing is appended to it: what a kill cut short is never continued.
    assert project.old_requests.read_bytes() == old_log(OLD, OLD | {"more": 1})[OLD_LOG]


@pytest.mark.parametrize("line", ["{", "[]", '{"time": "t"}', "3", '{"time": "2026-05-03T01'])
def test_a_damaged_line_of_the_older_log_is_named(line: str) -> None:
    content = old_log(OLD)[OLD_LOG] + line.encode()
    with pytest.raises(InputError, match=r"requests\.jsonl, line 2: not an entry of the log"):
        parse_log({OLD_LOG: content})


def test_other_files_are_no_entries() -> None:
    assert parse_log({f"{FOLDER}/notes.txt": b"x", f"{FOLDER}/below/x.json": b"y"}) == Log()


def entry_after(log: Log, kind: str, line: str) -> Log:
    entry = new_entry(log, kind, [line], render([line]), None)  # type: ignore[arg-type]  # a kind
    return Log((*log.entries, entry))


def test_the_newest_entry_about_a_line_decides() -> None:
    line, other = token_of("a"), token_of("b")
    asked = entry_after(Log(), "forget", line)
    back = entry_after(asked, "restore", line)
    assert asked.restored() == frozenset()
    assert back.restored() == {line}
    assert entry_after(back, "forget", other).restored() == {line}
    again = entry_after(entry_after(back, "forget", other), "forget", line)
    assert again.restored() == frozenset()


def test_where_two_branches_differ_a_line_is_not_taken_back() -> None:
    line = token_of("a")
    asked = entry_after(Log(), "forget", line)
    back = entry_after(asked, "restore", line)
    # Both branches saw the first entry; one took the line back, the other asked for it again.
    again = entry_after(asked, "suppress", line)
    merged = Log(tuple({entry.name: entry for entry in (*back.entries, *again.entries)}.values()))
    assert len(merged.heads) == 2
    assert merged.restored() == frozenset()
