"""`git add -A` never stages people's rows or models, whatever happened before it."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import Repo, fresh_models, without_log
from tests.pipeline.conftest import ids_at, kill_group, run_repro, wait_for


def _staged(repo: Repo) -> list[str]:
    """Return what git has below data/ and models/ after `git add -A`, beside what it may have."""
    repo.git("add", "-A")
    found = repo.git("ls-files", "data", "models", ".unlearn", "unlearn.key").splitlines()
    public = {"data/forget_list.txt", "data/dataset.csv.dvc", "models/README.md"}
    return sorted(without_log(found) - public)


def _unrun(repo: Repo) -> None:
    """Take away what runs made: ignore entries that DVC wrote on success, too."""
    (repo.root / "dvc.lock").unlink()
    for folder in ("data/shards", "data/retain_set", "data/forget_set", "models"):
        shutil.rmtree(repo.root / folder)
    for name in repo.root.rglob(".gitignore"):
        if name.parent not in (repo.root, repo.root / ".dvc"):
            name.unlink()


def test_after_runs_git_has_no_row_and_no_model(forgotten: Repo) -> None:
    assert _staged(forgotten) == []
    tracked = forgotten.git("ls-files").splitlines()
    assert {"dvc.lock", "params.yaml", "data/forget_list.txt"} <= set(tracked)
    # Figures are where the rows are.
    assert [name for name in tracked if name.startswith("reports")] == ["reports/verdict.json"]


@pytest.mark.parametrize("command", [pytest.param("unlearn", marks=pytest.mark.slow), "dvc"])
def test_after_a_training_that_fails_git_has_no_row_and_no_model(
    people: Repo, command: str
) -> None:
    _unrun(people)
    (people.root / ".unlearn/fail").touch()

    module = {"unlearn": "unlearn.cli", "dvc": "dvc"}[command]
    code, said = run_repro(people, module)

    assert code != 0
    assert "unexpected RuntimeError" in said
    assert (people.root / "data/retain_set/s000.parquet").is_file()
    assert _staged(people) == []


@pytest.mark.slow
@pytest.mark.parametrize("command", ["unlearn", "dvc"])
def test_after_a_kill_git_has_no_row_and_no_model(
    people: Repo, workspace: Path, command: str
) -> None:
    gone = ids_at(people, "s001", range(3, 4))
    people.forget(gone)
    _unrun(people)
    private = people.root / ".unlearn"
    (private / "hold").touch()
    module = {"unlearn": "unlearn.cli", "dvc": "dvc"}[command]
    run = people.start("repro", module=module)
    wait_for((private / "held").exists)
    kill_group(run)

    assert run.returncode == -9
    assert (people.root / "data/retain_set/s000.parquet").is_file()
    assert _staged(people) == []

    (private / "hold").unlink()
    if command == "unlearn":
        people.ok("repro", "-j", "1")
        assert people.files("models") == fresh_models(people, workspace / "room", gone)
        assert _staged(people) == []
