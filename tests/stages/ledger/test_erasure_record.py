"""The entry of an erasure: it covers what it saw, and says no counts."""

import pytest
from unlearn.stages.erasure.record import read_start, record_erasure, suppress_rows
from unlearn.stages.ledger.erasure import ErasedPlace, Erasure
from unlearn.stages.ledger.log import read_log
from unlearn.stages.ledger.suppressed import read_suppressed
from unlearn.stages.project.git import other_working_trees

from tests.stages.conftest import token_of
from tests.stages.ledger.repositories import IDS, GitProject

LEFT = ErasedPlace(name="the remote backup", state="pending", why="copies are left", residual=7)
ERASURE = Erasure(places=(LEFT,))


def test_a_request_that_came_in_the_meantime_is_not_covered(repository: GitProject) -> None:
    context = repository.context
    repository.forget(IDS[0], commit=False)
    start = read_start(context)
    repository.forget(IDS[1], commit=False)

    suppress_rows(context.project, start.heads)
    assert record_erasure(context.project, ERASURE, start.heads, start.digest)

    ((entry, seen),) = read_log(context.project).erasures()
    assert (entry.heads, entry.list_digest) == (start.heads, start.digest)
    assert start.forget_list.known == {token_of(IDS[0])}
    assert seen == set(start.heads)
    assert read_suppressed(context.project) == {token_of(IDS[0])}


def test_a_number_of_files_is_not_for_git(repository: GitProject) -> None:
    repository.forget(IDS[0], commit=False)
    start = read_start(repository.context)
    record_erasure(repository.context.project, ERASURE, start.heads, start.digest)

    ((entry, _),) = read_log(repository.context.project).erasures()
    (place,) = (entry.erasure or ERASURE).places
    assert place.residual == 1


@pytest.mark.parametrize("again", ["after a kill", "later"])
def test_the_same_outcome_is_logged_once(repository: GitProject, again: str) -> None:
    project = repository.context.project
    repository.forget(IDS[0], commit=False)
    start = read_start(repository.context)
    assert record_erasure(project, ERASURE, start.heads, start.digest)
    if again == "later":
        start = read_start(repository.context)

    assert not record_erasure(project, ERASURE, start.heads, start.digest)
    other = Erasure(places=(ErasedPlace(name=LEFT.name, state="purged", method="deleted"),))
    assert record_erasure(project, other, start.heads, start.digest)


def test_working_trees_are_found_wherever_they_are(repository: GitProject) -> None:
    repository.commit("start")
    assert other_working_trees(repository.root) == []
    inner = repository.root / "trees/inner"
    repository.git("worktree", "add", "--quiet", str(inner), "-b", "inner")

    assert other_working_trees(repository.root) == [inner]
    assert other_working_trees(inner) == [repository.root]
