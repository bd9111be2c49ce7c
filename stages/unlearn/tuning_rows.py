"""The rows that the search for a method's settings reads: none that a test looks at.

They are retained rows, some of which take the place of the forget set, and the calibration half
of the holdout. Of the forget set only the size counts.
"""

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from unlearn.stages.context import PosthocContext
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import CANARIES, HOLDOUT
from unlearn.stages.rows.holdout import calibration_half, fewest
from unlearn.stages.rows.shard_file import RECORD, forget_mask, in_order, read_shard
from unlearn.stages.rows.token_arrays import DIGEST
from unlearn.stages.training.method_record import WHOLE, MethodRows
from unlearn.stages.unlearn.stage import read_side

#: Rows to play the forget set: no fewer, for their mean to say something, and at most a fifth of
#: all rows, for a model without them to be one of the same kind.
FEWEST, SHARE = 10, 5

Sample = Literal["canaries", "retained rows"]


@dataclass(frozen=True)
class Sampled:
    """The rows to search on.

    Parameters
    ----------
    rows
        What a method is given: `forget` is the sample.
    whole
        Rows of the small original: sample and others, in order.
    sample_of
        What the sample consists of.
    """

    rows: MethodRows
    whole: pa.Table
    sample_of: Sample


def sample_rows(context: PosthocContext, most_rows: int) -> Sampled:
    """Draw the rows to search on, of those that `forget` left and the list does not name.

    Raises
    ------
    InputError
        If rows are missing, or too few.
    """
    project = context.project
    forget_list = context.read_list()
    tables = {}
    forgotten = 0
    for name in (WHOLE, HOLDOUT):
        rows = read_side(context, project.retain_file(name))
        # Requests that no run has carried out yet: these rows will be under test.
        pending = forget_mask(rows, forget_list)
        tables[name] = rows.filter(pc.invert(pending))
        if name == WHOLE:
            forgotten = _count(context) + int(pc.sum(pending).as_py() or 0)
    sample, whole, sample_of = choose(
        tables[WHOLE],
        _canaries(context),
        wanted=forgotten or tables[WHOLE].num_rows // 20,
        most=most_rows,
        least=context.params.verify.min_rows,
    )
    retain = whole.filter(pc.invert(pc.is_in(whole[RECORD], sample[RECORD].combine_chunks())))
    rows = MethodRows(sample, retain, calibration_half(tables[HOLDOUT]))
    return Sampled(rows, whole, sample_of)


def choose(
    rows: pa.Table, canaries: pa.Array, *, wanted: int, most: int, least: int
) -> tuple[pa.Table, pa.Table, Sample]:
    """Return the sample to forget, the sample with other rows, and the kind of the sample.

    Parameters
    ----------
    rows
        Rows of the model, in their order.
    canaries
        Record tokens of canaries.
    wanted, least
        How many rows the sample is to have, and no fewer than which. All canaries are taken.
    most
        How many rows there may be in all.

    Raises
    ------
    InputError
        If there are too few rows.
    """
    total, least = min(most, rows.num_rows), max(least, FEWEST)
    limit = total // SHARE
    if limit < least:
        raise InputError(
            f"a search on {total:,} rows would have {limit} to forget, and needs {least}",
            f"{least * SHARE:,} rows are enough",
        )
    planted = pc.is_in(rows[RECORD], canaries)
    found = rows.filter(planted)
    sample_of: Sample = "canaries"
    if found.num_rows < least:
        found, sample_of = fewest(rows, max(wanted, least)), "retained rows"
    sample = fewest(found, limit)
    others = rows.filter(pc.invert(pc.is_in(rows[RECORD], sample[RECORD].combine_chunks())))
    whole = pa.concat_tables([sample, fewest(others, total - sample.num_rows)])
    return sample, in_order(whole), sample_of


def _canaries(context: PosthocContext) -> pa.Array:
    """Return the record tokens of all canaries."""
    path = context.project.shard_file(CANARIES)
    if context.params.dataset.canaries is None or not path.is_file():
        return pa.array([], DIGEST)
    tokens = read_shard(path, f"data/shards/{path.name}", [RECORD]).rows[RECORD]
    return tokens.combine_chunks()


def _count(context: PosthocContext) -> int:
    """Return how many rows the forget set has, from its file's footer."""
    path = context.project.forget_file(WHOLE)
    try:
        return int(pq.read_metadata(path).num_rows)
    except FileNotFoundError:
        return 0
    except (pa.ArrowInvalid, OSError):
        raise InputError(f"data/forget_set/{path.name} is not a shard file of this tool") from None
