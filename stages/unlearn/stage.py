"""Entry of the `unlearn` stage, for one method."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
from unlearn.stages.config.methods import YOUNG, own_code
from unlearn.stages.context import Context, PosthocContext
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.registry import find_spec
from unlearn.stages.estimators.spec import FeatureTraining
from unlearn.stages.project.files import json_bytes, write_folder
from unlearn.stages.project.locks import exclusive
from unlearn.stages.project.paths import HOLDOUT
from unlearn.stages.project.stopwatch import Stopwatch
from unlearn.stages.rows.holdout import calibration_half
from unlearn.stages.rows.shard_file import read_shard
from unlearn.stages.training.environment import environment
from unlearn.stages.training.lineage import FILE_NAME as LINEAGE_FILE
from unlearn.stages.training.lineage import read_lineage
from unlearn.stages.training.method_record import (
    FILE_NAME,
    RETRAIN,
    WHOLE,
    MethodRows,
    Record,
    inputs_digest,
    is_genuine,
    read_record,
    read_young,
    sealed,
)
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.shard_model import FILE_NAME as MODEL_FILE
from unlearn.stages.training.shard_model import ShardModel, read_shard_model
from unlearn.stages.training.slices import TrainedShard, plan_shard, train_shard
from unlearn.stages.training.young import counts_epochs, young_epochs, young_recipe
from unlearn.stages.unlearn.base.problem import Changed, MustRetrainError, NotApplicableError
from unlearn.stages.unlearn.base.registry import Method, find_method
from unlearn.stages.unlearn.base.user_method import user_method

NOTHING = "nothing_to_forget"
TRAINED = "trained"
NO_ROW_LEFT = "no row is left to keep: there is no model without them"


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
        How long the method worked, by the clock, on rows and a model that are open; None where
        finished work was in place.
    processor_seconds, guard_seconds
        The same in processor time; and how much of `seconds` the measurements of the guard took.
    is_original
        Whether the model is the original, which was trained from the same rows: nothing was done.
    """

    record: Record
    forgotten: int
    retained: int
    seconds: float | None
    processor_seconds: float = 0.0
    guard_seconds: float = 0.0
    is_original: bool = False


@dataclass(frozen=True)
class Unlearned:
    """A method's result: the files of its model, none where it does not apply, and its record.

    See `Done` for the rest.
    """

    files: dict[str, bytes]
    record: Record
    time: Stopwatch = field(default_factory=Stopwatch)
    guard_seconds: float = 0.0
    is_original: bool = False


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
    with exclusive(context.project.lock_file(f"unlearn-{name.replace('/', '-')}"), "another run"):
        original = read_shard_model(context.project.original, "models/original")
        if original.layout != context.layout:
            raise InputError(
                "models/original was made for other features or classes than schema.yaml names"
            )
        rows = read_rows(context)
        inputs = inputs_digest(posthoc, name, original.digest, rows)
        young = read_young(context) if posthoc.unlearn.target == "young" else None
        done = finished(
            context,
            name,
            inputs,
            lambda: (
                _trained_original(posthoc, name, rows)
                or unlearn_rows(posthoc, name, original, rows, young)
            ),
        )
    return replace(done, forgotten=rows.forget.num_rows, retained=rows.retain.num_rows)


def _trained_original(context: PosthocContext, name: str, rows: MethodRows) -> Unlearned | None:
    """Return the original as the result of `retrain`, if nothing else would come out.

    It is where the original's folder holds, with a genuine lineage, what these rows give by these
    settings in this environment: then training them again gives the same bytes. None otherwise.
    """
    if name != RETRAIN or context.unlearn.original != "trained" or rows.forget.num_rows:
        return None
    folder, recipe = context.project.original, Recipe.of_project(context)
    if plan_shard(recipe, WHOLE, rows.retain, folder).first <= recipe.slices:
        return None
    lineage = read_lineage(folder)
    if lineage is None or lineage.refused:
        return None
    files = {each: (folder / each).read_bytes() for each in (*lineage.files, LINEAGE_FILE)}
    record = _as_trained(context, rows, _record(context, name, method_of(context, name)))
    return Unlearned(files, record, is_original=True)


