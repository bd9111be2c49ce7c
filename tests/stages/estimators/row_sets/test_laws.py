"""Forgetting and adding rows end where fitting would have ended, byte for byte."""

import hashlib
import json
import os
import subprocess
import sys
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.config.row_sets import (
    ExactBoostingOptions,
    ExactForestOptions,
    ExactLinearOptions,
    ExactNaiveBayesOptions,
)
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.row_sets.base import RowSetEstimator, Shape, state_digest
from unlearn.stages.estimators.row_sets.boosting import (
    BoostingCosts,
    ExactBoosting,
)
from unlearn.stages.estimators.row_sets.forest import ExactForest, ForestCosts
from unlearn.stages.estimators.row_sets.linear import ExactLinear
from unlearn.stages.estimators.row_sets.naive_bayes import ExactNaiveBayes
from unlearn.stages.estimators.row_sets.row_set import RowSet, UnknownRowsError, row_set
from unlearn.stages.rows.tokens import Key

from tests.properties import tried_on
from tests.stages.estimators.row_sets.laws import (
    HISTORIES,
    KEY,
    SHAPE,
    Build,
    Steps,
    check_history,
    check_same,
    draw_rows,
    mask_of,
    numbers_of,
    row_sets,
    shaped_rows,
    with_numbers,
)


def ridge(key: Key, shape: Shape) -> RowSetEstimator[Any]:
    return ExactLinear(key, shape, ExactLinearOptions(rule="ridge"))


def fourier(key: Key, shape: Shape) -> RowSetEstimator[Any]:
    return ExactLinear(key, shape, ExactLinearOptions(rule="ridge", fourier=20))


def discriminant(key: Key, shape: Shape) -> RowSetEstimator[Any]:
    return ExactLinear(key, shape, ExactLinearOptions(rule="discriminant"))


def forest(key: Key, shape: Shape) -> RowSetEstimator[Any]:
    options = ExactForestOptions(trees=7, share=0.4, candidates=4, leaf=2, depth=9)
    # Trees are always changed, and most nodes have sums, however few rows there are.
    return ExactForest(key, shape, options, ForestCosts(refit_from=2, sums_from=6))


def forest_of_all_rows(key: Key, shape: Shape) -> RowSetEstimator[Any]:
    options = ExactForestOptions(trees=3, share=1.0, candidates=3, leaf=1)
    return ExactForest(key, shape, options, ForestCosts(refit_from=2, sums_from=4))


def usual_forest(key: Key, shape: Shape) -> RowSetEstimator[Any]:
    return ExactForest(key, shape, ExactForestOptions(trees=20))


def naive_bayes(key: Key, shape: Shape) -> RowSetEstimator[Any]:
    return ExactNaiveBayes(key, shape, ExactNaiveBayesOptions())


def boosting(key: Key, shape: Shape) -> RowSetEstimator[Any]:
    options = ExactBoostingOptions(trees=9, depth=3, stage=3, features=3, candidates=3)
    # The state is always changed, however few rows there are.
    return ExactBoosting(key, shape, options, BoostingCosts(refit_from=2))


def usual_boosting(key: Key, shape: Shape) -> RowSetEstimator[Any]:
    return ExactBoosting(key, shape, ExactBoostingOptions(trees=15))


def of_numbers(build: Build) -> Build:
    """Return what builds the same estimator for a regression, on rows `with_numbers`."""

    def build_for_numbers(key: Key, shape: Shape) -> RowSetEstimator[Any]:
        return build(key, numbers_of(shape))

    return build_for_numbers


#: Estimators of numbers, by name.
NUMBERS: dict[str, Build] = {
    "ridge of numbers": of_numbers(ridge),
    "fourier of numbers": of_numbers(fourier),
    "forest of numbers": of_numbers(forest),
    "forest of all rows of numbers": of_numbers(forest_of_all_rows),
    "usual forest of numbers": of_numbers(usual_forest),
    "boosting of numbers": of_numbers(boosting),
    "usual boosting of numbers": of_numbers(usual_boosting),
}


