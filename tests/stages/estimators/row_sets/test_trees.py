"""Trees that are fitted again by themselves, given the trees before them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.row_sets.base import STATE_FILE, TreeEstimator
from unlearn.stages.estimators.row_sets.row_set import RowSet

from tests.properties import tried_on
from tests.stages.estimators.row_sets.laws import KEY, SHAPE, Build, draw_rows, row_sets
from tests.stages.estimators.row_sets.test_laws import ESTIMATORS, rows_for

OF_TREES = [
    "forest",
    "forest_of_all_rows",
    "usual_forest",
    "boosting",
    "usual_boosting",
    "forest of numbers",
    "forest of all rows of numbers",
    "usual forest of numbers",
    "boosting of numbers",
    "usual boosting of numbers",
]
every = pytest.mark.parametrize(
    "build", [ESTIMATORS[name] for name in OF_TREES], ids=list(OF_TREES)
)


def trees_of(estimator: Any, state: Any) -> list[bytes]:
    return [estimator.tree_bytes(state, tree) for tree in range(estimator.tree_count)]


def wrong_trees(estimator: Any, state: Any, rows: RowSet, trees: list[int]) -> list[int]:
    again = estimator.refit_trees(state, rows, trees)
    return [tree for tree, content in again if content != estimator.tree_bytes(state, tree)]


@every
@tried_on(few=5, many=15)
@given(rows=row_sets(), data=st.data())
def test_any_trees_fitted_again_are_those_of_the_state(
    build: Build, rows: RowSet, data: st.DataObject
) -> None:
    estimator, rows = build(KEY, SHAPE), rows_for(build, rows)
    assert isinstance(estimator, TreeEstimator)
    numbers = st.sets(st.integers(0, estimator.tree_count - 1))
    trees = sorted(data.draw(numbers))
    state = estimator.load(estimator.save(estimator.fit(rows)))

    again = list(build(KEY, SHAPE).refit_trees(state, rows, trees))  # type: ignore[attr-defined]

    assert again == [(tree, estimator.tree_bytes(state, tree)) for tree in trees]


@every
def test_trees_of_many_rows_are_the_same_after_a_change(build: Build) -> None:
    rows = rows_for(build, draw_rows(1500, 4))
    gone = np.zeros(1500, bool)
    gone[[3, 700, 701]] = True
    estimator: Any = build(KEY, SHAPE)
    state = estimator.forget(estimator.fit(rows), rows.take(gone), rows.take(~gone))
    every_tree = list(range(estimator.tree_count))
    assert wrong_trees(estimator, state, rows.take(~gone), every_tree) == []


@every
@tried_on(few=5, many=15)
@given(data=st.data())
def test_a_changed_number_of_any_file_of_trees_is_found(build: Build, data: st.DataObject) -> None:
    estimator: Any = build(KEY, SHAPE)
    rows = rows_for(build, draw_rows(60, 6))
    files = dict(estimator.save(estimator.fit(rows)))
    name = data.draw(st.sampled_from(sorted(files.keys() - {STATE_FILE})))
    tensors = {key: array.copy() for key, array in load(files[name]).items()}
    chosen = data.draw(st.sampled_from(sorted(key for key in tensors if tensors[key].size)))
    array = tensors[chosen]
    at = data.draw(st.integers(0, array.size - 1))
    array.reshape(-1)[at] ^= array.dtype.type(1)
    files[name] = save(tensors)
    try:
        state = estimator.load(files)
    except InputError:
        return

    assert wrong_trees(estimator, state, rows, list(range(estimator.tree_count)))


@every
def test_trees_of_other_rows_are_found(build: Build) -> None:
    """A row is still in its trees, although its digest is gone from the state."""
    rows = rows_for(build, draw_rows(400, 8))
    estimator: Any = build(KEY, SHAPE)
    keeps = np.arange(400) != 11
    state, right = estimator.fit(rows), estimator.fit(rows.take(keeps))
    expected = [
        tree
        for tree, contents in enumerate(
            zip(trees_of(estimator, state), trees_of(estimator, right), strict=True)
        )
        if contents[0] != contents[1]
    ]
    every_tree = list(range(estimator.tree_count))

    found = wrong_trees(estimator, state, rows.take(keeps), every_tree)

    # Trees after the first wrong one are fitted given that one.
    assert found[0] == expected[0]
    assert [wrong_trees(estimator, state, rows.take(keeps), [tree]) for tree in found] == [
        [tree] for tree in found
    ]
