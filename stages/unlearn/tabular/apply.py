"""From a classifier in its folder, through one method, to the model that is written."""

import copy
from dataclasses import replace

import numpy as np
import pyarrow as pa
import torch
from unlearn.stages.config.train import TrainParams
from unlearn.stages.context import PosthocContext
from unlearn.stages.estimators.network_loss import class_weights
from unlearn.stages.project.files import json_bytes
from unlearn.stages.rows.holdout import fewest
from unlearn.stages.rows.shard_file import Layout, training_targets
from unlearn.stages.training.method_record import WHOLE, MethodRows, settings_of
from unlearn.stages.training.shard_model import FILE_NAME as MODEL_FILE
from unlearn.stages.training.shard_model import ShardModel
from unlearn.stages.unlearn.base.problem import Changed, NotApplicableError, apply
from unlearn.stages.unlearn.base.registry import Method
from unlearn.stages.unlearn.tabular.bridge import Opened, open_model
from unlearn.stages.unlearn.tabular.guard import Probes, TabularGuard
from unlearn.stages.unlearn.tabular.problem import Objective, TabularProblem
from unlearn.stages.unlearn.tabular.row_work import row_work
from unlearn.stages.unlearn.tabular.targets import unseen_loss, young_loss

#: The guard's probes: enough to see a loss move, few enough to measure twice in an epoch. An epoch
#: passes three times over the retain rows, forward and backward: two measurements of a fifth of
#: them are below 15 % of that.
_MOST_FORGET, _MOST_RETAIN = 1_000, 2_000
_FEWEST, _FORGET_PART, _RETAIN_PART = 64, 15, 7

#: What a step costs besides its arithmetic, in multiplications: measured with a small network,
#: about as long as it takes to pass 300 rows through 10,000 weights.
_OVERHEAD = 3_000_000


def unlearn_table(
    context: PosthocContext,
    method: Method,
    original: ShardModel,
    rows: MethodRows,
    young: ShardModel | None = None,
) -> Changed:
    """Apply a method to a classifier.

    Parameters
    ----------
    context
        The project; nothing in it is written.
    method
        One that changes the model it starts from.
    original
        The model to start from.
    rows
        What the method is given; both sides have rows.
    young
        The model whose loss on the forget rows is the guard's target; None where there is none.

    Raises
    ------
    InputError
        If the method fails.
    NotApplicableError
        If the method does not apply to this model or these rows.
    MustRetrainError
        If only retraining keeps the method's guarantee.
    """
    opened = open_model(
        original,
        context.code,
        init_seed=context.key.seed(context.params.seed, WHOLE, "init"),
        root=context.project.root,
    )
    problem = make_problem(context, method.name, opened, rows, young)
    apply(method, problem)
    weights = opened.close(problem.model)
    description = {**original.description, "rows": rows.retain.num_rows}
    files = {MODEL_FILE: json_bytes(description), str(description["file"]): weights}
    return problem.changed(files)


def make_problem(
    context: PosthocContext,
    name: str,
    opened: Opened,
    rows: MethodRows,
    young: ShardModel | None = None,
) -> TabularProblem:
    """Return what a method is given; see `unlearn_table`."""
    params, guard = context.params, context.unlearn.guard
    most_forget, most_retain = probe_sizes(rows.retain.num_rows)
    forget = fewest(rows.forget, most_forget)
    target = None if young is None else _target_of_young(young, context, forget)
    probes = Probes(
        forget=opened.rows(forget),
        retain=opened.rows(fewest(rows.retain, most_retain)),
        target=_target(opened, context, rows) if target is None else target,
        target_of="class" if target is None else "young",
    )
    return TabularProblem(
        forget=opened.rows(rows.forget),
        retain=opened.rows(rows.retain),
        settings=settings_of(context, name),
        seed=context.key.seed(params.seed, WHOLE, "unlearn", name),
        epochs=params.train.epochs,
        guard=TabularGuard(
            probes,
            budget=guard.budget,
            gradient_limit=guard.gradient_limit,
            active=guard.active,
            overhead=_OVERHEAD / row_work(opened.module, probes.retain.inputs),
        ),
        model=copy.deepcopy(opened.module),
        batch=params.train.batch,
        objective=with_class_weights(
            opened.objective, params.train, context.layout, _all_rows(params.train, rows)
        ),
        fresh=lambda: opened.fresh(context.key.seed(params.seed, WHOLE, "fresh", name)),
        optimizer=params.train.optimizer,
        steps=opened.steps,
    )


def with_class_weights(
    objective: Objective, train: TrainParams, layout: Layout, rows: pa.Table
) -> Objective:
    """Return an objective with the weights of classes that its model was trained with.

    Parameters
    ----------
    objective
        Without them.
    train, layout
        The model's settings and columns.
    rows
        What it was trained on: balanced weights are a function of them.
    """
    weights = class_weights(train, layout.outputs, training_targets(rows, layout))
    if weights is None:
        return objective
    return replace(objective, class_weights=torch.from_numpy(weights.astype(np.float32)))


def _all_rows(train: TrainParams, rows: MethodRows) -> pa.Table:
    """Return the rows that the original was trained on, where weights of classes depend on them."""
    if train.class_weight != "balanced":
        return rows.retain
    names = rows.retain.column_names
    return pa.concat_tables([rows.forget.select(names), rows.retain])


def probe_sizes(retained: int) -> tuple[int, int]:
    """Return how many forget rows, and how many retain rows, a guard measures on at most.

    Parameters
    ----------
    retained
        Number of retain rows.
    """
    return (
        min(_MOST_FORGET, max(_FEWEST, retained // _FORGET_PART)),
        min(_MOST_RETAIN, max(_FEWEST, retained // _RETAIN_PART)),
    )


def _target_of_young(young: ShardModel, context: PosthocContext, forget: pa.Table) -> float | None:
    """Return the loss of the model of the stage `young` on the forget probe, if it has one."""
    try:
        opened = open_model(young, context.code, init_seed=0, root=context.project.root)
    except NotApplicableError:
        return None  # trained on rows of one class: it is a constant
    return young_loss(opened.module, opened.rows(forget))


def _target(opened: Opened, context: PosthocContext, rows: MethodRows) -> float | None:
    """Return the original's loss on unseen rows, of the classes that are to be forgotten."""
    if rows.calibration.num_rows == 0:
        return None
    unseen = opened.rows(rows.calibration)
    truth = training_targets(rows.forget, context.layout)
    return unseen_loss(opened.module, unseen, truth)