def rows_for(build: Build, rows: RowSet) -> RowSet:
    """Return rows as an estimator takes them: with classes, or with numbers."""
    return with_numbers(rows) if build in NUMBERS.values() else rows


ESTIMATORS: dict[str, Build] = {
    "ridge": ridge,
    "fourier": fourier,
    "discriminant": discriminant,
    "naive_bayes": naive_bayes,
    "forest": forest,
    "forest_of_all_rows": forest_of_all_rows,
    "usual_forest": usual_forest,
    "boosting": boosting,
    "usual_boosting": usual_boosting,
    **NUMBERS,
}
every = pytest.mark.parametrize("build", ESTIMATORS.values(), ids=ESTIMATORS)

#: Prints the digest of a state and of its model, of rows drawn here.
DIGESTS = """
import hashlib, sys
from tests.stages.estimators.row_sets.laws import KEY, SHAPE, draw_rows
from tests.stages.estimators.row_sets.test_laws import ESTIMATORS, rows_for
from unlearn.stages.estimators.row_sets.base import state_digest
rows = draw_rows(6000, 3)
for name, build in ESTIMATORS.items():
    estimator = build(KEY, SHAPE)
    state = estimator.fit(rows_for(build, rows))
    model = hashlib.sha256(estimator.model(state)).hexdigest()
    print(name, state_digest(estimator.save(state)), model)
"""


@every
@tried_on(few=4, many=20)
@given(rows=row_sets(), start=st.frozensets(st.integers(0, 23)), steps=HISTORIES)
def test_any_history_ends_as_fitting_does(
    build: Build, rows: RowSet, start: frozenset[int], steps: Steps
) -> None:
    check_history(build, rows_for(build, rows), start, steps)


@every
@tried_on(few=3, many=12)
@given(shaped=shaped_rows(), start=st.frozensets(st.integers(0, 23)), steps=HISTORIES)
def test_rows_of_any_shape_keep_the_law(
    build: Build, shaped: tuple[Shape, RowSet], start: frozenset[int], steps: Steps
) -> None:
    shape, rows = shaped
    check_history(build, rows_for(build, rows), start, steps, shape)


@every
def test_histories_of_many_rows_end_as_fitting_does(build: Build) -> None:
    rows = rows_for(build, draw_rows(1500, 5))
    everyone = frozenset(range(1500))
    steps = [
        (frozenset({17}), False),
        (frozenset({3, 400, 401, 1499}), True),
        (frozenset(range(100, 160)), False),
        (frozenset(range(0, 1500, 2)), False),
        (frozenset({3, 17, 100}), True),
    ]
    check_history(build, rows, everyone, steps)


@every
def test_the_order_of_the_rows_makes_no_difference(build: Build) -> None:
    rows = rows_for(build, draw_rows(300, 6))
    order = np.random.default_rng(0).permutation(300)
    again = row_set(rows.digests[order], rows.codes[order], rows.targets[order])
    estimator = build(KEY, SHAPE)
    check_same(build, estimator, estimator.fit(again), rows)


@every
def test_batches_make_no_difference(build: Build) -> None:
    rows, estimator = rows_for(build, draw_rows(200, 7)), build(KEY, SHAPE)
    state = estimator.fit(rows)
    for first in (0, 40, 80):
        left = rows.take(~mask_of(range(first, first + 40), rows))
        state = estimator.forget(state, rows.take(mask_of(range(first, first + 40), rows)), left)
        state = estimator.add(state, rows.take(mask_of(range(first, first + 40), rows)), rows)
    check_same(build, estimator, state, rows)


@every
def test_everyone_forgotten_is_the_state_of_no_rows(build: Build) -> None:
    rows, estimator = rows_for(build, draw_rows(50, 8)), build(KEY, SHAPE)
    nobody = rows.take(np.zeros(50, bool))
    state = estimator.forget(estimator.fit(rows), rows, nobody)
    check_same(build, estimator, state, nobody)
    model = estimator.predictor(estimator.model(state))
    if build in NUMBERS.values():
        assert model.values(rows.codes).tolist() == [-30.0] * 50
    else:
        assert np.allclose(model.probabilities(rows.codes), 1 / 3, rtol=0, atol=1e-12)


