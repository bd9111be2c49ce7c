"""One process of the check of training code of the user's own; see `own_training.py`."""

import hashlib
import json
import pickle
import sys
import traceback
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import torch
from unlearn.stages.errors import UnlearnError
from unlearn.stages.estimators.base import RefusedRowsError, SliceData
from unlearn.stages.estimators.torch_machine import seed_all
from unlearn.stages.estimators.torch_models import TorchEstimator
from unlearn.stages.training.own_training import RESULT, SLICES, TrialJob, state_file
from unlearn.stages.training.trial import trial_of, trial_rows

#: Pictures that an augmentation is tried on.
_PICTURES = 32


def run(job: TrialJob) -> dict[str, Any]:
    """Train the slices of a job, write their states, and return what else is to be compared."""
    estimator, data, seed = trial_of(job.recipe, *trial_rows(job.recipe))
    if not isinstance(estimator, TorchEstimator):
        raise TypeError("only networks are trained by code of the user's own")
    if estimator.own_loop is not None:
        # Other generators in each process: a loop that uses them shows.
        estimator.own_loop.prepare = lambda _seed: seed_all(job.disorder)
    state = None if job.start is None else job.start.read_bytes()
    for number in job.slices:
        state = estimator.fit_slice(state, _slice(data, number), seed)
        state_file(job.folder, number).write_bytes(state)
    return {"augmented": _augmented(estimator, data, backwards=job.disorder % 2 == 0)}


def _slice(data: SliceData, number: int) -> SliceData:
    """Return the first half of the rows, or all of them, in two epochs."""
    count = len(data.targets)
    end, before = (count * last // len(SLICES) for last in (number, number - 1))
    seed = data.seed(0) + number
    return replace(
        data,
        inputs=data.inputs[:end],
        targets=data.targets[:end],
        weights=None if data.weights is None else data.weights[:end],
        draws=None if data.draws is None else data.draws[:end],
        new=end - before,
        number=number,
        steps=2 * data.steps,
        seed=lambda epoch: seed + 100 * epoch,
        step_seed=lambda step: seed + 100 * step,
    )


def _augmented(estimator: TorchEstimator, data: SliceData, *, backwards: bool) -> str | None:
    """Return a digest of rows with changed pictures, which were changed in one order or another."""
    augmenter = estimator.augmenter()
    if augmenter is None or data.draws is None:
        return None
    order = np.arange(min(_PICTURES, len(data.targets)))
    order = order[::-1] if backwards else order
    rows = torch.from_numpy(data.inputs[order])
    changed = augmenter(rows, data.draws[order], 1, 0).numpy()
    return hashlib.sha256(changed[np.argsort(order)].tobytes()).hexdigest()


def main() -> None:
    """Run the job that comes as the input of this process."""
    # Every optimizer imports it; better before the job comes than after.
    import_module("torch._dynamo")
    job: TrialJob = pickle.loads(sys.stdin.buffer.read())  # noqa: S301 - from the parent process
    try:
        found = run(job)
    except UnlearnError as error:
        found = {
            "error": error.message,
            "hints": list(error.hints),
            "refused": isinstance(error, RefusedRowsError),
            "traceback": traceback.format_exc(),
        }
    (job.folder / RESULT).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
