"""Fits on few rows, which find what is wrong with the settings before anything is trained.

Some of the rows are made up, to tell wrong settings from rows that an estimator refuses.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.base import Estimator, RefusedRowsError, SliceData, Targets
from unlearn.stages.estimators.registry import estimator_of, find_spec
from unlearn.stages.estimators.spec import FeatureTraining
from unlearn.stages.rows.arrays import RowBytes, array_column
from unlearn.stages.rows.shard_file import row_weights, training_targets
from unlearn.stages.training.lineage import read_lineage
from unlearn.stages.training.recipe import Recipe

#: So many rows of a shard are fitted to try the settings. A shard's file has its rows in the order
#: of their tokens, which the key decides.
FEW_ROWS = 50
#: Rows of each class: more than cross-validation within an estimator splits them into.
_ROWS_A_CLASS = 20
#: More than this many rows would take long.
_MOST_ROWS = 20_000
_CATEGORIES = ("a", "b", "c")
_TEXTS = ("a word", "another word", "no word")


def fits_trial_rows(recipe: Recipe) -> bool:
    """Tell whether a project's estimator can be fitted on a keyed table of the same columns.

    The table has two thirds more rows of each class than columns, and no missing value. Its numbers
    are 0 or 1, which estimators accept that count or look up, too. Targets of a regression are
    drawn from a normal distribution at the pinned scale.

    Parameters
    ----------
    recipe
        The settings. The table is a function of them and of the key: no row of the dataset is read.

    Raises
    ------
    InputError
        If the settings are wrong whatever the rows are.
    """
    if not isinstance(find_spec(recipe.train.model).training, FeatureTraining):
        return False
    try:
        _fit(recipe, *trial_rows(recipe))
    except RefusedRowsError:
        return False
    return True


def is_untried(recipe: Recipe, folders: Mapping[str, Path]) -> bool:
    """Return whether the settings need a fit to be checked, and no model was trained with them.

    Parameters
    ----------
    recipe
        The settings.
    folders
        Folders of models by the name of their shard.
    """
    if not _needs_fit(recipe):
        return False
    for shard, folder in folders.items():
        with suppress(InputError):
            lineage = read_lineage(folder)
            if lineage is not None and lineage.recipe == recipe.digest(shard):
                return False
    return True


def try_settings(recipe: Recipe, rows: pa.Table) -> str | None:
    """Fit the estimator of a project on few rows of a shard.

    Parameters
    ----------
    recipe
        The settings.
    rows
        The shard's rows, in the order of its file.

    Returns
    -------
    str or None
        Why it refuses these rows, if it can be fitted on others; None if it is fitted, or no fit is
        needed to check the options of its family.

    Raises
    ------
    InputError
        If the settings are wrong whatever the rows are.
    """
    if not _needs_fit(recipe):
        return None
    few = rows.slice(0, FEW_ROWS)
    truth = training_targets(few, recipe.layout)
    if len(np.unique(truth)) < min(2, recipe.layout.outputs.width) or few.num_rows == 0:
        few, truth = trial_rows(recipe)
    try:
        _fit(recipe, few, truth)
    except RefusedRowsError as refused:
        try:
            _fit(recipe, *trial_rows(recipe))
        except RefusedRowsError as error:
            raise InputError(f"train.options: {error.message}", *error.hints) from error
        return refused.message
    return None


def _needs_fit(recipe: Recipe) -> bool:
    """Return whether only a fit shows if the settings are right."""
    own = recipe.train.own_functions
    return find_spec(recipe.train.model).trial != "none" or bool(own)


def check_repeatable(recipe: Recipe) -> None:
    """Make sure that two fits with one seed give one model, if the family does not promise it.

    Raises
    ------
    InputError
        If they do not, or the settings are wrong whatever the rows are.
    """
    if find_spec(recipe.train.model).trial == "two fits":
        # Whether rows that are made up are refused means nothing here.
        with suppress(RefusedRowsError):
            _fit(recipe, *trial_rows(recipe))


def notes_on_options(recipe: Recipe) -> list[str]:
    """Return a sentence for each option that has no effect, because training sets it."""
    names = find_spec(recipe.train.model).set_by_training
    return [
        f"train.options: {option!r} has no effect, because training sets {name} itself"
        for option in recipe.train.options
        if (name := option.rpartition("__")[2]) in names
    ]


def _fit(recipe: Recipe, rows: pa.Table, truth: Targets) -> None:
    """Fit the estimator on rows, once or twice, in one epoch.

    Raises
    ------
    RefusedRowsError
        If it refuses the rows.
    InputError
        If the settings are wrong, or two fits differ.
    """
    estimator, data, seed = trial_of(recipe, rows, truth)
    fitted = estimator.fit_slice(None, data, seed)
    two_fits = find_spec(recipe.train.model).trial == "two fits"
    if two_fits and estimator.fit_slice(None, data, seed) != fitted:
        raise InputError(
            f"train.model: two fits of {recipe.train.model} with the same seed give two different "
            "models, so that no model could be checked",
            "give everything that draws random numbers a parameter random_state, or a fixed seed; "
            "do not keep times or addresses in the estimator",
        )


def trial_of(recipe: Recipe, rows: pa.Table, truth: Targets) -> tuple[Estimator, SliceData, int]:
    """Return the estimator of a project, what it is fitted to, and the seed.

    Parameters
    ----------
    recipe
        The settings.
    rows, truth
        Rows, and the target of each.

    Raises
    ------
    InputError
        If the settings are wrong.
    """
    spec = find_spec(recipe.train.model)
    training = spec.training
    if not isinstance(training, FeatureTraining):
        raise InputError(f"train.model: {recipe.train.model} is not trained slice by slice")
    preprocessor = training.preprocessor(rows, recipe.layout, recipe.train)
    estimator = estimator_of(
        recipe.train,
        preprocessor,
        recipe.layout.outputs,
        sliced=recipe.slices > 1,
        code=recipe.code,
        root=recipe.root,
    )
    inputs = preprocessor.transform(rows, estimator.dtype)
    # In whole batches.
    steps = max(1, len(truth) // recipe.train.batch)
    seed = recipe.key.seed(recipe.seed, "trial")
    data = SliceData(
        inputs,
        truth,
        len(truth),
        steps,
        lambda epoch: seed + epoch,
        categories=preprocessor.categories,
        weights=_weights(recipe, rows),
        draws=np.arange(len(truth), dtype=np.uint64),
    )
    return estimator, data, seed


def _array_bytes(draw: np.random.Generator, kind: str, count: int, width: int) -> RowBytes:
    """Return the bytes of made-up arrays: noise, shape (count, width)."""
    if kind == "image":
        return draw.integers(0, 256, (count, width), dtype=np.uint8)
    return draw.standard_normal((count, width // 4)).astype("<f4").view(np.uint8)


def _weights(recipe: Recipe, rows: pa.Table) -> npt.NDArray[np.float64] | None:
    """Return the weights of rows; rows that are made up count the same."""
    found = row_weights(rows)
    return np.ones(rows.num_rows) if found is None and recipe.layout.weighted else found


def trial_rows(recipe: Recipe) -> tuple[pa.Table, Targets]:
    """Return a table of made-up rows, and the target of each row.

    Parameters
    ----------
    recipe
        The settings; rows follow from them and the key.
    """
    features, outputs = recipe.layout.features, recipe.layout.outputs
    classes = outputs.width
    of_each = max(_ROWS_A_CLASS, 5 * len(features) // 3)
    count = max(2 * classes, min(_MOST_ROWS, max(of_each * classes, 2 * recipe.train.batch)))
    draw = np.random.Generator(np.random.PCG64(recipe.key.seed(recipe.seed, "trial rows")))
    columns = {}
    for name, kind in features.items():
        if kind == "categorical":
            columns[name] = pa.array(draw.choice(_CATEGORIES, count), pa.string())
        elif kind == "ordinal":
            listed = recipe.layout.categories[name]
            columns[name] = pa.array(draw.choice(listed, count), pa.string())
        elif kind == "hashed_text":
            columns[name] = pa.array(draw.choice(_TEXTS, count), pa.string())
        elif name in recipe.layout.shapes:
            width = recipe.layout.type_of(name).byte_width
            columns[name] = array_column(_array_bytes(draw, kind, count, width))
        elif kind == "boolean":
            columns[name] = pa.array(draw.integers(0, 2, count).astype(bool))
        else:
            columns[name] = pa.array(draw.integers(0, 2, count).astype(np.float64))
    if outputs.is_number:
        return pa.table(columns), outputs.unscaled(draw.standard_normal(count))
    return pa.table(columns), np.arange(count, dtype=np.int64) % classes