def run_young(context: Context) -> Done:
    """Make `models/unlearned/young` from the retain set alone; see `unlearn.stages.training.young`.

    Parameters
    ----------
    context
        The project.

    Raises
    ------
    InputError
        If params.yaml does not ask for it, or the retain set is not as it must be.
    """
    posthoc = context.posthoc()
    if not posthoc.unlearn.young:
        raise InputError("unlearn.young is false", "set it to true in params.yaml")
    with exclusive(context.project.lock_file("unlearn-young"), "another run"):
        retain = read_side(context, context.project.retain_file(WHOLE))
        nothing = retain.slice(0, 0)
        inputs = inputs_digest(posthoc, YOUNG, "", MethodRows(nothing, retain, nothing))
        done = finished(context, YOUNG, inputs, lambda: train_young(context, retain))
    return replace(done, retained=retain.num_rows)


def finished(context: Context, name: str, inputs: str, make: Callable[[], Unlearned]) -> Done:
    """Return what a method came to, without its rows; its model is made unless it is there.

    Parameters
    ----------
    context, name
        The project, and the method.
    inputs
        See `Record`.
    make
        Applies the method.
    """
    folder = context.project.unlearned / name
    try:
        found = read_record(folder, name)
    except InputError:
        found = None
    if found is not None and found.inputs == inputs and is_genuine(context.key, folder, found):
        return Done(found, 0, 0, None)
    result = make()
    spent = result.time
    record = sealed(context.key, replace(result.record, inputs=inputs), result.files)
    content = result.files | {FILE_NAME: json_bytes(record.as_json())}
    write_folder(folder, content, last=FILE_NAME)
    return Done(
        record,
        0,
        0,
        spent.seconds,
        spent.processor_seconds,
        result.guard_seconds,
        result.is_original,
    )


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
        If the file is missing, or its columns are not those of schema.yaml.
    """
    file = read_shard(path, f"data/{path.parent.name}/{path.name}")
    if file.layout != context.layout:
        raise InputError(
            f"data/{path.parent.name}/{path.name} does not have the columns of schema.yaml",
            "`unlearn repro` makes it again",
        )
    return file.rows


def unlearn_rows(
    context: PosthocContext,
    name: str,
    original: ShardModel,
    rows: MethodRows,
    young: ShardModel | None = None,
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
    young
        The model whose loss on the forget rows is the guard's target; None where there is none.
    """
    method = method_of(context, name)
    record = _record(context, name, method)
    if method.function is None:
        return _retrained(context, rows, record)
    if rows.forget.num_rows == 0:
        return Unlearned(_files_of(original), replace(record, stopped_by=NOTHING))
    try:
        _check_sides(rows)
        changed = _changed(context, method, original, rows, young)
    except NotApplicableError as error:
        return Unlearned({}, replace(record, why_not=str(error)))
    except MustRetrainError as error:
        spent = replace(record, label="exact", facts=error.facts | {"retrained": str(error)})
        return _retrained(context, rows, spent)
    record = replace(
        record,
        label=method.label_of(changed.facts),
        stopped_by=changed.stopped_by,
        rolled_back=changed.rolled_back,
        passes=changed.passes,
        facts=changed.facts,
    )
    return Unlearned(changed.files, record, changed.time, changed.guard_seconds)


def _record(context: Context, name: str, method: Method) -> Record:
    """Return the record of a method that has not begun."""
    found = environment(context.params.train)
    return Record(name, method.label_of({}), "", environment=found)


