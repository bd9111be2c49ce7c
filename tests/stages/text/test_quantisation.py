"""Weights through four bits: the numbers of NF4, blocks, and which weights of a model."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from torch import nn
from unlearn.stages.text.quantisation import NF4, quantised, round_trip, roundable


def test_the_numbers_are_quantiles_of_the_normal_distribution() -> None:
    # QLoRA's construction: eight steps up and seven down from the middle, out to where half a step
    # of 1/15 and of 1/16 would be left on average; zero once; the largest scaled to 1.
    edge = ((1 - 1 / 30) + (1 - 1 / 32)) / 2
    above = [norm.ppf(edge + (0.5 - edge) * step / 8) for step in range(8)]
    below = [-norm.ppf(edge + (0.5 - edge) * step / 7) for step in range(7)]
    numbers = sorted([*above, 0.0, *below])

    expected = [number / max(numbers) for number in numbers]
    assert pytest.approx(expected, abs=1e-6) == NF4


def test_by_hand() -> None:
    # Halved to .5, 1, -.05 and -1: the nearest numbers are .4407, 1, -.0911 and -1.
    weight = torch.tensor([[1.0, 2.0], [-0.1, -2.0]])

    found = round_trip(weight, block=4)

    assert found.flatten().tolist() == pytest.approx([2 * NF4[12], 2.0, 2 * NF4[6], -2.0])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 200), block=st.integers(1, 70))
def test_every_weight_goes_to_the_nearest_number_of_its_block(
    seed: int, size: int, block: int
) -> None:
    weight = torch.randn(size, generator=torch.Generator().manual_seed(seed))

    found = round_trip(weight, block).tolist()

    for start in range(0, size, block):
        values = weight[start : start + block].tolist()
        scale = max(map(abs, values))
        for value, rounded in zip(values, found[start : start + block], strict=True):
            nearest = min(abs(value - number * scale) for number in NF4)
            assert abs(value - rounded) == pytest.approx(nearest, abs=1e-6 * scale)
            assert min(abs(rounded - number * scale) for number in NF4) <= 1e-6 * scale


def test_of_two_equally_near_numbers_the_lower_one_is_taken() -> None:
    codes = torch.tensor(NF4)
    middle = (codes[8] + codes[7]) / 2

    assert round_trip(torch.stack([middle, torch.tensor(1.0)]))[0] == codes[7]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), half=st.booleans())
def test_what_was_rounded_once_stays(seed: int, half: bool) -> None:
    weight = torch.randn(7, 33, generator=torch.Generator().manual_seed(seed))
    once = round_trip(weight.bfloat16() if half else weight)

    assert torch.equal(round_trip(once), once)
    assert not torch.equal(once, weight)


def test_the_largest_weight_of_a_block_stays() -> None:
    weight = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    top = weight.abs().argmax(dim=1, keepdim=True)

    found = round_trip(weight)

    # 64 columns are a block a row. A negative one and a positive one are both numbers of NF4.
    assert torch.equal(found.gather(1, top), weight.gather(1, top))


def test_blocks_do_not_see_each_other() -> None:
    weight = torch.randn(128, generator=torch.Generator().manual_seed(0))
    louder = weight.clone()
    louder[64:] *= 1000

    assert torch.equal(round_trip(louder)[:64], round_trip(weight)[:64])
    assert not torch.equal(round_trip(louder, 128)[:64], round_trip(weight, 128)[:64])


def test_a_weight_keeps_its_shape_type_and_zeros() -> None:
    weight = torch.zeros(3, 5, 7, dtype=torch.bfloat16)

    found = round_trip(weight)

    assert found.shape == weight.shape
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, weight)
    assert round_trip(torch.zeros(0, 4)).shape == (0, 4)


def test_the_weight_itself_is_left_as_it_is() -> None:
    weight = nn.Parameter(torch.randn(8, 8, generator=torch.Generator().manual_seed(0)))
    before = weight.detach().clone()

    found = round_trip(weight)

    assert torch.equal(weight, before)
    assert not found.requires_grad


def test_a_block_has_a_weight() -> None:
    with pytest.raises(ValueError, match="at least one weight"):
        round_trip(torch.ones(3), 0)


class Model(nn.Module):
    """The parts of a language model, with a head that may share the embedding's weight."""

    def __init__(self, tied: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(12, 8)
        self.inner = nn.Linear(8, 8)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 12, bias=False)
        if tied:
            self.head.weight = self.embedding.weight

    def get_output_embeddings(self) -> nn.Module:
        return self.head


