"""Requests that wait for each other: what `repro`, `plan` and `status` do and say."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from unlearn.stages.requests.deadlines import today

from tests.cli.conftest import refused
from tests.conftest import Done, Repo, places

DAY = timedelta(days=1)


def trained_ids(repo: Repo, count: int = 4) -> list[str]:
    """Return records that models are trained on."""
    return [raw for raw, place in places(repo).items() if not place.is_holdout][:count]


@contextmanager
def on(day: date) -> Iterator[None]:
    """Let the command run on another day."""
    with (
        mock.patch("unlearn.stages.requests.batch.today", return_value=day),
        mock.patch("unlearn.cli.status.today", return_value=day),
    ):
        yield


def repro(repo: Repo, *options: str, code: int = 0) -> dict[str, Any]:
    done = repo.inline("repro", "-j", "1", "--json", *options)
    assert done.code == code, done.err
    return done.json


def batch(repo: Repo, command: str = "status") -> dict[str, Any] | None:
    done = repo.inline(command, "--json")
    assert done.code == 0, done.err
    found = done.json["batch"]
    assert found is None or isinstance(found, dict)
    return found


@pytest.fixture
def waiting(done: Repo) -> Repo:
    """Return a project that is up to date, whose requests wait for two others, or ten days."""
    done.set_params(requests={"batch": {"at_least": 3, "at_most_days": 10}})
    done.commit("settings")
    return done


@pytest.mark.slow
def test_without_the_setting_nothing_waits(done: Repo) -> None:
    done.forget(trained_ids(done, 1))
    assert batch(done) is None
    assert done.inline("plan", "--exit-code").code == 1
    answer = repro(done, "--exit-code")
    assert answer["batch"] is None
    assert len(answer["trained"]) == 1


@pytest.mark.slow
def test_requests_wait_until_there_are_enough(waiting: Repo) -> None:
    ids = trained_ids(waiting)
    assert batch(waiting)["waiting"] == 0  # type: ignore[index]
    waiting.forget(ids[:1], "--ticket", "T-1")
    waiting.forget(ids[1:2], "--ticket", "T-2")
    before = waiting.snapshot()

    answer = repro(waiting)
    assert (answer["trained"], answer["verdict"]) == ([], None)
    assert answer["batch"] == {
        "waiting": 2,
        "counted": 2,
        "at_least": 3,
        "due": (today() + 10 * DAY).isoformat(),
        "is_due": False,
        "reason": "the oldest request waits 10 days",
    }
    assert answer["batch"] == batch(waiting) == batch(waiting, "plan")
    repro(waiting, "--exit-code", code=1)
    assert waiting.inline("plan", "--exit-code").code == 0
    assert "2 requests wait for 1 more, until" in waiting.inline("repro").out
    shown = waiting.inline("status").out
    assert "batch: 2 requests wait for 1 more, until" in shown
    assert "to do: nothing, until the batch is due" in shown
    assert waiting.snapshot() == before

    # A plan for one more says that the run would be due.
    planned = waiting.inline("plan", "--ids", "-", "--json", stdin=f"{ids[2]}\n").json
    assert (planned["batch"]["counted"], planned["batch"]["is_due"]) == (3, True)
    waiting.forget(ids[2:3])
    assert "batch: due now, because at least 3 requests wait" in waiting.inline("plan").out
    assert waiting.inline("plan", "--exit-code").code == 1
    assert repro(waiting, "--exit-code")["verdict"] in ("pass", "inconclusive")
    assert batch(waiting)["waiting"] == 0  # type: ignore[index]
    # Nothing waits, and so nothing is logged.
    entries = waiting.files("data/requests")
    repro(waiting, "--now")
    assert waiting.files("data/requests") == entries


@pytest.mark.slow
def test_the_oldest_request_waits_so_many_days_and_no_longer(waiting: Repo) -> None:
    waiting.forget(trained_ids(waiting, 1))
    with on(today() + 9 * DAY):
        assert repro(waiting)["batch"]["is_due"] is False
    with on(today() + 10 * DAY):
        assert batch(waiting)["is_due"] is True  # type: ignore[index]
        assert repro(waiting)["batch"] is None


@pytest.mark.slow
def test_the_law_goes_before_the_batch(waiting: Repo) -> None:
    waiting.set_params(requests={"batch": {"at_least": 3, "at_most_days": 90}})
    received = (today() - 30 * DAY).isoformat()
    waiting.forget(trained_ids(waiting, 1), "--regime", "ccpa", "--received", received)
    law = today() + 15 * DAY

    found = batch(waiting)
    assert found is not None
    assert found["due"] == (law - 3 * DAY).isoformat()
    assert found["reason"] == f"a request is due by law on {law}"
    with on(law - 4 * DAY):
        assert repro(waiting)["batch"]["is_due"] is False
    with on(law - 3 * DAY):
        assert repro(waiting)["batch"] is None


@pytest.mark.slow
def test_now_does_not_wait_and_logs_who_waited(waiting: Repo) -> None:
    first, second, *_ = trained_ids(waiting)
    waiting.forget([first], "--ticket", "T-1")
    before = set(waiting.files("data/requests"))

    answer = repro(waiting, "--now")

    assert len(answer["trained"]) == 1
    (name,) = set(waiting.files("data/requests")) - before
    entry = json.loads((waiting.root / "data/requests" / name).read_text(encoding="utf-8"))
    assert (entry["kind"], entry["lines"]) == ("run-now", [])
    assert [f"{waited}.json" for waited in entry["waiting"]] == list(before)
    status = waiting.inline("status", "--json").json
    assert [request["kind"] for request in status["requests"]] == ["forget", "run-now"]
    assert [state["ticket"] for state in status["request_states"]] == ["T-1"]
    waiting.commit("run")
    assert waiting.inline("audit", "HEAD~1..").code == 0
    # It ended one wait, not that of later requests.
    waiting.forget([second], "--ticket", "T-2")
    assert repro(waiting)["batch"]["waiting"] == 1


@pytest.mark.slow
def test_a_wait_that_was_ended_stays_so_where_the_log_arrives(
    waiting: Repo, tmp_path: Path
) -> None:
    waiting.forget(trained_ids(waiting, 1))
    with mock.patch("unlearn.cli.repro.bring_up_to_date", side_effect=KeyboardInterrupt):
        waiting.inline("repro", "--now")
    assert len(waiting.files("data/requests")) == 2

    other = waiting.copy(tmp_path / "other")
    found = batch(other)
    assert found is not None
    assert (found["is_due"], found["reason"]) == (True, "`unlearn repro --now` was asked for")
    assert len(repro(other)["trained"]) == 1


@pytest.mark.slow
def test_a_run_that_was_interrupted_goes_on(waiting: Repo) -> None:
    waiting.forget(trained_ids(waiting, 1))
    waiting.stages("forget")  # as `dvc repro` starts it, which knows no batch
    assert len(repro(waiting)["trained"]) == 1


@pytest.mark.slow
def test_a_first_run_does_not_wait(fresh: Repo) -> None:
    fresh.set_params(requests={"batch": {"at_least": 9, "at_most_days": 90}})
    fresh.forget(trained_ids(fresh, 1))
    assert batch(fresh)["reason"] == "no model was trained before"  # type: ignore[index]
    assert len(repro(fresh)["trained"]) == 3


@pytest.mark.slow
def test_requests_that_no_model_notices_hide_nobody(waiting: Repo) -> None:
    waiting.set_params(requests={"batch": {"at_least": 2, "at_most_days": 10}})
    held_out = [raw for raw, place in places(waiting).items() if place.is_holdout]
    waiting.forget(held_out[:1])
    waiting.forget(["nobody"], "--suppress")
    one = trained_ids(waiting, 1)
    waiting.forget(one, "--ticket", "T-1")
    waiting.forget(one, "--ticket", "T-2")  # the same record once more

    found = batch(waiting)
    assert found is not None
    assert (found["waiting"], found["counted"], found["is_due"]) == (4, 1, False)


@pytest.mark.slow
def test_a_clone_knows_by_the_lock_what_was_applied(waiting: Repo, tmp_path: Path) -> None:
    first, second, *_ = trained_ids(waiting)
    waiting.forget([first])
    repro(waiting, "--now")
    waiting.commit("run")
    waiting.forget([second])
    waiting.commit("request")
    Repo(tmp_path).git("clone", "--quiet", str(waiting.root), str(tmp_path / "clone"))
    clone = Repo(tmp_path / "clone")

    done = clone.inline("status", "--json")  # neither data nor key

    assert done.json["batch"]["waiting"] == 1
    assert done.json["batch"]["is_due"] is False


def test_a_line_that_the_log_does_not_name_does_not_wait(waiting: Repo) -> None:
    waiting.forget(trained_ids(waiting, 1))
    for name in waiting.files("data/requests"):
        (waiting.root / "data/requests" / name).unlink()
    found = batch(waiting)
    assert found is not None
    assert found["is_due"] is True
    assert "does not say since when" in found["reason"]


def test_a_line_by_hand_waits_as_a_request(waiting: Repo) -> None:
    (raw,) = trained_ids(waiting, 1)
    (waiting.root / "data/forget_list.txt").write_text(f"{raw}\n", encoding="utf-8")

    assert batch(waiting)["counted"] == 1  # type: ignore[index]
    assert repro(waiting)["batch"]["counted"] == 1
    assert raw not in (waiting.root / "data/forget_list.txt").read_text(encoding="utf-8")
    assert repro(waiting)["batch"]["counted"] == 1


def test_a_lost_line_is_an_error_while_others_wait(waiting: Repo) -> None:
    first, second, *_ = trained_ids(waiting)
    waiting.forget([first])
    waiting.commit("request")
    listed = waiting.root / "data/forget_list.txt"
    kept = listed.read_bytes()
    waiting.forget([second])
    waiting.commit("request")
    listed.write_bytes(kept)
    assert "left the forget list" in refused(waiting.inline("repro"))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"at_least": 3}, "requests.batch.at_most_days: field required"),
        ({"at_least": 0, "at_most_days": 3}, "requests.batch.at_least: "),
        ({"at_least": 2, "at_most_days": -1}, "requests.batch.at_most_days: "),
        ({"at_least": 2, "at_most_dayz": 3}, "requests.batch.at_most_dayz: is not a known setting"),
        (5, "requests.batch: "),
    ],
)
def test_settings_that_are_refused(fresh: Repo, value: Any, message: str) -> None:
    fresh.set_params(requests={"batch": value})
    done: Done = fresh.inline("status")
    assert refused(done).startswith(f"params.yaml: {message}")
