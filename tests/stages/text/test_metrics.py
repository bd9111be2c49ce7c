"""Metrics of language models: worked examples, and public libraries where there are any."""

import math
import sys
import zlib

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from scipy import stats
from unlearn.stages.text.metrics import (
    answer_probability,
    exact_memorisation,
    extraction_strength,
    forget_quality,
    has_words,
    loss_score,
    min_k,
    min_k_plus_plus,
    model_utility,
    perplexity,
    priv_leak,
    repetition,
    rouge_l,
    rouge_l_recall,
    truth_hidden,
    truth_ratio,
    truth_told,
    zlib_score,
)

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

ln = math.log


def right(marks: str) -> Bools:
    """Return the tokens of a string in which a dot is right and an x is wrong."""
    return np.array([mark == "." for mark in marks])


def logs(*probabilities: float) -> Floats:
    return np.array([ln(probability) for probability in probabilities])


@pytest.mark.parametrize(
    ("marks", "strength"),
    [
        ("....", 1.0),  # the prompt alone gives all
        ("xxxx", 0.0),
        ("...x", 0.0),  # even with all but the last token given, the last does not come
        ("x...", 3 / 4),
        (".x..", 2 / 4),  # the wrong token has to be given, and all before it
        ("xxx.", 1 / 4),
        ("x.x.", 1 / 4),
        (".", 1.0),
        ("x", 0.0),
    ],
)
def test_extraction_strength_is_what_follows_the_last_wrong_token(
    marks: str, strength: float
) -> None:
    assert extraction_strength(right(marks)) == strength


@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_extraction_strength_is_found_by_trying_every_beginning(marks: list[bool]) -> None:
    enough = [given for given in range(len(marks) + 1) if all(marks[given:])]

    assert extraction_strength(np.array(marks)) == (len(marks) - min(enough)) / len(marks)


@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_what_is_extracted_is_memorised(marks: list[bool]) -> None:
    assert extraction_strength(np.array(marks)) <= exact_memorisation(np.array(marks))


@pytest.mark.parametrize(
    ("marks", "share"), [("....", 1.0), ("xxxx", 0.0), ("x.x.", 0.5), ("...x", 0.75)]
)
def test_exact_memorisation_is_a_share(marks: str, share: float) -> None:
    assert exact_memorisation(right(marks)) == share


def test_the_probability_of_an_answer_is_a_geometric_mean() -> None:
    assert answer_probability(logs(0.5, 0.125)) == pytest.approx(0.25)
    assert answer_probability(logs(1.0, 1.0)) == 1.0
    assert answer_probability(np.array([-1e6])) == 0.0


def test_perplexity_counts_every_token_once() -> None:
    assert perplexity(logs(0.5, 0.125)) == pytest.approx(4.0)
    assert perplexity(np.zeros(3)) == 1.0
    # Ten tokens among which a model cannot choose have a perplexity of ten.
    assert perplexity(logs(*[0.1] * 7)) == pytest.approx(10.0)


def test_the_perplexity_of_a_collapsed_model_is_a_number() -> None:
    assert perplexity(np.array([-1e4])) == pytest.approx(sys.float_info.max)


def test_the_truth_ratio_by_hand() -> None:
    # sqrt(.1 * .4) = .2, over .8.
    assert truth_ratio(0.8, [0.1, 0.4]) == pytest.approx(0.25)
    assert truth_ratio(0.1, [0.3]) == pytest.approx(3.0)


probability = st.floats(0, 1)


@given(probability, st.lists(probability, min_size=1, max_size=5))
def test_the_truth_ratio_is_a_number_and_larger_than_0(
    paraphrased: float, perturbed: list[float]
) -> None:
    ratio = truth_ratio(paraphrased, perturbed)

    assert 0 < ratio < math.inf
    assert 0 <= truth_hidden(ratio) <= 1
    assert 0 <= truth_told(ratio) <= 1


@given(st.floats(1e-6, 1), st.lists(st.floats(1e-6, 1), min_size=1, max_size=5))
def test_the_truth_ratio_is_scipys_geometric_mean(
    paraphrased: float, perturbed: list[float]
) -> None:
    expected = stats.gmean(perturbed) / paraphrased

    assert truth_ratio(paraphrased, perturbed) == pytest.approx(expected)


def test_a_collapsed_model_tells_no_truth_from_untruth() -> None:
    assert truth_ratio(0.0, [0.0, 0.0]) == 1.0


@pytest.mark.parametrize(
    ("ratio", "hidden", "told"),
    [(1.0, 1.0, 0.0), (0.25, 0.25, 0.75), (4.0, 0.25, 0.0), (0.5, 0.5, 0.5)],
)
def test_truth_is_to_be_hidden_on_forget_rows_and_told_on_others(
    ratio: float, hidden: float, told: float
) -> None:
    assert truth_hidden(ratio) == hidden
    assert truth_told(ratio) == told


