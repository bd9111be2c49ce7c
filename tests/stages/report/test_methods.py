"""The comparison of post-hoc methods: which is deployed, what its label means, how they differ."""

import math
from typing import Any

import pytest
from unlearn.stages.report import methods
from unlearn.stages.report.formatting import Measured
from unlearn.stages.report.page import render

from tests.stages.report.samples import METHODS, a_posthoc_report, full, posthoc
from tests.stages.report.test_page import Page

CERTIFIED = "certified(epsilon=0.5, delta=0.0001)"


def said(report: dict[str, Any] | None = None, **other: Any) -> str:
    """Return the text of a page."""
    return Page(render(posthoc(report, **other))).said


def view(report: dict[str, Any] | None = None, **other: Any) -> methods.MethodsView:
    """Return the comparison."""
    found = methods.methods(posthoc(report, **other))
    assert found is not None
    return found


def test_a_project_of_shards_has_no_comparison_and_its_shard_map() -> None:
    assert methods.methods(full()) is None
    assert methods.deployed(full()) is None
    text = Page(render(full())).said
    assert "Shard map" in text
    assert "Methods compared" not in text


def test_a_project_without_shards_says_nothing_of_shards() -> None:
    for report in (a_posthoc_report(), a_posthoc_report(label="exact", deploy="retrain")):
        text = said(report)
        assert "Methods compared" in text
        assert "shard" not in text.lower()


def test_every_method_stands_there_the_retrained_and_the_deployed_one_first() -> None:
    rows = view().rows

    assert [row.name for row in rows[:2]] == ["retrain", "negative_gradient_plus"]
    assert {row.name for row in rows} == set(METHODS)
    assert [row.deployed for row in rows] == [False, True, False, False, False, False]
    assert [row.name for row in rows if not row.has_model] == ["certified_removal"]
    one = rows[1]
    assert (one.forget, one.retain, one.holdout) == ("91.0%", "99.0%", "94.0%")
    assert (one.apart, one.apart_forgotten, one.relearning) == ("2.5%", "7.0%", "0.50")
    assert one.passes == "144 / 2.2"
    assert one.auc is not None
    assert (one.auc.value, one.auc.span) == ("0.582", "0.539 to 0.623")
    assert "budget" in one.stopped
    assert one.stopped.endswith("restored its best state")


def test_the_headline_counts_the_others_by_verdict() -> None:
    assert view().headline == (
        "negative_gradient_plus is deployed. Of 5 others, 1 passes, 2 fail, 1 is inconclusive and "
        "1 does not apply to this model."
    )
    report = a_posthoc_report(deploy="ssd")
    report["methods"] = {name: report["methods"][name] for name in ("ssd", "retrain")}
    assert view(report).headline == "ssd is deployed. The other method passes."
    del report["methods"]["retrain"]
    assert view(report).headline == "ssd is the only method."


def test_time_is_held_against_retraining_and_said_not_to_be_known_where_it_is_not() -> None:
    by_name = {row.name: row.seconds for row in view().rows}

    assert by_name["negative_gradient_plus"].span == "12% of retraining"
    assert by_name["retrain"].span is None
    assert by_name["my_methods.py:forget_it"].value == "not known"
    text = said()
    assert "of the time of retraining 12% 5.0 seconds; retrained in 40.0 seconds" in text
    assert "Times are from the machine and the run" in text
    nowhere = said(seconds={})
    assert "Times are not known." in nowhere
    assert "of the time of retraining" not in nowhere


@pytest.mark.parametrize(
    "label", ["approximate", "nonsense", None, "Exact", "exact(ly)?", CERTIFIED]
)
@pytest.mark.parametrize("verdict", ["pass", "fail", "inconclusive"])
def test_what_is_not_exact_is_never_called_so(label: str, verdict: str) -> None:
    report = a_posthoc_report(verdict, label=label)
    text = said(report)

    assert "had never been in the data. " not in text.partition("Exactness")[0]
    assert "is what training without the forgotten records produces" not in text
    assert "negative_gradient_plus is exact" not in text
    assert "none is claimed" in text or "No exactness is claimed" in text


