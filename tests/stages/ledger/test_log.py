"""The request log: one file for each entry, and the older log of one line for each entry."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.erasure import ErasedPlace, Erasure
from unlearn.stages.ledger.log import FOLDER, OLD_LOG, Entry, Log, new_entry, parse_log, read_log
from unlearn.stages.ledger.newest_erasures import is_erased, newest_erasures
from unlearn.stages.ledger.transaction import Change, apply_change
from unlearn.stages.requests.filed import filed_requests
from unlearn.stages.rows.forget_list import LEFT_OUT, render

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
        with pytest.raises(InputError) as caught:
            read_log(repository.context.project)
        name = f"{FOLDER}/{path.name}"
        assert caught.value.message == f"{name} is not a whole entry of the request log"
        (hint,) = caught.value.hints
        assert hint == (
            f"`git checkout -- {name}` takes the committed one; if git has none, restore the file "
            "from a copy: an entry is never to be deleted"
        )
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
    with pytest.raises(InputError) as caught:
        parse_log({OLD_LOG: content})
    assert caught.value.message == f"{OLD_LOG}, line 2: not an entry of the log"
    assert caught.value.hints == (
        f"if it was cut short: `git checkout -- {OLD_LOG}` takes the committed log",
    )


def test_empty_lines_of_the_older_log_count_for_its_line_numbers_only() -> None:
    content = old_log(OLD)[OLD_LOG]
    assert parse_log({OLD_LOG: b"\n \n" + content + b"\n" + content}).entries == (
        Entry.model_validate(OLD),
        Entry.model_validate(OLD),
    )
    with pytest.raises(InputError, match=r"requests\.jsonl, line 4: "):
        parse_log({OLD_LOG: b"\n" + content + b"\n{"})


def test_an_older_log_that_is_no_text_is_named() -> None:
    with pytest.raises(InputError) as caught:
        parse_log({OLD_LOG: b"\xff"})
    assert caught.value.message == f"{OLD_LOG} is not UTF-8 text"


def test_other_files_are_no_entries() -> None:
    """Wherever they come among those that are."""
    entry = new_entry(Log(), "forget", [token_of("a")], b"", None)
    others = {
        f"{FOLDER}/notes.txt": b"x",
        f"{FOLDER}/below/{entry.name}.json": entry.content,
        f"{FOLDER}/{entry.name}": entry.content,
    }
    assert parse_log(others) == Log()
    assert parse_log(others | {f"{FOLDER}/{entry.name}.json": entry.content}) == Log((entry,))


def test_an_entry_has_the_lines_their_digest_and_that_of_the_list() -> None:
    lines = sorted([token_of("a"), token_of("b")])
    before = new_entry(Log(), "upgrade", [], b"", None)

    entry = new_entry(Log((before,)), "suppress", reversed(lines), b"the list\n", "T-9")

    assert entry.kind == "suppress"
    assert entry.ticket == "T-9"
    assert entry.lines == tuple(lines)
    assert entry.count == 2
    assert entry.digest == hashlib.sha256("".join(f"{one}\n" for one in lines).encode()).hexdigest()
    assert entry.list_digest == hashlib.sha256(b"the list\n").hexdigest()
    assert entry.heads == (before.name,)
    made = datetime.fromisoformat(entry.time)
    assert made.utcoffset() == timedelta(0)
    assert made.microsecond == 0
    assert abs(datetime.now(UTC) - made) < timedelta(minutes=5)


def test_names_and_bytes_of_entries_do_not_change() -> None:
    """The names of entries in git are digests of them."""
    entry = Entry(
        kind="forget", time="2026-05-03T01:30:00+00:00", ticket=None, count=0, digest="d", lines=()
    )
    compact = (
        '{"count":0,"digest":"d","heads":[],"kind":"forget","lines":[],"list":null,'
        '"ticket":null,"time":"2026-05-03T01:30:00+00:00"}'
    )
    assert entry.name == hashlib.sha256(compact.encode()).hexdigest()[:32]
    assert json.loads(entry.content) == json.loads(compact)
    assert entry.content.endswith(b"\n}\n")


def test_an_entry_of_the_older_log_is_none_of_a_file_of_its_own() -> None:
    entry = Entry.model_validate(OLD)
    with pytest.raises(InputError, match="is not a whole entry"):
        parse_log({f"{FOLDER}/{entry.name}.json": entry.content})


def at(time: str, *heads: Entry, ticket: str | None = None) -> Entry:
    """Return an entry of a time that had seen others."""
    return Entry(
        time=time,
        ticket=ticket,
        count=0,
        digest="d",
        lines=(),
        heads=tuple(sorted(head.name for head in heads)),
    )


def test_entries_are_ordered_by_time_then_by_what_they_had_seen_then_by_name() -> None:
    early, late = "2026-05-03T01:30:00+00:00", "2026-05-03T01:30:01+00:00"
    first = at(early)
    # A chain of one second, long enough that no order of names happens to be that of the chain.
    chain = [first]
    for number in range(5):
        chain.append(at(early, chain[-1], ticket=f"T-{number}"))
    other = at(early, first, ticket="other")
    last = at(late, ticket="a clock that was late")
    # `other` is as deep as the second of the chain.
    pair = sorted([chain[1], other], key=lambda entry: entry.name)
    wanted = (first, *pair, *chain[2:], last)

    files = {f"{FOLDER}/{entry.name}.json": entry.content for entry in wanted}
    assert parse_log(files).entries == wanted
    assert parse_log(dict(reversed(files.items()))).entries == wanted
    old = Entry.model_validate(OLD | {"time": "2027-01-01T00:00:00+00:00"})
    content = old_log(OLD | {"time": old.time})
    assert parse_log(files | content).entries == (old, *wanted)


def test_the_longest_chain_decides_which_entry_is_later() -> None:
    time = "2026-05-03T01:30:00+00:00"
    root = at(time)
    middle = at(time, root, ticket="middle")
    joined = at(time, root, middle, ticket="joined")
    beside = at(time, root, ticket="beside")
    wanted = [root, *sorted([middle, beside], key=lambda entry: entry.name), joined]

    for order in permutations(wanted):
        files = {f"{FOLDER}/{entry.name}.json": entry.content for entry in order}
        assert list(parse_log(files).entries) == wanted


def test_an_entry_that_is_not_here_is_missing_and_counts_for_no_order() -> None:
    time = "2026-05-03T01:30:00+00:00"
    absent = at(time)
    entry = at(time, absent, ticket="T")
    log = parse_log({f"{FOLDER}/{entry.name}.json": entry.content})

    assert log.entries == (entry,)
    assert log.missing == {absent.name}
    assert log.heads == (entry.name,)
    assert Log((absent, entry)).missing == frozenset()


def test_hidden_files_and_folders_are_not_read(repository: GitProject) -> None:
    project = repository.context.project
    repository.forget(IDS[0], commit=False)
    (project.requests / ".unlearn-tmp-1.json").write_bytes(b"half")
    (project.requests / "notes.txt").write_bytes(b"notes")

    assert len(read_log(project).entries) == 1


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


def test_what_was_seen_through_others_was_seen() -> None:
    """An entry far back decides nothing, in whatever order the log has them."""
    line, other = token_of("a"), token_of("b")
    log = entry_after(Log(), "forget", line)
    for _ in range(3):
        log = entry_after(log, "forget", other)
    back = entry_after(log, "restore", line)

    for order in permutations(back.entries):
        assert Log(order).restored() == {line}
    # Without the entries between them, nothing says which of the two is the newer one.
    assert Log((back.entries[0], back.entries[-1])).restored() == frozenset()


def test_each_line_is_decided_by_itself() -> None:
    one, two, three = (token_of(raw) for raw in "abc")
    log = Log()
    for line in (one, two, three):
        log = entry_after(log, "forget", line)
    back = entry_after(entry_after(log, "restore", one), "restore", two)

    assert back.restored() == {one, two}
    assert entry_after(back, "hand-written", one).restored() == {two}


def test_a_line_of_the_older_log_can_be_taken_back() -> None:
    """The older log does not say which lines it is about: the restoring entry is enough."""
    line = token_of("a")
    log = Log((Entry.model_validate(OLD),))

    assert log.restored() == frozenset()
    assert entry_after(log, "restore", line).restored() == {line}


def test_a_mark_of_canaries_changes_no_line_that_is_taken_back() -> None:
    line = token_of("a")
    asked = entry_after(Log(), "forget", f"{line}{LEFT_OUT}")

    assert entry_after(asked, "restore", line).restored() == {line}
    assert entry_after(asked, "restore", f"{line}{LEFT_OUT}").restored() == {line}
    back = entry_after(asked, "restore", line)
    assert entry_after(back, "forget", f"{line}{LEFT_OUT}").restored() == frozenset()


def test_entries_from_elsewhere_count_for_what_was_taken_back() -> None:
    line, other = token_of("a"), token_of("b")
    asked = entry_after(entry_after(Log(), "forget", line), "forget", other)
    back = entry_after(asked, "restore", line)
    again = entry_after(back, "forget", line)
    damaged = back.entries[-1].content[:-9]

    assert asked.restored_with([]) == frozenset()
    assert asked.restored_with([damaged]) == frozenset()
    assert asked.restored_with([damaged, back.entries[-1].content]) == {line}
    assert back.restored_with([]) == {line}
    assert back.restored_with([entry.content for entry in asked.entries]) == {line}
    assert back.restored_with([damaged, again.entries[-1].content]) == frozenset()
    both = [again.entries[-1].content, back.entries[-1].content]
    assert asked.restored_with(both) == frozenset()


def erase(repository: GitProject, *places: ErasedPlace) -> Entry:
    """Log an erasure."""
    project = repository.context.project
    listed = project.forget_list.read_bytes()
    entry = new_entry(read_log(project), "erase", (), listed, erasure=Erasure(places=places))
    apply_change(project, Change(added=(), entry=entry))
    return entry


PURGED = ErasedPlace(name="DVC's cache", state="purged", method="deleted")
PENDING = ErasedPlace(name="the remote backup", state="pending", why="it cannot be reached")


def test_an_erasure_covers_the_requests_before_it_once_nothing_is_pending(
    repository: GitProject,
) -> None:
    project = repository.context.project
    repository.forget(IDS[0], ticket="T-1", commit=False)
    (first,) = read_log(project).entries
    erase(repository, PURGED, PENDING)
    assert not is_erased(read_log(project).erasures(), [first])

    complete = erase(repository, PURGED)
    repository.forget(IDS[1], ticket="T-2", commit=False)
    log = read_log(project)
    last = log.entries[-1]

    assert newest_erasures(log.erasures(), [first.name]) == [complete]
    assert is_erased(log.erasures(), [first])
    assert newest_erasures(log.erasures(), [first.name, last.name]) == []
    erase(repository, PENDING)
    assert not is_erased(read_log(project).erasures(), [first])
    newest = erase(repository, PURGED)
    log = read_log(project)
    assert newest_erasures(log.erasures(), [first.name, last.name]) == [newest]
    assert is_erased(log.erasures(), [first, last])


def test_an_erasure_of_one_branch_does_not_cover_the_request_of_another(
    repository: GitProject,
) -> None:
    project = repository.context.project
    repository.forget(IDS[0], commit=False)
    (first,) = read_log(project).entries
    elsewhere = new_entry(Log(), "forget", [token_of(IDS[1])], b"")
    done = erase(repository, PURGED)
    project.request_file(elsewhere.name).write_bytes(elsewhere.content)

    log = read_log(project)
    assert newest_erasures(log.erasures(), [first.name]) == [done]
    assert not is_erased(log.erasures(), [elsewhere])


def test_an_erasure_is_no_request(repository: GitProject) -> None:
    repository.forget(IDS[0], ticket="T-1", commit=False)
    erase(repository, PURGED)

    (request,) = filed_requests(read_log(repository.context.project))
    assert request.ticket == "T-1"
