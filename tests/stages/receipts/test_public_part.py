"""The law of the public part: no id, no token, no small count, whatever the log says."""

import base64
import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from unlearn.stages.ledger.erasure import ErasedPlace, Erasure
from unlearn.stages.ledger.log import Entry, Log, new_entry
from unlearn.stages.project.paths import Project
from unlearn.stages.receipts.create import Wish, _State, _statement
from unlearn.stages.receipts.facts import find_outcome, public_count
from unlearn.stages.receipts.requests import erased_requests
from unlearn.stages.receipts.statement import Process, Roots, Tool, Verification

from tests.stages.receipts.receipts import DIGEST, make_key

KEY = make_key(seed=1)
MIN_ROWS = 10
ROOTS = Roots(data=DIGEST, models=DIGEST, lock=DIGEST)
PASS = Verification(verdict="pass", label="exact")
PROCESS = Process(tool=Tool(name="dvc-unlearn", version="0.1.0", algorithm=3))

tokens = st.binary(min_size=32, max_size=32).map(lambda raw: f"u1_{raw.hex()}")
lines = st.one_of(tokens, st.tuples(tokens, tokens).map(".".join))
tickets = st.integers(10**7, 10**8).map("Ticket-{}".format)
whys = st.sampled_from([None, "no rights", "3 objects could not be deleted", "7 rows are left"])
places = st.builds(
    ErasedPlace,
    name=st.sampled_from(["DVC's cache", "the remote backup", "the stash"]),
    state=st.sampled_from(["purged", "pending"]),
    method=st.sampled_from([None, "deleted", "deleted 4 objects"]),
    why=whys,
    residual=st.integers(0, 60),
)


def numbers(value: Any) -> Iterator[int | float]:
    """Yield all numbers in JSON values."""
    if isinstance(value, dict):
        for one in value.values():
            yield from numbers(one)
    elif isinstance(value, list):
        for one in value:
            yield from numbers(one)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def log_of(asked: list[tuple[str, list[str]]], erased: list[ErasedPlace]) -> Log:
    entries: list[Entry] = []
    for ticket, named in asked:
        entries.append(new_entry(Log(tuple(entries)), "forget", named, b"", ticket))
    erasure = Erasure(places=tuple(erased))
    entries.append(new_entry(Log(tuple(entries)), "erase", (), b"", erasure=erasure))
    return Log(tuple(entries))


requests = st.lists(
    st.tuples(tickets, st.lists(lines, min_size=1, max_size=5, unique=True)),
    min_size=1,
    max_size=3,
    unique_by=lambda one: one[0],
)


@settings(max_examples=60)
@given(
    asked=requests,
    erased=st.lists(places, max_size=4),
    suppressed=st.one_of(st.none(), st.integers(0, 60)),
)
def test_the_public_part_has_no_token_no_ticket_and_no_small_count(
    asked: list[tuple[str, list[str]]], erased: list[ErasedPlace], suppressed: int | None
) -> None:
    log = log_of(asked, erased)
    state = _State(
        project=Project(Path(tempfile.gettempdir())),  # no repository
        log=log,
        keys=[KEY.public],
        now=datetime.now(UTC).replace(microsecond=0),
        min_rows=MIN_ROWS,
        verification=PASS,
        process=PROCESS,
        after=ROOTS,
        suppressed=suppressed,
        wish=Wish(),
    )
    found = erased_requests(log)
    assert len(found) == len(asked)
    for one in found:
        statement, annex = _statement(state, one, ())
        file = KEY.sign(statement.payload)
        public = statement.payload.decode()
        assert base64.b64decode(json.loads(file)["payload"]).decode() == public
        for ticket, named in asked:
            assert ticket not in public
            for line in named:
                for token in line.split("."):
                    assert token not in public
                    assert token.removeprefix("u1_") not in public
        counts = set(numbers(json.loads(public))) - {PROCESS.tool.algorithm}
        assert all(count % MIN_ROWS == 0 for count in counts), counts
        assert not any(text in public for text in ("3 objects", "7 rows", "4 objects"))
        # The confidential part has them.
        private = json.loads(annex)
        assert private["ticket"] == one.request.ticket
        assert private["counts"]["suppressedRows"] == suppressed
        assert private["counts"]["lines"] == len(private["tokens"]) > 0
        assert statement.predicate.request.outcome == (
            "partial"
            if suppressed != 0 or any(place.state == "pending" for place in erased)
            else "complete"
        )


@given(st.integers(0, 10**6), st.integers(1, 1000))
def test_a_count_is_0_or_a_multiple_that_is_not_above_it(count: int, least: int) -> None:
    found = public_count(count, least)

    if count == 0:
        assert found == 0
    elif count < least:
        assert found is None
    else:
        assert found is not None
        assert (found % least, 0 <= count - found < least) == (0, True)


@given(
    st.lists(places, max_size=5),
    st.sampled_from(["pass", "fail", "inconclusive", "stale"]),
    st.sampled_from(["exact", "certified", "approximate", None]),
    st.sampled_from([0, 0, 1, 60, None]),
)
def test_complete_needs_every_place_a_pass_and_no_rows_that_came_back(
    erased: list[ErasedPlace], verdict: str, label: str | None, dropped: int | None
) -> None:
    verification = Verification.model_validate({"verdict": verdict, "label": label})
    outcome, reasons = find_outcome(Erasure(places=tuple(erased)), verification, dropped)

    whole = (
        all(place.state == "purged" for place in erased)
        and verdict == "pass"
        and label != "approximate"
        and dropped == 0
    )
    assert (outcome == "complete") == whole
    assert bool(reasons) != whole
