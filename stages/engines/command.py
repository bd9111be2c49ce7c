"""The engine `command`: a command trains each shard, wherever it likes, over a shared folder."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from unlearn.stages.context import Context
from unlearn.stages.engines import launch
from unlearn.stages.engines.failures import error_of_json
from unlearn.stages.engines.job_files import (
    Order,
    Outcome,
    jobs_folder,
    log_file,
    result_file,
)
from unlearn.stages.engines.node import DVC_VARIABLE, JOB_VARIABLE
from unlearn.stages.engines.protocol import Note
from unlearn.stages.engines.remote import PATIENCE, Job, Losses, accept, up_to_date
from unlearn.stages.engines.template import Template, search_path
from unlearn.stages.project.paths import Project
from unlearn.stages.train.stage import Trained
from unlearn.stages.training.environment import environment

#: How often the driver gives a sign of life, in seconds; see `node.SILENCE`.
SIGN_OF_LIFE = 15.0

#: How often it looks whether commands have ended, in seconds.
_LOOK = 0.05

#: How long a command may take to end when it is asked to, in seconds.
_GRACE = 5.0


@dataclass
class _Attempt:
    """A command that was started for a shard."""

    order: Order
    process: subprocess.Popen[bytes]
    ended: float | None = None

    @property
    def job(self) -> Job:
        return self.order.job


class CommandEngine:
    """Starts a command for each shard, and waits until it ends.

    Parameters
    ----------
    template
        The command. It ends when the training has ended; its standard output and error go to
        `.unlearn/jobs/SHARD.log`.
    jobs
        How many commands may run at a time.
    note
        Told of trainings that were lost.
    patience
        Seconds to wait for files of a command that has ended.
    """

    def __init__(
        self, template: Template, jobs: int, note: Note, *, patience: float = PATIENCE
    ) -> None:
        self._template = template
        self._jobs = jobs
        self._note = note
        self._patience = patience
        self._project: Project | None = None
        self._running: list[_Attempt] = []
        self._signed = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self._end_all()
        if self._project is not None:
            _clear(self._project)

    def train(self, context: Context, shards: Sequence[str]) -> Iterator[Trained]:
        """Train shards; see `Engine.train`."""
        self._prepare(context)
        losses = Losses(self._note)
        facts = environment(context.params.train)
        waiting = deque(shards)
        try:
            while waiting or self._running:
                while waiting and len(self._running) < self._jobs:
                    shard = waiting.popleft()
                    if (done := up_to_date(context, shard, facts)) is not None:
                        yield done
                    else:
                        self._running.append(self._started(context, shard, facts))
                self._sign()
                for attempt, outcome in self._ended(context.project):
                    if outcome is not None and outcome.result is not None:
                        yield accept(context, attempt.job, outcome.result, patience=self._patience)
                    elif outcome is not None and outcome.error is not None:
                        raise error_of_json(outcome.error)
                    else:
                        _count(losses, context.project, attempt, outcome)
                        waiting.appendleft(attempt.job.shard)
                time.sleep(_LOOK)
        finally:
            self._end_all()

    def _prepare(self, context: Context) -> None:
        if self._project is None:
            self._project = context.project
            jobs_folder(context.project).mkdir(parents=True, exist_ok=True)
            _clear(context.project)
            for log in jobs_folder(context.project).glob("*.log"):
                log.unlink()

    def _started(self, context: Context, shard: str, facts: dict[str, str]) -> _Attempt:
        project = context.project
        result_file(project, shard).unlink(missing_ok=True)
        alive = jobs_folder(project) / f"{shard}-{secrets.token_hex(4)}.alive"
        order = Order(Job.of(context, shard, facts), alive)
        order.write(project)
        words = self._template.fill(shard, project.root)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        log = os.open(log_file(project, shard), flags, 0o600)
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), *words],
                cwd=project.root,
                env=_environment(alive),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # what it starts can be ended with it
            )
        finally:
            os.close(log)
        return _Attempt(order, process)

    def _sign(self) -> None:
        """Let the nodes know that this process is alive."""
        if time.monotonic() - self._signed >= SIGN_OF_LIFE:
            for attempt in self._running:
                with suppress(FileNotFoundError):
                    os.utime(attempt.order.alive)
            self._signed = time.monotonic()

    def _ended(self, project: Project) -> Iterator[tuple[_Attempt, Outcome | None]]:
        """Yield the commands that have ended, with what their nodes say."""
        for attempt in list(self._running):
            code = attempt.process.poll()
            if code is None:
                continue
            if attempt.ended is None:
                attempt.ended = time.monotonic()
            outcome = Outcome.read(project, attempt.job)
            is_final = outcome is not None and outcome.is_final
            # Of a command that failed, nothing more need come: it is tried again.
            patience = self._patience if code == 0 else self._patience / 20
            if is_final or time.monotonic() - attempt.ended >= patience:
                self._running.remove(attempt)
                attempt.order.alive.unlink(missing_ok=True)
                yield attempt, outcome

    def _end_all(self) -> None:
        """End all commands, and what they started here; nodes see that nobody waits any more."""
        for attempt in self._running:
            attempt.order.alive.unlink(missing_ok=True)
            _send(attempt.process, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE
        for attempt in self._running:
            with suppress(subprocess.TimeoutExpired):
                attempt.process.wait(max(0.0, deadline - time.monotonic()))
            _send(attempt.process, signal.SIGKILL)
            attempt.process.wait()
        self._running.clear()


def _count(losses: Losses, project: Project, attempt: _Attempt, outcome: Outcome | None) -> None:
    """Count a command that ended without a result."""
    code = attempt.process.returncode
    log = log_file(project, attempt.job.shard).relative_to(project.root)
    hints = [f"{log} has what it printed"]
    if outcome is not None and outcome.lost is not None:
        why = outcome.lost
    elif code == 0:
        why = "the command ended, and no result came"
        hints.insert(0, "the command has to wait for the training, as `sbatch --wait` does")
    else:
        why = f"signal {-code}" if code < 0 else f"exit code {code}"
    node = None if outcome is None else outcome.node
    losses.add(attempt.job.shard, node, why, *hints)


def _environment(alive: Path) -> dict[str, str]:
    """Return the environment of a command: this process's, but it is no stage of DVC's."""
    found = {name: value for name, value in os.environ.items() if name != DVC_VARIABLE}
    return found | {"PATH": search_path(), JOB_VARIABLE: alive.name}


def _send(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a command and to all that it started here."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _clear(project: Project) -> None:
    """Remove jobs and results, also those of a run that was killed: logs stay."""
    folder: Path = jobs_folder(project)
    for pattern in ("*.json", "*.alive"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
