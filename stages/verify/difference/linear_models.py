"""The reconstruction attack on the shard models of two final models."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import pyarrow as pa
from unlearn.stages.config.train import TrainParams
from unlearn.stages.estimators.base import Predictor
from unlearn.stages.estimators.preprocessing import Preprocessor
from unlearn.stages.training.shard_model import RowPredictor
from unlearn.stages.verify.difference.reconstruction import LinearWeights, cosines, reconstruct
from unlearn.stages.verify.measures.base import MeasuredModel
from unlearn.stages.verify.measures.tabular_model import TabularModel
from unlearn.stages.verify.membership.arrays import Bools, Floats
from unlearn.stages.verify.membership.sampling import Questions

_LOGISTIC = "sklearn.linear_model.LogisticRegression"
_TWO = 2


@dataclass(frozen=True)
class Similarities:
    """How much rows resemble the reconstruction of their shard.

    Parameters
    ----------
    went, others
        Cosine of each row that went and of each non-member, shape (rows,).
    usable_went, usable_others
        Whether the row's shard had a reconstruction, shape (rows,).
    shards
        How many shards had one.
    """

    went: Floats
    others: Floats
    usable_went: Bools
    usable_others: Bools
    shards: int


def similarities(
    older: MeasuredModel,
    newer: MeasuredModel,
    shards: Mapping[int, str],
    asked: Questions,
    train: TrainParams,
) -> Similarities | None:
    """Reconstruct a row for each shard, and compare the rows with it.

    Parameters
    ----------
    older, newer
        Both final models.
    shards
        Names of the shards with rows that went, by the index that `asked` has for them.
    asked
        The rows. Those of the population are the adversary's own.
    train
        Settings that both models were trained with; params.yaml in git has them.

    Returns
    -------
    Similarities or None
        None where the models are not linear.
    """
    if not (isinstance(older, TabularModel) and isinstance(newer, TabularModel)):
        return None
    found: list[Floats] = [np.zeros(len(home)) for _, home in (asked.forgotten, asked.others)]
    usable = [np.zeros(len(home), dtype=bool) for _, home in (asked.forgotten, asked.others)]
    count = 0
    before, after = (
        {member.shard: member for member in model.ensemble.members} for model in (older, newer)
    )
    for index, shard in shards.items():
        after_it = after[shard].predictor
        direction = _direction(
            before[shard].predictor, after_it, asked.population[0], after[shard].rows, train
        )
        if direction is None:
            continue
        count += 1
        for place, (rows, home) in enumerate((asked.forgotten, asked.others)):
            here = np.flatnonzero(home == index)
            found[place][here] = cosines(_inputs(after_it, rows.take(pa.array(here))), direction)
            usable[place][here] = True
    return Similarities(found[0], found[1], usable[0], usable[1], count) if count else None


def _direction(
    older: RowPredictor, newer: RowPredictor, public: pa.Table, rows: int, train: TrainParams
) -> Floats | None:
    if older.model is None or newer.model is None or newer.outputs.is_number:
        return None
    preparations = older.preprocessor, newer.preprocessor
    if not isinstance(preparations[0], Preprocessor) or not isinstance(
        preparations[1], Preprocessor
    ):
        return None  # empty, or no numbers
    moves = between(preparations[0], preparations[1])
    if moves is None:
        return None
    width = preparations[1].width
    before, after = (
        LinearWeights.of(cast("Predictor", each), width) for each in (older.model, newer.model)
    )
    if before is None or after is None:
        return None
    ridge = ridge_of(train, int(after.known.sum()))
    inputs = _inputs(newer, public)
    return reconstruct(before.moved(*moves), after, inputs, rows=rows, ridge=ridge)


def _inputs(model: RowPredictor, rows: pa.Table) -> Floats:
    assert model.preprocessor is not None  # noqa: S101 - `_direction` found one
    return np.asarray(model.preprocessor.transform(rows, np.float64), dtype=np.float64)


def between(older: Preprocessor, newer: Preprocessor) -> tuple[Floats, Floats] | None:
    """Return what turns the inputs of one model into those of another: shift and scale.

    The older model's inputs are the newer one's times `scale` plus `shift`, each of shape
    (inputs,). Fillers of missing values may differ.

    Returns
    -------
    tuple or None
        None where the models do not have the same columns and categories.
    """
    if list(older.columns) != list(newer.columns):
        return None
    for name, column in newer.columns.items():
        other = older.columns[name]
        if any(column.get(each) != other.get(each) for each in ("kind", "categories", "columns")):
            return None
    (mean, scale), (other_mean, other_scale) = newer.scaling, older.scaling
    return (mean - other_mean) / other_scale, scale / other_scale


def ridge_of(train: TrainParams, classes: int) -> float:
    """Return what the loss of a logistic regression adds for its weights; see `reconstruct`.

    0 for other models, of which it is not known here.
    """
    options = train.options
    if train.model != _LOGISTIC or options.get("penalty", "l2") != "l2":
        return 0.0
    strength = 1.0 / float(options.get("C", 1.0))
    # scikit-learn has one vector for two classes: the difference of the two that are used here.
    return strength * 2 if classes == _TWO else strength
