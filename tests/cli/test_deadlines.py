"""Due dates of requests: what `forget` logs, and what `status` shows."""

import json
import re
import time
from datetime import timedelta
from typing import Any

import pytest
from unlearn.stages.context import open_project
from unlearn.stages.project.paths import Project
from unlearn.stages.requests.deadlines import today

from tests.cli.conftest import refused, run_all, unchanged
from tests.conftest import Repo
from tests.stages.ledger.erasures import PENDING, log_erasure

DAY = timedelta(days=1)


def ago(days: int) -> str:
    return (today() - days * DAY).isoformat()


def ahead(days: int) -> str:
    return (today() + days * DAY).isoformat()


def states(repo: Repo, code: int = 0) -> list[dict[str, Any]]:
    done = repo.inline("status", "--json")
    assert done.code == code
    return list(done.json["request_states"])


def forget(repo: Repo, raw: str, *options: str) -> dict[str, Any]:
    done = repo.inline("forget", "--id", raw, *options, "--json")
    assert done.code == 0, done.err
    return dict(done.json)


@pytest.mark.slow
def test_a_request_is_pending_then_verified(fresh: Repo) -> None:
    options = ("--ticket", "T-1", "--regime", "ccpa", "--received", ago(40))
    assert forget(fresh, "r0001", *options)["due"] == ahead(5)
    forget(fresh, "r0002")

    first, second = states(fresh)
    assert (first["state"], first["days_left"], first["late"]) == ("pending", 5, False)
    assert (first["received"], first["due"]) == (ago(40), ahead(5))
    assert (second["ticket"], second["due"], second["days_left"]) == (None, None, None)
    table = fresh.inline("status").out.splitlines()
    assert table[1].split() == [
        "request",
        "received",
        "law",
        "due",
        "days",
        "left",
        "lines",
        "state",
    ]
    assert table[2].split() == ["T-1", ago(40), "CCPA", ahead(5), "5", "1", "pending"]
    assert table[3].split()[2:5] == ["-", "-", "-"]

    fresh.commit("requests")
    run_all(fresh)
    first, second = states(fresh)
    # The models are right, and copies of the rows are left: the law asks to delete them.
    assert (first["state"], first["days_left"]) == ("verified", 5)
    assert (second["state"], second["days_left"]) == ("verified", None)
    assert "to do: delete the copies of the rows of 2 requests; run `unlearn erase`" in shown(fresh)

    log_erasure(open_project(Project(fresh.root)), PENDING)
    assert [state["state"] for state in states(fresh)] == ["verified", "verified"]
    log_erasure(open_project(Project(fresh.root)))
    first, second = states(fresh)
    assert (first["state"], first["days_left"]) == ("erased", None)
    assert (second["state"], second["days_left"]) == ("erased", None)
    assert "unlearn erase" not in shown(fresh)

    # A later request does not undo it; one for the same record is a new one.
    forget(fresh, "r0003")
    forget(fresh, "r0001", "--ticket", "T-2")
    assert [state["state"] for state in states(fresh)] == ["erased", "erased", "pending", "applied"]


def shown(repo: Repo) -> str:
    return repo.inline("status").out


@pytest.mark.slow
def test_a_late_request_is_exit_code_1_until_it_is_erased(fresh: Repo) -> None:
    options = ("--ticket", "T-1", "--regime", "ccpa", "--received", ago(46))
    forget(fresh, "r0001", *options)
    forget(fresh, "r0002", "--ticket", "T-2", "--regime", "ccpa", "--received", ago(45))

    late, in_time = states(fresh, code=1)
    assert (late["days_left"], late["late"]) == (-1, True)
    assert (in_time["days_left"], in_time["late"]) == (0, False)
    shown = fresh.inline("status")
    assert shown.code == 1
    assert re.search(r"T-1 .* -1 .* pending, late", shown.out)

    fresh.commit("requests")
    run_all(fresh)
    late, in_time = states(fresh, code=1)
    assert (late["state"], late["late"], in_time["late"]) == ("verified", True, False)
    log_erasure(open_project(Project(fresh.root)))
    assert [(state["state"], state["late"]) for state in states(fresh)] == [("erased", False)] * 2


@pytest.mark.slow
def test_a_request_of_suppressed_people_alone_has_nothing_to_delete(fresh: Repo) -> None:
    options = ("--suppress", "--ticket", "T-1", "--regime", "ccpa", "--received", ago(46))
    forget(fresh, "nobody", *options)

    (state,) = states(fresh)
    assert (state["state"], state["late"], state["days_left"]) == ("pending", False, None)
    answer = fresh.inline("status", "--json").json
    assert (answer["suppressed"], answer["pending"]) == (1, 1)
    # Now one of the lines has rows.
    forget(fresh, "r0001", *options)
    (state,) = states(fresh, code=1)
    assert state["late"]


@pytest.mark.slow
def test_a_request_that_was_taken_back_is_not_late(fresh: Repo) -> None:
    forget(fresh, "r0001", "--ticket", "T-1", "--regime", "gdpr", "--received", "2020-02-29")
    assert fresh.inline("status").code == 1
    fresh.ok("restore", "--ticket", "T-1", "--yes")

    (state,) = states(fresh)
    assert (state["state"], state["due"], state["late"]) == ("restored", "2020-03-29", False)


def test_the_receipt_is_to_be_confirmed(fresh: Repo) -> None:
    forget(fresh, "r0001", "--ticket", "T-1", "--regime", "ccpa")
    (state,) = states(fresh)
    assert state["received"] == today().isoformat()
    assert f"confirm the receipt of T-1 by {state['confirm_by']}" in fresh.inline("status").out


