"""A request is on the list and in the log, or in neither, whatever happens in between."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.ledger.check import check_ledger
from unlearn.stages.ledger.log import new_entry, read_log
from unlearn.stages.ledger.transaction import (
    Change,
    apply_change,
    changed_list,
    complete_change,
    lines_of,
    unfinished_change,
)
from unlearn.stages.project.paths import Project
from unlearn.stages.requests.id_file import Wanted
from unlearn.stages.requests.request import add_request, settle_list

from tests.file_faults import Fault, Killed, fault_at
from tests.stages.conftest import token_of
from tests.stages.ledger.repositories import IDS, GitProject

#: More operations than any of the functions below needs.
_MOST = 200


def copy_of(context: Context, target: Path) -> Context:
    shutil.copytree(context.project.root, target, ignore=shutil.ignore_patterns(".git"))
    return replace(context, project=Project(target))


def request(context: Context, raw: str) -> None:
    add_request(context, Wanted(((raw, "--id"),)), ticket="T-2")


def state(context: Context) -> tuple[set[str], list[str | None]]:
    """Return the lines of the list, and the tickets of the log."""
    lines = set(context.project.forget_list.read_text(encoding="ascii").split())
    return lines, [entry.ticket for entry in read_log(context.project).entries]


@pytest.mark.parametrize("fault", ["kill", "disk full"])
def test_no_request_is_lost_at_any_file_operation(
    repository: GitProject, tmp_path: Path, fault: Fault
) -> None:
    repository.forget(IDS[0], ticket="T-1", commit=False)
    before = state(repository.context)
    whole = ({token_of(IDS[0]), token_of(IDS[1])}, ["T-1", "T-2"])
    ends = set()
    for number in range(1, _MOST):
        context = copy_of(repository.context, tmp_path / f"{number}")
        try:
            with fault_at(number, context.project.root, fault):
                request(context, IDS[1])
        except (Killed, OSError):
            acknowledged = False
        else:
            acknowledged = True
        if not acknowledged and fault == "disk full":
            # Refused is refused: nothing but the error is left.
            assert state(context) == before
        settle_list(context)
        after = state(context)
        assert after == whole if acknowledged else after in (before, whole), f"operation {number}"
        assert not context.project.journal.exists()
        assert check_ledger(context.project, None, context).problem() is None
        # Asked for again, it ends as it would have without the fault.
        request(context, IDS[1])
        assert state(context) == whole
        ends.add(after == whole)
        if acknowledged:
            break
    else:
        pytest.fail(f"{_MOST} file operations were not enough")
    assert ends == {True, False}
    assert number > 5  # the list, the entry, and the journal were all hit


@pytest.mark.parametrize("fault", ["kill", "disk full"])
def test_lines_by_hand_are_never_lost_at_any_file_operation(
    repository: GitProject, tmp_path: Path, fault: Fault
) -> None:
    repository.write_by_hand(IDS[2])
    for number in range(1, _MOST):
        context = copy_of(repository.context, tmp_path / f"{number}")
        try:
            with fault_at(number, context.project.root, fault):
                settle_list(context)
        except (Killed, OSError):
            finished = False
        else:
            finished = True
        lines, _ = state(context)
        assert lines in ({IDS[2]}, {token_of(IDS[2])})
        settle_list(context)
        assert state(context) == ({token_of(IDS[2])}, [None])
        if finished:
            break
    else:
        pytest.fail(f"{_MOST} file operations were not enough")
    assert number > 5


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["kill", "disk full"])
def test_the_forget_stage_ends_with_the_same_bytes_after_any_file_operation(
    repository: GitProject, tmp_path: Path, fault: Fault
) -> None:
    repository.forget(IDS[0], IDS[1], commit=False)
    unhurt = copy_of(repository.context, tmp_path / "unhurt")
    forget_stage.run(unhurt)
    expected = contents(unhurt)
    for number in range(1, _MOST):
        context = copy_of(repository.context, tmp_path / f"{number}")
        try:
            with fault_at(number, context.project.root, fault):
                forget_stage.run(context)
        except (Killed, OSError):
            finished = False
        else:
            finished = True
        forget_stage.run(context)
        assert contents(context) == expected, f"operation {number}"
        shutil.rmtree(context.project.root)
        if finished:
            break
    else:
        pytest.fail(f"{_MOST} file operations were not enough")
    assert number > 10


def contents(context: Context) -> dict[str, bytes]:
    data = context.project.root / "data"
    return {
        path.relative_to(data).as_posix(): path.read_bytes()
        for path in sorted(data.rglob("*"))
        if path.is_file()
    }


def test_a_journal_that_was_cut_short_is_a_request_that_had_not_begun(
    repository: GitProject,
) -> None:
    journal = repository.context.project.journal
    journal.parent.mkdir(exist_ok=True)
    journal.write_text('{"added": ["u1_', encoding="ascii")

    assert settle_list(repository.context) == 0
    assert not journal.exists()
    assert repository.lines() == set()


def test_a_list_cut_short_is_refused_with_its_mend(repository: GitProject) -> None:
    repository.forget(IDS[0], IDS[1])
    path = repository.context.project.forget_list
    whole = path.read_bytes()

    path.write_bytes(whole[:-30])
    with pytest.raises(InputError, match="line 2: begins like a token but is none") as caught:
        request(repository.context, IDS[2])
    assert any("git checkout" in hint for hint in caught.value.hints)
    assert path.read_bytes() == whole[:-30]
    # Cut between two lines, what is missing is known from the log and from git.
    path.write_bytes(whole[: whole.index(b"\n") + 1])
    request(repository.context, IDS[2])
    with pytest.raises(InputError, match="1 line left the forget list"):
        forget_stage.run(repository.context)
    # A list without its last line end is whole, and is not continued on the same line.
    path.write_bytes(whole.rstrip(b"\n"))
    request(repository.context, IDS[3])
    assert repository.lines() == {token_of(IDS[index]) for index in (0, 1, 3)}


def make_change(context: Context) -> Change:
    """Return the change of a request for one record that replaces a line by hand."""
    token = token_of(IDS[0])
    log = read_log(context.project)
    entry = new_entry(log, "hand-written", [token], f"{token}\n".encode(), "T-1")
    return Change(added=(token,), removed=(IDS[0],), entry=entry)


def test_a_change_is_the_list_and_an_entry_and_no_journal(repository: GitProject) -> None:
    project = repository.context.project
    repository.write_by_hand(IDS[0], IDS[1])
    change = make_change(repository.context)

    apply_change(project, change)

    assert repository.lines() == {token_of(IDS[0]), IDS[1]}
    assert read_log(project).entries == (change.entry,)
    assert project.request_file(change.entry.name).read_bytes() == change.entry.content
    assert unfinished_change(project) is None
    assert not project.journal.exists()
    assert not complete_change(project)


def test_a_kill_leaves_a_journal_that_only_its_owner_reads_and_that_completes_the_change(
    repository: GitProject,
) -> None:
    project = repository.context.project
    repository.write_by_hand(IDS[0])
    change = make_change(repository.context)
    left = False
    for number in range(1, _MOST):
        try:
            with fault_at(number, project.root, "kill"):
                apply_change(project, change)
        except Killed:
            left = project.journal.exists()
        else:
            pytest.fail("no kill left a journal")
        if left:
            break

    assert project.journal.stat().st_mode & 0o777 == 0o600
    assert unfinished_change(project) == change
    assert repository.lines() == {IDS[0]}
    assert read_log(project).entries == ()
    assert complete_change(project)
    assert repository.lines() == {token_of(IDS[0])}
    assert read_log(project).entries == (change.entry,)
    assert not project.journal.exists()


@pytest.mark.parametrize("in_place_of", ["the entry", "the folder"])
def test_an_entry_that_cannot_be_written_changes_nothing(
    repository: GitProject, in_place_of: str
) -> None:
    project = repository.context.project
    repository.write_by_hand(IDS[0])
    change = make_change(repository.context)
    if in_place_of == "the entry":
        project.request_file(change.entry.name).mkdir(parents=True)
    else:
        project.requests.write_bytes(b"not a folder")

    with pytest.raises(OSError, match="data/requests"):
        apply_change(project, change)

    assert repository.lines() == {IDS[0]}
    assert unfinished_change(project) is None


def test_a_list_that_is_missing_is_refused_with_its_mend(repository: GitProject) -> None:
    project = repository.context.project
    change = make_change(repository.context)
    project.forget_list.unlink()

    with pytest.raises(InputError) as caught:
        apply_change(project, change)

    assert caught.value.message == "data/forget_list.txt is missing"
    assert caught.value.hints == (
        "restore it from git; an empty file means that there is no request",
    )
    assert not project.journal.exists()
    assert read_log(project).entries == ()


def test_the_lines_of_a_list_are_sorted_and_written_once() -> None:
    content = b"\nb\n\na\nb"

    assert lines_of(content) == {"a", "b"}
    assert changed_list(content, ["c", "a"], []) == b"a\nb\nc\n"
    assert changed_list(content, ["c"], ["a", "not there"]) == b"b\nc\n"
    # What is both added and removed was written in another way before.
    assert changed_list(content, ["a"], ["a", "b"]) == b"a\n"
    assert changed_list(b"", [], []) == b""
    with pytest.raises(InputError, match=r"^data/forget_list\.txt"):
        lines_of(b"\xff\n")
