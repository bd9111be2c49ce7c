"""When a method for language models has to stop, and which state is kept."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from unlearn.stages.context import Context
from unlearn.stages.text.generation import greedy
from unlearn.stages.unlearn.text import guard as guard_module
from unlearn.stages.unlearn.text.guard import TextGuard, TextState
from unlearn.stages.unlearn.text.problem import TextProblem

from tests.stages.unlearn.text.projects import (
    TEXT_METHODS,
    changed,
    guarded,
    problem_of,
    run_method,
    weights_of,
)


def ran(context: Context, name: str, **language: Any) -> TextProblem:
    problem = problem_of(changed(context, **language), name)
    run_method(name, problem)
    return problem


def states(problem: TextProblem) -> tuple[TextState, TextState]:
    """Return what the guard saw of the original and of what it kept."""
    assert problem.guard.start is not None
    assert problem.guard.kept is not None
    return problem.guard.start, problem.guard.kept


@pytest.mark.slow
def test_the_target_is_the_tuned_models_loss_on_unseen_rows(lora: Context) -> None:
    """Not the base's, and not that of the model as it becomes."""
    from unlearn.stages.rows.holdout import fewest
    from unlearn.stages.training.shard_model import read_shard_model
    from unlearn.stages.unlearn import stage

    from tests.stages.unlearn.text.projects import mean_loss, opened

    problem = ran(lora, "npo", rate=2e-3)
    tuned = opened(lora, read_shard_model(lora.project.original, "original"))
    rows = stage.read_rows(lora)
    start, _ = states(problem)

    assert rows.calibration.num_rows >= 10
    unseen = fewest(rows.calibration, 16)
    assert problem.guard.target == pytest.approx(mean_loss(tuned, unseen), rel=1e-4)
    assert start.forget_loss == pytest.approx(mean_loss(tuned, rows.forget), rel=1e-3)
    assert start.retain_probability == pytest.approx(
        math.exp(-mean_loss(tuned, fewest(rows.retain, 16))), rel=1e-3
    )


@pytest.mark.slow
@pytest.mark.trained
def test_npo_ends_at_the_target_within_its_limits(lora: Context) -> None:
    problem = ran(guarded(lora, budget=0.05), "npo", rate=2e-3, epochs=30)
    start, kept = states(problem)
    target = problem.guard.target

    assert problem.guard.stopped_by == "forget_target"
    assert problem.facts["epochs"] < 30
    assert target is not None
    # 10 seeds: 0.01 of the target before, 0.6 to 1.9 of it after.
    assert start.forget_loss < 0.03 * target
    assert 0.1 * target < kept.forget_loss < 2 * target
    assert kept.retain_probability >= 0.95 * start.retain_probability - 1e-6
    assert problem.guard.facts()["collapsed"] is False


@pytest.mark.trained
def test_ascent_without_a_guard_collapses_and_is_told_so(lora: Context) -> None:
    problem = ran(guarded(lora, active=False), "gradient_ascent", rate=3e-3)
    start, kept = states(problem)
    facts = problem.guard.facts()

    assert problem.guard.stopped_by == "unguarded"
    assert not problem.guard.rolled_back
    assert facts["collapsed"] is True
    assert facts["perplexity_ratio"] > 4
    assert kept.retain_probability < 0.1
    assert start.retain_probability > 0.5
    assert problem.facts["steps"] == 16


@pytest.mark.trained
def test_ascent_with_a_guard_does_not(lora: Context) -> None:
    problem = ran(lora, "gradient_ascent", rate=3e-3)
    start, kept = states(problem)

    assert problem.guard.stopped_by == "retain_budget"
    assert problem.guard.rolled_back
    assert problem.guard.facts()["collapsed"] is False
    assert problem.facts["steps"] < 16
    assert kept.retain_probability >= 0.98 * start.retain_probability - 1e-6


#: A guard that lets all pass but one thing, and what this ascent then ends by.
BRAKES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "retain_budget": ({}, {"perplexity_limit": 1e9, "repetition_limit": 1.0}),
    "perplexity": ({"budget": 1.0}, {"perplexity_limit": 1.5, "repetition_limit": 1.0}),
    "repetition": ({"budget": 1.0}, {"perplexity_limit": 1e12, "repetition_limit": 0.3}),
    "gradient": ({"gradient_limit": 1e-6}, {}),
    "epochs": ({"budget": 1.0}, {"perplexity_limit": 1e12, "repetition_limit": 1.0}),
}


