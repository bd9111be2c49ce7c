"""The part of the page for a privacy officer: requests, copies, held-out rows, what is pending."""

from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pytest
from unlearn.stages.audit.places import Place, unseen
from unlearn.stages.report.contents import Contents
from unlearn.stages.report.officer import copies, held_out, open_points, requests
from unlearn.stages.report.page import render, verdict
from unlearn.stages.report.request_states import Copies, RequestState

from tests.stages.report.samples import (
    MADE,
    a_posthoc_report,
    a_report,
    a_text_report,
    for_officer,
    full,
    posthoc,
    some_copies,
    some_requests,
)
from tests.stages.report.test_page import Page

TODAY = MADE.date()


def due_in(days: int, **other: object) -> RequestState:
    """Return a request under a law that is due so many days from the day of the page."""
    due = TODAY + timedelta(days=days)
    state = RequestState("PRIV-1", due - timedelta(days=30), "gdpr", due, False, 3, "pending")
    return replace(state, **other)  # type: ignore[arg-type]


def test_every_request_stands_with_received_due_and_outcome() -> None:
    view = requests(full(request_states=some_requests()))

    assert view.headline == (
        "6 requests: 1 erased with a receipt, 1 erased, 1 verified, 1 not verified, 1 pending, "
        "1 taken back; 1 late."
    )
    late, soon, *others = view.rows
    assert (late.ticket, late.received, late.due) == ("PRIV-102", "20 Feb 2026", "23 Mar 2026")
    assert (late.law, late.left, late.late) == ("GDPR", "late by 41 days", True)
    assert "copies are not deleted yet" in late.outcome
    assert (soon.ticket, soon.due, soon.extended, soon.left) == (
        "PRIV-104",
        "4 May 2026",
        True,
        "1 day",
    )
    assert [row.ticket for row in others] == [None, "PRIV-105", "PRIV-101", None]
    assert others[0].due == "no due date", "still open, so before those that are answered"
    assert not any(row.late or row.left for row in others)
    assert others[-1].outcome == "erased, with a receipt"


@pytest.mark.parametrize(
    ("days", "left", "is_late"),
    [(-1, "late by 1 day", True), (0, "today", False), (1, "1 day", False), (30, "30 days", False)],
)
def test_a_request_is_late_from_the_day_after_its_due_date(
    days: int, left: str, is_late: bool
) -> None:
    (row,) = requests(full(request_states=(due_in(days),))).rows

    assert (row.left, row.late) == (left, is_late)


def test_an_answered_request_is_not_late_however_old() -> None:
    old = due_in(-400, state="receipted", answered=True)
    suppressed = due_in(-400, state="verified", has_rows=False, answered=True)
    view = requests(full(request_states=(old, suppressed)))

    assert view.headline.endswith("none is late.")
    assert not any(row.late for row in view.rows)
    assert "no row of these people was in the data" in view.rows[0].outcome
    points = open_points(full(request_states=(suppressed,), copies=Copies()))
    assert points == ()


def test_late_requests_are_red_in_words_and_in_colour() -> None:
    page = Page(render(for_officer(request_states=(due_in(-3), due_in(5)))))

    assert page.count("tr", "late") == 1
    assert "late by 3 days" in page.said
    assert "1 request (PRIV-1) is late." in page.said
    assert page.count("li", "late") == 1


def test_forty_requests_are_shown_the_most_urgent_first() -> None:
    states = tuple(replace(due_in(n), ticket=f"T-{n}") for n in range(60))
    view = requests(full(request_states=states[::-1]))

    assert [row.ticket for row in view.rows] == [f"T-{n}" for n in range(40)]
    assert view.left_out == 20
    assert (
        "20 more requests are in the request log" in Page(render(full(request_states=states))).said
    )


def test_every_place_stands_with_what_was_deleted_and_what_was_found() -> None:
    view = copies(full(copies=some_copies()))
    rows = {row.name: row for row in view.rows}

    assert view.headline == "Copies may remain in 1 place."
    assert view.erased_on == "20 Apr 2026"
    assert rows["the dataset"].erased == "rows removed from its file"
    assert rows["the dataset"].found == ("nothing",)
    assert rows["the run cache"].found == (), "the search has no such place"
    assert (rows["the remote backup"].state, rows["the remote backup"].tone) == ("pending", "fail")
    assert "not tested here" in rows["the remote backup"].erased
    assert "kind gs are not searched" in rows["the remote backup"].found[0]
    assert view.older == ("19 Feb 2026: pending in the remote backup",)


