"""The protocol that every kind of model follows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from unlearn.stages.errors import InputError

FloatArray = npt.NDArray[np.float32] | npt.NDArray[np.float64]
#: Rows as an estimator reads them: numbers, or the bytes of arrays (see `packing.py`).
Inputs = npt.NDArray[Any]
Dtype = type[np.float32] | type[np.float64]
IntArray = npt.NDArray[np.int64]

#: What a model is fitted to: class indices (int64), or numbers in the dataset's units (float64).
Targets = npt.NDArray[Any]


class RefusedRowsError(InputError):
    """An estimator cannot be fitted on the rows that it was given.

    Whether these rows are the reason, or the settings are, its message does not tell.
    """


class UnansweredRowError(InputError):
    """An estimator refuses to answer for rows.

    Parameters
    ----------
    reason
        What it is, without values of a row.
    row
        The first row that it refuses alone, counted from 0 in the rows that it was given; None if
        it answers for each of them alone.
    """

    def __init__(self, reason: str, row: int | None) -> None:
        self.reason, self.row = reason, row
        place = "" if row is None else f"data row {row + 1}: "
        super().__init__(f"{place}{reason}", "--debug shows the whole error, with values of rows")


@dataclass(frozen=True)
class SliceData:
    """What one slice's training reads.

    Parameters
    ----------
    inputs
        Preprocessed rows of slices 1..r, in slice order, shape (n, width): numbers; or bytes where
        features are arrays.
    targets
        Targets of these rows, shape (n,): class indices as int64; or for a regression numbers as
        float64, in the units of the dataset.
    new
        How many of the last rows are slice r's own.
    steps
        Mini-batch steps to take.
    seed
        The seed of an epoch of this slice, by its number from 0.
    categories
        By input column, how many categories its codes are of; 0 for a number. Empty where all
        columns are numbers.
    weights
        Weights of the rows, shape (n,); None where all count the same.
    number
        The number of the slice, r, from 1.
    draws
        A number that is drawn for each row, shape (n,): what is drawn for the row alone follows
        from it. None where rows are not augmented.
    step_seed
        The seed of a step of this slice, by its number from 0.
    """

    inputs: Inputs
    targets: Targets
    new: int
    steps: int
    seed: Callable[[int], int]
    categories: tuple[int, ...] = ()
    weights: npt.NDArray[np.float64] | None = None
    number: int = 1
    draws: npt.NDArray[np.uint64] | None = None
    step_seed: Callable[[int], int] = int


class Predictor(Protocol):
    """A fitted classifier, ready to answer."""

    def probabilities(self, inputs: Inputs) -> npt.NDArray[np.float64]:
        """Return class probabilities, shape (n, classes); votes where the model has none."""


class Regressor(Protocol):
    """A fitted model of a regression, ready to answer."""

    def values(self, inputs: Inputs) -> npt.NDArray[np.float64]:
        """Return the predicted numbers, in the units of the dataset, shape (n,)."""


class Estimator(Protocol):
    """One kind of model with its settings, built for the outputs of a project (`rows/outputs.py`).

    States and models are bytes: what goes on from a state in memory has gone through the same
    bytes as what is resumed from disk, so the two cannot differ.
    """

    #: Whether answers are more than votes, as those of regressors are.
    has_probabilities: bool

    @property
    def min_rows(self) -> int:
        """Rows that training takes at least. A slice that reads fewer takes no step."""

    @property
    def dtype(self) -> Dtype:
        """Numpy type that inputs come in."""

    def fit_slice(self, state: bytes | None, data: SliceData, init_seed: int) -> bytes:
        """Return the state after training on a slice.

        Parameters
        ----------
        state
            The state to go on from; None at the start.
        data
            The rows and the budget.
        init_seed
            Seed of everything that is drawn once, before the first slice.

        Raises
        ------
        RefusedRowsError
            If it cannot be fitted on these rows, or its numbers are no longer finite.
        InputError
            If the settings are wrong, whatever the rows are.
        """

    def export(self, state: bytes) -> bytes:
        """Return what of a state is needed to predict."""

    def predictor(self, model: bytes) -> Any:
        """Return the model that `export` wrote, ready to answer; nothing is ever unpickled.

        It is a `Predictor`; or a `Regressor` if the estimator was built to predict numbers.
        """

    def describe(self) -> dict[str, Any]:
        """Return what rebuilds it from a model's folder, beside its settings, as JSON values."""
