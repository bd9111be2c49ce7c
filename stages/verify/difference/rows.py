"""The rows of a project, by whether an older final model was trained on them and a newer one not.

A row *went* if a line that came onto the forget list since then names it, and the older model was
trained on it: a row may have come into the dataset later. Non-members were held out both times.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.audit.compare import Listed
from unlearn.stages.config.params import ShardingParams
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import HOLDOUT, Project
from unlearn.stages.rows.forget_list import ForgetList
from unlearn.stages.rows.off_slices import off_mask
from unlearn.stages.rows.shard_file import (
    RECORD,
    SUBJECT,
    forget_mask,
    read_shard,
    record_tokens,
    subject_tokens,
)
from unlearn.stages.verify_report.difference import DifferenceCounts

#: Brings files of data/shards of an older revision, by the names of the shards.
Bring = Callable[[Sequence[str]], Project]


@dataclass(frozen=True)
class Rows:
    """The rows that a difference attack is made on.

    Parameters
    ----------
    went
        Rows that only the older model was trained on, by shard.
    stayed
        Returns the rows of a shard that both models were trained on, as far as is known.
    others
        Rows that were held out both times, and that nobody asked to forget.
    counts
        How many there are.
    came_back
        How many rows are in the newer model alone, because a request was taken back.
    later
        How many rows were forgotten that the older model was not trained on: they came later.
    """

    went: Mapping[str, pa.Table]
    stayed: Callable[[str], pa.Table]
    others: pa.Table
    counts: DifferenceCounts
    came_back: int = 0
    later: int = 0


def rows_between(
    context: Context,
    older: Listed,
    newer: Listed,
    bring: Bring | None = None,
    then_sharding: ShardingParams | None = None,
) -> Rows:
    """Return the rows of data/shards, by what became of them between two forget lists.

    Parameters
    ----------
    context
        The project as it is now.
    older, newer
        The lists that the two final models were made with.
    bring
        Brings the files of some shards that the older model was trained on, by name, and returns
        the project that has them; None if data/shards has not changed since.
    then_sharding
        The settings of shards that the older model was trained with; those of now by default.

    Raises
    ------
    InputError
        If no line came onto the list, if none of those that did has a row left, or if data/shards
        cannot be read.
    """
    lists = _Lists(_list(older), _list(newer))
    sharding = context.params.sharding
    then_sharding = then_sharding or sharding
    new = lists.after.known - lists.before.known
    if not new:
        raise InputError(
            "no request was carried out between the two models: no line came onto the forget list"
        )
    added = ForgetList("", tuple(sorted(new)))
    asked: dict[str, pa.Table] = {}
    came_back = 0
    seen: set[str] = set()
    for name in (*sharding.shards, HOLDOUT):
        rows = _read(context.project, name)
        asked[name] = _on(rows.filter(lists.forgotten_since(rows)), then_sharding, name)
        came_back += 0 if name == HOLDOUT else lists.came_back(rows)
        seen |= _lines_with_rows(rows, added)
    if not seen:
        raise InputError(
            f"none of the {len(new):,} new lines on the forget list has rows in data/shards",
            "an erasure leaves no rows to measure with: measure before `unlearn erase`",
        )
    touched = [name for name, rows in asked.items() if rows.num_rows or name == HOLDOUT]
    there = context.project if bring is None else bring(touched)

    def then(name: str) -> pa.Table:
        return _as_now(_read(there, name), context.layout.schema)

    def unlisted_in_both(name: str) -> pa.Table:
        rows = _read(context.project, name)
        rows = _on(rows.filter(lists.in_neither(rows)), sharding, name)
        rows = _on(rows, then_sharding, name)
        return rows if bring is None else rows.filter(_among(rows, then(name)))

    went = dict(asked)
    if bring is not None:
        # As the older model saw them: a row may have been edited since.
        went |= {name: _forgotten_of(then(name), asked[name], lists) for name in touched}
    held_out = went.pop(HOLDOUT).num_rows
    counts = DifferenceCounts(
        lines=len(new),
        without_rows=len(new - seen),
        went=sum(rows.num_rows for rows in went.values()),
        held_out=held_out,
        shards=sum(1 for rows in went.values() if rows.num_rows),
    )
    later = sum(rows.num_rows for rows in asked.values()) - counts.went - held_out
    return Rows(went, unlisted_in_both, unlisted_in_both(HOLDOUT), counts, came_back, later)


@dataclass(frozen=True)
class _Lists:
    """The forget lists that the older and the newer model were made with."""

    before: ForgetList
    after: ForgetList

    def forgotten_since(self, rows: pa.Table) -> pa.Array:
        """Return which rows the newer list names, and the older one does not."""
        return pc.and_(forget_mask(rows, self.after), pc.invert(forget_mask(rows, self.before)))

    def came_back(self, rows: pa.Table) -> int:
        """Return how many rows the older list names, and the newer one does not."""
        now = pc.invert(forget_mask(rows, self.after))
        return pc.sum(pc.and_(forget_mask(rows, self.before), now)).as_py() or 0

    def in_neither(self, rows: pa.Table) -> pa.Array:
        """Return which rows no list names."""
        return pc.invert(pc.or_(forget_mask(rows, self.before), forget_mask(rows, self.after)))


def _forgotten_of(then: pa.Table, asked: pa.Table, lists: _Lists) -> pa.Table:
    """Return those rows of an older shard that were forgotten since, and are there now."""
    forgotten = then.filter(lists.forgotten_since(then))
    return forgotten.filter(_among(forgotten, asked))


def _on(rows: pa.Table, sharding: ShardingParams, shard: str) -> pa.Table:
    """Return the rows of a shard whose slices are not off."""
    return rows.filter(pc.invert(off_mask(rows, sharding, shard)))


def _among(rows: pa.Table, others: pa.Table) -> pa.Array:
    """Return which rows are among others, by their tokens."""
    wanted = set(_tokens(others))
    return pa.array([tokens in wanted for tokens in _tokens(rows)], pa.bool_())


def _tokens(rows: pa.Table) -> Iterator[tuple[bytes, ...]]:
    columns = [rows[name].to_pylist() for name in (RECORD, SUBJECT) if name in rows.column_names]
    return zip(*columns, strict=True)


def _as_now(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return rows of an older revision with the columns of now."""
    try:
        return rows.select(schema.names).cast(schema)
    except (KeyError, pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise InputError("the older data/shards has other columns than that of now") from None


def _read(project: Project, name: str) -> pa.Table:
    return read_shard(project.shard_file(name), f"data/shards/{name}.parquet").rows


def _list(listed: Listed) -> ForgetList:
    return ForgetList("", tuple(sorted(listed.tokens | listed.unplaced)))


def _lines_with_rows(rows: pa.Table, lines: ForgetList) -> set[str]:
    """Return which lines of a list name one of the rows."""
    named = rows.filter(forget_mask(rows, lines))
    records = record_tokens(named)
    if SUBJECT not in named.column_names:
        return set(lines.known & set(records))
    subjects = subject_tokens(named)
    pairs = {f"{one}.{other}" for one, other in zip(subjects, records, strict=True)}
    return set(lines.known & ({*records, *subjects} | pairs))
