"""What a new project starts with: the numbers that `init` pins."""

from collections.abc import Callable
from dataclasses import dataclass, replace

#: Optimizer steps that a shard model gets at least. Measured on tabular data with Adam at .001:
#: below about two thousand steps, small shards are undertrained (docs/benchmarks.md).
CONVERGED_STEPS = 3_000
#: From how long a training of one plain model takes, in seconds, shards save time: between what was
#: measured for a request of one row, and for a batch of eight (docs/benchmarks.md).
BREAK_EVEN = 8.0
DEFAULT_BATCH = 32
DEFAULT_HOLDOUT = 0.2

_MIN_EPOCHS = 10
_MAX_EPOCHS = 300
_ROWS_PER_SHARD = 500
_MAX_SHARDS = 20
_ROWS_PER_SLICE = 100
_MAX_SLICES = 5


@dataclass(frozen=True)
class Plan:
    """Shards, slices and epochs for a dataset's size."""

    shards: int
    slices: int
    epochs: int


def suggest(
    rows: int,
    *,
    holdout: float,
    can_slice: bool,
    shards: int | None = None,
    slices: int | None = None,
    batch: int = DEFAULT_BATCH,
    most: int = _MAX_SHARDS,
) -> Plan:
    """Return a plan whose shard models have enough rows and enough steps to converge.

    Parameters
    ----------
    rows
        Rows in the dataset.
    holdout
        Share that is held out.
    can_slice
        Whether the model can resume from a state.
    shards, slices
        What the user specified; None to choose.
    batch
        Rows a step.
    most
        Shards at most, where they are not specified.
    """
    training = max(1, round(rows * (1 - holdout)))
    if shards is None:
        shards = min(most, max(1, training // _ROWS_PER_SHARD))
    per_shard = max(1, training // shards)
    if slices is None:
        slices = min(_MAX_SLICES, max(1, per_shard // _ROWS_PER_SLICE)) if can_slice else 1
    steps_an_epoch = -(-per_shard // batch)
    epochs = -(-CONVERGED_STEPS // steps_an_epoch)
    return Plan(shards, slices, min(_MAX_EPOCHS, max(_MIN_EPOCHS, epochs)))


def suggest_by_time(
    plan: Callable[[int | None], Plan],
    seconds: Callable[[Plan], float | None],
    *,
    shards: int | None,
    slices: int | None,
) -> tuple[Plan, float | None]:
    """Return a plan with shards only where they save time, and the seconds that this follows from.

    Parameters
    ----------
    plan
        Returns a plan for so many shards; None to choose by the number of rows.
    seconds
        Returns about how long one plain model trains on all rows by a plan; None where that is not
        known: then the number of rows alone decides.
    shards, slices
        What the user specified; None to choose.

    Returns
    -------
    tuple
        The seconds are None where they are not known, or the user specified the shards.
    """
    if shards is not None:
        return plan(shards), None
    one = plan(1)
    expected = seconds(one)
    if expected is None or expected >= BREAK_EVEN:
        return plan(None), expected
    # Slices of a training that takes no time save none.
    return (one if slices is not None else replace(one, slices=1)), expected


#: A tuned adapter needs fewer rows than a model from nothing; more shards are cheaper requests and
#: worse adapters. Epochs as TOFU's authors tune.
_TEXTS_PER_SHARD, _MOST_ADAPTERS, _TEXT_SLICES, _TEXT_EPOCHS = 50, 8, 3, 5


def suggest_text(
    rows: int, *, holdout: float, shards: int | None = None, slices: int | None = None
) -> Plan:
    """Return a plan for tuning a language model: at most eight adapters of three slices.

    Parameters
    ----------
    rows, holdout, shards, slices
        See `suggest`.
    """
    training = max(1, round(rows * (1 - holdout)))
    if shards is None:
        shards = min(_MOST_ADAPTERS, max(1, training // _TEXTS_PER_SHARD))
    if slices is None:
        slices = min(_TEXT_SLICES, max(1, training // shards // _TEXTS_PER_SHARD * 2))
    return Plan(shards, slices, _TEXT_EPOCHS)