def test_rouge_l_by_hand() -> None:
    # In common, in order: "was", "born", "in", "kuwait": 4 of the 6 said, 4 of the 5 true.
    found = rouge_l("The author was born in KUWAIT!", "Basil was born in Kuwait.")

    assert found.precision == pytest.approx(4 / 6)
    assert found.recall == pytest.approx(4 / 5)
    assert found.f_measure == pytest.approx(2 * (4 / 6) * (4 / 5) / (4 / 6 + 4 / 5))
    assert rouge_l_recall("born in Kuwait was Basil", "Basil was born in Kuwait") == 3 / 5


#: Few words, so that they meet; and what is not of them: case, marks, other scripts, a sign whose
#: lower case is two.
words = st.lists(
    st.sampled_from(["a", "B", "b", "c1", "-", "x_y", "don't", "É", "né", "İ", "\n", "ab", "日本"]),
    max_size=12,
).map(" ".join)


@given(words | st.text(max_size=30), words | st.text(max_size=30))
def test_rouge_l_is_the_public_librarys(answer: str, reference: str) -> None:
    expected = RougeScorer(["rougeL"]).score(target=reference, prediction=answer)["rougeL"]

    assert tuple(rouge_l(answer, reference)) == pytest.approx(tuple(expected))
    assert rouge_l_recall(answer, reference) == pytest.approx(expected.recall)


@pytest.mark.parametrize(("answer", "reference"), [("", "a"), ("a", ""), ("", ""), ("!", "?")])
def test_texts_without_words_have_nothing_in_common(answer: str, reference: str) -> None:
    assert rouge_l(answer, reference) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("text", "seen"),
    [("", False), ("!?", False), ("Она родилась", False), ("né", True), ("7", True)],
)
def test_whether_rouge_sees_a_word(text: str, seen: bool) -> None:
    """Where it sees none it says 0 of the text itself, and means nothing."""
    assert has_words(text) is seen
    assert (rouge_l_recall(text, text) == 1.0) is seen


SCORED = logs(0.5, 0.01, 0.9, 0.2, 0.8)


def test_the_loss_is_a_mean() -> None:
    expected = (ln(0.5) + ln(0.01) + ln(0.9) + ln(0.2) + ln(0.8)) / 5

    assert loss_score(SCORED) == pytest.approx(expected)


def test_zlib_divides_by_what_is_left_of_the_text() -> None:
    text = "again and again and again and again"
    total = ln(0.5) + ln(0.01) + ln(0.9) + ln(0.2) + ln(0.8)

    assert zlib_score(SCORED, text) == pytest.approx(total / len(zlib.compress(text.encode())))
    # As unlikely as text that is hard to compress, an easy text looks less like a member.
    assert zlib_score(SCORED, "a" * 35) < zlib_score(SCORED, "Kx8!qZ-0vTr#m2Wc_9uLp@4hYs&7dGj+e?B")


@pytest.mark.parametrize(
    ("share", "lowest"),
    [(0.2, [0.01]), (0.4, [0.01, 0.2]), (0.59, [0.01, 0.2]), (0.6, [0.01, 0.2, 0.5])],
)
def test_min_k_is_the_mean_of_the_least_likely(share: float, lowest: list[float]) -> None:
    assert min_k(SCORED, share) == pytest.approx(sum(map(ln, lowest)) / len(lowest))


def test_min_k_takes_a_fifth_unless_told_otherwise() -> None:
    scores = -np.arange(1.0, 11.0)

    assert min_k(scores) == pytest.approx(-9.5)
    assert min_k_plus_plus(scores, np.zeros(10), np.ones(10)) == pytest.approx(-9.5)


def test_min_k_of_everything_is_the_loss() -> None:
    assert min_k(SCORED, 1.0) == pytest.approx(loss_score(SCORED))


def test_min_k_of_a_short_answer_is_its_least_likely_token() -> None:
    assert min_k(logs(0.5, 0.25)) == pytest.approx(ln(0.25))
    assert min_k(logs(0.5)) == pytest.approx(ln(0.5))


def test_the_number_of_tokens_is_not_lost_to_rounding() -> None:
    # .29 * 100 is 28.999999999999996.
    assert min_k(-np.arange(1.0, 101.0), 0.29) == pytest.approx(-np.arange(72.0, 101.0).mean())


def test_min_k_plus_plus_by_hand() -> None:
    # Two places; of three tokens the model gives these shares, and the first is the true one.
    shares = [[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]
    means = [sum(p * ln(p) for p in place) for place in shares]
    spreads = [
        math.sqrt(sum(p * (ln(p) - mean) ** 2 for p in place))
        for place, mean in zip(shares, means, strict=True)
    ]
    scores = [(ln(0.5) - means[0]) / spreads[0], (ln(0.1) - means[1]) / spreads[1]]

    found = [
        min_k_plus_plus(logs(0.5, 0.1), np.array(means), np.array(spreads), share)
        for share in (0.5, 1.0)
    ]

    assert scores == pytest.approx([1.0, -2.0])  # as it happens
    assert found == pytest.approx([min(scores), sum(scores) / 2])


def test_min_k_plus_plus_takes_the_lowest_after_scaling() -> None:
    # The second token is less likely, the first is more surprising at its place.
    found = min_k_plus_plus(
        np.array([-1.0, -3.0]), np.array([-0.5, -3.0]), np.array([0.1, 2.0]), 0.5
    )

    assert found == pytest.approx(-5.0)


def test_a_place_without_spread_has_a_score_that_is_a_number() -> None:
    # Sure and right; all of eight tokens equally likely; sure and wrong.
    logprobs, means = np.array([0.0, ln(1 / 8), -20.0]), np.array([0.0, ln(1 / 8), 0.0])
    spreads = np.zeros(3)

    each = [
        min_k_plus_plus(logprobs[[place]], means[[place]], spreads[[place]]) for place in range(3)
    ]

    assert each == pytest.approx([0.0, 0.0, -20.0 / 1e-3])


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01, math.nan])
def test_a_share_is_a_share(share: float) -> None:
    with pytest.raises(ValueError, match="share must be"):
        min_k(SCORED, share)
    with pytest.raises(ValueError, match="share must be"):
        min_k_plus_plus(SCORED, SCORED, np.ones(5), share)


