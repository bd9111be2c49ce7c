"""The CI templates: every shell step is run, against a bare repository and a folder remote."""

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from unlearn.cli.init.request import REQUIREMENTS, CiSystem
from unlearn.cli.init.requirements import render_requirements
from unlearn.cli.init.setup import write_workflow

from tests.conftest import Done, Repo, fresh_models, keep_apart
from tests.pipeline.conftest import FORGOTTEN, ids_at

#: Answers for the hosts' own command-line tools; each call is written down.
_STUB = '#!/bin/sh\nprintf "%s " "$(basename "$0")" "$@" >> "$STUBS_LOG"; echo >> "$STUBS_LOG"\n'


@dataclass(frozen=True)
class Host:
    """A bare repository with a project whose `main` has a pull request against it."""

    origin: Path
    key: str
    one: str
    two: str
    room: dict[str, bytes]


@pytest.fixture
def host(forgotten: Repo, workspace: Path) -> Host:
    """One request on a branch, not run yet, and another that `main` has carried out meanwhile."""
    origin = workspace / "origin.git"
    Repo(workspace).git("init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    forgotten.git("branch", "--quiet", "-M", "main")
    forgotten.git("remote", "add", "origin", str(origin))
    forgotten.dvc("remote", "add", "--default", "store", str(workspace / "store"))
    for system in CiSystem:
        write_workflow(forgotten.root, system, is_text=False)
        (forgotten.root / REQUIREMENTS).unlink()
    forgotten.commit("remote and workflows")
    one, two = ids_at(forgotten, "s000")[0], ids_at(forgotten, "s002")[0]
    forgotten.git("checkout", "--quiet", "-b", "request")
    forgotten.forget([one])
    forgotten.commit("request")
    forgotten.git("checkout", "--quiet", "main")
    forgotten.forget([two])
    forgotten.ok("repro", "-j", "1")
    forgotten.commit("carried out on main")
    forgotten.git("push", "--quiet", "origin", "main", "request")
    forgotten.dvc("push", "--quiet")
    room = fresh_models(forgotten, workspace / "room", [*FORGOTTEN, one, two])
    key = (forgotten.root / "unlearn.key").read_text(encoding="ascii").strip()
    return Host(origin, key, one, two, room)


def clone(host: Host, target: Path, branch: str) -> Repo:
    """Return what a checkout action leaves: all history, a detached HEAD, no key."""
    Repo(target.parent).git("clone", "--quiet", str(host.origin), str(target))
    keep_apart(target)
    repo = Repo(target)
    repo.git("checkout", "--quiet", "--detach", f"origin/{branch}")
    repo.git("branch", "--quiet", "-D", "main")
    return repo


def run_steps(
    repo: Repo, steps: list[tuple[str, Mapping[str, str]]], environment: Mapping[str, str]
) -> Done:
    """Run shell steps one after another, until one fails; hosts' tools are stubs."""
    stubs = repo.root.parent / f"{repo.root.name}-stubs"
    stubs.mkdir()
    for name in ("gh", "curl"):
        (stubs / name).write_text(_STUB, encoding="ascii")
        (stubs / name).chmod(0o755)
    base = {**os.environ, "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z", **environment}
    base["PATH"] = f"{stubs}:{base['PATH']}"
    base["STUBS_LOG"] = str(stubs / "log")
    out = err = ""
    for script, own in steps:
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            cwd=repo.root,
            env={**base, **own},
            text=True,
            capture_output=True,
            check=False,
        )
        out, err = out + done.stdout, err + done.stderr
        if done.returncode:
            return Done(done.returncode, out, err)
    log = stubs / "log"
    return Done(0, out + (log.read_text(encoding="utf-8") if log.exists() else ""), err)


