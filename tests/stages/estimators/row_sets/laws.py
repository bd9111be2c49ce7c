"""What holds for every estimator whose model is a function of the set of its rows."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from unlearn.stages.estimators.row_sets.base import RowSetEstimator, Shape
from unlearn.stages.estimators.row_sets.code_columns import BINS
from unlearn.stages.estimators.row_sets.row_set import RowSet, row_digests, row_set
from unlearn.stages.estimators.row_sets.target_grid import FARTHEST, TargetGrid
from unlearn.stages.rows.tokens import Key

KEY = Key(hashlib.sha256(b"key of the tests of row sets").hexdigest())

#: Two numbers, a constant one, and a categorical feature.
SHAPE = Shape((BINS + 1, BINS + 1, BINS + 1, 6), (False, False, False, True), 3)

#: Builds an estimator for a key and a shape.
Build = Callable[[Key, Shape], RowSetEstimator[Any]]


def as_rows(
    numbers: npt.NDArray[np.int64], codes: npt.NDArray[np.uint16], targets: npt.NDArray[np.int64]
) -> RowSet:
    """Return rows, by their numbers, as a set."""
    parts = [np.ascontiguousarray(part).view(np.uint8) for part in (numbers[:, None], codes)]
    parts.append(targets[:, None].astype(np.uint8))
    return row_set(row_digests(KEY, parts), codes, targets)


def draw_rows(count: int, seed: int, shape: Shape = SHAPE, first: int = 0) -> RowSet:
    """Return rows with ties, missing values, and classes that depend on the values."""
    random = np.random.default_rng(seed)
    codes = np.empty((count, shape.features), np.uint16)
    for at, size in enumerate(shape.sizes):
        codes[:, at] = random.integers(0 if at % 2 else 1, size, count)
    codes[:, 0] = codes[:, 0] // 200 + 1  # many ties
    codes[random.random(count) < 0.1, 1] = 0
    signal = codes[:, 0].astype(np.int64) * 20 + codes[:, -1] * 80 + random.integers(0, 300, count)
    edges = np.quantile(signal, np.linspace(0, 1, shape.classes + 1)[1:-1]) if count else [1]
    targets = np.searchsorted(edges, signal)
    return as_rows(np.arange(first, first + count), codes, targets)


@st.composite
def row_sets(draw: st.DrawFn) -> RowSet:
    """Draw rows: often with few values, one class or none at all."""
    count = draw(st.integers(0, 24))
    few = st.integers(0, draw(st.sampled_from([0, 1, 3, BINS])))
    most = draw(st.integers(0, 2))
    columns = [
        draw(st.lists(few, min_size=count, max_size=count)),
        draw(st.lists(few, min_size=count, max_size=count)),
        [7] * count,
        draw(st.lists(st.integers(0, 5), min_size=count, max_size=count)),
    ]
    targets = draw(st.lists(st.integers(0, most), min_size=count, max_size=count))
    codes = np.array(columns, np.uint16).reshape(4, count).T
    return as_rows(np.arange(count), np.ascontiguousarray(codes), np.array(targets, np.int64))


@st.composite
def shaped_rows(draw: st.DrawFn) -> tuple[Shape, RowSet]:
    """Draw rows of any shape: of one feature or more, without numbers or without categories."""
    categories = st.sampled_from([2, 3, 40])
    kinds = draw(st.lists(st.one_of(st.none(), categories), min_size=1, max_size=4))
    sizes = tuple(BINS + 1 if size is None else size for size in kinds)
    shape = Shape(sizes, tuple(size is not None for size in kinds), draw(st.integers(1, 4)))
    count = draw(st.integers(1, 24))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    # Codes from the whole grid or few of them, 0 among them, which is a missing value.
    few = draw(st.booleans())
    columns = [random.integers(0, min(size, 3) if few else size, count) for size in sizes]
    targets = random.integers(0, draw(st.integers(1, shape.classes)), count)
    return shape, as_rows(np.arange(count), np.array(columns, np.uint16).T.copy(), targets)


def numbers_of(shape: Shape) -> Shape:
    """Return the shape of rows with numbers to predict in place of classes."""
    return replace(shape, classes=0, target=TargetGrid(centre=-30.0, scale=7.0))


def with_numbers(rows: RowSet) -> RowSet:
    """Return rows that have numbers in place of classes: many, and some as far as the grid goes."""
    words = (rows.words >> np.uint64(1)).astype(np.int64)
    targets = rows.targets * 300 + words % 401 - 200
    targets = np.where(words % 23 == 0, FARTHEST, np.where(words % 29 == 0, -FARTHEST, targets))
    # Rows of one class often have one number.
    targets = np.where(words % 3 == 0, rows.targets * 300, targets)
    return RowSet(rows.digests, rows.codes, targets)


#: Steps of a history: which rows change sides, and whether the state goes through its files.
Steps = Sequence[tuple[frozenset[int], bool]]

HISTORIES: st.SearchStrategy[Steps] = st.lists(
    st.tuples(st.frozensets(st.integers(0, 23), max_size=8), st.booleans()), max_size=4
)


def mask_of(chosen: Sequence[int] | frozenset[int], rows: RowSet) -> npt.NDArray[np.bool_]:
    """Return a mask of rows by their places."""
    mask = np.zeros(len(rows), bool)
    mask[[at for at in chosen if at < len(rows)]] = True
    return mask


def check_history(
    build: Build, rows: RowSet, start: frozenset[int], steps: Steps, shape: Shape = SHAPE
) -> None:
    """Check that a state after any history is the state of the rows that it ends with.

    In each step, rows that are in the set are forgotten, and rows that are not are added.
    """
    estimator = build(KEY, shape)
    inside = mask_of(start, rows)
    state = estimator.fit(rows.take(inside))
    for chosen, through_files in steps:
        if through_files:
            state = build(KEY, shape).load(estimator.save(state))
        moved = mask_of(chosen, rows)
        gone, new = rows.take(inside & moved), rows.take(~inside & moved)
        left = rows.take(inside & ~moved)
        state = estimator.forget(state, gone, left)
        check_same(build, estimator, state, left, shape)
        inside ^= moved
        state = estimator.add(state, new, rows.take(inside))
        check_same(build, estimator, state, rows.take(inside), shape)


def check_same(
    build: Build, estimator: RowSetEstimator[Any], state: Any, rows: RowSet, shape: Shape = SHAPE
) -> None:
    """Check that a state and its model have the bytes of a new estimator's on these rows."""
    fresh = build(KEY, shape)
    expected = fresh.fit(rows)
    assert dict(estimator.save(state)) == dict(fresh.save(expected))
    assert estimator.model(state) == fresh.model(expected)
    assert np.array_equal(estimator.row_digests(state), rows.digests)