def method_of(context: PosthocContext, name: str) -> Method:
    """Return a method of params.yaml; the file of one of the user's own is run.

    Raises
    ------
    InputError
        If there is no such method, or its file does not load.
    """
    code, modality = own_code(name), context.params.modality
    if code is None:
        return find_method(name, modality)
    return user_method(name, code, modality, context.project.root)


def _check_sides(rows: MethodRows) -> None:
    forgotten, retained = rows.forget.num_rows, rows.retain.num_rows
    if retained == 0:
        raise NotApplicableError(NO_ROW_LEFT)
    if forgotten > retained:
        raise NotApplicableError(
            f"more rows are to be forgotten ({forgotten:,}) than stay ({retained:,}): "
            "training anew costs less, and is exact"
        )


def _changed(
    context: PosthocContext,
    method: Method,
    original: ShardModel,
    rows: MethodRows,
    young: ShardModel | None,
) -> Changed:
    # Language models do without loading scikit-learn, and all others without the text stack.
    if method.modality == "text":
        from unlearn.stages.unlearn.text.apply import unlearn_text

        return unlearn_text(context, method, original, rows, young)
    from unlearn.stages.unlearn.tabular.apply import unlearn_table

    return unlearn_table(context, method, original, rows, young)


def _retrained(context: Context, rows: MethodRows, record: Record) -> Unlearned:
    spent = Stopwatch()
    trained = train_from_scratch(Recipe.of_project(context), rows.retain, spent)
    return Unlearned(trained.files, _as_trained(context, rows, record), spent)


def _as_trained(context: Context, rows: MethodRows, record: Record) -> Record:
    passes = _passes(context, context.params.train.epochs, rows.retain)
    return replace(record, stopped_by=TRAINED, passes=passes)


def train_young(context: Context, retain: pa.Table) -> Unlearned:
    """Train the model of the stage `young`; its record has no inputs, files and seal yet.

    Parameters
    ----------
    context
        The project; nothing in it is written.
    retain
        The rows that stay, in the order of their file.
    """
    train = context.params.train
    record = Record(YOUNG, "exact", "", environment=environment(train))
    if not counts_epochs(train):
        why_not = f"the training of {train.model} has no epochs that could be fewer"
        return Unlearned({}, replace(record, why_not=why_not))
    if retain.num_rows == 0:
        return Unlearned({}, replace(record, why_not=NO_ROW_LEFT))
    spent = Stopwatch()
    trained = train_from_scratch(young_recipe(Recipe.of_project(context)), retain, spent)
    passes = _passes(context, young_epochs(train), retain)
    return Unlearned(trained.files, replace(record, stopped_by=TRAINED, passes=passes), spent)


def _passes(context: Context, epochs: int, retain: pa.Table) -> dict[str, float]:
    """Return how often a training reads each row; nothing where that is not counted."""
    train = context.params.train
    if not counts_epochs(train) and isinstance(find_spec(train.model).training, FeatureTraining):
        return {}
    return {"forget": 0.0, "retain": float(epochs) if retain.num_rows else 0.0}


def train_from_scratch(
    recipe: Recipe, rows: pa.Table, spent: Stopwatch | None = None
) -> TrainedShard:
    """Train from nothing, as the `train` stage would on these rows.

    Parameters
    ----------
    recipe
        What the model is made from, besides the rows.
    rows
        Rows of the model, in the order of their file.
    spent
        Measures how long the training takes, without reading and digesting the rows.

    Raises
    ------
    InputError
        If the model cannot be trained on them: there is no other one to answer.
    """
    work = plan_shard(recipe, WHOLE, rows, folder=None)
    with (spent or Stopwatch()).running():
        trained = train_shard(recipe, work, folder=None)
    if trained.refusal is not None:
        raise trained.refusal
    return trained


def _files_of(model: ShardModel) -> dict[str, bytes]:
    files = {MODEL_FILE: json_bytes(model.description)}
    if model.weights is not None:
        files[str(model.description["file"])] = model.weights
    return files
