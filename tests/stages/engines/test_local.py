"""The engine of this machine: the same bytes in any number of processes, whichever of them die."""

import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count

import psutil
import pytest
from unlearn.stages.engines.local import LocalEngine
from unlearn.stages.engines.pool import Pool
from unlearn.stages.errors import InputError, ToolError
from unlearn.stages.train.stage import Trained

from tests.stages.engines.conftest import SHARDS, Trainable

#: How many processes are killed at random.
KILLS = 6


def train(project: Trainable, jobs: int, shards: list[str] | None = None) -> list[Trained]:
    (trained,) = trainings(project, jobs, SHARDS if shards is None else shards, times=1)
    return trained


def trainings(
    project: Trainable, jobs: int, shards: list[str], *, times: int
) -> list[list[Trained]]:
    """Train so often, with the same processes."""
    said: list[str] = []
    with Pool() as pool:
        with LocalEngine(pool, jobs, said.append) as engine:
            trained = [list(engine.train(project.context, shards)) for _ in range(times)]
        pool.finish()
    return trained


def pids(project: Trainable) -> list[int]:
    return [int(line) for line in (project.root / "pids").read_text("ascii").split()]


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_bytes_do_not_depend_on_the_number_of_jobs(plain: Trainable, jobs: int) -> None:
    trained, again = trainings(plain, jobs, SHARDS, times=2)

    assert sorted(done.shard for done in trained) == SHARDS
    assert {done.first_slice for done in trained} == {1}
    assert {done.first_slice for done in again} == {3}  # nothing was to do
    assert plain.found() == plain.models


@pytest.mark.slow
def test_the_users_own_code_never_runs_in_this_process(own: Trainable) -> None:
    train(own, 1, SHARDS[:2])

    assert os.getpid() not in pids(own)
    assert len(set(pids(own))) == 1


def test_what_a_training_raises_comes_through_and_the_rest_is_dropped(plain: Trainable) -> None:
    plain.context.project.retain_file("s001").unlink()

    with pytest.raises(InputError, match=r"data/retain_set/s001.parquet is missing"):
        train(plain, 1)  # of two processes, the other may be done with the rest

    assert not (plain.root / "models/shard_models/s005").exists()


@pytest.mark.slow
def test_a_shard_whose_process_dies_again_and_again_is_named(own: Trainable) -> None:
    (own.root / "die").touch()

    with pytest.raises(ToolError, match="the process that trained s002 died, 3 times") as caught:
        train(own, 1, ["s002"])

    assert len(pids(own)) == 3
    assert "try fewer jobs" in caught.value.hints[0]


@pytest.mark.slow
def test_a_process_that_died_once_is_replaced_and_said_so(own: Trainable) -> None:
    (own.root / "hold").touch()
    said: list[str] = []
    with Pool() as pool, LocalEngine(pool, 1, said.append) as engine:
        training = engine.train(own.context, SHARDS)
        first = threading.Thread(target=_kill_the_first, args=(own,))
        first.start()
        trained = list(training)
        first.join()
        pool.finish()

    assert own.found() == own.models
    assert len(trained) == len(SHARDS)
    assert len(said) == 1
    assert "died; training it again" in said[0]


def _kill_the_first(own: Trainable) -> None:
    while not (own.root / "pids").exists() or not pids(own):
        time.sleep(0.01)
    os.kill(pids(own)[0], signal.SIGKILL)
    (own.root / "hold").unlink()


@contextmanager
def killer(seed: str, pause: float, kills: list[int]) -> Iterator[None]:
    """Kill one of this process's own training processes every now and then.

    Parameters
    ----------
    seed
        Decides the moments.
    pause
        The longest time between two kills, in seconds.
    kills
        Its one number counts them.
    """
    ended = threading.Event()
    draw = random.Random(seed)  # noqa: S311 - moments, not secrets

    def run() -> None:
        while kills[0] < KILLS and not ended.wait(draw.uniform(0, pause)):
            with suppress(psutil.NoSuchProcess):
                children = psutil.Process().children()
                workers = [one for one in children if "spawn_main" in " ".join(one.cmdline())]
                if workers:
                    draw.choice(workers).kill()
                    kills[0] += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.slow
def test_processes_killed_at_random_change_no_byte(plain: Trainable) -> None:
    began = time.monotonic()
    train(plain, 2)
    length = time.monotonic() - began
    kills = [0]
    finished = 0
    while kills[0] < KILLS:
        shutil.rmtree(plain.root / "models")
        # Until it ends: after three deaths at the same shard, the user runs it again.
        for attempt in count():
            with killer(f"{finished} {attempt}", length, kills), suppress(ToolError):
                train(plain, 2)
                break
        finished += 1
        assert plain.found() == plain.models
