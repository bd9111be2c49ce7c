"""The target of forgetting: the loss of a model on rows that it was not trained on."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from unlearn.stages.unlearn.tabular.rows import Rows, piece_size, row_losses

#: Rows per batch.
_PIECE = 4096


def unseen_loss(model: nn.Module, unseen: Rows, forget: npt.NDArray[Any]) -> float | None:
    """Return the mean loss of unseen rows, weighted to the forget rows' classes.

    Numbers have no classes to weight by; see `row_losses`.

    Parameters
    ----------
    model
        The original.
    unseen
        Rows that it never saw.
    forget
        Class indices of the forget rows, shape (rows,); not read where numbers are predicted.

    Returns
    -------
    float or None
        None where no unseen row has a class of theirs.
    """
    found = _losses(model, unseen)
    if unseen.targets.is_floating_point():
        return float(found.mean()) if len(found) else None
    classes = unseen.targets.cpu().numpy()
    present = np.intersect1d(forget, classes)
    if present.size == 0:
        return None
    shares = np.array([np.count_nonzero(forget == index) for index in present], dtype=np.float64)
    means = np.array([found[classes == index].mean() for index in present])
    return float((shares * means).sum() / shares.sum())


def young_loss(young: nn.Module, forget: Rows) -> float | None:
    """Return the mean loss of the forget rows in a model that never saw them.

    Parameters
    ----------
    young
        The model of the stage `young`.
    forget
        The rows as that model reads them.

    Returns
    -------
    float or None
        None where it is no number.
    """
    loss = float(_losses(young, forget).mean()) if len(forget) else math.nan
    return loss if math.isfinite(loss) else None


def _losses(model: nn.Module, rows: Rows) -> npt.NDArray[np.float64]:
    """Return every row's loss, shape (rows,); see `row_losses`."""
    was_training = model.training
    model.eval()
    # Not inference mode: what a user's module keeps from it could not be trained through later.
    with torch.no_grad():
        size = piece_size(rows.inputs, _PIECE)
        pieces = zip(torch.split(rows.inputs, size), torch.split(rows.targets, size), strict=True)
        losses = torch.cat(
            [row_losses(model(inputs).double(), answers) for inputs, answers in pieces]
        )
    model.train(was_training)
    found: npt.NDArray[np.float64] = losses.cpu().numpy()
    return found