def test_a_copy_that_was_found_outweighs_an_erasure() -> None:
    found = (Place("DVC's cache", findings=("3 objects in DVC's cache still hold rows",)),)
    view = copies(full(copies=replace(some_copies(pending=False), found=found)))
    rows = {row.name: row for row in view.rows}

    assert rows["DVC's cache"].state == "copies found"
    assert view.headline == "Copies may remain in 1 place."
    points = [point.text for point in open_points(full(copies=Copies(found=found)))]
    assert "DVC's cache: 3 objects in DVC's cache still hold rows" in points


def test_all_is_deleted_only_where_nothing_is_pending_and_everything_was_searched() -> None:
    done = replace(some_copies(pending=False), found=None)
    assert copies(full(copies=done)).headline == "No copies are left in the places that are known."

    unsearched = replace(done, found=(unseen("the remote x", "its folder is not there"),))
    view = copies(full(copies=unsearched))
    assert view.headline == "No copy was found; 1 place could not be searched."
    assert [row.state for row in view.rows][-1] == "not searched"

    nothing = copies(full(copies=Copies()))
    assert nothing.headline == "No copies were deleted yet, and this page did not look for any."
    searched = copies(full(copies=Copies(found=(Place("the dataset"),))))
    assert searched.headline == "No copy was found where this page looked."


def test_what_is_pending_is_named_the_most_urgent_first() -> None:
    contents = for_officer(a_report("fail"))
    texts = [point.text for point in open_points(contents)]

    assert texts[0] == "1 request (PRIV-102) is late"
    assert texts[1] == "the verdict is fail, not pass"
    assert (
        "1 request (PRIV-104) is pending: `unlearn repro` removes the rows from the models" in texts
    )
    assert "1 request is not verified: `unlearn repro` verifies the models" in texts
    assert texts[-1].startswith("the remote backup: pending: ")
    stale = open_points(replace(contents, stale=("the forget list has changed",)))
    assert "does not belong to the present state" in stale[1].text


def test_where_nothing_is_left_to_do_the_page_says_so() -> None:
    states = tuple(replace(state, state="receipted", answered=True) for state in some_requests())
    done = for_officer(request_states=states, copies=some_copies(searched=False, pending=False))

    assert open_points(done) == ()
    assert "Nothing is pending." in Page(render(done)).said


def of_trees() -> dict[str, Any]:
    """Return a report on a model whose trees are checked one by one."""
    counts = {"touched": 1, "reran": 7, "matched": 7, "trees": 100}
    return a_report() | {"exactness": counts | {"lineage_clean": True, "problems": 0}}


@pytest.mark.parametrize(
    ("contents", "basis"),
    [
        (full(), "Every lineage was recomputed; 1 of 5 touched shards was retrained."),
        (for_officer(), "Every lineage was recomputed; 1 of 5 touched shards was retrained."),
        (
            full(
                report=a_report()
                | {
                    "exactness": {
                        "touched": 0,
                        "reran": 0,
                        "matched": 0,
                        "lineage_clean": True,
                        "problems": 0,
                    }
                }
            ),
            "Every lineage was recomputed; no shard was touched.",
        ),
        (
            full(
                report=a_report("fail")
                | {
                    "exactness": {
                        "touched": 5,
                        "reran": 3,
                        "matched": 1,
                        "lineage_clean": True,
                        "problems": 2,
                    }
                }
            ),
            "2 checks found a difference.",
        ),
        (
            for_officer(report=of_trees()),
            "Every lineage was recomputed; 7 of 100 trees were fitted again.",
        ),
        (posthoc(), "This rests on a test of its answers, not on retraining."),
        (
            posthoc(a_posthoc_report(label="exact", deploy="retrain")),
            "Its lineage was recomputed, and it was retrained.",
        ),
        (
            full(report=a_text_report()),
            "Every lineage was recomputed; 1 of 5 touched shards was retrained.",
        ),
        (full(stale=("the settings have changed",)), None),
        (full(report=a_report() | {"exactness": {}}), None),
    ],
)
def test_the_headline_has_what_the_verdict_rests_on(contents: Contents, basis: str | None) -> None:
    assert verdict(contents).basis == basis
    page = Page(render(contents))
    assert page.count("span", "basis") == (basis is not None)
    if basis is not None:
        assert basis in page.said[: page.said.index(basis) + 200]


