"""Whether the models of a project without shards are what they claim to be.

No output of `forget` or `unlearn` is trusted: rows are derived again from data/shards and the list,
what each method read is recomputed from them, and a model with the label exact is trained again.
What a method that is not exact should have made is not recomputed: its record is believed where it
was sealed with the key and names these rows, this original and these settings.
"""

from dataclasses import dataclass

import pyarrow as pa
from unlearn.stages.config.methods import YOUNG, gives_certificate
from unlearn.stages.context import PosthocContext
from unlearn.stages.errors import InputError
from unlearn.stages.final_model.files import final_model_files
from unlearn.stages.project.paths import HOLDOUT
from unlearn.stages.rows.forget_list import ForgetList
from unlearn.stages.rows.shard_file import in_order
from unlearn.stages.training.environment import differences, environment
from unlearn.stages.training.importing import IMPORT_FILE
from unlearn.stages.training.method_record import (
    FILE_NAME,
    WHOLE,
    MethodRows,
    Record,
    inputs_digest,
    is_genuine,
    other_models,
    read_record,
)
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.shard_model import FILE_NAME as MODEL_FILE
from unlearn.stages.training.shard_model import read_shard_model
from unlearn.stages.training.slices import plan_shard, train_shard
from unlearn.stages.training.unplanned import unplanned_problems
from unlearn.stages.training.young import young_recipe
from unlearn.stages.verify.exactness.checks import (
    check_applied,
    check_files,
    check_lineage,
    check_retained,
    holds_exactly,
)
from unlearn.stages.verify.exactness.found import Exactness, ShardRows

ORIGINAL = "models/original"


@dataclass(frozen=True)
class MethodCheck:
    """What the checks found of one method's model.

    Parameters
    ----------
    label
        What it may be called: `exact` only where its lineage is that of the retained rows.
    record
        Its own record; None where there is none to read.
    problems
        A sentence for each mismatch.
    lineage_clean
        False where it is called exact and its lineage is not that of the retained rows.
    reran, matched
        1 where it was trained again, and where that gave the same numbers.
    environment
        How its environment differs from this one, where that kept it from being trained again.
    """

    label: str
    record: Record | None = None
    problems: tuple[str, ...] = ()
    lineage_clean: bool = True
    reran: int = 0
    matched: int = 0
    environment: tuple[str, ...] = ()

    @property
    def has_model(self) -> bool:
        """Whether there is a model to ask."""
        return self.record is not None and self.record.why_not is None


def check_original(
    context: PosthocContext, forget_list: ForgetList, whole: ShardRows, holdout: ShardRows
) -> Exactness:
    """Check what all methods share: the list, the retain set, the original.

    Parameters
    ----------
    context, forget_list
        The project, and the current list.
    whole, holdout
        The rows that the model was trained on, and the others, split by the list.
    """
    found = Exactness()
    check_applied(context, forget_list, found)
    check_retained(context, WHOLE, whole.retain, found)
    check_retained(context, HOLDOUT, holdout.retain, found)
    if other_models(context):
        found.add("models/unlearned holds models that params.yaml does not name")
    for problem in unplanned_problems(context.project, context.params, "models/unlearned"):
        found.add(problem)
    if context.unlearn.original == "trained":
        rows = in_order(pa.concat_tables([whole.retain, whole.forget]))
        recipe = Recipe.of_project(context)
        lineage = check_lineage(context.project.original, recipe, WHOLE, rows, found, ORIGINAL)
        if lineage is not None:
            check_files(context.project.original, lineage, found, ORIGINAL)
    else:
        _check_imported(context, found)
    return found


def _check_imported(context: PosthocContext, found: Exactness) -> None:
    """Make sure that an imported original's folder holds the model and nothing else."""
    folder = context.project.original
    try:
        file = read_shard_model(folder, ORIGINAL).description["file"]
    except InputError as error:
        found.add(error.message)
        return
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    if not present <= {MODEL_FILE, IMPORT_FILE, str(file), ".gitignore"}:
        found.add(f"{ORIGINAL} holds files that `unlearn import-model` did not write")


