"""The answers of models of tables: class probabilities, or numbers."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from unlearn.stages.final_model.combination import Combination
from unlearn.stages.final_model.ensemble import Ensemble
from unlearn.stages.rows.shard_file import Layout, training_targets
from unlearn.stages.training.shard_model import RowPredictor
from unlearn.stages.verify.membership.answers import Answers, Question, persons
from unlearn.stages.verify.membership.arrays import Ints
from unlearn.stages.verify.membership.row_scores import compared, of_rows

#: Rows in one batch.
_ROWS_AT_ONCE = 2_000


def ask_rows(model: Ensemble, questions: Sequence[Question], layout: Layout) -> list[Answers]:
    """Ask every member of an ensemble for its answers, one member after another.

    Parameters
    ----------
    model
        The ensemble, of at least one member.
    questions
        See `FinalModel.answers`.
    layout
        The project's columns and target.
    """
    asked = [_Asked(model, rows, home, layout) for rows, home in questions]
    for index, member in enumerate(model.members):
        predictor = member.predictor
        for each in asked:
            each.ask(index, member.rows, predictor)
        del predictor  # before the next one is opened
    return [each.answers() for each in asked]


class _Asked:
    """The answers of the members that were asked so far."""

    def __init__(self, model: Ensemble, rows: pa.Table, home: Ints, layout: Layout) -> None:
        self._rows, self._home = rows, home
        self._truth = training_targets(rows, layout)
        self._outputs = layout.outputs
        self._logits = np.zeros((rows.num_rows, len(model.members)))
        self._of_home = np.zeros(self._outputs.shape(rows.num_rows))
        self._of_final = Combination(model.rule)

    def ask(self, index: int, weight: int, predictor: RowPredictor) -> None:
        """Ask one more member, whose shard has `weight` rows."""
        answer = np.zeros_like(self._of_home)
        for start in range(0, self._rows.num_rows, _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            answer[part] = predictor.answers(self._rows.slice(start, _ROWS_AT_ONCE))
        here = self._home == index
        self._logits[:, index] = compared(answer, self._truth, self._outputs)
        self._of_home[here] = answer[here]
        self._of_final.add(answer, weight)

    def answers(self) -> Answers:
        """Return all answers."""
        return Answers(
            self._home,
            # Numbers are no classes to match by.
            np.zeros_like(self._home) if self._outputs.is_number else self._truth.astype(np.int64),
            persons(self._rows),
            self._logits,
            of_rows(self._of_home, self._truth, self._outputs),
            of_rows(self._of_final.result(), self._truth, self._outputs),
        )
