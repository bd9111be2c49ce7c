"""Adapters: where they go, that the base stays as it is, and what several of them add up to."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load
from unlearn.cli.examples.tiny_base import make_config
from unlearn.stages.config.text import AdapterOptions
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.causal import LoraEstimator, TextSlice, tuned_weights
from unlearn.stages.estimators.torch_state import module_bytes
from unlearn.stages.final_model.files import final_model_files
from unlearn.stages.text import adapters
from unlearn.stages.text.adapters import Shape
from unlearn.stages.training.shard_model import ShardModel
from unlearn.stages.training.slices import plan_shard, train_shard

from tests.language_models import (
    LAYOUT,
    author_rows,
    language_params,
    language_recipe,
    language_train,
)
from tests.stages.conftest import put

LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
Q, DOWN = "model.layers.1.self_attn.q_proj", "model.layers.0.mlp.down_proj"

TOKENS = torch.arange(40).view(2, 20) % 37


def make_model(layers: int = 2) -> Any:
    from transformers import LlamaForCausalLM

    config = make_config("tiny")
    config.update({"num_hidden_layers": layers, "hidden_size": 16, "intermediate_size": 24})
    torch.manual_seed(5)
    return LlamaForCausalLM(config).eval()


def drawn(wrapped: Any, seed: int, name: str = "default") -> adapters.Tensors:
    """Return an adapter's weights with both matrices drawn, as after training."""
    generator = torch.Generator().manual_seed(seed)
    shapes = adapters.snapshot(wrapped, name)
    return {key: torch.randn(value.shape, generator=generator) / 3 for key, value in shapes.items()}


def logits(module: Any) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = module(input_ids=TOKENS, use_cache=False).logits
    return found


def layers_of(wrapped: Any, name: str = "default") -> set[str]:
    """Return the layers that an adapter is on, as the names of its weights say."""
    return {
        key.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        for key in adapters.snapshot(wrapped, name)
        if key.endswith("lora_A.weight")
    }


@pytest.mark.slow
def test_all_linear_layers_but_the_head_are_found() -> None:
    expected = {
        f"model.layers.{number}.{'mlp' if part[0] in 'gud' else 'self_attn'}.{part}"
        for number in range(2)
        for part in LINEAR
    }
    assert set(adapters.resolve_targets(make_model(), "all-linear")) == expected
    assert len(adapters.resolve_targets(make_model(), "all-linear")) == 14


def test_the_layers_of_gpt_2_are_linear_too() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=50, n_positions=16, n_embd=8, n_layer=2, n_head=2)
    module = GPT2LMHeadModel(config)
    targets = adapters.resolve_targets(module, "all-linear")

    assert sorted(targets)[:4] == [
        f"transformer.h.0.{part}"
        for part in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    ]
    wrapped = adapters.wrap(module, Shape(2, 2.0, tuple(targets)))
    assert layers_of(wrapped) == set(targets)


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (["layers.1.self_attn.q_proj"], ["model.layers.1.self_attn.q_proj"]),
        (["model.layers.11.mlp.up_proj"], ["model.layers.11.mlp.up_proj"]),
        (["q_proj"], [f"model.layers.{n}.self_attn.q_proj" for n in range(12)]),
        (
            ["0.mlp.up_proj", "layers.1.mlp.up_proj"],
            ["model.layers.0.mlp.up_proj", "model.layers.1.mlp.up_proj"],
        ),
        ("self_attn.v_proj", [f"model.layers.{n}.self_attn.v_proj" for n in range(12)]),
    ],
    ids=["a layer", "a whole name", "all of a kind", "two", "a text"],
)
def test_names_are_matched_whole(targets: Any, expected: list[str]) -> None:
    module = make_model(12)
    found = adapters.resolve_targets(module, targets)

    assert found == expected
    assert layers_of(adapters.wrap(module, Shape(2, 4.0, tuple(found)))) == set(expected)


def test_an_adapter_on_all_of_many_layers_is_on_all_of_them() -> None:
    # PEFT shortens long lists of names by itself: to those that would match the same layers.
    module = make_model(12)
    shape = adapters.shape_of(AdapterOptions(rank=2), module)

    assert len(shape.targets) == 84
    assert layers_of(adapters.wrap(module, shape)) == set(shape.targets)


def test_an_adapter_on_most_layers_is_not_on_the_others() -> None:
    module = make_model(12)
    every = adapters.resolve_targets(module, "all-linear")
    most = tuple(name for name in every if "layers.1.mlp" not in name)

    assert layers_of(adapters.wrap(module, Shape(2, 2.0, most))) == set(most)


