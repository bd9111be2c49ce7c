"""Rows of slices that are off (`sharding.switched_off`), on which nothing is trained."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.config.params import ShardingParams
from unlearn.stages.rows.forget_list import ForgetList
from unlearn.stages.rows.shard_file import forget_mask, governing_digests
from unlearn.stages.rows.token_arrays import slice_numbers


def off_mask(rows: pa.Table, sharding: ShardingParams, shard: str) -> pa.Array:
    """Return for each row whether its slice is off, shape (rows,).

    Parameters
    ----------
    rows
        Needs the token columns only.
    sharding
        The settings.
    shard
        The shard whose rows they are; no slice of the holdout is ever off.
    """
    first = sharding.switched_off.get(shard)
    if first is None:
        return pa.repeat(pa.scalar(False), rows.num_rows)
    return pa.array(slice_numbers(governing_digests(rows), sharding.slices) >= first)


def retained_mask(
    rows: pa.Table, forget_list: ForgetList, sharding: ShardingParams, shard: str
) -> pa.Array:
    """Return for each row whether a shard's model is trained on it, shape (rows,).

    Parameters
    ----------
    rows, sharding, shard
        See `off_mask`.
    forget_list
        The list: its rows are not trained on either.
    """
    gone = pc.or_(forget_mask(rows, forget_list), off_mask(rows, sharding, shard))
    return pc.invert(gone)


@dataclass(frozen=True)
class NamedSlice:
    """The first slice of a shard that holds a row on the list.

    Parameters
    ----------
    number
        From 1.
    has_earlier
        Whether earlier slices have rows.
    """

    number: int
    has_earlier: bool


def first_named_slice(
    rows: pa.Table, forget_list: ForgetList, sharding: ShardingParams
) -> NamedSlice | None:
    """Return the first slice that holds a row on the list; None if none does.

    Parameters
    ----------
    rows
        Of one shard; needs the token columns only.
    forget_list, sharding
        See `retained_mask`.
    """
    named = rows.filter(forget_mask(rows, forget_list))
    if named.num_rows == 0:
        return None
    first = int(slice_numbers(governing_digests(named), sharding.slices).min())
    numbers = slice_numbers(governing_digests(rows), sharding.slices)
    return NamedSlice(first, bool((numbers < first).any()))
