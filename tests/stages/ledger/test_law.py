"""The law of the ledger: no sequence of git operations trains on a forgotten record again."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from unlearn.stages.errors import InputError

from tests.stages.ledger.repositories import IDS, GitProject, tokens

OPERATIONS = (
    "forget",
    "commit",
    "branch",
    "switch",
    "detach",
    "revert",
    "reset",
    "amend",
    "rebase",
    "stash",
    "pop",
    "cherry-pick",
    "merge",
    "merge ours",
    "squash",
    "old list",
    "delete branch",
)


def operate(project: GitProject, operation: str, number: int, wanted: list[str]) -> None:
    """Do one thing to the repository; what git refuses is taken back."""
    try_git, branch = project.try_git, f"b{number % 3}"
    if operation == "forget":
        raw = IDS[number % 3]
        try:
            project.forget(raw, commit=number % 2 == 0)
        except InputError:
            return  # a list in conflict
        if raw not in wanted:
            wanted.append(raw)
    elif operation == "commit":
        try_git("add", "-A")
        try_git("commit", "--quiet", "--allow-empty", "-m", "work")
    else:
        words = {
            "branch": ("checkout", "--quiet", "-b", branch),
            "switch": ("checkout", "--quiet", "main" if number % 2 else branch),
            "detach": ("checkout", "--quiet", "--detach", f"HEAD~{number % 2}"),
            "revert": ("revert", "--no-edit", f"HEAD~{number % 2}"),
            "reset": ("reset", "--quiet", "--hard", f"HEAD~{number % 3}"),
            "amend": ("commit", "--quiet", "--amend", "-a", "--allow-empty", "-m", "amended"),
            "rebase": ("rebase", "--quiet", "--onto", "HEAD~2", "HEAD~1"),
            "stash": ("stash", "--quiet", *(("-u",) if number % 2 else ())),
            "pop": ("stash", "pop", "--quiet"),
            "cherry-pick": ("cherry-pick", branch),
            "merge": ("merge", "--quiet", "--no-edit", branch),
            "merge ours": ("merge", "--quiet", "--no-edit", "-s", "ours", branch),
            "squash": ("merge", "--quiet", "--squash", branch),
            "old list": ("checkout", "HEAD~1", "--", "data/forget_list.txt"),
            "delete branch": ("branch", "--quiet", "-D", branch),
        }[operation]
        if try_git(*words).returncode:
            for undo in ("rebase", "merge", "cherry-pick", "revert"):
                try_git(undo, "--abort")


def check_law(project: GitProject, wanted: list[str]) -> None:
    """Each request is out of the rows, or the run stops and names it, or it is named elsewhere."""
    ledger = project.ledger()
    elsewhere = frozenset().union(*ledger.elsewhere.values()) | ledger.behind
    asked = tokens(wanted)
    try:
        project.run_forget()
    except InputError as error:
        assert error.exit_code == 2
        if not project.context.project.forget_list.exists():
            return  # the first commit was reverted: the message names the whole list
        assert ledger.problem() is not None
        gone = ledger.lost.keys() | ledger.ahead
        assert gone
        assert asked - project.lines() <= gone | elsewhere
        return
    assert ledger.problem() is None
    assert asked & project.retained() <= elsewhere


def run_law(built: GitProject, steps: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = built.copy(Path(folder) / "project")
        wanted: list[str] = []
        for raw in IDS[:2]:
            project.forget(raw)
            wanted.append(raw)
        for operation, number in steps:
            operate(project, operation, number, wanted)
        check_law(project, wanted)


STEPS = st.lists(st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 5)), max_size=8)


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(STEPS)
@example([("branch", 0), ("forget", 2), ("switch", 1), ("merge ours", 0)])
@example([("forget", 5), ("stash", 1), ("reset", 1)])
@example([("detach", 0), ("forget", 2), ("switch", 1)])
@example([("reset", 2), ("revert", 0)])  # the list itself is gone
def test_no_sequence_of_git_operations_brings_a_record_back(
    built_repository: GitProject, steps: list[tuple[str, int]]
) -> None:
    run_law(built_repository, steps)


@pytest.mark.slow
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(STEPS)
def test_no_long_sequence_of_git_operations_brings_a_record_back(
    built_repository: GitProject, steps: list[tuple[str, int]]
) -> None:
    run_law(built_repository, steps)