@pytest.mark.parametrize(
    ("target", "hints"),
    [
        ("q_prj", ("did you mean `q_proj`?",)),
        ("layers.1.self_atn.q_proj", ("did you mean `layers.1.self_attn.q_proj`?",)),
        ("layers.30.mlp.up_proj", ("did you mean `layers.0.mlp.up_proj`?",)),
        ("_proj", None),
        ("proj", None),
        ("lm_head", None),
        ("model.embed_tokens", None),
        (".*", ()),
    ],
)
def test_a_name_that_matches_nothing_is_an_error(
    target: str, hints: tuple[str, ...] | None
) -> None:
    with pytest.raises(InputError) as caught:
        adapters.resolve_targets(make_model(), ["q_proj", target])
    assert caught.value.message == f"targets: {target!r} is no linear layer of the base"
    assert hints is None or caught.value.hints == hints


def test_a_new_adapter_changes_nothing_until_it_is_trained() -> None:
    expected = logits(make_model())
    wrapped = adapters.wrap(make_model(), Shape(4, 8.0, (Q, DOWN)))

    assert torch.equal(logits(wrapped), expected)
    trained = [name for name, weight in wrapped.named_parameters() if weight.requires_grad]
    assert trained == [
        f"base_model.model.{layer}.lora_{part}.default.weight"
        for layer in (DOWN, Q)
        for part in "AB"
    ]
    assert [tuple(weight.shape) for weight in adapters.parameters(wrapped)] == [
        (4, 24),
        (16, 4),
        (4, 16),
        (64, 4),
    ]


def test_an_adapter_adds_its_scaled_product() -> None:
    module = make_model()
    wrapped = adapters.wrap(make_model(), Shape(4, 6.0, (Q,)))
    weights = drawn(wrapped, 1)
    adapters.restore(wrapped, weights)

    up = weights[f"base_model.model.{Q}.lora_B.weight"]
    down = weights[f"base_model.model.{Q}.lora_A.weight"]
    with torch.no_grad():
        module.get_submodule(Q).weight += 6.0 / 4 * up @ down
    torch.testing.assert_close(logits(wrapped), logits(module), atol=1e-5, rtol=1e-5)


def test_a_snapshot_puts_an_adapter_back() -> None:
    wrapped = adapters.wrap(make_model(), Shape(4, 8.0, (Q, DOWN)))
    adapters.restore(wrapped, drawn(wrapped, 1))
    taken, expected = adapters.snapshot(wrapped), logits(wrapped)

    adapters.restore(wrapped, drawn(wrapped, 2))
    assert not torch.allclose(logits(wrapped), expected)
    assert not torch.equal(
        taken[f"base_model.model.{Q}.lora_A.weight"],
        adapters.snapshot(wrapped)[f"base_model.model.{Q}.lora_A.weight"],
    )
    adapters.restore(wrapped, taken)
    assert torch.equal(logits(wrapped), expected)


@pytest.mark.parametrize("shape", [Shape(3, 8.0, (Q, DOWN)), Shape(4, 8.0, (Q,))])
def test_weights_of_another_shape_are_refused(shape: Shape) -> None:
    wrapped = adapters.wrap(make_model(), Shape(4, 8.0, (Q, DOWN)))
    other = adapters.snapshot(adapters.wrap(make_model(), shape))

    with pytest.raises(InputError, match="weights do not fit the layers they are for"):
        adapters.restore(wrapped, other)


