"""Requests as the log has them: one for each ticket."""

from datetime import date
from typing import Any

import pytest
from unlearn.stages.audit.status import Standing
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.erasure import Erasure
from unlearn.stages.ledger.log import Entry, Log, new_entry
from unlearn.stages.requests.filed import FiledRequest, State, filed_requests

from tests.stages.ledger.erasures import ERASED, PENDING


def log(*entries: dict[str, Any]) -> Log:
    """Return a log; the hour of an entry is its place in it."""
    return Log(
        tuple(
            Entry.model_validate(
                {
                    "time": f"2026-03-01T{hour:02}:00:00+00:00",
                    "ticket": None,
                    "count": len(entry.get("lines") or ()),
                    "digest": "",
                    **entry,
                }
            )
            for hour, entry in enumerate(entries)
        )
    )


def only(*entries: dict[str, Any]) -> FiledRequest:
    (found,) = filed_requests(log(*entries))
    return found


def standing(
    *applied: str, pending: int = 0, verified: bool = False, dropped: int | None = None
) -> Standing:
    lines = frozenset(applied)
    return Standing(pending, len(applied), verified, applied_lines=lines, dropped=dropped)


def test_entries_of_a_ticket_are_one_request() -> None:
    found = filed_requests(
        log(
            {"lines": ["a", "b"], "ticket": "T-1"},
            {"lines": ["c"]},
            {"lines": ["b", "d"], "ticket": "T-1"},
            {"lines": ["e"]},
        )
    )
    assert [(item.ticket, item.count) for item in found] == [("T-1", 3), (None, 1), (None, 1)]


def test_the_earliest_day_and_the_law_that_was_stated_last_count() -> None:
    found = only(
        {"lines": ["a"], "ticket": "T-1"},
        {"lines": ["a"], "ticket": "T-1", "received": "2026-02-10", "regime": "ccpa"},
        {"lines": ["a"], "ticket": "T-1", "received": "2026-02-11", "regime": "gdpr"},
        {"lines": ["b"], "ticket": "T-1"},
    )
    assert (found.received, found.regime) == (date(2026, 2, 10), "gdpr")
    assert (found.due, found.confirm_by) == (date(2026, 3, 10), None)


def test_a_request_that_was_taken_back_and_asked_for_again_is_received_again() -> None:
    entries: list[dict[str, Any]] = [
        {"lines": ["a"], "ticket": "T-1", "received": "2026-01-10"},
        {"lines": ["a"], "kind": "restore"},
    ]
    assert only(*entries).received == date(2026, 1, 10)
    entries.append({"lines": ["a"], "ticket": "T-1", "received": "2026-02-20"})
    assert only(*entries).received == date(2026, 2, 20)


def test_the_law_of_the_settings_is_that_of_requests_that_name_none() -> None:
    found = filed_requests(
        log(
            {"lines": ["a"], "kind": "hand-written", "received": "2026-01-31"},
            {"lines": ["b"], "regime": "ccpa", "received": "2026-01-31"},
        ),
        "gdpr",
    )
    assert [one.due for one in found] == [date(2026, 2, 28), date(2026, 3, 17)]


def test_without_a_stated_day_a_request_was_received_when_it_was_logged() -> None:
    found = only(
        {"lines": ["a"], "ticket": "T-1", "regime": "ccpa", "time": "2026-03-01T23:30:00-05:00"},
        {"lines": ["b"], "ticket": "T-1", "regime": "ccpa", "time": "2026-04-01T00:00:00+00:00"},
    )
    # The earlier day, here and in UTC: a due date is never after that of the law.
    assert found.received == date(2026, 3, 1)
    assert found.due == date(2026, 4, 15)
    east = only({"lines": ["a"], "time": "2026-03-02T05:00:00+09:00"})
    assert east.received == date(2026, 3, 1)
    assert only({"lines": ["a"]}).due is None


@pytest.mark.parametrize(
    ("applied", "verified", "state"),
    [
        ((), False, "pending"),
        (("a",), True, "pending"),
        (("a", "b"), False, "applied"),
        (("a", "b", "c"), True, "verified"),
    ],
)
def test_a_request_is_as_far_as_the_last_of_its_lines(
    applied: tuple[str, ...], verified: bool, state: str
) -> None:
    found = only({"lines": ["a", "b.left-out"], "ticket": "T-1"})
    assert found.state(standing(*applied, verified=verified)) == state


def test_lines_that_were_taken_back_no_longer_count() -> None:
    entries: list[dict[str, Any]] = [
        {"lines": ["a", "b"], "ticket": "T-1"},
        {"lines": ["a"], "kind": "restore", "ticket": "T-1"},
    ]
    assert only(*entries).state(standing("b")) == "applied"

    entries.append({"lines": ["b"], "kind": "restore"})
    assert only(*entries).state(standing()) == "restored"

    # Another request does not bring the first one back.
    entries.append({"lines": ["a"], "ticket": "T-2"})
    first, second = filed_requests(log(*entries))
    assert (first.state(standing()), second.state(standing())) == ("restored", "pending")


def test_the_whole_list_decides_about_entries_without_lines() -> None:
    found = only({"lines": None, "count": 4})
    assert found.count == 4
    assert found.state(standing("x", pending=1)) == "pending"
    assert found.state(standing("x", verified=True)) == "verified"


