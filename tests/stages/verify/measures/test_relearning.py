"""How many steps a model needs to know rows again."""

import numpy as np
import pytest
from unlearn.stages.config.train import TrainParams
from unlearn.stages.estimators.base import SliceData
from unlearn.stages.estimators.registry import make_estimator
from unlearn.stages.estimators.torch_models import TorchEstimator
from unlearn.stages.estimators.torch_predictors import TorchPredictor
from unlearn.stages.rows.outputs import Outputs
from unlearn.stages.verify.measures.relearning import MOST_STEPS, Continues, relearning_steps
from unlearn.stages.verify.measures.utility import log_loss

DRAW = np.random.default_rng(6)
INPUTS = DRAW.normal(size=(40, 5)).astype(np.float32)
TARGETS = DRAW.integers(0, 3, 40)
TRAIN = TrainParams.model_validate(
    {
        "model": "mlp",
        "options": {"hidden": [32]},
        "epochs": 40,
        "batch": 8,
        "device": "cpu",
        "optimizer": {"name": "adam", "rate": 0.01},
    }
)


@pytest.fixture(scope="module")
def estimator() -> TorchEstimator:
    found = make_estimator(TRAIN, 5, Outputs(3), sliced=True, code=None)
    assert isinstance(found, TorchEstimator)
    assert isinstance(found, Continues)
    return found


def after(estimator: TorchEstimator, steps: int, seed: int = 1) -> bytes:
    """Return a model trained on the rows for so many epochs."""
    data = SliceData(INPUTS, TARGETS, 40, steps * 5, lambda epoch: seed + epoch)
    return estimator.export(estimator.fit_slice(None, data, init_seed=seed))


def loss_of(estimator: TorchEstimator, model: bytes) -> float:
    predictor = estimator.predictor(model)
    assert isinstance(predictor, TorchPredictor)
    return log_loss(predictor.probabilities(INPUTS), TARGETS)


def steps_of(estimator: TorchEstimator, model: bytes, loss: float) -> int | None:
    return relearning_steps(estimator, model, INPUTS, TARGETS, loss, seed=3)


@pytest.mark.trained
def test_the_original_needs_no_step_and_a_fresh_model_many(estimator: TorchEstimator) -> None:
    original = after(estimator, 15)
    loss = loss_of(estimator, original)
    halfway = steps_of(estimator, after(estimator, 8), loss)
    fresh = steps_of(estimator, after(estimator, 0, seed=9), loss)

    assert steps_of(estimator, original, loss) == 0
    assert halfway is not None
    assert fresh is not None
    assert 0 < halfway < fresh


@pytest.mark.trained
def test_it_is_the_first_step_at_which_the_rows_are_known(estimator: TorchEstimator) -> None:
    from unlearn.stages.verify.measures.relearning import _after

    fresh = after(estimator, 0)
    loss = loss_of(estimator, after(estimator, 4))
    steps = steps_of(estimator, fresh, loss)
    assert steps is not None
    assert steps > 1
    state = estimator.state_of(fresh)
    known = [
        loss_of(estimator, _after(estimator, state, INPUTS, TARGETS, count, 3)) <= loss
        for count in (steps - 1, steps)
    ]

    assert known == [False, True]


def test_what_cannot_be_learned_has_no_number(estimator: TorchEstimator) -> None:
    assert steps_of(estimator, after(estimator, 1), loss=-1.0) is None
    assert MOST_STEPS == 200
