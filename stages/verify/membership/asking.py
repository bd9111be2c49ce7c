"""Asking a final model about rows, whatever kind of rows it reads."""

import pyarrow as pa
from unlearn.stages.final_model.ensemble import Ensemble
from unlearn.stages.rows.shard_file import Layout
from unlearn.stages.verify.membership.answers import Answers, FinalModel
from unlearn.stages.verify.membership.arrays import Ints
from unlearn.stages.verify.membership.class_answers import ask_classes


def ask(model: FinalModel, rows: pa.Table, home: Ints, layout: Layout) -> Answers:
    """Ask a final model and each of its members about rows.

    Parameters
    ----------
    model
        The final model, of at least one member.
    rows
        A table of `layout`.
    home
        See `Answers`.
    layout
        The project's columns and classes.
    """
    if isinstance(model, Ensemble):
        return ask_classes(model, rows, home, layout)
    from unlearn.stages.verify.membership.text_answers import ask_language

    return ask_language(model, rows, home)
