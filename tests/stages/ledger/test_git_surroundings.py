"""Lost requests are found whatever the clone, the settings and the surroundings of git are like."""

import os
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from unlearn.stages.errors import ToolError
from unlearn.stages.ledger.log import read_log
from unlearn.stages.project.paths import Project
from unlearn.stages.requests.id_file import Wanted
from unlearn.stages.requests.request import put_back_lost, write_change
from unlearn.stages.requests.restore import restore

from tests.stages.conftest import token_of
from tests.stages.ledger.repositories import IDS, GitProject, set_user, tokens

ONE, TWO, THREE = IDS[:3]


def take_back(project: GitProject, *ids: str) -> None:
    wanted = Wanted(tuple((raw, f"line {n}") for n, raw in enumerate(ids, start=1)))
    restore(project.context, wanted, [], None)
    project.commit("restore")


def empty_list(project: GitProject) -> None:
    """Delete all requests from the working tree, and their log."""
    shutil.rmtree(project.root / "data/requests")
    project.context.project.forget_list.write_bytes(b"")


def lose_request(project: GitProject) -> None:
    project.forget(ONE)
    project.git("reset", "--quiet", "--hard", "HEAD~1")


def in_folder(built: GitProject, folder: Path) -> GitProject:
    """Return a project in a folder of a larger repository, which has lost a request."""
    project = built.copy(folder)
    shutil.rmtree(project.root / ".git")
    subprocess.run(["git", "init", "-q", "--initial-branch=main"], cwd=folder.parent, check=True)
    set_user(folder.parent)
    project.commit("start")
    project.forget(ONE)
    empty_list(project)
    project.commit("emptied")
    return project


# A request that was taken back and then made again.


@pytest.fixture
def asked_again(repository: GitProject) -> GitProject:
    repository.forget(ONE)
    take_back(repository, ONE)
    repository.git("branch", "before")
    repository.forget(ONE)
    return repository


def test_a_renewed_request_is_missed_in_an_older_commit(asked_again: GitProject) -> None:
    asked_again.git("checkout", "--quiet", "--detach", "HEAD~1")

    assert asked_again.ledger().ahead == tokens([ONE])


@pytest.mark.parametrize(
    "undo", [("reset", "-q", "--hard", "HEAD~1"), ("revert", "--no-edit", "HEAD")]
)
def test_a_renewed_request_is_missed_when_it_is_undone(
    asked_again: GitProject, undo: tuple[str, ...]
) -> None:
    asked_again.git(*undo)

    assert asked_again.ledger().lost.keys() == tokens([ONE])
    put_back_lost(asked_again.context)
    assert asked_again.lines() == tokens([ONE])
    assert asked_again.ledger().problem() is None


def test_a_renewed_request_is_named_on_a_branch_from_before(asked_again: GitProject) -> None:
    asked_again.git("checkout", "--quiet", "before")
    asked_again.commit("own work")

    assert asked_again.ledger().problem() is None
    assert asked_again.ledger().behind == tokens([ONE])


def test_a_request_that_the_default_branch_took_back_is_not_missed(repository: GitProject) -> None:
    repository.forget(ONE)
    take_back(repository, ONE)
    repository.git("checkout", "--quiet", "--detach", "HEAD~2")

    ledger = repository.ledger()
    assert (ledger.problem(), ledger.notes()) == (None, [])


@pytest.mark.parametrize("by_ticket", [False, True])
def test_a_request_that_a_reset_removed_can_be_taken_back(
    repository: GitProject, by_ticket: bool
) -> None:
    """As after a request for the wrong record, which was committed and not pushed."""
    repository.forget(TWO)
    repository.forget(ONE, ticket="T-1")
    repository.git("reset", "--quiet", "--hard", "HEAD~1")
    assert repository.ledger().lost.keys() == tokens([ONE])

    wanted = Wanted() if by_ticket else Wanted(((ONE, "--id"),))
    restore(repository.context, wanted, ["T-1"] if by_ticket else [], None)
    assert repository.ledger().problem() is None
    assert repository.ledger().notes() == []
    repository.commit("restore")
    assert repository.ledger().problem() is None
    assert repository.lines() == tokens([TWO])