def test_checks_of_trees_are_not_called_checks_of_shards() -> None:
    for contents in (full(report=of_trees()), for_officer(report=of_trees())):
        said = Page(render(contents)).said
        assert "retraining checks agree 7 of 7 trees fitted again on the retained rows" in said
        assert "shards retrained on" not in said
    said = Page(render(full(report=of_trees()))).said
    assert "trees that were fitted again are the same" in said
    assert "fits trees of the touched shards' models again" in said
    assert "retrains some of the touched shards" not in said
    assert "retrains some of the touched shards from scratch." in Page(render(full())).said
    assert "Trees of their models 100 Of these fitted again on the retained rows 7" in said


def test_held_out_rows_are_explained_beside_their_count() -> None:
    view = held_out(full(held_out_lines=12))
    page = Page(render(full(held_out_lines=12)))

    assert view.headline == "12 lines of the forget list name held-out rows, which are in no model."
    assert "12 held out, in no model" in page.said, "beside the count of lines"
    assert "no model has to change, because none was trained on them" in page.said
    one = held_out(full(held_out_lines=1)).headline
    assert one == "1 line of the forget list names held-out rows, which are in no model."
    assert held_out(full(held_out_lines=0)).headline.startswith("No line of the forget list")
    assert held_out(full(held_out_lines=None)).count is None


@pytest.mark.parametrize(("count", "shown"), [(9, None), (0, None), (10, "10")])
def test_a_page_for_everybody_has_no_count_of_few_held_out_rows(
    count: int, shown: str | None
) -> None:
    assert held_out(full(held_out_lines=count, public=True)).count == shown
    assert held_out(full(held_out_lines=12, public=True, min_rows=None)).count is None


@pytest.mark.parametrize("report", [a_report(), a_posthoc_report(), a_text_report()])
def test_the_page_for_an_officer_has_requests_and_copies_and_no_figures(
    report: dict[str, object],
) -> None:
    page = Page(render(for_officer(report)))

    assert "0 of 0" not in page.said
    for part in ("What is pending", "Requests", "Copies of the rows", "Held-out rows"):
        assert part in page.said
    for technical in ("Membership", "Methods compared", "Utility", "AUC", "accuracy", "Shard map"):
        assert technical not in page.said, technical
    assert "For the privacy officer" in page.said
    assert "unlearn report --officer" in page.said


def test_the_full_page_has_requests_and_copies_as_well() -> None:
    page = Page(render(full()))

    assert "PRIV-102" in page.said
    assert "the remote backup" in page.said
    assert page.said.index("Exactness") < page.said.index("Copies of the rows")


def test_dates_are_compared_with_the_day_of_the_page() -> None:
    contents = full(request_states=(due_in(0),), day=TODAY + timedelta(days=1))

    assert requests(contents).rows[0].late
    assert not requests(replace(contents, day=None)).rows[0].late
    assert requests(replace(contents, day=date(2020, 1, 1))).rows[0].left.endswith("days")


def test_headings_and_tables_can_be_read_by_a_screen_reader() -> None:
    for contents in (full(), for_officer(), posthoc()):
        page = Page(render(contents))
        levels = [int(tag[1]) for tag, _ in page.elements if tag in {"h1", "h2", "h3", "h4"}]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))
        cells = [attributes for tag, attributes in page.elements if tag == "th"]
        assert cells
        assert all(attributes.get("scope") in {"col", "row"} for attributes in cells)
        assert ("html", {"lang": "en"}) in page.elements
        pictures = [attributes for tag, attributes in page.elements if tag == "svg"]
        assert all(
            attributes.get("aria-hidden") == "true"
            or (attributes.get("role") == "img" and attributes.get("aria-label"))
            for attributes in pictures
        )