def github_steps(host: Host, repo: Repo) -> list[tuple[str, Mapping[str, str]]]:
    """Return the shell steps of a pull request, with the values of their expressions."""
    workflow = yaml.safe_load((repo.root / CiSystem.GITHUB.path).read_text(encoding="utf-8"))
    temporary = repo.root.parent / f"{repo.root.name}-temp"
    temporary.mkdir()
    outputs = temporary / "outputs"
    values = {
        "inputs.now && '--now' || ''": "",
        "secrets.UNLEARN_KEY": host.key,
        "github.event.pull_request.base.ref || github.event.repository.default_branch": "main",
        "github.event.pull_request.head.ref || github.ref_name": "request",
        "github.event.pull_request.number": "7",
        "github.token": "token",
        "runner.temp": str(temporary),
    }

    def filled(text: str) -> str:
        return re.sub(r"\$\{\{ (.+?) \}\}", lambda match: values[match[1]], text)

    steps: list[tuple[str, Mapping[str, str]]] = []
    for step in workflow["jobs"]["unlearn"]["steps"]:
        if "run" in step and step["name"] not in ("Stop for forks", "Install"):
            own = {name: filled(value) for name, value in step.get("env", {}).items()}
            files = {"RUNNER_TEMP": str(temporary), "GITHUB_OUTPUT": str(outputs)}
            steps.append((_guarded(step, outputs), {**files, **own}))
    return steps


def _guarded(step: Mapping[str, str], outputs: Path) -> str:
    """Return the script of a step, which runs under the step's condition."""
    condition = step.get("if", "")
    # Skipped with the step `evidence`, which has this condition.
    if "steps.run.outputs.waits == '0'" in condition or "evidence.outcome" in condition:
        return f"grep -qx waits=0 {outputs} || exit 0\n{step['run']}"
    return step["run"]


def gitlab_steps(host: Host, repo: Repo) -> list[tuple[str, Mapping[str, str]]]:
    """Return the script of a merge request as one shell runs it."""
    job = yaml.safe_load((repo.root / CiSystem.GITLAB.path).read_text(encoding="utf-8"))
    lines = [line for line in job["unlearn"]["script"] if "pip install" not in line]
    values = {
        "UNLEARN_KEY": host.key,
        "UNLEARN_PROJECT_TOKEN": "token",
        "CI_PROJECT_URL": str(host.origin).removesuffix(".git"),
        "CI_SERVER_HOST": "example.org",
        "CI_DEFAULT_BRANCH": "main",
        "CI_API_V4_URL": "https://example.org/api/v4",
        "CI_MERGE_REQUEST_IID": "7",
        "CI_MERGE_REQUEST_PROJECT_ID": "1",
        "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "1",
        "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
        "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "request",
        "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": repo.git("rev-parse", "origin/request").strip(),
    }
    return [("\n".join(lines), values)]


STEPS = {"github": github_steps, "gitlab": gitlab_steps}


@pytest.mark.slow
@pytest.mark.parametrize("system", STEPS)
def test_a_request_on_a_branch_is_carried_out_and_pushed(
    host: Host, workspace: Path, system: str
) -> None:
    repo = clone(host, workspace / "ci", "request")

    done = run_steps(repo, STEPS[system](host, repo), {})

    assert done.code == 0, done.out + done.err
    assert repo.files("models") == host.room
    assert ("gh pr comment 7" if system == "github" else "curl --fail") in done.out
    # A second clone has it all, by git and by the DVC remote alone.
    after = clone(host, workspace / "after", "request")
    after.dvc("pull", "--quiet")
    assert after.files("models") == host.room
    assert after.git("log", "--format=%P", "-2").split()  # the merge is there
    assert after.inline("verify", "--public").code == 0
    tracked = after.git("ls-files").split()
    assert "reports/verify.json" not in tracked
    assert "unlearn.key" not in tracked
    pages = list(workspace.rglob("unlearn-report.html"))
    assert len(pages) == 1
    assert "<html" in pages[0].read_text(encoding="utf-8")

    # Merged by the host's button, main is what the job tested.
    after.git("push", "--quiet", "origin", "HEAD:main")
    again = clone(host, workspace / "again", "request")
    done = run_steps(again, STEPS[system](host, again), {})
    assert done.code == 0, done.err
    assert "request is up to date" in done.out


