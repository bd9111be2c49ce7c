"""Training's own steps without autograd against autograd's, and where the guard looks on."""

import copy
import dataclasses
from typing import Any

import pytest
import torch
from torch import nn
from unlearn.stages.config.train import OptimizerParams, TrainParams
from unlearn.stages.estimators.mlp import MlpEstimator, MlpSteps
from unlearn.stages.rows.outputs import Outputs
from unlearn.stages.unlearn.tabular.problem import Objective, TabularProblem

from tests.stages.unlearn.tabular.networks import (
    NETWORK_METHODS,
    RETAIN_METHODS,
    random_rows,
    run_of,
    settings_for,
    state_bytes,
)
from tests.stages.unlearn.tabular.problems import applied

FORGET = random_rows(9, seed=1, classes=3, width=6)
RETAIN = random_rows(50, seed=2, classes=3, width=6)

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "adam": {"name": "adam", "rate": 0.01, "weight_decay": 0.02},
    "adamw": {"name": "adamw", "rate": 0.01, "weight_decay": 0.02},
    "sgd": {"name": "sgd", "rate": 0.05, "weight_decay": 0.02, "momentum": 0.8},
}

#: Settings under which each method goes the way over training's own optimizer.
OWN: dict[str, dict[str, Any]] = {
    "finetune": {"optimizer": "training", "epochs": 3},
    "shrink_perturb": {"keep": 0.6, "epochs": 3},
    "msg": {"share": 0.3, "epochs": 3},
    "l1_sparse": {"penalty": 0.01, "epochs": 3},
}


def estimator(optimizer: str, dropout: float = 0.0) -> MlpEstimator:
    """Return a perceptron with two hidden layers, as training has it."""
    train = TrainParams(
        model="mlp",
        options={"hidden": [7, 5], "activation": "tanh", "dropout": dropout},
        batch=8,
        device="cpu",
        optimizer=OptimizerParams.model_validate(OPTIMIZERS[optimizer]),
    )
    return MlpEstimator(train, 6, Outputs(3))


def problem_of(own: MlpEstimator, optimizer: str, **values: Any) -> TabularProblem:
    """Return a problem whose model may take training's own steps."""
    run = run_of(FORGET, RETAIN, batch=8, fresh=lambda: own.fresh(5), **values)
    params = OptimizerParams.model_validate(OPTIMIZERS[optimizer])
    return dataclasses.replace(run, optimizer=params, steps=own.steps)


def made_by(name: str, problem: TabularProblem, module: nn.Module) -> nn.Module:
    """Return what a method makes of a copy of the module."""
    settings = settings_for(name, **OWN[name])
    return applied(NETWORK_METHODS[name], copy.deepcopy(module), FORGET, RETAIN, settings, problem)


def test_every_method_of_the_retain_rows_has_settings_here() -> None:
    assert OWN.keys() == RETAIN_METHODS


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", OWN)
def test_steps_without_autograd_are_those_of_autograd(name: str, optimizer: str) -> None:
    own = estimator(optimizer)
    module = own.fresh(4)
    fast = problem_of(own, optimizer)
    slow = dataclasses.replace(problem_of(own, optimizer), steps=None)

    quick, plain = made_by(name, fast, module), made_by(name, slow, module)

    for key, value in quick.state_dict().items():
        torch.testing.assert_close(value, plain.state_dict()[key], rtol=1e-4, atol=1e-5)
        assert not torch.equal(value, module.state_dict()[key])
    assert fast.ledger == slow.ledger


def test_dropout_follows_from_the_seed() -> None:
    own = estimator("adam", dropout=0.5)
    module = own.fresh(4)
    made = []
    for seed, junk in ((11, 1), (11, 2), (12, 1)):
        torch.manual_seed(junk)
        made.append(state_bytes(made_by("l1_sparse", problem_of(own, "adam", seed=seed), module)))

    assert made[0] == made[1]
    assert made[0] != made[2]


def test_a_loss_that_is_no_cross_entropy_is_left_to_autograd() -> None:
    own = estimator("adam")
    module = own.fresh(4)
    squared = {"objective": Objective(loss="squared")}
    with_steps = problem_of(own, "adam", **squared)
    without = dataclasses.replace(problem_of(own, "adam", **squared), steps=None)

    assert state_bytes(made_by("msg", with_steps, module)) == state_bytes(
        made_by("msg", without, module)
    )


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("name", ["shrink_perturb", "msg"])
def test_what_is_not_recovered_at_the_end_is_taken_back_whole(name: str, quick: bool) -> None:
    """The guard does not look before: right after the first step next to nothing is right."""
    own = estimator("sgd")
    module = own.fresh(4)
    problem = problem_of(own, "sgd", active=True, budget=0.0)
    problem = dataclasses.replace(
        problem,
        steps=own.steps if quick else None,
        optimizer=OptimizerParams(name="sgd", rate=1e-9),
    )
    problem.guard._probes = dataclasses.replace(  # noqa: SLF001 - rows that the model gets right
        problem.guard._probes,  # noqa: SLF001 - see above
        retain=dataclasses.replace(RETAIN, targets=module(RETAIN.inputs).argmax(dim=1)),
    )

    model = made_by(name, problem, module)

    assert state_bytes(model) == state_bytes(module)
    assert problem.guard.stopped_by == "retain_budget"
    assert problem.guard.rolled_back
    assert problem.ledger.retain == 3 * len(RETAIN), "all epochs were taken before"


def test_the_module_changes_only_when_it_is_written() -> None:
    own = estimator("adam")
    module = own.fresh(4)
    before = state_bytes(module)
    steps = MlpSteps(module, own._train, torch.Generator())  # noqa: SLF001 - its settings
    steps.take(RETAIN.inputs, RETAIN.targets, rate=0.1)

    assert state_bytes(module) == before
    steps.write()
    assert state_bytes(module) != before
