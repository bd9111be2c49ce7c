"""Selective synaptic dampening: what is measured, what is weakened, by how much."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from unlearn.stages.unlearn.tabular.problem import Objective
from unlearn.stages.unlearn.tabular.rows import Rows
from unlearn.stages.unlearn.tabular.ssd import ssd

from tests.stages.unlearn.tabular.networks import (
    Line,
    Normed,
    random_rows,
    rows_of,
    run_of,
    settings_for,
    sigmoid,
    state_bytes,
    weights_of,
)
from tests.stages.unlearn.tabular.problems import applied


@pytest.mark.parametrize(
    ("selection", "dampening", "factor"),
    [(2.0, 1.0, 0.25), (2.0, 2.0, 0.5), (2.0, 10.0, 1.0), (3.99, 1.0, 0.25), (4.0, 1.0, 1.0)],
)
def test_a_weight_is_dampened_by_how_much_more_it_matters_to_the_forget_rows(
    selection: float, dampening: float, factor: float
) -> None:
    # Odds of 3: the gradient is 3/4 for the first weight and 0 for the second.
    forget = rows_of([[1.0, 0.0]], [0])
    # None of the first weight: F_all is a quarter of F_forget.
    retain = rows_of([[0.0, 1.0]] * 3, [1, 0, 1])
    run = run_of(forget, retain)

    wanted = settings_for("ssd", selection=selection, dampening=dampening)
    model = applied(ssd, Line([math.log(3), 0.7]), forget, retain, wanted, run)

    found = weights_of(model)
    assert found[0] == pytest.approx(math.log(3) * factor, rel=1e-14)
    assert found[1] == 0.7
    assert run.facts == {"weights_dampened": int(selection < 4), "weights": 2}
    assert (run.ledger.forget, run.ledger.retain) == (1, 3)
    assert run.guard.stopped_by == "done"


def test_rows_that_cancel_each_other_in_a_batch_count_one_by_one() -> None:
    # Even odds: the gradients of the two forget rows are (1/2, 1/2) and (-1/2, -1/2).
    forget = rows_of([[1.0, 1.0], [1.0, 1.0]], [0, 1])
    retain = rows_of([[0.0, 0.0]] * 6, [0, 1] * 3)

    model = applied(ssd, Line([1.0, -1.0]), forget, retain, settings_for("ssd", selection=2.0),
        run_of(forget, retain),
    )  # fmt: skip

    np.testing.assert_allclose(weights_of(model), [0.25, -0.25], rtol=1e-14)


def test_all_rows_are_those_of_both_sides() -> None:
    forget = rows_of([[1.0, 0.0]], [0])
    retain = rows_of([[2.0, 0.0]] + [[0.0, 0.0]] * 8, [1] * 9)
    w = np.array([0.5, 0.5])

    model = applied(ssd, Line(w.tolist()), forget, retain, settings_for("ssd", selection=1.01),
        run_of(forget, retain),
    )  # fmt: skip

    mine = sigmoid(np.array(0.5)) ** 2
    everyone = (mine + (2 * (sigmoid(np.array(1.0)) - 1)) ** 2) / 10
    assert mine > 1.01 * everyone
    wanted = 0.5 * float(everyone / mine)
    np.testing.assert_allclose(weights_of(model), [wanted, 0.5], rtol=1e-14)


@settings(deadline=None)
@given(st.integers(0, 2**31), st.sets(st.integers(0, 5), max_size=6), st.booleans())
def test_nothing_is_dampened_where_the_forget_fisher_is_zero(
    seed: int, silent: set[int], wide: bool
) -> None:
    draw = torch.Generator().manual_seed(seed)
    kind = torch.float64 if wide else torch.float32
    model = nn.Linear(6, 3).to(kind)
    inputs = torch.randn(4, 6, generator=draw, dtype=kind)
    inputs[:, list(silent)] = 0.0
    forget = Rows(inputs, torch.tensor([0, 1, 2, 0]))
    many = torch.randn(60, 6, generator=draw, dtype=kind) * 0.01
    retain = Rows(many, torch.randint(3, (60,), generator=draw))
    before = model.weight.detach().clone()

    run = run_of(forget, retain)
    applied(ssd, model, forget, retain, settings_for("ssd", selection=2.0), run)

    after = model.weight.detach()
    assert torch.isfinite(after).all()
    for column in range(6):
        unchanged = torch.equal(after[:, column], before[:, column])
        assert unchanged == (column in silent)
    assert torch.all(after.abs() <= before.abs())


class Counted(nn.Module):
    """A linear model that counts how often it is asked, in a way that can be batched or not."""

    def __init__(self, *, batched: bool) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.layer = nn.Linear(3, 3)
        self.asked = 0
        self._batched = batched

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.asked += 1
        if not self._batched and bool(inputs.sum() > 1e9):
            raise AssertionError
        answers: torch.Tensor = self.layer(inputs)
        return answers


@pytest.mark.parametrize("loss", ["cross_entropy", "squared"])
def test_a_module_that_cannot_be_batched_gets_the_same_row_by_row(loss: str) -> None:
    forget = random_rows(3, seed=1, classes=3, width=3)
    small = random_rows(40, seed=2, classes=3, width=3)
    retain = Rows(small.inputs * 0.05, small.targets)
    models = {batched: Counted(batched=batched) for batched in (True, False)}

    for model in models.values():
        run = run_of(forget, retain, objective=Objective(loss=loss))  # type: ignore[arg-type]
        applied(ssd, model, forget, retain, settings_for("ssd", selection=2.0), run)
        assert run.facts["weights_dampened"] > 0

    assert models[True].asked == 2, "once for either side"
    assert models[False].asked >= 43
    torch.testing.assert_close(models[True].state_dict(), models[False].state_dict())


def test_batchnorm_answers_as_it_will_be_asked_and_its_statistics_stay() -> None:
    torch.manual_seed(4)
    model = Normed().train()
    forget, retain = random_rows(2, seed=1), random_rows(50, seed=2)
    buffers = {name: value.clone() for name, value in model.named_buffers()}

    applied(ssd, model, forget, retain, settings_for("ssd", selection=1.5), run_of(forget, retain))

    assert not model.training
    for name, value in model.named_buffers():
        assert torch.equal(value, buffers[name])


def test_weights_that_training_held_fixed_stay() -> None:
    torch.manual_seed(4)
    model = Normed()
    model.first.weight.requires_grad_(False)
    before = state_bytes(model)
    forget, retain = random_rows(2, seed=1), random_rows(50, seed=2)
    forget = Rows(forget.inputs * 10, 1 - forget.targets)

    applied(ssd, model, forget, retain, settings_for("ssd", selection=1.1), run_of(forget, retain))

    after = state_bytes(model)
    assert after["first.weight"] == before["first.weight"]
    assert after["last.weight"] != before["last.weight"]


def test_a_forget_set_of_the_selections_share_selects_nothing() -> None:
    forget, retain = random_rows(11, seed=1), random_rows(89, seed=2)
    retain = Rows(retain.inputs * 0, retain.targets)
    model = Line([0.3, 0.4])
    forget = Rows(forget.inputs.double(), forget.targets)
    retain = Rows(retain.inputs.double(), retain.targets)

    run = run_of(forget, retain)
    applied(ssd, model, forget, retain, settings_for("ssd", selection=10.0), run)

    assert run.facts["weights_dampened"] == 0
    assert weights_of(model).tolist() == [0.3, 0.4]