# Merges and stashes.


def test_a_merge_that_is_not_committed_yet_loses_no_request(repository: GitProject) -> None:
    repository.git("checkout", "--quiet", "-b", "feature")
    repository.forget(ONE)
    repository.git("checkout", "--quiet", "main")
    repository.forget(TWO)
    repository.git("merge", "--quiet", "-s", "ours", "--no-commit", "feature")

    assert repository.ledger().lost.keys() == tokens([ONE])


def test_an_octopus_merge_loses_no_request(repository: GitProject) -> None:
    names = []
    for raw in (ONE, TWO, THREE):
        names.append(f"feature-{raw}")
        repository.git("checkout", "--quiet", "-b", names[-1], "main")
        repository.forget(raw)
    repository.git("checkout", "--quiet", "main")
    repository.git("merge", "--quiet", "-s", "ours", "-m", "all", *names)
    repository.git("branch", "--quiet", "-D", *names)

    assert repository.ledger().lost.keys() == tokens([ONE, TWO, THREE])


def test_requests_in_older_stashes_are_named(repository: GitProject) -> None:
    for raw in (ONE, TWO):
        repository.forget(raw, commit=False)
        repository.git("stash", "--quiet", "--include-untracked")

    named = repository.ledger().elsewhere
    assert named == {"refs/stash": tokens([TWO]), "stash@{1}": tokens([ONE])}


def test_requests_that_only_a_tag_has_are_named(repository: GitProject, tmp_path: Path) -> None:
    for raw, options in ((ONE, ()), (TWO, ("-a", "-m", "annotated"))):
        repository.git("checkout", "--quiet", "-b", f"branch-{raw}", "main")
        repository.forget(raw)
        repository.git("tag", *options, f"tag-{raw}")
    repository.git("checkout", "--quiet", "main")
    repository.git("branch", "--quiet", "-D", f"branch-{ONE}", f"branch-{TWO}")
    repository.git("tag", "a-file", repository.git("rev-parse", "HEAD:.gitignore").strip())
    clone = repository.clone(tmp_path / "clone")

    assert clone.ledger().elsewhere == {f"refs/tags/tag-{raw}": tokens([raw]) for raw in (ONE, TWO)}


def test_entries_of_the_log_that_were_deleted_come_back(repository: GitProject) -> None:
    repository.forget(ONE, ticket="T-1")
    repository.forget(TWO, ticket="T-2")
    assert repository.ledger().notes() == []
    before = read_log(repository.context.project)
    first = next(entry for entry in before.entries if entry.ticket == "T-1")
    path = repository.context.project.request_file(first.name)
    path.unlink()
    for message in ("deleted", "later"):
        repository.commit(message)
        assert any("1 entry of the request log left" in n for n in repository.ledger().notes())

    assert repository.ledger().problem() is None
    assert put_back_lost(repository.context) == 0
    assert read_log(repository.context.project) == before
    assert repository.ledger().notes() == []
    # A revert takes the line and its entry.
    repository.commit("put back")
    repository.git("revert", "--no-edit", "HEAD~3")
    put_back_lost(repository.context)
    assert repository.lines() == tokens([ONE, TWO])
    assert {entry.ticket for entry in read_log(repository.context.project).entries} == {
        "T-1",
        "T-2",
        None,
    }


def test_what_is_no_file_among_the_entries_is_left_alone(repository: GitProject) -> None:
    repository.forget(ONE)
    (repository.context.project.requests / "folder.json").mkdir()
    os.mkfifo(repository.context.project.requests / "pipe.json")

    assert repository.ledger().problem() is None


# What is in a clone.


