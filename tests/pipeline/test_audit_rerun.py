"""`unlearn audit --rerun`: a revision of history is brought back, retrained and compared."""

import hashlib
import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from unlearn.stages.estimators.formats import SAFETENSORS
from unlearn.stages.project.files import json_bytes
from unlearn.stages.rows.tokens import Key
from unlearn.stages.training.lineage import read_lineage, sealed
from unlearn.stages.training.shard_model import read_shard_model
from unlearn.stages.verify.exactness.choosing import choose_shards

from tests.conftest import Repo, keep_apart
from tests.pipeline.conftest import change_a_weight, ids_at, wait_for

#: All of it takes minutes; what it is made of has quick tests of its own.
pytestmark = pytest.mark.slow

MODELS = "models/shard_models"
SHARDS = ["s000", "s001", "s002", "s003"]


def everything(repo: Repo) -> dict[str, Any]:
    """Return all that an audit could leave a trace in, and may not."""
    return {
        "files": repo.snapshot(),
        "index": (repo.root / ".git/index").read_bytes(),
        "head": repo.git("rev-parse", "HEAD"),
        "branches": repo.git("for-each-ref"),
        "worktrees": repo.git("worktree", "list"),
        "cache": sorted(repo.files(".dvc/cache")),
        "scratch": sorted(path.name for path in (repo.root / ".unlearn/scratch").glob("*")),
    }


def test_a_good_history_passes_and_leaves_no_trace(forgotten: Repo) -> None:
    # What a killed audit left behind, and what someone was working on.
    leftover = forgotten.root / ".unlearn/scratch/audit/tree/data"
    leftover.mkdir(parents=True)
    (leftover / "left.parquet").touch()
    (forgotten.root / "notes.txt").write_text("staged\n", encoding="utf-8")
    forgotten.git("add", "notes.txt")
    with (forgotten.root / "params.yaml").open("a", encoding="utf-8") as handle:
        handle.write("# being edited\n")
    before = everything(forgotten)

    new = forgotten.unlearn("audit", "--rerun", "all", "--json", "HEAD~1..HEAD")
    old = forgotten.unlearn("audit", "--rerun", "all", "--json", "HEAD~2..HEAD~1")

    for done in (new, old):
        assert done.code == 0, done.err
        assert done.json["verdict"] == "consistent"
        assert done.json["rerun"] == {
            "asked": "all",
            "shards": SHARDS,
            "reran": 4,
            "matched": 4,
            "inconclusive": [],
        }
    assert before["scratch"] == ["audit"]
    assert everything(forgotten) == before | {"scratch": []}


def test_the_shards_that_changed_come_first_and_people_are_told(forgotten: Repo) -> None:
    text = forgotten.ok("audit", "--rerun", "3", "HEAD~1..HEAD").out
    markdown = forgotten.ok("audit", "--rerun", "1", "--md", "HEAD~1..HEAD").out
    without = forgotten.ok("audit", "--json", "HEAD~1..HEAD").json

    digest = json.loads((forgotten.root / "data/forget_set/applied.json").read_text())["list"]
    three = choose_shards(SHARDS, digest, 3, first=["s001", "s003"])
    one = choose_shards(["s001", "s003"], digest, 1)[0]
    assert {"s001", "s003"} < set(three)
    assert f"retrained as a check: {', '.join(three)}; 3 of 3 shards gave the same model\n" in text
    assert f"Retrained as a check: {one}; 1 of 1 shard gave the same model.\n" in markdown
    assert without["rerun"] is None


def test_the_working_tree_is_checked_as_it_stands(forgotten: Repo) -> None:
    before = everything(forgotten)
    good = forgotten.unlearn("audit", "--rerun", "2", "--json", "HEAD~1..")
    assert good.code == 0, good.err
    assert good.json["rerun"]["shards"] == ["s001", "s003"]
    assert good.json["rerun"]["matched"] == 2
    assert everything(forgotten) == before

    change_a_weight(forgotten.root / MODELS / "s001/model.safetensors")
    bad = forgotten.inline("audit", "--rerun", "1", "--json", "HEAD~1..")
    both = forgotten.inline("audit", "--rerun", "all", "--md")
    assert bad.code == both.code == 1
    assert f"- **unexplained:** {MODELS}/s001 is not the one in dvc.lock" in both.out
    assert "### ❌ unlearn audit: inconsistent" in both.out

    shutil.rmtree(forgotten.root / MODELS / "s003")
    (forgotten.root / "data/shards/s001.parquet").unlink()
    refused = forgotten.inline("audit", "--rerun", "2", "--json", "HEAD~1..")
    assert refused.code == 2
    message = refused.json["error"]["message"]
    assert message == f"data/shards/s001.parquet, {MODELS}/s003 are missing"


