"""Training a shard slice by slice, and taking up where a forgotten row left off.

Slice r goes on from the state after slice r-1, on the union of slices 1..r (Bourtoule et al.,
"Machine Unlearning", IEEE S&P 2021, section IV). Nothing that slice r does reads a row of a later
slice, so a state from before a forgotten row's slice never saw it.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from unlearn.stages.config.params import ALGORITHM
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.base import FloatArray, SliceData
from unlearn.stages.estimators.preprocessing import fit_preprocessor, fixed_preprocessor
from unlearn.stages.project.files import json_bytes
from unlearn.stages.rows.shard_file import RECORD, SUBJECT, digest_rows, in_order, nonce, targets
from unlearn.stages.rows.tokens import place
from unlearn.stages.training.environment import environment
from unlearn.stages.training.lineage import FILE_NAME as LINEAGE_FILE
from unlearn.stages.training.lineage import (
    Lineage,
    SliceLink,
    first_to_train,
    links,
    read_checkpoint,
    read_lineage,
    sealed,
)
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.shard_model import FILE_NAME as MODEL_FILE
from unlearn.stages.training.shard_model import checkpoint_name, make_estimator, model_digest


def step_totals(sizes: Sequence[int], epochs: int, batch: int) -> list[int]:
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
    """
    totals: list[int] = []
    seen = union_rows = 0
    for size in sizes:
        seen += size
        union_rows += seen
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
    """

    rows: pa.Table
    sizes: tuple[int, ...]

    @property
    def ends(self) -> list[int]:
        """Rows in slices 1..r, for each r."""
        return [int(end) for end in np.cumsum(self.sizes)]

    def slice_rows(self, number: int) -> pa.Table:
        """Return the rows of slice `number` (from 1)."""
        end = self.ends[number - 1]
        size = self.sizes[number - 1]
        return self.rows.slice(end - size, size)


def by_slice(rows: pa.Table, slices: int) -> SlicedRows:
    """Sort a shard's rows into their slices.

    Parameters
    ----------
    rows
        Rows of one shard, in the order of its file.
    slices
        How many slices there are.
    """
    governing = rows[SUBJECT if SUBJECT in rows.column_names else RECORD].to_pylist()
    numbers = np.array([place(token, 1, slices, 0.0).slice for token in governing], dtype=np.int64)
    order = np.argsort(numbers, kind="stable")
    sizes = np.bincount(numbers, minlength=slices + 1)[1:]
    return SlicedRows(rows.take(pa.array(order)).combine_chunks(), tuple(int(n) for n in sizes))


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
    """

    shard: str
    sliced: SlicedRows
    links: tuple[str, ...]
    environment: dict[str, str]
    first: int

    @property
    def union_rows(self) -> list[int]:
        """Rows that each slice's training reads: the sizes of the unions."""
        return self.sliced.ends

    @property
    def rows_in_full(self) -> int:
        """Rows read when all slices are trained; a row counts in each slice that reads it."""
        return sum(self.union_rows)

    @property
    def rows_to_train(self) -> int:
        """Rows read from the first slice to train onward, counted as in `rows_in_full`."""
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
    sliced = by_slice(rows, recipe.slices)
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
    return ShardWork(shard, sliced, chain, facts, first)


@dataclass(frozen=True)
class TrainedShard:
    """A shard model as it goes to disk.

    Parameters
    ----------
    files
        Content by name; the lineage among them.
    lineage
        The lineage.
    """

    files: dict[str, bytes]
    lineage: Lineage


