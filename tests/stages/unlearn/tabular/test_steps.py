"""Steps of the network methods on two parameters, against gradients written out by hand."""

import dataclasses

import numpy as np
import pytest
import torch
from unlearn.stages.config.train import OptimizerParams
from unlearn.stages.unlearn.base.problem import NotApplicableError
from unlearn.stages.unlearn.tabular.bad_teacher import bad_teacher
from unlearn.stages.unlearn.tabular.finetune import finetune
from unlearn.stages.unlearn.tabular.gradient_ascent import gradient_ascent
from unlearn.stages.unlearn.tabular.l1_sparse import l1_sparse
from unlearn.stages.unlearn.tabular.msg import msg
from unlearn.stages.unlearn.tabular.negative_gradient_plus import negative_gradient_plus
from unlearn.stages.unlearn.tabular.problem import TabularProblem
from unlearn.stages.unlearn.tabular.rows import Rows
from unlearn.stages.unlearn.tabular.saliency import salient
from unlearn.stages.unlearn.tabular.salun import other_labels, salun
from unlearn.stages.unlearn.tabular.scrub import scrub
from unlearn.stages.unlearn.tabular.shrink_perturb import shrink_perturb
from unlearn.stages.unlearn.tabular.teacher import ask, divergence

from tests.stages.unlearn.tabular.networks import (
    Array,
    Line,
    divergence_gradient,
    loss_gradient,
    random_rows,
    rows_of,
    run_of,
    settings_for,
    sigmoid,
    weights_of,
)
from tests.stages.unlearn.tabular.problems import applied

START = [0.4, -0.9]
FORGET = rows_of([[1.0, 0.5], [-0.3, 2.0]], [1, 0])
RETAIN = rows_of([[0.2, -1.0], [1.5, 0.7], [-2.0, 0.1]], [1, 1, 0])


def start() -> Array:
    return np.array(START)


def same(found: Array, wanted: Array) -> None:
    np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-13)


def test_gradient_ascent_climbs_the_forget_loss_and_then_descends_the_retain_loss() -> None:
    settings = settings_for("gradient_ascent", rate=0.3, epochs=2, repair_rate=0.2, repair_epochs=1)

    model = applied(gradient_ascent, Line(START), FORGET, RETAIN, settings, run_of(FORGET, RETAIN))

    w = start()
    w += 0.3 * loss_gradient(w, FORGET)
    w += 0.3 * loss_gradient(w, FORGET)
    w -= 0.2 * loss_gradient(w, RETAIN)
    same(weights_of(model), w)


def test_finetune_descends_the_retain_loss_at_half_the_rate_half_way() -> None:
    settings = settings_for("finetune", rate=0.3, momentum=0.5, weight_decay=0.1, epochs=2)

    model = applied(finetune, Line(START), FORGET, RETAIN, settings, run_of(FORGET, RETAIN))

    w = start()
    speed = loss_gradient(w, RETAIN) + 0.1 * w
    w = w - 0.3 * speed
    speed = 0.5 * speed + loss_gradient(w, RETAIN) + 0.1 * w
    w = w - 0.15 * speed
    same(weights_of(model), w)


def test_finetune_lowers_its_rate_along_half_a_cosine_over_all_steps() -> None:
    # The same row four times: the order of the batches is all one.
    retain = rows_of([[0.2, -1.0]] * 4, [1] * 4)
    settings = settings_for("finetune", rate=0.3, momentum=0.0, weight_decay=0.0, epochs=2)

    model = applied(
        finetune, Line(START), FORGET, retain, settings, run_of(FORGET, retain, batch=2)
    )

    w = start()
    for step in range(4):
        w -= 0.3 * (1 + np.cos(np.pi * step / 4)) / 2 * loss_gradient(w, retain)
    same(weights_of(model), w)


#: Another optimizer than the default, so that a test shows whose settings are read.
TRAINING = OptimizerParams(name="sgd", rate=0.05, weight_decay=0.1, momentum=0.5)

#: What is drawn for a new model.
DRAWN = [-1.5, 0.6]


def drawing() -> TabularProblem:
    """Return a problem with an optimizer of training's own, whose new models are `DRAWN`."""
    run = run_of(FORGET, RETAIN, fresh=lambda: Line(DRAWN))
    return dataclasses.replace(run, optimizer=TRAINING)


def trained_by_hand(w: Array, rate: float, epochs: int, penalties: list[float]) -> Array:
    """Return the weights after steps of `TRAINING` at a rate that falls along half a cosine."""
    speed = np.zeros(2)
    for step, penalty in zip(range(epochs), penalties, strict=True):
        gradient = loss_gradient(w, RETAIN) + penalty * np.sign(w) + 0.1 * w
        speed = gradient if step == 0 else 0.5 * speed + gradient
        w = w - rate * (1 + np.cos(np.pi * step / epochs)) / 2 * speed
    return w


