"""From findings to a verdict, in the order that the design gives."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.verify.exactness.found import Exactness
from unlearn.stages.verify.membership.statistics import Interval
from unlearn.stages.verify.verdict import (
    DecidingAttack,
    Difference,
    Missing,
    Verdict,
    decide,
    judge_difference,
    judge_membership,
)
from unlearn.stages.verify_report.membership import Outcome


@pytest.mark.parametrize(
    ("found", "outcome", "said"),
    [
        (Exactness(), "pass", "no shard is touched"),
        (Exactness(touched=3, reran=1, matched=1), "pass", "1 of 3 touched shards retrained"),
        (Exactness(touched=3), "pass", "verify.rerun is 0"),
        (
            Exactness(touched=1, reran=5, matched=5, trees=100),
            "pass",
            "5 of 100 trees of the touched shards fitted again",
        ),
        (Exactness(problems=("s000: bad",)), "fail", "s000: bad"),
        (
            Exactness(touched=1, environment=("numpy: 2 here, 3 there",)),
            "inconclusive",
            "numpy: 2 here, 3 there",
        ),
        (
            Exactness(touched=1, environment=("numpy: 2 here, 3 there",), problems=("s000: bad",)),
            "fail",
            "s000: bad",
        ),
    ],
)
def test_the_first_rule_that_applies_decides(found: Exactness, outcome: Outcome, said: str) -> None:
    verdict = decide(found)

    assert verdict.outcome == outcome
    assert any(said in reason for reason in verdict.reasons)


def test_every_problem_is_a_reason() -> None:
    found = Exactness()
    found.add("one")
    found.add("two")

    assert decide(found).reasons == ("one", "two")


def around(value: float, wide: float) -> Interval:
    """Return an AUC whose 95 % interval reaches `wide` to either side; the 90 % one follows."""
    narrow = wide * 1.645 / 1.96
    return Interval(value, (value - wide, value + wide), (value - narrow, value + narrow))


STRONG, WEAK = around(0.9, 0.05), around(0.6, 0.08)


@pytest.mark.parametrize(
    ("forgotten", "control", "outcome", "said"),
    [
        (around(0.50, 0.05), STRONG, "pass", "it would have found these"),
        (around(0.55, 0.05), STRONG, "pass", "it would have found these"),
        # Wholly outside, on either side.
        (around(0.90, 0.05), STRONG, "fail", "as on rows that they were trained on"),
        (around(0.90, 0.05), WEAK, "fail", "as on rows that they were trained on"),
        (around(0.10, 0.05), STRONG, "fail", "worse than on rows that they never saw"),
        # The interval reaches the margin.
        (around(0.66, 0.08), STRONG, "inconclusive", "further than the margin"),
        (around(0.55, 0.10), STRONG, "inconclusive", "with about 206 forgotten rows"),
        # Nothing found by an attack that finds nothing.
        (around(0.50, 0.05), WEAK, "inconclusive", "finding nothing means nothing"),
        # A control below .5 has power, too.
        (around(0.50, 0.05), around(0.1, 0.05), "pass", "it would have found these"),
    ],
)
def test_membership_is_judged_by_interval_margin_and_control(
    forgotten: Interval, control: Interval, outcome: Outcome, said: str
) -> None:
    verdict = judge_membership(DecidingAttack("lira", forgotten, control, 73, True), 0.1)

    assert verdict.outcome == outcome
    assert any(said in reason for reason in verdict.reasons), verdict.reasons


@given(
    st.floats(0.41, 0.59),
    st.floats(0.001, 0.3),
    st.floats(0.001, 0.3),
    st.integers(10, 10_000),
)
def test_no_fewer_rows_are_wanted_than_there_are(
    value: float, below: float, above: float, rows: int
) -> None:
    narrow = (value - below, value + above)
    interval = Interval(value, (narrow[0] - 0.02, narrow[1] + 0.02), narrow)
    verdict = judge_membership(DecidingAttack("lira", interval, STRONG, rows, True), 0.1)

    wanted = [re.search(r"with about ([\d,]+) forgotten rows", each) for each in verdict.reasons]
    numbers = [int(found[1].replace(",", "")) for found in wanted if found is not None]
    assert len(numbers) == (verdict.outcome == "inconclusive")
    assert all(number >= rows for number in numbers)


def test_the_edge_of_the_margin_is_inside() -> None:
    edge = Interval(0.5, (0.38, 0.62), (0.4, 0.6))
    beyond = Interval(0.5, (0.38, 0.62), (0.3999, 0.6))

    assert judge_membership(DecidingAttack("lira", edge, STRONG, 50, True), 0.1).outcome == "pass"
    verdict = judge_membership(DecidingAttack("lira", beyond, STRONG, 50, True), 0.1)
    assert verdict.outcome == "inconclusive"


def test_without_a_reference_nothing_is_concluded() -> None:
    for forgotten in (around(0.5, 0.01), around(0.95, 0.01)):
        verdict = judge_membership(DecidingAttack("loss", forgotten, STRONG, 50, False), 0.1)

        assert verdict.outcome == "inconclusive"
        assert any("is not known" in reason for reason in verdict.reasons)


def test_a_measured_reference_takes_the_place_of_one_half() -> None:
    hard = around(0.05, 0.02)  # mislabelled rows are hard for anyone

    assert judge_membership(DecidingAttack("loss", hard, STRONG, 50, True), 0.1).outcome == "fail"
    assert (
        judge_membership(DecidingAttack("loss", hard, STRONG, 50, True, 0.06), 0.1).outcome
        == "pass"
    )


def test_where_no_attack_could_be_made_the_reason_stands() -> None:
    few = Missing("there are 2 shards", "there are too few shards")
    verdict = judge_membership(None, 0.1, few)

    assert verdict == Verdict("inconclusive", (few.reason,), (few.words,))


def beside(forgotten: Interval, original: Interval) -> Difference:
    return Difference("loss", 0.5 + forgotten.value, 0.5, forgotten, original, 73)


#: How far the original is from the retrained model: seen by one attack, and not by another.
SEEN, UNSEEN = around(0.4, 0.05), around(0.05, 0.08)


@pytest.mark.parametrize(
    ("forgotten", "original", "outcome", "said"),
    [
        (around(0.00, 0.05), SEEN, "pass", "so it would have told this one"),
        (around(-0.04, 0.05), SEEN, "pass", "so it would have told this one"),
        # Wholly outside, on either side; power is not needed for that.
        (around(0.40, 0.05), SEEN, "fail", "still knows the forgotten rows better"),
        (around(0.40, 0.05), UNSEEN, "fail", "still knows the forgotten rows better"),
        (around(-0.40, 0.05), SEEN, "fail", "worse than one that never saw them"),
        # The interval reaches beyond the margin.
        (around(0.15, 0.08), SEEN, "inconclusive", "more forgotten rows would tell"),
        (around(0.00, 0.30), SEEN, "inconclusive", "more forgotten rows would tell"),
        # The attack hardly tells the original itself.
        (around(0.00, 0.05), UNSEEN, "inconclusive", "the attack has no power here"),
        (around(0.15, 0.08), UNSEEN, "inconclusive", "the attack has no power here"),
        # An original that is found below the retrained model is told from it, too.
        (around(0.00, 0.05), around(-0.4, 0.05), "pass", "so it would have told this one"),
    ],
)
def test_a_method_is_judged_by_its_distance_from_retraining(
    forgotten: Interval, original: Interval, outcome: Outcome, said: str
) -> None:
    verdict = judge_difference(beside(forgotten, original), 0.1)

    assert verdict.outcome == outcome
    assert any(said in reason for reason in verdict.reasons), verdict.reasons
    assert "on 73 forgotten rows" in verdict.reasons[0]


@given(
    st.floats(-1, 1),
    st.floats(0, 1),
    st.floats(0.001, 0.49),
)
def test_the_original_itself_never_passes(value: float, wide: float, margin: float) -> None:
    """Its own distance is the control: inside the margin and outside of it is a contradiction."""
    original = around(value, wide)

    assert judge_difference(beside(original, original), margin).outcome != "pass"


def test_the_edge_of_the_margin_of_a_difference_is_inside() -> None:
    edge = Interval(0.0, (-0.12, 0.12), (-0.1, 0.1))
    beyond = Interval(0.0, (-0.12, 0.12), (-0.1, 0.1001))

    assert judge_difference(beside(edge, SEEN), 0.1).outcome == "pass"
    assert judge_difference(beside(beyond, SEEN), 0.1).outcome == "inconclusive"


@pytest.mark.parametrize("low", [0.25, 0.75])
def test_an_interval_that_ends_at_the_margin_is_not_outside_it(low: float) -> None:
    """Binary fractions, so that the edge is met exactly: .5 +- .25."""
    at_the_edge = (0.75, 0.875) if low == 0.75 else (0.125, 0.25)
    touching = Interval(sum(at_the_edge) / 2, at_the_edge, at_the_edge)

    judged = judge_membership(DecidingAttack("lira", touching, STRONG, 50, True), 0.25)
    assert judged.outcome == "inconclusive"
    # Nor is such a control one that would have failed.
    control = judge_membership(DecidingAttack("lira", around(0.5, 0.05), touching, 50, True), 0.25)
    assert control.outcome == "inconclusive"


def test_an_auc_at_the_margin_leaves_no_room_that_more_rows_would_fill() -> None:
    edge = Interval(0.75, (0.5, 1.0), (0.55, 0.95))
    verdict = judge_membership(DecidingAttack("lira", edge, STRONG, 50, True), 0.25)

    assert verdict.reasons[1].startswith("the AUC is further than the margin of 0.25 from 0.5")


def test_what_a_verdict_covers_is_its_last_reason() -> None:
    assert decide(Exactness(), "the tuning data alone").reasons[-1] == "the tuning data alone"
    assert len(decide(Exactness()).reasons) == 2


def test_a_weak_control_is_named_with_its_interval() -> None:
    verdict = judge_membership(DecidingAttack("lira", around(0.5, 0.05), WEAK, 50, True), 0.1)

    assert "its AUC is 0.600 (0.520 to 0.680)" in verdict.reasons[1]
    assert len(verdict.reasons) == 2


def test_an_original_without_power_is_named_with_its_interval() -> None:
    verdict = judge_difference(beside(around(0.0, 0.05), UNSEEN), 0.1)

    assert "(+0.050, -0.030 to +0.130)" in verdict.reasons[1]
    assert len(verdict.reasons) == 2, "its own interval is inside the margin"


EXACTNESS = st.builds(
    Exactness,
    touched=st.integers(0, 40),
    reran=st.integers(0, 40),
    trees=st.none() | st.integers(40, 900),
    environment=st.sampled_from([(), ("numpy: 2.4.6 here, 2.5.0 there",)]),
)
AUCS = st.builds(around, st.floats(-1, 1), st.floats(0.01, 0.5))
ATTACKED = st.builds(
    DecidingAttack, st.just("lira"), AUCS, AUCS, st.integers(1, 9_999), st.booleans()
)
COMPARED = st.builds(
    Difference, st.just("lira"), st.floats(0, 1), st.floats(0, 1), AUCS, AUCS, st.integers(1, 9_999)
)


@given(EXACTNESS, ATTACKED, COMPARED, st.floats(0.01, 0.4))
def test_every_verdict_says_why_without_a_figure(
    exactness: Exactness, attacked: DecidingAttack, compared: Difference, margin: float
) -> None:
    for verdict in (
        decide(exactness),
        judge_membership(attacked, margin),
        judge_difference(compared, margin),
    ):
        assert verdict.in_words
        assert not any(character.isdigit() for words in verdict.in_words for character in words)
