"""Losses of language models: by hand on a vocabulary of three tokens, and what must not matter."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from unlearn.stages.text.losses import (
    IGNORED,
    SequenceLoss,
    combined,
    cross_entropy,
    dpo_loss,
    gradient_ascent,
    gradient_difference,
    npo_loss,
    rmu_direction,
    rmu_forget,
    rmu_retain,
    sequence_loss,
    simnpo_loss,
    undial_loss,
    wga_loss,
)

# Two sequences of a prompt token and answers of two and one tokens, the second padded on the right.
# Each row of probabilities is what the model says there of the token that follows.
PROBABILITIES = [
    [[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [0.8, 0.1, 0.1]],
    [[0.3, 0.3, 0.4], [0.2, 0.2, 0.6], [0.9, 0.05, 0.05]],
]
LABELS = torch.tensor([[IGNORED, 0, 2], [IGNORED, 1, IGNORED]])

#: -log p of the answers, token by token: 0 then 2 in the first sequence, 1 in the second.
FIRST = -math.log(0.5) - math.log(0.7)
SECOND = -math.log(0.3)

#: What a frozen model says at the same places, and its -log p of the same answers.
REFERENCE = [
    [[0.6, 0.3, 0.1], [0.25, 0.25, 0.5], [0.2, 0.4, 0.4]],
    [[0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.3, 0.3, 0.4]],
]
FIRST_REFERENCE = -math.log(0.6) - math.log(0.5)
SECOND_REFERENCE = -math.log(0.8)


def logits(probabilities: list[list[list[float]]] = PROBABILITIES) -> torch.Tensor:
    return torch.tensor(probabilities).log().requires_grad_()


def of_sequences(values: list[float]) -> torch.Tensor:
    return torch.tensor(values, requires_grad=True)


def gradient(value: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
    (found,) = torch.autograd.grad(value, of)
    return found


def log_sigmoid(value: float) -> float:
    return -math.log(1 + math.exp(-value))


def test_the_loss_of_a_sequence_is_the_sum_over_its_answer() -> None:
    nll, counts = sequence_loss(logits(), LABELS)

    assert nll.tolist() == pytest.approx([FIRST, SECOND])
    assert counts.tolist() == [2, 1]


def test_cross_entropy_is_the_mean_of_all_tokens_of_the_batch() -> None:
    assert cross_entropy(logits(), LABELS).item() == pytest.approx((FIRST + SECOND) / 3)


def test_a_sequences_own_mean_weighs_it_as_one() -> None:
    found = sequence_loss(logits(), LABELS).by_sequence()

    assert found.tolist() == pytest.approx([FIRST / 2, SECOND])


def test_cross_entropy_is_torchs_of_shifted_labels() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(4, 9, 7, generator=generator)
    labels = torch.randint(0, 7, (4, 9), generator=generator)
    labels[torch.rand(4, 9, generator=generator) < 0.4] = IGNORED

    expected = torch.nn.functional.cross_entropy(
        drawn[:, :-1].reshape(-1, 7), labels[:, 1:].reshape(-1), ignore_index=IGNORED
    )
    torch.testing.assert_close(cross_entropy(drawn, labels), expected)


def test_the_gradient_of_cross_entropy_is_that_of_a_softmax() -> None:
    at = logits()

    found = gradient(cross_entropy(at, LABELS), at)

    # (p - 1[true]) / tokens where a label counts, and exactly 0 everywhere else.
    assert found[0, 0].tolist() == pytest.approx([-0.5 / 3, 0.25 / 3, 0.25 / 3])
    assert found[0, 1].tolist() == pytest.approx([0.1 / 3, 0.2 / 3, -0.3 / 3])
    assert found[1, 0].tolist() == pytest.approx([0.3 / 3, -0.7 / 3, 0.4 / 3])
    assert not found[0, 2].any()
    assert not found[1, 1:].any()


def test_ascent_is_minus_descent() -> None:
    forget = sequence_loss(logits(), LABELS)

    assert gradient_ascent(forget).item() == pytest.approx(-(FIRST + SECOND) / 3)


def test_the_combined_objective_weighs_both_sides() -> None:
    forget = sequence_loss(logits(), LABELS)
    retain = sequence_loss(logits(REFERENCE), LABELS)
    gone, kept = (FIRST + SECOND) / 3, (FIRST_REFERENCE + SECOND_REFERENCE) / 3

    assert gradient_difference(0.3, forget, retain).item() == pytest.approx(
        -0.3 * gone + 0.7 * kept
    )
    assert combined(0.25, torch.tensor(8.0), torch.tensor(2.0)).item() == 0.25 * 8 + 0.75 * 2


def test_npo_by_hand() -> None:
    beta = 0.1
    nll = sequence_loss(logits(), LABELS).nll
    reference = sequence_loss(logits(REFERENCE), LABELS).nll

    first = log_sigmoid(beta * (FIRST - FIRST_REFERENCE))
    second = log_sigmoid(beta * (SECOND - SECOND_REFERENCE))
    assert npo_loss(nll, reference, beta).item() == pytest.approx(-2 / beta * (first + second) / 2)


@pytest.mark.parametrize("beta", [0.1, 1.0, 4.5])
def test_npo_starts_as_gradient_ascent_on_whole_answers(beta: float) -> None:
    at = logits()
    nll = sequence_loss(at, LABELS).nll

    found = gradient(npo_loss(nll, nll, beta), at)

    ascent = gradient(-sequence_loss(at, LABELS).nll.mean(), at)
    torch.testing.assert_close(found, ascent)
    assert found.any()


def test_npo_weighs_an_answer_by_how_little_it_is_forgotten() -> None:
    beta, gap = 0.5, 3.0
    nll = of_sequences([5.0 + gap])

    found = gradient(npo_loss(nll, torch.tensor([5.0]), beta), nll).item()

    assert found == pytest.approx(-2 / (1 + math.exp(beta * gap)))


def test_npo_lets_go_of_what_is_forgotten() -> None:
    nll = of_sequences([1e4])

    value = npo_loss(nll, torch.tensor([0.0]), 0.1)

    assert value.item() == 0.0
    assert gradient(value, nll).item() == 0.0


def test_npo_stays_a_number_where_the_model_knows_far_more_than_the_reference() -> None:
    nll = of_sequences([0.0])

    value = npo_loss(nll, torch.tensor([1e6]), 1.0)

    assert value.item() == pytest.approx(2e6)
    assert gradient(value, nll).item() == pytest.approx(-2.0)


def test_simnpo_by_hand() -> None:
    beta, delta = 3.5, 1.0
    nll, counts = sequence_loss(logits(), LABELS)

    first = log_sigmoid(beta * (FIRST / 2 - delta))
    second = log_sigmoid(beta * (SECOND - delta))
    expected = -2 / beta * (first + second) / 2
    assert simnpo_loss(nll, counts, beta, delta).item() == pytest.approx(expected)


def test_simnpo_moves_a_long_answer_by_its_length() -> None:
    nll = of_sequences([4.0, 12.0])

    found = gradient(simnpo_loss(nll, torch.tensor([2, 6]), 2.0, 2.0), nll)

    # Both are exactly at the margin: weight 1, over the length, over two sequences.
    assert found.tolist() == pytest.approx([-1 / 2 / 2, -1 / 6 / 2])


def test_dpo_by_hand() -> None:
    beta = 0.1
    nll = sequence_loss(logits(), LABELS).nll
    reference = sequence_loss(logits(REFERENCE), LABELS).nll
    loser, loser_reference = torch.tensor([2.0, 3.0]), torch.tensor([2.5, 1.0])

    first = log_sigmoid(beta * ((2.0 - 2.5) - (FIRST - FIRST_REFERENCE)))
    second = log_sigmoid(beta * ((3.0 - 1.0) - (SECOND - SECOND_REFERENCE)))
    assert dpo_loss(nll, reference, loser, loser_reference, beta).item() == pytest.approx(
        -2 / beta * (first + second) / 2
    )


def test_dpo_raises_the_winner_and_lowers_the_loser() -> None:
    winner, loser = of_sequences([3.0]), of_sequences([1.0])
    value = dpo_loss(winner, torch.tensor([3.0]), loser, torch.tensor([1.0]), 0.1)

    # To be minimised: the winner's nll falls, the loser's rises, both with weight 1 at the start.
    assert gradient(value, winner).item() == pytest.approx(1.0)
    value = dpo_loss(winner, torch.tensor([3.0]), loser, torch.tensor([1.0]), 0.1)
    assert gradient(value, loser).item() == pytest.approx(-1.0)


def test_npo_is_dpo_without_a_winner() -> None:
    nll, reference, nothing = torch.tensor([2.0, 7.0]), torch.tensor([1.0, 1.5]), torch.zeros(2)

    torch.testing.assert_close(
        npo_loss(nll, reference, 0.3), dpo_loss(nothing, nothing, nll, reference, 0.3)
    )


@pytest.mark.parametrize("beta", [0.0, -1.0, math.nan])
def test_beta_must_be_larger_than_0(beta: float) -> None:
    one = torch.tensor([1.0])
    refused = pytest.raises(ValueError, match="beta must be larger than 0")

    with refused:
        npo_loss(one, one, beta)
    with refused:
        simnpo_loss(one, one, beta, 0.0)
    with refused:
        dpo_loss(one, one, one, one, beta)


def test_references_get_no_gradient() -> None:
    at, reference = logits(), logits(REFERENCE)
    of_reference = sequence_loss(reference, LABELS).nll
    nll = sequence_loss(at, LABELS).nll
    activations, frozen = torch.ones(1, 1, 2, requires_grad=True), torch.zeros(1, 1, 2)
    frozen.requires_grad_()

    total = (
        npo_loss(nll, of_reference, 0.1)
        + dpo_loss(nll, of_reference, 2 * nll, of_reference, 0.1)
        + rmu_retain(activations, frozen, torch.ones(1, 1))
    )
    parts = (at, activations, reference, frozen)
    found = torch.autograd.grad(total, parts, allow_unused=True)

    assert [part is not None for part in found] == [True, True, False, False]


#: A loss of a batch: logits, a reference's logits, labels.
Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def _nll(at: torch.Tensor, labels: torch.Tensor) -> SequenceLoss:
    return sequence_loss(at, labels)


LOSSES: dict[str, Loss] = {
    "cross_entropy": lambda at, _, labels: cross_entropy(at, labels),
    "gradient_ascent": lambda at, _, labels: gradient_ascent(_nll(at, labels)),
    "gradient_difference": lambda at, other, labels: gradient_difference(
        0.3, _nll(at, labels), _nll(other, labels)
    ),
    "npo": lambda at, other, labels: npo_loss(_nll(at, labels).nll, _nll(other, labels).nll, 0.1),
    "simnpo": lambda at, _, labels: simnpo_loss(*_nll(at, labels), 3.5, 1.0),
    "dpo": lambda at, other, labels: dpo_loss(
        _nll(at, labels).nll,
        _nll(other, labels).nll,
        _nll(2 * at, labels).nll,
        _nll(2 * other, labels).nll,
        0.1,
    ),
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)

B, T, V = 3, 6, 5


def drawn(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return logits, a reference's, and labels of which some count in every sequence."""
    generator = torch.Generator().manual_seed(seed)
    at, other = torch.randn(2, B, T, V, generator=generator)
    labels = torch.randint(0, V, (B, T), generator=generator)
    labels[:, :2] = IGNORED
    labels[0, 4:] = IGNORED
    return at, other, labels


