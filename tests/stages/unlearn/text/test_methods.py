"""What each method for language models does to a model that knows its rows by heart."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.training.shard_model import read_shard_model
from unlearn.stages.unlearn import stage
from unlearn.stages.unlearn.base.problem import NotApplicableError
from unlearn.stages.unlearn.base.registry import find_method
from unlearn.stages.unlearn.text.alt_po import sampled_answers
from unlearn.stages.unlearn.text.apply import unlearn_text
from unlearn.stages.unlearn.text.idk_dpo import draw_answers
from unlearn.stages.unlearn.text.problem import TextProblem
from unlearn.stages.unlearn.text.rmu import find_layers

from tests.stages.unlearn.text.projects import (
    TEXT_METHODS,
    changed,
    guarded,
    problem_of,
    run_method,
    text_context,
    text_params,
    weights_of,
)

#: Settings with which a method moves this model far enough to see where to.
STRONG: dict[str, dict[str, Any]] = {
    "rmu": {"rmu": {"alpha": 0.3, "strength": 4.0}, "rate": 3e-3},
    # What is known by heart already moves little when it is learned further.
    "task_vector": {"rate": 3e-3, "task_vector": {"scale": 30.0}},
    "idk_dpo": {"rate": 5e-3, "epochs": 12},
    "simnpo": {"rate": 3e-3, "simnpo": {"delta": 2.0, "alpha": 0.25}},
    "wga": {"rate": 4e-3},
}


def applied(context: Context, name: str, **language: Any) -> TextProblem:
    context = changed(context, **(STRONG.get(name, {"rate": 2e-3}) | language))
    problem = problem_of(guarded(context, active=False), name)
    run_method(name, problem)
    return problem


def loss_of(problem: TextProblem, side: str) -> float:
    return float(problem.tuned.losses(getattr(problem, side)).by_token())


@pytest.mark.slow
@pytest.mark.trained
@pytest.mark.parametrize("kind", ["lora", "whole"])
@pytest.mark.parametrize(
    "name",
    ["npo", "simnpo", "gradient_difference", "idk_dpo", "rmu", "wga", "undial", "alt_po"],
)
def test_forget_rows_are_forgotten_more_than_retain_rows(
    name: str, kind: str, request: pytest.FixtureRequest
) -> None:
    context = request.getfixturevalue(kind)
    before = problem_of(context, name)
    problem = applied(context, name)
    gone = loss_of(problem, "forget") - loss_of(before, "forget")
    kept = loss_of(problem, "retain") - loss_of(before, "retain")

    assert gone > 0.3
    assert gone > 1.5 * kept


@pytest.mark.slow
@pytest.mark.trained
@pytest.mark.parametrize("name", ["npo", "gradient_difference", "rmu"])
def test_the_retain_side_holds_retain_rows(name: str, lora: Context) -> None:
    """Against the same steps with next to no weight on it."""
    with_it = applied(lora, name, epochs=16)
    without = applied(lora, name, epochs=16, **{name: {"alpha": 1.0}})

    # 14 seeds: 3.7 to 330 times; a weight that changes nothing gives the same loss.
    assert loss_of(without, "retain") > 1.8 * loss_of(with_it, "retain")


@pytest.mark.trained
def test_finetuning_lowers_the_retain_loss(lora: Context) -> None:
    before = problem_of(lora, "finetune")
    problem = applied(lora, "finetune", epochs=24)

    # Other seeds: 0.4 to 0.8 of it.
    assert loss_of(problem, "retain") < loss_of(before, "retain")
    assert problem.ledger.forget == 0


@pytest.mark.trained
def test_a_refusal_becomes_more_likely_than_the_answer(lora: Context) -> None:
    problem = applied(lora, "idk_dpo")
    tuned = problem.tuned
    refusals = tuned.encoder.encode_answers(problem.rows, draw_answers(problem)).sequences
    with tuned.reference() as module:
        refused, answered = (
            tuned.losses(refusals, module).nll,
            tuned.losses(problem.forget, module).nll,
        )
    margins = tuned.losses(problem.forget).nll - answered - (tuned.losses(refusals).nll - refused)

    assert margins.min() > 1


def test_refusals_are_drawn_for_each_row(lora: Context) -> None:
    among = [f"No. {number}" for number in range(5)]
    context = changed(lora, idk_dpo={"answers": among})
    drawn = draw_answers(problem_of(context, "idk_dpo"))

    assert len(drawn) == 10
    assert set(drawn) <= set(among)
    assert len(set(drawn)) > 2
    assert drawn == draw_answers(problem_of(context, "idk_dpo"))


@pytest.mark.slow
def test_sampled_alternatives_are_other_answers_and_follow_from_the_seed(lora: Context) -> None:
    problem = problem_of(lora, "alt_po")
    own = problem.rows["completion"].to_pylist()
    found = sampled_answers(problem)
    other = sampled_answers(dataclasses.replace(problem, seed=problem.seed + 1))

    torch.rand(3)
    assert found == sampled_answers(problem)
    assert found != other
    assert problem.facts["alternatives"] == sum(a != b for a, b in zip(found, own, strict=True))
    assert problem.facts["alternatives"] >= len(own) - 1
    # They begin as answers of this model do, and not in a language of their own.
    assert sum(text.split()[0] == "The" for text in found) >= len(own) / 2


@pytest.mark.slow
def test_the_most_probable_alternative_is_taken(lora: Context) -> None:
    """Of more samples, one at least as probable."""
    means = []
    for samples in (1, 8):
        problem = problem_of(changed(lora, alt_po={"samples": samples}), "alt_po")
        answers = problem.tuned.encoder.encode_answers(problem.rows, sampled_answers(problem))
        means.append(float(problem.tuned.losses(answers.sequences).by_sequence().mean()))

    assert means[1] < means[0]


@pytest.mark.parametrize(
    ("column", "said"),
    [("nowhere", "'nowhere' is no column of schema.yaml"), ("perturbed_1", "1 row has no text")],
)
def test_alternatives_that_are_not_there_are_refused(column: str, said: str, lora: Context) -> None:
    problem = problem_of(changed(lora, alt_po={"column": column}), "alt_po")
    if column != "nowhere":
        texts = ["", *problem.rows[column].to_pylist()[1:]]
        at = problem.rows.column_names.index(column)
        problem.rows = problem.rows.set_column(at, column, pa.array(texts))
    with pytest.raises(InputError, match=said) as raised:
        run_method("alt_po", problem)
    assert raised.value.exit_code == 2


@pytest.mark.slow
def test_running_text_has_no_prompt_to_refuse(blank_base: Path, tmp_path: Path) -> None:
    """All other methods apply to it."""
    from tests.stages.unlearn.text.projects import forget_authors

    params = text_params(
        blank_base,
        features={"completion": "body"},
        options={"rank": 4, "alpha": 8},
        train={"epochs": 2},
    )
    context = guarded(text_context(tmp_path / "p", params), active=False)
    forget_authors(context)
    with pytest.raises(NotApplicableError, match="running text has no prompt"):
        unlearn_text(
            context.posthoc(),
            find_method("idk_dpo", "text"),
            read_shard_model(context.project.original, "original"),
            stage.read_rows(context),
        )
    for name in set(TEXT_METHODS) - {"idk_dpo", "alt_po"}:
        problem = problem_of(context, name)
        before = weights_of(problem)
        run_method(name, problem)
        assert any(not torch.equal(before[n], w) for n, w in problem.tuned.weights.items()), name


@pytest.mark.parametrize(("depth", "highest"), [(0.45, 0), (0.5, 1), (1.0, 1)])
@pytest.mark.parametrize("kind", ["lora", "whole"])
@pytest.mark.parametrize("adapter", [{"rank": 8, "alpha": 16}, None], ids=["adapter", "none"])
def test_rmu_trains_nothing_above_its_layer(
    depth: float, highest: int, kind: str, adapter: Any, request: pytest.FixtureRequest
) -> None:
    context = changed(
        request.getfixturevalue(kind), rmu={"depth": depth}, adapter=adapter, epochs=1
    )
    context = guarded(context, active=False)
    problem = problem_of(context, "rmu")
    before = {n: w.detach().clone() for n, w in problem.tuned.module.named_parameters()}
    run_method("rmu", problem)
    moved = {
        int(found[1])
        for name, weight in problem.tuned.module.named_parameters()
        if not torch.equal(weight, before[name])
        and (found := re.search(r"layers\.(\d+)\.", name)) is not None
    }
    others = [
        name
        for name, weight in problem.tuned.module.named_parameters()
        if "layers." not in name and not torch.equal(weight, before[name])
    ]

    assert moved == set(range(highest + 1))
    assert others == []


def test_rmu_counts_what_its_frozen_side_reads(lora: Context) -> None:
    problem = applied(lora, "rmu", epochs=1)

    assert problem.ledger.forget == len(problem.forget)
    assert problem.ledger.retain == 2 * problem.ledger.forget


@pytest.mark.trained
def test_rmu_drives_activations_towards_its_direction(lora: Context) -> None:
    """Of forget text further than of retain text, whose activations it holds."""
    problem = applied(lora, "rmu", rmu={"depth": 0.45, "strength": 6.0, "alpha": 0.3})
    tuned = problem.tuned
    moved = {}
    for side in ("forget", "retain"):
        batch = tuned.batch(getattr(problem, side), range(8))
        outputs: list[Any] = []

        def take(_layer: Any, _inputs: Any, output: Any, into: list[Any] = outputs) -> None:
            into.append(output[0] if isinstance(output, tuple) else output)

        handle = find_layers(tuned.module)[1][0].register_forward_hook(take)
        with torch.no_grad():
            tuned.forward(batch.inputs)
        with tuned.reference() as module:
            tuned.forward(batch.inputs, module)
        handle.remove()
        counted = batch.inputs != tuned.encoder.pad
        moved[side] = float((outputs[0] - outputs[1])[counted].norm(dim=-1).mean())

    assert moved["forget"] > 0.3
    # 7 seeds: 1.7 to 2.6 times.
    assert moved["forget"] > 1.3 * moved["retain"]


def test_rmu_needs_layers_that_it_may_train(lora: Context) -> None:
    context = changed(lora, adapter={"targets": ["layers.1.mlp.up_proj"]})
    with pytest.raises(NotApplicableError, match="at or below rmu's depth"):
        run_method("rmu", problem_of(context, "rmu"))


@pytest.mark.trained
@pytest.mark.parametrize("adapter", [{"rank": 8, "alpha": 16}, None], ids=["adapter", "none"])
def test_a_task_vector_of_no_length_is_the_tuned_model(lora: Context, adapter: Any) -> None:
    context = changed(lora, adapter=adapter)
    before = problem_of(context, "task_vector")
    small = applied(context, "task_vector", task_vector={"scale": 1e-9})
    large = applied(context, "task_vector", task_vector={"scale": 2.0})
    was = before.tuned.losses(before.forget).nll

    assert torch.allclose(small.tuned.losses(small.forget).nll, was, atol=1e-4)
    assert (large.tuned.losses(large.forget).nll - was).mean() > 0.1
    assert large.facts["scale"] == 2.0


@pytest.mark.slow
def test_a_task_vector_goes_as_far_the_other_way(lora: Context) -> None:
    """Of a new adapter: what its matrices add to each layer, times -scale."""
    one = applied(lora, "task_vector", task_vector={"scale": 1.0})
    half = applied(lora, "task_vector", task_vector={"scale": 0.5})
    for name, weight in one.tuned.weights.items():
        factor = 0.5 if "lora_B" in name else 1.0
        assert torch.allclose(half.tuned.weights[name], factor * weight, atol=1e-7)


@pytest.mark.trained
def test_the_guard_halves_the_scale_until_the_model_keeps_within_its_limits(lora: Context) -> None:
    context = changed(lora, task_vector={"scale": 64.0}, rate=3e-3)
    problem = problem_of(context, "task_vector")
    run_method("task_vector", problem)
    scale, guard = problem.facts["scale"], problem.guard
    assert guard.start is not None
    assert guard.kept is not None

    assert 0 < scale < 64
    assert 64 / scale == 2 ** round(torch.log2(torch.tensor(64 / scale)).item())
    assert guard.kept.retain_probability >= 0.98 * guard.start.retain_probability - 1e-6
    assert guard.kept.forget_loss > guard.start.forget_loss
