"""The answers of models that give class probabilities."""

import numpy as np
import pyarrow as pa
from unlearn.stages.final_model.combination import combine
from unlearn.stages.final_model.ensemble import Ensemble
from unlearn.stages.rows.shard_file import Layout, targets
from unlearn.stages.verify.membership.answers import Answers, persons
from unlearn.stages.verify.membership.arrays import Ints
from unlearn.stages.verify.membership.row_scores import of_classes
from unlearn.stages.verify.membership.scores import logit

#: Rows in one batch: every member's answers on a batch are in memory together.
_ROWS_AT_ONCE = 2_000


def ask_classes(model: Ensemble, rows: pa.Table, home: Ints, layout: Layout) -> Answers:
    """Ask every member of an ensemble for class probabilities.

    Parameters
    ----------
    model
        The ensemble, of at least one member.
    rows
        A table of `layout`.
    home
        See `Answers`.
    layout
        The project's columns and classes.
    """
    truth = targets(rows, layout)
    logits = np.zeros((rows.num_rows, len(model.members)))
    of_home = np.zeros((rows.num_rows, len(layout.classes)))
    of_final = np.zeros_like(of_home)
    for start in range(0, rows.num_rows, _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        table = rows.slice(start, _ROWS_AT_ONCE)
        answers = [member.predictor.probabilities(table) for member in model.members]
        of_final[part] = combine(model.rule, answers, [member.rows for member in model.members])
        for index, answer in enumerate(answers):
            logits[part, index] = logit(answer, truth[part])
            here = home[part] == index
            of_home[part][here] = answer[here]
    return Answers(
        home, truth, persons(rows), logits, of_classes(of_home, truth), of_classes(of_final, truth)
    )
