"""One model's answers as attacks read them, by classes and by tokens."""

import math
import zlib

import numpy as np
import pytest
from unlearn.stages.text.scoring import TokenScores
from unlearn.stages.verify.membership.registry import attacks_on
from unlearn.stages.verify.membership.row_scores import logit_of_logs, of_classes, of_tokens
from unlearn.stages.verify.membership.scores import entropy, logit
from unlearn.stages.verify.membership.text_answers import row_means


def tokens(logprobs: list[list[float]], spread: float = 1.0) -> TokenScores:
    """Return scores of rows whose expected log-probability is -1 at every place."""
    flat = np.array([value for row in logprobs for value in row])
    ends = np.cumsum([len(row) for row in logprobs])
    mean, deviation = np.full(len(flat), -1.0), np.full(len(flat), spread)
    return TokenScores(flat, mean, deviation, flat > -0.5, ends)


def test_each_kind_of_answers_is_scored_by_its_attacks() -> None:
    classes = of_classes(np.array([[0.9, 0.1]]), np.array([0]))
    text = of_tokens(tokens([[-1.0]]), ["a"])

    assert list(classes.scores) == ["confidence", "loss", "entropy", "modified_entropy"]
    assert list(text.scores) == ["loss", "zlib", "min_k", "min_k_plus_plus"]
    for attacks, found in ((attacks_on("classes"), classes), (attacks_on("tokens"), text)):
        names = [attack.name for attack in attacks]
        assert names == [*found.scores, "lira", "rmia"]


def test_a_row_of_text_is_scored_as_by_hand() -> None:
    rows = [[-0.1, -0.3, -2.0, -0.2, -0.4], [-1.0, -3.0]]
    found = of_tokens(tokens(rows, spread=2.0), ["five tokens", "two"])

    assert found.scores["loss"] == pytest.approx([-0.6, -2.0])
    lengths = [len(zlib.compress(text)) for text in (b"five tokens", b"two")]
    assert found.scores["zlib"] == pytest.approx([-3.0 / lengths[0], -4.0 / lengths[1]])
    # A fifth of five tokens is one; of two tokens it is at least one.
    assert found.scores["min_k"] == pytest.approx([-2.0, -3.0])
    assert found.scores["min_k_plus_plus"] == pytest.approx([(-2.0 + 1) / 2, (-3.0 + 1) / 2])
    chance = math.exp(-0.6)
    assert found.logits[0] == pytest.approx(math.log(chance / (1 - chance)))


def test_a_logit_keeps_its_digits_at_both_ends() -> None:
    assert logit_of_logs(np.array([-1e-9])) == pytest.approx([math.log(1e9)], rel=1e-6)
    assert logit_of_logs(np.array([-40.0])) == pytest.approx([-40.0])
    assert logit_of_logs(np.array([0.0])) == pytest.approx([math.log(1e12)])
    # Rounding may leave a probability a little above 1.
    assert np.isfinite(logit_of_logs(np.array([1e-7]))).all()


def test_classes_are_scored_as_before() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
    truth = np.array([0, 1])
    found = of_classes(probabilities, truth)

    assert found.scores["entropy"].tolist() == entropy(probabilities, truth).tolist()
    assert found.logits.tolist() == logit(probabilities, truth).tolist()


def test_answers_that_are_no_numbers_have_no_scores() -> None:
    classes = of_classes(np.array([[np.nan, 0.1]]), np.array([0]))
    text = of_tokens(tokens([[-np.inf, -1.0]]), ["a"])

    assert (classes.finite, classes.scores) == (False, {})
    assert (text.finite, text.scores) == (False, {})


def test_means_by_row_are_of_its_own_tokens() -> None:
    values = np.array([[1.0, 10.0], [3.0, 30.0], [5.0, 50.0]])

    assert row_means(values, np.array([2, 3])).tolist() == [[2.0, 20.0], [5.0, 50.0]]