@pytest.mark.trained
@pytest.mark.parametrize(("guard", "language"), BRAKES.values(), ids=BRAKES)
def test_each_brake_ends_it(
    lora: Context, guard: dict[str, Any], language: dict[str, Any], request: Any
) -> None:
    problem = problem_of(
        guarded(changed(lora, rate=5e-3, epochs=8, **language), **guard), "gradient_ascent"
    )
    aimless(problem)
    run_method("gradient_ascent", problem)

    assert problem.guard.stopped_by == request.node.callspec.id


def aimless(problem: TextProblem) -> None:
    """Take the unseen rows away: nothing but the brakes ends a method then."""
    from unlearn.stages.text.sequences import ragged

    guard: Any = problem.guard
    guard._probes = replace(guard._probes, unseen=ragged([], [], []))  # noqa: SLF001 - what a holdout without rows gives


def test_numbers_that_are_none_end_it(lora: Context) -> None:
    """Here of weights that overflow at the first step."""
    problem = problem_of(changed(lora, rate=1e38), "npo")
    before = weights_of(problem)
    run_method("npo", problem)

    assert problem.guard.stopped_by == "not_finite"
    assert problem.guard.rolled_back
    assert all(torch.equal(before[name], w) for name, w in problem.tuned.weights.items())


def test_the_kept_state_is_the_best_one_to_the_bit(lora: Context) -> None:
    """Nearest to the target among those within the limits, whatever came later."""
    problem = problem_of(lora, "npo")
    guard = problem.guard
    guard.watch()
    best = torch.Generator().manual_seed(1)
    seen: list[tuple[float, dict[str, torch.Tensor]]] = []
    start, target = guard.start, guard.target
    assert start is not None
    assert target is not None
    for size in (0.01, 0.03, 0.02):
        with torch.no_grad():
            for name, weight in problem.tuned.weights.items():
                if "lora_B" in name:
                    weight.copy_(torch.randn(weight.shape, generator=best) * size)
        now = float(problem.tuned.losses(problem.forget).by_token())
        if not guard.stops(recovers=True) and not guard.pauses and guard.moved:
            seen.append((abs(now - target), weights_of(problem)))
    with torch.no_grad():
        for weight in problem.tuned.weights.values():
            weight.fill_(3.0)
    assert not guard.stops(recovers=True)
    guard.settle()
    kept = guard.kept
    assert kept is not None
    found = [
        weights for away, weights in seen if away == pytest.approx(abs(kept.forget_loss - target))
    ]

    assert guard.rolled_back
    assert len(found) == 1
    assert all(torch.equal(found[0][name], w) for name, w in problem.tuned.weights.items())


def test_without_a_guard_the_last_state_stays(lora: Context) -> None:
    problem = problem_of(guarded(lora, active=False), "npo")
    problem.guard.watch()
    with torch.no_grad():
        for weight in problem.tuned.weights.values():
            weight.fill_(3.0)
    assert not problem.guard.stops()
    assert problem.guard.allows(math.inf)
    problem.guard.settle()

    assert all(bool((weight == 3).all()) for weight in problem.tuned.weights.values())
    assert problem.guard.facts()["collapsed"] is True


@pytest.mark.slow
@pytest.mark.trained
def test_forgetting_waits_while_what_it_cost_is_won_back(lora: Context) -> None:
    """Past the target, steps are on the retain side alone until the model is within its limits."""
    problem = ran(lora, "gradient_difference", rate=4e-3, epochs=30)
    start, kept = states(problem)

    assert problem.facts["paused"] > 0
    assert problem.ledger.forget < problem.ledger.retain
    # Forgotten, and within the limits at the same time.
    assert problem.guard.stopped_by == "forget_target"
    assert kept.retain_probability >= 0.98 * start.retain_probability - 1e-6
    # The nearest to the target of all states within the limits; 10 seeds: 5 to 200 times.
    assert kept.forget_loss > 2 * start.forget_loss


@pytest.mark.slow
@pytest.mark.parametrize("name", TEXT_METHODS)
def test_a_model_that_knows_nothing_has_nothing_to_climb(lora: Context, name: str) -> None:
    """Then nothing is done; fine-tuning goes on all the same."""
    problem = problem_of(changed(lora, epochs=1), name)
    guard: Any = problem.guard
    guard._probes = replace(guard._probes, unseen=guard._probes.forget)  # noqa: SLF001 - rows that are known no better
    before = weights_of(problem)
    run_method(name, problem)
    moved = any(not torch.equal(before[n], w) for n, w in problem.tuned.weights.items())

    assert guard.stopped_by == ("epochs" if name == "finetune" else "forget_target")
    assert moved == (name == "finetune")


