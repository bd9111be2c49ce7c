"""Registered attacks keep to the conformance suite, and so does one in a module of its own."""

from collections.abc import Sequence

import numpy as np
import pytest
from unlearn.stages.text.scoring import TokenScores
from unlearn.stages.verify.membership.arrays import Floats, Ints
from unlearn.stages.verify.membership.attack import (
    AnswerKind,
    AnswerScore,
    Attack,
    ComparedRows,
    ReferenceScore,
)
from unlearn.stages.verify.membership.calibrated import lira
from unlearn.stages.verify.membership.registry import register, registered

from tests.stages.verify.membership import conformance
from tests.stages.verify.membership.conformance import CHECKS, Check, check_attack
from tests.stages.verify.membership.margin_attack import MARGIN

CASES = [(attack, kind) for attack in registered() for kind in attack.needs]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    ("attack", "kind"), CASES, ids=[f"{attack.name}-{kind}" for attack, kind in CASES]
)
def test_every_registered_attack(attack: Attack, kind: AnswerKind, check: Check) -> None:
    check(attack, kind)


def test_the_suite_has_every_check() -> None:
    written = [name for name in vars(conformance) if name.startswith("check_")]

    assert [check.__name__ for check in CHECKS] == [n for n in written if n != "check_attack"]


@pytest.mark.usefixtures("own_registry")
def test_an_attack_in_a_module_of_its_own() -> None:
    check_attack(register(MARGIN))


def truth(probabilities: Floats, targets: Ints) -> Floats:
    found: Floats = probabilities[np.arange(len(targets)), targets]
    return found


def below(probabilities: Floats, targets: Ints) -> Floats:
    """Return a higher score where the model is less sure."""
    return -truth(probabilities, targets)


def first_row(probabilities: Floats, targets: Ints) -> Floats:
    """Return one score for all rows."""
    return truth(probabilities, targets)[:1]


def endless(probabilities: Floats, targets: Ints) -> Floats:
    """Return minus infinity for a probability of 0."""
    with np.errstate(divide="ignore"):
        found: Floats = np.log(truth(probabilities, targets))
    return found


def by_rows(probabilities: Floats, targets: Ints) -> Floats:
    """Divide by nothing where there is one row."""
    with np.errstate(divide="ignore"):
        return truth(probabilities, targets) / np.float64(len(targets) - 1)


def by_place(probabilities: Floats, targets: Ints) -> Floats:
    """Return a higher score for later rows."""
    return truth(probabilities, targets) + np.arange(len(targets))


def by_length(tokens: TokenScores, texts: Sequence[str]) -> Floats:
    """Return the same for all rows."""
    del texts
    return np.array([float(part.stop - part.start) for part in tokens.slices])


def lira_below(rows: ComparedRows, weights: Floats | None) -> Floats:
    return -lira(rows.own, rows.references, rows.usable, weights)


def lira_without_weights(rows: ComparedRows, weights: Floats | None) -> Floats:
    del weights
    return lira(rows.own, rows.references, rows.usable)


def wrong(score: AnswerScore | ReferenceScore, name: str = "wrong", label: str = "Wrong") -> Attack:
    return Attack(name, label, score)


@pytest.mark.parametrize(
    ("check", "kind", "attack"),
    [
        (conformance.check_declaration, "classes", wrong(AnswerScore(truth), name="Two words")),
        (conformance.check_declaration, "classes", wrong(AnswerScore(truth), label="")),
        (conformance.check_declaration, "tokens", wrong(AnswerScore(truth))),
        (conformance.check_a_score_for_each_row, "classes", wrong(AnswerScore(first_row))),
        (conformance.check_scores_are_finite, "classes", wrong(AnswerScore(endless))),
        (conformance.check_one_row, "classes", wrong(AnswerScore(by_rows))),
        (conformance.check_rows_may_stand_in_any_order, "classes", wrong(AnswerScore(by_place))),
        (conformance.check_higher_means_member, "classes", wrong(AnswerScore(below))),
        (conformance.check_higher_means_member, "tokens", wrong(AnswerScore(tokens=by_length))),
        (conformance.check_higher_means_member, "classes", wrong(ReferenceScore(lira_below))),
        (
            conformance.check_swapping_the_samples_mirrors_the_auc,
            "tokens",
            wrong(AnswerScore(tokens=by_length)),
        ),
        (conformance.check_ties_count_half, "classes", wrong(AnswerScore(by_place))),
        (conformance.check_constant_answers_tell_nothing, "classes", wrong(AnswerScore(by_place))),
        (
            conformance.check_a_reference_counts_as_often_as_it_was_drawn,
            "classes",
            wrong(ReferenceScore(lira_without_weights)),
        ),
    ],
)
@pytest.mark.usefixtures("own_registry")
def test_the_checks_find_what_is_wrong(check: Check, kind: AnswerKind, attack: Attack) -> None:
    register(attack)

    with pytest.raises(AssertionError):
        check(attack, kind)
