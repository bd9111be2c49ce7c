"""In CI: a clone, a pull, one line of the list, and only what it touches runs."""

from pathlib import Path

import pytest

from tests.conftest import Repo, fresh_models, keep_apart, make_frame, make_project
from tests.pipeline.conftest import FORGOTTEN, KEY, ids_at, stages_run


def _clone(origin: Path, target: Path) -> Repo:
    Repo(target.parent).git("clone", "--quiet", "--branch", "main", str(origin), str(target))
    keep_apart(target)
    clone = Repo(target)
    clone.git("config", "user.email", "ci@example.org")
    clone.git("config", "user.name", "CI")
    return clone


@pytest.mark.slow
def test_a_pushed_line_runs_only_its_shard_in_a_clone_and_resumes_at_its_slice(
    forgotten: Repo, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = workspace / "origin.git"
    Repo(workspace).git("init", "--quiet", "--bare", str(origin))
    forgotten.git("remote", "add", "origin", str(origin))
    forgotten.dvc("remote", "add", "--default", "store", str(workspace / "store"))
    forgotten.commit("remote")
    forgotten.git("push", "--quiet", "origin", "HEAD:main")
    forgotten.dvc("push", "--quiet")

    # Someone with the key puts a line on the list and pushes it; nothing is run there.
    line = ids_at(forgotten, "s002", range(4, 5))[0]
    forgotten.forget([line], "--ticket", "T-7")
    forgotten.commit("request")
    forgotten.git("push", "--quiet", "origin", "HEAD:main")

    monkeypatch.setenv("UNLEARN_KEY", (forgotten.root / "unlearn.key").read_text().strip())
    clone = _clone(origin, workspace / "clone")
    assert not (clone.root / "unlearn.key").exists()
    clone.dvc("pull", "--quiet")
    done = clone.dvc("repro")

    assert stages_run(done.out) == ["forget", "train@s002", "aggregate", "verify"]
    assert "train@s002: 27 rows, resumed at slice 4 of 5" in done.err
    assert clone.ok("verify", "--json").json["verdict"] == "pass"
    audit = clone.ok("audit", "HEAD~1..", "--json").json
    assert (audit["forgotten"], audit["retrained"]) == (1, ["train@s002"])
    assert audit["verdict"] == "consistent"
    expected = fresh_models(forgotten, workspace / "room", [*FORGOTTEN, line])
    assert clone.files("models") == expected

    clone.dvc("push", "--quiet")
    clone.commit("forget one")
    clone.git("push", "--quiet", "origin", "HEAD:main")
    monkeypatch.delenv("UNLEARN_KEY")
    forgotten.git("pull", "--quiet", "--ff-only", "origin", "main")
    forgotten.dvc("pull", "--quiet")
    assert forgotten.files("models") == expected
    assert forgotten.dvc("status", "train", "aggregate").out.startswith("Data and pipelines are up")


def test_a_request_that_was_committed_before_it_was_carried_out_explains_the_change(
    forgotten: Repo,
) -> None:
    done = {
        name: (forgotten.root / name).read_bytes() for name in ("dvc.lock", "reports/verdict.json")
    }
    forgotten.git("checkout", "--quiet", "HEAD~1", *done)
    forgotten.git("commit", "--quiet", "-m", "request")
    for name, content in done.items():
        (forgotten.root / name).write_bytes(content)

    found = forgotten.inline("audit", "--json").json

    assert found["retrained"] == ["train@s001", "train@s003"]
    assert found["unexplained"] == []


@pytest.mark.slow
@pytest.mark.parametrize("model", ["exact_forest", "exact_boosting"])
def test_a_clone_changes_the_model_that_it_pulled(
    model: str, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state comes with the model; rows that go are in the forget set of the clone's own run."""
    origin = workspace / "origin.git"
    Repo(workspace).git("init", "--quiet", "--bare", "--initial-branch", "main", str(origin))
    project = make_project(workspace / "project", make_frame(300), "--model", model, key=KEY)
    project.ok("repro", "-j", "1")
    project.git("remote", "add", "origin", str(origin))
    project.dvc("remote", "add", "--default", "store", str(workspace / "store"))
    project.commit("first run")
    project.git("push", "--quiet", "origin", "HEAD:main")
    project.dvc("push", "--quiet")
    first, second = ids_at(project, "s000")[:2]

    monkeypatch.setenv("UNLEARN_KEY", KEY)
    clone = _clone(origin, workspace / "clone")
    clone.dvc("pull", "--quiet")
    assert clone.files("models") == project.files("models")
    clone.forget([first])
    clone.forget([second])

    assert "changed by 2 rows" in clone.ok("repro", "-j", "1").err
    assert clone.files("models") == fresh_models(project, workspace / "room", [first, second])
    assert clone.ok("verify", "--json").json["verdict"] == "pass"
