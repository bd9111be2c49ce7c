"""A project in a repository that has git, DVC and stages of its own."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from unlearn.stages.context import open_project
from unlearn.stages.erasure.dataset.rewrite import check_rewritable
from unlearn.stages.project.paths import Project

from tests.conftest import Repo, keep_apart, make_frame, start_repositories
from tests.pipeline.team_repository import (
    PIPELINE,
    add_remotes,
    clone_of,
    make_team_repository,
    runs_of,
)

#: How the team's output becomes the dataset, with a model that trains in no time.
ASKED = ("--id", "id", "--target", "label", "--model", "exact_naive_bayes", "--holdout", "0")
OUTPUT = ("--dataset-out", "data/prepared.csv")


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """Return a team's repository whose training stage is not called as one of ours."""
    return make_team_repository(tmp_path_factory.mktemp("before") / "team", train="fit")


@pytest.fixture
def team(before: Repo, tmp_path: Path) -> Repo:
    return before.copy(tmp_path / "team")


def ok(repo: Repo, *arguments: str) -> str:
    """Run a command, insist that it succeeds, and return what it printed."""
    done = repo.inline(*arguments)
    assert done.code == 0, f"{arguments}: {done.code}\n{done.out}\n{done.err}"
    return done.out


def entries(repo: Repo, *names: str) -> dict[str, Any]:
    """Return what dvc.lock has of the team's stages."""
    return {name: repo.lock()[name] for name in names}


def test_in_place_the_team_s_lines_stay(team: Repo) -> None:
    files = team.snapshot()

    ok(team, "init", ".", *OUTPUT, *ASKED)

    after = team.snapshot()
    changed = {name for name in files if after[name] != files[name]}
    assert changed == {"dvc.yaml", "params.yaml", ".gitignore"}
    assert all(
        after[name].startswith(files[name].rstrip(b"\n") + b"\n")
        for name in ("params.yaml", ".gitignore")
    )
    text = PIPELINE.format(train="fit", key="fit")
    assert after["dvc.yaml"].decode().startswith(text)
    assert yaml.safe_load(after["params.yaml"])["dataset"]["path"] == "data/prepared.csv"


@pytest.mark.slow
def test_in_place_the_team_s_stages_do_not_rerun_for_a_request(team: Repo) -> None:
    ok(team, "init", ".", *OUTPUT, *ASKED)
    team.commit("unlearn")
    lock = entries(team, "prepare", "fit")
    ok(team, "repro")
    team.commit("trained")
    assert "nothing found" in ok(team, "doctor")
    team.forget(["r0005"])
    assert "stages: forget, train@s000, aggregate, verify" in ok(team, "plan")
    ok(team, "repro")
    team.commit("forgotten")

    assert runs_of(team) == ["prepare", "train"]
    assert entries(team, "prepare", "fit") == lock
    assert team.git("status", "--porcelain") == ""
    assert "Data and pipelines are up to date" in team.dvc("status").out
    assert "verdict: consistent" in ok(team, "audit", "HEAD~1..HEAD")
    assert "verdict: pass" in ok(team, "verify")
    assert "models: up to date" in ok(team, "status")
    assert "the project is up to date" in ok(team, "upgrade", "--dry-run")
    # A stale stage of the team is its own affair, and no reason for ours to run.
    (team.root / "train.py").write_text("raise SystemExit(1)\n", encoding="utf-8")
    assert ok(team, "plan") == "nothing to do\n"
    assert "no training was necessary" in ok(team, "repro")
    assert "models: up to date" in ok(team, "status")
    # Once the dataset is another one, the verdict is about another state.
    script = (team.root / "prepare.py").read_text(encoding="utf-8")
    (team.root / "prepare.py").write_text(script.replace("income", "city"), encoding="utf-8")
    team.dvc("repro", "--quiet", "prepare")
    stale = team.inline("verify")
    assert stale.code == 1
    assert "stale: the dataset has changed" in stale.out


def test_all_names_that_are_taken_are_said_at_once_before_anything_is_written(
    tmp_path: Path,
) -> None:
    team = make_team_repository(tmp_path / "team", run=False)
    (team.root / "data").mkdir()
    (team.root / "data/prepared.csv").write_text("id,label\n1,a\n", encoding="utf-8")
    (team.root / "schema.yaml").write_text("the: team's\n", encoding="utf-8")
    files = team.snapshot()

    done = team.inline("init", ".", *OUTPUT, *ASKED)

    assert done.code == 2
    assert "dvc.yaml has a stage train" in done.err
    assert "params.yaml has a setting train" in done.err
    assert "schema.yaml is there already; nothing was changed" in done.err
    assert "--into FOLDER" in done.err
    assert team.snapshot() == files


