"""The law of the ledger: no sequence of git operations trains on a forgotten record again."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from unlearn.stages.errors import InputError

from tests.properties import tried_on
from tests.stages.ledger.laws import OPERATIONS, Steps, forget_first, operate, run_law
from tests.stages.ledger.repositories import GitProject, tokens


@pytest.fixture(scope="session")
def asked(built_repository: GitProject, tmp_path_factory: pytest.TempPathFactory) -> GitProject:
    """Return a project after its first requests, which tests only copy."""
    project = built_repository.copy(tmp_path_factory.mktemp("law") / "project")
    forget_first(project)
    return project


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


@pytest.mark.slow
@tried_on(few=3, many=25)
@given(st.lists(st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 5)), max_size=8))
@example([("branch", 0), ("forget", 2), ("switch", 1), ("merge ours", 0)])
@example([("forget", 5), ("stash", 1), ("reset", 1)])
@example([("detach", 0), ("forget", 2), ("switch", 1)])
@example([("reset", 2), ("revert", 0)])  # the list itself is gone
def test_no_sequence_of_git_operations_brings_a_record_back(
    asked: GitProject, steps: Steps
) -> None:
    run_law(asked, steps, operate, check_law)
