"""The loop of all methods for language models: its steps, its batches and what it costs."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from unlearn.stages.context import Context
from unlearn.stages.text.sequences import Sequences
from unlearn.stages.unlearn.text import descent
from unlearn.stages.unlearn.text.problem import Endless, TextProblem

from tests.stages.unlearn.text.projects import (
    changed,
    guarded,
    losses_by_hand,
    problem_of,
    run_method,
    weights_of,
)


def unguarded(context: Context, **language: Any) -> Context:
    return guarded(changed(context, **language), active=False)


def after(context: Context, name: str, **options: Any) -> dict[str, torch.Tensor]:
    """Return what is trained, after a method."""
    problem = problem_of(context, name, **options)
    run_method(name, problem)
    return weights_of(problem)


def flat(weights: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([weight.flatten() for weight in weights.values()])


def by_hand(problem: TextProblem, loss: Any) -> dict[str, torch.Tensor]:
    """Return what is trained, after one step of AdamW on a loss of the whole forget set.

    `loss` gets the summed loss of each forget and of each retain sequence.
    """
    gone = np.concatenate(list(problem.forget_batches(0)))
    kept = Endless(problem).take(len(gone))
    weights = list(problem.tuned.weights.values())
    optimizer = torch.optim.AdamW(weights, lr=problem.shared.rate, weight_decay=0.0)
    forget, retain = problem.forget.take(gone), problem.retain.take(kept)
    module = problem.tuned.module
    loss(losses_by_hand(module, forget), losses_by_hand(module, retain), forget, retain).backward()
    nn.utils.clip_grad_norm_(weights, problem.shared.clip)
    optimizer.step()
    return weights_of(problem)


def npo_by_hand(
    forget: torch.Tensor, retain: torch.Tensor, gone: Sequences, kept: Sequences
) -> torch.Tensor:
    del gone
    gap = forget - forget.detach()
    preference = -2 / 0.1 * torch.log(1 / (1 + torch.exp(-0.1 * gap))).mean()
    return 0.25 * preference + 0.75 * retain.sum() / float(kept.counted.sum())


def difference_by_hand(
    forget: torch.Tensor, retain: torch.Tensor, gone: Sequences, kept: Sequences
) -> torch.Tensor:
    return -0.5 * forget.sum() / float(gone.counted.sum()) + 0.5 * retain.sum() / float(
        kept.counted.sum()
    )


STEPS = {"npo": npo_by_hand, "gradient_difference": difference_by_hand}


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("kind", ["lora", "whole"])
def test_a_step_is_that_of_a_plain_loop(
    name: str, kind: str, request: pytest.FixtureRequest
) -> None:
    """Each sequence by itself and without padding, the formula written out, torch's own AdamW."""
    context = unguarded(request.getfixturevalue(kind), epochs=1, batch=64)
    before = flat(weights_of(problem_of(context, name)))
    stepped = flat(after(context, name))
    expected = flat(by_hand(problem_of(context, name), STEPS[name]))

    assert (stepped - before).abs().max() > 1e-4
    # AdamW's first step is the sign of the gradient: where that is next to 0 it may be either.
    close = torch.isclose(stepped, expected, rtol=0, atol=2e-5)
    assert close.float().mean() > 0.995


