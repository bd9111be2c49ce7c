"""The two kinds of estimators: what they accept, answer and refuse."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import load
from sklearn.linear_model import LogisticRegression
from sklearn.utils import all_estimators
from unlearn.stages.config.train import (
    INCREMENTAL_ON_NEW_ROWS,
    INCREMENTAL_ON_UNION,
    MlpOptions,
    TrainParams,
)
from unlearn.stages.errors import InputError
from unlearn.stages.estimators import skops_file
from unlearn.stages.estimators.base import Estimator, SliceData
from unlearn.stages.estimators.formats import SAFETENSORS, SKOPS
from unlearn.stages.estimators.mlp import build_mlp
from unlearn.stages.estimators.sklearn_models import SklearnEstimator
from unlearn.stages.estimators.torch_models import TorchEstimator
from unlearn.stages.estimators.torch_predictors import TorchPredictor
from unlearn.stages.rows.outputs import Outputs

from tests.stages.conftest import MLP

_draw = np.random.default_rng(0)
INPUTS: npt.NDArray[np.float64] = np.abs(_draw.normal(size=(50, 4)))
TARGETS: npt.NDArray[np.int64] = _draw.integers(0, 3, 50)


def data(
    inputs: npt.NDArray[np.float64] = INPUTS,
    targets: Sequence[int] | npt.NDArray[np.int64] = TARGETS,
    *,
    new: int = 0,
    steps: int = 5,
) -> SliceData:
    wanted = np.asarray(targets, dtype=np.int64)
    return SliceData(inputs, wanted, new or len(wanted), steps, lambda epoch: 100 + epoch)


def sklearn_estimator(model: str, classes: int = 3, *, sliced: bool = False, **options: Any) -> Any:
    train = TrainParams.model_validate({"model": f"sklearn.{model}", "options": options})
    return SklearnEstimator(train, Outputs(classes), sliced=sliced)


def torch_estimator(**train: Any) -> TorchEstimator:
    settings = TrainParams.model_validate(MLP | train)
    return TorchEstimator(settings, INPUTS.shape[1], Outputs(3), build_mlp)


def as_float32(value: npt.NDArray[np.float64]) -> Any:
    return value.astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        "linear_model.LogisticRegression",
        "ensemble.RandomForestClassifier",
        "naive_bayes.GaussianNB",
    ],
)
def test_one_slice_is_what_scikit_learn_fits(model: str) -> None:
    estimator = sklearn_estimator(model)
    state = estimator.fit_slice(None, data(), 2**40 + 7)
    found = estimator.predictor(estimator.export(state)).probabilities(INPUTS)

    plain = dict(all_estimators())[model.rpartition(".")[2]]()
    if "random_state" in plain.get_params():
        plain.set_params(random_state=(2**40 + 7) % 2**32)
    expected = plain.fit(INPUTS, TARGETS).predict_proba(INPUTS)
    assert np.array_equal(found, expected)


@pytest.mark.filterwarnings("ignore:Class PassiveAggressiveClassifier:FutureWarning")
def test_every_slicing_classifier_goes_on_from_a_state() -> None:
    for model in sorted(INCREMENTAL_ON_UNION | INCREMENTAL_ON_NEW_ROWS):
        if model.endswith("Regressor"):
            continue
        counts = INPUTS.round() if "Categorical" in model else INPUTS
        estimator = sklearn_estimator(model.removeprefix("sklearn."), sliced=True)
        first = estimator.fit_slice(None, data(counts[:20], TARGETS[:20]), 1)
        second = estimator.fit_slice(first, data(counts, TARGETS, new=30), 1)
        assert SKOPS.digest(first) != SKOPS.digest(second), model
        answer = estimator.predictor(second).probabilities(counts)
        assert answer.shape == (50, 3), model
        assert np.allclose(answer.sum(axis=1), 1), model


def test_naive_bayes_learns_nothing_from_a_slice_without_rows() -> None:
    estimator = sklearn_estimator("naive_bayes.GaussianNB", sliced=True)
    state = estimator.fit_slice(None, data(INPUTS[:20], TARGETS[:20]), 1)
    again = estimator.fit_slice(
        state, SliceData(INPUTS[:20], TARGETS[:20], 0, 5, lambda epoch: epoch), 1
    )

    before, after = skops_file.load(state), skops_file.load(again)
    assert np.array_equal(before.class_count_, after.class_count_)
    assert np.array_equal(before.theta_, after.theta_)


def test_naive_bayes_reads_only_the_rows_of_its_slice() -> None:
    estimator = sklearn_estimator("naive_bayes.GaussianNB", sliced=True)
    state = estimator.fit_slice(None, data(INPUTS[:20], TARGETS[:20], new=20), 1)
    state = estimator.fit_slice(state, data(INPUTS, TARGETS, new=30), 1)

    counts = skops_file.load(state).class_count_
    assert counts.tolist() == np.bincount(TARGETS).tolist()


def test_a_class_that_is_absent_gets_no_probability() -> None:
    present = np.isin(TARGETS, [0, 2])
    for model in ("linear_model.LogisticRegression", "tree.DecisionTreeClassifier"):
        estimator = sklearn_estimator(model, classes=4)
        state = estimator.fit_slice(None, data(INPUTS[present], TARGETS[present]), 1)
        found = estimator.predictor(state).probabilities(INPUTS)

        plain = skops_file.load(state).predict_proba(INPUTS)
        assert found.shape == (50, 4)
        assert np.array_equal(found[:, [0, 2]], plain)
        assert not found[:, [1, 3]].any()


def test_without_probabilities_an_answer_is_one_whole_vote() -> None:
    estimator = sklearn_estimator("svm.LinearSVC", classes=4)
    state = estimator.fit_slice(None, data(INPUTS, TARGETS), 1)
    found = estimator.predictor(state).probabilities(INPUTS)

    assert not estimator.has_probabilities
    assert set(np.unique(found)) == {0.0, 1.0}
    assert found.argmax(axis=1).tolist() == skops_file.load(state).predict(INPUTS).tolist()


@pytest.mark.parametrize(
    ("model", "options", "expected"),
    [
        ("linear_model.LogisticRegression", {}, True),
        ("linear_model.SGDClassifier", {"loss": "log_loss"}, True),
        ("linear_model.SGDClassifier", {"loss": "hinge"}, False),
        ("linear_model.Perceptron", {}, False),
        ("svm.LinearSVC", {}, False),
        ("naive_bayes.GaussianNB", {}, True),
    ],
)
def test_whether_a_classifier_has_probabilities(
    model: str, options: dict[str, Any], *, expected: bool
) -> None:
    assert sklearn_estimator(model, **options).has_probabilities is expected


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        ("linear_model.NoSuchThing", {}, "scikit-learn has no sklearn.linear_model.NoSuchThing"),
        ("nothing.Here", {}, "scikit-learn has no sklearn.nothing.Here"),
        ("linear_model.LogisticRegression", {"c": 1.0}, "does not take 'c'"),
        ("linear_model.LinearRegression", {}, "is not a classifier"),
        ("preprocessing.StandardScaler", {}, "is neither a classifier nor a regressor"),
        ("utils.Bunch", {}, "is no estimator"),
        ("metrics.accuracy_score", {}, "is no estimator"),
        ("linear_model", {}, "is no estimator"),
    ],
)
def test_what_is_no_classifier_is_refused(model: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        sklearn_estimator(model, **options)

    assert caught.value.exit_code == 2


def test_an_option_of_a_wrong_value_is_an_input_error() -> None:
    estimator = sklearn_estimator("linear_model.LogisticRegression", C=-1.0)

    with pytest.raises(InputError, match="LogisticRegression cannot be trained") as caught:
        estimator.fit_slice(None, data(), 1)
    assert "\n" not in caught.value.message


def test_random_states_and_jobs_are_not_the_users_to_set() -> None:
    settled = {
        SKOPS.digest(estimator.fit_slice(None, data(), 5))
        for estimator in (
            sklearn_estimator("linear_model.SGDClassifier", n_jobs=1),
            sklearn_estimator("linear_model.SGDClassifier", n_jobs=1, random_state=1),
            sklearn_estimator("linear_model.SGDClassifier", n_jobs=2),
        )
    }
    assert len(settled) == 1


@pytest.mark.filterwarnings("error")
def test_no_option_is_set_that_the_user_did_not_ask_for() -> None:
    """scikit-learn warns of `n_jobs` where it has no effect, and is to drop it there."""
    estimator = sklearn_estimator("linear_model.LogisticRegression")

    assert estimator.fit_slice(None, data(), 1)


def test_a_file_of_another_classifier_is_refused() -> None:
    content = skops_file.dump(LogisticRegression().fit(INPUTS, TARGETS))

    with pytest.raises(InputError, match="does not contain a sklearn.naive_bayes"):
        sklearn_estimator("naive_bayes.GaussianNB").predictor(content)


def test_a_torch_model_counts_its_steps() -> None:
    for steps in (1, 7, 13):
        estimator = torch_estimator(batch=16)
        state = load(estimator.fit_slice(None, data(as_float32(INPUTS), TARGETS, steps=steps), 3))
        assert state["optimizer.0.step"].item() == steps


def test_a_torch_export_holds_the_weights_and_nothing_of_the_optimizer() -> None:
    estimator = torch_estimator()
    state = estimator.fit_slice(None, data(as_float32(INPUTS)), 3)
    weights = load(estimator.export(state))

    assert weights.keys() == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert len(load(state)) == 4 + 4 * 3
    predictor = estimator.predictor(estimator.export(state))
    assert isinstance(predictor, TorchPredictor)
    found = predictor.probabilities(as_float32(INPUTS))
    module = build_mlp(4, 3, hidden=[6]).eval()
    module.load_state_dict(weights)
    with torch.no_grad():
        logits = module(torch.from_numpy(as_float32(INPUTS))).double()
    assert np.array_equal(found, torch.softmax(logits, 1).numpy())


def test_a_torch_model_answers_a_row_alike_in_any_company() -> None:
    estimator = torch_estimator(options={"hidden": [6], "dropout": 0.5})
    state = estimator.fit_slice(None, data(as_float32(INPUTS)), 3)
    predictor = estimator.predictor(estimator.export(state))
    assert isinstance(predictor, TorchPredictor)

    whole = predictor.probabilities(as_float32(INPUTS))
    assert np.allclose(whole.sum(axis=1), 1)
    assert np.array_equal(predictor.probabilities(as_float32(INPUTS)), whole), "no dropout here"
    assert np.allclose(predictor.probabilities(as_float32(INPUTS[7:8]))[0], whole[7], atol=1e-6)


def test_seeds_decide_where_a_torch_model_begins_and_how_it_goes_on() -> None:
    estimator = torch_estimator()
    inputs = as_float32(INPUTS)
    other_order = SliceData(inputs, TARGETS, 50, 5, lambda epoch: 200 + epoch)
    digests = [
        SAFETENSORS.digest(estimator.fit_slice(None, data(inputs), 3)),
        SAFETENSORS.digest(estimator.fit_slice(None, data(inputs), 3)),
        SAFETENSORS.digest(estimator.fit_slice(None, data(inputs), 4)),
        SAFETENSORS.digest(estimator.fit_slice(None, other_order, 3)),
    ]

    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


@pytest.mark.parametrize(
    "content", [b"", b"\x80\x04N.", LogisticRegression.__doc__ or ""], ids=["empty", "pickle", "x"]
)
def test_weights_that_are_none_are_refused(content: bytes | str) -> None:
    raw = content.encode() if isinstance(content, str) else content
    estimator: Estimator = torch_estimator()

    with pytest.raises(InputError):
        estimator.predictor(raw)
    with pytest.raises(InputError):
        SAFETENSORS.digest(raw)


def test_weights_of_another_shape_are_refused() -> None:
    other = torch_estimator(options={"hidden": [7]})
    content = other.export(other.fit_slice(None, data(as_float32(INPUTS)), 3))

    with pytest.raises(InputError, match="do not fit the module they are for"):
        torch_estimator().predictor(content)


@pytest.mark.parametrize(
    ("options", "layers"),
    [
        ({}, ["Linear", "ReLU", "Linear"]),
        ({"hidden": []}, ["Linear"]),
        ({"hidden": [3, 4], "activation": "tanh"}, ["Linear", "Tanh", "Linear", "Tanh", "Linear"]),
        ({"hidden": [3], "dropout": 0.5}, ["Linear", "ReLU", "Dropout", "Linear"]),
        ({"hidden": [3], "activation": "gelu"}, ["Linear", "GELU", "Linear"]),
        ({"hidden": [3], "activation": "sigmoid"}, ["Linear", "Sigmoid", "Linear"]),
    ],
)
def test_the_built_in_network_has_the_layers_of_its_options(
    options: dict[str, Any], layers: list[str]
) -> None:
    module = build_mlp(5, 3, **options)

    assert [type(layer).__name__ for layer in module.children()] == layers
    assert module(torch.zeros(2, 5)).shape == (2, 3)
    assert MlpOptions.model_validate(options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_asked_for_has_to_be_there() -> None:
    with pytest.raises(InputError, match="train.device is cuda, but torch sees no GPU"):
        torch_estimator(device="cuda")
    assert torch_estimator(device="auto").fit_slice(None, data(as_float32(INPUTS)), 3)
