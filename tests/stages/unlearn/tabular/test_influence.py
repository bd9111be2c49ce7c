"""Influence is a Newton step to the retrained model, exact where the loss is squared."""

import copy
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from torch import nn
from unlearn.stages.config.methods import InfluenceSettings
from unlearn.stages.config.train import PerturbedLogisticOptions
from unlearn.stages.estimators.linear import LinearModel, from_sklearn, to_sklearn
from unlearn.stages.estimators.perturbed_logistic import PerturbedLogistic
from unlearn.stages.unlearn.base.problem import NotApplicableError
from unlearn.stages.unlearn.tabular.certified_removal import newton_step
from unlearn.stages.unlearn.tabular.influence import influence
from unlearn.stages.unlearn.tabular.linear_objective import (
    objective_of_perturbed,
    objective_of_sklearn,
)
from unlearn.stages.unlearn.tabular.problem import Objective
from unlearn.stages.unlearn.tabular.rows import Rows

from tests.stages.unlearn.tabular.problems import applied, as_rows, distance, draw_rows, make_run

EXACT = InfluenceSettings()
ITERATIVE = InfluenceSettings(exact_parameters=0, iterations=500, tolerance=1e-12)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def step_of(
    estimator: Any,
    inputs: npt.NDArray[np.float64],
    targets: npt.NDArray[np.int64],
    forgotten: npt.NDArray[np.bool_],
    classes: int,
    how: InfluenceSettings = EXACT,
) -> LinearModel:
    model = from_sklearn(estimator, classes)
    rows = as_rows(inputs, targets)
    gone = torch.from_numpy(forgotten)
    run = make_run(objective_of_sklearn(estimator))
    found = applied(influence, model, rows.take(gone), rows.take(~gone), how, run)
    assert isinstance(found, LinearModel)
    return found


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    classes=st.integers(2, 4),
    alpha=st.sampled_from([0.01, 1.0, 30.0]),
    intercept=st.booleans(),
    how=st.sampled_from([EXACT, ITERATIVE]),
)
def test_a_ridge_ends_at_what_scikit_learn_retrains(
    seed: int, classes: int, alpha: float, intercept: bool, how: InfluenceSettings
) -> None:
    inputs, targets = draw_rows(60, classes, seed=seed)
    forgotten = np.random.default_rng(seed).random(60) < 0.2
    forgotten[: 2 * classes] = False  # of every class somebody stays
    fitted = RidgeClassifier(alpha=alpha, fit_intercept=intercept).fit(inputs, targets)
    retrained = RidgeClassifier(alpha=alpha, fit_intercept=intercept)
    retrained.fit(inputs[~forgotten], targets[~forgotten])

    model = step_of(fitted, inputs, targets, forgotten, classes, how)
    found = to_sklearn(fitted, model)

    assert np.abs(found.coef_ - retrained.coef_).max() < 1e-6
    assert np.abs(found.intercept_ - retrained.intercept_).max() < 1e-6


@pytest.mark.parametrize("how", [EXACT, ITERATIVE], ids=["exact", "conjugate gradients"])
@pytest.mark.parametrize("penalty", [0.1, 1.0, math.inf])
@pytest.mark.parametrize("classes", [2, 3])
def test_a_logistic_regression_comes_ten_times_nearer_to_the_retrained_one(
    classes: int, penalty: float, how: InfluenceSettings
) -> None:
    inputs, targets = draw_rows(300, classes, seed=5)
    forgotten = np.arange(300) < 15
    estimator = LogisticRegression(C=penalty, tol=1e-10, max_iter=10_000)
    fitted = copy.deepcopy(estimator).fit(inputs, targets)
    retrained = estimator.fit(inputs[~forgotten], targets[~forgotten])

    found = to_sklearn(fitted, step_of(fitted, inputs, targets, forgotten, classes, how))

    def away(one: Any) -> float:
        weights = np.hstack([one.coef_, one.intercept_[:, None]])
        wanted = np.hstack([retrained.coef_, retrained.intercept_[:, None]])
        return float(np.linalg.norm(weights - wanted))

    assert away(found) * 10 <= away(fitted)
    assert np.allclose(
        found.predict_proba(inputs), retrained.predict_proba(inputs), atol=away(fitted) / 10
    )


def test_the_step_is_that_of_the_forgotten_rows_with_its_sign() -> None:
    # One weight, one score: f(w) = sum (w x - s)^2 + a w^2, worked by hand.
    inputs = np.array([[1.0], [2.0], [3.0]])
    targets = np.array([1, 1, 0])  # signs +1, +1, -1
    fitted = RidgeClassifier(alpha=2.0, fit_intercept=False).fit(inputs, targets)
    assert fitted.coef_.item() == pytest.approx((1 + 2 - 3) / (1 + 4 + 9 + 2))

    model = step_of(fitted, inputs, targets, np.array([False, False, True]), 2)

    # Without the third row the weight is (1 + 2) / (1 + 4 + 2): it rises.
    assert float(model.weight.detach()) == pytest.approx(3 / 7)


def test_equal_inputs_give_equal_bytes() -> None:
    inputs, targets = draw_rows(80, 3)
    fitted = LogisticRegression().fit(inputs, targets)
    forgotten = np.arange(80) < 9
    one, other = (
        step_of(fitted, inputs, targets, forgotten, 3, ITERATIVE).state_dict() for _ in range(2)
    )

    assert all(torch.equal(one[name], other[name]) for name in one)


def network(dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(4)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 3)).to(dtype)