def forge(repo: Repo, shard: str) -> None:
    """Change a weight, and let all digests and the seal say that it has to be so."""
    folder = repo.root / MODELS / shard
    change_a_weight(folder / "model.safetensors")
    lineage = read_lineage(folder)
    assert lineage is not None
    content = (folder / "model.safetensors").read_bytes()
    last = replace(lineage.slices[-1], state=SAFETENSORS.digest(content))
    files = lineage.files | {"model.safetensors": hashlib.sha256(content).hexdigest()}
    forged = replace(
        lineage,
        slices=(*lineage.slices[:-1], last),
        model=read_shard_model(folder, shard).digest,
        files=files,
        seal="",
    )
    key = Key((repo.root / "unlearn.key").read_text(encoding="ascii").strip())
    (folder / "lineage.json").write_bytes(json_bytes(sealed(key, forged).as_json()))


def commit_models(repo: Repo) -> None:
    """Make git and DVC believe in the models as they stand."""
    repo.dvc("commit", "--force", "--quiet")
    repo.commit("models")
    assert repo.inline("audit", "--json", "HEAD..HEAD").json["verdict"] == "consistent"


def test_a_committed_model_that_was_edited_under_its_lineage_is_caught(forgotten: Repo) -> None:
    change_a_weight(forgotten.root / MODELS / "s002/model.safetensors")
    commit_models(forgotten)

    done = forgotten.unlearn("audit", "--rerun", "all", "--json", "HEAD..HEAD")

    assert (done.code, done.json["verdict"]) == (1, "inconsistent")
    assert done.json["unexplained"] == ["s002: its files are not what its lineage says"]
    # It is the lineage that the retraining is compared with, and that was kept.
    assert (done.json["rerun"]["reran"], done.json["rerun"]["matched"]) == (4, 4)


def test_a_committed_forgery_by_someone_with_the_key_is_caught(forgotten: Repo) -> None:
    good = forgotten.git("rev-parse", "HEAD").strip()
    forge(forgotten, "s002")
    forgotten.stages("aggregate")
    commit_models(forgotten)
    # Put right since: it is the revision that is judged, not what stands now.
    forgotten.git("checkout", "--quiet", good, "--", "dvc.lock", "reports")
    forgotten.dvc("checkout", "--force", "--quiet")
    before = everything(forgotten)

    caught = forgotten.unlearn("audit", "--rerun", "all", "--json", f"{good}..HEAD")
    spared = forgotten.unlearn("audit", "--rerun", "all", "--json", f"{good}~1..{good}")

    assert (caught.code, caught.json["verdict"]) == (1, "inconsistent")
    assert "s002: retraining from its rows gives another model" in caught.json["unexplained"]
    assert (caught.json["rerun"]["reran"], caught.json["rerun"]["matched"]) == (4, 3)
    assert (spared.code, spared.json["verdict"]) == (0, "consistent")
    assert everything(forgotten) == before


def objects(repo: Repo, path: str) -> list[Path]:
    """Return the objects of DVC's cache that hold a folder's files as they stand."""
    # Two shards of as many rows have equal descriptions.
    wanted = {file for name, file in repo.files(path).items() if name != "model.json"}
    found = [file for file in (repo.root / ".dvc/cache").rglob("*") if file.is_file()]
    return [file for file in found if file.read_bytes() in wanted]