def test_shrink_perturb_moves_towards_a_new_model_and_trains_as_training_did() -> None:
    settings = settings_for("shrink_perturb", keep=0.3, rate_factor=4, epochs=3)

    model = applied(shrink_perturb, Line(START), FORGET, RETAIN, settings, drawing())

    w = 0.3 * start() + 0.7 * np.array(DRAWN)
    same(weights_of(model), trained_by_hand(w, 0.2, 3, [0, 0, 0]))


@pytest.mark.parametrize("swapped", [False, True])
def test_msg_draws_the_weight_with_the_smaller_forget_gradient_again(swapped: bool) -> None:
    """Of the same rows with their columns swapped, it is the other weight."""
    settings = settings_for("msg", share=0.5, rate_factor=2, epochs=2)
    forget = Rows(FORGET.inputs.flip(1), FORGET.targets) if swapped else FORGET
    w = start()
    sizes = np.abs(loss_gradient(w, forget))
    assert sizes[0] != sizes[1]
    smaller = int(sizes.argmin())

    model = applied(msg, Line(START), forget, RETAIN, settings, drawing())

    w[smaller] = DRAWN[smaller]
    same(weights_of(model), trained_by_hand(w, 0.1, 2, [0, 0]))


def test_l1_sparse_adds_the_signs_of_the_weights_with_a_weight_that_falls_by_epoch() -> None:
    settings = settings_for("l1_sparse", penalty=0.3, rate_factor=2, epochs=3)

    model = applied(l1_sparse, Line(START), FORGET, RETAIN, settings, drawing())

    same(weights_of(model), trained_by_hand(start(), 0.1, 3, [0.3, 0.2, 0.1]))


def test_finetune_takes_trainings_own_optimizer_where_it_is_asked_to() -> None:
    settings = settings_for("finetune", optimizer="training", rate_factor=2, rate=9.0, epochs=3)

    model = applied(finetune, Line(START), FORGET, RETAIN, settings, drawing())

    same(weights_of(model), trained_by_hand(start(), 0.1, 3, [0, 0, 0]))


def test_scrub_lowers_its_rate_after_the_epochs_5_8_and_9() -> None:
    values = {"rate": 0.3, "momentum": 0.0, "weight_decay": 0.0, "alpha": 0.0, "gamma": 1.0}
    settings = settings_for("scrub", decay=0.1, epochs=10, forget_epochs=1, **values)

    model = applied(scrub, Line(START), FORGET, RETAIN, settings, run_of(FORGET, RETAIN))

    w = start()
    for rate in [0.3] * 5 + [0.03] * 3 + [0.003] + [0.0003]:
        w = w - rate * loss_gradient(w, RETAIN)
    # The first max-steps do not move a student that is its teacher.
    same(weights_of(model), w)


def test_negative_gradient_plus_takes_the_weighted_difference() -> None:
    settings = settings_for(
        "negative_gradient_plus", alpha=0.7, rate=0.3, momentum=0.5, weight_decay=0.1, epochs=1
    )

    model = applied(
        negative_gradient_plus, Line(START), FORGET, RETAIN, settings, run_of(FORGET, RETAIN)
    )

    w = start()
    w -= 0.3 * (0.7 * loss_gradient(w, RETAIN) - 0.3 * loss_gradient(w, FORGET) + 0.1 * w)
    same(weights_of(model), w)


@pytest.mark.parametrize("forget_epochs", [1, 2, 3])
def test_scrub_flees_the_teacher_on_forget_rows_and_follows_it_on_the_others(
    forget_epochs: int,
) -> None:
    t, alpha, gamma = 3.0, 0.4, 0.8
    settings = settings_for(
        "scrub", temperature=t, alpha=alpha, gamma=gamma, rate=0.3, momentum=0.0,
        weight_decay=0.0, epochs=3, forget_epochs=forget_epochs,
    )  # fmt: skip

    model = applied(scrub, Line(START), FORGET, RETAIN, settings, run_of(FORGET, RETAIN))

    teacher, w = start(), start()
    for epoch in range(3):
        if epoch < forget_epochs:
            away = divergence_gradient(w, teacher, FORGET.inputs.numpy(), t)
            w = w + 0.3 * t**2 * away
        near = divergence_gradient(w, teacher, RETAIN.inputs.numpy(), t)
        w = w - 0.3 * (alpha * t**2 * near + gamma * loss_gradient(w, RETAIN))
    same(weights_of(model), w)


def test_salun_moves_the_salient_weight_towards_wrong_labels_and_the_other_not_at_all() -> None:
    settings = settings_for("salun", share=0.5, rate=0.3, momentum=0.9, weight_decay=0.1, epochs=1)

    model = applied(salun, Line(START), FORGET, RETAIN, settings, run_of(FORGET, RETAIN))

    w = start()
    saliency = np.abs(loss_gradient(w, FORGET))
    assert saliency[0] > saliency[1]
    # With two classes the wrong label is the other one.
    wrong = Rows(
        torch.cat([FORGET.inputs, RETAIN.inputs]), torch.cat([1 - FORGET.targets, RETAIN.targets])
    )
    w[0] -= 0.3 * (loss_gradient(w, wrong)[0] + 0.1 * w[0])
    same(weights_of(model), w)
    assert weights_of(model)[1] == START[1]


