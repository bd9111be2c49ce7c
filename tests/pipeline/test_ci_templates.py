"""The CI templates: every shell step is run, against a bare repository and a folder remote."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from unlearn.cli.init.files.requirements import REQUIREMENTS, render_requirements
from unlearn.cli.init.files.workflow import find_workflow
from unlearn.cli.init.repository.placing import write_workflow
from unlearn.cli.init.request.choices import CiSystem

from tests.ci_checks import ROOT
from tests.ci_jobs import Job, Runner, read_yaml, run_github, run_github_steps, run_gitlab
from tests.conftest import Repo, fresh_models, keep_apart, make_frame
from tests.pipeline.conftest import FORGOTTEN, KEY, Bases, change_a_weight, ids_at
from tests.pipeline.team_repository import make_team_repository, runs_of

NO_COMMIT = "0" * 40


@dataclass(frozen=True)
class Host:
    """A bare repository with a project, and a DVC remote beside it."""

    root: Path

    @property
    def origin(self) -> Path:
        """The bare repository."""
        return self.root / "origin.git"

    @property
    def room(self) -> dict[str, bytes]:
        """The models of a clean room, without what any request names."""
        return Repo(self.root / "room").files("models")

    def clone(self, name: str, branch: str) -> Repo:
        """Return what a checkout action leaves: all history, a detached HEAD, no key."""
        repo = Repo(self.root / name)
        Repo(self.root).git("clone", "--quiet", str(self.origin), str(repo.root))
        for folder in repo.root.rglob(".dvc"):
            keep_apart(folder.parent)
        repo.git("checkout", "--quiet", "--detach", f"origin/{branch}")
        repo.git("branch", "--quiet", "-D", "main")
        return repo

    def author(self, branch: str = "request") -> Repo:
        """Return a clone of someone who may commit."""
        repo = self.clone("author", branch)
        repo.git("config", "user.email", "a@example.org")
        repo.git("config", "user.name", "A")
        return repo

    def heads(self) -> str:
        """Return the branches with their commits."""
        return Repo(self.root).git("ls-remote", str(self.origin))


@pytest.fixture
def host(bases: Bases, forgotten: Repo, workspace: Path) -> Host:
    """One request on a branch, not run yet, and another that `main` has carried out meanwhile."""

    def make(root: Path) -> None:
        project = forgotten.copy(root / "project")
        Repo(root).git(
            "init", "--quiet", "--bare", "--initial-branch=main", str(root / "origin.git")
        )
        project.git("branch", "--quiet", "-M", "main")
        project.git("remote", "add", "origin", str(root / "origin.git"))
        # From the folder of the configuration; it holds for every copy of the host.
        project.dvc("remote", "add", "--default", "store", "../store")
        for system in CiSystem:
            write_workflow(project.root, find_workflow(project.root, system), is_text=False)
        project.commit("remote and workflows")
        project.dvc("push", "--quiet")
        one, two = ids_at(project, "s000")[0], ids_at(project, "s002")[0]
        project.git("checkout", "--quiet", "-b", "request")
        project.forget([one])
        project.commit("request")
        project.git("checkout", "--quiet", "main")
        project.forget([two])
        project.ok("repro", "-j", "1")
        project.commit("carried out on main")
        project.git("push", "--quiet", "origin", "main", "request")
        project.dvc("push", "--quiet")
        fresh_models(project, root / "room", [*FORGOTTEN, one, two])
        shutil.rmtree(project.root)

    def made(root: Path) -> Repo:
        root.mkdir()
        make(root)
        return Repo(root)

    shutil.copytree(bases.get("ci", made).root, workspace / "host", symlinks=True)
    return Host(workspace / "host")


def on_github(_host: Host, repo: Repo, **event: Any) -> Job:
    """Run the workflow in a checkout, for a pull request unless another event is named."""
    name = event.pop("name", "pull_request")
    branch = event.pop("branch", "request")
    payload = dict(event)
    if name != "schedule":  # GitHub says nothing else of a schedule
        payload["repository"] = {"default_branch": "main"}
    if name == "pull_request":
        head = {"ref": branch, "repo": {"full_name": "team/models"}, "sha": "0"}
        payload["pull_request"] = {"number": 7, "base": {"ref": "main"}, "head": head}
    context = {
        "github": {
            "event_name": name,
            "event": payload,
            "ref_name": branch,
            "repository": "team/models",
            "token": "token",
        },
        "secrets": {"UNLEARN_KEY": KEY},
        "inputs": {"now": event["now"]} if "now" in event else {},
    }
    if event.get("action"):
        folder = str(event.get("folder", "."))
        context["inputs"] = {"key": KEY, "folder": folder, "now": "false", "token": "token"}
        context["runner"] = {"temp": str(repo.root.parent / f"{repo.root.name}-runner")}
        steps = read_yaml(ROOT / "action.yml")["runs"]["steps"]
        return run_github_steps(Runner(repo.root), steps, context, {})
    (path,) = (repo.root / ".github/workflows").glob("*.yml")
    return run_github(repo.root, read_yaml(path), context)


def with_action(host: Host, repo: Repo, **event: Any) -> Job:
    """Run the steps of the composite action in a checkout."""
    return on_github(host, repo, action=True, **event)


def on_gitlab(host: Host, repo: Repo, **event: Any) -> Job:
    """Run the job in a checkout, for a merge request unless another event is named."""
    name = event.pop("name", "pull_request")
    branch = event.pop("branch", "request")
    commit = repo.git("rev-parse", f"origin/{branch}").strip()
    values = {
        "UNLEARN_KEY": KEY,
        "UNLEARN_PROJECT_TOKEN": "token",
        "CI_PROJECT_URL": str(host.origin).removesuffix(".git"),
        "CI_SERVER_HOST": "example.org",
        "CI_DEFAULT_BRANCH": "main",
        "CI_API_V4_URL": "https://example.org/api/v4",
        "CI_COMMIT_SHA": commit,
        "CI_COMMIT_BEFORE_SHA": event.get("before", NO_COMMIT),
    }
    if name == "pull_request":
        values |= {
            "CI_MERGE_REQUEST_IID": "7",
            "CI_MERGE_REQUEST_PROJECT_ID": "1",
            "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "1",
            "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
            "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": branch,
            "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": commit,
        }
    else:
        values["CI_COMMIT_BRANCH"] = branch
    if event.get("now"):
        values["UNLEARN_NOW"] = "1"
    (path,) = repo.root.rglob("*.gitlab-ci.yml")
    (job,) = read_yaml(path).values()
    return run_gitlab(repo.root, job, values)


Run = Callable[..., Job]
SYSTEMS = pytest.mark.parametrize("run", [on_github, on_gitlab])


@pytest.mark.slow
@pytest.mark.parametrize("run", [on_github, on_gitlab, with_action])
def test_a_request_on_a_branch_is_carried_out_and_pushed(host: Host, run: Run) -> None:
    repo = host.clone("ci", "request")
    # While the job runs, somebody else pushes what starts no run.
    author = host.author()
    (author.root / "docs.md").write_text("news", encoding="ascii")
    author.commit("docs")
    author.git("push", "--quiet", "origin", "HEAD:request")

    done = run(host, repo)

    assert done.code == 0, done.out + done.err
    assert repo.files("models") == host.room
    assert f"-m pip install --quiet --disable-pip-version-check -r {REQUIREMENTS}" in done.calls
    assert ("gh pr comment 7" if run is not on_gitlab else "curl --fail") in done.calls
    assert "forgotten" in (done.summary if run is not on_gitlab else done.out)
    # A second clone has it all, by git and by the DVC remote alone.
    after = host.clone("after", "request")
    after.dvc("pull", "--quiet")
    assert after.files("models") == host.room
    assert (after.root / "docs.md").is_file()
    assert after.git("log", "--format=%P", "-2").split()  # the merge is there
    assert after.inline("verify", "--public").code == 0
    tracked = after.git("ls-files").split()
    assert "reports/verify.json" not in tracked
    assert "unlearn.key" not in tracked
    (page,) = host.root.rglob("unlearn-report.html")
    assert "<html" in page.read_text(encoding="utf-8")

    # Merged by the host's button, main is what the job tested: the push there finds nothing to do.
    before = after.git("rev-parse", "origin/main").strip()
    after.git("push", "--quiet", "origin", "HEAD:main")
    again = host.clone("again", "main")
    done = run(host, again, name="push", branch="main", before=before)
    assert done.code == 0, done.err
    assert "main is up to date" in done.out
    assert not {"comment", "curl"} & set(done.calls.split())
    # It is compared with main as it was before the push.
    assert "| 1 new line | 1 shard |" in (done.summary if run is not on_gitlab else done.out)


@pytest.mark.slow
@SYSTEMS
def test_a_request_that_waits_for_its_batch_is_merged_without_a_run(host: Host, run: Run) -> None:
    author = host.author()
    author.set_params(requests={"batch": {"at_least": 9, "at_most_days": 9}})
    author.commit("requests wait")
    author.git("push", "--quiet", "origin", "HEAD:request")
    before = host.heads()
    repo = host.clone("ci", "request")

    done = run(host, repo, name="schedule")

    assert done.code == 0, done.err
    assert "nothing was run: 1 request waits for 8 more" in done.out
    assert not {"gh", "curl"} & set(done.calls.split())
    assert host.heads() == before

    # Whoever starts the job by hand need not wait.
    done = run(host, host.clone("again", "request"), name="workflow_dispatch", now=True)
    assert done.code == 0, done.err
    after = host.clone("after", "request")
    after.dvc("pull", "--quiet")
    assert after.files("models") == host.room


@pytest.mark.slow
@SYSTEMS
def test_a_branch_that_reverts_a_request_is_refused_and_nothing_is_pushed(
    host: Host, run: Run
) -> None:
    author = host.author()
    author.git("revert", "--no-edit", "HEAD")
    author.git("push", "--quiet", "origin", "HEAD:request")
    before = host.heads()

    done = run(host, host.clone("ci", "request"))

    assert done.code == 2
    assert "left the forget list" in done.err
    assert host.heads() == before


@pytest.mark.slow
@SYSTEMS
def test_a_model_that_changed_without_a_reason_stops_the_job_and_nothing_is_pushed(
    host: Host, run: Run
) -> None:
    author = host.author("main")
    (author.root / "unlearn.key").write_text(KEY, encoding="ascii")
    author.dvc("pull", "--quiet")
    path = author.root / "models/final_model/members/s003/model.safetensors"
    content = path.read_bytes()
    path.unlink()  # it may be a link to DVC's cache
    path.write_bytes(content)
    change_a_weight(path)
    author.dvc("commit", "--force", "aggregate")
    author.commit("as if it was carried out")
    author.git("push", "--quiet", "--force", "origin", "HEAD:request")
    author.dvc("push", "--quiet")
    before = host.heads()
    stored = {path.name for path in (host.root / "store").rglob("*")}

    done = run(host, host.clone("ci", "request"))

    assert done.code == 1, done.out + done.err
    assert host.heads() == before
    assert {path.name for path in (host.root / "store").rglob("*")} == stored
    if run is on_github:
        assert done.steps["Comment"] == done.steps["actions/upload-artifact"] == "success"
        assert done.steps["Push data and models"] == "skipped"
    assert "inconsistent" in (done.summary if run is on_github else done.out)


@pytest.mark.slow
def test_a_verdict_that_is_not_pass_stops_the_job_and_nothing_is_pushed(host: Host) -> None:
    """A file of the final model changes behind the back of the run."""
    clone = host.clone("ci", "request")
    (path,) = (clone.root / ".github/workflows").glob("*.yml")
    mark = "      - name: Audit and verify\n"
    member = "models/final_model/members/s003/model.safetensors"
    change = f"rm {member} && echo changed > {member}"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(mark, f"      - run: {change}\n        name: Change\n{mark}"))
    before = host.heads()
    stored = {path.name for path in (host.root / "store").rglob("*")}

    done = on_github(host, clone)

    assert done.steps["Run the pipeline"] == done.steps["Change"] == "success"
    assert done.steps["Audit and verify"] == "failure"
    assert "verdict: stale" in done.summary
    assert done.steps["Comment"] == done.steps["actions/upload-artifact"] == "success"
    assert done.steps["Push data and models"] == "skipped"
    assert host.heads() == before
    assert {path.name for path in (host.root / "store").rglob("*")} == stored


@pytest.mark.slow
@SYSTEMS
def test_a_project_in_a_subfolder_makes_its_first_models_and_keeps_out_of_other_folders(
    workspace: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(workspace)
    top = Repo(workspace / "team")
    Repo(workspace).git("init", "--quiet", "--bare", "--initial-branch=main", str(host.origin))
    Repo(workspace).git("clone", "--quiet", str(host.origin), str(top.root))
    top.git("config", "user.email", "a@example.org")
    top.git("config", "user.name", "A")
    (top.root / ".gitlab-ci.yml").write_text("lint: {script: [make lint]}\n", encoding="ascii")
    top.commit("ours")
    make_frame(300).to_csv(workspace / "table.csv", index=False)
    monkeypatch.setenv("UNLEARN_KEY", KEY)
    system = "github" if run is on_github else "gitlab"
    options = ("--id", "id", "--target", "label", "--model", "exact_naive_bayes", "--ci", system)
    source = str(workspace / "table.csv")
    said = top.inline("init", "models/churn", "--dataset", source, *options)
    assert said.code == 0, said.err
    if run is on_gitlab:
        assert 'once .gitlab-ci.yml has `include: "models/churn/unlearn.gitlab-ci.yml"`' in said.out
        (top.root / ".gitlab-ci.yml").unlink()  # the stub of a host runs the one job that there is
    project = Repo(top.root / "models/churn")
    project.dvc("remote", "add", "--default", "store", "../../../../store")
    project.dvc("push", "--quiet", "data/dataset.csv.dvc")
    top.commit("project")
    top.git("push", "--quiet", "origin", "HEAD:main")
    monkeypatch.delenv("UNLEARN_KEY")

    first = run(host, host.clone("first", "main"), name="push", branch="main", before=NO_COMMIT)

    assert first.code == 0, first.out + first.err
    top.git("pull", "--quiet", "--ff-only", "origin", "main")
    before = top.git("rev-parse", "HEAD").strip()
    project.dvc("pull", "--quiet")
    (project.root / "unlearn.key").write_text(KEY, encoding="ascii")
    asked = ids_at(project, "s000")[0]
    project.forget([asked])
    top.commit("request")
    top.git("push", "--quiet", "origin", "HEAD:main")
    clone = host.clone("ci", "main")
    # While the job runs, somebody else pushes to another folder.
    (top.root / "docs.md").write_text("news", encoding="ascii")
    top.commit("docs")
    top.git("push", "--quiet", "origin", "HEAD:main")

    done = run(host, clone, name="push", branch="main", before=before)

    assert done.code == 0, done.out + done.err
    after = host.clone("after", "main")
    assert (after.root / "docs.md").is_file()
    pulled = Repo(after.root / "models/churn")
    pulled.dvc("pull", "--quiet")
    (pulled.root / "unlearn.key").write_text(KEY, encoding="ascii")
    assert pulled.files("models") == fresh_models(pulled, workspace / "room", [asked])
    changed = set(after.git("diff", "--name-only", before, "HEAD").split())
    assert {name for name in changed if not name.startswith("models/churn/")} == {"docs.md"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run", "into"), [(on_github, ()), (on_gitlab, ("--into", "parts/unlearn"))]
)
def test_a_request_flows_through_ci_and_no_stage_of_the_team_reruns_for_it(
    workspace: Path, run: Run, into: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    team = make_team_repository(workspace / "team", train="fit")
    team.git("branch", "--quiet", "-M", "main")
    host = Host(workspace)
    Repo(workspace).git("init", "--quiet", "--bare", "--initial-branch=main", str(host.origin))
    team.git("remote", "add", "origin", str(host.origin))
    team.dvc("remote", "add", "--default", "store", str(workspace / "store"))
    team.dvc("push", "--quiet")
    system = "github" if run is on_github else "gitlab"
    options = ("--dataset-out", "data/prepared.csv", "--id", "id", "--target", "label")
    model = ("--model", "exact_naive_bayes", "--holdout", "0")
    monkeypatch.setenv("UNLEARN_KEY", KEY)
    said = team.inline("init", ".", *into, *options, *model, "--ci", system)
    assert said.code == 0, said.err
    monkeypatch.delenv("UNLEARN_KEY")
    (path,) = [*(team.root / ".github").rglob("*.yml"), *team.root.rglob("*gitlab-ci.yml")]
    assert "- dvc.lock\n" in path.read_text(encoding="utf-8")
    team.commit("unlearn")
    team.git("push", "--quiet", "origin", "HEAD:main")
    folder = into[1] if into else "."
    first = host.clone("first", "main")
    done = run(host, first, name="push", branch="main", before=NO_COMMIT)
    assert done.code == 0, done.out + done.err
    assert runs_of(first) == []
    team.git("pull", "--quiet", "--ff-only", "origin", "main")
    lock = {name: team.lock()[name] for name in ("prepare", "fit")}
    team.dvc("pull", "--quiet")
    project = Repo(team.root / folder)
    (project.root / "unlearn.key").write_text(KEY, encoding="ascii")
    team.git("checkout", "--quiet", "-b", "request")
    project.forget(["r0005"])
    team.commit("a request")
    team.git("push", "--quiet", "origin", "request")
    clone = host.clone("ci", "request")

    done = run(host, clone)

    assert done.code == 0, done.out + done.err
    assert runs_of(clone) == []
    after = host.clone("after", "request")
    assert {name: after.lock()[name] for name in ("prepare", "fit")} == lock
    after.dvc("pull", "--quiet")
    there = Repo(after.root / folder)
    (there.root / "unlearn.key").write_text(KEY, encoding="ascii")
    assert "1 applied, verified" in there.inline("status").out
    assert there.files("models") != project.files("models")


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


def test_the_requirements_have_no_packages_for_gpus_and_no_folder_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def install(name: str, *needs: str, origin: str = "") -> None:
        folder = tmp_path / f"{name.replace('-', '_')}-9.0.dist-info"
        folder.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {name}", "Version: 9.0"]
        text = "\n".join([*lines, *(f"Requires-Dist: {each}" for each in needs)])
        (folder / "METADATA").write_text(text, encoding="ascii")
        if origin:
            vcs = {"vcs": "git", "commit_id": "abc"}
            (folder / "direct_url.json").write_text(json.dumps({"url": origin, "vcs_info": vcs}))

    cuda = ("nvidia-cublas-cu12", "cuda-bindings", "triton")
    for name in cuda:
        install(name)
    install("torch", "filelock", *(f'{name}==9.0; platform_system != "x"' for name in cuda))
    install("dvc-unlearn", "torch", origin="https://example.org/unlearn")
    monkeypatch.syspath_prepend(str(tmp_path))

    lines = render_requirements().decode().splitlines()
    assert {line.partition("==")[0] for line in lines} & {*cuda, "torch", "filelock"} == {
        "torch",
        "filelock",
    }
    assert "torch==9.0+cpu" in lines
    assert "dvc-unlearn @ git+https://example.org/unlearn@abc" in lines
    url = tmp_path / "dvc_unlearn-9.0.dist-info/direct_url.json"
    url.write_text(url.read_text().replace("https://example.org", f"file://{tmp_path}"))
    text = render_requirements().decode()
    assert "dvc-unlearn==9.0\n" in text
    assert str(tmp_path) not in text