def test_a_period_is_extended_once_and_in_time() -> None:
    filed = {"lines": ["a"], "ticket": "T-1", "received": "2026-01-31", "regime": "gdpr"}
    request = only(filed)

    assert request.due == date(2026, 2, 28)
    assert request.due_if_extended(date(2026, 2, 28)) == date(2026, 4, 30)
    with pytest.raises(InputError, match="T-1 was due on 2026-02-28: a period is extended before"):
        request.due_if_extended(date(2026, 3, 1))

    extended = only(filed, {"lines": [], "kind": "extend", "ticket": "T-1"})
    assert (extended.due, extended.extended) == (date(2026, 4, 30), True)
    with pytest.raises(InputError, match="T-1 was extended before, to 2026-04-30"):
        extended.due_if_extended(date(2026, 2, 1))


@pytest.mark.parametrize(
    ("regime", "message"), [(None, "T-1 has no due date"), ("drop", "T-1 cannot be extended")]
)
def test_what_cannot_be_extended(regime: str | None, message: str) -> None:
    request = only({"lines": ["a"], "ticket": "T-1", "regime": regime})
    with pytest.raises(InputError, match=message):
        request.due_if_extended(date(2026, 3, 1))


def test_the_extension_of_one_request_is_not_that_of_another() -> None:
    entries = [
        {"lines": [line], "ticket": ticket, "received": "2026-01-01", "regime": "ccpa"}
        for line, ticket in (("a", "T-1"), ("b", "T-2"), ("c", None))
    ]
    found = filed_requests(log(*entries, {"lines": [], "kind": "extend", "ticket": "T-2"}))
    assert [item.extended for item in found] == [False, True, False]


def with_erasure(log: Log, erasure: Erasure) -> Log:
    return Log((*log.entries, new_entry(log, "erase", (), b"", erasure=erasure)))


def test_a_request_is_erased_once_a_complete_erasure_has_seen_all_of_its_entries() -> None:
    first = log({"lines": ["a"], "ticket": "T-1"}, {"lines": ["c"], "ticket": "T-2"})
    assert not any(item.erased for item in filed_requests(with_erasure(first, PENDING)))

    erased = with_erasure(first, ERASED)
    one, other = filed_requests(erased)
    assert one.state(standing("a", "c", pending=1)) == "erased"
    assert one.state(standing("a", "c"), one.names) == "receipted"
    assert one.state(standing("a", "c"), other.names) == "erased"
    # The models hold its rows again: somebody checked old ones out.
    assert one.state(Standing(1, 0, verified=False, without_rows=0)) == "pending"
    # Without data, the log alone knows.
    assert one.state(Standing(1, 0, verified=False)) == "erased"

    later = new_entry(erased, "forget", ["b"], b"", ticket="T-1")
    again, other = filed_requests(Log((*erased.entries, later)))
    assert (again.erased, other.erased) == (False, True)
    assert again.state(standing("a", "b", "c", verified=True), again.names) == "verified"


def test_a_later_erasure_that_found_copies_counts_more_than_an_earlier_one() -> None:
    first = log({"lines": ["a"], "ticket": "T-1"})
    assert [one.erased for one in filed_requests(with_erasure(first, ERASED))] == [True]
    found = with_erasure(with_erasure(first, ERASED), PENDING)
    assert [one.erased for one in filed_requests(found)] == [False]
    assert [one.erased for one in filed_requests(with_erasure(found, ERASED))] == [True]


def test_of_erasures_on_two_branches_one_that_is_pending_counts() -> None:
    first = log({"lines": ["a"], "ticket": "T-1"})
    done, pending = (with_erasure(first, kind).entries[-1] for kind in (ERASED, PENDING))
    for entries in ((done, pending), (pending, done)):
        merged = Log((*first.entries, *entries))
        assert [one.erased for one in filed_requests(merged)] == [False]
        assert [one.erased for one in filed_requests(with_erasure(merged, ERASED))] == [True]


@pytest.mark.parametrize(
    ("time", "erased"),
    [
        ("2025-12-31T10:00:00+00:00", True),
        ("2099-01-01T00:00:00+00:00", False),
        ("2025-12-31T10:00:00", False),  # no offset: it cannot be compared
        ("long ago", False),
    ],
)
def test_entries_of_an_older_log_are_erased_by_a_later_erasure_alone(
    time: str, erased: bool
) -> None:
    (one,) = filed_requests(with_erasure(log({"lines": None, "count": 2, "time": time}), ERASED))
    assert one.erased == erased


def test_rows_that_are_in_the_dataset_again_are_not_erased() -> None:
    (one,) = filed_requests(with_erasure(log({"lines": ["a"], "ticket": "T-1"}), ERASED))
    assert one.state(standing("a", dropped=0)) == "erased"
    assert one.state(standing("a", dropped=3, verified=True), one.names) == "verified"
    absent = only({"lines": ["a"], "absent": ["a"], "kind": "suppress"})
    assert absent.is_answered("applied", standing("a", dropped=0))
    assert not absent.is_answered("applied", standing("a", dropped=1))


def test_what_answers_a_request() -> None:
    filed = only({"lines": ["a", "b"], "absent": ["b"], "kind": "suppress"})
    states: list[State] = ["pending", "applied", "verified", "erased", "receipted", "restored"]
    found = standing("a", "b")
    assert [filed.is_answered(state, found) for state in states] == [False] * 3 + [True] * 3
    # No row of the dataset is meant.
    absent = only({"lines": ["a", "b"], "absent": ["a", "b"], "kind": "suppress"})
    assert all(absent.is_answered(state, found) for state in states)
