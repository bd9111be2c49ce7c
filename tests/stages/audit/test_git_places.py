"""What git holds in branches, tags, stashes and experiments; and Docker's ignore file."""

import subprocess
from pathlib import Path

import pytest
from unlearn.stages.audit.git_places import docker_finding, foreign_names, git_places
from unlearn.stages.audit.places import Place
from unlearn.stages.project.paths import Project


def git(project: Project, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=T", "-c", "user.email=t@example.org", *arguments],
        cwd=project.root,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a folder of a git repository, with a forget list."""
    project = Project(tmp_path / "repository/project")
    (project.root / "data/requests").mkdir(parents=True)
    project.forget_list.write_bytes(b"")
    (project.root / "data/requests/a.json").write_bytes(b"{}")
    (project.root / "data/rows.csv.dvc").write_bytes(b"")
    git(project, "init", "--quiet", "..")
    git(project, "add", "-A")
    git(project, "commit", "-m", "start")
    return project


def places(project: Project) -> dict[str, Place]:
    return {place.name: place for place in git_places(project, ["data/public.csv"])}


def commit_rows(project: Project, name: str = "data/rows.csv") -> None:
    path = project.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"rows")
    git(project, "add", "-A")
    git(project, "commit", "-m", "rows")


def test_nothing_is_found_where_there_is_nothing(project: Project) -> None:
    found = places(project)

    assert all(place.looked and not place.findings for place in found.values())
    assert [place.objects for place in found.values()] == [1, 0, 0, 0, 0]


@pytest.mark.parametrize("name", ["data/rows.csv", "models/m.skops", "unlearn.key", ".unlearn/x"])
def test_a_file_that_was_committed_once_is_found_for_good(project: Project, name: str) -> None:
    commit_rows(project, name)
    git(project, "rm", "--quiet", name)
    git(project, "commit", "-m", "gone")

    (said,) = places(project)["git's branches and tags"].findings

    assert said == f"1 file of rows, models or keys in git's branches and tags, such as {name}"
    assert foreign_names([name, "data/public.csv"], ["data/public.csv"]) == [name]


def test_other_branches_stashes_and_experiments_are_places_of_their_own(project: Project) -> None:
    start = git(project, "rev-parse", "HEAD")
    git(project, "checkout", "--quiet", "--detach")
    commit_rows(project)
    rows = git(project, "rev-parse", "HEAD")
    git(project, "update-ref", "refs/exps/ab/cd/exp", rows)
    git(project, "checkout", "--quiet", start)
    # Untracked files of a stash are in a commit of their own.
    (project.root / "data/new.csv").write_bytes(b"rows")
    git(project, "stash", "--include-untracked")
    (project.root / "later").write_bytes(b"")
    git(project, "stash", "--include-untracked")

    found = places(project)

    assert found["git's branches and tags"].findings == ()
    assert "such as data/rows.csv" in found["experiments of DVC"].findings[0]
    assert "such as data/new.csv" in found["git's stash"].findings[0]
    git(project, "tag", "old", rows)
    assert "such as data/rows.csv" in places(project)["git's branches and tags"].findings[0]


def test_a_shallow_clone_was_not_searched(project: Project, tmp_path: Path) -> None:
    commit_rows(project, "data/requests/b.json")
    top = project.root.parent
    git(project, "clone", "--quiet", "--depth", "1", f"file://{top}", str(tmp_path / "shallow"))

    found = places(Project(tmp_path / "shallow/project"))["git's branches and tags"]

    assert not found.looked
    assert found.why_not == "this is a shallow clone"


def test_workspaces_of_experiments_and_folders_without_git_are_named(
    project: Project, tmp_path: Path
) -> None:
    (project.root / ".dvc/tmp/exps/tmp1").mkdir(parents=True)
    (project.root / ".dvc/tmp/exps/tmp1/rows").write_bytes(b"")

    found = places(project)["workspaces of DVC's experiments"]

    assert (found.looked, found.objects) == (False, 1)
    bare = Project(tmp_path / "bare")
    bare.root.mkdir()
    assert [place.looked for place in places(bare).values()] == [False]


@pytest.mark.parametrize(
    ("lines", "covered"),
    [
        (None, False),
        ("data\n", False),
        ("unlearn.key\n", True),
        ("*\n!unlearn.key\n", False),
        ("**/*.key\n", True),
    ],
)
def test_an_image_with_the_key_is_found(project: Project, lines: str | None, covered: bool) -> None:
    project.key.write_bytes(b"key")
    assert docker_finding(project) is None, "no image is built here"
    (project.root / "Dockerfile").write_bytes(b"")
    if lines is not None:
        (project.root / ".dockerignore").write_text(lines, encoding="utf-8")

    assert (docker_finding(project) is None) == covered


def test_receipts_may_be_in_git_and_a_private_key_beside_them_may_not() -> None:
    digest = "0a" * 32
    kept = [f"data/receipts/{digest}.json", f"data/receipts/{digest}.tsr"]
    kept.append(f"data/receipts/keys/{digest}.json")
    others = ["data/receipts/annex.json", f"data/receipts/keys/{digest}.pem"]

    assert foreign_names([*kept, *others], []) == sorted(others)
