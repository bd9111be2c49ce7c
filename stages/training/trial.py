"""Rows that are made up, to tell wrong settings from rows that an estimator refuses."""

import numpy as np
import pyarrow as pa
from unlearn.stages.estimators.base import RefusedRowsError, SliceData
from unlearn.stages.estimators.registry import find_spec
from unlearn.stages.estimators.spec import FeatureTraining
from unlearn.stages.training.recipe import Recipe

#: Rows of each class: more than cross-validation within an estimator splits them into.
_ROWS_A_CLASS = 20
#: More than this many rows would take long.
_MOST_ROWS = 20_000
_CATEGORIES = ("a", "b", "c")


def fits_trial_rows(recipe: Recipe) -> bool:
    """Tell whether a project's estimator can be fitted on a keyed table of the same columns.

    The table has two thirds more rows of each class than columns, and no missing value. Its numbers
    are 0 or 1, which estimators accept that count or look up, too.

    Parameters
    ----------
    recipe
        The settings. The table is a function of them and of the key: no row of the dataset is read.

    Raises
    ------
    InputError
        If the settings are wrong whatever the rows are.
    """
    training = find_spec(recipe.train.model).training
    if not isinstance(training, FeatureTraining):
        return False
    rows, targets = _rows(recipe)
    preprocessor = training.preprocessor(rows, recipe.layout, recipe.train)
    estimator = training.build(
        recipe.train,
        preprocessor.width,
        len(recipe.layout.classes),
        sliced=recipe.slices > 1,
        code=recipe.code,
    )
    inputs = preprocessor.transform(rows, estimator.dtype)
    # One epoch, in whole batches.
    steps = max(1, len(targets) // recipe.train.batch)
    seed = recipe.key.seed(recipe.seed, "trial")
    data = SliceData(
        inputs,
        targets,
        len(targets),
        steps,
        lambda epoch: seed + epoch,
        categories=preprocessor.categories,
    )
    try:
        estimator.fit_slice(None, data, seed)
    except RefusedRowsError:
        return False
    return True


def _rows(recipe: Recipe) -> tuple[pa.Table, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Return the table, and the class of each row."""
    features, classes = recipe.layout.features, len(recipe.layout.classes)
    of_each = max(_ROWS_A_CLASS, 5 * len(features) // 3)
    count = max(2 * classes, min(_MOST_ROWS, max(of_each * classes, 2 * recipe.train.batch)))
    draw = np.random.Generator(np.random.PCG64(recipe.key.seed(recipe.seed, "trial rows")))
    columns = {}
    for name, kind in features.items():
        if kind == "categorical":
            columns[name] = pa.array(draw.choice(_CATEGORIES, count), pa.string())
        elif kind == "boolean":
            columns[name] = pa.array(draw.integers(0, 2, count).astype(bool))
        else:
            columns[name] = pa.array(draw.integers(0, 2, count).astype(np.float64))
    return pa.table(columns), np.arange(count, dtype=np.int64) % classes
