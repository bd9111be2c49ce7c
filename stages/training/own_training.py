"""The check of training code of the user's own: one state, in whatever process it is made.

A training loop, a loss and an augmentation are functions that have to follow from what they are
given. Nothing can prove it. So they are tried on made-up rows in processes that differ in all that
such code may read by mistake: the states of the global generators, the seed of Python's hashes, the
time, the number of the process and the current folder.
"""

import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unlearn.stages.errors import InputError
from unlearn.stages.estimators.base import RefusedRowsError
from unlearn.stages.project.threads import THREAD_VARIABLES
from unlearn.stages.training.recipe import Recipe

#: The module that a process runs.
_MODULE = "unlearn.stages.training.own_training_trial"
#: What a process writes beside its states.
RESULT = "result.json"
#: Slices that are trained.
SLICES = (1, 2)
_DOCS = "docs/own-training.md says what such code may use"


@dataclass(frozen=True)
class TrialJob:
    """What one process does.

    Parameters
    ----------
    recipe
        The settings.
    slices
        The slices to train.
    folder
        Where it writes the states and what came of it.
    start
        The file of the state to go on from; None at the start.
    disorder
        What the global generators begin with.
    """

    recipe: Recipe
    slices: tuple[int, ...]
    folder: Path
    start: Path | None
    disorder: int


def state_file(folder: Path, number: int) -> Path:
    """Return the file of the state after a slice."""
    return folder / f"slice-{number}.safetensors"


def own_part(recipe: Recipe) -> str | None:
    """Return the setting and the function that the check is about; None without such code."""
    train = recipe.train
    own = None if train.augment is None else train.augment.own
    found = (("loop", train.loop), ("loss", train.loss), ("augment.own", own))
    return next((f"train.{name}: {value}" for name, value in found if value is not None), None)


def check_own_training(recipe: Recipe) -> None:
    """Make sure that code of the user's own gives the same state wherever it runs.

    Two processes train made-up rows over two slices, and a third one goes on from the state of the
    second one after its first slice.

    Raises
    ------
    InputError
        If the states differ, with the slice and a tensor that do; or the settings are wrong.
    """
    name = own_part(recipe)
    if name is None:
        return
    code = None if recipe.code is None else recipe.code.resolve()
    recipe = replace(recipe, root=recipe.root.resolve(), code=code)
    with tempfile.TemporaryDirectory(prefix="unlearn-trial-") as scratch:
        folders = [Path(scratch) / str(number) for number in (1, 2, 3)]
        with _processes(folders) as (first, second, third):
            one = _run(first, TrialJob(recipe, SLICES, folders[0], None, 1), name)
            two = _run(second, TrialJob(recipe, SLICES, folders[1], None, 2), name)
            for number in SLICES:
                _compare(folders[0], folders[1], number, name)
            if one != two:
                raise InputError(
                    f"{_augmentation(recipe)} gives a row another picture in another process, or "
                    "in another order of the rows",
                    f"it has to follow from `picture` and `random` alone; {_DOCS}",
                )
            start = state_file(folders[1], 1)
            _run(third, TrialJob(recipe, SLICES[1:], folders[2], start, 3), name)
            tensor = _difference(folders[1], folders[2], SLICES[1])
    if tensor is not None:
        raise InputError(
            f"{name} gives another state when it goes on in a new process (first in {tensor})",
            "what it needs of earlier slices has to be in the state that it returns: no globals, "
            f"no files; {_DOCS}",
        )


def _augmentation(recipe: Recipe) -> str:
    augment = recipe.train.augment
    return f"train.augment.own: {None if augment is None else augment.own}"


def _compare(one: Path, other: Path, number: int, name: str) -> None:
    tensor = _difference(one, other, number)
    if tensor is not None:
        raise InputError(
            f"{name} gives two states after slice {number} in two processes, with the same rows "
            f"and seed (first in {tensor})",
            "all that it draws has to follow from `seed`: begin with torch.manual_seed(seed), or "
            "give each generator a seed; no clock, no order of a set, no file",
            _DOCS,
        )


def _difference(one: Path, other: Path, number: int) -> str | None:
    """Return the first tensor that differs between the states of two processes."""
    contents = [state_file(folder, number).read_bytes() for folder in (one, other)]
    if contents[0] == contents[1]:
        return None
    from safetensors.torch import load

    before, after = map(load, contents)
    for name in sorted(before.keys() | after.keys()):
        pair = (before.get(name), after.get(name))
        if pair[0] is None or pair[1] is None or _bytes(pair[0]) != _bytes(pair[1]):
            return name
    return "the order of the tensors"


def _bytes(tensor: Any) -> tuple[Any, ...]:
    """Return what decides a tensor, its bits among them: NaN differs from itself."""
    import torch

    return tensor.dtype, tensor.shape, tensor.flatten().view(torch.uint8).numpy().tobytes()


@contextmanager
def _processes(folders: Sequence[Path]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start processes that wait for a job: they import their libraries side by side."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        for number, folder in enumerate(folders, start=1):
            # Of its own, and empty: relative paths lead nowhere.
            current = folder / "current"
            current.mkdir(parents=True)
            surroundings = {"PYTHONHASHSEED": str(number), "TMPDIR": str(current)}
            surroundings |= dict.fromkeys(THREAD_VARIABLES, "1")
            started.append(
                subprocess.Popen(
                    [sys.executable, "-m", _MODULE],
                    cwd=current,
                    env=os.environ | surroundings,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                )
            )
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def _run(process: subprocess.Popen[bytes], job: TrialJob, name: str) -> dict[str, Any]:
    """Give a process its job, and return what it wrote beside its states.

    Raises
    ------
    InputError
        What the training raised; or if the process ended before it was done.
    """
    # Never a file or an argument: it has the key.
    _, words = process.communicate(pickle.dumps(job))
    try:
        found: dict[str, Any] = json.loads((job.folder / RESULT).read_bytes())
    except FileNotFoundError:
        raise InputError(
            f"{name} ends its process with exit code {process.returncode}",
            "it has to return, or to raise an error",
        ) from RuntimeError(words.decode(errors="replace"))
    if "error" in found:
        kind = RefusedRowsError if found["refused"] else InputError
        # The rows are made up: a traceback tells nothing of real ones.
        raise kind(found["error"], *found["hints"]) from RuntimeError(found["traceback"])
    return found
