"""No request is lost: the forget list against git's history, whatever git did to it."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.anchor import ANCHOR_VARIABLE
from unlearn.stages.ledger.check import check_ledger, lines_lost_at
from unlearn.stages.ledger.log import read_log
from unlearn.stages.requests.id_file import Wanted
from unlearn.stages.requests.request import put_back_lost
from unlearn.stages.requests.restore import restore

from tests.stages.conftest import token_of
from tests.stages.ledger.repositories import IDS, GitProject, make_git_project, tokens

ONE, TWO, THREE = IDS[:3]


def stopped(project: GitProject) -> str:
    """Return why a run stops; nothing may be written by it."""
    with pytest.raises(InputError) as caught:
        project.run_forget()
    assert not project.context.project.retain_set.exists()
    return caught.value.message


def test_a_list_that_only_grows_is_whole(repository: GitProject) -> None:
    repository.forget(ONE)
    repository.forget(TWO)
    ledger = repository.ledger()

    assert ledger.problem() is None
    assert ledger.notes() == []
    repository.run_forget()
    assert not repository.retained() & tokens([ONE, TWO])


def revert(project: GitProject) -> None:
    project.git("revert", "--no-edit", "HEAD")


def reset(project: GitProject) -> None:
    project.git("reset", "--quiet", "--hard", "HEAD~1")


def amend(project: GitProject) -> None:
    project.git("checkout", "--quiet", "HEAD~1", "--", "data/forget_list.txt")
    project.git("rm", "--quiet", "-r", "--cached", "data/requests")
    shutil.rmtree(project.root / "data/requests")
    project.commit("without")
    project.git("reset", "--quiet", "--soft", "HEAD~2")
    project.git("commit", "--quiet", "--allow-empty", "-m", "amended")


def rebase(project: GitProject) -> None:
    project.git("rebase", "--quiet", "--onto", "HEAD~1", "HEAD", "main")


def edit(project: GitProject) -> None:
    project.context.project.forget_list.write_bytes(b"")
    project.commit("emptied")


def edit_without_commit(project: GitProject) -> None:
    project.context.project.forget_list.write_bytes(b"")


def detach(project: GitProject) -> None:
    project.git("checkout", "--quiet", "--detach", "HEAD~1")


def branch_from_before(project: GitProject) -> None:
    project.git("checkout", "--quiet", "-b", "old", "HEAD~1")


def merge_ours(project: GitProject) -> None:
    """A side branch adds a request, and the merge drops what it brought."""
    reset(project)
    project.git("reflog", "expire", "--expire=now", "--all")
    project.git("checkout", "--quiet", "-b", "side")
    project.forget(ONE)
    project.git("checkout", "--quiet", "main")
    project.git("merge", "--quiet", "--no-ff", "-s", "ours", "-m", "ours", "side")


def merge_that_adds_and_revert(project: GitProject) -> None:
    """The request is added by the merge commit itself, and then taken out by hand."""
    reset(project)
    project.git("reflog", "expire", "--expire=now", "--all")
    project.git("checkout", "--quiet", "-b", "side")
    project.commit("side")
    project.git("checkout", "--quiet", "main")
    project.commit("main")
    project.git("merge", "--quiet", "--no-commit", "--no-ff", "side")
    project.forget(ONE)
    project.git("rm", "--quiet", "-r", "data/requests")
    project.context.project.forget_list.write_bytes(b"")
    project.commit("without")


@pytest.mark.parametrize(
    "lose",
    [
        revert,
        reset,
        amend,
        rebase,
        edit,
        edit_without_commit,
        detach,
        branch_from_before,
        merge_ours,
        merge_that_adds_and_revert,
    ],
)
def test_a_request_that_left_the_list_stops_the_run(
    repository: GitProject, lose: Callable[[GitProject], None]
) -> None:
    repository.forget(ONE)
    lose(repository)

    assert token_of(ONE) not in repository.lines()
    message = stopped(repository)

    assert "1 line" in message
    assert ONE not in message


@pytest.mark.parametrize("lose", [revert, reset, edit, detach, merge_ours])
def test_lost_lines_are_put_back(
    repository: GitProject, lose: Callable[[GitProject], None]
) -> None:
    repository.forget(ONE)
    lose(repository)

    assert put_back_lost(repository.context) == 1
    assert repository.lines() == {token_of(ONE)}
    repository.run_forget()
    assert token_of(ONE) not in repository.retained()


def test_a_stash_with_a_request_is_named(repository: GitProject) -> None:
    repository.forget(ONE, commit=False)
    repository.git("stash", "--quiet", "--include-untracked")

    ledger = repository.ledger()

    assert ledger.problem() is None
    assert ledger.elsewhere == {"refs/stash": frozenset({token_of(ONE)})}
    # The entry of the log stays where the stash leaves new files alone.
    repository.git("stash", "pop", "--quiet")
    repository.git("stash", "--quiet")
    assert "left the forget list" in stopped(repository)


def test_a_commit_that_no_branch_has_is_named(repository: GitProject) -> None:
    repository.git("checkout", "--quiet", "--detach")
    repository.forget(ONE)
    repository.git("checkout", "--quiet", "main")

    (name,) = repository.ledger().elsewhere
    assert name.startswith("commit ")
    assert repository.ledger().problem() is None


def test_a_cherry_picked_request_counts_without_what_came_before_it(
    repository: GitProject,
) -> None:
    repository.git("checkout", "--quiet", "-b", "side")
    repository.forget(ONE)
    repository.forget(TWO)
    repository.git("checkout", "--quiet", "main")
    repository.git("cherry-pick", "side")

    assert repository.lines() >= {token_of(TWO)}
    ledger = repository.ledger()
    assert ledger.problem() is None
    assert ledger.elsewhere.get("refs/heads/side", frozenset()) <= {token_of(ONE)}


def test_a_squash_merge_keeps_the_request(repository: GitProject) -> None:
    repository.git("checkout", "--quiet", "-b", "side")
    repository.forget(ONE)
    repository.forget(TWO)
    repository.git("checkout", "--quiet", "main")
    repository.git("merge", "--quiet", "--squash", "side")
    repository.commit("squashed")
    repository.git("branch", "-D", "side")

    assert repository.ledger().problem() is None
    assert repository.ledger().notes() == []
    assert repository.lines() == tokens([ONE, TWO])


@pytest.mark.slow
def test_an_ordinary_pull_request_is_never_stopped(repository: GitProject, tmp_path: Path) -> None:
    """A branch adds a request, main goes on with another, CI runs on the branch, then a merge."""
    host = tmp_path / "host.git"
    subprocess.run(["git", "clone", "-q", "--bare", str(repository.root), str(host)], check=True)
    author = repository.clone(tmp_path / "author")
    author.git("remote", "set-url", "origin", str(host))
    author.git("checkout", "--quiet", "-b", "request")
    author.forget(ONE)
    assert author.ledger().problem() is None
    author.git("push", "--quiet", "origin", "request")

    other = repository.clone(tmp_path / "other")
    other.git("remote", "set-url", "origin", str(host))
    other.forget(TWO)
    other.git("push", "--quiet", "origin", "main")

    # CI checks the branch head out, without a local branch, and with all history.
    ci = repository.clone(tmp_path / "ci")
    ci.git("remote", "set-url", "origin", str(host))
    ci.git("fetch", "--quiet", "origin")
    ci.git("checkout", "--quiet", "--detach", "origin/request")
    ci.git("branch", "-D", "main")
    ledger = ci.ledger()
    assert ledger.problem() is None
    assert ledger.behind == {token_of(TWO)}
    assert any("merge it" in note for note in ledger.notes())
    ci.run_forget()
    assert token_of(ONE) not in ci.retained()
    ci.git("merge", "--quiet", "origin/main", "-m", "base")
    assert ci.lines() == tokens([ONE, TWO])
    assert ci.ledger().notes() == []

    # The host's button: a merge without drivers, here one that git can do by itself.
    other.git("fetch", "--quiet")
    other.git("merge", "--quiet", "--no-ff", "-m", "button", "origin/request")
    assert other.lines() == tokens([ONE, TWO])
    assert other.ledger().problem() is None
    # The author's own main is behind; their branch is not stopped, and after a pull all is well.
    other.git("push", "--quiet", "origin", "main")
    author.git("fetch", "--quiet")
    author.git("checkout", "--quiet", "main")
    assert "ahead" in stopped(author)
    author.git("pull", "--quiet", "origin", "main")
    assert author.ledger().problem() is None


def test_two_branches_that_add_requests_merge_without_a_conflict(repository: GitProject) -> None:
    repository.git("checkout", "--quiet", "-b", "side")
    repository.forget(*IDS[:6])
    repository.git("checkout", "--quiet", "main")
    repository.forget(*IDS[6:12])
    repository.git("merge", "--quiet", "-m", "both", "side")

    assert repository.lines() == tokens(IDS[:12])
    log = read_log(repository.context.project)
    assert len(log.heads) == 2
    repository.forget(IDS[12])
    assert len(read_log(repository.context.project).heads) == 1


def test_a_shallow_clone_says_that_history_was_not_checked(
    repository: GitProject, tmp_path: Path
) -> None:
    repository.forget(ONE)
    revert(repository)
    repository.commit("later")

    shallow = repository.clone(tmp_path / "shallow", "--depth", "1")

    ledger = shallow.ledger()
    assert ledger.checked == "shallow"
    assert any("shallow" in note for note in ledger.notes())
    assert ledger.problem() is None
    whole = repository.clone(tmp_path / "whole")
    assert whole.ledger().problem() is not None


def test_without_git_there_is_no_history(repository: GitProject) -> None:
    shutil.rmtree(repository.root / ".git")

    ledger = repository.ledger()
    assert ledger.checked == "no history"
    # The log alone knows of a request.
    repository.forget(ONE, commit=False)
    repository.context.project.forget_list.write_bytes(b"")
    assert "data/requests" in stopped(repository)


def test_a_restored_request_may_be_gone_until_it_is_asked_for_again(
    repository: GitProject,
) -> None:
    repository.forget(ONE, TWO, ticket="T-1")
    found = restore(repository.context, Wanted(((ONE, "--id"),)), [], "W-1")
    repository.commit("restored")

    assert found.lines == (token_of(ONE),)
    assert repository.lines() == {token_of(TWO)}
    repository.run_forget()
    assert token_of(ONE) in repository.retained()
    repository.forget(ONE)
    edit(repository)
    with pytest.raises(InputError, match="2 lines left the forget list"):
        repository.run_forget()


def test_a_request_is_restored_by_its_ticket(repository: GitProject) -> None:
    repository.forget(ONE, TWO, ticket="T-1")
    repository.forget(THREE, ticket="T-2")

    restore(repository.context, Wanted(), ["T-1"], None)

    assert repository.lines() == {token_of(THREE)}
    with pytest.raises(InputError, match="no request with the ticket"):
        restore(repository.context, Wanted(), ["T-9"], None)
    with pytest.raises(InputError, match="1 of 1 ids are not on the forget list"):
        restore(repository.context, Wanted(((IDS[9], "line 1"),)), [], None)
    assert repository.lines() == {token_of(THREE)}


def test_a_revision_is_checked_by_itself(repository: GitProject) -> None:
    repository.forget(ONE)
    revert(repository)

    assert lines_lost_at(repository.root, "HEAD~1") == {}
    assert set(lines_lost_at(repository.root, "HEAD")) == {token_of(ONE)}


def test_raw_ids_in_the_history_count_where_the_key_is_at_hand(repository: GitProject) -> None:
    repository.write_by_hand(ONE, "r9999")
    repository.commit("by hand")
    edit(repository)

    ledger = repository.ledger()

    assert set(ledger.lost) == {token_of(ONE)}
    without_key = check_ledger(repository.context.project, "main", None)
    assert without_key.lost == {}
    assert without_key.unchecked == 2


def test_the_line_of_a_person_covers_their_records(tmp_path: Path) -> None:
    project = make_git_project(tmp_path / "people", subjects=4)
    person = token_of("p001", "subject")
    project.write_by_hand(f"{person}.{token_of(ONE)}")
    project.commit("one record")
    project.context.project.forget_list.write_text(f"{person}\n", encoding="ascii")
    assert project.ledger().problem() is None
    project.commit("whole person")
    project.context.project.forget_list.write_text(f"{person}.{token_of(ONE)}\n", encoding="ascii")
    assert set(project.ledger().lost) == {person}


def test_an_anchor_names_requests_that_are_missing(
    repository: GitProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    anchor = tmp_path / "heads"
    monkeypatch.setenv(ANCHOR_VARIABLE, str(anchor))
    repository.forget(ONE)
    repository.forget(TWO)
    assert anchor.read_text(encoding="ascii").split() == list(
        read_log(repository.context.project).heads
    )
    assert repository.ledger().problem() is None

    # A clone from before, where git has nothing of it.
    old = repository.clone(tmp_path / "old", "--depth", "1")
    old.git("reset", "--quiet", "--hard")
    shutil.rmtree(old.root / "data/requests")
    old.context.project.forget_list.write_bytes(b"")
    problem = old.ledger().problem()
    assert problem is not None
    assert os.fspath(anchor) not in problem.message


def test_an_anchor_that_cannot_be_written_refuses_the_request(
    repository: GitProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ANCHOR_VARIABLE, str(tmp_path / "no such folder" / "heads"))

    with pytest.raises(InputError, match="not writable"):
        repository.forget(ONE)
    assert repository.lines() == set()
    assert read_log(repository.context.project).entries == ()


def test_an_anchor_without_entries_is_named(
    repository: GitProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.forget(ONE)
    monkeypatch.setenv(ANCHOR_VARIABLE, str(tmp_path / "a wrong path"))

    assert any("names no entry" in note for note in repository.ledger().notes())


def test_versions_that_were_read_are_not_read_again(repository: GitProject) -> None:
    for raw in IDS[:3]:
        repository.forget(raw)
    kept = repository.context.project.history
    assert repository.ledger().problem() is None
    whole = kept.read_bytes()
    versions = repository.git("log", "--format=", "--raw", "--no-abbrev").split()

    names = json.loads(whole)["objects"]
    assert set(names) <= set(versions)
    # Three versions of the list, its empty start, and the entries.
    assert len(names) == 7
    # What is kept hides no loss: neither of a line, nor of a file that somebody wrote.
    edit_without_commit(repository)
    assert len(repository.ledger().lost) == 3
    forged = json.loads(whole) | {"list": []}
    kept.write_text(json.dumps(forged), encoding="ascii")
    assert len(repository.ledger().lost) == 3
    for damaged in (b"", b"[]", whole[:-9]):
        kept.write_bytes(damaged)
        assert len(repository.ledger().lost) == 3
