"""The next token of each sequence: the most probable one, or one drawn at random."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from unlearn.stages.errors import InputError

#: A lower temperature is taken for 0: the most probable token would be drawn in any case.
_COLDEST = 1e-4


@dataclass(frozen=True)
class Sampling:
    """How a sequence is continued.

    Parameters
    ----------
    most
        Tokens at most.
    temperature
        What log-probabilities are divided by before a token is drawn; 0 takes the most probable
        token each time.
    top_p
        Only the most probable tokens that have this probability together are drawn from (Holtzman
        et al., "The Curious Case of Neural Text Degeneration", ICLR 2020, section 3.1). It applies
        after the temperature.
    seed
        The same seed draws the same tokens, whatever else is decoded at the time; None draws
        others each time.
    alternatives
        How many of the most probable tokens are returned with each token.
    """

    most: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    alternatives: int = 0

    @property
    def is_greedy(self) -> bool:
        """Whether the most probable token is taken each time."""
        return self.temperature < _COLDEST

    def new_draws(self) -> random.Random:
        """Return the random numbers of a sequence."""
        return random.SystemRandom() if self.seed is None else random.Random(self.seed)  # noqa: S311


@dataclass(frozen=True)
class Token:
    """A token that was chosen.

    Parameters
    ----------
    id
        Its number.
    logprob
        Natural logarithm of its probability, at temperature 1 and among all tokens.
    alternatives
        The most probable tokens with theirs, the most probable first.
    """

    id: int
    logprob: float
    alternatives: tuple[tuple[int, float], ...] = ()


def choose(
    logs: torch.Tensor, samplings: Sequence[Sampling], draws: Sequence[random.Random]
) -> list[Token]:
    """Return the next token of each sequence.

    Parameters
    ----------
    logs
        Log-probabilities, shape (sequences, vocabulary).
    samplings
        How each sequence is continued.
    draws
        The random numbers of each sequence; a sequence that is drawn takes one.

    Raises
    ------
    InputError
        If a model's answers are not numbers.
    """
    if bool(logs.isnan().any()):
        raise InputError("the model's probabilities are not numbers")
    chosen = logs.argmax(dim=-1)
    drawn = [at for at, sampling in enumerate(samplings) if not sampling.is_greedy]
    if drawn:
        chosen[drawn] = _draw(
            logs[drawn], [samplings[at] for at in drawn], [draws[at].random() for at in drawn]
        )
    of_chosen = logs.gather(1, chosen[:, None]).squeeze(1)
    pairs = zip(chosen.tolist(), of_chosen.tolist(), strict=True)
    return [
        Token(int(token), float(logprob), _most_probable(logs[at], samplings[at].alternatives))
        for at, (token, logprob) in enumerate(pairs)
    ]


def _draw(
    logs: torch.Tensor, samplings: Sequence[Sampling], draws: Sequence[float]
) -> torch.Tensor:
    """Return the token that each number from [0, 1) draws, shape (sequences,)."""

    def column(values: Sequence[float]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float64, device=logs.device)[:, None]

    shares = torch.softmax(logs.double() / column([of.temperature for of in samplings]), dim=-1)
    # Equal probabilities keep their order: what is drawn must not depend on the machine.
    shares, places = shares.sort(dim=-1, descending=True, stable=True)
    sums = shares.cumsum(dim=-1)
    # A token is in if those before it have less than top_p: the most probable one always is.
    inside = sums - shares < column([of.top_p for of in samplings])
    inside[:, 0] = True
    last = inside.sum(dim=-1, keepdim=True) - 1
    aim = column(draws) * sums.gather(1, last)
    at = torch.searchsorted(sums, aim, right=True).minimum(last)
    return places.gather(1, at).squeeze(1)


def _most_probable(logs: torch.Tensor, count: int) -> tuple[tuple[int, float], ...]:
    if count == 0:
        return ()
    values, tokens = logs.topk(min(count, len(logs)))
    return tuple(zip(map(int, tokens.tolist()), map(float, values.tolist()), strict=True))
