"""A model without shards, with real DVC: a request reruns the methods, and never the training."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Done, Repo, clean_room, drop_rows, make_frame, make_project, without_log
from tests.pipeline.conftest import KEY, Bases, ids_at, kill_group, stages_run

#: The stages themselves are tested faster, in one process.
pytestmark = pytest.mark.slow

METHODS = ["retrain", "finetune", "ssd"]
#: The stages that make their models, and the names that these have in answers.
MAKERS = ["young", *(f"unlearn@{name}" for name in METHODS)]
COMPARED = ["young", *METHODS]
OWN = "my.py:forget_it"
MY = """
def forget_it(model, forget, retain, settings, run):
    for weight in model.parameters():
        weight.data.mul_(settings["factor"])
    return model
"""
#: The exit code of a command that found another one at work.
BUSY = 4

TRAIN: dict[str, Any] = {"model": "mlp", "options": {"hidden": [6]}, "epochs": 5}

#: By the keys that the JSON promises of every method.
KEYS = {
    "label",
    "verdict",
    "reasons",
    "forget_accuracy",
    "retain_accuracy",
    "holdout_accuracy",
    "membership",
    "disagreement_with_retrain",
    "seconds",
    "stopped_by",
}


def _new(root: Path) -> Repo:
    options = ("--template", "posthoc", "--holdout", "0.3")
    repo = make_project(root, make_frame(120), *options, train=TRAIN, key=KEY)
    repo.set_params(unlearn={"methods": METHODS, "deploy": "retrain"})
    repo.commit("methods")
    return repo


def _ran(root: Path) -> Repo:
    """Return a new project after a first run, which is not what is tested: its stages only."""
    repo = _new(root)
    repo.stages("shard", "train", "forget", *MAKERS, "aggregate", "verify")
    repo.dvc("commit", "--force", "--quiet")
    repo.commit("run")
    return repo


def _asked(repo: Repo) -> None:
    """Make a request, carry it out and commit it; note what was said of it beside the project."""
    repo.forget(ids_at(repo, "s000")[:12])
    said = {name: repo.inline(name, "--json").json for name in ("status", "plan")}
    said["repro"] = repo.ok("repro", "--json").json
    repo.commit("forgot")
    _note(repo).write_text(json.dumps(said), encoding="utf-8")


def _note(repo: Repo) -> Path:
    return repo.root.parent / "said-of-the-request.json"


@pytest.fixture
def posthoc(bases: Bases, workspace: Path) -> Repo:
    """Return a project whose original was trained, up to date, with nobody on the list."""
    return bases.get("posthoc", _ran).copy(workspace / "posthoc")


@pytest.fixture(scope="session")
def carried_out(bases: Bases) -> Repo:
    def make(root: Path) -> Repo:
        repo = bases.get("posthoc", _ran).copy(root)
        _asked(repo)
        return repo

    return bases.get("posthoc-asked", make)


@pytest.fixture
def asked(carried_out: Repo, workspace: Path) -> Repo:
    """Return that project after a request for twelve rows, carried out and committed."""
    return carried_out.copy(workspace / "asked")


def methods_run(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return the stages whose entry in dvc.lock is another one."""
    return [name for name in after if before.get(name) != after[name]]


def audit(repo: Repo, *arguments: str) -> Done:
    return repo.inline("audit", *arguments, "--json")


def test_a_request_from_plan_to_report(asked: Repo, carried_out: Repo) -> None:
    """`train` stays as it is: what the plan names is what runs, and the audit agrees."""
    said = json.loads(_note(carried_out).read_text(encoding="utf-8"))
    before = yaml.safe_load(asked.git("show", "HEAD~1:dvc.lock"))["stages"]
    after = asked.lock()

    assert (said["status"]["pending"], said["status"]["up_to_date"]) == (12, False)
    assert said["plan"]["records"] == 12
    assert said["plan"]["stages"] == ["forget", *MAKERS, "aggregate", "verify"]
    assert sorted(methods_run(before, after)) == sorted(said["plan"]["stages"])
    assert (said["repro"]["trained"], said["repro"]["verdict"]) == (COMPARED, "pass")
    assert after["train"] == before["train"]
    assert after["shard"] == before["shard"]
    status = asked.inline("status", "--json").json
    assert (status["pending"], status["applied"], status["up_to_date"]) == (0, 12, True)
    assert asked.inline("plan", "--json").json["stages"] == []

    found = audit(asked, "HEAD~1..HEAD").json
    assert (found["verdict"], found["forgotten"]) == ("consistent", 12)
    assert sorted(found["retrained"]) == sorted(MAKERS)
    assert "train" in found["untouched"]
    # Of the dataset and its copies there is something to say; of stages and lock there is not.
    findings = asked.inline("doctor", "--json").json["findings"]
    assert not [said for said in findings if "stage" in said or "dvc.lock" in said]
    assert any("data/dataset.csv still holds rows" in said for said in findings)


