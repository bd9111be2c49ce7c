"""Sampling: what is drawn, and where it ends."""

import torch
from unlearn.stages.text.generation import greedy
from unlearn.stages.text.sampling import Draw, sample

END = 0


def forward(inputs: torch.Tensor) -> torch.Tensor:
    """Answer by the last two tokens alone; token v is about as probable as any other."""
    table = torch.randn(7, 7, 7, generator=torch.Generator().manual_seed(3))
    before = torch.nn.functional.pad(inputs[:, :-1], (1, 0), value=END)
    return table[before, inputs]


def drawing(seed: int, top: int = 7, temperature: float = 1.0) -> Draw:
    return Draw(torch.Generator().manual_seed(seed), top, temperature)


def drawn(draw: Draw, prompts: list[list[int]], most: list[int]) -> list[list[int]]:
    return sample(forward, prompts, draw, end=END, most=most, context=30)


def test_the_most_probable_token_alone_is_greedy() -> None:
    prompts = [[1], [2, 3, 4], [5, 6], [3, 3]]
    plain = greedy(forward, prompts, end=END, most=6, context=30)

    assert drawn(drawing(1, top=1), prompts, [6] * 4) == plain


def test_each_prompt_has_its_own_limit_and_none_passes_the_context() -> None:
    found = sample(forward, [[1], [1], [1, 2, 3, 4]], drawing(2), end=-1, most=[3, 9, 9], context=6)

    assert [len(tokens) for tokens in found] == [3, 5, 2]
    assert drawn(drawing(2), [[1]], [0]) == [[]]


def test_tokens_are_drawn_by_their_probability_among_the_most_probable() -> None:
    logits = torch.tensor([[1.0, 0.0, -1.0, -9.0]]).repeat(20_000, 1)
    tokens = torch.tensor(drawing(4, top=3, temperature=2.0).tokens(logits))
    shares = torch.softmax(torch.tensor([0.5, 0.0, -0.5]), dim=0)

    assert int(tokens.max()) == 2
    found = torch.bincount(tokens) / len(tokens)
    assert torch.allclose(found, shares, atol=0.015), "about four standard deviations"


def test_the_same_generator_draws_the_same_texts() -> None:
    prompts = [[1, 2], [3]]
    first, again, other = (drawn(drawing(seed), prompts, [8, 8]) for seed in (5, 5, 6))

    assert first == again
    assert first != other
