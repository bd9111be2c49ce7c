"""Entry of the `forget` stage."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.forget.file_marks import (
    FileMarks,
    ShardMarks,
    marks_of,
    read_marks,
    write_marks,
)
from unlearn.stages.forget.shard_parts import is_as_written, split_shard
from unlearn.stages.ledger.check import check_ledger
from unlearn.stages.ledger.hand_written import check_hand_written
from unlearn.stages.ledger.transaction import complete_change
from unlearn.stages.project.files import (
    copy_content,
    digest_file,
    digest_json,
    remove_unplanned,
    write_through,
)
from unlearn.stages.project.locks import exclusive
from unlearn.stages.project.paths import HOLDOUT, UNLABELLED, Project
from unlearn.stages.rows.applied import Applied, AppliedShard, read_applied, write_applied
from unlearn.stages.rows.forget_list import ForgetList, place_of_line
from unlearn.stages.rows.off_slices import retained_mask
from unlearn.stages.rows.shard_file import (
    RECORD,
    SUBJECT,
    forget_mask,
    is_one_of,
    read_shard,
    record_tokens,
    subject_tokens,
    write_shard,
)
from unlearn.stages.rows.token_arrays import token_list
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

    Rows of slices that are off (`sharding.switched_off`) are in neither.

    Only shards whose rows or forgotten rows changed are written, and only those are read that a new
    line names, or whose files have changed. `applied.json` says which list was applied: DVC hashes
    the list after the stage, when it may have grown already.

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
    lost = set(forget_list.tokens) - answered - honoured_lines(context)
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
    standing = {} if before is None else _standing(context, forget_list, before)
    names = [*context.params.sharding.shards, HOLDOUT]
    shards: dict[str, AppliedShard] = {}
    marks: dict[str, ShardMarks] = {}
    rewritten = []
    forgotten = 0
    answered: set[str] = set()
    for name in names:
        if name in standing:
            shards[name], marks[name] = standing[name]
            tokens = _rows_in_forget_set(context, name, shards[name])
        else:
            tokens = _forgotten_rows(context, name, forget_list)
            noted = None if before is None else before.shards.get(name)
            found = _bring_up_to_date(context, name, forget_list, tokens, noted)
            shards[name], marks[name] = found.applied, found.marks
            rewritten += [name] if found.written else []
        forgotten += tokens.num_rows
        answered.update(_lines_answered(tokens, forget_list))
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
    write_marks(context, FileMarks(forget_list.left_out, marks))
    return ForgetRun(forgotten, without_rows, len(unlabelled), rewritten)


def _forgotten_rows(context: Context, name: str, forget_list: ForgetList) -> pa.Table:
    """Return the token columns of the rows to go; reads no other column."""
    columns = _token_columns(context)
    path = context.project.shard_file(name)
    shard = read_shard(path, f"data/shards/{path.name}", columns)
    if shard.layout != context.layout:
        raise InputError(
            f"data/shards/{path.name} does not have the columns of schema.yaml",
            "`unlearn repro` makes it again",
        )
    return shard.rows.filter(forget_mask(shard.rows, forget_list))


def _lines_answered(tokens: pa.Table, forget_list: ForgetList) -> set[str]:
    """Return the lines of the list that these rows answer to."""
    records = record_tokens(tokens)
    names = set(records)
    if SUBJECT in tokens.column_names:
        subjects = subject_tokens(tokens)
        names |= {f"{s}.{r}" for s, r in zip(subjects, records, strict=True)} | set(subjects)
    return names.intersection(forget_list.tokens)


@dataclass(frozen=True)
class _Done:
    """What bringing a shard up to date came to."""

    applied: AppliedShard
    marks: ShardMarks
    written: bool


def _bring_up_to_date(
    context: Context,
    name: str,
    forget_list: ForgetList,
    tokens: pa.Table,
    noted: AppliedShard | None,
) -> _Done:
    """Write a shard's files if they are not what the same inputs made last time.

    Parameters
    ----------
    context, name, forget_list
        The project, the shard and the list.
    tokens
        Of the rows to go.
    noted
        What the last run noted of the shard.
    """
    project = context.project
    before = marks_of(project, name)
    source = digest_file(project.shard_file(name))
    named = {column: token_list(tokens[column]) for column in tokens.column_names}
    off = context.params.sharding.switched_off.get(name)
    forgotten = digest_json(named if off is None else {**named, "off": off})
    retain, forget = _digests(project, name)
    same = AppliedShard(source=source, forgotten=forgotten, retain=retain, forget=forget)
    if retain is not None and same == noted:
        # Marked before they were read: what changed meanwhile has another mark by now.
        return _Done(same, before, written=False)
    _write(context, name, forget_list)
    marks = [before[0], *marks_of(project, name)[1:]]
    retain, forget = _digests(project, name)
    applied = AppliedShard(source=source, forgotten=forgotten, retain=retain, forget=forget)
    return _Done(applied, marks, written=True)


def _digests(project: Project, name: str) -> tuple[str | None, str | None]:
    """Return the digests of a shard's files in the retain set and in the forget set."""
    return _digest_or_none(project.retain_file(name)), _digest_or_none(project.forget_file(name))


