"""Training a shard slice by slice, and taking up where a forgotten row left off.

Slice r goes on from the state after slice r-1, on the union of slices 1..r (Bourtoule et al.,
"Machine Unlearning", IEEE S&P 2021, section IV). Nothing that slice r does reads a row of a later
slice, so a state from before a forgotten row's slice never saw it.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
from unlearn.stages.config.params import ALGORITHM
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.base import RefusedRowsError
from unlearn.stages.estimators.registry import find_spec
from unlearn.stages.estimators.spec import RowSetTraining
from unlearn.stages.project.files import json_bytes
from unlearn.stages.rows.shard_file import (
    digest_rows,
    in_order,
    nonce,
    row_weights,
    target_numbers,
    targets,
)
from unlearn.stages.training.environment import environment
from unlearn.stages.training.fitting import Fitting, constant_class, prepare
from unlearn.stages.training.lineage import FILE_NAME as LINEAGE_FILE
from unlearn.stages.training.lineage import (
    ONE_ROW,
    REFUSED,
    Lineage,
    SliceLink,
    first_to_train,
    links,
    read_checkpoint,
    read_lineage,
    sealed,
)
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.row_sets import (
    Earlier,
    Fitted,
    KnownRows,
    find_change,
    fit_rows,
)
from unlearn.stages.training.row_sets import rows_to_read as rows_of_change
from unlearn.stages.training.shard_model import FILE_NAME as MODEL_FILE
from unlearn.stages.training.shard_model import describe_model, model_digest
from unlearn.stages.training.sliced_rows import SlicedRows, by_slice
from unlearn.stages.training.trial import fits_trial_rows


@dataclass(frozen=True)
class ShardWork:
    """What training a shard takes: its rows, the chain they give, and where to begin.

    Parameters
    ----------
    shard
        The shard's name.
    sliced
        Its rows.
    links
        The chain's links.
    environment
        The facts that are part of it.
    first
        The first slice to train, from 1; one more than there are slices if nothing is to do.
    change
        Rows that come or go where a model of a set of rows is changed; None where it is trained.
    is_refitted
        Whether such a model is trained because so many rows come or go that a change is not faster.
    known
        The rows as such a model reads them, where they were needed to find this out.
    """

    shard: str
    sliced: SlicedRows
    links: tuple[str, ...]
    environment: dict[str, str]
    first: int
    change: int | None = None
    is_refitted: bool = False
    known: KnownRows | None = None

    @property
    def union_rows(self) -> list[int]:
        """Rows that each slice's training reads: the sizes of the unions."""
        return self.sliced.rows_read

    @property
    def rows_in_full(self) -> int:
        """Rows read when all slices are trained; a row counts in each slice that reads it."""
        return sum(self.union_rows)

    @property
    def rows_to_train(self) -> int:
        """Rows read from the first slice to train onward, counted as in `rows_in_full`."""
        if self.change is not None:
            return self.change
        return sum(self.union_rows[self.first - 1 :])


def expected_links(
    recipe: Recipe, shard: str, sliced: SlicedRows, facts: dict[str, str]
) -> tuple[str, ...]:
    """Return the chain that these rows give in this environment."""
    digests = [
        digest_rows(recipe.key, sliced.slice_rows(number), f"slice {shard} {number}")
        for number in range(1, recipe.slices + 1)
    ]
    return tuple(links(recipe.digest(shard), facts, digests))


def plan_shard(recipe: Recipe, shard: str, rows: pa.Table, folder: Path | None) -> ShardWork:
    """Find out what training a shard takes, given what its folder holds already.

    Parameters
    ----------
    recipe
        The settings.
    shard, rows
        The shard's name and its rows, in the order of its file.
    folder
        The shard model's folder; None to begin from nothing.
    """
    sliced = by_slice(rows, recipe.slices, skips_empty=recipe.skips_empty_slices)
    facts = environment(recipe.train)
    chain = expected_links(recipe, shard, sliced, facts)
    first = 1
    if folder is not None:
        try:
            lineage = read_lineage(folder)
        except InputError:
            lineage = None  # a damaged folder is a cache that is of no use
        if lineage is not None:
            first = first_to_train(folder, lineage, chain, recipe.key)
    work = ShardWork(shard, sliced, chain, facts, first)
    is_of_sets = isinstance(find_spec(recipe.train.model).training, RowSetTraining)
    if is_of_sets and folder is not None and first <= recipe.slices and rows.num_rows:
        work = _with_change(recipe, work, folder)
    return work


