"""The training of the built-in perceptron: the same numbers as autograd, and the same bytes."""

import hashlib
import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import load
from unlearn.stages.config.train import TrainParams
from unlearn.stages.estimators.base import RefusedRowsError, SliceData
from unlearn.stages.estimators.mlp import MlpEstimator, build_mlp
from unlearn.stages.estimators.torch_models import TorchEstimator
from unlearn.stages.rows.outputs import Outputs

ROWS, WIDTH, CLASSES = 61, 13, 4
_draw = np.random.default_rng(2)
INPUTS: npt.NDArray[np.float32] = _draw.normal(size=(ROWS, WIDTH)).astype(np.float32)
TARGETS: npt.NDArray[np.int64] = _draw.integers(0, CLASSES, ROWS)

SETTINGS: dict[str, dict[str, Any]] = {
    "relu, adam": {},
    "tanh, adam": {"options": {"hidden": [9, 8], "activation": "tanh"}},
    "gelu, adamw": {
        "options": {"hidden": [9], "activation": "gelu"},
        "optimizer": {"name": "adamw", "rate": 0.01, "weight_decay": 0.1},
    },
    "sigmoid, sgd": {
        "options": {"hidden": [9], "activation": "sigmoid"},
        "optimizer": {"name": "sgd", "rate": 0.1, "momentum": 0.9, "weight_decay": 0.01},
    },
    "dropout": {"options": {"hidden": [20, 9], "dropout": 0.3}},
    "nothing hidden": {"options": {"hidden": []}},
    "one row a batch": {"batch": 1, "optimizer": {"name": "sgd", "rate": 0.01}},
    "a last batch of one row": {"batch": 20},
    "one batch of all rows": {"batch": 100},
}


def train_of(**settings: Any) -> TrainParams:
    given = {"model": "mlp", "options": {"hidden": [9]}, "batch": 16, "device": "cpu"}
    return TrainParams.model_validate(given | settings)


def estimator_of(**settings: Any) -> MlpEstimator:
    return MlpEstimator(train_of(**settings), WIDTH, Outputs(CLASSES))


def data_of(rows: int = ROWS, *, steps: int = 23, first_seed: int = 100) -> SliceData:
    return SliceData(INPUTS[:rows], TARGETS[:rows], rows, steps, lambda epoch: first_seed + epoch)


@pytest.mark.parametrize("settings", list(SETTINGS))
def test_training_ends_where_autograd_and_torch_optim_end(settings: str) -> None:
    """The same rows, batches and masks in the same order; only the way to the gradients differs."""
    train = train_of(**SETTINGS[settings])
    plain = TorchEstimator(train, WIDTH, Outputs(CLASSES), build_mlp)
    own = MlpEstimator(train, WIDTH, Outputs(CLASSES))

    states = [estimator.fit_slice(None, data_of(40), 7) for estimator in (own, plain)]
    found, expected = (
        load(estimator.export(estimator.fit_slice(state, data_of(), 7)))
        for estimator, state in zip((own, plain), states, strict=True)
    )

    untrained = plain.fresh(7).state_dict()
    for name, weights in expected.items():
        torch.testing.assert_close(found[name], weights, rtol=1e-3, atol=1e-4)
        assert not torch.allclose(weights, untrained[name], rtol=1e-3, atol=1e-3), "it learned"


@pytest.mark.parametrize("settings", list(SETTINGS))
def test_bytes_do_not_depend_on_memory_or_on_who_went_before(settings: str) -> None:
    estimator = estimator_of(**SETTINGS[settings])
    first = estimator.fit_slice(None, data_of(40), 7)
    second = estimator.fit_slice(first, data_of(), 7)
    holes = [torch.randn(size) for size in range(1, 400, 7)]
    for offset in (1, 2, 3):
        # The same numbers at an address that no vector instruction likes.
        raw = np.empty(INPUTS.nbytes + 64, np.uint8)
        inputs = raw[4 * offset : 4 * offset + INPUTS.nbytes].view(np.float32)
        moved = inputs.reshape(INPUTS.shape)
        moved[:] = INPUTS
        del holes[::offset]  # memory of odd sizes to be taken again
        again = estimator_of(**SETTINGS[settings])
        other = again.fit_slice(None, data_of(5, steps=3), 8)
        assert other != first
        state = again.fit_slice(
            None, SliceData(moved[:40], TARGETS[:40], 40, 23, lambda epoch: 100 + epoch), 7
        )
        assert state == first
        assert again.fit_slice(state, data_of(), 7) == second


def test_fewer_steps_are_the_first_steps_of_more() -> None:
    estimator = estimator_of(options={"hidden": [9], "dropout": 0.3})
    whole = estimator.fit_slice(None, data_of(steps=8), 7)
    # Two epochs of four batches; the second goes on from the first one's state.
    half = estimator.fit_slice(None, data_of(steps=4), 7)

    assert estimator.fit_slice(half, data_of(steps=4, first_seed=101), 7) == whole
    assert estimator.fit_slice(None, data_of(steps=3), 7) != half


def test_a_state_without_an_optimizer_starts_a_new_one() -> None:
    estimator = estimator_of()
    model = estimator.export(estimator.fit_slice(None, data_of(), 7))
    state = load(estimator.fit_slice(estimator.state_of(model), data_of(steps=2), 7))

    assert state["optimizer.step"].item() == 2


@pytest.mark.parametrize("rate", [1e30, 1e38])
def test_weights_that_are_no_longer_finite_are_refused(rate: float) -> None:
    estimator = estimator_of(optimizer={"name": "sgd", "rate": rate})

    with pytest.raises(RefusedRowsError, match="diverged"):
        estimator.fit_slice(None, data_of(), 7)


_PROCESS = """
import hashlib, json, sys
from tests.stages.estimators.test_mlp import data_of, estimator_of
state = estimator_of(options={"hidden": [20, 9], "dropout": 0.3}).fit_slice(None, data_of(), 7)
compiler = "torch._dynamo" in sys.modules
print(json.dumps({"digest": hashlib.sha256(state).hexdigest(), "compiler": compiler}))
"""


@pytest.mark.slow
def test_another_process_gives_the_same_bytes_and_loads_no_compiler() -> None:
    """With other memory, other hashes, and more threads than one asked for."""
    here = estimator_of(**SETTINGS["dropout"]).fit_slice(None, data_of(), 7)
    environment = {"MALLOC_PERTURB_": "165", "PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", _PROCESS],
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(done.stdout)

    assert found == {"digest": hashlib.sha256(here).hexdigest(), "compiler": False}