@pytest.mark.parametrize(
    ("out", "into", "said"),
    [
        ("data", ".", "data is an output of the stage make in more/dvc.yaml, and the project"),
        ("models", ".", "models is an output of the stage make"),
        ("reports/metrics.json", ".", "reports/metrics.json is an output of the stage make"),
        ("data", "data/unlearn", "the folder is in data/, an output of the stage make"),
    ],
)
def test_an_output_that_the_project_would_write_into_is_refused(
    tmp_path: Path, out: str, into: str, said: str
) -> None:
    # DVC would refuse every command afterwards, also those of the team.
    repo = start_repositories(tmp_path / "team")
    for folder in ("more", "raw"):
        (repo.root / folder).mkdir()
    make_frame(40).to_csv(repo.root / "raw/people.csv", index=False)
    repo.dvc("add", "--quiet", "raw/people.csv")
    stage = {"cmd": "true", "wdir": "..", "outs": ["${out}"]}
    (repo.root / "more/dvc.yaml").write_text(yaml.safe_dump({"stages": {"make": stage}}), "utf-8")
    (repo.root / "params.yaml").write_text(f"out: {out}\n", encoding="utf-8")
    files = repo.snapshot()
    place = [] if into == "." else ["--into", into]

    done = repo.inline("init", ".", *place, "--dataset-out", "raw/people.csv", *ASKED)

    assert done.code == 2
    assert said in done.err
    assert "nothing was changed" in done.err
    assert repo.snapshot() == files


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("prepare.py", "`dvc add prepare.py` lets DVC track it"),
        ("../elsewhere.csv", "is not in the git repository"),
        ("models/missing.json", "is no output of DVC"),
    ],
)
def test_what_is_no_output_of_dvc_is_refused(before: Repo, path: str, said: str) -> None:
    files = before.snapshot()

    done = before.inline("init", ".", "--into", "unlearn", "--dataset-out", path, *ASKED)

    assert done.code == 2
    assert said in done.err
    assert before.snapshot() == files


def test_an_output_in_git_whose_path_is_a_setting_is_taken_with_a_note(tmp_path: Path) -> None:
    # The stage never ran, so that no dvc.lock has the path.
    repo = start_repositories(tmp_path / "team")
    stage = {"cmd": "true", "outs": [{"${paths.out}": {"cache": False}}]}
    (repo.root / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"make": stage}}), "utf-8")
    (repo.root / "params.yaml").write_text("paths: {out: out/rows.csv}\n", encoding="utf-8")
    (repo.root / "out").mkdir()
    make_frame(40).to_csv(repo.root / "out/rows.csv", index=False)
    repo.commit("rows")

    done = repo.inline("init", "my project", "--dataset-out", "out/rows.csv", *ASKED)

    assert done.code == 0, done.err
    assert "note: git has ../out/rows.csv with its rows" in done.err
    assert "next: cd 'my project' && unlearn repro" in done.out
    assert check_rewritable(
        open_project(Project(repo.root / "my project")), {"../out/rows.csv"}
    ).in_git == ("../out/rows.csv",)


def test_a_failure_leaves_no_key_and_no_rows(team: Repo, tmp_path: Path) -> None:
    # DVC refuses to add what git would not have.
    (team.root / ".gitignore").write_text("*.dvc\n", encoding="utf-8")
    rows = tmp_path / "rows.csv"
    make_frame(40).to_csv(rows, index=False)
    files = team.snapshot()

    done = team.inline("init", ".", "--dataset", str(rows), *ASKED)

    assert done.code == 3
    assert "`dvc add data/dataset.csv` failed" in done.err
    assert team.snapshot() == files
    assert rows.is_file()


def test_a_folder_elsewhere_is_no_place_for_a_project(before: Repo) -> None:
    for folder in ("..", ".", "/tmp/unlearn"):  # noqa: S108 - nothing is written there
        done = before.inline("init", ".", "--into", folder, *OUTPUT, *ASKED)
        assert done.code == 2
        assert f"--into {folder} is not a folder below" in done.err


