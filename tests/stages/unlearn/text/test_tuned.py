"""A tuned model that is opened to be changed, what it was, and what is written of it."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from unlearn.stages.context import Context
from unlearn.stages.estimators.registry import text_options
from unlearn.stages.text.base import load_module
from unlearn.stages.training.shard_model import ShardModel, read_shard_model
from unlearn.stages.unlearn import stage
from unlearn.stages.unlearn.base.problem import NotApplicableError
from unlearn.stages.unlearn.text.problem import TextProblem

from tests.stages.unlearn.text.projects import (
    changed,
    closed,
    losses_by_hand,
    opened,
    problem_of,
    weights_of,
)

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "a new adapter beside one": ("lora", {}),
    "the adapter itself": ("lora", {"adapter": None}),
    "a new adapter on whole weights": ("whole", {}),
    "whole weights": ("whole", {"adapter": None}),
}


@pytest.fixture(params=list(KINDS.values()), ids=list(KINDS))
def context(request: pytest.FixtureRequest) -> Context:
    name, settings = request.param
    found: Context = request.getfixturevalue(name)
    return changed(found, **settings)


def disturb(problem: TextProblem) -> None:
    """Move everything that is trained."""
    torch.manual_seed(5)
    with torch.no_grad():
        for weight in problem.tuned.weights.values():
            weight.add_(torch.randn_like(weight) * 0.06)


def of_base(context: Context, problem: TextProblem) -> torch.Tensor:
    options = text_options(context.params.train)
    base = load_module(Path(options.base), options, torch.device("cpu"), half=False)
    with torch.no_grad():
        return losses_by_hand(base, problem.forget)


def test_the_reference_is_the_tuned_model_and_not_its_base(context: Context) -> None:
    """Also after training has begun; the tuned model's own adapter off, it would be the base."""
    problem = problem_of(context, "npo")
    tuned = opened(context, read_shard_model(context.project.original, "original"))
    expected = -tuned.scores(stage.read_rows(context).forget).logprobs.sum()
    base = float(of_base(context, problem).sum())
    problem.tuned.keep()
    disturb(problem)
    now = float(problem.tuned.losses(problem.forget).nll.sum())
    with problem.tuned.reference() as module:
        asked = float(problem.tuned.losses(problem.forget, module).nll.sum())

    assert asked == pytest.approx(expected, rel=1e-4)
    assert base > 10 * asked
    assert abs(now - asked) > 1


def test_before_training_the_model_is_the_reference(context: Context) -> None:
    problem = problem_of(context, "npo")
    now = problem.tuned.losses(problem.forget).nll
    with problem.tuned.reference() as module:
        before = problem.tuned.losses(problem.forget, module).nll

    assert torch.equal(now, before)


def test_what_is_written_answers_as_the_model_that_was_trained(context: Context) -> None:
    problem = problem_of(context, "npo")
    before = problem.tuned.losses(problem.forget).nll
    disturb(problem)
    seen = problem.tuned.losses(problem.forget)
    model = closed(problem, context)
    written = opened(context, model).scores(stage.read_rows(context).forget)
    asked = torch.tensor([-float(written.logprobs[part].sum()) for part in written.slices])

    assert (seen.nll - before).abs().min() > 0.01
    assert torch.allclose(asked, seen.nll, rtol=1e-4, atol=1e-4)
    assert model.kind == context.params.train.model


def test_an_adapter_that_is_kept_on_in_half_precision(lora: Context) -> None:
    """Merged, the tuned model's own would be rounded to weights that are never written."""
    problem = problem_of(lora, "npo", precision="bfloat16")
    with problem.tuned.reference() as module:
        before = problem.tuned.losses(problem.forget, module).nll
    single = problem_of(lora, "npo").tuned.losses(problem.forget).nll
    disturb(problem)
    seen = problem.tuned.losses(problem.forget).nll
    with problem.tuned.reference() as module:
        after = problem.tuned.losses(problem.forget, module).nll
    model = closed(problem, lora)
    train = model.description["train"]
    options = train["options"] | {"precision": "bfloat16"}
    as_half = ShardModel(model.description | {"train": train | {"options": options}}, model.weights)
    written = opened(lora, as_half).scores(stage.read_rows(lora).forget)

    assert torch.equal(before, after)
    assert float(before.sum()) == pytest.approx(float(single.sum()), rel=0.2)
    assert (seen - before).abs().min() > 0.1
    assert -written.logprobs.sum() == pytest.approx(float(seen.sum()), rel=0.02)