def check_final_model(context: PosthocContext, deployed: str, found: Exactness) -> None:
    """Compare the final model, to the byte, with what the deployed method made.

    Parameters
    ----------
    context, deployed
        The project, and the method's name.
    found
        Collects mismatches.
    """
    project = context.project
    try:
        model = read_shard_model(project.unlearned / deployed, f"models/unlearned/{deployed}")
        expected = final_model_files(context.params, project.root, [(WHOLE, model)])
        same = holds_exactly(project.final_model, expected)
    except InputError as error:
        found.add(f"models/final_model cannot be checked: {error.message}")
        return
    if not same:
        found.add(f"models/final_model is not models/unlearned/{deployed} as it stands")


def check_unlearned(context: PosthocContext, name: str, rows: MethodRows) -> MethodCheck:
    """Check what one method made.

    Parameters
    ----------
    context
        The project.
    name
        The method.
    rows
        What it should have been given, derived from data/shards and the list.
    """
    folder = context.project.unlearned / name
    label = f"models/unlearned/{name}"
    try:
        record = read_record(folder, label)
        original = read_shard_model(context.project.original, ORIGINAL)
        expected = inputs_digest(context, name, original.digest, rows)
    except InputError as error:
        return MethodCheck("approximate", problems=(error.message,))
    found = Exactness()
    if not is_genuine(context.key, folder, record) or record.method != name:
        found.add(f"{label} is not what its record says, or the record was not made with the key")
    elif record.inputs != expected:
        there = differences(environment(context.params.train), record.environment)
        if not there:
            found.add(
                f"{label} was made from other rows, another original or other settings than these"
            )
        found.environment = tuple(there)
    if record.label == "exact" and record.why_not is None:
        recipe = Recipe.of_project(context)
        if name == YOUNG:
            recipe = young_recipe(recipe)
        return _check_exact(context, recipe, record, rows, found)
    genuine = not found.problems
    certified = gives_certificate(record.method, context.params.modality)
    return MethodCheck(
        _label(record, certified=genuine and certified),
        record,
        found.problems,
        environment=found.environment,
    )


def _label(record: Record, *, certified: bool) -> str:
    """Return what a record by itself may call its model: a certificate, and nothing else."""
    named = record.label.partition("(")[0] == "certified"
    return record.label if certified and named else "approximate"


def _check_exact(
    context: PosthocContext, recipe: Recipe, record: Record, rows: MethodRows, found: Exactness
) -> MethodCheck:
    """Hold a model that is called exact against its lineage, and against training again.

    As of shards, only what rows were forgotten of is trained again, or everything.
    """
    retain, rerun = rows.retain, context.params.verify.rerun
    is_due = bool(rerun) and (rows.forget.num_rows > 0 or rerun == "all")
    folder = context.project.unlearned / record.method
    label = f"models/unlearned/{record.method}"
    lineage = check_lineage(folder, recipe, WHOLE, retain, found, label)
    if lineage is not None:
        check_files(folder, lineage, found, label, beside=[FILE_NAME])
    genuine = lineage is not None and not found.problems
    reran = matched = 0
    if genuine and lineage is not None and not found.environment and is_due:
        there = differences(environment(context.params.train), lineage.environment)
        found.environment = tuple(there)
        if not there:
            work = plan_shard(recipe, WHOLE, retain, folder=None)
            again = train_shard(recipe, work, folder=None).lineage
            reran, matched = 1, int(again.model == lineage.model)
            if not matched:
                found.add(f"{label}: retraining from its rows gives another model")
    return MethodCheck(
        # Whatever a record says: without the lineage of these rows it is not exact.
        "exact" if genuine else "approximate",
        record,
        found.problems,
        found.lineage_clean,
        reran,
        matched,
        found.environment,
    )