@pytest.mark.slow
def test_three_repositories_and_a_request_for_which_no_stage_of_the_team_reruns(
    tmp_path: Path,
) -> None:
    """A developer adds a project, a clone elsewhere carries a request out, and both agree."""
    team = make_team_repository(tmp_path / "team")
    said = ok(team, "init", ".", "--into", "unlearn", *OUTPUT, *ASKED)
    assert "`dvc repro --all-pipelines` runs it with the other pipelines" in said
    project = Repo(team.root / "unlearn")
    team.commit("unlearn")
    lock = entries(team, "prepare", "train")
    assert "prepare" in team.dvc("dag", "unlearn/dvc.yaml:shard").out
    ok(project, "repro")
    team.commit("trained")
    add_remotes(team, tmp_path / "remotes")
    assert runs_of(team) == ["prepare", "train"]

    project.forget(["r0005"], "--ticket", "T-1")
    team.commit("a request")
    team.git("push", "--quiet")
    clone = clone_of(team, tmp_path / "clone")
    there = Repo(clone.root / "unlearn")
    (there.root / "unlearn.key").write_bytes((project.root / "unlearn.key").read_bytes())
    assert "first" not in there.inline("repro").err
    assert "1 applied, verified" in ok(there, "status")
    clone.commit("T-1 carried out")
    clone.dvc("push", "--quiet")
    clone.git("push", "--quiet")

    assert runs_of(clone) == []
    assert entries(clone, "prepare", "train") == lock
    team.git("pull", "--quiet")
    team.dvc("pull", "--quiet")
    # The forgotten rows are in nobody's cache, so this machine takes them apart by itself.
    assert "no training was necessary" in ok(project, "repro")
    assert team.git("status", "--porcelain") == ""
    assert runs_of(team) == ["prepare", "train"]
    assert "1 applied, verified" in ok(project, "status")
    assert project.files("models") == there.files("models")
    audited = ok(project, "audit", "HEAD~2..HEAD", "--rerun", "all")
    assert "1 of 1 shard gave the same model" in audited
    assert "verdict: consistent" in audited
    # From the top, all pipelines are up to date, and a change of the team's goes through them.
    assert "Running stage" not in team.dvc("repro", "--all-pipelines").out
    params = team.root / "params.yaml"
    params.write_text(params.read_text(encoding="utf-8").replace("99.0", "98.0"), encoding="utf-8")
    script = team.root / "prepare.py"
    text = script.read_text(encoding="utf-8")
    script.write_text(text.replace('row["income"]', 'row["income"] and row["city"]'), "utf-8")
    ran = team.dvc("repro", "--all-pipelines").out
    assert "Running stage 'unlearn/dvc.yaml:shard'" in ran
    assert runs_of(team) == ["prepare", "train", "prepare", "train"]
    assert "models: up to date" in ok(project, "status")


@pytest.mark.slow
def test_an_erasure_waits_for_the_team_to_drop_the_rows_where_they_come_from(
    tmp_path: Path,
) -> None:
    team = make_team_repository(tmp_path / "team")
    ok(team, "init", ".", "--into", "parts/unlearn", *OUTPUT, *ASKED)
    project = Repo(team.root / "parts/unlearn")
    ok(project, "repro")
    team.commit("trained")
    project.forget(["r0005"])
    ok(project, "repro")
    team.commit("forgotten")

    waits = project.inline("erase", "--yes")

    assert waits.code == 1
    assert "pending: ../../data/prepared.csv: is an out of the stage prepare" in waits.out
    assert "drop the rows from what prepare reads" in waits.out
    assert "then `dvc repro ../../dvc.yaml:prepare`, and this command" in waits.out
    assert runs_of(team) == ["prepare", "train"]
    assert "the repository, raw/people.csv" in project.inline("scan").out
    team.commit("erased, but for the team's own files")
    raw = team.root / "raw/people.csv"
    kept = [line for line in raw.read_text("utf-8").splitlines(True) if "r0005" not in line]
    raw.unlink()
    raw.write_text("".join(kept), encoding="utf-8")
    team.dvc("add", "--quiet", "raw/people.csv")
    team.dvc("repro", "--quiet", "--all-pipelines")
    ok(project, "repro")
    team.commit("dropped where it comes from")
    assert "result: complete" in ok(project, "erase", "--yes")
    assert "result: nothing was found" in ok(project, "scan")
    assert runs_of(team) == ["prepare", "train"] * 2


def test_a_dvc_repository_below_git_s_own_ends_the_graph(tmp_path: Path) -> None:
    top = Repo(tmp_path / "top")
    (top.root / "ml/raw").mkdir(parents=True)
    top.git("init", "--quiet")
    below = Repo(top.root / "ml")
    below.dvc("init", "--quiet", "--subdir")
    keep_apart(below.root)
    make_frame(40).to_csv(below.root / "raw/people.csv", index=False)
    below.dvc("add", "--quiet", "raw/people.csv")
    dataset = ("--dataset-out", str(below.root / "raw/people.csv"))

    refused = top.inline("init", ".", "--into", "other", *dataset, *ASKED)
    ok(top, "init", "ml", "--into", "unlearn", *dataset, *ASKED)

    assert refused.code == 2
    assert "is in another DVC repository, that of ml/" in refused.err
    assert not (top.root / "other").exists()
    assert not (below.root / "unlearn/.dvc").exists()
    assert "raw/people.csv.dvc" in below.dvc("dag", "unlearn/dvc.yaml:shard").out
    said = top.inline("status")
    assert said.code == 2
    assert "there is one in ml/unlearn/" in said.err