@pytest.mark.slow
@pytest.mark.parametrize("system", STEPS)
def test_a_request_that_waits_for_its_batch_is_merged_without_a_run(
    host: Host, workspace: Path, system: str
) -> None:
    author = clone(host, workspace / "author", "request")
    author.git("config", "user.email", "a@example.org")
    author.git("config", "user.name", "A")
    author.set_params(requests={"batch": {"at_least": 9, "at_most_days": 9}})
    author.commit("requests wait")
    author.git("push", "--quiet", "origin", "HEAD:request")
    before = author.git("ls-remote", str(host.origin))
    repo = clone(host, workspace / "ci", "request")

    done = run_steps(repo, STEPS[system](host, repo), {})

    assert done.code == 0, done.err
    assert "nothing was run: 1 request waits for 8 more" in done.out
    assert not {"gh", "curl"} & set(done.out.split())
    assert repo.git("ls-remote", str(host.origin)) == before

    # Whoever starts the job by hand need not wait.
    again = clone(host, workspace / "again", "request")
    steps = STEPS[system](host, again)
    now = {"UNLEARN_NOW": "1"} if system == "gitlab" else {"NOW": "--now"}
    done = run_steps(again, [(script, {**own, **now}) for script, own in steps], {})
    assert done.code == 0, done.err
    after = clone(host, workspace / "after", "request")
    after.dvc("pull", "--quiet")
    assert after.files("models") == host.room


@pytest.mark.slow
@pytest.mark.parametrize("system", STEPS)
def test_a_branch_that_reverts_a_request_is_refused_and_nothing_is_pushed(
    host: Host, workspace: Path, system: str
) -> None:
    author = clone(host, workspace / "author", "request")
    author.git("config", "user.email", "a@example.org")
    author.git("config", "user.name", "A")
    author.git("revert", "--no-edit", "HEAD")
    author.git("push", "--quiet", "origin", "HEAD:request")
    before = author.git("ls-remote", str(host.origin))
    repo = clone(host, workspace / "ci", "request")

    done = run_steps(repo, STEPS[system](host, repo), {})

    assert done.code == 2
    assert "left the forget list" in done.err
    assert repo.git("ls-remote", str(host.origin)) == before


def test_the_requirements_pin_what_is_installed_here() -> None:
    lines = render_requirements().decode().splitlines()

    pins = dict(line.split("==") for line in lines if "==" in line)
    assert pins.pop("torch").endswith("+cpu")
    assert pins.pop("dvc-unlearn") == metadata.version("dvc-unlearn")
    assert {"dvc", "pandas", "scikit-learn", "numpy", "pygit2"} <= pins.keys()
    assert pins == {name: metadata.version(name) for name in pins}
    assert "transformers" not in pins
    assert "transformers" in render_requirements(("llm",)).decode()
    assert not pins.keys() & {"pytest", "ruff", "mypy"}


@pytest.mark.parametrize("system", list(CiSystem))
def test_a_workflow_checks_all_history_out_and_can_be_started_by_hand(
    tmp_path: Path, system: CiSystem
) -> None:
    write_workflow(tmp_path, system, is_text=False)

    text = (tmp_path / system.path).read_text(encoding="utf-8")
    assert (tmp_path / REQUIREMENTS).is_file()
    assert f"-r {REQUIREMENTS}" in text
    if system is CiSystem.GITHUB:
        # YAML 1.1 reads the key `on` as true.
        workflow = yaml.safe_load(text)
        assert "workflow_dispatch" in workflow[True]
        checkout = next(s for s in workflow["jobs"]["unlearn"]["steps"] if "fetch-depth" in str(s))
        assert checkout["with"]["fetch-depth"] == 0
        return
    job = yaml.safe_load(text)["unlearn"]
    assert job["variables"]["GIT_DEPTH"] == "0"
    assert any(rule["if"] == '$CI_PIPELINE_SOURCE == "web"' for rule in job["rules"])
