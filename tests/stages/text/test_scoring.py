"""What a model says of tokens: by hand on three of them, and against transformers' own loss."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from unlearn.stages.estimators.causal import CausalEstimator, answer_loss
from unlearn.stages.text.scoring import TokenScores, score
from unlearn.stages.text.sequences import Batch, Sequences, ragged

from tests.language_models import LAYOUT, author_rows, language_train

#: What a made-up model says of the next token after each one, on a vocabulary of three.
TABLE = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [1.0, 0.0, 0.0]]).log()

SCORES = ("logprobs", "mean", "spread", "right", "ends")


def of_table(inputs: torch.Tensor) -> torch.Tensor:
    return TABLE[inputs]


@pytest.fixture(scope="module")
def estimator(tiny_base: Path) -> CausalEstimator:
    return CausalEstimator(language_train(tiny_base, "causal_lm"), LAYOUT, tiny_base.parent)


@pytest.fixture(scope="module")
def sequences(estimator: CausalEstimator) -> Sequences:
    return estimator.encoder.encode(author_rows(3)).sequences


def asked(estimator: CausalEstimator, sequences: Sequences, **more: Any) -> TokenScores:
    def forward(inputs: torch.Tensor) -> torch.Tensor:
        return estimator.forward(estimator.base, inputs)

    return score(forward, sequences, more.pop("pad", estimator.encoder.pad), **more)


def entropy(row: list[float]) -> float:
    return sum(p * math.log(p) for p in row if p > 0)


def spread(row: list[float]) -> float:
    mean = entropy(row)
    return math.sqrt(sum(p * (math.log(p) - mean) ** 2 for p in row if p > 0))


def test_scores_by_hand() -> None:
    # A prompt 0 with the answers 1 and 2; and, after a prompt 1 2, the answer 0.
    found = score(of_table, ragged([[0, 1, 2], [1, 2, 0]], [1, 2], [0, 1]), pad=0)

    first, second, third = [0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [1.0, 0.0, 0.0]
    assert found.logprobs == pytest.approx([math.log(0.25), math.log(0.7), 0.0])
    assert found.mean == pytest.approx([entropy(first), entropy(second), 0.0], rel=1e-6)
    assert found.spread == pytest.approx([spread(first), spread(second), spread(third)], abs=1e-6)
    assert found.right.tolist() == [False, True, True]
    assert found.ends.tolist() == [2, 3]
    assert found.mean_logprobs == pytest.approx([(math.log(0.25) + math.log(0.7)) / 2, 0.0])
    assert found.finite


def test_a_token_that_is_ruled_out_has_no_finite_score() -> None:
    found = score(of_table, ragged([[2, 1]], [1], [0]), pad=0)

    assert found.logprobs.tolist() == [-math.inf]
    assert (found.mean.tolist(), found.spread.tolist()) == ([0.0], [0.0])
    assert not found.finite


def test_logits_need_no_normalising() -> None:
    sequences = ragged([[0, 1, 2], [1, 2, 0]], [1, 2], [0, 1])
    found = score(lambda inputs: TABLE[inputs] + 7.5, sequences, pad=0)

    expected = score(of_table, sequences, pad=0)
    for name in SCORES:
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-6)


def test_scores_are_transformers_own_loss(estimator: CausalEstimator, sequences: Sequences) -> None:
    found = asked(estimator, sequences)

    for number in range(len(sequences)):
        tokens = torch.from_numpy(sequences.sequence(number))[None]
        labels = tokens.clone()
        labels[:, : int(sequences.answers[number])] = -100
        with torch.inference_mode():
            loss = estimator.base(input_ids=tokens, labels=labels).loss.item()
        assert -found.mean_logprobs[number] == pytest.approx(loss, abs=1e-5)


def test_the_most_probable_token_is_right(estimator: CausalEstimator, sequences: Sequences) -> None:
    found = asked(estimator, sequences)

    assert 0 < found.right.sum() < len(found.right)
    # Nothing is more probable than what is most probable.
    probable = found.logprobs > math.log(0.5)
    assert found.right[probable].all()


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_the_size_of_a_batch_changes_no_score(
    estimator: CausalEstimator, sequences: Sequences, batch: int
) -> None:
    found, expected = asked(estimator, sequences, batch=batch), asked(estimator, sequences)

    assert found.ends.tolist() == expected.ends.tolist()
    np.testing.assert_allclose(found.logprobs, expected.logprobs, atol=1e-5)
    np.testing.assert_allclose(found.mean, expected.mean, atol=1e-5)
    np.testing.assert_allclose(found.spread, expected.spread, atol=1e-5)


def test_what_pads_changes_no_score(estimator: CausalEstimator, sequences: Sequences) -> None:
    found, expected = asked(estimator, sequences, pad=300), asked(estimator, sequences)

    for name in SCORES:
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_changes_neither_loss_nor_gradient(
    estimator: CausalEstimator, sequences: Sequences, side: str
) -> None:
    batch = sequences.batch([0, 7], estimator.encoder.pad)
    loss, gradients = _loss_and_gradients(estimator, batch, None)
    # The tool pads on the right, without a mask. On the left one has to go with it.
    mask = _beside(torch.ones_like(batch.inputs), 0, side) if side == "left" else None
    more = Batch(_beside(batch.inputs, 300, side), _beside(batch.labels, -100, side))
    found, others = _loss_and_gradients(estimator, more, mask)

    assert found == pytest.approx(loss, rel=1e-5)
    assert all(bool(gradient.any()) for gradient in gradients)
    for gradient, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(other, gradient, atol=1e-4, rtol=1e-3)


def _beside(tokens: torch.Tensor, filler: int, side: str) -> torch.Tensor:
    more = tokens.new_full((len(tokens), 11), filler)
    return torch.cat([tokens, more] if side == "right" else [more, tokens], dim=1)


def _loss_and_gradients(
    estimator: CausalEstimator, batch: Batch, mask: torch.Tensor | None
) -> tuple[float, list[torch.Tensor]]:
    module = estimator.base
    logits = module(input_ids=batch.inputs, attention_mask=mask, use_cache=False).logits
    loss = answer_loss(logits, batch)
    return loss.item(), list(torch.autograd.grad(loss, list(module.parameters())))


def test_scores_of_rows_merge_their_sequences() -> None:
    parts = [[0, 1, 2], [2, 0], [1, 2, 0, 0]]
    found = score(of_table, ragged(parts, [1, 1, 1], [0, 0, 1]), pad=0)
    merged = found.by_row(np.array([0, 0, 1]), 2)

    assert len(merged) == 2
    assert merged.ends.tolist() == [3, 6]
    assert merged.logprobs.tolist() == found.logprobs.tolist()
    first = found.logprobs[:3]
    assert merged.mean_logprobs[0] == pytest.approx(first.sum() / 3)
    assert merged.slices == [slice(0, 3), slice(3, 6)]


def test_nothing_asked_is_nothing_answered() -> None:
    found = score(of_table, ragged([], [], []), pad=0)

    assert (len(found), found.slices, found.logprobs.tolist()) == (0, [], [])
    assert found.finite