def value_and_gradient(
    loss: Loss, at: torch.Tensor, other: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    at = at.clone().requires_grad_()
    value = loss(at, other, labels)
    return value.detach(), gradient(value, at)


@every_loss
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), constant=st.floats(-50, 50))
def test_a_constant_added_to_a_positions_logits_changes_nothing(
    loss: Loss, seed: int, constant: float
) -> None:
    at, other, labels = drawn(seed)
    shifts = constant * torch.arange(B * T).view(B, T, 1) / (B * T)

    value, grad = value_and_gradient(loss, at, other, labels)
    shifted, shifted_grad = value_and_gradient(loss, at + shifts, other - shifts, labels)

    torch.testing.assert_close(shifted, value, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(shifted_grad, grad, rtol=1e-4, atol=1e-4)


@every_loss
@pytest.mark.parametrize("garbage", [1e30, -1e30, math.inf, -math.inf, math.nan])
def test_what_stands_at_masked_positions_changes_nothing(loss: Loss, garbage: float) -> None:
    at, other, labels = drawn(7)
    masked = torch.ones(B, T, dtype=torch.bool)
    masked[:, :-1] = labels[:, 1:] == IGNORED
    noisy, other_noisy = at.clone(), other.clone()
    noisy[masked] = torch.tensor([garbage, 0.0, -garbage, 3.0, garbage])
    other_noisy[masked] = garbage

    value, grad = value_and_gradient(loss, at, other, labels)
    found, found_grad = value_and_gradient(loss, noisy, other_noisy, labels)

    assert torch.equal(found, value)
    assert torch.equal(found_grad, grad)
    assert not grad[masked].any()
    assert grad[~masked].any()


@every_loss
@pytest.mark.parametrize("pads", [1, 5])
def test_the_side_and_length_of_padding_change_nothing(loss: Loss, pads: int) -> None:
    at, other, labels = drawn(3)
    filling = torch.full((B, pads, V), 9.0)
    ignored = torch.full((B, pads), IGNORED)

    value, grad = value_and_gradient(loss, at, other, labels)
    left, left_grad = value_and_gradient(
        loss,
        torch.cat([filling, at], dim=1),
        torch.cat([-filling, other], dim=1),
        torch.cat([ignored, labels], dim=1),
    )
    right, right_grad = value_and_gradient(
        loss,
        torch.cat([at, filling], dim=1),
        torch.cat([other, -filling], dim=1),
        torch.cat([labels, ignored], dim=1),
    )

    for found in (left, right):
        torch.testing.assert_close(found, value)
    torch.testing.assert_close(left_grad[:, pads:], grad)
    torch.testing.assert_close(right_grad[:, :T], grad)


@every_loss
def test_ignored_labels_index_nothing(loss: Loss) -> None:
    # In a vocabulary of 128 tokens -100 would be an index too, that of token 28 from the front.
    generator = torch.Generator().manual_seed(1)
    at, other = torch.randn(2, 2, 4, 128, generator=generator)
    labels = torch.tensor([[IGNORED, 3, IGNORED, IGNORED], [IGNORED, IGNORED, 5, IGNORED]])

    _, grad = value_and_gradient(loss, at, other, labels)

    touched = grad.abs().sum(dim=-1).nonzero().tolist()
    assert touched == [[0, 0], [1, 1]]


@every_loss
def test_a_label_at_the_first_position_has_nothing_to_predict_it(loss: Loss) -> None:
    at, other, labels = drawn(5)
    first = labels.clone()
    first[:, 0] = 2

    assert torch.equal(loss(at, other, first), loss(at, other, labels))


@every_loss
def test_a_batch_without_answers_has_a_number_and_no_gradient(loss: Loss) -> None:
    at, other, labels = drawn(5)

    value, grad = value_and_gradient(loss, at, other, torch.full_like(labels, IGNORED))

    assert value.isfinite()
    assert not grad.any()


@every_loss
def test_losses_of_half_precision_are_computed_in_single(loss: Loss) -> None:
    at, other, labels = drawn(11)
    at, other = at.bfloat16(), other.bfloat16()

    value, grad = value_and_gradient(loss, at, other, labels)
    expected, _ = value_and_gradient(loss, at.float(), other.float(), labels)

    assert value.dtype == torch.float32
    assert grad.dtype == torch.bfloat16
    torch.testing.assert_close(value, expected)


@every_loss
def test_logits_far_apart_have_a_loss_that_is_a_number(loss: Loss) -> None:
    at, other, labels = drawn(2)

    value, grad = value_and_gradient(loss, 1e4 * at, -1e4 * other, labels)

    assert value.isfinite()
    assert grad.isfinite().all()


MASK = torch.tensor([[1, 1], [1, 0]])


def test_rmu_pushes_to_a_direction_of_a_set_length() -> None:
    activations = torch.tensor([[[1.0, 0.0], [2.0, 2.0]], [[0.0, -1.0], [9.0, 9.0]]])
    direction = torch.tensor([0.6, 0.8])

    # c * u = (1.2, 1.6); three tokens of two activations count.
    first = (1.0 - 1.2) ** 2 + (0.0 - 1.6) ** 2
    second = (2.0 - 1.2) ** 2 + (2.0 - 1.6) ** 2
    third = (0.0 - 1.2) ** 2 + (-1.0 - 1.6) ** 2
    found = rmu_forget(activations, direction, 2.0, MASK)
    assert found.item() == pytest.approx((first + second + third) / 6)


def test_rmu_keeps_what_is_retained() -> None:
    activations = torch.tensor([[[1.0, 0.0], [2.0, 2.0]], [[0.0, -1.0], [9.0, 9.0]]])
    frozen = torch.tensor([[[1.5, 0.0], [2.0, 1.0]], [[0.0, -1.0], [0.0, 0.0]]])

    found = rmu_retain(activations, frozen, MASK)
    assert found.item() == pytest.approx((0.5**2 + 1.0**2) / 6)


@pytest.mark.parametrize("garbage", [1e30, math.inf, math.nan])
def test_rmu_reads_no_padding(garbage: float) -> None:
    generator = torch.Generator().manual_seed(0)
    activations, frozen = torch.randn(2, 2, 2, 3, generator=generator)
    noisy, direction = activations.clone(), torch.ones(3) / math.sqrt(3)
    noisy[1, 1] = garbage
    noisy.requires_grad_()

    forget, retain = rmu_forget(noisy, direction, 2.0, MASK), rmu_retain(noisy, frozen, MASK)

    assert torch.equal(forget.detach(), rmu_forget(activations, direction, 2.0, MASK))
    assert torch.equal(retain.detach(), rmu_retain(activations, frozen, MASK))
    found = gradient(forget + retain, noisy)
    assert not found[1, 1].any()
    assert found.isfinite().all()


def test_the_direction_has_length_1_and_follows_its_seed() -> None:
    first = rmu_direction(50, torch.Generator().manual_seed(3))

    assert first.norm().item() == pytest.approx(1.0)
    assert (first >= 0).all()
    assert torch.equal(first, rmu_direction(50, torch.Generator().manual_seed(3)))
    assert not torch.equal(first, rmu_direction(50, torch.Generator().manual_seed(4)))


def test_weighted_ascent_by_hand() -> None:
    beta = 0.7
    tokens = [0.5, 0.7, 0.3]

    found = wga_loss(logits(), LABELS, beta)

    wanted = sum(p**beta * math.log(p) for p in tokens) / 3
    assert found.item() == pytest.approx(wanted)


def test_weighted_ascent_does_not_differentiate_its_weights() -> None:
    """Each token's gradient is that of plain ascent, times the power of its probability."""
    at = logits()
    plain = gradient(gradient_ascent(sequence_loss(at, LABELS)), at)

    found = gradient(wga_loss(at, LABELS, 0.7), at)

    for place, p in (((0, 0), 0.5), ((0, 1), 0.7), ((1, 0), 0.3)):
        torch.testing.assert_close(found[place], plain[place] * p**0.7)
    torch.testing.assert_close(gradient(wga_loss(at, LABELS, 0.0), at), plain)


def test_self_distillation_by_hand() -> None:
    beta = 1.5
    lowered = math.exp(-beta)
    total = 0.0
    for (row, place), token in (((0, 0), 0), ((0, 1), 2), ((1, 0), 1)):
        wanted = [p * (lowered if v == token else 1) for v, p in enumerate(REFERENCE[row][place])]
        total -= sum(
            q / sum(wanted) * math.log(p)
            for q, p in zip(wanted, PROBABILITIES[row][place], strict=True)
        )

    found = undial_loss(logits(), logits(REFERENCE), LABELS, beta)

    assert found.item() == pytest.approx(total / 3)


def test_self_distillation_counts_labelled_positions_alone() -> None:
    """A vocabulary of more than 100 tokens, of which the label -100 would be one, and padding."""
    draw = torch.Generator().manual_seed(1)
    student, teacher = (torch.randn(2, 4, 150, generator=draw) for _ in range(2))
    labels = torch.tensor([[IGNORED, 3, 149, 7], [IGNORED, 8, IGNORED, IGNORED]])
    found = undial_loss(student, teacher, labels, 5.0)

    spoilt = student.clone(), teacher.clone()
    for values in spoilt:
        values[0, 3] = values[1, 1:] = float("nan")
    torch.testing.assert_close(undial_loss(*spoilt, labels, 5.0), found)
    padded = torch.nn.functional.pad(labels, (0, 3), value=IGNORED)
    wider = [torch.nn.functional.pad(values, (0, 0, 0, 3)) for values in (student, teacher)]
    torch.testing.assert_close(undial_loss(wider[0], wider[1], padded, 5.0), found)


def test_self_distillation_gives_the_teacher_no_gradient_and_is_lowest_at_its_target() -> None:
    at, teacher = logits(), logits(REFERENCE)
    undial_loss(at, teacher, LABELS, 2.0).backward()  # type: ignore[no-untyped-call]  # of torch
    assert teacher.grad is None
    target = torch.tensor(REFERENCE).log()
    for place in ((0, 0, 0), (0, 1, 2), (1, 0, 1)):
        target[place] -= 2.0
    best = target.requires_grad_()

    assert gradient(undial_loss(best, teacher, LABELS, 2.0), best).abs().max() < 1e-6