def _standing(
    context: Context, forget_list: ForgetList, before: Applied
) -> dict[str, tuple[AppliedShard, ShardMarks]]:
    """Return what was noted of the shards that need not be read, by name.

    Their files are those of the last run, and no line that came or went since can be about them.
    """
    marks = read_marks(context)
    if marks is None:
        return {}
    changed = set(forget_list.tokens) ^ set(before.tokens)
    named = _named(context, changed | (forget_list.left_out ^ marks.left_out))
    if named is None:
        return {}
    return {
        name: (before.shards[name], noted)
        for name, noted in marks.shards.items()
        if name in before.shards and name not in named and marks_of(context.project, name) == noted
    }


def _named(context: Context, lines: set[str]) -> set[str] | None:
    """Return the shards that may hold rows of these lines; None if any of them may."""
    if lines and context.params.dataset.held_out is not None:
        return None  # these rows are not where their tokens would put them
    found = {place_of_line(line, context.params.sharding).shard for line in lines}
    if context.has_subjects:
        # A line of one token may be a record's, which does not say where its subject is.
        alone = {line for line in lines if "." not in line}
        if not alone <= _subjects_among(alone, context, found):
            return None
    return found


def _subjects_among(tokens: set[str], context: Context, names: set[str]) -> set[str]:
    """Return which of these tokens are of subjects in some shards."""
    found: set[str] = set()
    for name in names:
        path = context.project.shard_file(name)
        rows = read_shard(path, f"data/shards/{path.name}", [SUBJECT]).rows
        found.update(subject_tokens(rows.filter(is_one_of(rows[SUBJECT], tokens))))
    return found


def _rows_in_forget_set(context: Context, name: str, noted: AppliedShard) -> pa.Table:
    """Return the token columns of the rows that were forgotten of a shard that stands."""
    columns = _token_columns(context)
    if noted.forget is None:
        return context.layout.schema.empty_table().select(columns)
    path = context.project.forget_file(name)
    return read_shard(path, f"data/forget_set/{path.name}", columns).rows


def _digest_or_none(path: Path) -> str | None:
    return digest_file(path) if path.is_file() else None


def _write(context: Context, name: str, forget_list: ForgetList) -> None:
    project, key, layout = context.project, context.key, context.layout
    source, retained, forgotten = (
        file(name) for file in (project.shard_file, project.retain_file, project.forget_file)
    )
    label = f"data/shards/{source.name}"
    tokens = read_shard(source, label, _token_columns(context)).rows
    mask = forget_mask(tokens, forget_list)
    stays = retained_mask(tokens, forget_list, context.params.sharding, name)
    if not pc.all(stays).as_py():
        kept, gone = split_shard(source, label, stays, mask)
        write_shard(retained, key, kept, layout)
        del kept
        if gone.num_rows:
            write_shard(forgotten, key, gone, layout)
        else:
            forgotten.unlink(missing_ok=True)
        return
    shard = read_shard(source, label)
    if is_as_written(source, name, key, shard):
        write_through(retained, lambda temporary: copy_content(source, temporary), leave=True)
    else:
        write_shard(retained, key, shard.rows, layout)
    forgotten.unlink(missing_ok=True)


def _token_columns(context: Context) -> list[str]:
    return [RECORD, SUBJECT] if context.has_subjects else [RECORD]
