"""The application: OpenAI's chat completions and completions on the final model."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send
from unlearn.stages.serving.answers import DONE, Answer, Kind, Usage, dumped, error_event
from unlearn.stages.serving.batches import Batches, Finish, Job, Piece
from unlearn.stages.serving.generation import Generation
from unlearn.stages.serving.guard import GONE, KNOWN, App, Guard, too_large
from unlearn.stages.serving.metrics import Metrics
from unlearn.stages.serving.openai_errors import ApiError, too_long
from unlearn.stages.serving.openai_schema import ChatRequest, CompletionRequest, parse
from unlearn.stages.serving.settings import Settings
from unlearn.stages.serving.state import State
from unlearn.stages.text.token_choice import Sampling, Token

#: Tokens of a completion, if the request says nothing, as OpenAI has it.
_COMPLETION_TOKENS = 16

#: Seeds of the answers to one prompt are this far apart.
_SEED_STEP = 1 << 64


class Service:
    """Answers requests.

    Parameters
    ----------
    settings, state, metrics
        How the server is run, what it knows, and what it counts.
    """

    def __init__(self, settings: Settings, state: State, metrics: Metrics) -> None:
        self._settings, self._state, self._metrics = settings, state, metrics
        limits = settings.limits
        self.batches = Batches(limits.slots, limits.answers, self._deliver)
        # One thread: a tokenizer serves one at a time.
        self._encoding = ThreadPoolExecutor(1, thread_name_prefix="encoder")

    @asynccontextmanager
    async def running(self, _app: FastAPI) -> AsyncIterator[None]:
        """Decode, and look for new generations, as long as the block runs."""
        self.batches.start()
        self.batches.use(self._state.generation)
        watch = asyncio.create_task(self._state.watch(self.batches.use))
        try:
            yield
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch
            self.batches.stop()
            self._encoding.shutdown(cancel_futures=True)

    async def chat(self, request: Request) -> Response:
        """Answer a request to /v1/chat/completions."""
        asked = parse(await self._body(request), ChatRequest)
        chat = asked.chat
        return await self._answer(request, asked, "chat", lambda model: [model.chat(chat)])

    async def completion(self, request: Request) -> Response:
        """Answer a request to /v1/completions."""
        asked = parse(await self._body(request), CompletionRequest)
        prompts = asked.prompts
        self._check_number(len(prompts) * asked.count)
        return await self._answer(
            request,
            asked,
            "completion",
            lambda model: [model.completion(prompt) for prompt in prompts],
        )

    async def models(self, _request: Request) -> Response:
        """Answer a request to /v1/models."""
        return JSONResponse({"object": "list", "data": [self._model()]})

    async def model(self, request: Request) -> Response:
        """Answer a request to /v1/models/NAME."""
        self._check_name(request.path_params["name"])
        return JSONResponse(self._model())

    async def health(self, request: Request) -> Response:
        """Answer a request to /health; without the token, in one word."""
        found = self._state.health()
        has_failed = self.batches.has_failed
        if has_failed:
            found["status"] = "failed"
        if not request.scope[KNOWN]:
            found = {"status": found["status"]}
        return JSONResponse(found, 503 if self._state.is_stale or has_failed else 200)

    async def metrics(self, _request: Request) -> Response:
        """Answer a request to /metrics."""
        batches, state = self.batches, self._state
        live, running = batches.live, batches.running
        gauges = {
            "unlearn_answers_running": ("Answers that are generated", float(running)),
            "unlearn_answers_waiting": ("Answers that wait", float(max(0, live - running))),
            "unlearn_pending_requests": (
                "Lines of the forget list that the model does not honour",
                float(state.pending.count),
            ),
            "unlearn_oldest_pending_seconds": ("Age of the oldest one", state.pending.age()),
            "unlearn_stale": ("Whether nothing is answered for that reason", float(state.is_stale)),
            "unlearn_reload_failed": (
                "Whether a new generation was committed and cannot be used",
                float(state.failure is not None),
            ),
        }
        admitted = state.generation.admitted
        labels = (
            ("model", self._settings.name),
            ("generation", admitted.generation),
            ("verdict", admitted.verdict),
        )
        return PlainTextResponse(self._metrics.text(gauges, labels))

    def _model(self) -> dict[str, Any]:
        admitted = self._state.generation.admitted
        return {
            "id": self._settings.name,
            "object": "model",
            "created": self._state.generation.loaded,
            "owned_by": "unlearn",
            "generation": admitted.generation,
            "verdict": admitted.verdict,
            "label": admitted.label,
            "lines_honoured": len(admitted.lines),
        }

    async def _body(self, request: Request) -> bytes:
        """Return the body of a request.

        Raises
        ------
        ApiError
            If it is too long, or comes too slowly.
        """
        limits = self._settings.limits
        body = bytearray()
        try:
            async with asyncio.timeout(limits.client_seconds):
                while True:
                    message = await request.receive()
                    if message["type"] == "http.disconnect":
                        raise ConnectionAbortedError
                    body += message.get("body", b"")
                    if len(body) > limits.body:
                        raise too_large(limits.body)
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise ApiError(408, "the body of the request came too slowly") from None

    async def _answer(
        self,
        request: Request,
        asked: ChatRequest | CompletionRequest,
        kind: Kind,
        encode: Callable[[Generation], list[list[int]]],
    ) -> Response:
        self._state.refuse_stale()
        self._check_name(asked.model)
        self._check_number(asked.count)
        generation = self._state.generation
        started = time.monotonic()
        route = generation.route(asked.topic)
        loop = asyncio.get_running_loop()
        prompts = await loop.run_in_executor(self._encoding, encode, generation)
        jobs = [
            self._job(generation, asked, prompt, kind, route, number, started)
            for prompt in prompts
            for number in range(asked.count)
        ]
        usage = Usage(prompt=sum(map(len, prompts)))
        answer = Answer(kind, generation, self._settings.name, asked.alternatives, asked.has_usage)
        self.batches.submit(generation, jobs)
        self._metrics.tokens["prompt"] += usage.prompt
        if asked.stream:
            return _Stream(self.batches, jobs, answer, usage)
        try:
            return await self._whole(request, jobs, answer, usage)
        finally:
            self.batches.cancel(jobs)

    def _job(
        self,
        generation: Generation,
        asked: ChatRequest | CompletionRequest,
        prompt: list[int],
        kind: Kind,
        route: int,
        number: int,
        started: float,
    ) -> Job:
        room, limits = generation.context - len(prompt), self._settings.limits
        most = asked.most
        if room < 1 or (most is not None and most > room):
            raise too_long(generation.context, len(prompt), most)
        if most is not None and most > limits.tokens:
            raise ApiError(
                400, f"an answer has at most {limits.tokens:,} tokens here", param="max_tokens"
            )
        if most is None:
            most = min(room, _COMPLETION_TOKENS if kind == "completion" else limits.tokens)
        temperature = 1.0 if asked.temperature is None else asked.temperature
        sampling = Sampling(
            most,
            # Of the most probable tokens with a share of 0 there is one.
            temperature=0.0 if asked.top_p == 0 else temperature,
            top_p=asked.top_p or 1.0,
            seed=None if asked.seed is None else asked.seed + number * _SEED_STEP,
            alternatives=asked.alternatives or 0,
        )
        deadline = started + limits.seconds
        return Job(prompt, sampling, route, asked.stops, bool(asked.stream), deadline)

    async def _whole(
        self, request: Request, jobs: Sequence[Job], answer: Answer, usage: Usage
    ) -> Response:
        gone = asyncio.create_task(_gone(request.receive))
        pieces = asyncio.create_task(_whole_answers(jobs))
        try:
            await asyncio.wait((gone, pieces), return_when=asyncio.FIRST_COMPLETED)
            if not pieces.done():
                return Response(status_code=GONE)
            choices: list[tuple[str, Sequence[Token], Finish]] = []
            for piece in pieces.result():
                if piece.error is not None or piece.finish is None:
                    raise piece.error or ApiError(500, "unexpected error")
                choices.append((piece.text, piece.tokens, piece.finish))
                usage.completion += len(piece.tokens)
        finally:
            gone.cancel()
            pieces.cancel()
        return Response(dumped(answer.whole(choices, usage)), media_type="application/json")

    def _deliver(self, found: Sequence[tuple[Job, Piece]]) -> None:
        now = time.monotonic()
        for job, piece in found:
            self._metrics.tokens["completion"] += len(piece.tokens)
            if job.first is None and job.is_streamed:
                job.first = now
                self._metrics.first_token.add(now - job.started)
            if piece.is_last:
                self._metrics.seconds.add(now - job.started)
            job.pieces.put_nowait(piece)

    def _check_name(self, name: str) -> None:
        if name != self._settings.name:
            raise ApiError(
                404,
                f"there is no such model: the model here is {self._settings.name}",
                code="model_not_found",
                param="model",
            )

    def _check_number(self, answers: int) -> None:
        if answers > self._settings.limits.answers:
            raise ApiError(
                400,
                f"a request has at most {self._settings.limits.answers:,} answers here",
                param="n",
            )


class _Stream(Response):
    """The events of a stream; a client that goes away ends its jobs."""

    media_type = "text/event-stream"

    def __init__(self, batches: Batches, jobs: Sequence[Job], answer: Answer, usage: Usage) -> None:
        super().__init__(headers={"cache-control": "no-store"})
        del self.headers["content-length"]
        self._batches, self._jobs, self._answer, self._usage = batches, jobs, answer, usage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all events."""
        del scope
        gone = asyncio.create_task(_gone(receive))
        sending = asyncio.create_task(self._send_all(send))
        try:
            await asyncio.wait((gone, sending), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
            else:
                raise ConnectionAbortedError
        finally:
            self._batches.cancel(self._jobs)
            for task in (gone, sending):
                task.cancel()
            await asyncio.gather(gone, sending, return_exceptions=True)

    async def _send_all(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        events = [self._answer.opening(index) for index in range(len(self._jobs))]
        await _send_part(send, b"".join(event for event in events if event is not None))
        async for event in self._events():
            await _send_part(send, event)
        await send({"type": "http.response.body", "body": b""})

    async def _events(self) -> AsyncIterator[bytes]:
        merged: asyncio.Queue[tuple[int, Piece]] = asyncio.Queue(len(self._jobs))
        readers = [
            asyncio.create_task(_read(index, job, merged)) for index, job in enumerate(self._jobs)
        ]
        try:
            for _ in range(len(self._jobs)):
                is_last = False
                while not is_last:
                    index, piece = await merged.get()
                    is_last = piece.is_last
                    if piece.error is not None:
                        yield error_event(piece.error.as_json())
                        return
                    yield self._event(index, piece)
        finally:
            for reader in readers:
                reader.cancel()
        if self._answer.has_usage:
            yield self._answer.usage(self._usage)
        yield DONE

    def _event(self, index: int, piece: Piece) -> bytes:
        self._usage.completion += len(piece.tokens)
        event = b""
        if piece.text or piece.tokens:
            event = self._answer.part(index, piece.text, piece.tokens)
        return event if piece.finish is None else event + self._answer.end(index, piece.finish)


async def _whole_answers(jobs: Sequence[Job]) -> list[Piece]:
    """Return the answers of jobs that are not streamed: each has one piece."""
    return [await job.pieces.get() for job in jobs]


async def _read(index: int, job: Job, merged: "asyncio.Queue[tuple[int, Piece]]") -> None:
    while True:
        piece = await job.pieces.get()
        await merged.put((index, piece))
        if piece.is_last:
            return


async def _send_part(send: Send, part: bytes) -> None:
    if part:
        await send({"type": "http.response.body", "body": part, "more_body": True})


async def _gone(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _refused(_request: Request, error: Exception) -> Response:
    if isinstance(error, ApiError):
        close = {"connection": "close"} if error.status in (408, 413) else {}
        return JSONResponse(error.as_json(), error.status, headers=error.headers | close)
    status = error.status_code if isinstance(error, HTTPException) else 500
    known = {404: "there is no such address", 405: "this address has another method"}
    return JSONResponse(
        ApiError(status, known.get(status, "the request is not valid")).as_json(), status
    )


def make_app(settings: Settings, state: State, metrics: Metrics) -> App:
    """Return the application.

    Parameters
    ----------
    settings, state, metrics
        As `Service` takes them.
    """
    service = Service(settings, state, metrics)
    # No page of documentation: it would load scripts from elsewhere.
    app = FastAPI(openapi_url=None, lifespan=service.running, redirect_slashes=False)
    app.add_exception_handler(ApiError, _refused)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Exception, _refused)
    app.add_route("/v1/chat/completions", service.chat, ["POST"])
    app.add_route("/v1/completions", service.completion, ["POST"])
    app.add_route("/v1/models", service.models, ["GET"])
    app.add_route("/v1/models/{name:path}", service.model, ["GET"])
    app.add_route("/health", service.health, ["GET"])
    app.add_route("/metrics", service.metrics, ["GET"])
    return Guard(app, settings, metrics)
