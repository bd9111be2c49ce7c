"""Greedy continuations of prompts of different lengths."""

from pathlib import Path

import pytest
import torch
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