def test_git_gets_no_row_and_no_model(asked: Repo) -> None:
    asked.commit("everything")
    tracked = asked.git("ls-files").split()

    models = [name for name in tracked if name.startswith("models/")]
    assert [name for name in models if not name.endswith(".gitignore")] == ["models/README.md"]
    assert without_log(name for name in tracked if name.startswith("data/")) <= {
        "data/.gitignore",
        "data/dataset.csv.dvc",
        "data/forget_list.txt",
    }
    assert "unlearn.key" not in tracked


def test_what_is_said_of_the_methods(asked: Repo) -> None:
    value = asked.ok("verify", "--json").json
    table = asked.dvc("metrics", "show").out

    assert (value["verdict"], value["label"]) == ("pass", "exact")
    assert set(value["methods"]) == set(COMPARED)
    for name, found in value["methods"].items():
        assert found.keys() >= KEYS
        assert found["seconds"] > 0
        assert f"reports/methods/{name}.json" in table.replace("\\", "/")
        assert found["label"] == ("exact" if name in ("retrain", "young") else "approximate")
    assert "timings.json" not in str(asked.lock())


def test_the_same_again_runs_nothing_and_dvc_alone_does_as_much(asked: Repo) -> None:
    before = asked.snapshot()

    assert asked.ok("repro", "--json").json["trained"] == []
    assert stages_run(asked.dvc("repro").out) == []
    assert asked.snapshot() == before


def edit_lock(repo: Repo, stage: str, *, outs: bool) -> None:
    path = repo.root / "dvc.lock"
    lock = yaml.safe_load(path.read_text(encoding="utf-8"))
    entry = lock["stages"][stage]
    entry["outs" if outs else "deps"][0]["md5"] = "0" * 32 + ".dir"
    path.write_text(yaml.safe_dump(lock), encoding="utf-8")


def drop_a_line(repo: Repo) -> None:
    path = repo.root / "data/forget_list.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]), encoding="ascii")


TAMPERED = {
    "the out of a method": lambda repo: edit_lock(repo, "unlearn@ssd", outs=True),
    "what a method read": lambda repo: edit_lock(repo, "unlearn@ssd", outs=False),
    "the out of the training": lambda repo: edit_lock(repo, "train", outs=True),
    "a line taken off the list": drop_a_line,
}


@pytest.mark.parametrize("tamper", TAMPERED.values(), ids=TAMPERED)
def test_an_audit_finds_what_was_tampered_with(asked: Repo, tamper: Any) -> None:
    assert audit(asked, "HEAD~1..HEAD").json["verdict"] == "consistent"
    tamper(asked)
    asked.commit("tampered")
    found = audit(asked, "HEAD~1..HEAD")

    assert found.code == 1
    assert found.json["verdict"] == "inconsistent"
    assert found.json["unexplained"]


def test_a_setting_of_one_method_trains_nothing(asked: Repo) -> None:
    before = asked.lock()
    models = asked.files("models/unlearned")
    settings = asked.params()["unlearn"]["settings"]
    asked.set_params(unlearn={"settings": settings | {"ssd": {"selection": 1.5}}})
    plan = asked.inline("plan", "--json").json
    done = asked.ok("repro", "--json").json
    after = asked.files("models/unlearned")

    ran = set(methods_run(before, asked.lock()))
    # What is deployed comes out as it was, which no plan can know.
    assert set(plan["stages"]) - ran == {"aggregate"}
    assert ran <= set(plan["stages"])
    assert done["trained"] == ["ssd"]
    assert {name.partition("/")[0] for name in models if models[name] != after[name]} == {"ssd"}
    assert asked.lock()["train"] == before["train"]