def test_a_partial_clone_without_its_remote_says_what_was_not_compared(
    repository: GitProject, tmp_path: Path
) -> None:
    repository.forget(ONE)
    empty_list(repository)
    repository.commit("emptied")
    repository.git("config", "uploadpack.allowFilter", "true")
    for number, kind in enumerate(("blob:none", "tree:0")):
        clone = repository.clone(tmp_path / str(number), f"--filter={kind}")
        clone.git("remote", "set-url", "origin", "file:///nowhere")
        assert clone.ledger().checked == "incomplete"
        assert any("could not read" in note for note in clone.ledger().notes())
        clone.git("remote", "set-url", "origin", repository.root.as_uri())
        assert clone.ledger().lost.keys() == tokens([ONE])


def test_a_clone_without_the_default_branch_says_so(repository: GitProject, tmp_path: Path) -> None:
    repository.forget(ONE)
    repository.git("tag", "v1", "HEAD~1")
    clone = repository.clone(tmp_path / "clone", "--branch=v1", "--single-branch")

    for branch in ("main", None):
        notes = clone.ledger(branch).notes()
        assert len(notes) == 1
        assert "with no default branch" in notes[0]
    repository.git("branch", "-m", "main", "trunk")
    assert any("no branch main" in note for note in repository.ledger().notes())
    assert not any("no branch" in note for note in repository.ledger("trunk").notes())


def test_the_default_branch_may_be_on_a_remote_of_another_name(
    repository: GitProject, tmp_path: Path
) -> None:
    repository.forget(ONE)
    clone = repository.clone(tmp_path / "clone", "--origin=upstream")
    clone.git("checkout", "--quiet", "--detach", "HEAD~1")
    clone.git("branch", "--quiet", "-D", "main")

    for branch in ("main", None):
        assert clone.ledger(branch).ahead == tokens([ONE])


def test_before_the_first_commit_of_a_branch_the_default_one_is_compared(
    repository: GitProject,
) -> None:
    repository.forget(ONE)
    repository.git("checkout", "--quiet", "--orphan", "new")
    empty_list(repository)

    assert repository.ledger().behind == tokens([ONE])


def test_a_repository_that_git_refuses_stops_the_run(repository: GitProject) -> None:
    (repository.root / ".git/HEAD").write_text("nonsense\n", encoding="ascii")

    with pytest.raises(ToolError, match="git cannot read the repository"):
        repository.ledger()


# Names, variables and settings.


def test_a_branch_may_have_any_name(repository: GitProject) -> None:
    for name in ("zweig/\u00fc-\u2014".encode(), b"br\xe4nch"):
        subprocess.run(
            [b"git", b"checkout", b"-q", b"-b", name, b"main"], cwd=repository.root, check=True
        )
        lose_request(repository)
        assert repository.ledger().lost.keys() == tokens([ONE])
        repository.forget(ONE)
        repository.git("checkout", "--quiet", "main")
    assert all(note.isprintable() for note in repository.ledger().notes())


@pytest.mark.parametrize("folder", ["part", "teil-\u00fc", 'a"b', "a\tb"])
def test_a_project_may_be_a_folder_of_a_repository(
    built_repository: GitProject, tmp_path: Path, folder: str
) -> None:
    (tmp_path / "top").mkdir()
    project = in_folder(built_repository, tmp_path / "top" / folder)

    assert project.ledger().lost.keys() == tokens([ONE])
    # Raw lines of older projects are in no entry of the log.
    project.write_by_hand(TWO)
    project.commit("by hand")
    empty_by_hand = project.context.project.forget_list
    empty_by_hand.write_bytes(b"")
    project.commit("emptied")
    assert project.ledger().lost.keys() == tokens([ONE, TWO])


@pytest.mark.parametrize("where", [".git", "absolute"])
def test_a_hook_of_git_may_call(
    built_repository: GitProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    (tmp_path / "top").mkdir()
    project = in_folder(built_repository, tmp_path / "top" / "part")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "top/.git") if where == "absolute" else where)
    monkeypatch.setenv("GIT_INDEX_FILE", ".git/index")
    monkeypatch.setenv("GIT_PREFIX", "part/")

    assert project.ledger().lost.keys() == tokens([ONE])