def train_shard(
    recipe: Recipe,
    work: ShardWork,
    folder: Path | None,
    progress: Callable[[int], None] = lambda _slice: None,
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
    """
    constant = _constant_class(recipe, work.sliced)
    if work.sliced.rows.num_rows == 0 or constant is not None:
        return _without_weights(recipe, work, constant)
    fitting = _prepare(recipe, work)
    states = _kept_states(work, folder)
    state = states[-1] if states else None
    for number in range(work.first, recipe.slices + 1):
        if work.sliced.ends[number - 1] > 0:
            progress(number)
            seed = recipe.key.seed(recipe.seed, work.shard, "init")
            state = fitting.fit(state, number, seed)
        states.append(state)
    return _with_weights(recipe, work, fitting, states)


class _Estimator(Protocol):
    """What of an estimator a finished shard model takes, whatever kind of rows it reads."""

    file_name: str
    has_probabilities: bool

    def export(self, state: bytes) -> bytes: ...
    def digest(self, content: bytes) -> str: ...
    def describe(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class _Fitting:
    """An estimator with the rows of a shard as it reads them.

    Parameters
    ----------
    estimator
        The estimator.
    fit
        Returns the state after a slice, given the one before, the slice's number and the seed of
        what is drawn once. The state stays where the slice takes no step.
    description
        What model.json is to say beside what the estimator says.
    """

    estimator: _Estimator
    fit: Callable[[bytes | None, int, int], bytes | None]
    description: dict[str, Any]


def _prepare(recipe: Recipe, work: ShardWork) -> _Fitting:
    prepare = {"tabular": _of_columns, "text": _of_text}[recipe.layout.modality]
    return prepare(recipe, work)


def _of_columns(recipe: Recipe, work: ShardWork) -> _Fitting:
    """Prepare rows of features, by what the first slice that has rows says of them."""
    sliced = work.sliced
    first_filled = next(number for number, size in enumerate(sliced.sizes, start=1) if size)
    if recipe.train.is_perturbed:
        preprocessor = fixed_preprocessor(recipe.layout.features, recipe.train)
    else:
        preprocessor = fit_preprocessor(
            sliced.slice_rows(first_filled), recipe.layout.features, recipe.train.preprocessing
        )
    estimator = make_estimator(
        recipe.train,
        preprocessor.width,
        len(recipe.layout.classes),
        sliced=recipe.slices > 1,
        code=recipe.code,
    )
    inputs = preprocessor.transform(sliced.rows, estimator.dtype)

    def fit(state: bytes | None, number: int, seed: int) -> bytes | None:
        data = _slice_data(recipe, work.shard, sliced, inputs, number)
        return estimator.fit_slice(state, data, seed) if data.steps else state

    return _Fitting(estimator, fit, {"preprocessing": preprocessor.as_json()})


def _of_text(recipe: Recipe, work: ShardWork) -> _Fitting:
    """Prepare rows of text, by the base's tokenizer, which has learned nothing from them."""
    from unlearn.stages.estimators.causal import TextSlice, language_estimator

    estimator = language_estimator(recipe.train, recipe.layout, recipe.root)
    encoded = estimator.encoder.encode(work.sliced.rows)
    # A body may be several sequences: these are what steps are counted in.
    ends = np.searchsorted(encoded.sequences.rows, work.sliced.ends)
    sizes = [int(size) for size in np.diff(ends, prepend=0)]
    totals = step_totals(sizes, recipe.train.epochs, recipe.train.batch)

    def fit(state: bytes | None, number: int, seed: int) -> bytes | None:
        steps = totals[number - 1] - (totals[number - 2] if number > 1 else 0)
        if steps == 0:
            return state
        data = TextSlice(
            encoded.sequences.first(int(ends[number - 1])),
            steps,
            lambda epoch: recipe.key.seed(recipe.seed, work.shard, number, epoch),
        )
        return estimator.fit_slice(state, data, seed)

    counts = {"sequences": len(encoded.sequences), "truncated": encoded.truncated}
    return _Fitting(estimator, fit, counts)


def _kept_states(work: ShardWork, folder: Path | None) -> list[bytes | None]:
    """Return the states before the first slice to train."""
    lineage = None if folder is None or work.first == 1 else read_lineage(folder)
    if folder is None or lineage is None:
        return []
    return [read_checkpoint(folder, lineage, link) for link in lineage.slices[: work.first - 1]]


def _slice_data(
    recipe: Recipe, shard: str, sliced: SlicedRows, inputs: FloatArray, number: int
) -> SliceData:
    end = sliced.ends[number - 1]
    totals = step_totals(sliced.sizes, recipe.train.epochs, recipe.train.batch)
    before = totals[number - 2] if number > 1 else 0

    def seed(epoch: int) -> int:
        return recipe.key.seed(recipe.seed, shard, number, epoch)

    return SliceData(
        inputs=inputs[:end],
        targets=targets(sliced.rows.slice(0, end), recipe.layout),
        new=sliced.sizes[number - 1],
        steps=totals[number - 1] - before,
        seed=seed,
    )


def _constant_class(recipe: Recipe, sliced: SlicedRows) -> int | None:
    """Return the one class of a shard that scikit-learn would refuse to fit; else None.

    Only for models fitted as a whole, since a slice may not ask what later slices hold; or where
    the pinned list has one class only.
    """
    if not recipe.train.is_sklearn or sliced.rows.num_rows == 0:
        return None
    if len(recipe.layout.classes) == 1:
        return 0
    if recipe.slices > 1:
        return None
    found = np.unique(targets(sliced.rows, recipe.layout))
    return int(found[0]) if len(found) == 1 else None


def _description(recipe: Recipe, kind: str, rows: int, **more: Any) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "kind": kind,
        "layout": recipe.layout.as_json(),
        "rows": rows,
        "has_probabilities": True,
        "file": None,
        **more,
    }


def _without_weights(recipe: Recipe, work: ShardWork, constant: int | None) -> TrainedShard:
    kind = "empty" if constant is None else "constant"
    more = {} if constant is None else {"class": constant}
    rows = work.sliced.rows.num_rows
    description = _description(recipe, kind, rows, **more)
    return _finish(recipe, work, description, None, {}, [None] * recipe.slices)


def _with_weights(
    recipe: Recipe,
    work: ShardWork,
    fitting: _Fitting,
    states: list[bytes | None],
) -> TrainedShard:
    estimator, last = fitting.estimator, states[-1]
    if last is None:
        raise AssertionError("a shard with rows ends with a state")
    weights = estimator.export(last)
    described = estimator.describe()
    description = _description(
        recipe,
        described.pop("kind"),
        work.sliced.rows.num_rows,
        **described,
        file=estimator.file_name,
        has_probabilities=estimator.has_probabilities,
        **fitting.description,
    )
    checkpoints = {
        number: (checkpoint_name(number, estimator.file_name), state)
        for number, state in enumerate(states[:-1], start=1)
        if state is not None
    }
    digests = [None if state is None else estimator.digest(state) for state in states]
    return _finish(recipe, work, description, weights, checkpoints, digests)


def _finish(
    recipe: Recipe,
    work: ShardWork,
    description: dict[str, Any],
    weights: bytes | None,
    checkpoints: dict[int, tuple[str, bytes]],
    digests: list[str | None],
) -> TrainedShard:
    files = dict(checkpoints.values())
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
    )
    lineage = sealed(recipe.key, lineage)
    return TrainedShard(files | {LINEAGE_FILE: json_bytes(lineage.as_json())}, lineage)
