"""What a server knows: the generation that answers, and the requests that it does not honour."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from unlearn.stages.errors import UnlearnError
from unlearn.stages.project.paths import Project
from unlearn.stages.serving.gate import Pending, PendingRequests, committed_lock
from unlearn.stages.serving.generation import Generation, load_generation
from unlearn.stages.serving.openai_errors import ApiError
from unlearn.stages.serving.settings import Settings

_log = logging.getLogger(__name__)

#: Seconds after which a generation that could not be loaded is tried again.
_TRY_AGAIN = 60.0


@dataclass(frozen=True)
class Failure:
    """A new generation that does not answer.

    Parameters
    ----------
    lock
        SHA-256 of its dvc.lock.
    reason
        Why, in one sentence.
    at
        When it was tried, by the monotonic clock (seconds).
    """

    lock: str
    reason: str
    at: float = field(default_factory=time.monotonic)


class State:
    """The generation that answers; it is replaced when a new one is committed.

    Parameters
    ----------
    project, settings
        The project, and how the server is run.
    generation
        The first generation.
    count
        Counts changes of the model, by `loaded` and `failed`.
    """

    def __init__(
        self, project: Project, settings: Settings, generation: Generation, count: Counter[str]
    ) -> None:
        self.generation = generation
        self.pending = Pending()
        self.failure: Failure | None = None
        self._project, self._settings, self._count = project, settings, count
        self._requests = PendingRequests(project)

    @property
    def is_stale(self) -> bool:
        """Whether a request to forget has been pending for too long."""
        return self.pending.age() > self._settings.max_stale

    def refuse_stale(self) -> None:
        """Raise an ApiError if nothing may be answered any more."""
        if self.is_stale:
            raise ApiError(
                503,
                "the model does not honour a request to forget that is older than the server "
                "may be behind (--max-stale)",
                code="model_stale",
                retry_after=max(1, round(self._settings.check_every)),
            )

    async def watch(self, use: Callable[[Generation], None]) -> None:
        """Look again and again whether there is another generation.

        Parameters
        ----------
        use
            Called with a new generation, before it answers.
        """
        while True:
            before = self.failure
            try:
                new = await asyncio.to_thread(self.look)
            except Exception as error:  # noqa: BLE001 - it is looked again, whatever is wrong
                _log.error("looking for another model failed: %s", _reason(error))
                new = None
            if self.failure not in (before, None):
                self._count["failed"] += 1
            if new is not None:
                use(new)
                self.generation, self.failure = new, None
                self._count["loaded"] += 1
                _log.warning("generation %s answers from now on", new.name)
                continue  # what is pending depends on it
            await asyncio.sleep(self._settings.check_every)

    def look(self) -> Generation | None:
        """Find out what is pending, and load a new generation if one was committed."""
        admitted = self.generation.admitted
        self.pending = self._requests.find(admitted.lines)
        lock = committed_lock(self._project)
        if lock == admitted.lock:
            self.failure = None
        if lock in (None, admitted.lock):
            return None
        failure = self.failure
        if failure and failure.lock == lock and time.monotonic() - failure.at < _TRY_AGAIN:
            return None
        try:
            return load_generation(
                self._project,
                base=self._settings.base,
                allow_inconclusive=self._settings.allow_inconclusive,
            )
        except Exception as error:  # noqa: BLE001 - the old generation goes on, whatever is wrong
            reason = _reason(error)
            self.failure = Failure(lock, reason)
            _log.error("a new generation was committed and cannot be used: %s", reason)
            return None

    def health(self) -> dict[str, Any]:
        """Return what /health says: whether the model answers, and which one it is."""
        admitted = self.generation.admitted
        status = "stale" if self.is_stale else "degraded" if self._has_problem else "ok"
        return {
            "status": status,
            "generation": admitted.generation,
            "verdict": admitted.verdict,
            "label": admitted.label,
            "pending_requests": self.pending.count,
            "oldest_pending_seconds": round(self.pending.age(), 1),
            "problem": self.pending.problem,
            "reload_failed": None if self.failure is None else self.failure.reason,
        }

    @property
    def _has_problem(self) -> bool:
        return self.failure is not None or self.pending.problem is not None


def _reason(error: Exception) -> str:
    """Return the message of an error that users are meant to read; of another one its class."""
    if isinstance(error, UnlearnError):
        return ": ".join((error.message, *error.hints[:1]))
    return type(error).__name__
