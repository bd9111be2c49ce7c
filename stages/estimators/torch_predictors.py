"""Fitted torch modules, ready to answer."""

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from unlearn.stages.estimators.base import Inputs
from unlearn.stages.rows.outputs import Outputs

#: Rows that a module answers together: of numbers, and of arrays, which take more memory within it.
_PREDICTION_ROWS = 8192
_PREDICTION_ARRAYS = 256


class TorchPredictor:
    """A fitted torch module."""

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        self._module = module
        self._device = device

    @property
    def module(self) -> nn.Module:
        """The module, in evaluation mode."""
        return self._module

    def probabilities(self, inputs: Inputs) -> npt.NDArray[np.float64]:
        """Return softmax of the logits, in float64."""
        logits = torch.cat(_answers(self._module, inputs, self._device))
        answer: npt.NDArray[np.float64] = torch.softmax(logits, dim=1).numpy()
        return answer


class TorchRegressor:
    """A fitted torch module that predicts numbers in the pinned scale of the target."""

    def __init__(self, module: nn.Module, device: torch.device, outputs: Outputs) -> None:
        self._module = module
        self._device = device
        self._outputs = outputs

    @property
    def module(self) -> nn.Module:
        """The module, in evaluation mode."""
        return self._module

    def values(self, inputs: Inputs) -> npt.NDArray[np.float64]:
        """Return the predictions in the units of the dataset, shape (rows,)."""
        answers = [one_number(piece) for piece in _answers(self._module, inputs, self._device)]
        return self._outputs.unscaled(torch.cat(answers).numpy())


def _answers(module: nn.Module, inputs: Inputs, device: torch.device) -> list[torch.Tensor]:
    """Return a module's answers on rows in float64, piece by piece."""
    # Copied into torch's own memory: products may round by how their input is aligned.
    of_bytes = inputs.dtype == np.uint8
    kind = np.uint8 if of_bytes else np.float32
    rows = torch.from_numpy(np.ascontiguousarray(inputs, dtype=kind)).clone()
    pieces = torch.split(rows, _PREDICTION_ARRAYS if of_bytes else _PREDICTION_ROWS)
    with torch.inference_mode():
        return [module(piece.to(device)).double().cpu() for piece in pieces]


def one_number(answers: torch.Tensor) -> torch.Tensor:
    """Return the answers of a regression, shape (rows,), from shape (rows, 1) or (rows,).

    Raises
    ------
    ValueError
        If a module answers with another number of values.
    """
    if answers.ndim == 1:
        return answers
    if answers.ndim != 2 or answers.shape[1] != 1:  # noqa: PLR2004 - rows and values
        raise ValueError("for a regression it has to answer each row with one number")
    return answers[:, 0]