def test_bad_teacher_takes_steps_of_adam_towards_two_teachers() -> None:
    bad, t = np.array([-1.5, 0.6]), 2.0
    settings = settings_for("bad_teacher", temperature=t, retain_share=1.0, rate=0.3, epochs=3)
    run = run_of(FORGET, RETAIN, fresh=lambda: Line(bad.tolist()))

    model = applied(bad_teacher, Line(START), FORGET, RETAIN, settings, run)

    w, first, second = start(), np.zeros(2), np.zeros(2)
    for step in range(1, 4):
        gradient = (
            2 * divergence_gradient(w, bad, FORGET.inputs.numpy(), t)
            + 3 * divergence_gradient(w, start(), RETAIN.inputs.numpy(), t)
        ) / 5
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        size = np.sqrt(second / (1 - 0.999**step)) + 1e-8
        w = w - 0.3 * first / (1 - 0.9**step) / size
    np.testing.assert_allclose(weights_of(model), w, rtol=1e-9)


def test_the_divergence_is_that_of_the_student_from_the_teacher_by_hand() -> None:
    teacher, student = Line(START), Line([1.0, 1.0])
    run = run_of(FORGET, RETAIN, batch=2)

    taught = ask(teacher, RETAIN, "retain", run)
    found = divergence(taught, student(RETAIN.inputs), 2.0).detach().numpy()

    p = sigmoid(RETAIN.inputs.numpy() @ start() / 2)
    q = sigmoid(RETAIN.inputs.numpy() @ np.ones(2) / 2)
    np.testing.assert_allclose(
        found, p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)), rtol=1e-12
    )
    assert (run.ledger.forget, run.ledger.retain) == (0, 3)


def test_bad_teacher_draws_its_share_of_the_retain_rows_once() -> None:
    retain = random_rows(40, seed=2)
    retain = Rows(retain.inputs.double(), retain.targets)
    settings = settings_for("bad_teacher", retain_share=0.25, epochs=2)
    run = run_of(FORGET, retain)

    applied(bad_teacher, Line(START), FORGET, retain, settings, run)

    # The teachers' answers and two epochs.
    assert (run.ledger.forget, run.ledger.retain) == (3 * 2, 3 * 10)


def test_the_saliency_is_that_of_the_mean_loss_over_all_batches() -> None:
    rows = rows_of([[3.0, 0.0], [-3.0, 1.0], [0.1, 1.0]], [1, 1, 1])
    run = run_of(rows, RETAIN, batch=1)

    # Row by row the first weight's gradients are the larger ones, but they cancel.
    mask = salient(Line([0.0, 0.0]), rows, 0.5, run)

    assert mask["weights"].tolist() == [False, True]
    assert run.ledger.forget == 3


def test_the_saliency_counts_every_row_alike_though_the_last_batch_is_smaller() -> None:
    # Gradients of 1/2, 1/2 and 3/4; means of batches would make it 1/2 against 3/4.
    rows = rows_of([[1.0, 0.0], [1.0, 0.0], [0.0, 1.5]], [0, 0, 0])

    mask = salient(Line([0.0, 0.0]), rows, 0.5, run_of(rows, RETAIN, batch=2))

    assert mask["weights"].tolist() == [True, False]


@pytest.mark.parametrize(("share", "count"), [(0.01, 1), (0.5, 33), (1.0, 66)])
def test_the_mask_takes_its_share_and_equal_gradients_in_the_order_of_the_weights(
    share: float, count: int
) -> None:
    model = torch.nn.Linear(32, 2)
    torch.nn.init.zeros_(model.weight)
    torch.nn.init.zeros_(model.bias)
    rows = Rows(torch.ones(4, 32), torch.zeros(4, dtype=torch.int64))

    mask = salient(model, rows, share, run_of(rows, rows))

    flat = torch.cat([mask["weight"].flatten(), mask["bias"]])
    assert flat.tolist() == [True] * count + [False] * (66 - count)


def test_a_wrong_label_is_never_the_right_one_and_any_other_equally_often() -> None:
    targets = torch.arange(4).repeat(3000)
    rows = Rows(torch.zeros(len(targets), 1), targets)

    wrong = other_labels(targets, 4, run_of(rows, rows))

    counts = torch.zeros(4, 4).index_put_((targets, wrong), torch.ones(()), accumulate=True)
    assert counts.diagonal().tolist() == [0.0] * 4
    others = counts[~torch.eye(4, dtype=torch.bool)]
    assert torch.all((others - 1000).abs() < 150), "about five standard deviations"


def test_salun_does_not_apply_where_no_label_is_wrong() -> None:
    model, rows = torch.nn.Linear(2, 1), random_rows(3, seed=1, classes=1)

    with pytest.raises(NotApplicableError, match="one class"):
        applied(salun, model, rows, rows, settings_for("salun"), run_of(rows, rows))