def test_what_was_purged_is_named(forgotten: Repo) -> None:
    for path in objects(forgotten, f"{MODELS}/s001"):
        path.unlink()

    done = forgotten.unlearn("audit", "--rerun", "2", "--json", "HEAD~1..HEAD")

    assert done.code == 2
    assert done.json["error"]["message"] == (
        f"HEAD: {MODELS}/s001: not in DVC's cache on this machine, and no remote is set"
    )
    assert list((forgotten.root / ".unlearn/scratch").glob("*")) == []

    # With a remote that has lost it as well, the same; the rows, too.
    shutil.rmtree(forgotten.root / ".dvc/cache")
    forgotten.dvc("remote", "add", "--default", "--quiet", "store", str(forgotten.root / "store"))
    done = forgotten.unlearn("audit", "--rerun", "1", "--json", "HEAD~1..HEAD~1")
    assert done.code == 2
    message = done.json["error"]["message"]
    assert "data/shards/s00" in message
    assert f"{MODELS}/s00" in message
    assert message.endswith("not in DVC's cache on this machine, and the remote did not give it")
    # Without the option nothing of it is needed.
    assert forgotten.inline("audit", "--json", "HEAD~1..HEAD").code == 0


@pytest.mark.parametrize("lost", ["all", "some"])
def test_what_the_cache_lacks_comes_from_the_remote_and_not_back_into_the_cache(
    forgotten: Repo, lost: str
) -> None:
    # Named on this machine only, and relative to DVC's own folder.
    forgotten.dvc("remote", "add", "--local", "--default", "--quiet", "my.store", "../my store")
    forgotten.dvc("push", "--quiet")
    gone = objects(forgotten, "data/shards") + objects(forgotten, f"{MODELS}/s001")
    if lost == "all":
        shutil.rmtree(forgotten.root / ".dvc/cache")
        (forgotten.root / ".dvc/cache").mkdir()
    for path in gone:
        path.unlink(missing_ok=True)
    before = everything(forgotten)

    done = forgotten.unlearn("audit", "--rerun", "2", "--json", "HEAD~1..HEAD")

    assert done.code == 0, done.err
    assert done.json["rerun"]["matched"] == 2
    assert everything(forgotten) == before


@pytest.mark.parametrize("dvc_at", ["project", "top"])
def test_a_project_in_a_subfolder_of_a_repository_is_checked(
    forgotten: Repo, workspace: Path, dvc_at: str
) -> None:
    top = Repo(workspace / "top")
    top.root.mkdir()
    top.git("init", "--quiet")
    top.git("config", "user.email", "tests@example.org")
    top.git("config", "user.name", "Tests")
    root = top.root / "many projects" / "ünlearn"
    shutil.copytree(forgotten.root, root, ignore=shutil.ignore_patterns(".git"))
    at = top.root if dvc_at == "top" else root
    if dvc_at == "top":
        shutil.move(root / ".dvc", top.root / ".dvc")
    keep_apart(at)
    # Somewhere else, and named from DVC's own folder.
    shutil.move(at / ".dvc/cache", workspace / "a cache")
    there = os.path.relpath(workspace / "a cache", at / ".dvc")
    with (at / ".dvc/config.local").open("a", encoding="utf-8") as handle:
        handle.write(f'[cache]\n    dir = "{there}"\n')
    (top.root / "dvc.yaml").write_text("broken: [\n", encoding="utf-8")
    top.commit("all")
    (top.root / "dvc.yaml").unlink()
    shutil.rmtree(root / "models")

    done = Repo(root / "data").unlearn("audit", "--rerun", "1", "--json", "HEAD..HEAD")

    assert done.code == 0, done.err
    assert (done.json["rerun"]["reran"], done.json["rerun"]["matched"]) == (1, 1)
    assert not (root / "models").exists()
    assert list((root / ".unlearn/scratch").glob("*")) == []


def test_another_environment_is_inconclusive_and_said_so(forgotten: Repo) -> None:
    # One of the facts that lineages name, as anyone may set it.
    elsewhere = {"MKL_CBWR": "COMPATIBLE"}

    done = forgotten.unlearn("audit", "--rerun", "2", "--json", "HEAD~1..HEAD", env=elsewhere)
    text = forgotten.unlearn("audit", "--rerun", "1", "HEAD~1..HEAD", env=elsewhere)
    markdown = forgotten.unlearn("audit", "--rerun", "1", "--md", "HEAD~1..HEAD", env=elsewhere)

    assert (done.code, done.json["verdict"]) == (1, "inconclusive")
    assert done.json["unexplained"] == []
    rerun = done.json["rerun"]
    assert (rerun["reran"], rerun["matched"], len(rerun["shards"])) == (0, 0, 2)
    (reason,) = rerun["inconclusive"]
    assert reason.endswith("mkl: COMPATIBLE here, auto there")
    assert text.code == markdown.code == 1
    assert text.out.endswith("verdict: inconclusive\n")
    assert f"inconclusive: {reason}\n" in text.out
    assert "### ❔ unlearn audit: inconclusive" in markdown.out
    assert f"- **inconclusive:** {reason}\n" in markdown.out


