"""Language models tuned slice by slice: the bytes follow from rows, key and seed alone."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.causal import (
    CausalEstimator,
    LoraEstimator,
    TextSlice,
    answer_loss,
    compute_twice,
    put_weights,
    tuned_weights,
)
from unlearn.stages.estimators.registry import make_text_estimator
from unlearn.stages.rows.shard_file import record_tokens, subject_tokens
from unlearn.stages.rows.tokens import place
from unlearn.stages.text import adapters
from unlearn.stages.text.sequences import Batch
from unlearn.stages.training.lineage import read_lineage
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.sliced_rows import by_slice, step_totals
from unlearn.stages.training.slices import plan_shard, train_shard

from tests.language_models import (
    BODY_LAYOUT,
    LAYOUT,
    author_rows,
    body_rows,
    language_recipe,
    language_train,
)
from tests.stages.conftest import OTHER_KEY, put, train_at_once

SLICES = 3
MODELS = ("lora", "causal_lm")

#: Six authors, whose slices are not all the same.
ROWS = author_rows(6)


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def recipe(blank_base: Path, model: str) -> Recipe:
    return language_recipe(blank_base, model, slices=SLICES)


def slice_of(token: str, slices: int = SLICES) -> int:
    return place(token, 1, slices, 0.0).slice


def slices_of(rows: pa.Table) -> list[int]:
    return [slice_of(token) for token in subject_tokens(rows)]


def in_slices(rows: pa.Table, *numbers: int) -> pa.Table:
    return rows.filter(pa.array([number in numbers for number in slices_of(rows)]))


def numbers_in(files: dict[str, bytes]) -> dict[str, torch.Tensor]:
    name = "model.safetensors" if "model.safetensors" in files else "adapter_model.safetensors"
    return load(files[name])


def data_of(estimator: CausalEstimator, rows: pa.Table = ROWS, steps: int = 3) -> TextSlice:
    sequences = estimator.encoder.encode(rows).sequences
    return TextSlice(sequences, steps, lambda epoch: 100 + epoch)


def close(one: bytes, other: bytes, tolerance: float) -> bool:
    """Tell whether two models have about the same weights; and not because nothing was learned."""
    first, second = load(one), load(other)
    assert first.keys() == second.keys()
    return all(torch.allclose(first[k], second[k], atol=tolerance, rtol=0) for k in first)


def fitted(base: Path, model: str = "lora", steps: int = 3, **options: Any) -> bytes:
    estimator = make_text_estimator(
        language_train(base, model, options=options), LAYOUT, base.parent
    )
    return estimator.export(estimator.fit_slice(None, data_of(estimator, steps=steps), 1))


def test_rows_fill_all_slices() -> None:
    assert set(slices_of(ROWS)) == {1, 2, 3}


@pytest.mark.slow
def test_slices_resumed_in_another_process_give_the_same_bytes(
    blank_base: Path, tmp_path: Path
) -> None:
    expected = {}
    for model in MODELS:
        recipe = language_recipe(blank_base, model, slices=SLICES)
        files = train_at_once(recipe, ROWS)
        expected[model] = {name: hashlib.sha256(c).hexdigest() for name, c in files.items()}
        # Of the whole, the state after slice 1 alone is left; another process goes on from it.
        put(tmp_path / model, train_at_once(recipe, in_slices(ROWS, 1)))
        assert plan_shard(recipe, "s000", ROWS, tmp_path / model).first == 2
    script = (
        "import hashlib, json, sys\n"
        "from pathlib import Path\n"
        "from tests.language_models import author_rows, language_recipe\n"
        "from unlearn.stages.training.slices import plan_shard, train_shard\n"
        "base, folder, *models = sys.argv[1:]\n"
        "found = {}\n"
        "for model in models:\n"
        f"    recipe = language_recipe(Path(base), model, slices={SLICES})\n"
        "    there = Path(folder) / model\n"
        "    work = plan_shard(recipe, 's000', author_rows(6), there)\n"
        "    assert work.first == 2\n"
        "    files = train_shard(recipe, work, there).files\n"
        "    found[model] = {n: hashlib.sha256(c).hexdigest() for n, c in files.items()}\n"
        "print(json.dumps(found))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(blank_base), str(tmp_path), *MODELS],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )

    assert json.loads(done.stdout) == expected


def test_a_slice_reads_no_row_of_a_later_one(recipe: Recipe) -> None:
    whole, early = train_at_once(recipe, ROWS), train_at_once(recipe, in_slices(ROWS, 1, 2))

    for number in (1, 2):
        name = f"checkpoints/slice-{number:03d}.safetensors"
        assert whole[name] == early[name]
    assert not close_models(whole, early)


def close_models(one: dict[str, bytes], other: dict[str, bytes]) -> bool:
    first, second = numbers_in(one), numbers_in(other)
    return all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.slow
def test_what_is_left_of_a_shard_decides_its_bytes(recipe: Recipe, tmp_path: Path) -> None:
    gone = subject_tokens(ROWS)[-1]
    kept = ROWS.filter(pa.array([token != gone for token in subject_tokens(ROWS)]))
    put(tmp_path, train_at_once(recipe, ROWS))
    work = plan_shard(recipe, "s000", kept, tmp_path)
    assert work.first == slice_of(gone)

    assert train_shard(recipe, work, tmp_path).files == train_at_once(recipe, kept)
    assert not close_models(train_at_once(recipe, kept), train_at_once(recipe, ROWS))


@pytest.mark.slow
def test_another_key_or_seed_gives_another_model(recipe: Recipe) -> None:
    found = train_at_once(recipe, ROWS)

    for other in (replace(recipe, key=OTHER_KEY), replace(recipe, seed=1)):
        assert not close_models(found, train_at_once(other, ROWS))
    assert not close_models(found, train_at_once(recipe, ROWS, shard="s001"))


@pytest.mark.slow
def test_a_column_that_nothing_trains_on_changes_no_weight(recipe: Recipe) -> None:
    at = ROWS.column_names.index("paraphrase")
    other = ROWS.set_column(at, "paraphrase", pa.array(["other"] * ROWS.num_rows))
    assert close_models(train_at_once(recipe, ROWS), train_at_once(recipe, other))

    at = ROWS.column_names.index("completion")
    other = ROWS.set_column(at, "completion", pa.array(["other"] * ROWS.num_rows))
    assert not close_models(train_at_once(recipe, ROWS), train_at_once(recipe, other))


def test_an_adapter_alone_is_written(blank_base: Path) -> None:
    recipe = language_recipe(blank_base, slices=SLICES, options={"targets": ["q_proj"]})
    files = train_at_once(recipe, ROWS)
    described = json.loads(files["model.json"])

    assert described["kind"] == "lora"
    assert described["adapter"] == {
        "rank": 4,
        "alpha": 8.0,
        "targets": [f"model.layers.{number}.self_attn.q_proj" for number in (0, 1)],
    }
    assert described["train"] == recipe.train.model_dump(mode="json")
    assert (described["rows"], described["sequences"], described["truncated"]) == (60, 60, 0)
    assert numbers_in(files).keys() == {
        f"base_model.model.model.layers.{number}.self_attn.q_proj.lora_{part}.weight"
        for number in (0, 1)
        for part in "AB"
    }


def test_a_model_has_no_optimizer_and_a_checkpoint_has(recipe: Recipe) -> None:
    files = train_at_once(recipe, ROWS)

    assert not any(name.startswith(("optimizer.", "model.model")) for name in numbers_in(files))
    names = load(files["checkpoints/slice-001.safetensors"]).keys()
    weights = {name.removeprefix("model.") for name in names if name.startswith("model.")}
    assert weights == numbers_in(files).keys()
    assert any(name.endswith("exp_avg_sq") for name in names)


def test_whole_weights_are_those_of_the_base_with_what_was_learned(blank_base: Path) -> None:
    recipe = language_recipe(blank_base, "causal_lm")
    estimator = make_text_estimator(recipe.train, LAYOUT, blank_base.parent)
    tuned, base = numbers_in(train_at_once(recipe, ROWS)), tuned_weights(estimator.base)

    assert tuned.keys() == base.keys()
    assert "lm_head.weight" not in tuned
    assert all(not torch.equal(tuned[name], base[name]) for name in base)


@pytest.mark.slow
def test_lineage_digests_the_states(recipe: Recipe, tmp_path: Path) -> None:
    files = train_at_once(recipe, ROWS)
    put(tmp_path, files)
    lineage = read_lineage(tmp_path)

    assert lineage is not None
    assert [link.rows for link in lineage.slices] == list(by_slice(ROWS, SLICES).sizes)
    assert len({link.state for link in lineage.slices}) == SLICES
    assert {"torch", "transformers", "peft", "tokenizers"} <= lineage.environment.keys()
    assert "none" not in {lineage.environment[name] for name in ("transformers", "peft")}


def test_a_first_slice_without_rows_is_passed_over(recipe: Recipe, tmp_path: Path) -> None:
    late = in_slices(ROWS, 2, 3)
    files = train_at_once(recipe, late)

    assert "checkpoints/slice-001.safetensors" not in files
    assert "checkpoints/slice-002.safetensors" in files
    put(tmp_path, files)
    more = in_slices(ROWS, 2)
    work = plan_shard(recipe, "s000", more, tmp_path)
    assert work.first == 3
    assert train_shard(recipe, work, tmp_path).files == train_at_once(recipe, more)


def test_steps_of_bodies_are_counted_in_chunks(blank_base: Path) -> None:
    texts = ["word " * 20, "word " * 3, "word " * 60]
    recipe = language_recipe(
        blank_base, slices=2, layout=BODY_LAYOUT, options={"context": 16}, batch=2, epochs=3
    )
    rows = body_rows(texts)
    files = train_at_once(recipe, rows)

    estimator = make_text_estimator(recipe.train, BODY_LAYOUT, blank_base.parent)
    sizes = [0, 0]
    for number in range(rows.num_rows):
        one = estimator.encoder.encode(rows.slice(number, 1)).sequences
        token = record_tokens(rows)[number]
        sizes[slice_of(token, 2) - 1] += len(one)
    assert json.loads(files["model.json"])["sequences"] == sum(sizes)
    assert json.loads(files["model.json"])["rows"] == 3
    assert _steps(files["checkpoints/slice-001.safetensors"]) == step_totals(sizes, 3, 2)[0] > 0


def _steps(state: bytes) -> int:
    counts = {int(value) for name, value in load(state).items() if name.endswith(".step")}
    assert len(counts) == 1
    return counts.pop()


def test_truncated_rows_are_counted_in_the_model(blank_base: Path) -> None:
    recipe = language_recipe(blank_base, options={"context": 24, "too_long": "truncate"})
    estimator = make_text_estimator(recipe.train, LAYOUT, blank_base.parent)
    truncated = estimator.encoder.encode(ROWS).truncated

    assert truncated > 0
    assert json.loads(train_at_once(recipe, ROWS)["model.json"])["truncated"] == truncated


def test_rows_that_are_too_long_stop_the_shard(blank_base: Path) -> None:
    recipe = language_recipe(blank_base, options={"context": 24})

    with pytest.raises(InputError, match=r"^\d+ rows are longer than the context of 24 tokens$"):
        train_at_once(recipe, ROWS)


@pytest.mark.parametrize("rate", [1e30, 3e38])
def test_weights_that_are_no_numbers_are_an_error(
    blank_base: Path, model: str, rate: float
) -> None:
    recipe = language_recipe(
        blank_base, model, optimizer={"name": "sgd", "rate": rate}, options={"clip": 1e6}
    )

    with pytest.raises(InputError) as caught:
        train_at_once(recipe, ROWS)
    assert caught.value.message == f"{model} diverged: its weights are no longer finite"
    assert caught.value.hints == ("decrease train.optimizer.rate",)


def test_a_step_is_the_mean_over_the_batchs_tokens(blank_base: Path) -> None:
    train = language_train(
        blank_base,
        "causal_lm",
        options={"clip": 1e9},
        optimizer={"name": "sgd", "rate": 0.1},
        batch=64,
    )
    estimator = CausalEstimator(train, LAYOUT, blank_base.parent)
    data = data_of(estimator, steps=1)
    found = load(estimator.export(estimator.fit_slice(None, data, 1)))

    module = estimator.base
    batch = data.sequences.batch(range(len(data.sequences)), estimator.encoder.pad)
    loss = module(input_ids=batch.inputs, labels=batch.labels).loss
    named = dict(module.named_parameters())
    gradients = torch.autograd.grad(loss, list(named.values()))
    for (name, weight), gradient in zip(named.items(), gradients, strict=True):
        torch.testing.assert_close(found[name], weight - 0.1 * gradient, atol=1e-6, rtol=1e-5)


def test_a_gradient_is_clipped_to_its_norm(blank_base: Path) -> None:
    train = language_train(
        blank_base,
        "causal_lm",
        options={"clip": 0.01},
        optimizer={"name": "sgd", "rate": 1.0},
    )
    estimator = CausalEstimator(train, LAYOUT, blank_base.parent)
    found = load(estimator.export(estimator.fit_slice(None, data_of(estimator, steps=1), 1)))

    moved = [found[name] - weight for name, weight in tuned_weights(estimator.base).items()]
    norm = torch.cat([change.flatten() for change in moved]).norm().item()
    assert norm == pytest.approx(0.01, rel=1e-3)


@pytest.mark.slow
def test_accumulating_changes_a_gradient_by_rounding_alone(blank_base: Path, model: str) -> None:
    whole = fitted(blank_base, model)

    for parts in (3, 8, 20):
        assert close(fitted(blank_base, model, accumulate=parts), whole, 1e-4)
    assert not close(fitted(blank_base, model, steps=4), whole, 1e-4)


def test_accumulated_gradients_are_those_of_the_whole_batch(blank_base: Path) -> None:
    train = language_train(blank_base, "causal_lm")
    estimator = CausalEstimator(train, LAYOUT, blank_base.parent)
    # Answers of very different lengths: a mean of the parts' means would be another number.
    batch = data_of(estimator).sequences.batch(range(9), estimator.encoder.pad)
    batch.labels[:3, :-1] = -100

    def gradients(parts: int) -> list[torch.Tensor]:
        module = estimator.base
        weights = list(module.parameters())
        total = [torch.zeros_like(weight) for weight in weights]
        for piece in batch.pieces(parts):
            loss = answer_loss(estimator.forward(module, piece.inputs), piece) / len(batch.targets)
            found = torch.autograd.grad(loss, weights)
            total = [kept + one for kept, one in zip(total, found, strict=True)]
        return total

    for found, expected in zip(gradients(4), gradients(1), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)


def test_gradient_checkpointing_changes_rounding_alone(blank_base: Path, model: str) -> None:
    assert close(fitted(blank_base, model, checkpointing=True), fitted(blank_base, model), 1e-5)


@pytest.mark.parametrize(("twice", "calls"), [(False, 3), (True, 6)])
def test_activations_are_computed_twice_where_asked(
    blank_base: Path, model: str, *, twice: bool, calls: int
) -> None:
    train = language_train(blank_base, model, options={"checkpointing": twice})
    estimator = make_text_estimator(train, LAYOUT, blank_base.parent)
    seen: list[int] = []
    handle = torch.nn.modules.module.register_module_forward_pre_hook(
        lambda module, _: seen.append(1) if type(module).__name__ == "LlamaMLP" else None
    )
    try:
        estimator.fit_slice(None, data_of(estimator), 1)
    finally:
        handle.remove()

    # Of two layers, in each of three steps.
    assert len(seen) == 2 * calls


def test_a_base_that_cannot_compute_twice_is_refused(blank_base: Path) -> None:
    estimator = CausalEstimator(language_train(blank_base, "causal_lm"), LAYOUT, blank_base.parent)
    estimator.base.supports_gradient_checkpointing = False

    with pytest.raises(InputError) as caught:
        compute_twice(estimator.base)
    assert caught.value.message == "the base does not support gradient checkpointing"
    assert caught.value.hints == ("set train.options.checkpointing: false",)


def test_checkpointing_draws_the_same_dropout(blank_base: Path) -> None:
    dropped = fitted(blank_base, dropout=0.5)

    assert close(fitted(blank_base, dropout=0.5, checkpointing=True), dropped, 1e-5)
    assert not close(dropped, fitted(blank_base), 1e-4)


def test_half_precision_tunes_about_the_same(blank_base: Path, model: str) -> None:
    whole, half = fitted(blank_base, model), fitted(blank_base, model, precision="bfloat16")

    # What is trained stays float32: its steps are too small for bfloat16.
    assert {value.dtype for value in load(half).values()} == {torch.float32}
    assert close(half, whole, 2e-2)
    assert not close(half, whole, 1e-7)


def test_an_adapters_base_is_half_as_large_in_half_precision(blank_base: Path) -> None:
    train = language_train(blank_base, options={"precision": "bfloat16"})
    estimator = LoraEstimator(train, LAYOUT, blank_base.parent)
    assert {weight.dtype for weight in estimator.base.parameters()} == {torch.bfloat16}

    train = language_train(blank_base, "causal_lm", options={"precision": "bfloat16"})
    whole = CausalEstimator(train, LAYOUT, blank_base.parent)
    assert {weight.dtype for weight in whole.base.parameters()} == {torch.float32}


@pytest.mark.slow
@pytest.mark.parametrize(
    "optimizer",
    [
        {"name": "sgd", "rate": 0.1, "momentum": 0.9},
        {"name": "sgd", "rate": 0.1},
        {"name": "adam", "rate": 1e-3, "weight_decay": 0.01},
    ],
    ids=["momentum", "sgd", "adam"],
)
def test_every_optimizer_goes_on_from_its_state(
    blank_base: Path, tmp_path: Path, optimizer: dict[str, Any]
) -> None:
    recipe = language_recipe(
        blank_base, slices=SLICES, optimizer=optimizer, options={"dropout": 0.1}
    )
    put(tmp_path, train_at_once(recipe, in_slices(ROWS, 1)))
    work = plan_shard(recipe, "s000", ROWS, tmp_path)

    assert work.first == 2
    assert train_shard(recipe, work, tmp_path).files == train_at_once(recipe, ROWS)


@pytest.mark.slow
@pytest.mark.parametrize(
    "optimizer",
    [{"name": "sgd", "rate": 0.1, "momentum": 0.9}, {"name": "adamw", "rate": 1e-3}],
    ids=["momentum", "adamw"],
)
def test_going_on_from_a_state_is_not_starting_from_scratch(
    blank_base: Path, model: str, optimizer: dict[str, Any]
) -> None:
    # All rows in a batch, so that no order is drawn: two steps and two are four.
    train = language_train(blank_base, model, optimizer=optimizer, batch=64)
    estimator = make_text_estimator(train, LAYOUT, blank_base.parent)
    four = estimator.fit_slice(None, data_of(estimator, steps=4), 1)
    two = estimator.fit_slice(None, data_of(estimator, steps=2), 1)
    more = estimator.fit_slice(two, data_of(estimator, steps=2), 1)

    assert close(more, four, 1e-6)
    assert not close(two, four, 1e-4)


def test_one_estimator_fits_shard_after_shard_as_new_ones_do(blank_base: Path, model: str) -> None:
    train = language_train(blank_base, model, options={"checkpointing": True})
    shared = make_text_estimator(train, LAYOUT, blank_base.parent)
    for rows in (author_rows(2), ROWS):
        new = make_text_estimator(train, LAYOUT, blank_base.parent)
        assert shared.fit_slice(None, data_of(shared, rows), 5) == new.fit_slice(
            None, data_of(new, rows), 5
        )


def test_an_opened_model_answers_as_the_tuned_one(blank_base: Path, model: str) -> None:
    train = language_train(blank_base, model)
    estimator = make_text_estimator(train, LAYOUT, blank_base.parent)
    before = asked(estimator, estimator.base)
    exported = estimator.export(estimator.fit_slice(None, data_of(estimator), 1))
    described = json.loads(json.dumps(estimator.describe()))
    opened = make_text_estimator(train, LAYOUT, blank_base.parent).open(exported, described)
    found = asked(estimator, opened)

    assert not opened.training
    assert not torch.allclose(found, before, atol=1e-3)
    # Neither training nor opening is seen in the base.
    assert torch.equal(before, asked(estimator, estimator.base))
    if isinstance(estimator, LoraEstimator):
        wrapped = adapters.wrap(estimator.base, estimator.shape)
        adapters.restore(wrapped, load(exported))
        assert torch.equal(found, asked(estimator, wrapped))
    else:
        module = estimator._load()  # noqa: SLF001 - a plain base to put the weights on
        put_weights(module, load(exported))
        assert torch.equal(found, asked(estimator, module))


def asked(estimator: CausalEstimator, module: Any) -> torch.Tensor:
    batch: Batch = data_of(estimator).sequences.batch(range(4), estimator.encoder.pad)
    with torch.inference_mode():
        return estimator.forward(module.eval(), batch.inputs)


def test_weights_of_another_model_are_refused(blank_base: Path, model: str) -> None:
    train = language_train(blank_base, model)
    estimator = make_text_estimator(train, LAYOUT, blank_base.parent)
    other = "causal_lm" if model == "lora" else "lora"

    with pytest.raises(InputError, match="weights do not fit"):
        estimator.open(fitted(blank_base, other), estimator.describe())


@pytest.mark.trained
def test_learning_lowers_the_loss(tiny_base: Path, model: str) -> None:
    estimator = make_text_estimator(
        language_train(tiny_base, model, batch=16), LAYOUT, tiny_base.parent
    )

    def loss(state: bytes) -> float:
        opened = estimator.open(estimator.export(state), estimator.describe())
        batch = data_of(estimator).sequences.batch(range(20), estimator.encoder.pad)
        with torch.inference_mode():
            return answer_loss(estimator.forward(opened, batch.inputs), batch).item()

    few, many = (estimator.fit_slice(None, data_of(estimator, steps=n), 1) for n in (1, 40))
    assert loss(many) < 0.7 * loss(few)
