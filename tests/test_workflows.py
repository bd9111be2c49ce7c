"""CI files keep to their hosts' schemas, and their scripts to shellcheck."""

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import unlearn
import yaml
from unlearn.cli.init.files.requirements import REQUIREMENTS
from unlearn.cli.init.files.workflow import Workflow, files_above, find_workflow, is_included
from unlearn.cli.init.request.choices import CiSystem
from unlearn.stages.errors import InputError

from tests.ci_checks import ROOT, actionlint_problems, schema_problems, shell_problems
from tests.ci_jobs import Runner, agrees, evaluate, fill, read_yaml, run_github_steps

FOLDERS = ("", "models/churn")


def _ours() -> list[Path]:
    """Return the workflows of this repository."""
    return sorted((ROOT / ".github/workflows").glob("*.yml"))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[CiSystem, list[Path]]:
    """Return the workflows that `init --ci` writes, at the top of a repository and below it."""
    top = tmp_path_factory.mktemp("workflows")
    (top / ".git").mkdir()
    found: dict[CiSystem, list[Path]] = {system: [] for system in CiSystem}
    for system in CiSystem:
        for folder in FOLDERS:
            workflow = find_workflow(top / folder, system)
            path = top / workflow.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(workflow.render("main"))
            found[system].append(path)
    return found


def test_they_keep_to_the_schemas_of_their_hosts(written: dict[CiSystem, list[Path]]) -> None:
    github = [*written[CiSystem.GITHUB], *_ours()]
    assert schema_problems("github-workflows", github) == ""
    assert schema_problems("gitlab-ci", written[CiSystem.GITLAB]) == ""


