"""The network methods on a network that knows its rows by heart, and on odd networks and rows."""

import copy
from typing import Any

import pytest
import torch
from torch import nn
from unlearn.stages.unlearn.tabular.gradient_ascent import gradient_ascent
from unlearn.stages.unlearn.tabular.negative_gradient_plus import negative_gradient_plus
from unlearn.stages.unlearn.tabular.problem import Objective, TabularProblem
from unlearn.stages.unlearn.tabular.rows import Rows
from unlearn.stages.unlearn.tabular.saliency import salient
from unlearn.stages.unlearn.tabular.salun import salun

from tests.stages.unlearn.tabular.networks import (
    NETWORK_METHODS,
    RETAIN_METHODS,
    Normed,
    accuracy_of,
    loss_of,
    random_rows,
    run_of,
    settings_for,
    state_bytes,
    trained_on_digits,
)
from tests.stages.unlearn.tabular.problems import applied

ALL = sorted(NETWORK_METHODS)
ITERATIVE = sorted(set(ALL) - {"ssd"})

#: Rates at which each method does something to the network on digits within its few steps.
LIVELY: dict[str, dict[str, Any]] = {
    "gradient_ascent": {"rate": 0.2, "repair_rate": 0.01},
    "finetune": {"rate": 0.05},
    "negative_gradient_plus": {"alpha": 0.8, "rate": 0.05},
    "scrub": {"rate": 0.1, "forget_epochs": 5},
    "ssd": {"selection": 1.5},
    "salun": {"rate": 0.03},
    "bad_teacher": {"rate": 3e-3, "epochs": 10},
    "shrink_perturb": {"keep": 0.9},
    "msg": {"share": 0.1},
    "l1_sparse": {},
}


@pytest.mark.trained
def test_the_problem_is_one_there_is_something_to_forget_in() -> None:
    digits = trained_on_digits()

    assert accuracy_of(digits.model, digits.retain) == 1.0
    assert accuracy_of(digits.model, digits.unseen) > 0.85
    # 20 seeds: 0.10 to 0.15 of the target.
    assert loss_of(digits.model, digits.forget) < 0.3 * digits.target


@pytest.mark.trained
def test_gradient_ascent_without_the_guard_wrecks_the_model() -> None:
    digits = trained_on_digits()
    run = digits.run(active=False)
    settings = settings_for("gradient_ascent", rate=0.2, repair_rate=1e-3)

    model = applied(gradient_ascent, digits.original, digits.forget, digits.retain, settings, run)

    # 20 seeds: 0.11 to 0.60 and 0.10 to 0.39; the guard keeps 0.93 of the retain rows.
    assert accuracy_of(model, digits.retain) < 0.75
    assert accuracy_of(model, digits.unseen) < 0.75
    assert loss_of(model, digits.forget) > 10 * digits.target
    assert run.guard.stopped_by == "unguarded"


@pytest.mark.trained
def test_gradient_ascent_with_the_guard_stops_at_the_loss_of_unseen_rows() -> None:
    digits = trained_on_digits()
    run = digits.run(budget=0.3)
    settings = settings_for("gradient_ascent", rate=0.2, repair_rate=1e-3)

    model = applied(gradient_ascent, digits.original, digits.forget, digits.retain, settings, run)

    assert run.guard.stopped_by == "forget_target"
    assert accuracy_of(model, digits.retain) >= 0.7
    # 20 seeds: 0.53 to 1.35 of the target; the original is at 0.10 to 0.15.
    assert 0.3 * digits.target < loss_of(model, digits.forget) < 2 * digits.target


@pytest.mark.trained
def test_gradient_ascent_with_a_small_budget_stops_at_it_and_says_so() -> None:
    digits = trained_on_digits()
    run = digits.run(target=100.0, budget=0.02)
    settings = settings_for("gradient_ascent", rate=0.2, repair_rate=1e-3)

    model = applied(gradient_ascent, digits.original, digits.forget, digits.retain, settings, run)

    assert run.guard.stopped_by == "retain_budget"
    assert run.guard.rolled_back
    assert accuracy_of(model, digits.retain) >= 0.98
    assert loss_of(model, digits.forget) > loss_of(digits.model, digits.forget)


@pytest.mark.trained
def test_a_climb_that_a_limit_on_the_gradient_ends_says_so() -> None:
    digits = trained_on_digits()
    run = digits.run(target=100.0, budget=1.0, gradient_limit=5.0)
    settings = settings_for("gradient_ascent", rate=0.5)

    model = applied(gradient_ascent, digits.original, digits.forget, digits.retain, settings, run)

    assert run.guard.stopped_by == "gradient"
    assert all(bool(torch.isfinite(value).all()) for value in model.state_dict().values())


