"""The thread that decodes: it takes jobs from the event loop, and returns their text in pieces."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from unlearn.stages.serving.generation import Generation
from unlearn.stages.serving.openai_errors import ApiError
from unlearn.stages.text.decoding import Decoder, Request, Step
from unlearn.stages.text.streaming import TextStream
from unlearn.stages.text.token_choice import Sampling, Token

_log = logging.getLogger(__name__)

Finish = Literal["stop", "length"]


@dataclass(frozen=True)
class Piece:
    """A part of an answer.

    Parameters
    ----------
    text
        What is new of the text.
    tokens
        The tokens that are new. Their text may only come with a later piece.
    finish
        Why the answer ended; None if it goes on.
    error
        Why there is no answer, or not all of it; nothing follows.
    """

    text: str = ""
    tokens: tuple[Token, ...] = ()
    finish: Finish | None = None
    error: ApiError | None = None

    @property
    def is_last(self) -> bool:
        """Whether nothing follows."""
        return self.finish is not None or self.error is not None


@dataclass(eq=False)
class Job:
    """An answer that is to be generated.

    Parameters
    ----------
    prompt, sampling, route
        As a decoder takes them.
    stops
        Texts that end the answer.
    is_streamed
        Whether pieces are wanted as they come; else there is one, the whole answer.
    deadline
        When it has to be complete, by the monotonic clock (seconds).
    pieces
        What there is of the answer. An answer has a largest number of tokens, and so of pieces.
    started
        When it was made, by the monotonic clock (seconds).
    first
        When its first piece came.
    """

    prompt: list[int]
    sampling: Sampling
    route: int
    stops: tuple[str, ...]
    is_streamed: bool
    deadline: float
    pieces: "asyncio.Queue[Piece]" = field(default_factory=asyncio.Queue, repr=False)
    started: float = field(default_factory=time.monotonic)
    first: float | None = None


class _Text:
    """The answer to a job, token by token."""

    def __init__(self, job: Job, generation: Generation) -> None:
        self.job = job
        self._generation = generation
        # Without stop strings nothing has to be looked at before an answer is complete.
        self._is_followed = job.is_streamed or bool(job.stops)
        self._stream = TextStream(generation.tokenizer, job.stops)
        self._text = ""
        self._tokens: list[Token] = []

    def take(self, step: Step) -> Piece | None:
        """Take a step of the decoder; return what there is to send, if anything."""
        finish: Finish | None = step.finish
        if step.token is not None:
            self._tokens.append(step.token)
            if self._is_followed:
                self._text += self._stream.push(step.token.id)
                finish = "stop" if self._stream.stopped else finish
        if finish is None and not (self.job.is_streamed and self._text):
            return None
        if finish is not None and self._is_followed:
            self._text += self._stream.finish()
        elif finish is not None:
            ids = [token.id for token in self._tokens]
            self._text = self._generation.model.encoder.decode(ids)
        piece = Piece(self._text, tuple(self._tokens), finish)
        self._text, self._tokens = "", []
        return piece


class _Lane:
    """The jobs of one generation, and its decoder."""

    def __init__(self, generation: Generation, slots: int) -> None:
        self.generation = generation
        self._slots = slots
        self.decoder: Decoder = generation.new_decoder(slots)
        self.texts: dict[int, _Text] = {}

    def add(self, job: Job) -> Piece | None:
        """Take a job; return its end, if it has one at once."""
        try:
            number = self.decoder.add(Request(job.prompt, job.sampling, job.route))
        except Exception as error:  # noqa: BLE001 - one request must not end the thread
            return Piece(error=_failed(error))
        self.texts[number] = _Text(job, self.generation)
        return None

    def drop(self, jobs: set[Job]) -> None:
        """Forget jobs."""
        for number, text in list(self.texts.items()):
            if text.job in jobs:
                self.decoder.cancel(number)
                del self.texts[number]

    def step(self) -> list[tuple[Job, Piece]]:
        """Continue all answers by a token."""
        try:
            steps = self.decoder.step()
        except Exception as error:  # noqa: BLE001 - the answers fail, and the server goes on
            failed = _failed(error)
            pieces = [(text.job, Piece(error=failed)) for text in self.texts.values()]
            self.texts = {}
            self.decoder = self.generation.new_decoder(self._slots)
            return pieces
        found = []
        for step in steps:
            text = self.texts.get(step.number)
            piece = None if text is None else text.take(step)
            if text is None or piece is None:
                continue
            found.append((text.job, piece))
            if piece.is_last:
                del self.texts[step.number]
                if step.finish is None:  # a stop string, of which the decoder knows nothing
                    self.decoder.cancel(step.number)
        return found


def _failed(error: Exception) -> ApiError:
    # Its words may be about a request.
    _log.error("decoding failed: %s", type(error).__name__)
    return ApiError(500, "the model failed to answer", code="model_failed")


class Batches:
    """Decodes jobs in a thread of its own.

    Parameters
    ----------
    slots
        Answers that are generated at the same time, by each generation.
    limit
        Answers that are generated or wait.
    deliver
        Called in the event loop with what there is of each answer.
    """

    def __init__(
        self, slots: int, limit: int, deliver: Callable[[Sequence[tuple[Job, Piece]]], None]
    ) -> None:
        self._slots, self._limit, self._deliver = slots, limit, deliver
        self._changed = threading.Condition()
        self._new: list[tuple[Generation, Job]] = []
        self._cancelled: set[Job] = set()
        self._live: set[Job] = set()
        self._lanes: list[_Lane] = []
        self._current: Generation | None = None
        self._ends = self._has_failed = False
        self._thread = threading.Thread(target=self._run_to_the_end, name="decoder", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Start the thread; called in the event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def stop(self) -> None:
        """End the thread; answers that are not complete are dropped."""
        with self._changed:
            self._ends = True
            self._changed.notify()
        self._thread.join()

    @property
    def has_failed(self) -> bool:
        """Whether the thread has ended by an error: nothing is answered any more."""
        return self._has_failed

    @property
    def live(self) -> int:
        """How many answers are generated or wait."""
        return len(self._live)

    @property
    def running(self) -> int:
        """How many answers are being generated."""
        return sum(lane.decoder.running for lane in self._lanes)

    def use(self, generation: Generation) -> None:
        """Keep a decoder of a generation ready, and let go of others when their jobs are done."""
        with self._changed:
            self._current = generation
            self._changed.notify()

    def submit(self, generation: Generation, jobs: Sequence[Job]) -> None:
        """Take jobs, all or none.

        Raises
        ------
        ApiError
            If too many wait already, or the thread has failed.
        """
        with self._changed:
            if self._has_failed:
                raise ApiError(503, "the server cannot answer any more", code="decoder_failed")
            if len(jobs) > self._limit:
                raise ApiError(400, f"more than {self._limit} answers were requested", param="n")
            if len(self._live) + len(jobs) > self._limit:
                raise ApiError(
                    429,
                    "too many requests wait for an answer",
                    code="queue_full",
                    retry_after=1,
                )
            self._live.update(jobs)
            self._new += [(generation, job) for job in jobs]
            self._changed.notify()

    def cancel(self, jobs: Sequence[Job]) -> None:
        """Forget jobs whose answers nobody waits for."""
        with self._changed:
            self._cancelled.update(self._live.intersection(jobs))
            self._changed.notify()

    def _run_to_the_end(self) -> None:
        try:
            self._run()
        except Exception as error:  # noqa: BLE001 - clients that wait get an error, and later ones too
            failed = _failed(error)
            with self._changed:
                self._has_failed = True
                jobs = list(self._live)
            self._give([(job, Piece(error=failed)) for job in jobs])

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._ends or self._is_needed()):
                    self._changed.wait()
                if self._ends:
                    return
                new, self._new = self._new, []
                gone, self._cancelled = self._cancelled, set()
                self._live -= gone
                current = self._current
            if current is not None:
                self._lane(current)
            found = self._take([pair for pair in new if pair[1] not in gone])
            late = self._late()
            self._drop(gone | {job for job, _ in late})
            found += late
            for lane in self._lanes:
                if lane.texts:
                    found += lane.step()
            self._lanes = [lane for lane in self._lanes if lane.texts or lane.generation is current]
            if found:
                self._give(found)

    def _is_needed(self) -> bool:
        """Return whether there is anything to do."""
        return (
            bool(self._new or self._cancelled)
            or any(lane.texts for lane in self._lanes)
            or self._current not in (None, *(lane.generation for lane in self._lanes))
            or len(self._lanes) > 1
        )

    def _lane(self, generation: Generation) -> _Lane:
        """Return the lane of a generation, which is made if there is none."""
        found = next((lane for lane in self._lanes if lane.generation is generation), None)
        if found is None:
            found = _Lane(generation, self._slots)
            self._lanes = [*self._lanes, found]
        return found

    def _take(self, new: Sequence[tuple[Generation, Job]]) -> list[tuple[Job, Piece]]:
        found = []
        for generation, job in new:
            if (piece := self._lane(generation).add(job)) is not None:
                found.append((job, piece))
        return found

    def _late(self) -> list[tuple[Job, Piece]]:
        now = time.monotonic()
        error = ApiError(504, "the request took too long", code="timeout")
        return [
            (text.job, Piece(error=error))
            for lane in self._lanes
            for text in lane.texts.values()
            if text.job.deadline < now
        ]

    def _drop(self, jobs: set[Job]) -> None:
        if jobs:
            for lane in self._lanes:
                lane.drop(jobs)

    def _give(self, found: Sequence[tuple[Job, Piece]]) -> None:
        with self._changed:
            self._live.difference_update(job for job, piece in found if piece.is_last)
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._deliver, found)
