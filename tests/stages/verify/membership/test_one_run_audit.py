"""The one-run bound: hand-computed tails, and what chance alone gives."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.verify.membership.one_run_audit import (
    OneRun,
    epsilon_rejected,
    guess_tail,
    one_run_bound,
)


def test_tails_agree_with_binomials_worked_out_by_hand() -> None:
    # epsilon 0 is a fair coin: 10 of 10 is 1/1024; 9 of 10 or more is (10 + 1)/1024.
    assert guess_tail(10, 10, 0.0) == pytest.approx(1 / 1024)
    assert guess_tail(10, 9, 0.0) == pytest.approx(11 / 1024)
    assert guess_tail(10, 0, 0.0) == pytest.approx(1)
    # epsilon log 3 is p = 3/4: 2 of 3 or more is 3 * (9/16)(1/4) + 27/64 = 54/64.
    assert guess_tail(3, 2, math.log(3)) == pytest.approx(54 / 64)
    assert guess_tail(3, 3, math.log(3)) == pytest.approx(27 / 64)


def test_the_bound_of_guesses_that_are_all_right_is_the_root_of_the_level() -> None:
    # p^r = .05 at p = .05^(1/r), and epsilon = log(p / (1 - p)).
    p = 0.05 ** (1 / 100)

    assert epsilon_rejected(100, 100, 0.95) == pytest.approx(math.log(p / (1 - p)))
    assert math.log(p / (1 - p)) == pytest.approx(3.493, abs=1e-3)


def test_five_right_guesses_of_five_are_the_first_that_say_anything() -> None:
    # 1/16 is above .05, 1/32 below; 7 of 8 is 9/256 = .035, and 6 of 8 is 37/256 = .145.
    assert epsilon_rejected(4, 4, 0.95) == 0
    assert epsilon_rejected(5, 5, 0.95) > 0
    assert epsilon_rejected(8, 6, 0.95) == 0
    assert epsilon_rejected(8, 7, 0.95) > 0
    assert epsilon_rejected(8, 7, 0.99) == 0


@given(st.integers(1, 400), st.data())
def test_the_bound_is_the_edge_of_what_is_rejected(guesses: int, data: st.DataObject) -> None:
    correct = data.draw(st.integers(0, guesses))

    epsilon = epsilon_rejected(guesses, correct, 0.95)

    assert math.isfinite(epsilon)
    if epsilon:
        assert guess_tail(guesses, correct, epsilon) <= 1 - 0.95
    assert guess_tail(guesses, correct, epsilon + 1e-6) > 1 - 0.95
    if correct < guesses:
        assert epsilon_rejected(guesses, correct + 1, 0.95) >= epsilon


def test_the_highest_and_the_lowest_quarter_are_guessed_on() -> None:
    scores = np.arange(40.0)
    included = scores >= 20

    found = one_run_bound(scores, included)

    assert (found.guesses, found.correct) == (20, 20)
    assert found.epsilon_lower_bound == epsilon_rejected(20, 20, 0.95) > 1.8
    # The ten highest are guessed to be members, the ten lowest to be none, and nothing between.
    assert one_run_bound(scores, scores >= 30).correct == 20
    assert one_run_bound(scores, scores < 30).correct == 0
    assert one_run_bound(scores, (scores >= 35) | (scores < 3)).correct == 5 + 7


def test_the_share_is_of_all_canaries_and_rounds_down_on_each_side() -> None:
    scores = np.arange(11.0)
    included = scores > 5

    assert one_run_bound(scores, included).guesses == 4
    assert one_run_bound(scores, included, share=1.0).guesses == 10
    assert one_run_bound(scores, included, share=0.1) == OneRun(0, 0, 0.0)


def test_inverted_scores_give_no_bound() -> None:
    scores = np.arange(40.0)

    assert one_run_bound(-scores, scores >= 20) == OneRun(20, 0, 0.0)


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_ties_are_not_guessed_on_however_the_canaries_are_ordered(order: slice) -> None:
    included = np.array([True] * 20 + [False] * 20)[order]

    assert one_run_bound(np.zeros(40), included) == OneRun(0, 0, 0.0)
    some = np.where(np.arange(40) % 2, 1.0, 0.0)
    assert one_run_bound(some, included).guesses == 0
    # Five stand out above, five below; the ties between them are left alone.
    some = np.array([2.0] * 5 + [1.0] * 30 + [0.0] * 5)[order]
    assert one_run_bound(some, included) == OneRun(10, 10, epsilon_rejected(10, 10, 0.95))


def test_a_score_that_is_no_number_is_no_guess() -> None:
    scores = np.arange(40.0)
    included = scores >= 20
    scores[:5] = np.nan

    found = one_run_bound(scores, included)

    assert (found.guesses, found.correct) == (20, 20)
    assert one_run_bound(np.full(40, np.nan), included) == OneRun(0, 0, 0.0)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_canaries_say_nothing_and_raise_nothing(count: int) -> None:
    scores = np.arange(float(count))

    assert one_run_bound(scores, scores > 0, share=1.0).epsilon_lower_bound == 0


def test_without_a_signal_the_bound_is_above_zero_as_rarely_as_promised() -> None:
    draw = np.random.default_rng(11)
    above = sum(
        one_run_bound(draw.normal(size=200), draw.random(200) < 0.5).epsilon_lower_bound > 0
        for _ in range(2000)
    )

    # The level is 5 %; 100 guesses being whole, 59 right ones are the first below it: 4.4 %.
    # Beyond 4.6 standard errors of 2000 draws on either side something is wrong.
    assert 0.023 < above / 2000 < 0.066


@pytest.mark.slow
def test_randomized_response_is_bounded_by_its_own_epsilon() -> None:
    # The answer is the coin with probability e/(1+e): 1-differentially private, and no more. The
    # bound may pass 1 in at most 5 % of runs, and has to come near it.
    draw = np.random.default_rng(5)
    truth = math.e / (1 + math.e)
    bounds = []
    for _ in range(400):
        included = draw.random(1000) < 0.5
        told = np.where(draw.random(1000) < truth, included, ~included)
        noise = draw.random(1000) / 10  # breaks ties without knowing the coin
        bounds.append(one_run_bound(told + noise, included).epsilon_lower_bound)

    assert np.mean(np.array(bounds) > 1) <= 0.085
    assert np.median(bounds) > 0.75
