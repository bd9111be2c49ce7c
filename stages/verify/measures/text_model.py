"""A final model of language models, as `verify` asks it."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from unlearn.stages.config.params import AggregationRule
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.final_model.description import Description
from unlearn.stages.final_model.files import read_final_model
from unlearn.stages.final_model.text_ensemble import LanguageEnsemble, LanguageMember
from unlearn.stages.final_model.text_loading import load_language_model, open_language_models
from unlearn.stages.training.shard_model import ShardModel, read_shard_model
from unlearn.stages.verify.measures.base import MeasuredModel, NoModel
from unlearn.stages.verify.measures.memorisation import forgotten_beside_unseen, language_utility
from unlearn.stages.verify.membership.answers import Answers, Question
from unlearn.stages.verify.membership.arrays import Floats
from unlearn.stages.verify.membership.text_answers import ask_language, ask_merged
from unlearn.stages.verify_report.quality import KnowledgeOfRows, Utility


@dataclass(frozen=True)
class TextModel:
    """Language models that answer as one; see `MeasuredModel`.

    Parameters
    ----------
    ensemble
        The language models.
    """

    ensemble: LanguageEnsemble

    @property
    def rule(self) -> AggregationRule:
        """How its members answer together."""
        return self.ensemble.rule

    @property
    def members(self) -> tuple[LanguageMember, ...]:
        """The models that have rows."""
        return self.ensemble.members

    @property
    def has_probabilities(self) -> bool:
        """Whether its probabilities are more than votes."""
        return self.ensemble.has_probabilities

    def answers(self, questions: Sequence[Question]) -> list[Answers]:
        """Return token probabilities as attacks take them; see `FinalModel`."""
        return [ask_language(self.ensemble, rows, home) for rows, home in questions]

    def utility(self, rows: pa.Table, min_rows: int) -> Utility:
        """Return token accuracy and what the model knows; see `MeasuredModel`."""
        return language_utility(self.ensemble, rows, min_rows)

    def probabilities(self, rows: pa.Table) -> Floats | None:
        """Return None: rows of text have no classes; see `MeasuredModel`."""
        del rows
        return None

    def memorisation(
        self, forgotten: pa.Table, utility: Utility, min_rows: int
    ) -> KnowledgeOfRows | None:
        """Return what the model knows of forgotten and of unseen rows; see `MeasuredModel`."""
        return forgotten_beside_unseen(self.ensemble, forgotten, utility.language, min_rows)


@dataclass(frozen=True)
class OneAdapterModel(TextModel):
    """One adapter that was made of those of the shards; see `TextModel`.

    Parameters
    ----------
    parts
        The adapters of the shards, on the same base: attacks ask each row's own one, and take
        adapters that were made without it as reference models.
    """

    parts: LanguageEnsemble

    @property
    def members(self) -> tuple[LanguageMember, ...]:
        """The models that have rows: the shards', and not the one that is made of them."""
        return self.parts.members

    def answers(self, questions: Sequence[Question]) -> list[Answers]:
        """Return token probabilities as attacks take them; see `FinalModel`."""
        return [ask_merged(self.ensemble, self.parts, rows, home) for rows, home in questions]


def open_final_model(context: Context) -> MeasuredModel:
    """Open `models/final_model` of a project; see `Modality`."""
    folder = context.project.final_model
    description, models = read_final_model(folder)
    if not models:
        return NoModel(description.rule)
    if description.rule == "merged":
        return _open_merged(context, description, models)
    return TextModel(load_language_model(folder, context.project.root))


def _open_merged(
    context: Context, description: Description, one: list[tuple[str, ShardModel]]
) -> OneAdapterModel:
    """Open the one adapter, and the shard models that it is made of.

    Raises
    ------
    InputError
        If a shard model is not there, or is another one than the final model names.
    """
    found = []
    for entry in description.members:
        name = f"models/shard_models/{entry.shard}"
        model = read_shard_model(context.project.shard_models / entry.shard, name)
        if model.digest != entry.digest:
            raise InputError(f"it was not made of {name} as it stands")
        found.append((entry.shard, model))
    root = context.project.root
    # Together on one base: the adapters are small, and the base is not.
    opened = open_language_models([*found, *one], description.dataset, "merged", root)
    *members, merged = opened.members
    return OneAdapterModel(opened.with_members([merged]), opened.with_members(members))
