"""Entry of the `unlearn` stage, for one method."""

import copy
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import torch
from torch import nn
from unlearn.stages.context import Context, PosthocContext
from unlearn.stages.errors import InputError
from unlearn.stages.project.files import json_bytes, write_folder
from unlearn.stages.project.locks import exclusive
from unlearn.stages.project.paths import HOLDOUT
from unlearn.stages.rows.holdout import calibration_half, fewest
from unlearn.stages.rows.shard_file import read_shard, targets
from unlearn.stages.training.environment import environment
from unlearn.stages.training.method_record import (
    FILE_NAME,
    RETRAIN,
    WHOLE,
    MethodRows,
    Record,
    inputs_digest,
    is_genuine,
    read_record,
    sealed,
    settings_of,
)
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.shard_model import FILE_NAME as MODEL_FILE
from unlearn.stages.training.shard_model import ShardModel, read_shard_model
from unlearn.stages.training.slices import TrainedShard, plan_shard, train_shard
from unlearn.stages.unlearn.tabular.guard import Guard, Probes
from unlearn.stages.unlearn.tabular.problem import (
    Changed,
    MustRetrainError,
    NotApplicableError,
    Run,
    check_facts,
    told_by_name,
)
from unlearn.stages.unlearn.tabular.rows import Rows
from unlearn.stages.unlearn.tabular.targets import unseen_loss
from unlearn.stages.unlearn.text.apply import unlearn_text

if TYPE_CHECKING:
    from unlearn.stages.unlearn.tabular.bridge import Opened
    from unlearn.stages.unlearn.tabular.registry import Method

#: The guard's probes: enough to see a loss move, few enough to ask often.
_MOST_FORGET, _MOST_RETAIN = 1_000, 2_000

NOTHING = "nothing_to_forget"
TRAINED = "trained"


@dataclass(frozen=True)
class Done:
    """What one method came to.

    Parameters
    ----------
    record
        How the model came about.
    forgotten, retained
        Rows of either side.
    seconds
        How long the method worked; None where finished work stood in place.
    """

    record: Record
    forgotten: int
    retained: int
    seconds: float | None


@dataclass(frozen=True)
class Unlearned:
    """A method's result: the files of its model, none where it does not apply, and its record."""

    files: dict[str, bytes]
    record: Record


def run(context: Context, name: str) -> Done:
    """Make `models/unlearned/<method>` from the original, the forget set and the retain set.

    Parameters
    ----------
    context
        The project.
    name
        A method that params.yaml names.

    Raises
    ------
    InputError
        If params.yaml names no such method, or what it reads is not as it must be.
    """
    posthoc = context.posthoc()
    if name not in posthoc.unlearn.methods:
        raise InputError(f"params.yaml names no method {name!r}")
    folder = context.project.unlearned / name
    with exclusive(context.project.lock_file(f"unlearn-{name.replace('/', '-')}"), "another run"):
        original = read_shard_model(context.project.original, "models/original")
        if original.layout != context.layout:
            raise InputError(
                "models/original was made for other features or classes than params.yaml names"
            )
        rows = read_rows(context)
        inputs = inputs_digest(posthoc, name, original.digest, rows)
        counts = rows.forget.num_rows, rows.retain.num_rows
        try:
            found = read_record(folder, name)
        except InputError:
            found = None
        if found is not None and found.inputs == inputs and is_genuine(context.key, folder, found):
            return Done(found, *counts, None)
        started = time.perf_counter()
        made = unlearn_rows(posthoc, name, original, rows)
        record = sealed(context.key, replace(made.record, inputs=inputs), made.files)
        content = made.files | {FILE_NAME: json_bytes(record.as_json())}
        write_folder(folder, content, last=FILE_NAME)
    return Done(record, *counts, time.perf_counter() - started)


def read_rows(context: Context) -> MethodRows:
    """Read the rows that `forget` left."""
    project = context.project
    tables = {}
    for side, path in (
        ("retain", project.retain_file(WHOLE)),
        ("holdout", project.retain_file(HOLDOUT)),
        ("forget", project.forget_file(WHOLE)),
    ):
        if side == "forget" and not path.is_file():
            tables[side] = context.layout.schema.empty_table()
            continue
        tables[side] = read_side(context, path)
    return MethodRows(tables["forget"], tables["retain"], calibration_half(tables["holdout"]))


def read_side(context: Context, path: Path) -> pa.Table:
    """Return the rows in a file of `forget`.

    Raises
    ------
    InputError
        If the file is missing, or its columns are not those of params.yaml.
    """
    file = read_shard(path, f"data/{path.parent.name}/{path.name}")
    if file.layout != context.layout:
        raise InputError(
            f"data/{path.parent.name}/{path.name} does not have the columns of params.yaml",
            "`unlearn repro` makes it anew",
        )
    return file.rows


