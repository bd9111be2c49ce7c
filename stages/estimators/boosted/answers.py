"""What the libraries for boosted trees have in common: targets, checks of models, and answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.base import FloatArray, RefusedRowsError, SliceData, Targets
from unlearn.stages.estimators.boosted.values import check_size
from unlearn.stages.rows.outputs import Outputs

Floats = npt.NDArray[np.float64]

#: What a library answers on inputs: numbers, shape (n,); of classes also shape (n, classes).
Raw = Callable[[FloatArray], Any]


def known_targets(model: str, data: SliceData, outputs: Outputs) -> tuple[list[int], Targets]:
    """Return the classes that rows have, and each row's place among them.

    A shard may lack a class, and the libraries number those that there are.

    Parameters
    ----------
    model
        Value of `train.model`, for the error.
    data
        The rows.
    outputs
        What models answer with.

    Returns
    -------
    tuple
        For numbers no classes, and the numbers.

    Raises
    ------
    RefusedRowsError
        If all rows have one class.
    """
    if outputs.is_number:
        return [], data.targets
    present, places = np.unique(data.targets, return_inverse=True)
    if len(present) < 2:  # noqa: PLR2004 - one class has nothing to tell apart
        raise RefusedRowsError(f"{model} cannot be trained: all rows have one class")
    return present.tolist(), places


def check_signs(signs: Sequence[int] | None, inputs: int) -> None:
    """Check that `monotone_constraints` has one value for each column: libraries may crash else."""
    if signs is not None and len(signs) != inputs:
        raise InputError(
            f"train.options.monotone_constraints has {len(signs)} values for {inputs} columns"
        )


def read_back(model: str, read: Callable[[bytes], object], written: bytes) -> bytes:
    """Return a file that was just written, if it can be read.

    Parameters
    ----------
    model
        Value of `train.model`, for the error.
    read
        Reads a file of this kind.
    written
        The file.

    Raises
    ------
    RefusedRowsError
        If its numbers are not finite.
    InputError
        If it is too large, whatever the rows are.
    """
    check_size(written, f"the model of {model}")
    try:
        read(written)
    except InputError as error:
        raise RefusedRowsError(f"{model} cannot be trained: {error.message}") from error
    return written


def check_model(inputs: int, classes: tuple[int, ...], wanted: int, outputs: Outputs) -> None:
    """Check that a model file is one for these columns and outputs.

    Parameters
    ----------
    inputs, classes
        Columns and classes that the file says; no classes if it predicts numbers.
    wanted, outputs
        Columns and outputs that it is to have.

    Raises
    ------
    InputError
        If it is not.
    """
    if inputs != wanted:
        raise InputError(f"a model file is of {inputs} columns, not {wanted}")
    if outputs.is_number != (not classes):
        has = "classes, not numbers" if classes else "numbers, not classes"
        raise InputError(f"a model file predicts {has}")
    if classes and classes[-1] >= outputs.classes:
        raise InputError(f"a model file has more than {outputs.classes} classes")


@dataclass(frozen=True)
class BoostedClassifier:
    """A fitted model, its classes mapped to the pinned ones.

    Parameters
    ----------
    raw
        Returns probabilities of the known classes; of two only that of the second.
    known
        The pinned classes that the model knows, as their indices, in order.
    classes
        Number of pinned classes.
    """

    raw: Raw
    known: tuple[int, ...]
    classes: int

    def probabilities(self, inputs: FloatArray) -> Floats:
        """Return probabilities of all pinned classes; 0 for one that the rows did not have."""
        found = np.asarray(self.raw(inputs), dtype=np.float64)
        if found.ndim == 1:
            found = np.stack([1 - found, found], axis=1)
        answer = np.zeros((len(inputs), self.classes))
        answer[:, list(self.known)] = found / found.sum(axis=1, keepdims=True)
        return answer


@dataclass(frozen=True)
class BoostedRegressor:
    """A fitted model of numbers; `raw` returns them."""

    raw: Raw

    def values(self, inputs: FloatArray) -> Floats:
        """Return the predicted numbers, in the units of the dataset, shape (n,)."""
        return np.asarray(self.raw(inputs), dtype=np.float64).reshape(len(inputs))


def answering(
    raw: Raw, classes: tuple[int, ...], outputs: Outputs
) -> BoostedClassifier | BoostedRegressor:
    """Return the model that answers by `raw`; see the two classes."""
    if outputs.is_number:
        return BoostedRegressor(raw)
    return BoostedClassifier(raw, classes, outputs.classes)