def _with_change(recipe: Recipe, work: ShardWork, folder: Path) -> ShardWork:
    work = replace(work, known=_known(recipe, work))
    change = find_change(recipe, work.shard, _known(recipe, work), folder)
    if change is None:
        return work
    return replace(
        work,
        change=None if change.is_refitted else change.rows,
        is_refitted=change.is_refitted,
    )


def _known(recipe: Recipe, work: ShardWork) -> KnownRows:
    """Return the rows as a model of a set of rows reads them."""
    return work.known or KnownRows.of(recipe, work.shard, work.sliced.rows)


def rows_to_read(
    recipe: Recipe, work: ShardWork, folder: Path, forgotten: Callable[[], pa.Table | None]
) -> int | None:
    """Return how many rows the change that `work` says will read; no file is changed.

    It is in rows of a training, so where each row is in several trees it counts once for all of
    them. None if the model will be trained after all, because rows that go are not known.

    Parameters
    ----------
    recipe, work, folder, forgotten
        As `train_shard` takes them.
    """
    return rows_of_change(recipe, work.shard, _known(recipe, work), Earlier(folder, forgotten))


@dataclass(frozen=True)
class TrainedShard:
    """A shard model as it goes to disk.

    Parameters
    ----------
    files
        Content by name; the lineage among them.
    lineage
        The lineage.
    refusal
        What the estimator raised where `lineage.refused`; else None.
    changed
        Rows that a change read where the model of a set of rows was changed; else None.
    seconds
        How long fitting or changing such a model took, without files; else None.
    """

    files: dict[str, bytes]
    lineage: Lineage
    refusal: RefusedRowsError | None = None
    changed: int | None = None
    seconds: float | None = None


def train_shard(
    recipe: Recipe,
    work: ShardWork,
    folder: Path | None,
    progress: Callable[[int], None] = lambda _slice: None,
    forgotten: Callable[[], pa.Table | None] = lambda: None,
) -> TrainedShard:
    """Train what `work` says, and return everything that the shard model's folder is to hold.

    The result is a function of recipe, rows and environment: what stood in `folder` can only
    make it faster.

    Parameters
    ----------
    recipe
        The settings.
    work
        What `plan_shard` found.
    folder
        Where checkpoints before `work.first` stand; may be None if `work.first` is 1.
    progress
        Told the number of each slice as its training begins.
    forgotten
        Returns rows of the shard that were forgotten. A model of a set of rows may be changed by
        them in place of being trained.

    Raises
    ------
    InputError
        If the settings or the rows are not what the estimator takes. Where it refuses these rows,
        and can be fitted on others, the model is a constant one instead.
    """
    constant = constant_class(recipe, work.sliced)
    if work.sliced.rows.num_rows == 0 or constant is not None:
        return _without_weights(recipe, work, {} if constant is None else {"class": constant})
    if isinstance(find_spec(recipe.train.model).training, RowSetTraining):
        earlier = None if work.change is None or folder is None else Earlier(folder, forgotten)
        fitted = fit_rows(recipe, work.shard, _known(recipe, work), earlier)
        return shard_of_set(recipe, work, fitted)
    fitting = prepare(recipe, work.shard, work.sliced)
    try:
        states = _states(recipe, work, fitting, _kept_states(work, folder), progress)
    except RefusedRowsError as refusal:
        if not fits_trial_rows(recipe):
            raise
        return _constant(recipe, work, REFUSED, refusal)
    if states[-1] is None and recipe.layout.modality == "tabular":
        return _constant(recipe, work, ONE_ROW)
    return _with_weights(recipe, work, fitting, states)


def _states(
    recipe: Recipe,
    work: ShardWork,
    fitting: Fitting,
    kept: list[bytes | None],
    progress: Callable[[int], None],
) -> list[bytes | None]:
    """Return the states after each slice, given those before the first slice to train."""
    states = list(kept)
    state = states[-1] if states else None
    for number in range(len(kept) + 1, recipe.slices + 1):
        if work.union_rows[number - 1] > 0:
            progress(number)
            seed = recipe.key.seed(recipe.seed, work.shard, "init")
            state = fitting.fit(state, number, seed)
        states.append(state)
    return states