def test_only_what_is_named_gets_a_gradient(context: Context) -> None:
    """Also after the reference was asked, for which PEFT turns adapters off and on."""
    problem = problem_of(context, "npo")
    tuned = problem.tuned
    with tuned.reference() as module:
        tuned.losses(problem.forget, module)
    batch = tuned.batch(problem.forget, [0, 1])
    torch.autograd.backward(tuned.forward(batch.inputs).sum())
    moved = {name for name, weight in tuned.module.named_parameters() if weight.grad is not None}
    adapter: Any = context.params.unlearn.for_language.adapter  # type: ignore[union-attr]  # has one

    assert moved == set(tuned.weights)
    if adapter is None:
        assert all("unlearning" not in name for name in moved)
    else:
        assert all(".unlearning." in name for name in moved)
        assert all(weight.shape[0] == 8 for name, weight in tuned.weights.items() if "_A" in name)


def test_the_ranks_of_both_adapters_add_up(lora: Context) -> None:
    both = closed(problem_of(lora, "npo"), lora).description["adapter"]
    alone = closed(problem_of(changed(lora, adapter=None), "npo"), lora).description["adapter"]

    assert (both["rank"], both["alpha"]) == (24, 24.0)
    assert (alone["rank"], alone["alpha"]) == (16, 32.0)


def test_all_models_learn_again_with_an_adapter_of_one_shape(lora: Context) -> None:
    """Else one that a method made would learn otherwise for having a larger adapter."""
    problem = problem_of(lora, "npo")
    disturb(problem)
    made = opened(lora, closed(problem, lora))
    to_tune = made.to_tune_on(5)
    rows = stage.read_rows(lora).forget
    ranks = [{len(w) for w in of.tuned_parameters()[::2]} for of in (made, to_tune)]

    assert ranks == [{24}, {16}]
    before, after = (of.row_scores(rows).logprobs for of in (made, to_tune))
    assert after == pytest.approx(before, rel=1e-3, abs=1e-4)


def test_a_new_adapter_on_some_layers_alone(lora: Context) -> None:
    context = changed(lora, adapter={"rank": 4, "alpha": 4, "targets": ["layers.1.mlp.up_proj"]})
    problem = problem_of(context, "npo")
    disturb(problem)
    seen = problem.tuned.losses(problem.forget).nll
    written = opened(context, closed(problem, context)).scores(stage.read_rows(lora).forget)

    assert len(problem.tuned.weights) == 2
    assert -written.logprobs.sum() == pytest.approx(float(seen.sum()), rel=1e-4)


def test_what_a_new_adapter_starts_from_follows_from_the_seed(lora: Context) -> None:
    first, again = weights_of(problem_of(lora, "npo")), weights_of(problem_of(lora, "npo"))
    other = weights_of(problem_of(lora, "simnpo"))

    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    assert all(float(w.abs().sum()) == 0 for name, w in first.items() if "lora_B" in name)


def test_saving_memory_changes_no_gradient(lora: Context) -> None:
    gradients, saving = [], []
    for saves in (False, True):
        tuned = (problem := problem_of(lora, "npo", checkpointing=saves)).tuned
        saving.append([type(m).__name__ for m in tuned.module.modules() if m.training])
        batch = tuned.batch(problem.forget, [0, 1, 2])
        torch.autograd.backward(tuned.forward(batch.inputs).square().mean())
        found = [weight.grad for weight in tuned.weights.values() if weight.grad is not None]
        gradients.append(torch.cat([gradient.flatten() for gradient in found]))

    assert saving[0] == []
    assert saving[1].count("LlamaDecoderLayer") == 2
    assert "LlamaAttention" not in saving[1], "dropout would be on"
    assert float(gradients[0].norm()) > 0
    assert torch.allclose(gradients[0], gradients[1], rtol=1e-4, atol=1e-7)


def test_weights_that_are_no_numbers_are_not_written(context: Context) -> None:
    problem = problem_of(context, "npo")
    with torch.no_grad():
        next(iter(problem.tuned.weights.values())).fill_(math.nan)
    with pytest.raises(NotApplicableError, match="no longer finite"):
        problem.tuned.close()
