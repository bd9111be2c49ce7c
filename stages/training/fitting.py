"""The estimator of a shard, with the shard's rows as it reads them."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.base import Inputs, SliceData
from unlearn.stages.estimators.registry import estimator_of, find_spec
from unlearn.stages.estimators.spec import (
    EstimatorSpec,
    FeatureTraining,
    RowSetTraining,
    TextTraining,
)
from unlearn.stages.rows.shard_file import RECORD, row_weights, targets, training_targets
from unlearn.stages.rows.token_arrays import digests_of
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.sliced_rows import SlicedRows, step_totals


class _Exporter(Protocol):
    """What a finished shard model takes from its estimator, whatever rows it reads."""

    has_probabilities: bool

    def export(self, state: bytes) -> bytes: ...
    def describe(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Fitting:
    """An estimator with the rows of a shard as it reads them.

    Parameters
    ----------
    spec
        The estimator's family.
    estimator
        The estimator.
    fit
        Returns the state after a slice, given the one before, the slice's number and the seed of
        what is drawn once. The state stays where the slice takes no step.
    description
        What model.json is to say beside what the estimator says.
    """

    spec: EstimatorSpec
    estimator: _Exporter
    fit: Callable[[bytes | None, int, int], bytes | None]
    description: dict[str, Any]


def prepare(recipe: Recipe, shard: str, sliced: SlicedRows) -> Fitting:
    """Return the estimator of a shard with the shard's rows.

    Parameters
    ----------
    recipe
        The settings.
    shard
        The shard's name.
    sliced
        Its rows, at least one.

    Raises
    ------
    InputError
        If the settings or the rows are not what the estimator takes.
    """
    spec = find_spec(recipe.train.model)
    if isinstance(spec.training, FeatureTraining):
        return _of_features(recipe, spec, spec.training, shard, sliced)
    if isinstance(spec.training, RowSetTraining):
        raise InputError(f"train.model: {recipe.train.model} is not trained slice by slice")
    return _of_text(recipe, spec, spec.training, shard, sliced)


def _of_features(
    recipe: Recipe, spec: EstimatorSpec, training: FeatureTraining, shard: str, sliced: SlicedRows
) -> Fitting:
    """Prepare rows of features, by what the first slice that has rows says of them."""
    first_filled = next(number for number, size in enumerate(sliced.sizes, start=1) if size)
    preprocessor = training.preprocessor(
        sliced.slice_rows(first_filled), recipe.layout, recipe.train
    )
    estimator = estimator_of(
        recipe.train,
        preprocessor,
        recipe.layout.outputs,
        sliced=recipe.slices > 1,
        code=recipe.code,
        root=recipe.root,
    )
    inputs = preprocessor.transform(sliced.rows, estimator.dtype)

    def fit(state: bytes | None, number: int, seed: int) -> bytes | None:
        data = _slice_data(recipe, shard, sliced, inputs, number)
        data = replace(data, categories=preprocessor.categories)
        if data.steps == 0 or len(data.targets) < estimator.min_rows:
            return state
        return estimator.fit_slice(state, data, seed)

    return Fitting(spec, estimator, fit, {"preprocessing": preprocessor.as_json()})


def _of_text(
    recipe: Recipe, spec: EstimatorSpec, training: TextTraining, shard: str, sliced: SlicedRows
) -> Fitting:
    """Prepare rows of text, by the base's tokenizer, which has learned nothing from them."""
    from unlearn.stages.estimators.causal import TextSlice

    estimator = training.build(recipe.train, recipe.layout, recipe.root)
    encoded = estimator.encoder.encode(sliced.rows)
    # A body may be several sequences: these are what steps are counted in.
    ends = np.searchsorted(encoded.sequences.rows, sliced.ends)
    sizes = [int(size) for size in np.diff(ends, prepend=0)]
    totals = step_totals(
        sizes, recipe.train.epochs, recipe.train.batch, skips_empty=sliced.skips_empty
    )

    def fit(state: bytes | None, number: int, seed: int) -> bytes | None:
        steps = totals[number - 1] - (totals[number - 2] if number > 1 else 0)
        if steps == 0:
            return state
        data = TextSlice(
            encoded.sequences.first(int(ends[number - 1])),
            steps,
            lambda epoch: recipe.key.seed(recipe.seed, shard, number, epoch),
            number,
            recipe.slices,
        )
        return estimator.fit_slice(state, data, seed)

    counts = {"sequences": len(encoded.sequences), "truncated": encoded.truncated}
    return Fitting(spec, estimator, fit, counts)


def _slice_data(
    recipe: Recipe, shard: str, sliced: SlicedRows, inputs: Inputs, number: int
) -> SliceData:
    end = sliced.ends[number - 1]
    totals = step_totals(sliced.sizes, recipe.train.epochs, recipe.train.batch)
    before = totals[number - 2] if number > 1 else 0

    def seed(epoch: int) -> int:
        return recipe.key.seed(recipe.seed, shard, number, epoch)

    return SliceData(
        inputs=inputs[:end],
        targets=training_targets(sliced.rows.slice(0, end), recipe.layout),
        weights=row_weights(sliced.rows.slice(0, end)),
        new=sliced.sizes[number - 1],
        steps=totals[number - 1] - before,
        seed=seed,
        number=number,
        draws=row_draws(recipe, sliced.rows.slice(0, end)),
        step_seed=lambda step: recipe.key.seed(recipe.seed, shard, number, "step", step),
    )


def row_draws(recipe: Recipe, rows: pa.Table) -> npt.NDArray[np.uint64] | None:
    """Return a number for each row that its augmentation follows from; None without one.

    It depends on the key, the seed and the row's record alone, and so on no other row.
    """
    augment = recipe.train.augment
    if augment is None or not augment.changes_rows:
        return None
    key = recipe.key.subkey(f"augment {recipe.seed}")
    tokens = map(bytes, digests_of(rows[RECORD]))
    drawn = b"".join(hmac.digest(key, token, "sha256")[:8] for token in tokens)
    return np.frombuffer(drawn, ">u8").astype(np.uint64)


def constant_class(recipe: Recipe, sliced: SlicedRows) -> int | None:
    """Return the one class of a shard that the family cannot fit; else None, as for numbers.

    Only for models fitted as a whole, since a slice may not ask what later slices hold; or where
    the pinned list has one class only.
    """
    training = find_spec(recipe.train.model).training
    fits_all = not (isinstance(training, FeatureTraining) and training.needs_two_classes)
    if fits_all or sliced.rows.num_rows == 0 or recipe.layout.outputs.is_number:
        return None
    if len(recipe.layout.classes) == 1:
        return 0
    if recipe.slices > 1:
        return None
    found = np.unique(targets(sliced.rows, recipe.layout))
    return int(found[0]) if len(found) == 1 else None
