"""Requests that wait for each other: when they are applied."""

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.config.requests import BatchParams
from unlearn.stages.ledger.log import Details, EntryKind, Log, new_entry
from unlearn.stages.project.paths import HOLDOUT
from unlearn.stages.requests.batch import Waiting, _waiting, due_day
from unlearn.stages.requests.deadlines import TERMS, due_date
from unlearn.stages.rows.forget_list import place_of_line

from tests.stages.conftest import make_params, token_of

DAY = timedelta(days=1)
TODAY = date(2026, 11, 26)


def batch(at_least: int = 5, at_most_days: int = 14, **more: Any) -> BatchParams:
    return BatchParams(at_least=at_least, at_most_days=at_most_days, **more)


def under(regime: Any, received: str, *, extended: bool = False) -> Waiting:
    day = date.fromisoformat(received)
    return Waiting(day, due_date(regime, day, extended=extended))


@pytest.mark.parametrize(
    ("settings", "waiting", "due"),
    [
        # The oldest waits 14 days, whatever the order.
        (batch(), [Waiting(TODAY)], "2026-12-10"),
        (batch(), [Waiting(TODAY), Waiting(TODAY - 10 * DAY)], "2026-11-30"),
        # As many as it takes.
        (batch(2), [Waiting(TODAY), Waiting(TODAY)], "2026-11-26"),
        (batch(1), [Waiting(TODAY)], "2026-11-26"),
        (batch(2), [Waiting(TODAY), Waiting(TODAY, counts=False)], "2026-12-10"),
        (batch(5, 0), [Waiting(TODAY)], "2026-11-26"),
        # The day that was stated may be long ago.
        (batch(5, 14), [Waiting(date(2026, 10, 1))], "2026-10-15"),
        # The law is earlier than the batch: one calendar month, 45 days, less the margin.
        (batch(5, 60), [under("gdpr", "2026-11-20")], "2026-12-17"),
        (batch(5, 60), [under("gdpr", "2027-01-31")], "2027-02-25"),
        (batch(5, 60), [under("gdpr", "2028-01-31")], "2028-02-26"),
        (batch(5, 60, days_before_due=0), [under("gdpr", "2026-11-20")], "2026-12-20"),
        (batch(5, 60, days_before_due=10), [under("ccpa", "2026-11-20")], "2026-12-25"),
        (batch(5, 60), [under("drop", "2026-11-20")], "2027-01-01"),
        # An extension gives more time to the batch as well.
        (batch(5, 60), [under("gdpr", "2026-11-20", extended=True)], "2027-01-19"),
        # The earliest of several laws, also of requests that do not count.
        (
            batch(5, 60),
            [
                under("ccpa", "2026-11-01"),
                under("gdpr", "2026-11-18")._replace(counts=False),
                Waiting(TODAY),
            ],
            "2026-12-13",
        ),
        # A margin that is longer than the period: at once.
        (batch(5, 60, days_before_due=365), [under("gdpr", "2026-11-25")], "2025-12-25"),
    ],
)
def test_the_day_of_a_run(settings: BatchParams, waiting: Sequence[Waiting], due: str) -> None:
    assert due_day(waiting, settings, TODAY).day.isoformat() == due


DAYS = st.dates(date(2000, 1, 1), date(2200, 1, 1))


@st.composite
def requests(draw: st.DrawFn) -> Waiting:
    received = draw(DAYS)
    regime = draw(st.sampled_from([None, *TERMS]))
    law = None if regime is None else due_date(regime, received, extended=draw(st.booleans()))
    return Waiting(received, law, draw(st.booleans()))


@given(
    st.lists(requests(), min_size=1, max_size=8),
    st.builds(
        BatchParams,
        at_least=st.integers(1, 10),
        at_most_days=st.integers(0, 3_650),
        days_before_due=st.integers(0, 365),
    ),
    DAYS,
    requests(),
)
def test_a_run_is_never_due_after_the_law_or_the_wait_and_no_request_delays_it(
    waiting: list[Waiting], settings: BatchParams, day: date, another: Waiting
) -> None:
    due = due_day(waiting, settings, day).day

    for item in waiting:
        assert due <= item.received + settings.at_most_days * DAY
        if item.law is not None:
            assert due <= item.law - settings.days_before_due * DAY <= item.law
    if sum(item.counts for item in waiting) >= settings.at_least:
        assert due <= day
    else:
        # And no earlier than one of these asks for.
        assert due in {item.received + settings.at_most_days * DAY for item in waiting} | {
            item.law - settings.days_before_due * DAY for item in waiting if item.law is not None
        }
    assert due_day([*waiting, another], settings, day).day <= due


def test_a_request_counts_by_its_lines_and_not_by_the_option_that_made_it() -> None:
    params = make_params(shards=2)
    # Lines whose rows would be in a shard.
    lines = (token_of(f"r{number:04d}") for number in range(1000))
    known, nobody, other = islice(
        (one for one in lines if place_of_line(one, params.sharding).shard != HOLDOUT), 3
    )
    log = Log()
    asked: list[tuple[EntryKind, list[str], list[str]]] = [
        ("suppress", [known, nobody], [nobody]),
        ("suppress", [other], [other]),
        # Asked for again: the models never had a row of it.
        ("forget", [other], []),
    ]
    for kind, named, absent in asked:
        details = Details(frozenset(absent))
        entry = new_entry(log, kind, named, b"", details=details)
        log = Log((*log.entries, entry))
    every = frozenset({known, nobody, other})

    found = _waiting(params, log, every, reads_suppressed=True)

    assert [one.counts for one in found] == [True, False, False]
    # The stage of an older project does not drop them, and its log does not tell them apart.
    older = Log(tuple(one.model_copy(update={"absent": None}) for one in log.entries))
    found = _waiting(params, older, every, reads_suppressed=False)
    assert [one.counts for one in found] == [False, False, True]