@every
def test_rows_that_are_not_in_the_state_are_refused(build: Build) -> None:
    rows, estimator = rows_for(build, draw_rows(30, 9)), build(KEY, SHAPE)
    strangers = rows_for(build, draw_rows(2, 9, first=1000))
    state = estimator.fit(rows)
    with pytest.raises(UnknownRowsError):
        estimator.forget(state, strangers, rows)
    with pytest.raises(UnknownRowsError):
        estimator.forget(state, rows.take(mask_of([1], rows)), rows)
    with pytest.raises(UnknownRowsError):
        estimator.add(state, strangers, rows)


@every
def test_damaged_files_are_refused(build: Build) -> None:
    rows, estimator = rows_for(build, draw_rows(30, 10)), build(KEY, SHAPE)
    files = estimator.save(estimator.fit(rows))
    for name, content in files.items():
        rest = {other: files[other] for other in files if other != name}
        for damaged in (rest, rest | {name: content[:-9]}, rest | {name: b""}):
            with pytest.raises(InputError):
                estimator.load(damaged)
    with pytest.raises(InputError):
        estimator.predictor(b"")


@every
def test_a_state_has_the_digest_of_its_arrays(build: Build) -> None:
    rows, estimator = rows_for(build, draw_rows(60, 11)), build(KEY, SHAPE)
    state = estimator.fit(rows)
    digest = state_digest(estimator.save(state))
    assert digest == state_digest(estimator.save(build(KEY, SHAPE).fit(rows)))
    other = estimator.fit(rows.take(~mask_of([5], rows)))
    assert digest != state_digest(estimator.save(other))


@every
def test_a_model_holds_no_row_and_no_token(build: Build) -> None:
    rows, estimator = rows_for(build, draw_rows(60, 12)), build(KEY, SHAPE)
    model = estimator.model(estimator.fit(rows))
    for digest in rows.digests:
        assert digest[:8].tobytes() not in model


def processor_features() -> list[str]:
    """Return the instructions that NumPy would use here beside those that it needs."""
    numpy_core = import_module("numpy._core._multiarray_umath")
    return [name for name in numpy_core.__cpu_dispatch__ if numpy_core.__cpu_features__[name]]


@pytest.mark.slow
def test_no_kernel_and_no_number_of_threads_changes_a_byte() -> None:
    """The libraries choose their instructions by these variables when they are loaded."""
    settings_of_libraries = [
        {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2", "OPENBLAS_CORETYPE": "Prescott"},
        {
            "OPENBLAS_NUM_THREADS": "1",
            "OPENBLAS_CORETYPE": "Haswell",
            "ATEN_CPU_CAPABILITY": "default",
            "NPY_DISABLE_CPU_FEATURES": " ".join(processor_features()),
        },
    ]
    found = set()
    for variables in settings_of_libraries:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", DIGESTS],
            env=os.environ | variables,
            text=True,
            capture_output=True,
            check=True,
        )
        found.add(done.stdout)
    assert len(found) == 1, json.dumps(sorted(found))
    assert len(found.pop().splitlines()) == len(ESTIMATORS)


@pytest.mark.parametrize("build", [ridge, discriminant, naive_bayes, NUMBERS["ridge of numbers"]])
def test_a_hash_of_a_model_is_no_test_of_a_guess(build: Build) -> None:
    """Weights and sums follow from the rows alone; the file does not."""
    rows, other = rows_for(build, draw_rows(60, 14)), Key(hashlib.sha256(b"another").hexdigest())
    state = build(KEY, SHAPE).fit(rows)
    models = {build(key, SHAPE).model(state) for key in (KEY, other)}
    assert len(models) == 2


def test_the_key_decides_what_is_drawn() -> None:
    rows = draw_rows(60, 13)
    other = Key(hashlib.sha256(b"another").hexdigest())
    models = set()
    for key in (KEY, other):
        estimator = fourier(key, SHAPE)
        models.add(estimator.model(estimator.fit(rows)))
    assert len(models) == 2
