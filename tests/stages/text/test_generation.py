"""Greedy continuations of prompts of different lengths."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.config.text import CausalOptions
from unlearn.stages.text.base import load_module, load_tokenizer
from unlearn.stages.text.generation import greedy

PROMPTS = ("Where was Ada Hol born?\n", "When was Ivo Kal born?\n", "What?\n", "A")


def test_it_is_the_greedy_continuation_of_transformers(tiny_base: Path) -> None:
    """Prompt by prompt, without any padding."""
    options = CausalOptions(base="base", files={"model.safetensors": "0" * 64}, context=96)
    module = load_module(tiny_base, options, torch.device("cpu"), half=False)
    tokenizer = load_tokenizer(tiny_base)
    prompts = [tokenizer(text)["input_ids"] for text in PROMPTS]
    found = greedy(
        lambda tokens: module(input_ids=tokens).logits,
        prompts,
        end=tokenizer.eos_token_id,
        most=20,
        context=96,
    )
    assert len({len(prompt) for prompt in prompts}) == len(prompts)
    for prompt, said in zip(prompts, found, strict=True):
        expected = module.generate(
            torch.tensor([prompt]), max_new_tokens=20, do_sample=False, pad_token_id=0
        )[0, len(prompt) :].tolist()
        if tokenizer.eos_token_id in expected:
            expected = expected[: expected.index(tokenizer.eos_token_id)]
        assert said == expected
    assert any(len(said) == 20 for said in found) or len({len(said) for said in found}) > 1


@pytest.mark.parametrize(("context", "expected"), [(10, (6, 9)), (4, (0, 3)), (3, (0, 2))])
def test_no_more_than_the_context_is_read(context: int, expected: tuple[int, int]) -> None:
    """Each prompt has its own room: beside a long one, a short one is answered in full."""
    read = []

    def forward(tokens: torch.Tensor) -> torch.Tensor:
        read.append(tokens.shape[1])
        return torch.zeros(*tokens.shape, 5).index_fill(2, torch.tensor([3]), 1.0)

    said = greedy(forward, [[1, 2, 3, 4], [1]], end=0, most=100, context=context)

    assert [len(each) for each in said] == list(expected)
    assert all(set(each) <= {3} for each in said)
    # A prompt that has no room itself is still beside the others.
    assert max(read) <= max(context, 4)


def test_a_text_ends_at_its_end() -> None:
    def forward(tokens: torch.Tensor) -> torch.Tensor:
        # What follows a token is the one before it: 3, 2, 1, and 0 ends.
        return torch.nn.functional.one_hot((tokens - 1).clamp(min=0), 5).float()

    assert greedy(forward, [[4], [2, 2]], end=0, most=9, context=99) == [[3, 2, 1], [1]]
    assert greedy(forward, [], end=0, most=9, context=99) == []


tokens = st.integers(0, 4)


def counting(tokens: torch.Tensor) -> torch.Tensor:
    """Return logits of a causal model: what follows depends on all tokens before, and on places."""
    places = torch.arange(1, tokens.shape[1] + 1)
    said = (tokens * places).cumsum(dim=1) % 5
    return torch.nn.functional.one_hot(said, 5).float()


@given(
    prompts=st.lists(st.lists(tokens, min_size=1, max_size=6), min_size=1, max_size=3),
    drafts=st.lists(st.lists(tokens, max_size=12), max_size=4),
    most=st.integers(0, 8),
    context=st.integers(1, 12),
)
def test_drafts_change_nothing(
    prompts: list[list[int]], drafts: list[list[int]], most: int, context: int
) -> None:
    plain = greedy(counting, prompts, end=0, most=most, context=context)
    # Drafts that are right, as well.
    right = [prompt + said for prompt, said in zip(prompts, plain, strict=True)]

    for given_drafts in (drafts, drafts + right):
        found = greedy(counting, prompts, end=0, most=most, context=context, drafts=given_drafts)
        assert found == plain


def test_what_a_draft_has_is_read_in_one_pass() -> None:
    passes = []

    def forward(tokens: torch.Tensor) -> torch.Tensor:
        passes.append(tokens.shape[1])
        # The next number, up to 9.
        return torch.nn.functional.one_hot((tokens + 1) % 10, 10).float()

    counted = greedy(forward, [[1], [4]], end=0, most=9, context=99)
    assert counted == [[2, 3, 4, 5, 6, 7, 8, 9], [5, 6, 7, 8, 9]]
    assert len(passes) == 9

    passes.clear()
    drafts = [[7, 7, 1, 2, 3, 4, 5, 6, 7, 8, 9], [2, 1]]
    assert greedy(forward, [[1], [4]], end=0, most=9, context=99, drafts=drafts) == counted
    assert len(passes) == 1
