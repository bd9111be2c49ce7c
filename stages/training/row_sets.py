"""Models that are functions of a set of rows: made from nothing, or by changing an earlier state.

Both ways give the same bytes. What is on disk can only make it faster: a state that does not have
its seal, belongs to other settings or cannot be brought to the rows is not used.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from unlearn.stages.config.row_sets import RowSetOptions
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.base import IntArray
from unlearn.stages.estimators.registry import find_spec
from unlearn.stages.estimators.row_sets.base import (
    STATE_FILE,
    Files,
    ReadsOthers,
    RowSetEstimator,
    Shape,
    load_digests,
    state_digest,
)
from unlearn.stages.estimators.row_sets.grids import Grid, make_grid
from unlearn.stages.estimators.row_sets.preprocessing import CodePreprocessor
from unlearn.stages.estimators.row_sets.row_set import (
    Bytes,
    Codes,
    RowSet,
    UnknownRowsError,
    difference,
    find_rows,
    row_digests,
    row_set,
)
from unlearn.stages.estimators.spec import RowSetTraining
from unlearn.stages.project.files import canonical_json
from unlearn.stages.rows.shard_file import RECORD, SUBJECT, target_numbers, targets
from unlearn.stages.rows.token_arrays import digests_of
from unlearn.stages.rows.tokens import Key
from unlearn.stages.training.environment import environment
from unlearn.stages.training.lineage import Lineage, is_whole, read_lineage, seal
from unlearn.stages.training.recipe import Recipe

#: Folder of a state, in the folder of its shard model.
STATE_FOLDER = "state"


@dataclass(frozen=True)
class Earlier:
    """What an earlier run left.

    Parameters
    ----------
    folder
        The shard model's folder.
    forgotten
        Returns the rows of the shard that were forgotten, as far as they are known.
    """

    folder: Path
    forgotten: Callable[[], pa.Table | None]


@dataclass(frozen=True)
class Fitted:
    """A fitted model.

    Parameters
    ----------
    estimator
        What fitted it.
    state
        The files of its state, by path in the shard model's folder.
    digest
        Digest of the numbers in them.
    weights
        The content of the weights file.
    description
        What model.json says of the grids.
    seconds
        How long the fit or the change took, without reading rows and without the state's files;
        None where it was not measured.
    reads
        Rows that the change read, in rows of a fit; None if it was fitted.
    """

    estimator: RowSetEstimator[Any]
    state: dict[str, bytes]
    digest: str
    weights: bytes
    description: dict[str, Any]
    seconds: float | None = None
    reads: int | None = None


@dataclass(frozen=True)
class Change:
    """What changing an earlier state would take.

    Parameters
    ----------
    rows
        Rows that come or go.
    is_refitted
        Whether these are so many that fitting is not slower, so that the model is fitted.
    """

    rows: int
    is_refitted: bool


@dataclass(frozen=True)
class KnownRows:
    """Rows of a shard that were encoded and digested once, for all that needs them.

    Parameters
    ----------
    own
        The estimator of the shard.
    rows
        The rows.
    """

    own: "ShardRows"
    rows: RowSet

    @classmethod
    def of(cls, recipe: Recipe, shard: str, rows: pa.Table) -> "KnownRows":
        """Encode and digest the rows of a shard."""
        own = ShardRows(recipe, shard)
        return cls(own, own.of(rows))


class ShardRows:
    """The estimator of a shard, and rows as it reads them.

    Parameters
    ----------
    recipe, shard
        The settings, of a family that is trained on sets of rows, and the shard's name.
    """

    def __init__(self, recipe: Recipe, shard: str) -> None:
        training = find_spec(recipe.train.model).training
        if not isinstance(training, RowSetTraining):
            raise InputError(f"train.model: {recipe.train.model} is not trained on sets of rows")
        self._recipe = recipe
        self._key = _key_of(recipe, shard)
        self.grid = _grid(recipe)
        self.shape = Shape.of(self.grid, recipe.layout.outputs)
        self.estimator = training.build(recipe.train, self._key, self.shape)

    def of(self, rows: pa.Table) -> RowSet:
        """Return rows of the shard as a set."""
        return row_set(*self.in_order(rows))

    def in_order(self, rows: pa.Table) -> tuple[Bytes, Codes, IntArray]:
        """Return digests, codes and targets of rows, in the order of the table.

        Targets are class indices, or numbers on the pinned grid.
        """
        codes = self.grid.encode(rows)
        target = self.shape.target
        wanted = (
            targets(rows, self._recipe.layout)
            if target is None
            else target.encode(target_numbers(rows))
        )
        names = (SUBJECT, RECORD) if SUBJECT in rows.column_names else (RECORD,)
        parts = [digests_of(rows[name]) for name in names]
        parts += [codes.view(np.uint8), wanted[:, None].astype("<i4").view(np.uint8)]
        return row_digests(self._key, parts), codes, wanted


def fit_rows(recipe: Recipe, shard: str, known: KnownRows, earlier: Earlier | None) -> Fitted:
    """Return the model of a shard's rows.

    Parameters
    ----------
    recipe, shard
        The settings, and the shard's name.
    known
        Its rows, at least one.
    earlier
        What an earlier run left; None to make the model from nothing.
    """
    own = known.own
    change = None if earlier is None else _begin(recipe, shard, known, earlier)
    started = time.perf_counter()
    changed = None if change is None else _apply(own, *change)
    state = own.estimator.fit(known.rows) if changed is None else changed[0]
    seconds = time.perf_counter() - started
    fitted = fitted_of(recipe, own, state)
    return replace(fitted, seconds=seconds, reads=None if changed is None else changed[1])


def fitted_of(recipe: Recipe, own: ShardRows, state: Any) -> Fitted:
    """Return the model that a state of a shard's rows gives.

    Parameters
    ----------
    recipe, own
        The settings, and the estimator of the shard.
    state
        A state of this estimator.
    """
    estimator = own.estimator
    files = estimator.save(state)
    preprocessor = CodePreprocessor.of_grid(own.grid, recipe.layout.features)
    return Fitted(
        estimator,
        {f"{STATE_FOLDER}/{name}": content for name, content in files.items()},
        state_digest(files),
        estimator.model(state),
        {"preprocessing": preprocessor.as_json()},
    )


def find_change(recipe: Recipe, shard: str, known: KnownRows, folder: Path) -> Change | None:
    """Return what changing an earlier state would take.

    Parameters
    ----------
    recipe, shard
        The settings, and the shard's name.
    known
        The rows that the model is to have.
    folder
        The shard model's folder.

    Returns
    -------
    Change or None
        None if no state can be used.
    """
    wanted = known.rows.digests
    files = _earlier_files(recipe, shard, folder)
    if files is None:
        return None
    try:
        have = load_digests(files.get(STATE_FILE))
    except InputError:
        return None
    gone, new = (int(mask.sum()) for mask in difference(have, wanted))
    refits = known.own.estimator.refits
    return Change(gone + new, refits(gone, len(have)) or refits(new, len(wanted)))


def rows_to_read(recipe: Recipe, shard: str, known: KnownRows, earlier: Earlier) -> int | None:
    """Return how many rows a change of an earlier state will read; no file is changed.

    Parameters
    ----------
    recipe, shard, known, earlier
        As `fit_rows` takes them.

    Returns
    -------
    int or None
        Rows, in rows of a fit; None if the state cannot be brought to these rows.
    """
    change = _begin(recipe, shard, known, earlier)
    if change is None:
        return None
    state, (gone, left), (new, union) = change
    estimator = known.own.estimator
    if not isinstance(estimator, ReadsOthers):
        return len(gone) + len(new)
    try:
        found = estimator.rows_to_read(state, gone, left, -1) if len(gone) else 0
        if not len(new):
            return found
        # What the new rows take depends on the state without those that go. It is in memory.
        return found + estimator.rows_to_read(estimator.forget(state, gone, left), new, union, 1)
    except UnknownRowsError:
        return None


def _key_of(recipe: Recipe, shard: str) -> Key:
    """Return the key of everything that is drawn for a shard."""
    return Key(recipe.key.digest("row-set", canonical_json([recipe.seed, shard])).hex())


def _grid(recipe: Recipe) -> Grid:
    ends = RowSetOptions(range=recipe.train.options.get("range", {})).range
    try:
        return make_grid(recipe.layout, ends, recipe.key)
    except ValueError as error:
        raise InputError(f"train.model {recipe.train.model}: {error}") from None


#: A state, the rows that go and those that are left then, and new rows and all in the end.
_Steps = tuple[Any, tuple[RowSet, RowSet], tuple[RowSet, RowSet]]


def _begin(recipe: Recipe, shard: str, known: KnownRows, earlier: Earlier) -> _Steps | None:
    """Return an earlier state and what brings it to other rows; None if none can be used."""
    own, wanted = known.own, known.rows
    files = _earlier_files(recipe, shard, earlier.folder)
    if files is None:
        return None
    try:
        state = own.estimator.load(files)
    except InputError:
        return None
    have = own.estimator.row_digests(state)
    is_gone, is_new = difference(have, wanted.digests)
    gone = _rows_with(have[is_gone], own, earlier)
    if gone is None:
        return None
    return state, (gone, wanted.take(~is_new)), (wanted.take(is_new), wanted)


def _apply(
    own: ShardRows, state: Any, less: tuple[RowSet, RowSet], more: tuple[RowSet, RowSet]
) -> tuple[Any, int] | None:
    """Return a state after rows went and others came, and the rows that were read.

    None if the state is not of these rows.
    """
    estimator, reads = own.estimator, 0
    counts = isinstance(estimator, ReadsOthers)
    try:
        for change, (moved, rows) in ((estimator.forget, less), (estimator.add, more)):
            state = change(state, moved, rows)
            if len(moved):
                reads += state.reads if counts else len(moved)
    except UnknownRowsError:
        return None
    return state, reads


def _rows_with(digests: Bytes, own: ShardRows, earlier: Earlier) -> RowSet | None:
    """Return the rows that are to go; None if one of them is not among the forgotten ones."""
    table = earlier.forgotten() if len(digests) else None
    if table is None:
        nothing = np.zeros((0, len(own.grid.sizes)), np.uint16), np.zeros(0, np.int64)
        return None if len(digests) else RowSet(digests, *nothing)
    known = own.of(table)
    try:
        places = find_rows(known.digests, digests)
    except UnknownRowsError:
        return None
    return RowSet(known.digests[places], known.codes[places], known.targets[places])


def _earlier_files(recipe: Recipe, shard: str, folder: Path) -> Files | None:
    """Return the files of the state in a folder; None unless it is whole and of this recipe."""
    try:
        lineage = read_lineage(folder)
    except InputError:
        return None
    if lineage is None or not _is_usable(recipe, shard, folder, lineage):
        return None
    return state_files(folder, lineage)


def state_files(folder: Path, lineage: Lineage) -> Files:
    """Return the files of the state in a folder that its lineage names and that are there."""
    prefix = f"{STATE_FOLDER}/"
    return {
        name.removeprefix(prefix): (folder / name).read_bytes()
        for name in lineage.files
        if name.startswith(prefix) and (folder / name).is_file()
    }


def _is_usable(recipe: Recipe, shard: str, folder: Path, lineage: Lineage) -> bool:
    return (
        lineage.seal == seal(recipe.key, lineage)
        and lineage.recipe == recipe.digest(shard)
        and lineage.environment == environment(recipe.train)
        and is_whole(folder, lineage)
    )
