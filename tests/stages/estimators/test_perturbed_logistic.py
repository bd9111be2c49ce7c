"""The logistic regression with noise in its objective, and what it must not learn."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.torch import load
from scipy.optimize import minimize
from unlearn.stages.config.params import Params
from unlearn.stages.context import check_params
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.base import SliceData
from unlearn.stages.estimators.formats import SAFETENSORS
from unlearn.stages.estimators.perturbed_logistic import (
    PerturbedLogistic,
    PerturbedLogisticEstimator,
    bounded,
    draw_noise,
)
from unlearn.stages.estimators.preprocessing import fixed_preprocessor
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.rows.shard_file import Layout, read_shard, record_tokens
from unlearn.stages.train import stage as train_stage
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.shard_model import read_shard_model

from tests.conftest import make_frame
from tests.stages.conftest import (
    CLASSES,
    KEY,
    layout_of,
    make_context,
    make_params,
    put_on_list,
    run_stages,
    train_at_once,
)
from tests.stages.estimators.perturbed import PREPROCESSING, fit, settings_of
from tests.stages.unlearn.tabular.problems import draw_rows

FEATURES = {"age": "numeric", "income": "numeric", "member": "boolean"}


def loss_by_hand(
    weight: npt.NDArray[np.float64],
    inputs: npt.NDArray[np.float64],
    signs: npt.NDArray[np.float64],
    noise: npt.NDArray[np.float64],
    penalty: float,
) -> float:
    rows = [
        np.log1p(np.exp(-sign * (weight @ row))) + penalty / 2 * (weight @ weight)
        for row, sign in zip(inputs, signs, strict=True)
    ]
    return float(np.sum(rows) + noise @ weight)


@pytest.mark.parametrize("classes", [2, 3])
def test_training_ends_at_the_minimum_of_the_objective(classes: int) -> None:
    inputs, targets = draw_rows(50, classes, width=2)
    train = settings_of(sigma=0.7, regularization=0.02)
    module = fit(train, inputs, targets, classes, 3)
    noise = draw_noise(3, 0.7, module).numpy()
    rows = bounded(inputs)

    assert float(module.residual) <= 1e-9
    for score in range(1 if classes == 2 else classes):
        true = targets == (1 if classes == 2 else score)
        found = minimize(
            loss_by_hand,
            np.zeros(3),
            (rows, np.where(true, 1.0, -1.0), noise[score], 0.02),
            tol=1e-10,
        )
        assert np.allclose(module.weight.detach()[score], found.x, atol=1e-4)


def test_the_noise_has_the_deviation_that_was_asked_for() -> None:
    module = PerturbedLogistic(400, 10)
    found = draw_noise(1, 2.5, module)

    assert found.shape == module.weight.shape
    assert float(found.std()) == pytest.approx(2.5, rel=0.05)
    assert float(found.mean()) == pytest.approx(0, abs=0.2)
    assert torch.equal(found, draw_noise(1, 2.5, module))
    assert not torch.equal(found, draw_noise(2, 2.5, module))


def test_the_noise_stands_in_no_file() -> None:
    inputs, targets = draw_rows(50, 3)
    estimator = PerturbedLogisticEstimator(settings_of(), 4, 3)
    state = estimator.fit_slice(None, SliceData(inputs, targets, 50, 1, lambda _: 0), 3)

    tensors = load(estimator.export(state))
    assert {name: tuple(value.shape) for name, value in tensors.items()} == {
        "weight": (3, 5),
        "residual": (),
    }
    assert estimator.describe() == {}


@given(
    rows=arrays(
        np.float64, (4, 3), elements=st.floats(-1e300, 1e300, allow_nan=False, allow_infinity=False)
    )
)
def test_rows_have_norm_1_at_most_whatever_they_hold(rows: npt.NDArray[np.float64]) -> None:
    found = bounded(rows)

    assert found.shape == (4, 4)
    assert np.isfinite(found).all()
    assert (np.linalg.norm(found, axis=1) <= 1 + 1e-12).all()
    for row, one in zip(rows, found, strict=True):  # each by itself
        assert np.array_equal(bounded(row[None])[0], one)


def test_short_rows_keep_their_length_and_long_ones_their_direction() -> None:
    found = bounded(np.array([[0.3, 0.4], [3.0, 4.0]])) * np.sqrt(2)

    assert np.allclose(found, [[0.3, 0.4, 1.0], [0.6, 0.8, 1.0]])


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_probabilities_are_sigmoids_and_sum_to_1(classes: int) -> None:
    inputs, targets = draw_rows(50, classes)
    train = settings_of(sigma=0.5)
    estimator = PerturbedLogisticEstimator(train, 4, classes)
    data = SliceData(inputs, targets, 50, 1, lambda _: 0)
    content = estimator.fit_slice(None, data, 3)
    module = estimator.load(content)

    found = estimator.predictor(content).probabilities(inputs)

    scores = 1 / (1 + np.exp(-(bounded(inputs) @ module.weight.detach().numpy().T)))
    expected = np.hstack([1 - scores, scores]) if classes == 2 else scores / scores.sum(1)[:, None]
    assert np.allclose(found, expected, atol=1e-12)
    assert np.allclose(found.sum(axis=1), 1)


@pytest.mark.trained
def test_it_learns() -> None:
    inputs, targets = draw_rows(600, 3, seed=2)
    estimator = PerturbedLogisticEstimator(settings_of(sigma=1.0), 4, 3)
    content = estimator.fit_slice(None, SliceData(inputs, targets, 600, 1, lambda _: 0), 3)

    answers = estimator.predictor(content).probabilities(inputs).argmax(axis=1)

    assert (answers == targets).mean() > 0.6


@pytest.mark.parametrize("options", [{"regularization": 1e-300}, {"sigma": 1e300}])
def test_an_objective_whose_minimum_is_out_of_reach_is_an_error(options: dict[str, Any]) -> None:
    inputs, targets = draw_rows(4, 2, width=8)

    with pytest.raises(InputError, match="did not reach the minimum"):
        fit(settings_of(**options), inputs, targets, 2, 3)


def test_equal_inputs_give_equal_bytes() -> None:
    inputs, targets = draw_rows(50, 3)
    estimator = PerturbedLogisticEstimator(settings_of(), 4, 3)
    data = SliceData(inputs, targets, 50, 1, lambda _: 0)

    one, other = (estimator.fit_slice(None, data, 3) for _ in range(2))
    assert one == other
    assert SAFETENSORS.digest(one) != SAFETENSORS.digest(estimator.fit_slice(None, data, 4))


def test_weights_of_something_else_are_refused() -> None:
    inputs, targets = draw_rows(50, 3)
    estimator = PerturbedLogisticEstimator(settings_of(), 4, 3)
    content = estimator.fit_slice(None, SliceData(inputs, targets, 50, 1, lambda _: 0), 3)

    for other in (b"no weights", content[:-1]):
        with pytest.raises(InputError, match="do not fit"):
            estimator.predictor(other)
    with pytest.raises(InputError, match="do not fit"):
        PerturbedLogisticEstimator(settings_of(), 5, 3).predictor(content)


def test_columns_are_scaled_by_what_is_declared_and_by_nothing_else() -> None:
    train = settings_of(range={"age": [0, 100]})
    table = pa.table(
        {
            "age": pa.array([50.0, None, 200.0]),
            "income": pa.array([7.0, None, 1.0]),
            "member": pa.array([True, None, True]),
        }
    )
    found = fixed_preprocessor(layout_of(FEATURES), train).transform(table, np.float64)

    assert found.tolist() == [[0.5, 7.0, 1.0], [0.0, 0.0, 0.0], [2.0, 1.0, 1.0]]


def params_with(features: dict[str, str] = FEATURES, **train: Any) -> Params:
    settings = {"model": "perturbed_logistic", "preprocessing": PREPROCESSING} | train
    return make_params(train=settings, features=features)


def test_a_range_may_hold_for_all_numeric_features() -> None:
    params = params_with(options={"range": [-1, 3]})

    columns = fixed_preprocessor(Layout.of(params.dataset), params.train).columns
    assert columns["age"] == {"kind": "numeric", "fill": 0.0, "mean": -1.0, "scale": 4.0}
    assert columns["member"] == {"kind": "boolean", "fill": 0.0}


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ({"preprocessing": {}}, "train.preprocessing: perturbed_logistic takes `scale: none`"),
        ({"preprocessing": {"scale": "none"}}, "`impute: zero`"),
        ({"preprocessing": {"impute": "zero"}}, "`scale: none`"),
        ({"options": {"sigma": 0}}, "train.options.sigma: "),
        ({"options": {"regularization": 0}}, "train.options.regularization: "),
        ({"options": {"range": [1, 1]}}, "train.options.range: must be [low, high]"),
        ({"options": {"range": {"age": [2, 1]}}}, "train.options.range: must be [low, high]"),
        ({"options": {"range": {"member": [0, 1]}}}, "'member' is no numeric feature"),
        ({"options": {"range": {"agee": [0, 1]}}}, "'agee' is no numeric feature"),
        ({"options": {"sigm": 1}}, "train.options.sigm: is not a known setting"),
    ],
)
def test_settings_that_would_undo_the_certificate_are_refused(
    train: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError) as caught:
        params_with(**train)

    assert said in caught.value.message


def test_a_typo_in_the_options_is_met_with_the_nearest() -> None:
    with pytest.raises(InputError) as caught:
        params_with(options={"regularisation": 1})

    assert caught.value.hints == ("did you mean `regularization`?",)


def test_categories_are_refused_because_their_list_is_learned() -> None:
    with pytest.raises(InputError, match="takes no categorical feature, and 'city' is one"):
        params_with(features=FEATURES | {"city": "categorical"})
    with pytest.raises(InputError, match="takes no categorical feature, and 'city' is one"):
        fixed_preprocessor(layout_of({"city": "categorical"}), settings_of())


def test_it_takes_one_slice() -> None:
    with pytest.raises(InputError, match="takes 1 slice"):
        check_params(
            params_with().model_dump(mode="json")
            | {"sharding": {"shards": ["s000"], "slices": 2, "holdout": 0.2}}
        )
    assert params_with().key_check == KEY.check
    assert params_with().classes == CLASSES


def test_it_is_a_model_of_the_exact_pipeline(tmp_path: Path) -> None:
    frame = make_frame(90)
    frame.loc[3, "member"] = ""  # learned by other models, and false here
    context = make_context(
        tmp_path / "project", frame, params_with(options={"range": {"income": [0, 1000]}})
    )
    run_stages(context)
    folder = context.project.shard_models / "s000"
    before = (folder / "model.safetensors").read_bytes()
    gone = record_tokens(read_shard(context.project.retain_file("s000"), "s000").rows)[0]
    put_on_list(context, gone)
    forget_stage.run(context)
    train_stage.run(context, "s000")

    model = read_shard_model(folder, "s000")
    rows = read_shard(context.project.retain_file("s000"), "s000").rows
    assert model.weights != before
    assert model.kind == "perturbed_logistic"
    expected = train_at_once(Recipe.of(context.params, KEY, context.project.root), rows)
    assert model.weights == expected["model.safetensors"]
    assert np.allclose(model.predictor().probabilities(rows).sum(axis=1), 1)
