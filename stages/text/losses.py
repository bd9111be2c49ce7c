"""Losses of language models, each to be minimised: pure functions of torch tensors.

Shapes: b sequences of t positions, a vocabulary of v tokens, h activations a position. Labels are
Hugging Face's: token indices of shape (b, t), not shifted, and -100 wherever the loss does not
count. The logits at position i are those of the token at i + 1; the shift is made here, and a
label at the first position never counts.

Positions that do not count are left out before anything is computed: logits there, also infinite or
NaN, change neither a value nor a gradient, and neither does the side on which a batch is padded.
All further computation is in single precision, for logits of any precision.
"""

from typing import NamedTuple

import torch
from torch import nn

#: The label of a position whose token the loss does not count.
IGNORED = -100


class SequenceLoss(NamedTuple):
    """What each sequence of a batch costs.

    Parameters
    ----------
    nll
        Minus the log-probability of all its answer tokens together, in nats, shape (b,), float32.
    counts
        How many answer tokens that are, shape (b,), int64.
    """

    nll: torch.Tensor
    counts: torch.Tensor

    def by_token(self) -> torch.Tensor:
        """Return the mean cross-entropy of a token over the whole batch, in nats, a scalar.

        A long answer weighs as much as its tokens. 0 where the batch has none.
        """
        return self.nll.sum() / self.counts.sum().clamp(min=1)

    def by_sequence(self) -> torch.Tensor:
        """Return the mean cross-entropy of a token in each sequence, shape (b,); 0 without any."""
        return self.nll / self.counts.clamp(min=1)


def sequence_loss(logits: torch.Tensor, labels: torch.Tensor) -> SequenceLoss:
    """Return -sum_i log p(y_i | y_<i, prompt) of every sequence, and over how many tokens.

    p = softmax(logits), normalised here: a constant added to all logits of a position changes
    nothing.

    Parameters
    ----------
    logits
        Shape (b, t, v).
    labels
        Shape (b, t).
    """
    _, counted = _following(labels)
    tokens = _token_losses(logits, labels)
    # Back to a row a sequence, whose sum has one order on any device; adding into places has not.
    places = torch.zeros(counted.shape, dtype=tokens.dtype, device=tokens.device)
    return SequenceLoss(places.masked_scatter(counted, tokens).sum(dim=1), counted.sum(dim=1))


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of an answer token, in nats; see `sequence_loss` for shapes.

    Over all tokens of the batch that count, as Hugging Face's models have it.
    """
    return sequence_loss(logits, labels).by_token()


def combined(alpha: float, forget: torch.Tensor, retain: torch.Tensor) -> torch.Tensor:
    """Return alpha * forget + (1 - alpha) * retain, of two losses to be minimised."""
    return alpha * forget + (1 - alpha) * retain


def gradient_ascent(forget: SequenceLoss) -> torch.Tensor:
    """Return minus the mean cross-entropy of a forget token: it has no lower bound.

    Jang et al., "Knowledge Unlearning for Mitigating Privacy Risks in Language Models", ACL 2023.
    Sooner or later it ruins the model.
    """
    return -forget.by_token()


def gradient_difference(alpha: float, forget: SequenceLoss, retain: SequenceLoss) -> torch.Tensor:
    """Return -alpha * CE(forget) + (1 - alpha) * CE(retain), each the mean of a token.

    Liu, Liu and Stone, "Continual Learning and Private Unlearning", CoLLAs 2022; for language
    models Maini et al., "TOFU", COLM 2024, section 3. Without a lower bound as well.
    """
    return combined(alpha, gradient_ascent(forget), retain.by_token())


def wga_loss(logits: torch.Tensor, labels: torch.Tensor, beta: float) -> torch.Tensor:
    """Return -mean_i p_i^beta * -log p_i over the answer tokens of a batch, a scalar.

    Wang et al., "Rethinking LLM Unlearning Objectives: A Gradient Perspective and Go Beyond", ICLR
    2025 (weighted gradient ascent). p_i = p(y_i | y_<i, prompt) weighs its own token and gets no
    gradient: a token that is forgotten hardly pulls any more, where `gradient_ascent` pulls the
    harder the less likely it is. For beta 0 it is that.

    Parameters
    ----------
    logits, labels
        Of forget sequences; see `sequence_loss` for shapes.
    beta
        At least 0: how soon a token counts as forgotten.
    """
    nll = _token_losses(logits, labels)
    weights = torch.exp(-beta * nll.detach())
    return -(weights * nll).sum() / max(len(nll), 1)


def undial_loss(
    logits: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor, beta: float
) -> torch.Tensor:
    """Return the mean cross-entropy of answer tokens from adjusted answers of a teacher, a scalar.

        q_i = softmax(t_i - beta * onehot(y_i)),      loss = mean_i -sum_v q_iv log p_iv

    Dong et al., "UNDIAL: Self-Distillation with Adjusted Logits for Robust Unlearning in Large
    Language Models", NAACL 2025, section 3. t_i are the logits of the model before unlearning, y_i
    the token that is to be forgotten, and p = softmax(logits). The target is fixed, so that the
    loss has a lower bound.

    Only positions with a label count. A widespread implementation takes the mean over all
    positions, padding and prompts among them, and reads their label of -100 as the token at place
    -100 of the vocabulary, whose logit it lowers as well.

    Parameters
    ----------
    logits, teacher
        Of the model and of the frozen one, shape (b, t, v); the latter gets no gradient.
    labels
        Shape (b, t).
    beta
        Larger than 0: by how much the logit of the token to forget is lowered.
    """
    following, counted = _following(labels)
    targets = _at(teacher.detach(), counted).float()
    lowered = torch.full_like(following[counted], -beta, dtype=targets.dtype).unsqueeze(1)
    wanted = torch.softmax(targets.scatter_add(1, following[counted].unsqueeze(1), lowered), dim=1)
    given = torch.log_softmax(_at(logits, counted).float(), dim=1)
    return -(wanted * given).sum() / max(len(given), 1)


def _token_losses(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return -log p of every answer token of a batch, in nats, shape (tokens,)."""
    following, counted = _following(labels)
    return nn.functional.cross_entropy(
        _at(logits, counted).float(), following[counted], reduction="none"
    )


