"""The target of forgetting: the loss of rows that the model was not trained on."""

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from unlearn.stages.unlearn.tabular.rows import Rows

#: Rows per batch.
_PIECE = 4096


def unseen_loss(model: nn.Module, unseen: Rows, forget: npt.NDArray[np.int64]) -> float | None:
    """Return the mean cross-entropy of unseen rows, weighted to the forget rows' classes.

    Parameters
    ----------
    model
        The original.
    unseen
        Rows that it never saw.
    forget
        Class indices of the forget rows, shape (rows,).

    Returns
    -------
    float or None
        None where no unseen row has a class of theirs.
    """
    was_training = model.training
    model.eval()
    # Not inference mode: what a user's module keeps from it could not be trained through later.
    with torch.no_grad():
        pieces = zip(
            torch.split(unseen.inputs, _PIECE), torch.split(unseen.targets, _PIECE), strict=True
        )
        losses = torch.cat(
            [
                nn.functional.cross_entropy(model(inputs).double(), answers, reduction="none")
                for inputs, answers in pieces
            ]
        )
    model.train(was_training)
    found, classes = losses.cpu().numpy(), unseen.targets.cpu().numpy()
    present = np.intersect1d(forget, classes)
    if present.size == 0:
        return None
    shares = np.array([np.count_nonzero(forget == index) for index in present], dtype=np.float64)
    means = np.array([found[classes == index].mean() for index in present])
    return float((shares * means).sum() / shares.sum())
