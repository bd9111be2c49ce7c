"""The small projects that the conformance suite runs every method on."""

import copy
import math
from dataclasses import replace
from pathlib import Path

from unlearn.stages.context import Context, check_params
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.rows.holdout import fewest
from unlearn.stages.training.method_record import WHOLE
from unlearn.stages.training.shard_model import read_shard_model
from unlearn.stages.unlearn import stage
from unlearn.stages.unlearn.base.problem import apply
from unlearn.stages.unlearn.base.registry import Method
from unlearn.stages.unlearn.tabular.apply import make_problem
from unlearn.stages.unlearn.tabular.bridge import open_model

from tests.conftest import make_frame
from tests.stages.conftest import FEATURES, make_context, put_on_list
from tests.stages.estimators.perturbed import PREPROCESSING
from tests.stages.posthoc import posthoc_params, tokens_of, train_original
from tests.stages.unlearn.conformance import SECTIONS, Case
from tests.stages.unlearn.pictures import picture_project
from tests.stages.unlearn.tabular.networks import accuracy_of
from tests.stages.unlearn.text.projects import (
    changed,
    closed,
    forget_authors,
    mean_loss,
    opened,
    problem_of,
    text_context,
    text_params,
)

#: A model that may have a certificate.
PERTURBED = {
    "model": "perturbed_logistic",
    "options": {"sigma": 1.0, "regularization": 1.0},
    "preprocessing": PREPROCESSING,
    "epochs": 15,
    "batch": 16,
    "device": "cpu",
}
NUMBERS = {name: kind for name, kind in FEATURES.items() if kind != "categorical"}

#: Learns its rows by heart, so that there is something to forget and something to lose.
NETWORK = {
    "model": "mlp",
    "options": {"hidden": [24]},
    "epochs": 60,
    "batch": 16,
    "optimizer": {"rate": 0.02},
    "device": "cpu",
}


def tabular_case(root: Path, *, certified: bool) -> Case:
    """Return a network that knows its rows, or a linear model that may have a certificate."""
    train, features = (PERTURBED, NUMBERS) if certified else (NETWORK, FEATURES)
    params = posthoc_params("retrain", train=train, features=features)
    context = make_context(root / "project", make_frame(120), params)
    train_original(context)
    put_on_list(context, *tokens_of(context)[:10])
    forget_stage.run(context)
    return Case(context, lambda method: _end_of_table(context, method))


def picture_case(root: Path, *, norm: str) -> Case:
    """Return a residual network that knows its pictures, with rows at random to forget."""
    context = picture_project(root / "project", norm=norm)
    put_on_list(context, *tokens_of(context)[:8])
    forget_stage.run(context)
    return Case(context, lambda method: _end_of_table(context, method))


def _end_of_table(context: Context, method: Method) -> tuple[str, float] | None:
    posthoc = wild(context, method).posthoc()
    original = read_shard_model(posthoc.project.original, "original")
    problem = make_problem(
        posthoc,
        method.name,
        open_model(original, None, init_seed=posthoc.key.seed(posthoc.params.seed, WHOLE, "init")),
        stage.read_rows(posthoc),
    )
    before = accuracy_of(copy.deepcopy(problem.model), problem.retain)
    apply(method, problem)
    if problem.guard.start is None:
        return None
    return problem.guard.stopped_by, before - accuracy_of(problem.model, problem.retain)


def text_case(root: Path, blank_base: Path, memorised: Context) -> Case:
    """Return a barely trained adapter for all checks but the guard's.

    Parameters
    ----------
    root, blank_base
        Where, and the base of the adapter.
    memorised
        A project whose model knows its rows, for the guard.
    """
    params = text_params(
        blank_base,
        options={"rank": 4, "alpha": 8},
        train={"epochs": 2},
        language={"epochs": 1},
        guard={"active": False},
    )
    context = text_context(root / "text", params)
    forget_authors(context)

    return Case(context, lambda method: _end_of_text(memorised, method))


def _end_of_text(memorised: Context, method: Method) -> tuple[str, float] | None:
    context = changed(memorised, rate=0.02, epochs=2)
    # The rows that the guard measures on.
    probe = fewest(stage.read_rows(context).retain, 16)
    original = opened(context, read_shard_model(context.project.original, "original"))
    problem = problem_of(context, method.name)
    apply(method, problem)
    if problem.guard.start is None:
        return None
    if not problem.guard.settled:
        problem.guard.settle()
    after = mean_loss(opened(context, closed(problem, context)), probe)
    # The budget counts the probability of retained answers.
    return problem.guard.stopped_by, 1 - math.exp(mean_loss(original, probe) - after)


def wild(context: Context, method: Method) -> Context:
    """Return the project with steps of a method that nothing but its guard stops in time."""
    raw = context.params.model_dump(mode="json")
    settings = raw["unlearn"][SECTIONS[method.modality]].get(method.name, {})
    settings |= {name: 1.0 for name in settings if name.endswith("rate")}
    return replace(context, params=check_params(raw))
