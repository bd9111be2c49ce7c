"""The tables of methods that `unlearn verify` prints."""

from typing import Any

from unlearn.cli.verify_answer import Shown
from unlearn.cli.verify_text import describe
from unlearn.stages.verify_report.report import Report

from tests.stages.report.samples import a_posthoc_report

MATCHED = {
    "rows": 40,
    "matched_rows": 38,
    "retrained_auc": 0.5,
    "difference": {"auc": 0.2134, "ci": [-0.1, 0.3267]},
}
METHOD = "negative_gradient_plus"


def _printed(matched: dict[str, Any] | None) -> list[list[str]]:
    """Return the cells of every line of two words or more, for a report with such evidence."""
    report = a_posthoc_report()
    if matched is not None:
        report["methods"][METHOD]["membership"]["matched"] = matched
    found = Report.model_validate(report)
    lines = describe(Shown(found, found.verdict, found.reasons)).splitlines()
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]


def _first_line(printed: list[list[str]], head: list[str]) -> list[str]:
    """Return the method's line of the table whose heads end like this."""
    start = next(at for at, cells in enumerate(printed) if cells[-len(head) :] == head)
    return next(cells for cells in printed[start:] if cells[0] == METHOD)


def test_matched_pairs_that_decide_are_in_the_first_table() -> None:
    printed = _printed(MATCHED)
    first = _first_line(printed, ["holdout", "AUC less retrain's", "95 % interval"])

    assert first[-2:] == ["+0.213", "-0.100 to +0.327"]
    second = _first_line(printed, ["AUC, unmatched", "95 % interval", "nearer to", "p"])
    assert second[1:4] == ["38 of 40", "0.582", "0.539 to 0.623"]


def test_without_matched_pairs_the_first_table_has_the_auc() -> None:
    printed = _printed(None)
    first = _first_line(printed, ["holdout", "AUC", "95 % interval"])

    assert first[-2:] == ["0.582", "0.539 to 0.623"]
    assert not [cells for cells in printed if "matched rows" in cells]


def test_too_few_matches_give_counts_and_no_other_number() -> None:
    printed = _printed({"rows": 40, "matched_rows": 3})
    first = _first_line(printed, ["holdout", "AUC less retrain's", "95 % interval"])

    assert first[-2:] == ["-", "-"]
