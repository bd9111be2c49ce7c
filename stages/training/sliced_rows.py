"""A shard's rows in the order of their slices, and how many steps each slice takes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from unlearn.stages.rows.shard_file import governing_digests
from unlearn.stages.rows.token_arrays import integer_array, slice_numbers


def step_totals(
    sizes: Sequence[int], epochs: int, batch: int, *, skips_empty: bool = False
) -> list[int]:
    """Return the mini-batch steps taken in all after each slice.

    After slice r the total is ceil(2e/(R+1) * sum_{i<=r} n_i / batch), n_i being the rows in
    slices 1..i, so that the whole costs about e epochs, as it would without slices (Bourtoule et
    al. 2021, section V-B). A slice with rows of its own takes at least one step.

    Parameters
    ----------
    sizes
        Rows in each slice by itself.
    epochs, batch
        Passes over the data in all, and rows a step.
    skips_empty
        Whether a slice without rows takes no step; by default it goes on with earlier rows.
    """
    totals: list[int] = []
    seen = union_rows = 0
    for size in sizes:
        seen += size
        union_rows += seen if size or not skips_empty else 0
        # In integers: the bytes of a model hang on this number.
        total = -(-2 * epochs * union_rows // ((len(sizes) + 1) * batch))
        before = totals[-1] if totals else 0
        totals.append(max(total, before + (1 if size else 0)))
    return totals


@dataclass(frozen=True)
class SlicedRows:
    """A shard's rows in the order that training reads them: by slice, then as the file has them.

    Parameters
    ----------
    rows
        All rows.
    sizes
        Rows in each slice by itself.
    skips_empty
        Whether a slice without rows of its own trains nothing.
    """

    rows: pa.Table
    sizes: tuple[int, ...]
    skips_empty: bool = False

    @property
    def ends(self) -> list[int]:
        """Rows in slices 1..r, for each r."""
        return [int(end) for end in np.cumsum(self.sizes)]

    @property
    def rows_read(self) -> list[int]:
        """Rows that the training of each slice reads: those of slices 1..r, or none."""
        return [
            0 if self.skips_empty and size == 0 else end
            for size, end in zip(self.sizes, self.ends, strict=True)
        ]

    def slice_rows(self, number: int) -> pa.Table:
        """Return the rows of slice `number` (from 1)."""
        end = self.ends[number - 1]
        size = self.sizes[number - 1]
        return self.rows.slice(end - size, size)


def by_slice(rows: pa.Table, slices: int, *, skips_empty: bool = False) -> SlicedRows:
    """Sort a shard's rows into their slices.

    Parameters
    ----------
    rows
        Rows of one shard, in the order of its file.
    slices
        How many slices there are.
    skips_empty
        See `SlicedRows`.
    """
    if slices == 1:
        return SlicedRows(rows.combine_chunks(), (rows.num_rows,), skips_empty)
    numbers = slice_numbers(governing_digests(rows), slices)
    order = np.argsort(numbers, kind="stable")
    sizes = np.bincount(numbers, minlength=slices + 1)[1:]
    return SlicedRows(
        rows.take(integer_array(order)).combine_chunks(),
        tuple(int(n) for n in sizes),
        skips_empty,
    )
