"""Estimators that predict numbers: what they are fitted to, and what they answer."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
import torch
from sklearn.base import clone
from unlearn.stages.config.train import INCREMENTAL_ON_UNION, TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators import skops_file
from unlearn.stages.estimators.base import Estimator, RefusedRowsError, Regressor, SliceData
from unlearn.stages.estimators.mlp import MlpEstimator, build_mlp
from unlearn.stages.estimators.registry import find_spec, make_estimator
from unlearn.stages.estimators.torch_models import TorchEstimator
from unlearn.stages.rows.outputs import Outputs

DRAW = np.random.default_rng(3)
INPUTS = DRAW.normal(size=(60, 4))
#: Far from 0, and in a large unit, as money is.
OUTPUTS = Outputs(centre=41_000.0, scale=9_000.0)
TARGETS = 40_000 + 9_000 * INPUTS[:, 0] - 3_000 * INPUTS[:, 1] + DRAW.normal(size=60)

MLP = {
    "model": "mlp",
    "options": {"hidden": [9]},
    "batch": 8,
    "device": "cpu",
    "optimizer": {"name": "adam", "rate": 0.01},
}

OWN = """
import torch

def build(inputs, outputs, shape="column"):
    layers = [torch.nn.Linear(inputs, 6), torch.nn.Tanh(), torch.nn.Linear(6, outputs)]
    if shape == "flat":
        layers.append(torch.nn.Flatten(0))
    if shape == "two":
        layers[-1] = torch.nn.Linear(6, 2)
    return torch.nn.Sequential(*layers)