def test_repetition_counts_from_what_the_original_does(lora: Context) -> None:
    guard: Any = problem_of(lora, "npo").guard
    guard.start = TextState(0.1, 0.9, 1.0, repetition=0.6)
    same, more = (replace(guard.start, repetition=value) for value in (0.6, 0.61))

    assert guard._past_limit(same) is None  # noqa: SLF001 - the rule itself
    assert guard._past_limit(more) == "repetition"  # noqa: SLF001 - see above


LIMITS = {
    "just within the budget": (TextState(0.1, 0.9 * 0.98, 1.0, 0.0), None),
    "past the budget": (TextState(0.1, 0.9 * 0.97, 1.0, 0.0), "retain_budget"),
    "just within the perplexity": (TextState(0.1, 0.9, 1.0 + math.log(4), 0.0), None),
    "past the perplexity": (TextState(0.1, 0.9, 1.0 + math.log(4.1), 0.0), "perplexity"),
    "beyond what has an exponential": (TextState(0.1, 0.9, 2000.0, 0.0), "perplexity"),
    "going in circles": (TextState(0.1, 0.9, 1.0, 0.51), "repetition"),
    "no numbers": (TextState(math.nan, math.nan, math.nan, 0.0, finite=False), "not_finite"),
}


@pytest.mark.parametrize(("state", "broken"), LIMITS.values(), ids=LIMITS)
def test_limits_are_relative_to_the_original(
    lora: Context, state: TextState, broken: str | None
) -> None:
    guard: Any = problem_of(lora, "npo").guard
    guard.start, guard.kept = TextState(0.1, 0.9, 1.0, 0.0), state

    assert guard._past_limit(state) == broken  # noqa: SLF001 - the rule itself
    # Answers that are a little less likely are a price, not a collapse.
    assert guard.facts()["collapsed"] is (broken not in (None, "retain_budget"))
    assert guard.facts()["past_limit"] == broken


#: Methods that end differently, and settings with which they do.
ENDS: dict[str, tuple[str, dict[str, Any], dict[str, Any], bool]] = {
    "target": ("npo", {"rate": 4e-3, "epochs": 5}, {"budget": 0.5}, False),
    "perplexity": ("gradient_ascent", {"rate": 5e-3, "perplexity_limit": 1.5}, {"budget": 1}, True),
    "repetition": (
        "gradient_ascent",
        {"rate": 5e-3, "perplexity_limit": 1e12, "repetition_limit": 0.3, "epochs": 5},
        {"budget": 1.0},
        True,
    ),
    "unguarded": ("gradient_ascent", {"rate": 3e-3}, {"active": False}, False),
}


@pytest.mark.slow
@pytest.mark.trained
@pytest.mark.parametrize(("name", "language", "guard", "is_aimless"), ENDS.values(), ids=ENDS)
def test_texts_that_decide_nothing_are_not_missed(
    lora: Context,
    name: str,
    language: dict[str, Any],
    guard: dict[str, Any],
    is_aimless: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A guard that lets every state speak, token by token, says the same and keeps the same."""
    context = guarded(changed(lora, **language), **guard)

    def ended() -> tuple[Any, ...]:
        problem = problem_of(context, name)
        if is_aimless:
            aimless(problem)
        run_method(name, problem)
        watcher = problem.guard
        return watcher.stopped_by, watcher.rolled_back, watcher.facts(), weights_of(problem)

    *found, weights = ended()
    monkeypatch.setattr(TextGuard, "_needs_no_text", lambda _guard, _state: False)
    monkeypatch.setattr(guard_module, "greedy", without_drafts)
    *expected, eager = ended()

    assert found == expected
    assert all(torch.equal(eager[name], weight) for name, weight in weights.items())


def without_drafts(*arguments: Any, drafts: Any, **options: Any) -> list[list[int]]:
    """Generate token by token."""
    assert drafts
    return greedy(*arguments, **options)


def test_the_original_speaks_if_a_later_model_goes_in_circles(lora: Context) -> None:
    """Then, and not before; the later model's weights are as they were."""
    guard: Any = problem_of(lora, "npo").guard
    guard.watch()
    assert math.isnan(guard.start.repetition)
    guard._ask_original()  # noqa: SLF001 - what it says
    said = guard.start.repetition

    guard.watch()
    with torch.no_grad():
        for weight in guard._tuned.weights.values():  # noqa: SLF001 - a model that has changed
            weight.add_(1.0)
    before = {name: weight.clone() for name, weight in guard._tuned.weights.items()}  # noqa: SLF001 - see above
    guard._limits = replace(guard._limits, repetition=-1.0, perplexity=math.inf)  # noqa: SLF001 - any text is in circles
    guard.stops()

    assert guard.start.repetition == said
    assert all(torch.equal(before[name], w) for name, w in guard._tuned.weights.items())  # noqa: SLF001 - see above
