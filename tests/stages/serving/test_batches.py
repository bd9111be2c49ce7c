"""The thread that decodes: generations change under it, and failures stay with their requests."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, cast

import pytest
from unlearn.stages.project.paths import Project
from unlearn.stages.serving.batches import Batches, Job, Piece
from unlearn.stages.serving.generation import Generation, load_generation
from unlearn.stages.serving.openai_errors import ApiError
from unlearn.stages.text.token_choice import Sampling

from tests.conftest import Repo

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def generations(project: Repo) -> tuple[Generation, Generation]:
    """Return two generations of one model."""
    where = Project(Path(project.root))
    return load_generation(where), load_generation(where)


def job(prompt: Sequence[int], most: int = 40, seconds: float = 60.0) -> Job:
    """Return a job."""
    sampling = Sampling(most)
    return Job(list(prompt), sampling, 0, (), False, time.monotonic() + seconds)


def deliver(found: Sequence[tuple[Job, Piece]]) -> None:
    """Give pieces to those who wait."""
    for each, piece in found:
        each.pieces.put_nowait(piece)


def test_a_change_of_the_model_drops_no_request(
    generations: tuple[Generation, Generation],
) -> None:
    first, second = generations

    async def run() -> None:
        batches = Batches(2, 20, deliver)
        batches.start()
        batches.use(first)
        jobs = [job([1, 40 + number]) for number in range(6)]
        batches.submit(first, jobs)
        batches.use(second)
        others = [job([1, 40 + number]) for number in range(6)]
        batches.submit(second, others)
        found = [await each.pieces.get() for each in (*jobs, *others)]
        assert all(piece.finish for piece in found)
        assert [piece.text for piece in found[:6]] == [piece.text for piece in found[6:]]
        while len(batches._lanes) > 1:  # noqa: SLF001 - the old model is let go
            await asyncio.sleep(0.01)
        assert batches._lanes[0].generation is second  # noqa: SLF001
        batches.stop()

    asyncio.run(asyncio.wait_for(run(), 60))


def test_late_and_failing_requests_end_alone(
    generations: tuple[Generation, Generation],
) -> None:
    generation, _ = generations

    async def run() -> None:
        batches = Batches(4, 4, deliver)
        batches.start()
        late, fails, well = job([1, 40], 400, 0.0), job([]), job([1, 41])
        batches.submit(generation, [late, fails, well])
        with pytest.raises(ApiError) as caught:
            batches.submit(generation, [job([1]), job([1])])
        found = [await each.pieces.get() for each in (late, fails, well)]
        errors = [piece.error.status if piece.error else None for piece in found]
        assert (errors, caught.value.status) == ([504, 500, None], 429)
        gone = job([1, 42], 400)
        batches.submit(generation, [gone])
        batches.cancel([gone])
        while batches.live or batches.running:
            await asyncio.sleep(0.01)
        batches.stop()

    asyncio.run(asyncio.wait_for(run(), 60))


class _Ruined:
    """A generation that no decoder can be made of."""

    def new_decoder(self, _slots: int) -> NoReturn:
        raise MemoryError


def test_a_thread_that_fails_answers_who_waits_and_refuses_others(
    generations: tuple[Generation, Generation],
) -> None:
    generation, _ = generations

    async def run() -> None:
        batches = Batches(2, 20, deliver)
        batches.start()
        waiting = job([1, 40], 400)
        batches.submit(generation, [waiting])
        batches.use(cast("Generation", _Ruined()))
        piece = await waiting.pieces.get()
        assert (piece.error.status if piece.error else None) == 500
        assert batches.has_failed
        with pytest.raises(ApiError) as caught:
            batches.submit(generation, [job([1, 41])])
        assert caught.value.status == 503
        batches.stop()

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_routed_model_needs_a_topic(
    generations: tuple[Generation, Generation], monkeypatch: pytest.MonkeyPatch
) -> None:
    generation, _ = generations
    assert generation.route(None) == generation.route("born") == 0
    monkeypatch.setattr(generation.model, "rule", "route")

    assert {generation.route(topic) for topic in ("born", "books", "prize", "city")} == {0, 1}
    with pytest.raises(ApiError, match="by topic") as caught:
        generation.route(None)
    assert caught.value.status == 400