def test_a_climb_off_the_end_of_the_numbers_is_taken_back() -> None:
    digits = trained_on_digits()
    run = digits.run(target=None, budget=1.0, gradient_limit=1e300)
    settings = settings_for("gradient_ascent", rate=1e6, repair_epochs=0)

    model = applied(gradient_ascent, digits.original, digits.forget, digits.retain, settings, run)

    assert run.guard.stopped_by == "not_finite"
    assert all(bool(torch.isfinite(value).all()) for value in model.state_dict().values())


@pytest.mark.trained
def test_repair_wins_accuracy_back_without_undoing_the_forgetting() -> None:
    digits = trained_on_digits()

    def climb(target: float, repair_epochs: int) -> tuple[nn.Module, TabularProblem]:
        run = digits.run(budget=0.3, target=target)
        settings = settings_for(
            "gradient_ascent", rate=0.2, repair_rate=0.003, repair_epochs=repair_epochs
        )
        model = applied(
            gradient_ascent, digits.original, digits.forget, digits.retain, settings, run
        )
        return model, run

    # A target that the climb is sure to pass by far: a step multiplies the loss.
    target = 0.8 * loss_of(climb(digits.target, 0)[0], digits.forget)
    (climbed, _), (repaired, run) = climb(target, 0), climb(target, 10)

    before, after = loss_of(climbed, digits.forget), loss_of(repaired, digits.forget)
    assert before > 1.1 * target, "there is something to repair with"
    assert target <= after < before
    assert loss_of(repaired, digits.retain) < loss_of(climbed, digits.retain)
    assert accuracy_of(repaired, digits.retain) >= accuracy_of(climbed, digits.retain)
    assert run.guard.stopped_by == "forget_target"
    assert run.facts == {"repair_stopped_by": "forgetting"}


@pytest.mark.trained
def test_negative_gradient_plus_raises_the_forget_loss_and_keeps_its_budget() -> None:
    digits = trained_on_digits()
    run = digits.run(budget=0.02)
    settings = settings_for("negative_gradient_plus", alpha=0.8, rate=0.1)

    model = applied(
        negative_gradient_plus, digits.original, digits.forget, digits.retain, settings, run
    )

    assert loss_of(model, digits.forget) > 0.5 * digits.target
    assert accuracy_of(model, digits.retain) >= 0.98
    assert accuracy_of(model, digits.unseen) > accuracy_of(digits.model, digits.unseen) - 0.05
    assert run.guard.stopped_by == "forget_target"


@pytest.mark.trained
@pytest.mark.parametrize("name", sorted(set(ITERATIVE) - RETAIN_METHODS))
def test_every_method_that_reads_forget_rows_makes_them_less_familiar_within_the_budget(
    name: str,
) -> None:
    digits = trained_on_digits()
    run = digits.run(budget=0.03)

    model = applied(
        NETWORK_METHODS[name],
        digits.original,
        digits.forget,
        digits.retain,
        settings_for(name, **LIVELY[name]),
        run,
    )

    assert run.guard.moved
    # 20 seeds: at least 2.7 times; a method that does nothing is at 1.
    assert loss_of(model, digits.forget) > 1.8 * loss_of(digits.model, digits.forget)
    assert accuracy_of(model, digits.retain) >= 0.97
    assert run.guard.stopped_by in {"epochs", "forget_target", "retain_budget"}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("active", [True, False])
def test_the_same_inputs_twice_give_the_same_bytes(name: str, active: bool) -> None:
    digits = trained_on_digits()
    made = []
    for junk in (1, 2):
        # What was drawn before does not matter: nothing here has dropout.
        torch.manual_seed(junk)
        run = digits.run(active=active)
        settings = settings_for(name, **LIVELY[name])
        model = applied(
            NETWORK_METHODS[name], digits.original, digits.forget, digits.retain, settings, run
        )
        made.append((state_bytes(model), run.ledger, run.facts, run.guard.stopped_by))

    assert made[0] == made[1]
    assert made[0][0] != state_bytes(digits.model)


@pytest.mark.parametrize("name", ["gradient_ascent", "salun", "bad_teacher", "shrink_perturb"])
def test_another_seed_gives_another_model(name: str) -> None:
    digits = trained_on_digits()
    made = [
        state_bytes(
            applied(NETWORK_METHODS[name], digits.original, digits.forget, digits.retain,
                settings_for(name, **LIVELY[name]), digits.run(seed=seed, batch=16, active=False),
            )
        )
        for seed in (1, 2)
    ]  # fmt: skip

    assert made[0] != made[1]