def test_variables_of_git_change_nothing(
    repository: GitProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_request(repository)
    for name, value in {
        "GIT_WORK_TREE": "/",
        "GIT_OBJECT_DIRECTORY": "/nowhere",
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_PAGER": "cat -A",
        "GIT_EXTERNAL_DIFF": "false",
        "GIT_TRACE": "1",
    }.items():
        monkeypatch.setenv(name, value)

    assert repository.ledger().lost.keys() == tokens([ONE])


def test_settings_of_a_user_change_nothing(repository: GitProject) -> None:
    for name, value in {
        "log.follow": "true",
        "log.date": "raw",
        "log.showSignature": "true",
        "log.showRoot": "false",
        "log.diffMerges": "off",
        "log.abbrevCommit": "true",
        "log.decorate": "full",
        "format.pretty": "fuller",
        "format.notes": "true",
        "i18n.logOutputEncoding": "UTF-16",
        "diff.noprefix": "true",
        "diff.renames": "copies",
        "diff.relative": "true",
        "diff.external": "false",
        "core.quotePath": "true",
        "core.abbrev": "4",
        "core.pager": "cat -A",
        "color.ui": "always",
    }.items():
        repository.git("config", name, value)
    lose_request(repository)
    assert repository.ledger().lost.keys() == tokens([ONE])
    repository.git("checkout", "--quiet", "-b", "feature")
    repository.forget(TWO)
    repository.git("checkout", "--quiet", "main")
    repository.git("merge", "--quiet", "-s", "ours", "-m", "merged", "feature")

    assert repository.ledger().lost.keys() == tokens([ONE, TWO])


def test_a_list_or_a_log_that_git_ignores_is_named(repository: GitProject) -> None:
    for pattern in ("*.json", "requests/"):
        ignores = repository.root / ".git/info/exclude"
        (repository.root / ".gitignore").unlink(missing_ok=True)
        ignores.write_text(f"{pattern}\n", encoding="ascii")
        assert any("git ignores" in note for note in repository.ledger().notes())
    ignores.write_text("*.txt\n", encoding="ascii")
    assert repository.ledger().notes() == []  # git tracks the list already


@pytest.mark.slow
def test_many_branches_and_rewritten_commits_take_no_time(repository: GitProject) -> None:
    repository.forget(ONE)
    tree = repository.git("rev-parse", "HEAD^{tree}").strip()
    for number in range(300):
        message = ["-p", "HEAD", "-m", str(number)]
        commit = repository.git("commit-tree", tree, *message).strip()
        ref = f"refs/heads/b{number}" if number % 2 else "HEAD"
        repository.git("update-ref", "--create-reflog", ref, commit)
    repository.git("checkout", "--quiet", "-b", "feature")
    repository.forget(TWO)
    repository.git("checkout", "--quiet", "main")
    started = time.perf_counter()
    named = repository.ledger().elsewhere

    assert named == {"refs/heads/feature": tokens([TWO])}
    assert time.perf_counter() - started < 2  # one process of git for each place would take longer


def test_a_worktree_is_a_clone_as_well(repository: GitProject, tmp_path: Path) -> None:
    """A worktree shares the reflogs of its branches."""
    lose_request(repository)
    repository.git("branch", "other")
    repository.git("checkout", "--quiet", "other")
    repository.git("worktree", "add", "--quiet", str(tmp_path / "tree"), "main")
    tree = GitProject(replace(repository.context, project=Project(tmp_path / "tree")))

    assert tree.ledger().lost.keys() == tokens([ONE])


def test_a_canary_in_no_shard_can_be_taken_back(repository: GitProject) -> None:
    line = f"{token_of('canary')}.left-out"
    write_change(repository.context.project, "forget", added=[line])
    repository.commit()
    write_change(repository.context.project, "restore", removed=[line])
    repository.commit()

    assert repository.lines() == set()
    assert repository.ledger().problem() is None
    write_change(repository.context.project, "forget", added=[line])
    repository.context.project.forget_list.write_bytes(b"")
    assert repository.ledger().lost.keys() == {token_of("canary")}