def npo_loss(nll: torch.Tensor, nll_reference: torch.Tensor, beta: float) -> torch.Tensor:
    """Return -(2 / beta) * mean log sigmoid(beta * (nll - nll_reference)), a scalar.

    Zhang, Lin, Bai and Mei, "Negative Preference Optimization: From Catastrophic Collapse to
    Effective Unlearning", COLM 2024, equation 3, where nll - nll_reference is written as
    -log(pi(y|x) / pi_ref(y|x)): log-probabilities of whole answers, summed and not averaged over
    their tokens.

    The gradient is that of -nll times w = 2 * sigmoid(-beta * (nll - nll_reference)): 1 at the
    reference, where it is gradient ascent's on whole answers; falling to 0 as an answer is
    forgotten; and the loss never falls below 0. For beta -> 0 it is gradient ascent everywhere.

    Parameters
    ----------
    nll
        Of each forget sequence under the model, summed over its answer tokens, shape (b,).
    nll_reference
        Of the same under the frozen model that one started from; it gets no gradient.
    beta
        Larger than 0: how soon an answer counts as forgotten.
    """
    return _softly(nll - nll_reference.detach(), beta)


def simnpo_loss(
    nll: torch.Tensor, lengths: torch.Tensor, beta: float, delta: float
) -> torch.Tensor:
    """Return -(2 / beta) * mean log sigmoid(beta * (nll / length - delta)), a scalar.

    Fan et al., "Simplicity Prevails: Rethinking Negative Preference Optimization for LLM
    Unlearning", 2024 (SimNPO): no reference model, and each answer by its mean token, so that a
    long answer does not count as forgotten before a short one. The paper's margin gamma is outside
    the bracket, gamma = beta * delta; the authors' code has it inside, as here.

    Parameters
    ----------
    nll
        Of each forget sequence, summed over its answer tokens, shape (b,).
    lengths
        How many answer tokens that are, shape (b,).
    beta
        Larger than 0.
    delta
        Nats a token: from about where on an answer counts as forgotten.
    """
    return _softly(nll / lengths.clamp(min=1) - delta, beta)