"""


def estimator_of(
    model: str, *, sliced: bool = False, code: Path | None = None, **settings: Any
) -> Estimator:
    train = TrainParams.model_validate(MLP | {"options": {}} | settings | {"model": model})
    return make_estimator(train, INPUTS.shape[1], OUTPUTS, sliced=sliced, code=code)


def data_of(estimator: Estimator, rows: int = 60, steps: int = 400) -> SliceData:
    inputs: Any = INPUTS[:rows].astype(estimator.dtype)
    return SliceData(inputs, TARGETS[:rows], rows, steps, lambda epoch: 100 + epoch)


def values(estimator: Estimator, model: bytes) -> npt.NDArray[np.float64]:
    inputs: Any = INPUTS.astype(estimator.dtype)
    found = cast("Regressor", estimator.predictor(model)).values(inputs)
    assert found.dtype == np.float64
    assert found.shape == (60,)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        "ensemble.ExtraTreesRegressor",
        "ensemble.GradientBoostingRegressor",
        "ensemble.HistGradientBoostingRegressor",
        "ensemble.RandomForestRegressor",
        "gaussian_process.GaussianProcessRegressor",
        "isotonic.IsotonicRegression",
        "linear_model.ElasticNet",
        "linear_model.HuberRegressor",
        "linear_model.LinearRegression",
        "linear_model.QuantileRegressor",
        "linear_model.Ridge",
        "neighbors.KNeighborsRegressor",
        "cross_decomposition.PLSRegression",
        "svm.SVR",
        "tree.DecisionTreeRegressor",
    ],
)
def test_a_scikit_learn_regressor_answers_as_the_library_does(model: str) -> None:
    estimator = estimator_of(f"sklearn.{model}")
    inputs = INPUTS[:, :1] if "Isotonic" in model else INPUTS
    data = SliceData(inputs, TARGETS, 60, 1, lambda epoch: epoch)
    exported = estimator.export(estimator.fit_slice(None, data, 7))

    own = clone(skops_file.load(exported)).fit(inputs, TARGETS)
    found = cast("Regressor", estimator.predictor(exported)).values(inputs)

    assert np.array_equal(found, own.predict(inputs).reshape(60))
    assert exported == estimator.export(estimator.fit_slice(None, data, 7))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Class PassiveAggressiveRegressor:FutureWarning")
def test_every_slicing_regressor_goes_on_from_a_state() -> None:
    slicing = sorted(model for model in INCREMENTAL_ON_UNION if model.endswith("Regressor"))
    assert len(slicing) == 3
    for model in slicing:
        estimator = estimator_of(model, sliced=True)
        first = estimator.fit_slice(None, data_of(estimator, 20), 1)
        second = estimator.fit_slice(first, data_of(estimator), 1)
        assert estimator.fit_slice(first, data_of(estimator), 1) == second
        assert np.isfinite(values(estimator, second)).all()


def test_the_mlp_learns_numbers_in_the_pinned_scale() -> None:
    estimator = estimator_of("mlp", options={"hidden": [9]})
    found = values(estimator, estimator.export(estimator.fit_slice(None, data_of(estimator), 7)))

    # The targets are far from what an untrained network answers, and vary by 10,000.
    assert np.sqrt(np.mean((found - TARGETS) ** 2)) < 2_000
    train = TrainParams.model_validate(MLP)
    unscaled = make_estimator(train, 4, Outputs(), sliced=False, code=None)
    other = values(unscaled, unscaled.export(unscaled.fit_slice(None, data_of(unscaled), 7)))
    assert np.sqrt(np.mean((other - TARGETS) ** 2)) > 30_000


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_mlp_ends_where_autograd_and_torch_optim_end(optimizer: str) -> None:
    settings = MLP | {
        "options": {"hidden": [7, 5], "activation": "tanh"},
        "optimizer": {"name": optimizer, "rate": 0.01},
    }
    train = TrainParams.model_validate(settings)
    own, plain = MlpEstimator(train, 4, OUTPUTS), TorchEstimator(train, 4, OUTPUTS, build_mlp)

    found, expected = (
        values(each, each.export(each.fit_slice(None, data_of(each, steps=23), 7)))
        for each in (own, plain)
    )

    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("shape", ["column", "flat"])
def test_a_module_of_ones_own_predicts_numbers(tmp_path: Path, shape: str) -> None:
    code = tmp_path / "net.py"
    code.write_text(OWN)
    estimator = estimator_of("net.py:build", code=code, options={"shape": shape})
    state = estimator.fit_slice(None, data_of(estimator), 7)

    assert np.sqrt(np.mean((values(estimator, estimator.export(state)) - TARGETS) ** 2)) < 3_000
    assert estimator.fit_slice(None, data_of(estimator), 7) == state


def test_a_module_with_two_outputs_is_refused(tmp_path: Path) -> None:
    code = tmp_path / "net.py"
    code.write_text(OWN)
    estimator = estimator_of("net.py:build", code=code, options={"shape": "two"})

    with pytest.raises(RefusedRowsError, match="it has to answer each row with one number"):
        estimator.fit_slice(None, data_of(estimator), 7)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("sklearn.linear_model.LogisticRegression", "is not a regressor, and the task is regr"),
        ("sklearn.cluster.KMeans", "is neither a classifier nor a regressor"),
        ("sklearn.linear_model.NoSuchThing", "scikit-learn has no"),
    ],
)
def test_what_is_no_regressor_is_refused(model: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        estimator_of(model)


def test_a_regressor_is_refused_for_classes() -> None:
    train = TrainParams(model="sklearn.linear_model.Ridge")

    with pytest.raises(InputError, match="is not a classifier, and the target has classes"):
        make_estimator(train, 4, Outputs(3), sliced=False, code=None)


@pytest.mark.parametrize(
    ("model", "options", "quantile"),
    [
        ("ensemble.GradientBoostingRegressor", {"loss": "quantile"}, 0.9),
        ("ensemble.GradientBoostingRegressor", {"loss": "quantile", "alpha": 0.25}, 0.25),
        ("ensemble.GradientBoostingRegressor", {}, None),
        ("ensemble.HistGradientBoostingRegressor", {"loss": "quantile", "quantile": 0.1}, 0.1),
        ("ensemble.HistGradientBoostingRegressor", {"loss": "gamma"}, None),
        ("linear_model.QuantileRegressor", {}, 0.5),
        ("linear_model.QuantileRegressor", {"quantile": 0.8}, 0.8),
        ("linear_model.Ridge", {}, None),
    ],
)
def test_which_quantile_a_regressor_predicts(
    model: str, options: dict[str, Any], quantile: float | None
) -> None:
    train = TrainParams(model=f"sklearn.{model}", options=options)

    assert find_spec(train.model).quantile(train) == quantile


def test_a_diverged_network_is_refused() -> None:
    estimator = estimator_of("mlp", options={"hidden": [9]}, optimizer={"name": "sgd", "rate": 1e6})

    with pytest.raises(RefusedRowsError, match="diverged"):
        estimator.fit_slice(None, data_of(estimator), 7)
    assert torch.get_num_threads() == 1