def _kept_states(work: ShardWork, folder: Path | None) -> list[bytes | None]:
    """Return the states before the first slice to train."""
    lineage = None if folder is None or work.first == 1 else read_lineage(folder)
    if folder is None or lineage is None or lineage.refused:
        return []  # of what was refused no state was kept
    return [read_checkpoint(folder, lineage, link) for link in lineage.slices[: work.first - 1]]


def _constant(
    recipe: Recipe, work: ShardWork, reason: str, refusal: RefusedRowsError | None = None
) -> TrainedShard:
    """Return the model that answers every row with what its own rows have on average.

    These are the frequencies of their classes, or the mean of their numbers.
    """
    rows = work.sliced.rows
    weights = row_weights(rows)
    answer: dict[str, Any]
    if recipe.layout.outputs.is_number:
        answer = {"mean": float(np.average(target_numbers(rows), weights=weights))}
    else:
        classes = len(recipe.layout.classes)
        counts = np.bincount(targets(rows, recipe.layout), weights, minlength=classes)
        total = rows.num_rows if weights is None else weights.sum()
        answer = {"frequencies": [float(share) for share in counts / total]}
    answer["reason"] = reason
    return replace(_without_weights(recipe, work, answer), refusal=refusal)


def _without_weights(recipe: Recipe, work: ShardWork, answer: dict[str, Any]) -> TrainedShard:
    """Return a model without weights: an empty one, or a constant one that gives an answer."""
    description = {
        "schema_version": 1,
        "kind": "constant" if answer else "empty",
        "layout": recipe.layout.as_json(),
        "rows": work.sliced.rows.num_rows,
        "has_probabilities": True,
        "file": None,
        **answer,
    }
    return _finish(recipe, work, description, None, {}, [None] * recipe.slices)


def shard_of_set(recipe: Recipe, work: ShardWork, fitted: Fitted) -> TrainedShard:
    """Return the shard model of the set of all rows of the shard, which has one slice.

    Parameters
    ----------
    recipe, work
        The settings, and the shard's rows.
    fitted
        The model of these rows.
    """
    description = describe_model(
        recipe.train,
        recipe.layout,
        work.sliced.rows.num_rows,
        fitted.description,
        # Predicted numbers are more than votes.
        probable=recipe.layout.outputs.is_number
        or find_spec(recipe.train.model).has_probabilities(recipe.train),
    )
    trained = _finish(
        recipe, work, description, fitted.weights, {}, [fitted.digest], others=fitted.state
    )
    return replace(trained, changed=fitted.reads, seconds=fitted.seconds)


def _with_weights(
    recipe: Recipe,
    work: ShardWork,
    fitting: Fitting,
    states: list[bytes | None],
) -> TrainedShard:
    spec, estimator, last = fitting.spec, fitting.estimator, states[-1]
    if last is None:
        raise AssertionError("a shard with rows ends with a state")
    description = describe_model(
        recipe.train,
        recipe.layout,
        work.sliced.rows.num_rows,
        {**estimator.describe(), **fitting.description},
        probable=estimator.has_probabilities,
    )
    checkpoints = {
        number: (spec.checkpoint_name(number), state)
        for number, state in enumerate(states[:-1], start=1)
        if state is not None
    }
    digests = [None if state is None else spec.format.digest(state) for state in states]
    return _finish(recipe, work, description, estimator.export(last), checkpoints, digests)


def _finish(
    recipe: Recipe,
    work: ShardWork,
    description: dict[str, Any],
    weights: bytes | None,
    checkpoints: dict[int, tuple[str, bytes]],
    digests: list[str | None],
    *,
    others: Mapping[str, bytes] = MappingProxyType({}),
) -> TrainedShard:
    files = {**dict(checkpoints.values()), **others}
    files[MODEL_FILE] = json_bytes(description)
    if weights is not None:
        files[str(description["file"])] = weights
    chain = zip(work.sliced.sizes, work.links, digests, strict=True)
    lineage = Lineage(
        shard=work.shard,
        algorithm=ALGORITHM,
        recipe=recipe.digest(work.shard),
        environment=work.environment,
        retain=nonce(recipe.key, work.shard, in_order(work.sliced.rows), recipe.layout),
        slices=tuple(
            SliceLink(number, size, link, digest, checkpoints.get(number, (None,))[0])
            for number, (size, link, digest) in enumerate(chain, start=1)
        ),
        model=model_digest(description, weights),
        files={name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        constant=description.get("reason"),
    )
    lineage = sealed(recipe.key, lineage)
    return TrainedShard(files | {LINEAGE_FILE: json_bytes(lineage.as_json())}, lineage)
