"""A request that comes while something runs is never taken for applied before it is."""

import hashlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from unlearn.stages.ledger.log import read_log
from unlearn.stages.project.paths import Project

from tests.conftest import Repo, fresh_models, token_of
from tests.pipeline.conftest import FORGOTTEN, ids_at, running, wait_for


def _stop_dvc_after(repo: Repo, stage: str, *arguments: str) -> subprocess.Popen[str]:
    """Start `dvc repro` and hold it at the worst moment: a stage has ended, its deps are unhashed.

    DVC hashes what a stage depends on after the stage. Here it stands still until it is let go
    on, so that the moment lasts as long as the test needs it.
    """
    run = repo.start("repro", "--quiet", *arguments, module="dvc")
    wait_for(lambda: running(repo, "stage", stage) != [])
    os.kill(run.pid, signal.SIGSTOP)
    wait_for(lambda: running(repo, "stage", stage) == [])
    return run


def _let_go(run: subprocess.Popen[str]) -> None:
    os.kill(run.pid, signal.SIGCONT)
    _, said = run.communicate()
    assert run.returncode == 0, said


def _add_by_hand(repo: Repo, line: str) -> None:
    with (repo.root / "data/forget_list.txt").open("a", encoding="utf-8") as handle:
        handle.write(f"{line}\n")


def _list_md5_in_lock(repo: Repo, stage: str) -> str:
    deps = repo.lock()[stage]["deps"]
    return str(next(dep["md5"] for dep in deps if dep["path"] == "data/forget_list.txt"))


def _list_md5(repo: Repo) -> str:
    content = (repo.root / "data/forget_list.txt").read_bytes()
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.mark.slow
def test_a_line_added_by_hand_behind_the_back_of_forget_stays_pending(
    mlp: Repo, workspace: Path
) -> None:
    first, second = ids_at(mlp, "s001", range(4, 5))[:1], ids_at(mlp, "s003", range(4, 5))[:1]
    mlp.forget(first)
    run = _stop_dvc_after(mlp, "forget", "forget")
    # A token, as a merge in git brings it: no command will rewrite the line, and so the list.
    _add_by_hand(mlp, token_of(mlp, second[0]))
    standing = mlp.inline("status", "--json").json
    assert (standing["pending"], standing["applied"], standing["up_to_date"]) == (2, 0, False)
    _let_go(run)

    # The trap: DVC takes the line for applied, and would never run the stage for it again.
    assert _list_md5_in_lock(mlp, "forget") == _list_md5(mlp)
    assert mlp.inline("status", "--json").json["pending"] == 2
    mlp.stages("train@s001", "aggregate", "verify")
    standing = mlp.inline("status", "--json").json
    assert (standing["pending"], standing["applied"], standing["up_to_date"]) == (1, 1, False)
    report = mlp.report()
    assert report["verdict"] == "fail"
    assert any("a request is pending" in reason for reason in report["reasons"])
    assert mlp.inline("verify").code == 1

    mlp.ok("repro", "-j", "1")

    standing = mlp.inline("status", "--json").json
    assert (standing["pending"], standing["applied"], standing["up_to_date"]) == (0, 2, True)
    assert mlp.ok("verify", "--json").json["verdict"] == "pass"
    assert mlp.files("models") == fresh_models(mlp, workspace / "room", [*first, *second])


@pytest.mark.slow
def test_a_line_added_by_hand_while_forget_begins_is_applied_or_pending(mlp: Repo) -> None:
    mlp.forget(ids_at(mlp, "s001")[:1])
    run = mlp.start("repro", "--quiet", "forget", module="dvc")
    wait_for(lambda: running(mlp, "stage", "forget") != [])
    late = ids_at(mlp, "holdout")[0]
    _add_by_hand(mlp, late)
    # However the two met: what counts as applied is what the stage wrote down that it applied.
    while run.poll() is None:
        assert mlp.inline("status", "--json").json["applied"] <= _applied_to_holdout(mlp)
    assert run.communicate() is not None
    assert run.returncode == 0

    standing = mlp.inline("status", "--json").json
    assert standing["applied"] == _applied_to_holdout(mlp)
    assert standing["pending"] == 2 - standing["applied"]


def _applied_to_holdout(repo: Repo) -> int:
    """Count the rows of the holdout that its retain file is without."""
    applied = json.loads((repo.root / "data/forget_set/applied.json").read_text(encoding="utf-8"))
    return 0 if applied["shards"]["holdout"]["forget"] is None else 1


@pytest.mark.slow
def test_unlearn_forget_waits_until_dvc_has_hashed_the_list(mlp: Repo) -> None:
    mlp.forget(ids_at(mlp, "s001", range(4, 5))[:1])
    before = _list_md5(mlp)
    run = _stop_dvc_after(mlp, "forget", "forget")
    request = mlp.start("forget", "--id", ids_at(mlp, "s003", range(4, 5))[0], "--json")
    time.sleep(2.0)
    assert request.poll() is None
    assert _list_md5(mlp) == before
    _let_go(run)
    said, _ = request.communicate()

    assert request.returncode == 0
    assert json.loads(said)["added"] == 1
    assert _list_md5_in_lock(mlp, "forget") == before != _list_md5(mlp)
    # Plain `dvc repro` sees that there is something to do.
    assert "forget" in mlp.inline("status", "--json").json["changed"]


@pytest.mark.slow
def test_a_line_added_by_hand_behind_the_back_of_verify_makes_its_report_stale(
    forgotten: Repo,
) -> None:
    run = _stop_dvc_after(forgotten, "verify", "--force", "--single-item", "verify")
    _add_by_hand(forgotten, ids_at(forgotten, "s000")[0])
    _let_go(run)

    assert _list_md5_in_lock(forgotten, "verify") == _list_md5(forgotten)
    refused = forgotten.unlearn("verify", "--json")
    assert (refused.code, refused.json["verdict"]) == (1, "stale")
    standing = forgotten.inline("status", "--json").json
    assert (standing["pending"], standing["applied"]) == (1, len(FORGOTTEN))
    assert not standing["verified"]


@pytest.mark.slow
def test_requests_made_at_once_are_all_on_the_list(mlp: Repo) -> None:
    ids = [*ids_at(mlp, "s000")[:2], *ids_at(mlp, "s002")[:2]]
    requests = [mlp.start("forget", "--id", raw, "--ticket", f"T-{raw}") for raw in ids]
    for request in requests:
        _, said = request.communicate()
        assert request.returncode == 0, said

    lines = (mlp.root / "data/forget_list.txt").read_text(encoding="utf-8").splitlines()
    assert lines == sorted(set(lines))
    assert len(lines) == len(ids)
    log = read_log(Project(mlp.root)).entries
    assert {entry.ticket for entry in log} == {f"T-{raw}" for raw in ids}
    again = mlp.inline("forget", *(word for raw in ids for word in ("--id", raw)), "--json").json
    assert (again["added"], again["already"]) == (0, len(ids))
