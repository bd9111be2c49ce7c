"""What the page says of a language model: one table, one sentence, and what is covered."""

from typing import Any

import pytest
from unlearn.stages.report.language import KnowledgeView, knowledge
from unlearn.stages.report.page import render

from tests.stages.report.samples import a_text_report, full, posthoc
from tests.stages.report.test_page import Page


def view(report: dict[str, Any], *, of_methods: bool = False) -> KnowledgeView:
    found = knowledge((posthoc if of_methods else full)(report=report))
    assert found is not None
    return found


def test_a_page_on_classes_has_no_such_section() -> None:
    for contents in (full(), posthoc()):
        assert knowledge(contents) is None
        text = Page(render(contents)).said
        assert "Memorisation of the language model" not in text
        assert "answers' tokens" not in text


def test_forgotten_answers_stand_beside_unseen_ones() -> None:
    found = view(a_text_report())

    assert found.headline == (
        "The final model reproduces 21.1% of a forgotten answer, and 20.7% of an unseen one."
    )
    assert [(name, cells[:2]) for name, _, cells in found.rows] == [
        ("Forgotten", ("40", "21.1%")),
        ("Never seen", ("80", "20.7%")),
    ]
    assert all(len(cells) == len(found.columns) - 1 for _, _, cells in found.rows)


def test_methods_stand_beside_the_original_and_retraining() -> None:
    found = view(a_text_report(posthoc=True), of_methods=True)

    assert found.headline == (
        "The deployed model reproduces 21.1% of a forgotten answer; retrained it is 18.0%, and "
        "before it was 100%."
    )
    assert [(name, is_deployed) for name, is_deployed, _ in found.rows] == [
        ("the original", False),
        ("retrain", False),
        ("npo", True),
    ]
    cells = dict(zip(found.columns[1:], found.rows[2][2], strict=True))
    assert cells["Utility kept"] == "95.0%"
    assert cells["Perplexity of generic text"] == "1.25 times"
    assert cells["After relearning"] == "20.0% to 31.0%"
    assert cells["After four bits"] == "not measured"


@pytest.mark.parametrize("of_methods", [False, True])
def test_the_page_says_what_is_covered_and_counts_tokens(*, of_methods: bool) -> None:
    report = a_text_report(posthoc=of_methods)
    text = Page(render((posthoc if of_methods else full)(report=report))).said

    assert "pre-training is not covered" in text
    assert "ranks 83.2% of the tokens first" in text
    assert "of answers' tokens right" in text
    assert "Macro F1" not in text
    assert "Min-K%++" in text


def test_few_rows_are_said_to_be_few() -> None:
    report = a_text_report()
    report["language"] = {"forgotten": None, "holdout": None}
    found = view(report)

    assert found.rows == ()
    assert found.why_not is not None
    assert "fewer than 10" in found.why_not
    assert "not published" in found.headline
    assert "fewer than 10" in Page(render(full(report=report))).said


def test_a_damaged_report_does_no_harm() -> None:
    report = a_text_report(posthoc=True)
    report["original"] = "<b>gone</b>"
    report["methods"]["npo"]["language"]["forget"]["extraction_strength"] = float("nan")
    text = render(posthoc(report=report))

    assert "<b>gone</b>" not in text
    assert "not published" in Page(text).said
