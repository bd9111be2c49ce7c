"""Certified removal: the stated bound holds, the budget is kept, and its end is said."""

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import norm
from torch import nn
from unlearn.stages.config.methods import CertifiedRemovalSettings
from unlearn.stages.config.train import PerturbedLogisticOptions, TrainParams
from unlearn.stages.estimators.perturbed_logistic import (
    PerturbedLogistic,
    PerturbedLogisticEstimator,
    bounded,
    draw_noise,
)
from unlearn.stages.unlearn.base.problem import MustRetrainError, NotApplicableError
from unlearn.stages.unlearn.tabular.certified_removal import (
    certified_removal,
    gradient,
    newton_step,
    residual_budget,
)
from unlearn.stages.unlearn.tabular.linear_objective import objective_of_perturbed
from unlearn.stages.unlearn.tabular.problem import Objective
from unlearn.stages.unlearn.tabular.rows import Rows

from tests.stages.estimators.perturbed import fit, settings_of
from tests.stages.unlearn.tabular.problems import applied, as_rows, distance, draw_rows, make_run

SEED = 11
ROWS = 240
DEFAULT = CertifiedRemovalSettings()
#: Much is allowed, so that the bound and not the budget is asked about.
GENEROUS: dict[str, Any] = {"sigma": 3.0, "regularization": 0.05}


class Trained:
    """A model with its rows, its objective, and what its training would make of fewer rows."""

    def __init__(self, classes: int, **options: Any) -> None:
        self.inputs, self.targets = draw_rows(ROWS, classes, seed=3)
        self.classes = classes
        self.train = settings_of(**options)
        self.rows = as_rows(bounded(self.inputs), self.targets)
        self.model = self.fitted(np.ones(ROWS, dtype=np.bool_))
        chosen = PerturbedLogisticOptions.model_validate(self.train.options)
        noise = draw_noise(SEED, chosen.sigma, self.model)
        self.objective = objective_of_perturbed(chosen, noise, classes)

    def fitted(self, kept: np.ndarray[Any, np.dtype[np.bool_]]) -> PerturbedLogistic:
        return fit(self.train, self.inputs[kept], self.targets[kept], self.classes, SEED)

    def without(
        self, gone: np.ndarray[Any, np.dtype[np.bool_]], how: CertifiedRemovalSettings = DEFAULT
    ) -> tuple[nn.Module, dict[str, Any]]:
        places = torch.from_numpy(gone)
        run = make_run(self.objective)
        found = applied(
            certified_removal,
            copy.deepcopy(self.model),
            self.rows.take(places),
            self.rows.take(~places),
            how,
            run,
        )
        return found, run.facts


@pytest.fixture(scope="module", params=[2, 3], ids=["binary", "one vs rest"])
def trained(request: pytest.FixtureRequest) -> Trained:
    return Trained(int(request.param), **GENEROUS)


def slope(model: nn.Module, rows: Rows, objective: Objective) -> torch.Tensor:
    """Return the objective's gradient as torch's own differentiation finds it."""
    value = objective.total(model, rows)
    return torch.autograd.grad(value, list(model.parameters()))[0]


