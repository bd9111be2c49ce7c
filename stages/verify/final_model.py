"""The final model, of either modality: how it is opened, and what it is worth."""

from typing import Any

import pyarrow as pa
from unlearn.stages.context import Context
from unlearn.stages.final_model.ensemble import Ensemble, load_ensemble, read_final_model
from unlearn.stages.rows.shard_file import targets
from unlearn.stages.verify.measures.utility import Utility, measure
from unlearn.stages.verify.membership.answers import FinalModel


def _own_code(context: Context) -> Any:
    code = context.params.train.code_path
    return None if code is None else context.project.root / code


def load_final_model(context: Context) -> FinalModel:
    """Load the final model; without members if no row is left.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    folder = context.project.final_model
    if not context.params.dataset.is_text:
        return load_ensemble(folder, own_code=_own_code(context))
    description, models = read_final_model(folder)
    if not models:
        return Ensemble(description.dataset, description.rule, (), has_probabilities=True)
    from unlearn.stages.final_model.text_loading import load_language_model

    return load_language_model(folder, context.project.root)


def measure_final_model(context: Context, model: FinalModel, holdout: pa.Table) -> Utility:
    """Measure a final model's quality on held-out rows.

    Parameters
    ----------
    context, model
        The project and its final model.
    holdout
        Rows that it never saw.
    """
    if not model.members or holdout.num_rows == 0:
        return Utility(holdout.num_rows)
    if not isinstance(model, Ensemble):
        from unlearn.stages.verify.measures.memorisation import language_utility

        return language_utility(model, holdout, context.params.verify.min_rows)
    return measure(
        model.probabilities(holdout),
        targets(holdout, context.layout),
        model.classes,
        has_probabilities=model.has_probabilities,
        min_rows=context.params.verify.min_rows,
    )
