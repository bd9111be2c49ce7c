"""The final model of an older revision, held against that of now.

The older model is brought from DVC's cache or remote into a folder of its own, which is deleted
at the end.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from unlearn.stages.audit.compare import Snapshot
from unlearn.stages.audit.git_files import check_revision
from unlearn.stages.audit.snapshot import take_snapshot
from unlearn.stages.config.params import Params
from unlearn.stages.context import Context, load_params
from unlearn.stages.dvc.checkout import check_out, fetch_outs
from unlearn.stages.dvc.lockfile import LockStages, folder_md5, md5_of
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import Project
from unlearn.stages.verify.difference.measure import measure_difference
from unlearn.stages.verify.difference.rows import Rows, rows_between
from unlearn.stages.verify.exactness.recheck import lend_base
from unlearn.stages.verify.measures.base import MeasuredModel
from unlearn.stages.verify.measures.modality import modality_of
from unlearn.stages.verify_report.difference import ModelDifference

FINAL_MODEL = "models/final_model"
SHARDS = "data/shards"


def verify_against(context: Context, revision: str) -> ModelDifference:
    """Measure what the final models of a revision and of now give away together.

    Nothing in the project is changed.

    Parameters
    ----------
    context
        The project as it is now.
    revision
        Any name that git knows for a commit.

    Raises
    ------
    InputError
        If there is no such revision, no final model in it or now, another project key, other
        columns or classes, other settings of which rows are held out, or no rows that went in
        between; or if data/shards has changed and the older one cannot be had.
    ToolError
        If git or DVC failed.
    """
    project = context.project
    check_revision(project.root, revision)
    older, now = take_snapshot(project, revision), take_snapshot(project, None)
    _check_present(project, now.lock)
    if md5_of(_outs(older.lock, "aggregate"), FINAL_MODEL) is None:
        raise InputError(f"{revision} has no final model: dvc.lock does not name one")
    with check_out(project, revision) as there:
        then = _context_of(context, there, revision)
        # Before anything is fetched: without such rows there is nothing to compare.
        changed = _digests(older.lock, "shard") != _digests(now.lock, "shard")
        bring = partial(_bring_shards, context, then, revision) if changed else None
        rows = rows_between(
            context, older.carried_out, now.carried_out, bring, then.params.sharding
        )
        with _open_older(context, then, revision) as model:
            newer = modality_of(context.params).open_final_model(context)
            found = measure_difference(context, model, newer, rows)
    notes = (*_notes(older, now, rows), *_settings_note(then, context))
    return found.model_copy(update={"notes": notes})


def _check_present(project: Project, lock: LockStages) -> None:
    wanted = md5_of(_outs(lock, "aggregate"), FINAL_MODEL)
    if wanted is None:
        raise InputError("there is no final model yet", "`unlearn repro` makes it")
    if not project.final_model.is_dir():
        raise InputError(
            f"{FINAL_MODEL} is not on this machine", f"`dvc pull {FINAL_MODEL}` fetches it"
        )
    if folder_md5(project.final_model) != wanted:
        raise InputError(
            f"{FINAL_MODEL} is not the one in dvc.lock", "`unlearn repro` brings both to one state"
        )
    if project.shards.is_dir() and folder_md5(project.shards) != md5_of(
        _outs(lock, "shard"), SHARDS
    ):
        raise InputError(
            f"{SHARDS} is not the one in dvc.lock", "`unlearn repro` brings both to one state"
        )


def _context_of(context: Context, there: Project, revision: str) -> Context:
    """Return the settings of a revision, if its model answers on the rows of now."""
    try:
        params = load_params(there.params)
    except InputError as error:
        raise InputError(f"{revision}: {error.message}", *error.hints, facts=error.facts) from None
    then = Context(there, params, context.key)
    if params.key_check != context.params.key_check:
        raise InputError(
            f"{revision} has another project key: its forget list names rows by other tokens"
        )
    if then.layout.features != context.layout.features:
        raise InputError(
            f"{revision} has other features in schema.yaml: its model cannot answer on these rows"
        )
    if then.layout.classes != context.layout.classes:
        raise InputError(
            f"{revision} has other classes in schema.yaml: the answers cannot be compared"
        )
    if then.layout.outputs != context.layout.outputs:
        raise InputError(
            f"{revision} has another task or target scale in schema.yaml: the answers cannot be "
            "compared"
        )
    _check_same_rows(then.params, context.params, revision)
    return then


#: Settings that say which rows there are, what their tokens are, and which ones are held out.
_OF_ROWS = {
    "sharding": ("shards", "slices", "holdout"),
    "dataset": ("held_out", "id", "id_type", "subject", "subject_type", "identity", "target"),
}


def _check_same_rows(then: Params, now: Params, revision: str) -> None:
    """Raise an InputError if a row that is held out now may have been in the older model."""
    others = [
        f"{section}.{name}"
        for section, names in _OF_ROWS.items()
        for name in names
        if getattr(getattr(then, section), name) != getattr(getattr(now, section), name)
    ]
    if others:
        raise InputError(
            f"{revision} has other settings of {', '.join(others)}: which rows its model was "
            "trained on cannot be compared with now",
            "name a revision from after the change, or measure before you change them",
        )


def _bring_shards(context: Context, then: Context, revision: str, shards: Sequence[str]) -> Project:
    """Bring files of the older data/shards, and return the project that has them."""
    try:
        fetch_outs(
            context.project,
            then.project,
            [f"{SHARDS}/{shard}.parquet" for shard in shards],
            "without them, rows that came later would be taken for rows of the older model: "
            "`dvc fetch --all-commits` fetches what the remote has, or name a revision from after "
            "the change",
        )
    except InputError as error:
        raise InputError(
            f"{revision} has another data/shards, which cannot be had: {error.message}",
            *error.hints,
            facts=error.facts,
        ) from None
    return then.project


@contextmanager
def _open_older(context: Context, then: Context, revision: str) -> Iterator[MeasuredModel]:
    try:
        fetch_outs(
            context.project,
            then.project,
            [FINAL_MODEL, *_parts(then)],
            "a model that was purged cannot be compared; `dvc fetch --all-commits` fetches what "
            "the remote has",
        )
        lend_base(then.params, context.project.root, then.project.root)
        model = modality_of(then.params).open_final_model(then)
    except InputError as error:
        raise InputError(f"{revision}: {error.message}", *error.hints, facts=error.facts) from None
    yield model


def _parts(then: Context) -> list[str]:
    """Return the folders of what a final model of one adapter was made of; else none."""
    if then.params.aggregate.rule != "merged":
        return []
    return [f"models/shard_models/{shard}" for shard in then.params.sharding.shards]


def _notes(older: Snapshot, now: Snapshot, rows: Rows) -> Iterator[str]:
    """Yield what else makes the two models differ, or keeps rows from being compared."""
    if _digests(older.lock, "shard") != _digests(now.lock, "shard"):
        yield (
            "data/shards has changed as well: rows that came, were edited or were dropped in "
            "between also make the models differ"
        )
    if rows.later:
        yield (
            "rows that came later and were forgotten since are left out: the older model was not "
            "trained on them"
        )
    if rows.came_back:
        yield "rows of a request that was taken back are in the newer model alone"
    if rows.counts.without_rows:
        yield (
            "lines without rows cannot be measured: their rows were erased or dropped, or were "
            "never there"
        )


def _settings_note(then: Context, context: Context) -> Iterator[str]:
    if then.params.train != context.params.train or then.params.seed != context.params.seed:
        yield "the settings of training have changed as well, which also makes the models differ"


def _outs(lock: LockStages, stage: str) -> list[dict[str, Any]]:
    return list(lock.get(stage, {}).get("outs", []))


def _digests(lock: LockStages, stage: str) -> dict[str, str]:
    return {str(out["path"]): str(out.get("md5")) for out in _outs(lock, stage)}
