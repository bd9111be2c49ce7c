"""Entry of the `forget` stage."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.check import check_ledger
from unlearn.stages.ledger.hand_written import check_hand_written
from unlearn.stages.ledger.transaction import complete_change
from unlearn.stages.project.files import digest_file, digest_json, remove_unplanned
from unlearn.stages.project.locks import exclusive
from unlearn.stages.project.paths import HOLDOUT, UNLABELLED, Project
from unlearn.stages.rows.applied import Applied, AppliedShard, read_applied, write_applied
from unlearn.stages.rows.forget_list import ForgetList
from unlearn.stages.rows.shard_file import RECORD, SUBJECT, forget_mask, read_shard, write_shard
from unlearn.stages.training.importing import honoured_lines


@dataclass(frozen=True)
class ForgetRun:
    """What one run of the stage did.

    Parameters
    ----------
    forgotten
        Rows in the forget set.
    without_rows
        Lines of the list that no row answers to: dropped from the dataset since, or unknown.
    unlabelled
        Lines that only rows without a class answer to, which no model is trained on.
    rewritten
        Names of the shards whose files were rewritten.
    """

    forgotten: int
    without_rows: int
    unlabelled: int
    rewritten: list[str]


def run(context: Context) -> ForgetRun:
    """Write `data/retain_set` and `data/forget_set` from `data/shards` and the forget list.

    Only shards whose rows or forgotten rows changed are written. `applied.json` says which list
    was applied: DVC hashes the list after the stage, when it may have grown already.

    Raises
    ------
    InputError
        If the list or a shard file is not as it must be, a line that a person wrote matches no
        row, or a request left the list.
    """
    project = context.project
    with exclusive(project.lock_file("forget-list"), "an `unlearn forget`"):
        complete_change(project)
        forget_list = context.read_list()
        if problem := check_ledger(project, context.params.ledger.branch, context).problem():
            raise problem
        while True:
            check_hand_written(context, forget_list)
            _check_rows_are_there(context, forget_list)
            applied = _apply(context, forget_list)
            # A line added by hand meanwhile is applied as well, not left for DVC to overlook.
            again = context.read_list()
            if again.digest == forget_list.digest:
                return applied
            forget_list = again


def _check_rows_are_there(context: Context, forget_list: ForgetList) -> None:
    """Refuse to forget rows that left the dataset while an imported model still knows them.

    Methods start from the original each time, and unlearn the rows that are there: without those of
    an earlier request, the result would know them again. An original that this pipeline trains is
    retrained when rows leave the dataset; an imported one is not.

    Raises
    ------
    InputError
        With the possible solutions.
    """
    if context.params.kind == "exact" or context.params.posthoc.original != "imported":
        return
    answered: set[str] = set()
    others = [UNLABELLED] if context.project.shard_file(UNLABELLED).is_file() else []
    for name in [*context.params.sharding.shards, HOLDOUT, *others]:
        tokens = _forgotten_rows(context, name, forget_list)
        answered.update(_lines_answered(tokens, forget_list))
    lost = set(forget_list.tokens) - answered - honoured_lines(context.project.original)
    if lost:
        lines = "1 line" if len(lost) == 1 else f"{len(lost):,} lines"
        verb = "has" if len(lost) == 1 else "have"
        raise InputError(
            f"{lines} of the forget list {verb} no rows in the dataset any more, but the imported "
            "model was trained on them: without these rows no method can unlearn them",
            "import the result of a method that was made before the rows were dropped: `unlearn "
            "import-model models/unlearned/METHOD`",
            "or put the rows back into the dataset, or import a model trained without them",
        )


def _apply(context: Context, forget_list: ForgetList) -> ForgetRun:
    project = context.project
    before = read_applied(project)
    names = [*context.params.sharding.shards, HOLDOUT]
    shards: dict[str, AppliedShard] = {}
    rewritten = []
    forgotten = 0
    answered: set[str] = set()
    for name in names:
        tokens = _forgotten_rows(context, name, forget_list)
        forgotten += tokens.num_rows
        answered.update(_lines_answered(tokens, forget_list))
        source = digest_file(project.shard_file(name))
        forgotten_digest = digest_json(tokens.to_pydict())
        cause = AppliedShard(source=source, forgotten=forgotten_digest)
        if not _stands(project, name, None if before is None else before.shards.get(name), cause):
            _write(context, name, forget_list)
            rewritten.append(name)
        shards[name] = AppliedShard(
            source=source,
            forgotten=forgotten_digest,
            retain=digest_file(project.retain_file(name)),
            forget=_digest_or_none(project.forget_file(name)),
        )
    remove_unplanned(project.retain_set, [f"{name}.parquet" for name in names])
    kept = [f"{name}.parquet" for name in names if shards[name].forget is not None]
    remove_unplanned(project.forget_set, [*kept, project.applied.name])
    unlabelled: set[str] = set()
    if project.shard_file(UNLABELLED).is_file():
        tokens = _forgotten_rows(context, UNLABELLED, forget_list)
        unlabelled = _lines_answered(tokens, forget_list) - answered
    without_rows = len(set(forget_list.tokens) - answered - unlabelled)
    applied = Applied(
        digest=forget_list.digest,
        tokens=forget_list.tokens,
        without_rows=without_rows,
        shards=shards,
    )
    write_applied(project, applied)
    return ForgetRun(forgotten, without_rows, len(unlabelled), rewritten)


def _forgotten_rows(context: Context, name: str, forget_list: ForgetList) -> pa.Table:
    """Return the token columns of the rows to go; reads no other column."""
    columns = [RECORD, SUBJECT] if context.has_subjects else [RECORD]
    path = context.project.shard_file(name)
    shard = read_shard(path, f"data/shards/{path.name}", columns)
    if shard.layout != context.layout:
        raise InputError(
            f"data/shards/{path.name} does not have the columns of params.yaml",
            "`unlearn repro` makes it again",
        )
    return shard.rows.filter(forget_mask(shard.rows, forget_list))


def _lines_answered(tokens: pa.Table, forget_list: ForgetList) -> set[str]:
    """Return the lines of the list that these rows answer to."""
    records = tokens[RECORD].to_pylist()
    names = set(records)
    if SUBJECT in tokens.column_names:
        subjects = tokens[SUBJECT].to_pylist()
        names |= {f"{s}.{r}" for s, r in zip(subjects, records, strict=True)} | set(subjects)
    return names.intersection(forget_list.tokens)


def _stands(project: Project, name: str, noted: AppliedShard | None, cause: AppliedShard) -> bool:
    """Return whether a shard's files are byte for byte what the same inputs made last time."""
    if noted is None or (noted.source, noted.forgotten) != (cause.source, cause.forgotten):
        return False
    retain, forget = project.retain_file(name), project.forget_file(name)
    return (
        _digest_or_none(retain) == noted.retain
        and noted.retain is not None
        and _digest_or_none(forget) == noted.forget
    )


def _digest_or_none(path: Path) -> str | None:
    return digest_file(path) if path.is_file() else None


def _write(context: Context, name: str, forget_list: ForgetList) -> None:
    project, key, layout = context.project, context.key, context.layout
    rows = read_shard(project.shard_file(name), f"data/shards/{name}.parquet").rows
    mask = forget_mask(rows, forget_list)
    write_shard(project.retain_file(name), key, rows.filter(pc.invert(mask)), layout)
    gone = rows.filter(mask)
    if gone.num_rows:
        write_shard(project.forget_file(name), key, gone, layout)
    else:
        project.forget_file(name).unlink(missing_ok=True)
