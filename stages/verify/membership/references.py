"""Reference models, trained where there are too few shards to compare with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
from unlearn.stages.config.dataset import DatasetParams
from unlearn.stages.rows.shard_file import (
    governing_tokens,
    in_order,
    record_tokens,
    training_targets,
)
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.shard_model import RowPredictor, ShardModel
from unlearn.stages.training.slices import plan_shard, train_shard
from unlearn.stages.verify.membership.answers import ReferenceLogits
from unlearn.stages.verify.membership.arrays import Bools, Floats
from unlearn.stages.verify.membership.row_scores import compared


class Comparison(Protocol):
    """Models of one shard to compare with: trained, or parts of the model under attack."""

    def compare(self, rows: pa.Table, *, trained: bool) -> ReferenceLogits:
        """Return their logits on rows.

        Parameters
        ----------
        rows
            A table of the recipe's layout.
        trained
            Whether the rows are in the shard.
        """


@dataclass(frozen=True)
class References:
    """Models of one shard's settings, each trained on a half of its rows.

    Each row of the shard is in half of the references, drawn for it by the key, so that the other
    half is not trained on it; rows that are not in the shard are in none.

    Parameters
    ----------
    recipe, shard
        The settings and the shard's name.
    count
        How many.
    empty
        Which of them got no row, and are no models.
    logits
        Returns their logits of rows' right answers, shape (rows, references); any number for one
        that is empty.
    """

    recipe: Recipe
    shard: str
    count: int
    empty: frozenset[int]
    logits: Callable[[pa.Table], Floats]

    def ask(self, rows: pa.Table, *, trained: bool) -> tuple[Floats, Bools]:
        """Return the references' logits on rows, and which of them were not trained on each row.

        Parameters
        ----------
        rows
            A table of the recipe's layout.
        trained
            Whether the rows are of those that the references were drawn from.

        Returns
        -------
        tuple
            Both of shape (rows, references).
        """
        usable = np.ones((rows.num_rows, self.count), dtype=bool)
        usable[:, sorted(self.empty)] = False
        if trained:
            usable &= ~_drawn_for(self.recipe, self.shard, rows, self.count)
        return self.logits(rows), usable

    def compare(self, rows: pa.Table, *, trained: bool) -> ReferenceLogits:
        """Return the references' logits; see `Comparison`."""
        return ReferenceLogits(*self.ask(rows, trained=trained))

    def ask_online(self, rows: pa.Table) -> ReferenceLogits:
        """Return the references' logits on rows that they were drawn from, and which hold them."""
        logits, usable = self.ask(rows, trained=True)
        held = ~usable
        held[:, sorted(self.empty)] = False
        return ReferenceLogits(logits, usable, held=held)


def train_references(
    recipe: Recipe, dataset: DatasetParams, shard: str, rows: pa.Table, count: int
) -> References:
    """Train reference models from nothing.

    Parameters
    ----------
    recipe, dataset
        The settings of the models under attack, and what their rows are.
    shard, rows
        The shard's name and its rows, in the order of its file.
    count
        How many.
    """
    models: list[ShardModel | None] = []
    drawn = _drawn_for(recipe, shard, rows, count)
    for number in range(count):
        half = rows.filter(pa.array(drawn[:, number]))
        if half.num_rows == 0:
            models.append(None)
            continue
        work = plan_shard(recipe, f"{shard} reference {number}", half, folder=None)
        files = train_shard(recipe, work, folder=None).files
        models.append(ShardModel.of_files(files))
    empty = frozenset(number for number, model in enumerate(models) if model is None)
    if recipe.layout.modality == "text":
        logits = _of_text(recipe, dataset, models)
    else:
        logits = _of_columns(recipe, models)
    return References(recipe, shard, count, empty, logits)


def train_online_references(
    recipe: Recipe, dataset: DatasetParams, shard: str, parts: Sequence[pa.Table], count: int
) -> References:
    """Train reference models on halves of all rows that online attacks compare.

    Some of them are trained on forgotten rows. They are only in memory, and never written.

    Parameters
    ----------
    recipe, dataset, shard, count
        See `train_references`.
    parts
        The rows: retained, forgotten, and held-out ones. No row is in two of them.
    """
    rows = in_order(pa.concat_tables(parts))
    return train_references(recipe, dataset, f"{shard} online", rows, count)


def retrained_again(recipe: Recipe, name: str, rows: pa.Table, count: int) -> list[RowPredictor]:
    """Train models like a retrained one, which differ from it in their random numbers alone.

    Parameters
    ----------
    recipe, name
        The settings of the models, and the name of the retrained model's shard.
    rows
        The retained rows, in the order of their file.
    count
        How many.
    """
    found = []
    for number in range(1, count + 1):
        work = plan_shard(recipe, f"{name} retrained {number}", rows, folder=None)
        model = ShardModel.of_files(train_shard(recipe, work, folder=None).files)
        found.append(_predictor(recipe, model))
    return found


def _predictor(recipe: Recipe, model: ShardModel) -> RowPredictor:
    return model.predictor(recipe.code, recipe.train.trusted_types, recipe.root)


def _of_columns(
    recipe: Recipe, models: Sequence[ShardModel | None]
) -> Callable[[pa.Table], Floats]:
    predictors = [None if model is None else _predictor(recipe, model) for model in models]

    def logits(rows: pa.Table) -> Floats:
        truth = training_targets(rows, recipe.layout)
        found = np.zeros((rows.num_rows, len(predictors)))
        for number, predictor in enumerate(predictors):
            if predictor is not None:
                found[:, number] = compared(predictor.answers(rows), truth, recipe.layout.outputs)
        return found

    return logits


def _of_text(
    recipe: Recipe, dataset: DatasetParams, models: Sequence[ShardModel | None]
) -> Callable[[pa.Table], Floats]:
    """Open language models: adapters together on one base, whole models one after another."""
    from unlearn.stages.final_model.text_loading import open_language_models
    from unlearn.stages.verify.membership.text_answers import member_logits

    trained = [(number, model) for number, model in enumerate(models) if model is not None]
    together = [trained] if recipe.train.model == "lora" else [[one] for one in trained]
    # They score the same rows for several models, and opening them is slow.
    known: dict[tuple[str, ...], Floats] = {}

    def logits(rows: pa.Table) -> Floats:
        tokens = tuple(record_tokens(rows))
        if tokens not in known:
            known[tokens] = logits_on(rows)
        return known[tokens]

    def logits_on(rows: pa.Table) -> Floats:
        found = np.zeros((rows.num_rows, len(models)))
        for group in together:
            named = [(f"reference_{number}", model) for number, model in group]
            opened = open_language_models(named, dataset, "mean_log_probability", recipe.root)
            sequences, answers = opened.answer_each(rows)
            numbers = [number for number, _ in group]
            found[:, numbers] = member_logits(answers, sequences.rows, rows.num_rows)
        return found

    return logits


def _drawn_for(recipe: Recipe, shard: str, rows: pa.Table, count: int) -> Bools:
    """Return which references train on each row: half of them, the same for a person."""
    governing = governing_tokens(rows)
    drawn = np.zeros((rows.num_rows, count), dtype=bool)
    for row, token in enumerate(governing):
        rng = np.random.Generator(np.random.PCG64(recipe.key.seed("reference", shard, token)))
        drawn[row, rng.permutation(count)[: count // 2]] = True
    return drawn