def test_repetition_is_the_share_of_what_was_said_before() -> None:
    assert repetition([1, 2, 3, 4, 5, 6]) == 0.0
    # Five pairs, three of them different: (1, 2), (2, 1), (1, 3).
    assert repetition([1, 2, 1, 2, 1, 3], 2) == pytest.approx(2 / 5)
    assert repetition(["to", "be", "or", "not", "to", "be"], 2) == pytest.approx(1 / 5)
    # Ninety-seven of four, one of them different.
    assert repetition([7] * 100) == pytest.approx(96 / 97)


@given(st.lists(st.integers(0, 3), max_size=30), st.integers(1, 5))
def test_repetition_counts_what_occurred_before(tokens: list[int], n: int) -> None:
    grams = [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]
    before = sum(gram in grams[:index] for index, gram in enumerate(grams))

    assert repetition(tokens, n) == pytest.approx(before / max(1, len(grams)))


def test_a_text_shorter_than_n_repeats_nothing() -> None:
    assert repetition([1, 1, 1], 4) == 0.0
    assert repetition([], 1) == 0.0
    with pytest.raises(ValueError, match="at least 1"):
        repetition([1, 2], 0)


ratios = st.lists(st.floats(0.01, 10), min_size=2, max_size=20).map(np.array)


@given(ratios, ratios)
def test_forget_quality_is_scipys_kolmogorov_smirnov(one: Floats, other: Floats) -> None:
    expected = stats.ks_2samp(one, other)

    assert tuple(forget_quality(one, other)) == (expected.statistic, expected.pvalue)


def test_forget_quality_by_hand() -> None:
    # At .3 all of the first are at or below, of the others one of four.
    found = forget_quality(np.array([0.1, 0.2, 0.3, 0.3]), np.array([0.2, 0.7, 0.8, 0.9]))

    assert found.distance == 0.75
    assert forget_quality(np.array([0.1, 0.2]), np.array([0.1, 0.2])) == (0.0, 1.0)


def test_forget_quality_does_not_depend_on_which_way_up_the_ratio_is() -> None:
    one, other = np.array([0.1, 0.4, 2.0, 3.0]), np.array([0.2, 0.9, 1.5, 8.0, 9.0])

    assert forget_quality(one, other) == pytest.approx(forget_quality(1 / one, 1 / other))


def test_priv_leak_has_muses_signs() -> None:
    # Retrained, forget rows are like any unseen: .5. Still all members: as low as it gets.
    assert priv_leak(1.0, 0.5) == pytest.approx(-100.0)
    assert priv_leak(0.5, 0.5) == 0.0
    assert priv_leak(0.0, 0.5) == pytest.approx(100.0)
    # (1 - .7 - (1 - .6)) / (1 - .6).
    assert priv_leak(0.7, 0.6) == pytest.approx(-25.0)


def test_priv_leak_has_no_value_where_the_reference_tells_all() -> None:
    assert priv_leak(0.7, 1.0) is None


@given(st.lists(st.floats(1e-3, 1), min_size=1, max_size=9))
def test_utility_is_scipys_harmonic_mean(parts: list[float]) -> None:
    assert model_utility(parts) == pytest.approx(stats.hmean(parts))


def test_utility_is_gone_with_any_part_of_it() -> None:
    assert model_utility([1.0, 0.5]) == pytest.approx(2 / 3)
    assert model_utility([1.0, 1.0, 0.0]) == 0.0
    with pytest.raises(ValueError, match="negative"):
        model_utility([1.0, -0.5])


def test_nothing_has_no_metric() -> None:
    none: Floats = np.array([])
    some = np.array([-1.0])
    refused = pytest.raises(ValueError, match="No values were given")

    with refused:
        extraction_strength(none.astype(bool))
    with refused:
        exact_memorisation(none.astype(bool))
    with refused:
        answer_probability(none)
    with refused:
        perplexity(none)
    with refused:
        truth_ratio(0.5, [])
    with refused:
        loss_score(none)
    with refused:
        zlib_score(none, "")
    with refused:
        min_k(none)
    with refused:
        min_k_plus_plus(none, none, none)
    with refused:
        forget_quality(none, some)
    with refused:
        forget_quality(some, none)
    with refused:
        model_utility([])
