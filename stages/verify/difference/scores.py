"""Scores that two models give to a row: larger for rows that only the older one was trained on.

A model that was trained on a row answers it better than one that was not. An adversary who has the
model before and after a deletion compares the two: what makes a row hard for every model cancels
(Chen et al., "When Machine Unlearning Jeopardizes Privacy", CCS 2021).
"""

from collections.abc import Mapping

from unlearn.stages.verify.membership.arrays import Floats
from unlearn.stages.verify.membership.row_scores import RowScores

#: The change of the logit of the right answer; see `scores.logit`.
LOGIT = "logit"


def model_scores(answers: RowScores) -> dict[str, Floats]:
    """Return the scores that one model gives to rows, by name, each of shape (rows,).

    Those of the attacks that read one model's answers, and the logit of the right answer. Where
    numbers are predicted there is none, and the errors are among the scores.
    """
    own = {} if answers.residuals else {LOGIT: answers.logits}
    return {**own, **answers.scores}


def change(older: RowScores, newer: RowScores) -> Mapping[str, Floats]:
    """Return by how much each score is larger under the older model, each of shape (rows,).

    Parameters
    ----------
    older, newer
        Answers of both models on the same rows, in the same order.
    """
    before, after = model_scores(older), model_scores(newer)
    return {name: before[name] - after[name] for name in before if name in after}