def test_the_settings_name_the_law_and_change_no_report(done: Repo) -> None:
    before = done.inline("verify", "--json").json
    done.set_params(requests={"regime": "gdpr"})

    assert done.inline("verify", "--json").json == before
    answer = forget(done, "r0003", "--ticket", "T-9", "--received", "2026-01-31", "--dry-run")
    assert answer["due"] == "2026-02-28"
    forget(done, "r0003", "--regime", "ccpa")
    assert states(done)[-1]["regime"] == "ccpa"


@pytest.mark.slow
def test_a_repeated_request_changes_nothing_and_new_dates_are_logged(fresh: Repo) -> None:
    fresh.set_params(requests={"regime": "gdpr"})
    forget(fresh, "r0001", "--ticket", "T-1", "--received", "2026-01-31")
    with unchanged(fresh.root):
        forget(fresh, "r0001", "--ticket", "T-1", "--received", "2026-01-31")
        assert forget(fresh, "r0001", "--ticket", "T-1")["due"] == "2026-02-28"

    # An earlier day counts, and a later one would move the due date.
    assert forget(fresh, "r0001", "--ticket", "T-1", "--received", "2026-01-30")["added"] == 0
    (state,) = states(fresh, code=1)
    assert (state["received"], state["due"]) == ("2026-01-30", "2026-02-28")
    with unchanged(fresh.root):
        for more in ("r0001", "r0002"):
            options = ("--id", more, "--ticket", "T-1", "--received", ago(1))
            said = refused(fresh.inline("forget", *options))
            assert said.startswith("the request T-1 was received on 2026-01-30 by the log")
    # Who takes the request back can ask again.
    fresh.ok("restore", "--ticket", "T-1", "--yes")
    forget(fresh, "r0001", "--ticket", "T-1", "--received", ago(1))
    (state,) = states(fresh)
    assert state["received"] == ago(1)


def test_lines_by_hand_have_the_law_of_the_settings(fresh: Repo) -> None:
    fresh.set_params(requests={"regime": "gdpr"})
    with (fresh.root / "data/forget_list.txt").open("a", encoding="ascii") as file:
        file.write("r0001\n")
    forget(fresh, "r0002")
    (entry,) = (
        json.loads(text)
        for text in fresh.files("data/requests").values()
        if b"hand-written" in text
    )
    assert entry["regime"] == "gdpr"
    assert all(state["due"] is not None for state in states(fresh))


def test_a_request_that_is_logged_west_of_utc_was_received_on_the_day_there(
    fresh: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh.set_params(requests={"regime": "ccpa"})
    # A day behind UTC, but for one minute a day.
    monkeypatch.setenv("TZ", "FAR23:59")
    time.tzset()
    try:
        answer = forget(fresh, "r0001")
        (state,) = states(fresh)
        assert state["received"] == today().isoformat()
        assert answer["due"] == state["due"] == ahead(45)
    finally:
        monkeypatch.undo()
        time.tzset()
    # It is logged: another machine says the same.
    (elsewhere,) = states(fresh)
    assert (elsewhere["received"], elsewhere["due"]) == (state["received"], state["due"])


def test_a_period_is_extended(fresh: Repo) -> None:
    forget(fresh, "r0001", "--ticket", "T-1", "--regime", "ccpa", "--received", ago(44))
    with unchanged(fresh.root):
        shown = fresh.inline("forget", "--extend", "--ticket", "T-1", "--dry-run")
        assert shown.out == f"the request T-1 is due on {ahead(46)}\n"

    answer = fresh.inline("forget", "--extend", "--ticket", "T-1", "--json").json
    assert (answer["due"], answer["added"]) == (ahead(46), 0)
    (state,) = states(fresh)
    assert (state["due"], state["extended"], state["days_left"]) == (ahead(46), True, 46)
    assert f"{ahead(46)} (extended)" in fresh.inline("status").out
    with unchanged(fresh.root):
        assert refused(fresh.inline("forget", "--extend", "--ticket", "T-1")).startswith(
            "the request T-1 was extended before"
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--extend",), "--extend takes --ticket alone"),
        (("--extend", "--ticket", "T-1", "--id", "r0001"), "--extend takes no ids"),
        (("--extend", "--ticket", "T-8"), "no request has the ticket T-8"),
        (("--extend", "--ticket", "T-1"), "the request T-1 was due on 2020-01-31"),
        (("--id", "r0002", "--received", "2999-01-01"), "--received 2999-01-01 is in the future"),
        (("--lost", "--regime", "gdpr"), "--lost takes no dates"),
    ],
)
def test_what_is_refused(fresh: Repo, options: tuple[str, ...], message: str) -> None:
    forget(fresh, "r0001", "--ticket", "T-1", "--regime", "gdpr", "--received", "2019-12-31")
    with unchanged(fresh.root):
        assert refused(fresh.inline("forget", *options)).startswith(message)


@pytest.mark.parametrize(
    "options", [("--received", "31.01.2026"), ("--received", "2026-02-30"), ("--regime", "lgpd")]
)
def test_a_date_or_a_law_that_is_none_is_a_usage_error(
    fresh: Repo, options: tuple[str, ...]
) -> None:
    with unchanged(fresh.root):
        done = fresh.inline("forget", "--id", "r0001", *options)
    assert done.code == 2
    assert options[1] in done.err


def test_the_log_holds_dates_and_no_names(fresh: Repo) -> None:
    forget(fresh, "r0001", "--ticket", "T-1", "--regime", "gdpr", "--received", "2026-01-31")
    forget(fresh, "r0002")
    first, second = (
        json.loads(text)
        for text in sorted(
            fresh.files("data/requests").values(), key=lambda text: b"T-1" not in text
        )
    )
    assert (first["received"], first["regime"]) == ("2026-01-31", "gdpr")
    # As older versions wrote it.
    assert {"received", "regime"}.isdisjoint(second)