def unlearn_rows(
    context: PosthocContext, name: str, original: ShardModel, rows: MethodRows
) -> Unlearned:
    """Apply a method; its record has no inputs, files and seal yet.

    Parameters
    ----------
    context
        The project; nothing in it is written.
    name
        A method that params.yaml names.
    original
        The model to start from.
    rows
        What the method is given.
    """
    method = None if context.layout.is_text else _method(context, name)
    facts = environment(context.params.train)
    record = Record(name, label_of(name, method), "", environment=facts)
    if name == RETRAIN:
        return _trained_anew(context, rows, record)
    forgotten, retained = rows.forget.num_rows, rows.retain.num_rows
    if forgotten == 0:
        return Unlearned(_files_of(original), replace(record, stopped_by=NOTHING))
    try:
        if retained == 0:
            raise NotApplicableError("no row is left to keep: there is no model without them")
        if forgotten > retained:
            raise NotApplicableError(
                f"more rows are to be forgotten ({forgotten:,}) than stay ({retained:,}): "
                "training anew costs less, and is exact"
            )
        if method is None:
            changed = unlearn_text(context, name, original, rows)
        else:
            changed = _of_columns(context, name, method, original, rows)
    except NotApplicableError as error:
        return Unlearned({}, replace(record, why_not=str(error)))
    except MustRetrainError as error:
        spent = replace(record, label="exact", facts=error.facts | {"retrained": str(error)})
        return _trained_anew(context, rows, spent)
    record = replace(
        record,
        label=label_of(name, method, changed.facts),
        stopped_by=changed.stopped_by,
        rolled_back=changed.rolled_back,
        passes=changed.passes,
        facts=changed.facts,
    )
    return Unlearned(changed.files, record)


def _method(context: Context, name: str) -> "Method":
    # Language models have methods of their own, and do without loading scikit-learn.
    from unlearn.stages.unlearn.tabular.registry import find_method

    return find_method(name, context.project.root)


def label_of(name: str, method: "Method | None", facts: dict[str, Any] | None = None) -> str:
    """Return what a method's result may be called.

    Parameters
    ----------
    name, method
        The method; None for a language model's, all of which but training anew approximate.
    facts
        Of its run; a certificate has its numbers there.
    """
    if method is None:
        return "exact" if name == RETRAIN else "approximate"
    if method.kind != "certified" or not facts:
        return method.kind
    return f"certified(epsilon={facts['epsilon']:g}, delta={facts['delta']:g})"


def _of_columns(
    context: PosthocContext, name: str, method: "Method", original: ShardModel, rows: MethodRows
) -> Changed:
    from unlearn.stages.unlearn.tabular.bridge import open_model

    opened = open_model(original, _code(context), init_seed=_init_seed(context))
    run = _run_of(context, name, opened, rows)
    torch.manual_seed(run.seed)
    module = _apply(method, opened, rows, settings_of(context, name), run)
    weights = opened.close(module)
    description = {**original.description, "rows": rows.retain.num_rows}
    return Changed(
        files={MODEL_FILE: json_bytes(description), str(description["file"]): weights},
        stopped_by=run.guard.stopped_by,
        rolled_back=run.guard.rolled_back,
        passes={
            "forget": round(run.ledger.forget / rows.forget.num_rows, 4),
            "retain": round(run.ledger.retain / rows.retain.num_rows, 4),
        },
        facts=run.facts,
    )


def _apply(
    method: "Method", opened: "Opened", rows: MethodRows, settings: Any, run: Run
) -> nn.Module:
    module = copy.deepcopy(opened.module)
    with told_by_name():
        changed = method.function(
            module, opened.rows(rows.forget), opened.rows(rows.retain), settings, run
        )
    if not isinstance(changed, nn.Module):
        raise InputError("the method does not return a torch module")
    check_facts(run.facts)
    return changed


def _run_of(context: PosthocContext, name: str, opened: "Opened", rows: MethodRows) -> Run:
    params = context.params
    seed = context.key.seed(params.seed, WHOLE, "unlearn", name)
    guard = context.unlearn.guard
    probes = Probes(
        forget=opened.rows(fewest(rows.forget, _MOST_FORGET)),
        retain=opened.rows(fewest(rows.retain, _MOST_RETAIN)),
        target=_target(opened, context, rows),
    )
    return Run(
        seed=seed,
        batch=params.train.batch,
        epochs=params.train.epochs,
        objective=opened.objective,
        fresh=lambda: opened.fresh(context.key.seed(params.seed, WHOLE, "fresh", name)),
        guard=Guard(
            probes,
            budget=guard.budget,
            gradient_limit=guard.gradient_limit,
            active=guard.active,
        ),
    )


def _target(opened: "Opened", context: Context, rows: MethodRows) -> float | None:
    """Return the original's loss on unseen rows, of the classes that are to be forgotten."""
    if rows.calibration.num_rows == 0:
        return None
    unseen: Rows = opened.rows(rows.calibration)
    return unseen_loss(opened.module, unseen, targets(rows.forget, context.layout))


def _trained_anew(context: Context, rows: MethodRows, record: Record) -> Unlearned:
    trained = train_anew(context, rows.retain)
    train = context.params.train
    passes = {}
    if not (train.is_sklearn or train.is_perturbed):  # their solvers read as often as it takes
        passes = {"forget": 0.0, "retain": float(train.epochs) if rows.retain.num_rows else 0.0}
    return Unlearned(trained.files, replace(record, stopped_by=TRAINED, passes=passes))


def train_anew(context: Context, rows: pa.Table) -> TrainedShard:
    """Train from nothing, as the `train` stage would on these rows.

    Parameters
    ----------
    context
        The project.
    rows
        Rows of the model, in the order of their file.
    """
    recipe = Recipe.of(context.params, context.key, context.project.root)
    return train_shard(recipe, plan_shard(recipe, WHOLE, rows, folder=None), folder=None)


def _files_of(model: ShardModel) -> dict[str, bytes]:
    files = {MODEL_FILE: json_bytes(model.description)}
    if model.weights is not None:
        files[str(model.description["file"])] = model.weights
    return files


def _code(context: Context) -> Any:
    code = context.params.train.code_path
    return None if code is None else context.project.root / code


def _init_seed(context: Context) -> int:
    return context.key.seed(context.params.seed, WHOLE, "init")