@pytest.mark.parametrize(
    ("name", "forget", "retain"),
    [
        # 40 forget and 300 retain rows, batches of 64, training of 10 epochs: updates of 2, or of
        # 1 where each reads as many forget rows as retain rows.
        ("finetune", 0, 2 * 300),
        ("gradient_ascent", 2 * 40, 300),
        ("negative_gradient_plus", 5 * 40, 300),
        ("scrub", 40 + 2 * 40, 300 + 2 * 300),
        ("ssd", 40, 300),
        ("salun", 40 + 2 * 40, 2 * 300),
        ("bad_teacher", 2 * 40, 2 * 90),
        ("shrink_perturb", 0, 2 * 300),
        ("msg", 40, 2 * 300),
        ("l1_sparse", 0, 2 * 300),
    ],
)
def test_the_ledger_says_how_many_rows_were_read(name: str, forget: int, retain: int) -> None:
    digits = trained_on_digits()
    run = digits.run(active=False, epochs=10)

    applied(
        NETWORK_METHODS[name],
        digits.original,
        digits.forget,
        digits.retain,
        settings_for(name),
        run,
    )

    assert (run.ledger.forget, run.ledger.retain) == (forget, retain)


@pytest.mark.parametrize("name", sorted(set(ITERATIVE) - RETAIN_METHODS))
def test_a_model_with_nothing_left_to_forget_stays_byte_for_byte(name: str) -> None:
    digits = trained_on_digits()
    run = digits.run(target=0.0)

    model = applied(
        NETWORK_METHODS[name],
        digits.original,
        digits.forget,
        digits.retain,
        settings_for(name),
        run,
    )

    assert state_bytes(model) == state_bytes(digits.model)
    assert run.guard.stopped_by == "forget_target"
    assert not run.guard.rolled_back


def test_fine_tuning_goes_on_where_the_rows_are_hard_for_any_model() -> None:
    digits = trained_on_digits()
    run = digits.run(target=0.0)

    model = applied(
        NETWORK_METHODS["finetune"],
        digits.original,
        digits.forget,
        digits.retain,
        settings_for("finetune"),
        run,
    )

    assert state_bytes(model) != state_bytes(digits.model)
    assert run.guard.stopped_by == "epochs"


def test_salun_holds_every_weight_outside_the_mask_to_the_bit_and_moves_the_rest() -> None:
    torch.manual_seed(6)
    original = Normed()
    forget, retain = random_rows(6, seed=1), random_rows(40, seed=2)
    settings = settings_for("salun", share=0.3, momentum=0.9, weight_decay=0.1, epochs=3)
    run = run_of(forget, retain, batch=7)
    mask = salient(copy.deepcopy(original), forget, 0.3, run)

    model = applied(salun, copy.deepcopy(original), forget, retain, settings, run)

    before = dict(original.named_parameters())
    moved = total = 0
    for name, value in model.named_parameters():
        assert torch.equal(value[~mask[name]], before[name][~mask[name]])
        moved += int((value != before[name]).sum())
        total += value.numel()
    assert moved == round(0.3 * total)


def odd_model(kind: str) -> tuple[nn.Module, Rows, Rows]:
    """Return a model, one forget row, and retain rows whose last batch has one row."""
    torch.manual_seed(9)
    if kind == "batchnorm":
        return Normed(), random_rows(1, seed=1), random_rows(9, seed=2)
    classes = 2 if kind == "binary" else 4
    forget = random_rows(1, seed=1, classes=classes, width=4)
    retain = random_rows(9, seed=2, classes=classes, width=4)
    double = [Rows(rows.inputs.double(), rows.targets) for rows in (forget, retain)]
    return nn.Linear(4, classes).double(), double[0], double[1]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("kind", ["batchnorm", "binary", "multiclass", "squared"])
@pytest.mark.parametrize("swapped", [False, True])
def test_odd_models_and_rows_are_no_error(name: str, kind: str, swapped: bool) -> None:
    model, forget, retain = odd_model(kind)
    if swapped:
        forget, retain = retain, forget
    kinds = {key: value.dtype for key, value in model.state_dict().items()}
    run = run_of(
        forget,
        retain,
        batch=4,
        epochs=10,
        active=True,
        fresh=lambda: odd_model(kind)[0],
        objective=Objective(loss="squared" if kind == "squared" else "cross_entropy"),
    )

    changed = applied(NETWORK_METHODS[name], model, forget, retain, settings_for(name), run)

    assert {key: value.dtype for key, value in changed.state_dict().items()} == kinds
    assert all(bool(torch.isfinite(v).all()) for v in changed.state_dict().values())
    assert not changed.training


@pytest.mark.parametrize("name", ITERATIVE)
def test_running_statistics_do_not_depend_on_the_forget_rows_inputs(name: str) -> None:
    statistics = []
    for shift in (0.0, 50.0):
        model, _, retain = odd_model("batchnorm")
        forget = random_rows(6, seed=1)
        forget = Rows(forget.inputs + shift, forget.targets)
        run = run_of(forget, retain, batch=4, epochs=10, fresh=Normed)
        # The weights before it do not move, so that only its own reading can change it.
        model.get_submodule("first").requires_grad_(False)
        changed = applied(NETWORK_METHODS[name], model, forget, retain, settings_for(name), run)
        statistics.append(
            [v.clone() for n, v in changed.named_buffers() if n.startswith("norm.running")]
        )

    assert all(torch.equal(a, b) for a, b in zip(*statistics, strict=True))