def tokens_by_hand(module: Any, sequences: Sequences) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the log-probabilities before all answer tokens, and the tokens, without padding."""
    logs, targets = [], []
    for index in range(len(sequences)):
        tokens = torch.from_numpy(sequences.sequence(index))[None]
        start = int(sequences.answers[index])
        logs.append(
            torch.log_softmax(module(input_ids=tokens).logits.float(), dim=-1)[0, start - 1 : -1]
        )
        targets.append(tokens[0, start:])
    return torch.cat(logs), torch.cat(targets)


def wga_by_hand(problem: TextProblem, gone: Sequences, kept: torch.Tensor) -> torch.Tensor:
    logs, targets = tokens_by_hand(problem.tuned.module, gone)
    nll = -logs[torch.arange(len(targets)), targets]
    return -0.5 * (nll.detach().neg().exp() * nll).mean() + 0.5 * kept


def undial_by_hand(problem: TextProblem, gone: Sequences, kept: torch.Tensor) -> torch.Tensor:
    logs, targets = tokens_by_hand(problem.tuned.module, gone)
    # At the start the model is its own teacher.
    wanted = logs.detach().exp()
    wanted[torch.arange(len(targets)), targets] *= math.exp(-10)
    wanted /= wanted.sum(dim=1, keepdim=True)
    return 0.5 * -(wanted * logs).sum(dim=1).mean() + 0.5 * kept


def alt_po_by_hand(problem: TextProblem, gone: Sequences, kept: torch.Tensor) -> torch.Tensor:
    encoder, module = problem.tuned.encoder, problem.tuned.module
    others = encoder.encode_answers(problem.rows, problem.rows["paraphrase"].to_pylist())
    losers = losses_by_hand(module, gone)
    winners = losses_by_hand(module, others.sequences.take(gone.rows))
    margin = losers - losers.detach() - (winners - winners.detach())
    preference = -2 / 0.1 * torch.log(1 / (1 + torch.exp(-0.1 * margin))).mean()
    return 0.5 * preference + 0.5 * kept


TOKEN_STEPS = {"wga": wga_by_hand, "undial": undial_by_hand, "alt_po": alt_po_by_hand}


@pytest.mark.parametrize("name", TOKEN_STEPS)
@pytest.mark.parametrize("kind", ["lora", "whole"])
def test_a_step_of_a_method_with_tokens_or_other_answers_is_that_of_a_plain_loop(
    name: str, kind: str, request: pytest.FixtureRequest
) -> None:
    """As above; another answer is that of the column `paraphrase`."""
    other = {"alt_po": {"column": "paraphrase"}}
    context = unguarded(request.getfixturevalue(kind), epochs=1, batch=64, **other)
    problem = problem_of(context, name)
    before = flat(weights_of(problem))
    stepped = flat(after(context, name))
    gone = np.concatenate(list(problem.forget_batches(0)))
    retain = problem.retain.take(Endless(problem).take(len(gone)))
    kept = losses_by_hand(problem.tuned.module, retain).sum() / float(retain.counted.sum())
    weights = list(problem.tuned.weights.values())
    optimizer = torch.optim.AdamW(weights, lr=problem.shared.rate, weight_decay=0.0)
    TOKEN_STEPS[name](problem, problem.forget.take(gone), kept).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    nn.utils.clip_grad_norm_(weights, problem.shared.clip)
    optimizer.step()

    assert (stepped - before).abs().max() > 1e-4
    # AdamW's first step is the sign of the gradient: where that is next to 0 it may be either.
    close = torch.isclose(stepped, flat(weights_of(problem)), rtol=0, atol=2e-5)
    assert close.float().mean() > 0.995


def test_a_batch_in_parts_is_the_batch(lora: Context) -> None:
    """Two answers of different lengths weigh as they do together, whichever part they are in."""
    gradients = []
    for parts in (1, 3, 10):
        problem = problem_of(unguarded(lora, batch=10), "npo")
        objective = objective_of(problem)
        gone, kept = np.arange(10), np.arange(10)[::-1].copy()
        for loss in objective.parts(gone, kept, parts):
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        gradients.append(
            flat({n: w.grad for n, w in problem.tuned.weights.items() if w.grad is not None})
        )

    assert float(gradients[0].norm()) > 0.01
    assert torch.allclose(gradients[1], gradients[0], atol=1e-6)
    assert torch.allclose(gradients[2], gradients[0], atol=1e-6)


def objective_of(problem: TextProblem) -> descent.Objective:
    """Return an objective whose two means weigh by different things."""

    def both(gone: Any, kept: Any) -> tuple[torch.Tensor, torch.Tensor]:
        found, rest = descent.split_losses(problem, problem.forget, gone, kept)
        return found.nll.mean(), rest.by_token()

    return descent.Objective(0.3, both, descent.by_sequence, descent.by_token(problem.retain))


def test_what_a_batch_is_filled_up_with_changes_nothing(lora: Context) -> None:
    context = unguarded(lora, epochs=2, batch=5)
    first = after(context, "npo")
    problem = problem_of(context, "npo")
    tokenizer: Any = problem.tuned.encoder.tokenizer
    tokenizer.pad_token = "a"
    assert problem.tuned.encoder.pad != 0
    run_method("npo", problem)

    assert all(torch.equal(first[name], weight) for name, weight in weights_of(problem).items())


@pytest.mark.slow
def test_alpha_weighs_forgetting_against_retaining(lora: Context) -> None:
    """At 0 nothing of the forget set is left in the step, at 1 nothing of the retain set."""
    one = {"epochs": 1, "batch": 64}
    for alpha, name in ((0.0, "retain"), (1.0, "forget")):
        context = unguarded(lora, **one, gradient_difference={"alpha": alpha})
        stepped = flat(after(context, "gradient_difference"))

        def alone(forget: Any, retain: Any, gone: Any, kept: Any, side: str = name) -> Any:
            if side == "retain":
                return retain.sum() / float(kept.counted.sum())
            return -forget.sum() / float(gone.counted.sum())

        expected = flat(by_hand(problem_of(context, "gradient_difference"), alone))
        close = torch.isclose(stepped, expected, rtol=0, atol=2e-5)
        assert close.float().mean() > 0.995, name


def test_no_retain_row_comes_twice_before_all_have_come(lora: Context) -> None:
    problem = problem_of(lora, "npo")
    size = len(problem.retain)
    stays = Endless(problem)
    drawn = np.concatenate([stays.take(7) for _ in range(3 * size)])

    assert size % 7 != 0
    for lap in range(7):
        assert sorted(drawn[lap * size : (lap + 1) * size]) == list(range(size))
    assert list(drawn[:size]) != list(drawn[size : 2 * size])
    assert list(drawn[:size]) != list(range(size))


def test_an_epoch_reads_the_forget_set_once_and_as_many_retain_rows(lora: Context) -> None:
    problem = problem_of(unguarded(lora, epochs=3, batch=4), "simnpo")
    read: list[tuple[list[int], list[int]]] = []
    batches = descent.both_sides(problem)
    for epoch in range(3):
        parts = list(batches(epoch))
        read.append(
            (
                [int(i) for gone, _ in parts for i in gone],
                [int(i) for _, kept in parts for i in kept],
            )
        )
        assert [len(gone) for gone, _ in parts] == [len(kept) for _, kept in parts] == [4, 3, 3]
    run_method("simnpo", problem)

    assert all(sorted(gone) == list(range(10)) for gone, _ in read)
    assert read[0][0] != read[1][0]
    assert len({i for _, kept in read for i in kept}) == 30
    assert (problem.ledger.forget, problem.ledger.retain) == (30, 30)


READS = {
    # Beside three epochs over ten forget rows: the reference, the other answer, the tuned model.
    "npo": (40, 30),
    "simnpo": (30, 30),
    "gradient_difference": (30, 30),
    "gradient_ascent": (30, 0),
    "idk_dpo": (80, 30),
    "task_vector": (30, 0),
    "finetune": (0, 36),
    "wga": (30, 30),
    "undial": (60, 30),
    # Eight answers to each of ten rows are sampled and read.
    "alt_po": (240, 30),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", READS)
def test_what_a_method_reads_is_counted(lora: Context, name: str) -> None:
    problem = problem_of(unguarded(lora, epochs=3, batch=4), name)
    run_method(name, problem)

    assert (problem.ledger.forget, problem.ledger.retain) == READS[name]
    assert (problem.facts["steps"], problem.facts["epochs"]) == (9, 3)


def test_a_method_costs_a_fifth_of_training_at_most(lora: Context) -> None:
    """In sequences: with 40 epochs over n retain rows, 8 n of them."""
    problem = problem_of(changed(lora, epochs=10_000), "npo")
    retained = len(problem.retain)

    assert problem.epochs_of(20) == 40 * retained // 5 // 20
    assert problem.epochs_of(1) == 8 * retained
    assert problem.epochs_of(10**6) == 1
    assert replace(problem, shared=changed_epochs(problem, 3)).epochs_of(20) == 3


def changed_epochs(problem: TextProblem, epochs: int) -> Any:
    return problem.shared.model_copy(update={"epochs": epochs})


def test_another_seed_draws_otherwise(lora: Context) -> None:
    context = unguarded(lora, epochs=1, batch=5)
    problem = problem_of(context, "npo")
    other = replace(problem, seed=problem.seed + 1)

    assert list(Endless(problem).take(9)) != list(Endless(other).take(9))
    assert [list(b) for b in problem.forget_batches(0)] != [
        list(b) for b in other.forget_batches(0)
    ]