def dpo_loss(
    winner: torch.Tensor,
    winner_reference: torch.Tensor,
    loser: torch.Tensor,
    loser_reference: torch.Tensor,
    beta: float,
) -> torch.Tensor:
    """Return -(2 / beta) * mean log sigmoid(beta * margin), a scalar.

    margin = (loser - loser_reference) - (winner - winner_reference), all of them the summed nll of
    answers to the same prompts, shape (b,). Rafailov et al., "Direct Preference Optimization",
    NeurIPS 2023, equation 7, with "I don't know" as the winner and the answer to forget as the
    loser (Maini et al., "TOFU", COLM 2024, section 3; Zhang et al. 2024, section 2).

    Rafailov's has no factor before it. 2 / beta is TOFU's code, and makes it the same scale as
    `npo_loss`, which is this without a winner: both gradients weigh 1 at the reference for any
    beta, and alpha means the same in both.
    """
    lost = loser - loser_reference.detach()
    won = winner - winner_reference.detach()
    return _softly(lost - won, beta)


def _softly(margin: torch.Tensor, beta: float) -> torch.Tensor:
    if not beta > 0:
        raise ValueError(f"beta must be larger than 0, not {beta}")
    likely: torch.Tensor = nn.functional.logsigmoid(beta * margin)
    return likely.mean() * (-2 / beta)


def rmu_direction(size: int, generator: torch.Generator) -> torch.Tensor:
    """Return the u of `rmu_forget`: uniform in [0, 1) by coordinate, then of length 1, (size,).

    Li et al., "The WMDP Benchmark", ICML 2024, section 4. Drawn once for a run.
    """
    drawn = torch.rand(size, generator=generator)
    unit: torch.Tensor = drawn / drawn.norm()
    return unit


def rmu_forget(
    activations: torch.Tensor, direction: torch.Tensor, coefficient: float, mask: torch.Tensor
) -> torch.Tensor:
    """Return how far activations are from c * u: the mean of (a - c * u)^2, a scalar.

    Li et al., "The WMDP Benchmark", ICML 2024, section 4 (RMU). The paper sums the squares over
    the h activations of a token; the mean over them, as in the authors' code, differs by a factor
    of h.

    Parameters
    ----------
    activations
        Of forget text after one layer, shape (b, t, h).
    direction
        u, of length 1, shape (h,).
    coefficient
        c: how long the activations become.
    mask
        Which positions count, shape (b, t): all that are not padding.
    """
    target = coefficient * direction.to(activations.device, torch.float32)
    return _mean_square(_at(activations, mask).float() - target)


def rmu_retain(activations: torch.Tensor, frozen: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return how far activations have moved: the mean of (a - a_frozen)^2, a scalar.

    The other half of `rmu_forget`, on retain text.

    Parameters
    ----------
    activations, frozen
        After the same layer of the model and of the one it started from, shape (b, t, h); the
        latter gets no gradient.
    mask
        Which positions count, shape (b, t).
    """
    return _mean_square(_at(activations, mask).float() - _at(frozen.detach(), mask).float())


def _mean_square(gaps: torch.Tensor) -> torch.Tensor:
    return gaps.square().sum() / max(gaps.numel(), 1)


def _following(labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the label that follows each position, and whether it counts, both of shape (b, t)."""
    following = nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED)
    return following, following != IGNORED


def _at(values: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Return the vectors at the positions that count, shape (n, last dimension of values).

    Selected by index: a mask over (b, t) says the same, and its gradient takes twice as long.
    """
    places = counted.reshape(-1).nonzero().squeeze(1)
    return values.reshape(-1, values.shape[-1]).index_select(0, places)
