"""A request is on the list and in the log, or in neither, whatever happens in between."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.ledger.check import check_ledger
from unlearn.stages.ledger.log import read_log
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