class Wrapped(nn.Module):
    """A model inside another module that knows nothing of heads."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside


def changed(before: nn.Module, after: nn.Module) -> set[str]:
    others = after.state_dict()
    return {
        name for name, value in before.state_dict().items() if not torch.equal(value, others[name])
    }


@pytest.mark.parametrize("tied", [False, True])
def test_linear_layers_are_rounded_and_nothing_else(tied: bool) -> None:
    model = Model(tied)
    before = {name: value.clone() for name, value in model.state_dict().items()}

    after = quantised(model)

    assert changed(model, after) == {"inner.weight"}
    inner = after.get_parameter("inner.weight")
    assert torch.equal(inner, round_trip(model.inner.weight))
    assert inner.requires_grad
    assert (after.get_parameter("head.weight") is after.get_parameter("embedding.weight")) == tied
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_head_is_found_inside_other_modules() -> None:
    model = Wrapped(Model(tied=False))

    assert changed(model, quantised(model)) == {"inside.inner.weight"}


def test_a_layer_that_shares_an_embeddings_weight_is_a_head_too() -> None:
    embedding, head = nn.Embedding(12, 8), nn.Linear(8, 12)
    head.weight = embedding.weight
    model = nn.Sequential(embedding, nn.Linear(8, 8), head)

    assert changed(model, quantised(model)) == {"1.weight"}


def test_the_block_is_passed_on() -> None:
    model = Model(tied=False)

    assert torch.equal(
        quantised(model, 4).get_parameter("inner.weight"), round_trip(model.inner.weight, 4)
    )


def test_gpt2s_layers_are_rounded_along_what_they_sum_over() -> None:
    """They keep their weights the other way round: the same function, the same rounding."""
    from transformers.pytorch_utils import Conv1D

    turned, plain = Conv1D(6, 64), nn.Linear(64, 6)
    with torch.no_grad():
        plain.weight.copy_(turned.weight.T)
    found, expected = (quantised(nn.Sequential(layer)) for layer in (turned, plain))

    assert roundable(nn.Sequential(turned))
    assert torch.equal(found.get_parameter("0.weight").T, expected.get_parameter("0.weight"))
    assert not torch.equal(found.get_parameter("0.weight"), turned.weight)


def test_a_model_with_nothing_to_round_is_refused() -> None:
    assert not roundable(nn.Sequential(nn.LayerNorm(3)))
    with pytest.raises(ValueError, match="nothing to quantise"):
        quantised(nn.Sequential(nn.Embedding(3, 4), nn.LayerNorm(4)))


@pytest.mark.parametrize("tied", [False, True])
def test_a_llama_is_rounded_but_for_its_ends(tied: bool) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        tie_word_embeddings=tied,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    names = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

    after = quantised(model)

    found = changed(model, after)
    assert len(found) == 2 * len(names)
    assert {name.split(".")[-2] for name in found} == set(names)
    tokens = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        gap = (after(tokens).logits - model(tokens).logits).abs().max().item()
    assert 0 < gap < math.inf


def test_an_adapter_is_to_be_merged_first() -> None:
    peft = pytest.importorskip("peft")
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    model = transformers.LlamaForCausalLM(config)
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj"]))

    with pytest.raises(ValueError, match="merge it before"):
        quantised(adapted)
    merged = adapted.merge_and_unload()
    assert len(changed(merged, quantised(merged))) == 7