def test_a_method_of_ones_own_runs_as_a_stage(asked: Repo) -> None:
    (asked.root / "my.py").write_text(MY, encoding="utf-8")
    pipeline = asked.root / "dvc.yaml"
    text = pipeline.read_text(encoding="utf-8")
    added = "      - data/retain_set\n      - data/forget_set\n      - my.py\n"
    old = "      - data/retain_set\n      - data/forget_set\n    params:\n"
    assert text.count(old) >= 1
    pipeline.write_text(
        text.replace(old, added + "    params:\n", 1) if "my.py" not in text else text,
        encoding="utf-8",
    )
    asked.set_params(unlearn={"methods": [*METHODS, OWN], "own": {OWN: {"factor": 0.5}}})
    asked.ok("repro")

    assert asked.report()["methods"][OWN]["label"] == "approximate"
    assert asked.report()["verdict"] == "pass"
    assert f"unlearn@{OWN}" in asked.lock()


def test_retraining_and_the_final_model_are_a_clean_room(asked: Repo, workspace: Path) -> None:
    first, second = ids_at(asked, "s000")[:12], ids_at(asked, "s000")[12:17]
    asked.forget(second)
    asked.dvc("repro", "--quiet")
    room = clean_room(asked, workspace / "room", [*first, *second])
    room.dvc("repro", "--quiet", "aggregate", "young")

    for name in ("retrain", "young"):
        folder = f"models/unlearned/{name}"
        assert asked.files(folder) == room.files(folder)
    assert asked.files("models/final_model") == room.files("models/final_model")
    assert asked.files("models/unlearned/ssd") != room.files("models/unlearned/ssd")
    assert asked.files("models/original") != room.files("models/original")


def test_nobody_comes_back_to_an_original_that_is_trained_here(
    asked: Repo, workspace: Path
) -> None:
    """Forget A, drop A's rows, forget B: the original is trained without A."""
    first, second = ids_at(asked, "s000")[:12], ids_at(asked, "s000")[12:20]
    before = asked.files("models/original")
    drop_rows(asked, first)
    asked.forget(second)
    plan = asked.inline("plan", "--json").json
    asked.ok("repro")
    room = clean_room(asked, workspace / "room", first)
    room.forget(second)
    room.ok("repro")

    assert "train" in plan["stages"]
    assert asked.files("models/original") != before
    assert asked.files("models/original") == room.files("models/original")
    assert asked.files("models/unlearned") == room.files("models/unlearned")
    assert asked.report()["verdict"] == "pass"


def test_after_a_kill_the_next_run_ends_with_the_same_bytes(posthoc: Repo, workspace: Path) -> None:
    posthoc.forget(ids_at(posthoc, "s000")[:12])
    unhurt = posthoc.copy(workspace / "unhurt")
    began = time.monotonic()
    unhurt.ok("repro")
    length = time.monotonic() - began
    expected = unhurt.snapshot()
    for share, whole_group in ((0.35, True), (0.7, False)):
        repo = posthoc.copy(workspace / f"hurt-{share}")
        run = repo.start("repro")
        time.sleep(length * share)
        if whole_group:
            kill_group(run)
        else:
            run.send_signal(signal.SIGKILL)
            run.wait()
        again = repo.unlearn("repro")
        deadline = time.monotonic() + 10 * length
        while again.code == BUSY and time.monotonic() < deadline:
            # The DVC that lives on has stages to run yet, longer than a command waits for it.
            again = repo.unlearn("repro")

        assert again.code == 0, again.err
        found = repo.snapshot()
        # Not what `seconds` are kept in: a run that was cut short has other ones.
        for files in (found, expected):
            files.pop("reports/timings.json", None)
        assert found == expected, f"killed after {share:.0%}"


def test_records_of_all_methods_are_sealed_and_whole(asked: Repo) -> None:
    for name in COMPARED:
        files = asked.files(f"models/unlearned/{name}")
        record = json.loads(files["record.json"])
        assert set(record["files"]) == files.keys() - {"record.json"}
        assert record["method"] == name