def test_the_residual_stays_below_its_bound_over_200_removals(trained: Trained) -> None:
    draw = np.random.default_rng(0)
    shares = []
    for _ in range(200):
        gone = draw.permutation(ROWS) < draw.integers(1, ROWS // 2)
        kept = trained.rows.take(torch.from_numpy(~gone))
        model = copy.deepcopy(trained.model)
        step = newton_step(model, kept, trained.objective)
        before = float(slope(model, kept, trained.objective).norm())
        with torch.no_grad():
            model.weight.add_(step.step)
        residual = float(slope(model, kept, trained.objective).norm())
        assert residual <= step.bound
        assert residual < before / 5  # the step is one towards the minimum
        shares.append(residual / step.bound)
    # The bound says something: it is no number that anything stays below.
    assert max(shares) > 1e-3


def test_what_is_left_is_next_to_the_retrained_model(trained: Trained) -> None:
    gone = np.arange(ROWS) % 60 == 0
    retrained = trained.fitted(~gone)

    found, facts = trained.without(gone)

    assert distance(found, retrained) * 10 < distance(trained.model, retrained)
    assert facts["residual"] <= facts["residual_bound"] <= facts["residual_budget"]
    assert facts["left"] == facts["residual_budget"] - facts["residual_bound"]
    kept = trained.rows.take(torch.from_numpy(~gone))
    residual = float(slope(found, kept, trained.objective).norm())
    assert facts["residual"] == pytest.approx(residual, abs=1e-11)
    assert float(found.state_dict()["residual"]) == facts["residual"]
    # A strongly convex objective turns the residual into a distance.
    penalty = trained.objective.penalty(int((~gone).sum()))
    assert distance(found, retrained) <= facts["residual_bound"] / penalty


def test_the_written_gradient_is_that_of_the_objective(trained: Trained) -> None:
    model = copy.deepcopy(trained.model)
    model.draw(5)

    found = gradient(model, trained.rows, trained.objective)

    assert torch.allclose(found, slope(model, trained.rows, trained.objective), atol=1e-10)


def test_the_bound_is_the_formula_of_the_paper() -> None:
    # One weight, without a penalty to speak of: all norms are numbers.
    model = PerturbedLogistic(1, 2)
    with torch.no_grad():
        model.weight.fill_(0.5)
    rows = Rows(torch.tensor([[0.6], [0.8]], dtype=torch.float64), torch.tensor([0, 1]))
    noise = torch.tensor([[0.3]], dtype=torch.float64)
    objective = Objective(l2_per_row=0.1, noise={"weight": noise}, sigma=1.0)
    one, other = (1 / (1 + math.exp(-0.5 * x)) for x in (0.6, 0.8))
    slope = 0.6 * one - 0.8 * (1 - other) + 2 * 0.1 * 0.5 + 0.3
    curve = 0.36 * one * (1 - one) + 0.64 * other * (1 - other) + 2 * 0.1
    step = -slope / curve

    found = newton_step(model, rows, objective)

    assert found.step.item() == pytest.approx(step)
    # |X| = 1, |v| = |step|, |Xv| = |step|
    assert found.bound == pytest.approx(step**2 / 4)


def test_the_residuals_of_classes_add_as_one_vector() -> None:
    trained = Trained(3, **GENEROUS)
    kept = trained.rows.take(torch.arange(20, ROWS))
    whole = newton_step(trained.model, kept, trained.objective)
    spectral = float(torch.linalg.matrix_norm(kept.inputs, 2))

    alone = [
        0.25 * spectral * float(step.norm()) * float((kept.inputs @ step).norm())
        for step in whole.step
    ]

    assert whole.bound == pytest.approx(math.sqrt(sum(value**2 for value in alone)))


def test_what_training_left_of_the_gradient_counts() -> None:
    trained = Trained(2, **GENEROUS)
    gone = np.arange(ROWS) < 2
    _, before = trained.without(gone)

    with torch.no_grad():
        trained.model.residual.add_(0.25)
    _, after = trained.without(gone)

    assert after["residual_bound"] - before["residual_bound"] == pytest.approx(0.25)


def test_a_removal_of_nothing_changes_nothing(trained: Trained) -> None:
    found, facts = trained.without(np.zeros(ROWS, dtype=np.bool_))

    for name, value in found.state_dict().items():
        assert torch.equal(value, trained.model.state_dict()[name])
    assert facts["residual_bound"] == float(trained.model.residual)


def test_more_rows_spend_more_until_the_model_has_to_be_retrained(trained: Trained) -> None:
    order = np.random.default_rng(1).permutation(ROWS)
    bounds = []
    for count in (1, 9, 27, 81, 162):
        try:
            _, facts = trained.without(order < count)
        except MustRetrainError as error:
            assert f"removing {count} rows" in str(error)
            assert error.facts["residual_bound"] > error.facts["residual_budget"]
            assert error.facts["left"] == 0
            assert error.facts["residual"] is None
            bounds.append(error.facts["residual_bound"])
        else:
            assert facts["residual_bound"] <= facts["residual_budget"]
            bounds.append(facts["residual_bound"])
    assert bounds == sorted(bounds)
    assert bounds[0] <= residual_budget(1.0, 1e-4, 3.0) < bounds[-1]


def test_a_spent_budget_leaves_the_model_alone() -> None:
    trained = Trained(2, sigma=0.01)
    model = copy.deepcopy(trained.model)
    run = make_run(trained.objective)
    places = torch.arange(ROWS)

    with pytest.raises(MustRetrainError):
        applied(
            certified_removal,
            model,
            trained.rows.take(places < 90),
            trained.rows.take(places >= 90),
            DEFAULT,
            run,
        )

    assert torch.equal(model.weight, trained.model.weight)
    assert run.facts == {}


def test_the_budget_is_epsilon_sigma_over_c() -> None:
    # c = sqrt(2 ln(1.5 / 1e-4)) = 4.385386...: worked by hand.
    assert residual_budget(1.0, 1e-4, 10.0) == pytest.approx(10 / 4.385386, rel=1e-6)
    assert residual_budget(0.5, 1e-4, 10.0) == pytest.approx(5 / 4.385386, rel=1e-6)


@given(epsilon=st.floats(0.01, 1.0), delta=st.floats(1e-9, 0.9), sigma=st.floats(0.01, 100.0))
def test_the_budget_keeps_its_promise_by_the_exact_analysis(
    epsilon: float, delta: float, sigma: float
) -> None:
    # Balle and Wang, "Improving the Gaussian Mechanism", ICML 2018, theorem 8.
    moved = residual_budget(epsilon, delta, sigma) / sigma
    there = norm.cdf(moved / 2 - epsilon / moved)
    back = norm.cdf(-moved / 2 - epsilon / moved)

    assert there - math.exp(epsilon) * back <= delta


def test_no_promise_is_made_beyond_an_epsilon_of_1() -> None:
    with pytest.raises(ValidationError, match="epsilon"):
        CertifiedRemovalSettings(epsilon=1.5)


def test_less_epsilon_or_noise_allows_less() -> None:
    trained = Trained(2, **GENEROUS)
    gone = np.arange(ROWS) < 3
    _, facts = trained.without(gone)
    share = facts["residual_bound"] / facts["residual_budget"]

    trained.without(gone, CertifiedRemovalSettings(epsilon=min(1.0, 1.01 * share)))
    with pytest.raises(MustRetrainError):
        trained.without(gone, CertifiedRemovalSettings(epsilon=0.99 * share))


@pytest.mark.parametrize("model", [nn.Linear(5, 2).double(), PerturbedLogistic(5, 2)])
def test_other_models_have_no_certificate(model: nn.Module) -> None:
    rows = as_rows(bounded(draw_rows(20, 2)[0]), draw_rows(20, 2)[1])

    with pytest.raises(NotApplicableError, match="noise in its objective"):
        applied(certified_removal, model, rows, rows, DEFAULT, make_run(Objective()))


def test_rows_beyond_norm_1_have_no_certificate(trained: Trained) -> None:
    long = Rows(trained.rows.inputs * 2, trained.rows.targets)

    with pytest.raises(NotApplicableError, match="norm"):
        applied(
            certified_removal,
            copy.deepcopy(trained.model),
            long,
            long,
            DEFAULT,
            make_run(trained.objective),
        )


def test_the_noise_is_part_of_where_the_step_goes(trained: Trained) -> None:
    gone = np.arange(ROWS) < 2
    kept = trained.rows.take(torch.from_numpy(~gone))
    options = PerturbedLogisticOptions.model_validate(trained.train.options)
    other = draw_noise(SEED + 1, options.sigma, trained.model)
    objective = objective_of_perturbed(options, other, trained.classes)
    retrained = fit(
        trained.train, trained.inputs[~gone], trained.targets[~gone], trained.classes, SEED + 1
    )
    model = copy.deepcopy(trained.model)

    step = newton_step(model, kept, objective)
    with torch.no_grad():
        model.weight.add_(step.step)

    assert distance(model, retrained) * 3 < distance(trained.model, retrained)


def test_the_rows_read_are_counted(trained: Trained) -> None:
    run = make_run(trained.objective)
    places = torch.arange(ROWS)
    applied(
        certified_removal,
        copy.deepcopy(trained.model),
        trained.rows.take(places < 2),
        trained.rows.take(places >= 2),
        DEFAULT,
        run,
    )

    assert (run.ledger.forget, run.ledger.retain) == (0, 3 * (ROWS - 2))


def test_training_and_the_method_mean_the_same_objective() -> None:
    train = TrainParams.model_validate(settings_of(**GENEROUS).model_dump())
    assert isinstance(PerturbedLogisticEstimator(train, 4, 3).blank(), PerturbedLogistic)
    for classes in (2, 3):
        trained = Trained(classes, **GENEROUS)
        left = slope(trained.model, trained.rows, trained.objective)
        assert float(left.norm()) == pytest.approx(float(trained.model.residual), abs=1e-11)
        assert float(left.norm()) <= 1e-9
