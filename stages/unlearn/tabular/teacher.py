"""Answers of a frozen model, as a student is to give them or not to give them."""

from dataclasses import dataclass

import torch
from torch import nn
from unlearn.stages.estimators.torch_predictors import one_number
from unlearn.stages.unlearn.base.ledger import Side
from unlearn.stages.unlearn.tabular.problem import TabularProblem
from unlearn.stages.unlearn.tabular.rows import Rows


@dataclass(frozen=True)
class Taught(Rows):
    """Rows with a teacher's answers.

    Parameters
    ----------
    answers
        Logits, shape (rows, classes); or the numbers of a regression, shape (rows, 1) or (rows,).
    """

    answers: torch.Tensor


def ask(teacher: nn.Module, rows: Rows, side: Side, problem: TabularProblem) -> Taught:
    """Return the rows with the teacher's answers, and count that they were read.

    Asked once, in evaluation mode: a teacher does not change, and so no copy of the model is
    needed where the student starts as its own teacher.
    """
    teacher.eval()
    with torch.no_grad():
        answers = [teacher(piece.inputs) for piece in rows.pieces(problem.batch)]
    problem.ledger.count(side, len(rows))
    return Taught(rows.inputs, rows.targets, torch.cat(answers))


def divergence(taught: Taught, outputs: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return KL(teacher || student) of every row, shape (rows,).

    KL = sum_c p_c (log p_c - log q_c), p = softmax(teacher / T), q = softmax(student / T). Where
    numbers are predicted, the answers are taken for the means of normal distributions of variance 1
    in the pinned scale: KL = ((teacher - student) / T)^2 / 2.
    """
    if taught.targets.is_floating_point():
        apart = one_number(taught.answers) - one_number(outputs)
        return (apart / temperature) ** 2 / 2
    teacher = nn.functional.log_softmax(taught.answers / temperature, dim=1)
    student = nn.functional.log_softmax(outputs / temperature, dim=1)
    return (teacher.exp() * (teacher - student)).sum(dim=1)
