"""The other commands on a project that ran: what they say, and their exit codes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
from unlearn.cli.app import run
from unlearn.stages.config.params import ALGORITHM
from unlearn.stages.rows.tokens import DEMO_KEY

from tests.cli.conftest import FRAME, IDS, PEOPLE, SECRET, refused, unchanged
from tests.conftest import Repo, drop_rows, places, use_key


def test_help_names_every_command(tmp_path: Path) -> None:
    done = Repo(tmp_path).inline("--help")

    for command in (
        *("init", "forget", "plan", "repro", "status", "audit", "verify", "predict", "doctor"),
        *("stage", "canary", "report"),
    ):
        assert f"  {command} " in done.out
        assert Repo(tmp_path).inline(command, "--help").code == 0


def test_no_command_is_a_usage_error_that_shows_the_help(tmp_path: Path) -> None:
    done = Repo(tmp_path).inline()

    assert done.code == 2
    assert "Usage: unlearn" in done.out


def test_tracebacks_are_shown_where_they_are_asked_for(tmp_path: Path) -> None:
    plain, debug = (Repo(tmp_path).inline(*words) for words in (["status"], ["status", "--debug"]))

    assert "Traceback" not in plain.err
    assert "Traceback" in debug.err
    assert debug.code == plain.code == 2


def test_a_reader_that_leaves_is_no_error(done: Repo) -> None:
    command = f"{sys.executable} -m unlearn.cli --help | true; exit ${{PIPESTATUS[0]}}"
    answer = done.run("bash", "-c", command)

    assert answer.code == 0
    assert "Traceback" not in answer.err


def wait_until_idle(pid: int) -> None:
    """Return once a process has done nothing for a second, after it had begun."""
    process, before = psutil.Process(pid), -1.0
    while (now := process.cpu_times().user) != before or now < 0.2:
        before = now
        time.sleep(1.0)


@pytest.mark.slow
def test_who_presses_ctrl_c_is_told_and_the_exit_code_says_so(done: Repo) -> None:
    code = "from unlearn.cli.app import main; main()"
    waiting = subprocess.Popen(
        [sys.executable, "-c", code, "forget", "--ids", "-"],
        cwd=done.root,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    # Until it reads its standard input it may not have got as far as to handle a signal.
    wait_until_idle(waiting.pid)
    waiting.send_signal(signal.SIGINT)
    _, said = waiting.communicate()

    assert (waiting.returncode, said.strip()) == (130, "error: interrupted")


def test_the_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, unlearn.cli.app as app; app.run(['--help']);"
        "heavy = {'torch', 'sklearn', 'pandas', 'numpy', 'pyarrow', 'dvc', 'pydantic', 'skops'};"
        "sys.exit(', '.join(sorted(heavy & sys.modules.keys())) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_running_the_command_line_gives_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    assert run(["nope"]) == 2
    assert "error: No such command 'nope'." in capsys.readouterr().err


@pytest.mark.slow
def test_status_follows_a_request(done: Repo) -> None:
    assert "models: up to date" in done.inline("status").out
    done.inline("forget", "--id", "r0001", "--ticket", "T-1")
    text = done.inline("status").out

    assert "1 line pending, 0 applied" in text
    assert "T-1" in text
    assert "run `unlearn repro`" in text
    done.stages()
    done.dvc("commit", "--force", "--quiet")
    found = done.inline("status", "--json").json
    assert (found["pending"], found["applied"], found["verified"]) == (0, 1, True)
    assert found["up_to_date"]


def test_status_before_a_first_run(fresh: Repo) -> None:
    found = fresh.inline("status", "--json").json

    assert (found["pending"], found["applied"], found["up_to_date"]) == (0, 0, False)


def test_a_line_written_by_hand_is_pending_and_counted(done: Repo) -> None:
    (done.root / "data/forget_list.txt").write_text("r0001\n", encoding="ascii")
    found = done.inline("status", "--json").json

    assert (found["pending"], found["by_hand"], found["up_to_date"]) == (1, 1, False)


@pytest.mark.slow
def test_plan_changes_nothing_and_can_be_a_gate(done: Repo) -> None:
    with unchanged(done.root):
        nothing = done.inline("plan", "--exit-code")
        something = done.unlearn("plan", "--ids", "-", "--exit-code", stdin="r0001\n")

    assert (nothing.code, nothing.out) == (0, "nothing to do\n")
    assert something.code == 1
    assert "records to forget: 1" in something.out


def test_plan_for_people(people: Repo) -> None:
    person = str(PEOPLE["person"][0])
    (people.root / "who.txt").write_text(f"{person}\n", encoding="utf-8")
    done = people.inline("plan", "--subjects", "who.txt", "--json")

    assert done.json["records"] == (PEOPLE["person"] == person).sum()


@pytest.mark.slow
def test_audit_explains_a_request(done: Repo) -> None:
    where = places(done)
    raw = next(raw for raw in IDS if not where[raw].is_holdout)
    stage = f"train@{where[raw].shard}"
    done.inline("forget", "--id", raw)
    pending = done.inline("audit")
    assert pending.code == 1
    assert "unexplained: " in pending.out
    done.stages()
    done.dvc("commit", "--force", "--quiet")

    applied = done.inline("audit", "--json")
    assert applied.code == 0, applied.out
    assert applied.json["forgotten"] == 1
    assert applied.json["retrained"] == [stage]
    assert len(applied.json["untouched"]) == 2
    done.commit("forget")
    between = done.inline("audit", "HEAD~1..HEAD", "--json").json
    assert {**between, "old": "", "new": ""} == {**applied.json, "old": "", "new": ""}
    markdown = done.inline("audit", "HEAD~1..HEAD", "--md").out
    assert "| forgotten | retrained | untouched | unexplained |" in markdown
    assert f"| `{stage}` | new lines on the forget list |" in markdown
    assert done.inline("audit").code == 0


def test_audit_needs_a_lock(fresh: Repo) -> None:
    assert "has no dvc.lock to audit" in refused(fresh.inline("audit"))


def test_an_edited_model_is_unexplained(done: Repo) -> None:
    """Whoever records a model by hand has a lock that names another one for the same rows."""
    path = done.root / "models/shard_models/s000/model.skops"
    path.write_bytes(path.read_bytes() + b"\0")
    done.dvc("commit", "--force", "--quiet", "train@s000")

    answer = done.inline("audit", "--json")
    assert answer.code == 1
    assert "train@s000 changed without a cause" in answer.json["unexplained"]


def test_verify_is_a_gate(done: Repo) -> None:
    assert done.inline("verify").code == 0
    done.inline("forget", "--id", "r0001")

    stale = done.inline("verify", "--json")
    assert (stale.code, stale.json["verdict"]) == (1, "stale")


def test_verify_before_a_first_run(fresh: Repo) -> None:
    assert "there is no reports/verdict.json yet" in refused(fresh.inline("verify"))


def test_verify_fails_on_a_report_that_failed(done: Repo) -> None:
    path = done.root / "reports/verdict.json"
    report = json.loads(path.read_text(encoding="utf-8")) | {"verdict": "inconclusive"}
    path.write_text(json.dumps(report), encoding="utf-8")

    assert done.inline("verify").code == 1


@pytest.mark.parametrize("output", ["csv", "parquet", "jsonl"])
def test_predict_is_the_python_call(done: Repo, output: str) -> None:
    from unlearn.stages.final_model.ensemble import load_ensemble

    answer = done.inline("predict", "--input", "data/dataset.csv", "--output", f"out.{output}")

    assert answer.code == 0, answer.err
    path = done.root / f"out.{output}"
    if output == "csv":
        found = pd.read_csv(path)
    elif output == "jsonl":
        found = pd.read_json(path, lines=True)
    else:
        found = pd.read_parquet(path)
    assert found["id"].tolist() == IDS
    assert found["prediction"].tolist() == load_ensemble(done.root / "models/final_model").predict(
        FRAME
    )


def test_predict_from_anywhere_with_a_folder_alone(done: Repo, tmp_path: Path) -> None:
    away = tmp_path / "away"
    away.mkdir()
    (done.root / "models/final_model").rename(away / "model")
    FRAME.to_csv(away / "rows.csv", index=False)

    answer = Repo(away).inline(
        "predict", "--model", "model", "--input", "rows.csv", "--output", "out.csv"
    )

    assert answer.code == 0, answer.err
    assert len(pd.read_csv(away / "out.csv")) == 90


def findings(repo: Repo) -> str:
    answer = repo.inline("doctor", "--json")
    assert answer.code == (1 if answer.json["findings"] else 0)
    return "\n".join(answer.json["findings"])


def test_doctor_finds_nothing_in_a_healthy_project(done: Repo) -> None:
    answer = done.unlearn("doctor")

    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[-1] == "nothing found"
    for place in ("the dataset", "the shards", "DVC's cache", "git's stash", "experiments of DVC"):
        assert place in lines[-2]


def test_doctor_never_says_that_nothing_is_found_with_a_place_unseen(done: Repo) -> None:
    done.dvc("remote", "add", "far", "s3://bucket/path")
    done.dvc("remote", "add", "near", str(done.root.parent / "near"))
    answer = done.inline("doctor")

    assert answer.code == 0
    *_, unseen, last = answer.out.splitlines()
    assert unseen == (
        "not looked at: the remote far (remotes of the kind s3 are not searched), "
        "the remote near (its folder is not there)"
    )
    assert last == "nothing found where it looked"
    value = done.inline("doctor", "--json").json
    assert {"the remote far", "the remote near"} == {
        place["name"] for place in value["places"] if not place["looked"]
    }


def test_doctor_without_a_key_names_what_it_did_not_search(done: Repo) -> None:
    (done.root / "unlearn.key").unlink()
    value = done.inline("doctor", "--json").json

    unseen = {place["name"] for place in value["places"] if not place["looked"]}
    assert unseen == {"the dataset", "the shards", "DVC's cache"}


@pytest.mark.slow
def test_doctor_searches_a_remote_that_is_a_folder(done: Repo) -> None:
    done.dvc("remote", "add", "--default", "near", "../../near")
    done.dvc("push")
    done.inline("forget", "--id", "r0001")
    done.stages()
    value = done.inline("doctor", "--json").json

    assert any("objects in the remote near still hold rows" in said for said in value["findings"])
    (place,) = [place for place in value["places"] if place["name"] == "the remote near"]
    assert place["looked"]
    assert place["objects"] > 0


def test_doctor_deletes_what_killed_runs_left(done: Repo) -> None:
    path = done.root / "data/.unlearn-tmp-4194999-x"
    path.write_bytes(b"rows")
    answer = done.inline("doctor")

    assert answer.code == 0
    assert f"deleted, left by killed runs: data/{path.name}" in answer.out
    assert not path.exists()


@pytest.mark.slow
def test_doctor_names_what_is_wrong(done: Repo) -> None:
    root = done.root
    (root / "unlearn.key").chmod(0o644)
    assert "unlearn.key can be read by others" in findings(done)
    (root / "unlearn.key").chmod(0o600)
    (root / f"models/.unlearn-tmp-{os.getpid()}-x").write_bytes(b"")
    (root / "models/shard_models/s007").mkdir()
    found = findings(done)
    assert "1 half-written file" in found
    assert "models of shards that shards.yaml does not name: s007" in found
    (root / "models/old/deep").mkdir(parents=True)
    (root / "models/old/deep/model.skops").write_bytes(b"")
    assert "1 file below models/ that no stage wrote, such as models/old/deep/model.skops" in (
        findings(done)
    )
    done.git("add", "--force", "unlearn.key", "data/shards/s000.parquet")
    found = findings(done)
    assert "git tracks files that must not be in git" in found
    assert "unlearn.key" in found
    (root / ".gitignore").write_text("", encoding="utf-8")
    assert ".gitignore does not cover unlearn.key" in findings(done)
    (root / ".gitignore").write_text("*.json\n", encoding="utf-8")
    assert "git ignores files that it has to keep: data/requests/*.json" in findings(done)


def test_doctor_names_a_lock_that_was_cut_short(done: Repo) -> None:
    path = done.root / "dvc.lock"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])

    assert "`unlearn repro` repairs it" in findings(done)


def test_doctor_warns_of_the_demo_key_and_of_models_that_hold_rows(fresh: Repo) -> None:
    use_key(fresh, DEMO_KEY)
    fresh.set_params(train={"model": "sklearn.neighbors.KNeighborsClassifier"})
    found = findings(fresh)

    assert "the published demo key" in found
    assert "stores training rows inside the model" in found


@pytest.mark.slow
def test_doctor_finds_copies_of_forgotten_rows(done: Repo) -> None:
    done.inline("forget", "--id", "r0001")
    done.stages()
    found = findings(done)
    assert "data/dataset.csv still holds rows of forgotten records" in found
    assert "below data/ still hold rows of forgotten records" in found
    assert "objects in DVC's cache still hold rows" in found

    drop_rows(done, ["r0001"])
    done.stages()
    found = findings(done)
    assert "data/dataset.csv still" not in found
    assert "below data/" not in found
    assert "objects in DVC's cache still hold rows" in found, (
        "history keeps them until it is purged"
    )


def test_doctor_says_where_it_cannot_tell_whether_a_copy_is_left(done: Repo) -> None:
    done.inline("forget", "--id", "r0001")
    folder = done.root / ".dvc/cache/files/md5/00"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "old").write_text("id,x0\n,1\nr0001,2\n", encoding="utf-8")
    (folder / "other").write_text("name,x0\n,1\n", encoding="utf-8")

    assert "1 object in DVC's cache may be an older dataset" in findings(done)


def test_doctor_reports_lines_by_hand_without_quoting_them(done: Repo) -> None:
    (done.root / "data/forget_list.txt").write_text(f"{SECRET}\n", encoding="ascii")
    answer = done.inline("doctor")

    assert "1 line of the forget list written by hand" in answer.out
    assert SECRET not in answer.out + answer.err


def test_doctor_reports_broken_settings_and_goes_on(done: Repo) -> None:
    (done.root / "params.yaml").write_text(f"algorithm: {ALGORITHM}\n", encoding="ascii")
    (done.root / f"models/.unlearn-tmp-{os.getpid()}-x").write_bytes(b"")
    found = findings(done)

    assert "params.yaml: key_check: field required" in found
    assert "1 half-written file" in found


STAGES = ("recipe", "shard", "forget", "train@s000", "aggregate", "verify")


@pytest.mark.parametrize("trouble", ["no key", "wrong key", "another algorithm"])
def test_no_stage_does_anything_without_the_right_key_and_algorithm(
    done: Repo, trouble: str
) -> None:
    if trouble == "no key":
        (done.root / "unlearn.key").unlink()
    elif trouble == "wrong key":
        (done.root / "unlearn.key").write_text("ab" * 32, encoding="ascii")
    else:
        done.set_params(algorithm=1)

    with unchanged(done.root):
        for stage in STAGES:
            refused(done.inline("stage", stage))