def test_what_is_redrawn_follows_from_the_seed_alone() -> None:
    wrapped = adapters.wrap(make_model(), Shape(4, 8.0, (Q, DOWN)))
    adapters.restore(wrapped, drawn(wrapped, 1))
    adapters.redraw(wrapped, 7)
    first = adapters.snapshot(wrapped)

    other = adapters.wrap(make_model(), Shape(4, 1.0, (DOWN, Q)))
    torch.manual_seed(99)
    adapters.redraw(other, 7)
    second = adapters.snapshot(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    for key, value in first.items():
        assert bool(value.any()) == key.endswith("lora_A.weight"), key

    adapters.redraw(other, 8)
    third = adapters.snapshot(other)
    assert not torch.equal(
        first[f"base_model.model.{Q}.lora_A.weight"], third[f"base_model.model.{Q}.lora_A.weight"]
    )


def test_two_adapters_together_are_the_sum_of_both() -> None:
    wrapped = adapters.wrap(make_model(), Shape(4, 6.0, (Q, DOWN)), name="one")
    gate = "model.layers.1.mlp.gate_proj"
    shapes = {"one": Shape(4, 6.0, (Q, DOWN)), "two": Shape(2, 5.0, (DOWN, gate))}
    adapters.add(wrapped, shapes["two"], "two")
    parts = []
    for name, shape in shapes.items():
        weights = drawn(wrapped, len(name) + shape.rank, name)
        adapters.restore(wrapped, weights, name)
        parts.append((shape, weights))

    shape, weights = adapters.together(parts)
    assert (shape.rank, shape.alpha, shape.targets) == (6, 6.0, (Q, DOWN, gate))
    joined = adapters.wrap(make_model(), shape)
    adapters.restore(joined, weights)

    # PEFT adds up the adapters that are active at once, layer by layer.
    wrapped.base_model.set_adapter(["one", "two"])
    torch.testing.assert_close(logits(joined), logits(wrapped), atol=1e-5, rtol=1e-5)
    plain = module_with(parts)
    torch.testing.assert_close(logits(joined), logits(plain), atol=1e-5, rtol=1e-5)
    wrapped.base_model.set_adapter(["one"])
    assert not torch.allclose(logits(joined), logits(wrapped), atol=1e-3)


def module_with(parts: list[tuple[Shape, adapters.Tensors]]) -> Any:
    """Return a plain model with adapters' products added to its weights."""
    module = make_model()
    with torch.no_grad():
        for shape, weights in parts:
            for target in shape.targets:
                up = weights[f"base_model.model.{target}.lora_B.weight"]
                down = weights[f"base_model.model.{target}.lora_A.weight"]
                module.get_submodule(target).weight += shape.alpha / shape.rank * up @ down
    return module


def test_one_adapter_together_with_none_is_itself() -> None:
    wrapped = adapters.wrap(make_model(), Shape(4, 6.0, (Q, DOWN)))
    adapters.restore(wrapped, drawn(wrapped, 3))
    shape, weights = adapters.together([(Shape(4, 6.0, (Q, DOWN)), adapters.snapshot(wrapped))])

    again = adapters.wrap(make_model(), shape)
    adapters.restore(again, weights)
    torch.testing.assert_close(logits(again), logits(wrapped), atol=1e-6, rtol=1e-6)


def test_a_shape_comes_back_from_its_json() -> None:
    shape = Shape(4, 6.5, (Q, DOWN))

    assert Shape.from_json(json.loads(json.dumps(shape.as_json()))) == shape


def test_tuning_leaves_every_weight_of_the_base(blank_base: Path) -> None:
    recipe = language_recipe(blank_base, epochs=2)
    estimator = LoraEstimator(recipe.train, LAYOUT, blank_base.parent)
    before = module_bytes(estimator.base)
    files = {path.name: path.read_bytes() for path in blank_base.iterdir()}

    rows = author_rows(1)
    data = TextSlice(estimator.encoder.encode(rows).sequences, 4, lambda epoch: epoch)
    estimator.fit_slice(None, data, 1)
    # The base of the estimator now has the adapter on it: its own weights are those of before.
    own = {
        name.replace(".base_layer", ""): value
        for name, value in tuned_weights(estimator.base).items()
        if "lora_" not in name
    }
    expected = load(before)
    expected.pop("lm_head.weight")
    assert own.keys() == expected.keys()
    assert all(torch.equal(own[name], expected[name]) for name in own)
    assert {path.name: path.read_bytes() for path in blank_base.iterdir()} == files


def test_peft_loads_a_members_folder_by_itself(blank_base: Path, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    recipe = language_recipe(blank_base, options={"targets": ["q_proj", "layers.1.mlp.up_proj"]})
    rows = author_rows(2)
    model = ShardModel.of_files(
        train_shard(recipe, plan_shard(recipe, "s000", rows, None), None).files
    )
    params = language_params(recipe.train)
    put(tmp_path, dict(final_model_files(params, tmp_path, [("s000", model)])))

    base = AutoModelForCausalLM.from_pretrained(blank_base, local_files_only=True)
    plain = logits(base)
    found = logits(PeftModel.from_pretrained(base, tmp_path / "members/s000").eval())
    estimator = LoraEstimator(language_train(blank_base), LAYOUT, blank_base.parent)
    opened = estimator.open(model.weights or b"", model.description)
    assert torch.equal(found, logits(opened))
    assert not torch.allclose(found, plain, atol=1e-3)
