"""The halves of the holdout, and samples of rows: drawn by tokens, so that no row moves another.

One half calibrates: attacks, guards and searches may use it. The other half provides the
non-members, and is used only for measurement.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from unlearn.stages.rows.shard_file import RECORD, governing_digests
from unlearn.stages.rows.token_arrays import Digests, digests_of
from unlearn.stages.rows.tokens import PREFIX

Bools = npt.NDArray[np.bool_]

#: Bytes of a token that place no row: the first halves the holdout, the second the test half, and
#: the rest draw samples.
_HALF, _QUARTER, _DRAW = 24, 25, 26


def calibration_half(holdout: pa.Table) -> pa.Table:
    """Return the half of the holdout that calibrates."""
    return holdout.filter(pa.array(~_half(holdout, _HALF)))


def tested_half(holdout: pa.Table) -> pa.Table:
    """Return the half of the holdout that provides the non-members."""
    return holdout.filter(pa.array(_half(holdout, _HALF)))


def quarters(tested: pa.Table) -> Bools:
    """Return which rows of the test half are in its first half, a person's rows together."""
    return _half(tested, _QUARTER)


def record_halves(rows: pa.Table) -> Bools:
    """Return which rows are in the first of two halves, each row separately.

    For rows that may all be of one person.
    """
    return _even(digests_of(rows[RECORD]), _HALF)


def fewest(rows: pa.Table, most: int) -> pa.Table:
    """Return at most this number of rows, drawn by their tokens, in their order."""
    if rows.num_rows <= most:
        return rows
    keys = [digest[_DRAW:] for digest in rows[RECORD].to_pylist()]
    kept = sorted(sorted(range(rows.num_rows), key=keys.__getitem__)[:most])
    return rows.take(pa.array(kept))


def draw_among(token: str, count: int) -> int:
    """Return a number below `count` that a token draws."""
    return int.from_bytes(_bytes(token)[_DRAW:], "big") % count


def _half(rows: pa.Table, byte: int) -> Bools:
    return _even(governing_digests(rows), byte)


def _even(digests: Digests, byte: int) -> Bools:
    even: Bools = digests[:, byte] % 2 == 0
    return even


def _bytes(token: str) -> bytes:
    return bytes.fromhex(token.removeprefix(PREFIX))
