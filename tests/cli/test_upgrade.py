"""`unlearn upgrade`: a project of an older version becomes one of this version."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from unlearn.cli.init.files.pipeline import render_pipeline
from unlearn.cli.init.request.choices import Template
from unlearn.cli.text_edits import stage_block
from unlearn.stages.config.params import ALGORITHM
from unlearn.stages.dvc.pipeline import YOUNG_FOLDER
from unlearn.stages.ledger.log import read_log
from unlearn.stages.project.paths import Project

from tests.cli.conftest import refused, unchanged
from tests.conftest import Repo, fresh_models, make_frame, make_project, start_repositories
from tests.pipeline.conftest import KEY

PROJECTS = Path(__file__).parent / "projects"
#: Requested in each of the projects.
FORGOTTEN = ("r0017", "r0020")


def old_project(root: Path, shape: str) -> Repo:
    """Return a project as an older version left it in git, with its dataset and its key."""
    repo = start_repositories(root)
    shutil.copytree(PROJECTS / shape, root, dirs_exist_ok=True)
    for name in ("gitignore", "gitattributes", "dockerignore"):
        if (root / name).exists():
            (root / name).rename(root / f".{name}")
    make_frame(60).to_csv(root / "data/dataset.csv", index=False)
    (root / "unlearn.key").write_text(f"{KEY}\n", encoding="ascii")
    repo.dvc("add", "--quiet", "data/dataset.csv")
    repo.commit("as it was")
    return repo


@pytest.mark.slow
@pytest.mark.parametrize(
    "shape",
    ["algorithm-1/exact", "algorithm-1/posthoc", "algorithm-2/exact", "algorithm-2/posthoc"],
)
def test_a_project_of_an_older_version_runs_after_the_upgrade(workspace: Path, shape: str) -> None:
    repo = old_project(workspace / "project", shape)
    before = (repo.root / "data/forget_list.txt").read_bytes()
    refusal = repo.inline("repro")
    assert (refusal.code, "`unlearn upgrade`" in refusal.err) == (2, True)
    with unchanged(repo.root):
        planned = repo.inline("upgrade", "--dry-run", "--json").json

    answer = repo.ok("upgrade", "--json").json

    assert answer == planned | {"dry_run": False}
    assert answer["retrains"]
    assert repo.params()["algorithm"] == ALGORITHM
    assert repo.params()["dataset"]["id_type"] == "text"  # with which no token changes
    assert (repo.root / "data/forget_list.txt").read_bytes() == before
    entries = read_log(Project(repo.root)).entries
    # The first version's log did not name the lines.
    tickets = ["T-1", None] if shape.startswith("algorithm-1") else ["T-1"]
    assert [entry.ticket for entry in entries] == tickets
    assert set(entries[-1].lines or ()) == set(before.decode().split())
    repo.commit("upgraded")
    assert set(repo.git("ls-files", "reports").split()) <= {"reports/verdict.json"}
    with unchanged(repo.root):
        again = repo.inline("upgrade", "--json").json
    assert again["changed"] == again["retrains"] == []

    repo.ok("repro", "-j", "1")

    assert repo.inline("verify").code == 0
    repo.commit("run")
    assert "reports/verdict.json" in repo.git("ls-files", "reports").split()
    assert "reports/verify.json" not in repo.git("ls-files", "reports").split()
    status = repo.inline("status", "--json").json
    assert (status["pending"], status["applied"], status["lost"]) == (0, len(before.split()), 0)
    if shape.endswith("exact"):
        room = fresh_models(repo, workspace / "room", FORGOTTEN)
        assert repo.files("models") == room


def test_comments_and_stages_of_the_users_own_are_kept(workspace: Path) -> None:
    repo = old_project(workspace / "project", "algorithm-1/exact")
    pipeline = repo.root / "dvc.yaml"
    text = pipeline.read_text(encoding="utf-8")
    own = (
        "  prepare: # ours\n    cmd: echo 1\n    outs:\n      - mine.txt:\n          cache: false\n"
    )
    pipeline.write_text(text.replace("stages:\n", f"stages:\n{own}"), encoding="utf-8")
    params = repo.root / "params.yaml"
    params.write_text(f"# ours\n{params.read_text(encoding='utf-8')}", encoding="utf-8")

    repo.inline("upgrade")

    assert own in pipeline.read_text(encoding="utf-8")
    assert params.read_text(encoding="utf-8").startswith("# ours\n")
    outs = yaml.safe_load(pipeline.read_text(encoding="utf-8"))["stages"]["verify"]["outs"]
    assert outs[0] == {"reports/verdict.json": {"cache": False}}
    assert "reports/verify.json" in outs


@pytest.mark.slow
def test_a_project_from_before_suppression_gets_the_file_and_the_dependency(fresh: Repo) -> None:
    pipeline, expected = fresh.root / "dvc.yaml", fresh.root / "data/suppressed.txt"
    lines = pipeline.read_text(encoding="utf-8").splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if "- data/suppressed.txt" in line)
    pipeline.write_text("".join([*lines[: at - 1], *lines[at + 1 :]]), encoding="utf-8")
    expected.unlink()
    # Until then it runs as ever.
    assert fresh.inline("forget", "--id", "nobody", "--suppress").code == 0
    fresh.stages("shard")
    assert not expected.exists()
    assert "`unlearn upgrade`" in fresh.inline("erase", "--yes").err

    answer = fresh.inline("upgrade", "--json").json

    assert answer["changed"] == [
        "dvc.yaml: the stages of this version",
        "data/suppressed.txt: a new file",
    ]
    assert answer["retrains"] == []
    shard = yaml.safe_load(pipeline.read_text(encoding="utf-8"))["stages"]["shard"]
    assert "data/suppressed.txt" in shard["deps"]
    assert fresh.inline("upgrade", "--json").json["changed"] == []
    # Now the line is suppressed, if that is asked for again.
    assert fresh.inline("forget", "--id", "nobody", "--suppress").code == 0
    assert fresh.inline("status", "--json").json["suppressed"] == 1


def current_posthoc(root: Path) -> Repo:
    """Return a post-hoc project of this version, but without the stage `young`."""
    repo = make_project(root, make_frame(60), "--template", "posthoc", key=KEY)
    pipeline, params = root / "dvc.yaml", root / "params.yaml"
    text = pipeline.read_text(encoding="utf-8")
    text = text.replace(stage_block(text, "young"), "").replace(f"      - {YOUNG_FOLDER}\n", "")
    pipeline.write_text(text, encoding="utf-8")
    lines = params.read_text(encoding="utf-8").splitlines(keepends=True)
    own = ("  young: true\n", "    target: young\n")
    params.write_text("".join(line for line in lines if line not in own), encoding="utf-8")
    return repo


@pytest.mark.slow
def test_an_older_posthoc_project_gets_the_stage_young(workspace: Path) -> None:
    repo = current_posthoc(workspace / "project")
    assert repo.inline("status").code == 0, "without it, the project is whole"

    answer = repo.inline("upgrade", "--json").json

    stages = yaml.safe_load((repo.root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    expected = yaml.safe_load(render_pipeline(Template.POSTHOC))["stages"]
    assert list(stages) == list(expected), "it is where `init` has it"
    assert stages["young"] == expected["young"]
    assert sorted(stages["unlearn"]["deps"]) == sorted(expected["unlearn"]["deps"])
    assert repo.params()["unlearn"]["young"] is True
    methods = repo.params()["unlearn"]["methods"]
    assert answer["retrains"] == ["young", *(f"unlearn@{name}" for name in methods)]
    assert repo.inline("upgrade", "--json").json["changed"] == []


@pytest.mark.slow
def test_who_does_not_want_young_keeps_the_pipeline(workspace: Path) -> None:
    repo = current_posthoc(workspace / "project")
    repo.set_params(unlearn={"young": False})
    with unchanged(repo.root):
        assert repo.inline("upgrade", "--json").json["changed"] == []


@pytest.mark.slow
def test_a_stage_young_of_ones_own_stays(workspace: Path) -> None:
    repo = current_posthoc(workspace / "project")
    own = "  young:\n    cmd: echo 1 > mine.txt\n    outs:\n      - mine.txt\n"
    pipeline = repo.root / "dvc.yaml"
    text = pipeline.read_text(encoding="utf-8").replace("stages:\n", f"stages:\n{own}", 1)
    pipeline.write_text(text, encoding="utf-8")
    with unchanged(repo.root):
        answer = repo.inline("upgrade", "--json").json

    assert answer["changed"] == []
    assert any("stage young of your own" in note for note in answer["notes"])


@pytest.mark.slow
def test_types_of_ids_are_pinned_where_nobody_is_on_the_list(workspace: Path) -> None:
    repo = old_project(workspace / "project", "algorithm-1/exact")
    (repo.root / "data/forget_list.txt").write_bytes(b"")
    (repo.root / "data/requests.jsonl").write_bytes(b"")

    answer = repo.inline("upgrade", "--json").json

    assert repo.params()["dataset"]["id_type"] == "text"
    assert "data/requests" not in " ".join(answer["changed"])
    assert not list((repo.root / "data/requests").glob("*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("params.yaml", "- {", "not readable as YAML"),
        ("params.yaml", "algorithm: 99\n", "asks for algorithm 99"),
        ("dvc.yaml", "stages: {}\n", "no stage verify"),
        ("data/forget_list.txt", "nobody\n", "line 1: matches no row"),
    ],
)
def test_what_cannot_be_upgraded_is_left_alone(
    workspace: Path, name: str, content: str, message: str
) -> None:
    repo = old_project(workspace / "project", "algorithm-1/exact")
    (repo.root / name).write_text(content, encoding="utf-8")

    with unchanged(repo.root):
        assert message in refused(repo.inline("upgrade"))
    assert "reports/verify.json" in repo.git("ls-files", "reports")


def test_a_new_project_needs_no_upgrade(fresh: Repo) -> None:
    with unchanged(fresh.root):
        answer = fresh.inline("upgrade", "--json")
    assert json.loads(answer.out)["changed"] == []


def test_what_an_erasure_keeps_in_git_stays_there(fresh: Repo) -> None:
    kept = fresh.root / "reports/evidence/472715a432724bcd"
    figures = fresh.root / "reports/plots/curve.json"
    for path in (kept / "verdict.json", kept / "verify.json.dvc", figures):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}\n")
    fresh.git("add", "--force", "reports")
    fresh.commit("an erasure")

    changed = fresh.inline("upgrade", "--json").json["changed"]

    assert changed == ["git: reports/plots/curve.json no longer tracked; git's history keeps them"]
    assert len(fresh.git("ls-files", "reports/evidence").split()) == 2