def test_the_schemas_notice_a_key_that_there_is_not(
    written: dict[CiSystem, list[Path]], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.yml"
    text = written[CiSystem.GITHUB][0].read_text(encoding="utf-8")
    broken.write_text(text.replace("timeout-minutes", "timeout-minuets"), encoding="utf-8")

    assert "timeout-minuets" in schema_problems("github-workflows", [broken])


def test_shellcheck_finds_nothing_in_their_scripts(
    written: dict[CiSystem, list[Path]], tmp_path: Path
) -> None:
    paths = [*written[CiSystem.GITHUB], *written[CiSystem.GITLAB], *_ours()]
    assert shell_problems(paths, tmp_path) == ""

    broken = tmp_path / "broken.yml"
    broken.write_text('jobs: {a: {steps: [{run: "cd $there && rm -r $1"}]}}', encoding="utf-8")
    assert "SC2086" in shell_problems([broken], tmp_path)


def test_actionlint_finds_nothing(written: dict[CiSystem, list[Path]], tmp_path: Path) -> None:
    broken = tmp_path / "broken.yml"
    text = written[CiSystem.GITHUB][0].read_text(encoding="utf-8")
    broken.write_text(text.replace("github.ref_name", "github.ref_names"), encoding="utf-8")

    found = actionlint_problems([*written[CiSystem.GITHUB], *_ours(), broken])

    assert [each for each in found if not each.startswith(str(broken))] == []
    assert any("ref_names" in each for each in found)


def test_the_action_and_the_workflow_run_the_same_scripts(
    written: dict[CiSystem, list[Path]], tmp_path: Path
) -> None:
    action = ROOT / "action.yml"
    assert schema_problems("github-actions", [action]) == ""
    assert shell_problems([action], tmp_path) == ""
    steps = read_yaml(action)["runs"]["steps"]
    own = [step for step in steps if not step.get("name", "").startswith("Choose kernels")]
    assert len(own) == len(steps) - 1
    theirs = read_yaml(written[CiSystem.GITHUB][1])["jobs"]["unlearn"]["steps"]
    for key in ("name", "id", "if", "run", "uses"):
        assert [step.get(key) for step in own] == [step.get(key) for step in theirs], key
    for step in steps:
        assert step.get("shell") == ("bash" if "run" in step else None)


@pytest.mark.parametrize(
    ("event", "base"),
    [
        ({"schedule": "23 3 * * *"}, "main"),  # all that GitHub says of a schedule
        ({"repository": {"default_branch": "main"}}, "main"),
        ({"pull_request": {"base": {"ref": "next"}}}, "next"),
    ],
)
def test_every_event_has_a_base_branch(event: dict[str, Any], base: str) -> None:
    steps = read_yaml(ROOT / "action.yml")["runs"]["steps"]
    found = [step["env"]["BASE"] for step in steps if "BASE" in step.get("env", {})]
    github = {"event": event, "ref_name": "main"}
    assert [fill(each, {"github": github}) for each in found] == [base, base]


@pytest.mark.parametrize("event", ["pull_request", "pull_request_target"])
def test_a_fork_is_stopped_before_its_code_is_checked_out(event: str) -> None:
    first = read_yaml(ROOT / "action.yml")["runs"]["steps"][0]

    def stops(owner: str) -> bool:
        request = {"head": {"repo": {"full_name": f"{owner}/models"}}}
        github = {"event_name": event, "event": {"pull_request": request}}
        return bool(evaluate(first["if"], {"github": {**github, "repository": "team/models"}}))

    assert (stops("fork"), stops("team")) == (True, False)
    assert "exit 1" in first["run"]
    assert not evaluate(first["if"], {"github": {"event_name": "push", "event": {}}})


def test_only_the_job_that_publishes_can_say_who_it_is() -> None:
    release = read_yaml(ROOT / ".github/workflows/release.yml")
    assert release["permissions"] == {"contents": "read"}
    rights = {name: job.get("permissions", {}) for name, job in release["jobs"].items()}
    assert rights == {"build": {}, "publish": {"id-token": "write", "attestations": "write"}}
    assert release["jobs"]["publish"]["needs"] == "build"
    # It runs no code of the repository.
    assert not list(_scripts(release["jobs"]["publish"]))


def _scripts(job: dict[str, Any]) -> Iterator[str]:
    return (step["run"] for step in job["steps"] if "run" in step)


@pytest.mark.parametrize(("tag", "code"), [(f"v{unlearn.__version__}", 0), ("v99.0", 1)])
def test_a_tag_that_is_not_the_version_stops_the_release(
    tmp_path: Path, tag: str, code: int
) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    steps = read_yaml(ROOT / ".github/workflows/release.yml")["jobs"]["build"]["steps"]
    compare = [step for step in steps if step.get("name", "").startswith("Compare the tag")]
    assert len(compare) == 1

    done = run_github_steps(Runner(tmp_path), compare, {}, {"GITHUB_REF_NAME": tag})

    assert done.code == code
    assert ("::error::" in done.out) == bool(code)


def _used(value: object) -> Iterator[str]:
    """Yield the actions that a file uses."""
    if isinstance(value, dict):
        if isinstance(value.get("uses"), str):
            yield value["uses"]
        for each in value.values():
            yield from _used(each)
    elif isinstance(value, list):
        for each in value:
            yield from _used(each)


def test_actions_of_others_are_pinned_to_a_commit(written: dict[CiSystem, list[Path]]) -> None:
    for path in [*written[CiSystem.GITHUB], *_ours(), ROOT / "action.yml"]:
        for used in _used(read_yaml(path)):
            commit = used.partition("@")[2]
            assert len(commit) == 40, f"{path.name}: {used}"
            assert int(commit, 16), f"{path.name}: {used}"


def test_they_run_on_requests_on_pushes_on_a_schedule_and_by_hand(
    written: dict[CiSystem, list[Path]],
) -> None:
    for folder, path in zip(FOLDERS, written[CiSystem.GITHUB], strict=True):
        events = read_yaml(path)["on"]
        assert set(events) == {"pull_request", "push", "schedule", "workflow_dispatch"}
        assert events["push"]["branches"] == ["main"]
        assert events["push"]["paths"] == events["pull_request"]["paths"]
        start = f"{folder}/" if folder else ""
        assert all(each.startswith(start) for each in events["push"]["paths"])
        # What the job itself commits starts no run.
        assert not {f"{start}dvc.lock", f"{start}reports/**"} & set(events["push"]["paths"])
    for path in written[CiSystem.GITLAB]:
        (job,) = read_yaml(path).values()
        rules = [rule["if"] for rule in job["rules"]]
        assert [word for rule in rules for word in rule.split('"')[1::2]] == [
            *("merge_request_event", "push", "web", "schedule")
        ]
        assert job["rules"][0]["changes"] == job["rules"][1]["changes"]


@pytest.mark.parametrize(
    ("source", "values", "runs"),
    [
        ("schedule", {"UNLEARN_SCHEDULE": "1"}, True),
        ("schedule", {}, False),  # it is meant for other jobs
        ("web", {}, True),
        ("push", {}, True),
        ("push", {"CI_COMMIT_BRANCH": "request"}, False),
        ("merge_request_event", {"CI_COMMIT_BRANCH": ""}, True),
        # A tag is no branch that could be pushed to.
        ("web", {"CI_COMMIT_BRANCH": "", "CI_COMMIT_TAG": "v1"}, False),
        ("schedule", {"UNLEARN_SCHEDULE": "1", "CI_COMMIT_BRANCH": ""}, False),
    ],
)
def test_a_job_of_gitlab_runs_for_the_pipelines_that_are_meant_for_it(
    written: dict[CiSystem, list[Path]], source: str, values: dict[str, str], *, runs: bool
) -> None:
    of_branch = {"CI_COMMIT_BRANCH": "main", "CI_DEFAULT_BRANCH": "main"}
    for path in written[CiSystem.GITLAB]:
        (job,) = read_yaml(path).values()
        assert agrees(job, {"CI_PIPELINE_SOURCE": source, **of_branch, **values}) is runs


def test_a_run_for_a_tag_stops_before_anything_is_checked_out() -> None:
    steps = read_yaml(ROOT / "action.yml")["runs"]["steps"]
    (stop,) = [step for step in steps if step.get("name") == "Stop for tags"]
    assert "exit 1" in stop["run"]
    assert not any("uses" in step for step in steps[: steps.index(stop)])
    kinds = {
        kind: bool(evaluate(stop["if"], {"github": {"ref_type": kind}}))
        for kind in ("tag", "branch")
    }
    assert kinds == {"tag": True, "branch": False}


def test_two_projects_of_one_repository_share_nothing(
    written: dict[CiSystem, list[Path]],
) -> None:
    top, below = (read_yaml(path) for path in written[CiSystem.GITHUB])
    assert top["name"] != below["name"]
    assert top["concurrency"]["group"] != below["concurrency"]["group"]
    assert below["defaults"]["run"]["working-directory"] == "models/churn"
    top, below = (read_yaml(path) for path in written[CiSystem.GITLAB])
    assert not set(top) & set(below)
    # A folder of a folder is not the one whose name looks like both.
    similar = Workflow(CiSystem.GITLAB, Path(), "models-churn", "unlearn.yml")
    (alike,) = yaml.safe_load(similar.render("main"))
    assert alike not in below
    (job,) = below.values()
    assert "cd models/churn" in job["script"]
    assert job["artifacts"]["paths"] == ["models/churn/unlearn-report.html"]


def test_they_install_the_pinned_requirements_from_a_cache(
    written: dict[CiSystem, list[Path]],
) -> None:
    for folder, path in zip(FOLDERS, written[CiSystem.GITHUB], strict=True):
        steps = read_yaml(path)["jobs"]["unlearn"]["steps"]
        setup = next(step for step in steps if "setup-python" in step.get("uses", ""))
        wanted = f"{folder}/{REQUIREMENTS}".removeprefix("/")
        assert setup["with"]["cache"] == "pip"
        assert setup["with"]["cache-dependency-path"] == wanted
        assert sum(f"-r {REQUIREMENTS}" in step.get("run", "") for step in steps) == 1
        checkout = next(step for step in steps if "fetch-depth" in str(step))
        assert checkout["with"]["fetch-depth"] == 0
    for folder, path in zip(FOLDERS, written[CiSystem.GITLAB], strict=True):
        (job,) = read_yaml(path).values()
        assert job["cache"]["key"]["files"] == [f"{folder}/{REQUIREMENTS}".removeprefix("/")]
        assert job["variables"]["PIP_CACHE_DIR"].endswith(job["cache"]["paths"][0])
        assert job["variables"]["GIT_DEPTH"] == "0"
        assert sum(f"-r {REQUIREMENTS}" in line for line in job["script"]) == 1


def test_a_repository_that_has_a_file_of_gitlab_gets_one_to_include(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    assert find_workflow(tmp_path, CiSystem.GITLAB).path == ".gitlab-ci.yml"
    (tmp_path / ".gitlab-ci.yml").touch()

    workflow = find_workflow(tmp_path, CiSystem.GITLAB)

    assert workflow.path == "unlearn.gitlab-ci.yml"
    assert is_included(workflow.path)
    assert "- local: unlearn.gitlab-ci.yml" in workflow.render(None).decode()
    workflow.check()
    (tmp_path / workflow.path).touch()
    with pytest.raises(InputError, match="there already"):
        workflow.check()


def test_a_folder_that_path_filters_would_read_as_a_pattern_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    for name in ("models[1]", "a b", "!churn", "ä"):
        with pytest.raises(InputError, match="patterns") as caught:
            find_workflow(tmp_path / name, CiSystem.GITHUB)
        assert name in str(caught.value.hints)


def test_a_dataset_that_path_filters_would_read_as_a_pattern_is_refused(tmp_path: Path) -> None:
    workflow = Workflow(CiSystem.GITHUB, tmp_path, "", "unlearn.yml")
    for name in ("rows", "rows: [a]", "rows #1"):
        (tmp_path / f"{name}.dvc").touch()
    assert files_above(workflow, tmp_path / "rows") == ["rows.dvc"]
    for name in ("rows: [a]", "rows #1"):
        with pytest.raises(InputError, match="patterns") as caught:
            files_above(workflow, tmp_path / name)
        assert f"{name}.dvc" in str(caught.value.hints)


def test_a_branch_of_any_name_stays_one_word() -> None:
    odd = 'release "2": # main'
    workflow = Workflow(CiSystem.GITHUB, Path(), "", "unlearn.yml")
    assert yaml.safe_load(workflow.render(odd))[True]["push"]["branches"] == [odd]
    assert dataclasses.replace(workflow, folder="a/b").requirements == f"a/b/{REQUIREMENTS}"


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("github.event_name == 'push' && github.event.before || ''", "abc"),
        ("github.event.number || github.ref", "main"),
        ("!cancelled() && github.ref != 'main'", False),
        ("inputs.now", ""),
    ],
)
def test_expressions_have_the_values_that_the_host_gives_them(
    expression: str, value: object
) -> None:
    event = {"event_name": "push", "ref": "main", "event": {"before": "abc"}}
    assert evaluate(expression, {"github": event}) == value
