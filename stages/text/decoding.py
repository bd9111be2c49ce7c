"""Continuous batching: many requests are continued together, token by token, and come and go."""

import random
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from unlearn.stages.errors import InputError
from unlearn.stages.text.decoded_model import DecodedModel
from unlearn.stages.text.decoding_batch import open_batch
from unlearn.stages.text.token_choice import Sampling, Token, choose

if TYPE_CHECKING:
    import torch

#: Why a text ended: at a token that ends texts, or at the largest number of tokens.
Finish = Literal["stop", "length"]

#: Tokens of prompts that are read in one step, padding and all adapters included: a long prompt
#: must not hold up the texts that are running for long.
_PROMPT_TOKENS = 2048


class Decodable(Protocol):
    """A model that a Decoder reads."""

    @property
    def decoded(self) -> DecodedModel:
        """What decoding takes of it."""


@dataclass(frozen=True)
class Request:
    """A prompt to be continued.

    Parameters
    ----------
    prompt
        Its tokens, at least one.
    sampling
        How it is continued.
    route
        Number of the member that answers, where the model is routed.
    """

    prompt: list[int]
    sampling: Sampling
    route: int = 0


@dataclass(frozen=True)
class Step:
    """What a step did for a request.

    Parameters
    ----------
    number
        The request's number.
    token
        The next token of its text; None if the text ended without another one.
    finish
        Why the text ended; None if it goes on.
    """

    number: int
    token: Token | None
    finish: Finish | None = None


@dataclass
class _Running:
    number: int
    request: Request
    left: int
    draws: random.Random = field(repr=False)
    last: int = -1


class Decoder:
    """Continues the prompts of many requests in one batch.

    A request joins the batch as soon as a slot is free, and leaves it at the end of its text. Each
    step reads one token of every text, by all adapters in one forward pass. What a text is does not
    depend on the others, up to the rounding of sums in another order.

    It is not safe for several threads: one thread calls it.

    Parameters
    ----------
    model
        The model.
    slots
        Number of requests that are continued at the same time, at least 1.

    Examples
    --------
    >>> from pathlib import Path
    >>> from unlearn.stages.final_model.text_loading import load_language_model
    >>> decoder = Decoder(load_language_model("models/final_model", Path()), slots=8)
    >>> number = decoder.add(Request([1, 5, 9], Sampling(most=4)))
    >>> steps = []
    >>> while decoder.waiting or decoder.running:
    ...     steps += decoder.step()
    >>> steps[-1].finish in ("stop", "length")
    True
    """

    def __init__(self, model: Decodable, slots: int) -> None:
        if slots < 1:
            raise ValueError("a decoder needs at least one slot")
        self._model = model.decoded
        self._slots = slots
        self._batch = open_batch(self._model)
        self._waiting: deque[_Running] = deque()
        self._running: list[_Running] = []
        self._count = 0

    @property
    def waiting(self) -> int:
        """How many requests wait for a slot."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How many requests are being continued."""
        return len(self._running)

    def room(self, prompt: Sequence[int]) -> int:
        """Return how many tokens fit behind a prompt; below 1 it cannot be continued."""
        return self._model.context - len(prompt)

    def add(self, request: Request) -> int:
        """Take a request; return its number, which its steps have.

        Raises
        ------
        InputError
            If the prompt is empty, or leaves no room for another token.
        """
        if not request.prompt:
            raise InputError("the prompt is empty")
        room = self.room(request.prompt)
        if room < 1:
            raise InputError(
                f"the prompt has {len(request.prompt):,} tokens, and the context has "
                f"{self._model.context:,}, one of which is for the answer"
            )
        self._count += 1
        left = min(request.sampling.most, room)
        draws = request.sampling.new_draws()
        self._waiting.append(_Running(self._count, request, left, draws))
        return self._count

    def cancel(self, number: int) -> None:
        """Forget a request, wherever it is; one that has ended is none any more."""
        self._waiting = deque(each for each in self._waiting if each.number != number)
        self._drop({number})

    def step(self) -> list[Step]:
        """Continue every running text by one token, and start requests that wait.

        Raises
        ------
        InputError
            If the model's probabilities are not numbers; every running request is forgotten.
        """
        try:
            found = self._continue()
            return found + self._start()
        except Exception:
            self._drop({each.number for each in self._running})
            raise

    def _continue(self) -> list[Step]:
        if not self._running:
            return []
        logs = self._batch.advance([each.last for each in self._running])
        found = self._chosen(logs, self._running)
        self._drop({step.number for step in found if step.finish})
        return found

    def _start(self) -> list[Step]:
        found = []
        started: list[_Running] = []
        longest = 0
        while self._waiting and len(self._running) + len(started) < self._slots:
            first = self._waiting[0]
            longest = max(longest, len(first.request.prompt))
            tokens = longest * (len(started) + 1) * self._model.copies
            if started and tokens > _PROMPT_TOKENS:
                break
            self._waiting.popleft()
            if first.left == 0:
                found.append(Step(first.number, None, "length"))
            else:
                started.append(first)
        if started:
            requests = [each.request for each in started]
            self._running += started
            logs = self._batch.admit(
                [request.prompt for request in requests], [request.route for request in requests]
            )
            found += self._chosen(logs, started)
            self._drop({step.number for step in found if step.finish})
        return found

    def _chosen(self, logs: "torch.Tensor", texts: Sequence[_Running]) -> list[Step]:
        tokens = choose(
            logs, [each.request.sampling for each in texts], [each.draws for each in texts]
        )
        found = []
        for each, token in zip(texts, tokens, strict=True):
            if token.id in self._model.ends:
                found.append(Step(each.number, None, "stop"))
                continue
            each.last = token.id
            each.left -= 1
            found.append(Step(each.number, token, None if each.left else "length"))
        return found

    def _drop(self, numbers: set[int]) -> None:
        kept = [at for at, each in enumerate(self._running) if each.number not in numbers]
        if len(kept) < len(self._running):
            self._batch.keep(kept)
            self._running = [self._running[at] for at in kept]


def decode_all(decoder: Decoder, requests: Iterable[Request]) -> list[list[Token]]:
    """Return the continuation of each request, in their order.

    Raises
    ------
    InputError
        As `Decoder.add` and `Decoder.step` do.
    """
    numbers = [decoder.add(request) for request in requests]
    texts: dict[int, list[Token]] = {number: [] for number in numbers}
    while decoder.waiting or decoder.running:
        for step in decoder.step():
            if step.token is not None:
                texts[step.number].append(step.token)
    return [texts[number] for number in numbers]