def test_an_interrupted_audit_leaves_nothing_behind(people: Repo) -> None:
    # The user's own code waits while this file is beside it, in the revision too.
    (people.root / ".unlearn/hold").touch()
    people.git("add", "--force", ".unlearn/hold")
    people.commit("held")
    before = everything(people)
    scratch = people.root / ".unlearn/scratch"
    audit = people.start("audit", "--rerun", "all", "HEAD..HEAD")
    wait_for(lambda: any(scratch.rglob("held")))
    started = psutil.Process(audit.pid).children(recursive=True)

    # As a terminal does it: to the command and all that it started.
    os.killpg(audit.pid, signal.SIGINT)
    out, err = audit.communicate(timeout=60)

    assert audit.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert "leaked" not in err
    _, alive = psutil.wait_procs(started, timeout=10)
    assert alive == []
    assert everything(people) == before
    assert before["scratch"] == []


def test_a_worker_of_verify_that_dies_ends_it_with_an_error(people: Repo) -> None:
    people.set_params(verify={"rerun": "all"})
    for shard in ("s000", "s001", "s002"):
        people.forget(ids_at(people, shard)[:1])
    people.stages("forget", "train@s000", "train@s001", "train@s002", "aggregate")
    report = (people.root / "reports/verify.json").read_bytes()
    private = people.root / ".unlearn"
    (private / "hold").touch()
    stage = people.start("stage", "verify")
    wait_for((private / "held").exists)

    workers = [
        child
        for child in psutil.Process(stage.pid).children()
        if any("spawn_main" in word for word in child.cmdline())
    ]
    workers[0].kill()
    _, err = stage.communicate(timeout=60)

    assert len(workers) == min(3, os.cpu_count() or 1)
    assert stage.returncode == 3
    assert "error: a training process died\n" in err
    assert (people.root / "reports/verify.json").read_bytes() == report
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert alive == []

    (private / "hold").unlink()
    people.ok("stage", "verify")
    assert people.report()["exactness"]["reran"] == people.report()["exactness"]["matched"] == 3


@pytest.mark.parametrize("count", ["0", "-1", "1.5", "some", "", "٣"])
def test_no_number_of_shards_is_an_error(forgotten: Repo, count: str) -> None:
    done = forgotten.inline("audit", f"--rerun={count}", "--json")

    assert done.code == 2
    assert "--rerun takes a number of shards" in done.json["error"]["message"]


def test_what_a_revision_cannot_be_read_with_is_said_of_that_revision(
    forgotten: Repo,
) -> None:
    key = (forgotten.root / "unlearn.key").read_text(encoding="ascii").strip()
    (forgotten.root / "unlearn.key").unlink()
    wrong = {"UNLEARN_KEY": "0" * 64}

    unknown = forgotten.inline("audit", "--rerun", "1", "--json", "HEAD~1..no-such-branch")
    keyless = forgotten.inline("audit", "--rerun", "1", "--json", "HEAD~1..HEAD")
    another = forgotten.unlearn("audit", "--rerun", "1", "--json", "HEAD~1..HEAD", env=wrong)
    by_name = {"UNLEARN_KEY": key}
    good = forgotten.unlearn("audit", "--rerun", "1", "--json", "HEAD~1..HEAD", env=by_name)

    assert unknown.code == keyless.code == another.code == 2
    assert unknown.json["error"]["message"] == "git knows no revision 'no-such-branch' here"
    assert keyless.json["error"]["message"].startswith("HEAD: there is no project key")
    assert another.json["error"]["message"].startswith("HEAD: the key in UNLEARN_KEY is not")
    assert good.code == 0, good.err
    assert list((forgotten.root / ".unlearn/scratch").glob("*")) == []
