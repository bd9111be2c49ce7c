"""The rows of a project, by whether an older final model was trained on them and a newer one not.

A row *went* if a line that came onto the forget list since then names it. Held-out rows are in no
model at any time; those that are still there are the non-members.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.audit.compare import Listed
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import HOLDOUT
from unlearn.stages.rows.forget_list import ForgetList
from unlearn.stages.rows.shard_file import (
    SUBJECT,
    forget_mask,
    read_shard,
    record_tokens,
    subject_tokens,
)
from unlearn.stages.verify_report.difference import DifferenceCounts


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
        Held-out rows that nobody asked to forget.
    counts
        How many there are.
    came_back
        How many rows are in the newer model alone, because a request was taken back.
    """

    went: Mapping[str, pa.Table]
    stayed: Callable[[str], pa.Table]
    others: pa.Table
    counts: DifferenceCounts
    came_back: int = 0


def rows_between(context: Context, older: Listed, newer: Listed) -> Rows:
    """Return the rows of data/shards, by what became of them between two forget lists.

    Parameters
    ----------
    context
        The project as it is now.
    older, newer
        The lists that the two final models were made with.

    Raises
    ------
    InputError
        If no line came onto the list, if none of those that did has a row left, or if data/shards
        cannot be read.
    """
    before, after = _list(older), _list(newer)
    new = after.known - before.known
    if not new:
        raise InputError(
            "no request was carried out between the two models: no line came onto the forget list"
        )
    added = ForgetList("", tuple(sorted(new)))

    def masks(name: str) -> tuple[pa.Table, pa.Array, pa.Array]:
        rows = _read(context, name)
        return rows, forget_mask(rows, before), forget_mask(rows, after)

    went: dict[str, pa.Table] = {}
    came_back = 0
    seen: set[str] = set()
    for shard in context.params.sharding.shards:
        rows, then, now = masks(shard)
        went[shard] = rows.filter(pc.and_(now, pc.invert(then)))
        came_back += pc.sum(pc.and_(then, pc.invert(now))).as_py() or 0
        seen |= _lines_with_rows(rows, added)
    held_out, then, now = masks(HOLDOUT)
    seen |= _lines_with_rows(held_out, added)
    if not seen:
        raise InputError(
            f"none of the {len(new):,} new lines on the forget list has rows in data/shards",
            "an erasure leaves no rows to measure with: measure before `unlearn erase`",
        )

    def stayed(name: str) -> pa.Table:
        rows, then, now = masks(name)
        return rows.filter(pc.invert(pc.or_(then, now)))

    counts = DifferenceCounts(
        lines=len(new),
        without_rows=len(new - seen),
        went=sum(rows.num_rows for rows in went.values()),
        held_out=pc.sum(pc.and_(now, pc.invert(then))).as_py() or 0,
        shards=sum(1 for rows in went.values() if rows.num_rows),
    )
    others = held_out.filter(pc.invert(pc.or_(then, now)))
    return Rows(went, stayed, others, counts, came_back)


def _read(context: Context, name: str) -> pa.Table:
    return read_shard(context.project.shard_file(name), f"data/shards/{name}.parquet").rows


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