def damped_gauss_newton_step(
    model: nn.Module, rows: Rows, objective: Objective, damping: float
) -> torch.Tensor:
    """Return the step from matrices that are written out in full."""
    model.eval()
    parameters = list(model.parameters())

    def flat(value: torch.Tensor) -> torch.Tensor:
        grads = torch.autograd.grad(value, parameters, retain_graph=True)
        return torch.cat([grad.flatten() for grad in grads])

    gradient = flat(objective.total(model, rows))
    size = len(gradient)
    matrix = (damping + objective.l2_per_row) * len(rows) * torch.eye(size, dtype=torch.float64)
    for row in rows.inputs:
        logits = model(row[None])[0]
        jacobian = torch.stack([flat(logit) for logit in logits])
        likely = torch.softmax(logits, dim=0).detach()
        matrix += jacobian.T @ (torch.diag(likely) - torch.outer(likely, likely)) @ jacobian
    step: torch.Tensor = torch.linalg.solve(matrix, gradient)
    return step


def test_a_network_takes_the_damped_gauss_newton_step() -> None:
    rows = as_rows(*draw_rows(40, 3))
    model, objective = network(), Objective(l2_per_row=0.02)
    expected = damped_gauss_newton_step(copy.deepcopy(model), rows, objective, 0.3)
    before = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    how = InfluenceSettings(damping=0.3, iterations=500, tolerance=1e-12)
    run = make_run(objective)

    applied(influence, model, rows.take(torch.arange(0)), rows, how, run)

    moved = before - nn.utils.parameters_to_vector(model.parameters()).detach()
    assert torch.allclose(moved, expected, rtol=1e-6, atol=1e-9)
    assert run.facts["solver"] == "conjugate_gradients"
    assert run.facts["left"] <= 1e-12
    assert run.ledger.forget == 0
    assert run.ledger.retain == (1 + run.facts["iterations"]) * 40


def test_a_network_in_single_precision_goes_the_same_way() -> None:
    inputs, targets = draw_rows(40, 3)
    how = InfluenceSettings(damping=0.1)
    double, single = network(), network(torch.float32)
    start = nn.utils.parameters_to_vector(double.parameters()).detach().clone()

    rows = as_rows(inputs, targets)
    applied(influence, double, rows, rows, how, make_run(Objective()))
    rows = as_rows(inputs, targets, torch.float32)
    applied(influence, single, rows, rows, how, make_run(Objective()))

    one = nn.utils.parameters_to_vector(double.parameters()).detach() - start
    other = nn.utils.parameters_to_vector(single.parameters()).detach().double() - start
    assert float((one - other).norm()) < 1e-3 * float(one.norm())
    assert all(value.dtype == torch.float32 for value in single.parameters())


def test_a_layer_alone_is_a_linear_model() -> None:
    rows = as_rows(*draw_rows(50, 3))
    objective = Objective(l2_per_row=0.01)
    torch.manual_seed(2)
    exact = nn.Sequential(nn.Linear(4, 3)).double()
    iterative = copy.deepcopy(exact)
    run = make_run(objective)

    applied(influence, exact, rows, rows, EXACT, run)
    applied(influence, iterative, rows, rows, ITERATIVE, make_run(objective))

    assert run.facts["solver"] == "exact"
    assert distance(exact, iterative) < 1e-6


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("how", [EXACT, ITERATIVE], ids=["exact", "conjugate gradients"])
def test_noise_and_one_vs_rest_are_part_of_the_step(how: InfluenceSettings, classes: int) -> None:
    rows = as_rows(*draw_rows(50, classes))
    model = PerturbedLogistic(4, classes)
    model.draw(3)
    noise = torch.randn(model.weight.shape, generator=torch.Generator().manual_seed(1)).double()
    options = PerturbedLogisticOptions(sigma=1.0, regularization=0.1)
    objective = objective_of_perturbed(options, noise, classes)
    expected = model.weight.detach() + newton_step(model, rows, objective).step

    applied(influence, model, rows, rows, how, make_run(objective))

    assert torch.allclose(model.weight.detach(), expected, atol=1e-9)


@pytest.mark.parametrize("how", [EXACT, ITERATIVE], ids=["exact", "conjugate gradients"])
def test_many_rows_are_read_piece_by_piece(how: InfluenceSettings) -> None:
    inputs, targets = draw_rows(2500, 3)
    forgotten = np.arange(2500) < 100
    fitted = RidgeClassifier().fit(inputs, targets)
    retrained = RidgeClassifier().fit(inputs[~forgotten], targets[~forgotten])

    found = to_sklearn(fitted, step_of(fitted, inputs, targets, forgotten, 3, how))

    assert np.abs(found.coef_ - retrained.coef_).max() < 1e-6


def test_a_step_without_end_is_not_taken() -> None:
    rows = as_rows(*draw_rows(20, 2))
    model = network()
    with torch.no_grad():
        next(model.parameters())[0, 0] = math.nan

    with pytest.raises(NotApplicableError, match="not finite"):
        applied(influence, model, rows, rows, EXACT, make_run(Objective()))


def test_a_class_that_is_forgotten_whole_leaves_finite_weights() -> None:
    inputs, targets = draw_rows(90, 3)
    fitted = LogisticRegression(C=1.0).fit(inputs, targets)

    model = step_of(fitted, inputs, targets, targets == 2, 3)

    with torch.no_grad():
        answers = model(torch.from_numpy(inputs))
        before = from_sklearn(fitted, 3)(torch.from_numpy(inputs))
    likely, was = torch.softmax(answers, dim=1)[:, 2], torch.softmax(before, dim=1)[:, 2]
    assert bool(torch.isfinite(answers).all())
    assert float(likely.mean()) < float(was.mean()) / 2