def test_what_each_label_means_is_said_in_plain_words() -> None:
    approximate = said()
    assert "negative_gradient_plus is approximate : the original was changed" in approximate
    assert "This is not a deletion" in approximate
    assert "this is not a proof of deletion" in approximate
    exact = said(a_posthoc_report(label="exact", deploy="retrain"))
    assert "retrain is exact : the model was trained from scratch" in exact
    assert "The deployed model is what training without the forgotten records produces." in exact
    assert "no proof" not in exact.partition("Exactness")[0]
    certified = said(a_posthoc_report(label=CERTIFIED))
    assert "is certified, epsilon 0.5, delta 0.0001 : a proof bounds" in certified
    assert f"at most {math.exp(0.5):.3g} times that in a model trained without" in certified
    assert "this is not an exact deletion" in certified


@pytest.mark.parametrize(
    ("label", "epsilon", "delta"),
    [
        (CERTIFIED, 0.5, 0.0001),
        ("certified(epsilon=1, delta=1e-05)", 1.0, 1e-5),
        ("certified", None, None),
        ("certified(epsilon=-1, delta=0)", None, None),
        ("certified(epsilon=1..2, delta=0)", None, None),
        ("certified(epsilon=1e999, delta=0)", None, None),
        ("exact", None, None),
    ],
)
def test_a_guarantee_is_read_from_its_label(
    label: str, epsilon: float | None, delta: float | None
) -> None:
    assert methods.guarantee_of(label) == (epsilon, delta)
    assert methods.meaning_of(label)


def test_a_guarantee_that_means_nothing_does_not_overflow() -> None:
    assert "any number of times" in methods.meaning_of("certified(epsilon=1e300, delta=0)")


def test_the_reasons_of_every_method_are_folded_below_the_tables() -> None:
    text = render(posthoc())
    folded = text.partition("<summary>Why each has its verdict</summary>")[2]

    for name in METHODS:
        assert f"Why {name} has its verdict." in folded.partition("</details>")[0]
        assert f"Why {name} has its verdict." not in text[: -len(folded)]


def test_the_picture_names_every_method_that_has_both_accuracies() -> None:
    found = view()

    assert found.picture is not None
    for name, (forget, _, _) in METHODS.items():
        shown = name[-20:] if len(name) > 22 else name
        assert (shown in found.picture) == (forget is not None), name
    assert "right on 90.0% of the forgotten records and on 95.0% of unseen ones" in found.caption
    assert found.picture.count("aim") == 1


def test_few_forgotten_records_have_no_picture_and_the_page_says_why() -> None:
    report = a_posthoc_report()
    for entry in report["methods"].values():
        entry["forget_accuracy"] = None

    assert view(report).picture is None
    assert "too few forgotten or held-out records (under 10)" in said(report)


def test_without_a_retrained_model_nothing_is_held_against_it() -> None:
    report = a_posthoc_report()
    del report["methods"]["retrain"]
    found = view(report)

    assert not found.has_reference
    assert found.picture is not None
    assert "aim" not in found.picture
    assert "the vertical line is the retrained model" not in said(report)


def test_a_failed_check_is_told_from_a_leak() -> None:
    leak = a_posthoc_report("fail")
    assert "The model reveals the forgotten records." in said(leak)
    broken = a_posthoc_report("fail")
    broken["exactness"]["problems"] = 2
    text = said(broken)
    assert "The checks found a mismatch" in text
    assert "2 checks found a difference." in text


@pytest.mark.parametrize(
    ("found", "headline"),
    [
        (
            {"reran": 1, "matched": 1},
            "was retrained on the retained records: the result is the same.",
        ),
        ({"reran": 0, "matched": 0}, "it was not retrained as a check."),
        ({"reran": 1, "matched": 0, "problems": 1}, "1 check found a difference."),
        ({"lineage_clean": None}, "Not all checks were made."),
    ],
)
def test_what_was_retrained_to_check_is_said(found: dict[str, Any], headline: str) -> None:
    report = a_posthoc_report(label="exact", deploy="retrain")
    report["exactness"] |= found

    assert headline in said(report)


def test_what_the_attack_found_is_held_against_the_retrained_model() -> None:
    text = said()

    assert "0.580 on the retrained model" in text
    assert "The deployed model: forgotten against unseen records" in text
    assert "The final model:" not in text


def test_the_last_run_names_the_methods_that_were_applied_and_why() -> None:
    text = said()

    assert "The last run applied 6 methods; the original did not change." in text
    assert "negative_gradient_plus, retrain, ssd new lines on the forget list" in text


def compared(**found: Any) -> dict[str, Any]:
    """Return a report in which the deployed method was compared with the retrained one."""
    report = a_posthoc_report()
    method = report["methods"]["negative_gradient_plus"]
    method["relative"] = found.pop("relative", None)
    method["membership"]["matched"] = {
        "rows": 40,
        "matched_rows": 38,
        "retrained_auc": 0.5,
        "difference": {"auc": 0.2134, "ci": [0.1, 0.3267]},
    } | found
    return report


def auc_of(report: dict[str, Any] | None = None) -> Measured:
    """Return what the first table has as the deployed method's AUC."""
    rows = view(report).rows if report is not None else view().rows
    found = next(row.auc for row in rows if row.name == "negative_gradient_plus")
    assert found is not None
    return found


def test_matched_pairs_and_the_relative_test_have_a_table() -> None:
    relative = {"nearer": "original", "p_value": 0.999, "p_value_original": 0.0005}
    (row,) = view(compared(relative=relative)).compared

    assert (row.name, row.matched) == ("negative_gradient_plus", "38 of 40")
    assert (row.unmatched.value, row.unmatched.span) == ("0.582", "0.539 to 0.623")
    assert (row.nearer, row.p_value) == ("nearer to the original", "0.0005")
    text = said(compared(relative=relative))
    assert "Compared with retraining" in text
    assert "nearer to the original" in text


def test_where_matched_pairs_decide_the_first_table_has_their_difference() -> None:
    """Not the AUC against all unseen rows: the verdict is about the difference from retrain."""
    auc = auc_of(compared())

    assert (auc.value, auc.span) == ("+0.213", "+0.100 to +0.327")
    # The retrained model's AUC is .5: the dot is where .5 + .2134 is on a scale of 148 pixels.
    assert 'cx="111.6"' in str(auc.picture)
    assert "AUC less the retrained model's" in said(compared())
    assert "AUC less the retrained model's" not in said()
    assert auc_of().value == "0.582"


def test_without_matches_there_is_no_number_in_the_table() -> None:
    report = compared(matched_rows=0, difference={})
    (row,) = view(report).compared
    auc = auc_of(report)

    assert (row.matched, auc.value, auc.span) == ("0 of 40", "not measured", None)
    assert row.nearer == row.p_value == "not measured"


def test_a_report_without_such_comparisons_has_no_such_table() -> None:
    assert view().compared == ()
    assert "Compared with retraining" not in said()


@pytest.mark.parametrize(
    ("nearer", "words", "p_value"),
    [
        ("retrained", "nearer to the retrained model", "0.03"),
        ("changed", "further from the retrained model than the original is", "0.04"),
        ("unclear", "not clear", "0.03"),
        ("<b>", "not measured", "not measured"),
    ],
)
def test_every_finding_has_words_and_its_own_p_value(nearer: str, words: str, p_value: str) -> None:
    relative = {
        "nearer": nearer,
        "p_value": 0.01,
        "p_value_original": 0.02,
        "p_value_closer": 0.03,
        "p_value_further": 0.04,
    }
    (row,) = view(compared(relative=relative)).compared

    assert row.nearer.endswith(words)
    assert row.p_value == p_value
