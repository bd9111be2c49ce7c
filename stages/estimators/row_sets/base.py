"""The protocol of estimators whose model is a function of the key and the set of their rows.

    forget(fit(A), gone, left) == fit(left)        left = A without gone

holds byte for byte, for the state and for the model, and likewise for `add`. Each estimator may
use any way to get there; where changing a state would take longer than fitting, it fits.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.base import FloatArray
from unlearn.stages.estimators.row_sets.grids import Grid
from unlearn.stages.estimators.row_sets.row_set import Bytes, Codes, RowSet
from unlearn.stages.estimators.row_sets.target_grid import TargetGrid
from unlearn.stages.estimators.tensors import digest_tensors, read_safetensors
from unlearn.stages.rows.outputs import Outputs

#: Any NumPy array that a file can hold.
Tensor = npt.NDArray[Any]

#: Files by name, and their content.
Files = Mapping[str, bytes]

#: File of a state that has everything but trees.
STATE_FILE = "state.safetensors"

State = TypeVar("State")


@dataclass(frozen=True)
class Shape:
    """What rows of codes look like; see `grids.Grid`.

    Parameters
    ----------
    sizes
        Number of codes of each feature.
    categorical
        Which features have codes without an order.
    classes
        Number of classes; 0 where numbers are predicted.
    target
        The grid of these numbers; None where classes are predicted.
    """

    sizes: tuple[int, ...]
    categorical: tuple[bool, ...]
    classes: int
    target: TargetGrid | None = None

    @classmethod
    def of(cls, grid: Grid, outputs: Outputs) -> "Shape":
        """Return what rows on a grid look like, for models that answer with `outputs`."""
        target = TargetGrid(outputs.centre, outputs.scale) if outputs.is_number else None
        return cls(grid.sizes, grid.categorical, outputs.classes, target)

    @property
    def entries(self) -> int:
        """Numbers by which a forest counts rows: one for each class, or two; see `RowData`."""
        return self.classes if self.target is None else 2

    @property
    def features(self) -> int:
        """Number of features."""
        return len(self.sizes)


class CodePredictor(Protocol):
    """A fitted classifier, ready to answer."""

    def probabilities(self, codes: Codes) -> npt.NDArray[np.float64]:
        """Return class probabilities, shape (n, classes); votes where the model has none."""


class CodeRegressor(Protocol):
    """A fitted model of a regression, ready to answer."""

    def values(self, codes: Codes) -> npt.NDArray[np.float64]:
        """Return the predicted numbers, in the units of the dataset, shape (n,)."""


@dataclass(frozen=True)
class CodesAnswer:
    """A model of codes that takes them as floating point numbers, as other models take inputs.

    Parameters
    ----------
    model
        A `CodePredictor`, or a `CodeRegressor` where numbers are predicted.
    """

    model: Any

    def probabilities(self, inputs: FloatArray) -> npt.NDArray[np.float64]:
        """Return class probabilities, shape (n, classes)."""
        classifier: CodePredictor = self.model
        return classifier.probabilities(inputs.astype(np.uint16))

    def values(self, inputs: FloatArray) -> npt.NDArray[np.float64]:
        """Return the predicted numbers, shape (n,)."""
        regressor: CodeRegressor = self.model
        return regressor.values(inputs.astype(np.uint16))

    def importances(self) -> npt.NDArray[np.float64] | None:
        """Return the importance of each column of codes; None for a model without trees."""
        if not hasattr(self.model, "importances"):
            return None
        found: npt.NDArray[np.float64] = self.model.importances()
        return found


class RowSetEstimator(Protocol[State]):
    """One kind of model with its settings, its key and the shape of its rows.

    A state that was given to `forget` or `add` must not be used afterwards.
    """

    def fit(self, rows: RowSet) -> State:
        """Return the state of a set of rows; it may be empty."""

    def forget(self, state: State, gone: RowSet, left: RowSet) -> State:
        """Return the state of the rows that are left.

        Parameters
        ----------
        state
            Of the rows of `gone` and `left` together.
        gone, left
            The rows to forget, and all others.

        Raises
        ------
        UnknownRowsError
            If the state is not of these rows.
        """

    def add(self, state: State, new: RowSet, union: RowSet) -> State:
        """Return the state of more rows.

        Parameters
        ----------
        state
            Of the rows of `union` that are not in `new`.
        new, union
            The rows to add, and all rows with them.
        """

    def refits(self, moved: int, rows: int) -> bool:
        """Return whether so many rows of a set are too many to change the state."""

    def row_digests(self, state: State) -> Bytes:
        """Return the sorted digests of the rows that a state is of, shape (rows, 16)."""

    def save(self, state: State) -> Files:
        """Return the files of a state: a function of the key, the settings and the set of rows."""

    def load(self, files: Files) -> State:
        """Return the state that `save` wrote; InputError if the files are not such a state."""

    def model(self, state: State) -> bytes:
        """Return what of a state is needed to predict: it has no row and no token."""

    def predictor(self, model: bytes) -> Any:
        """Return the model that `model` wrote, ready to answer.

        It is a `CodePredictor`; or a `CodeRegressor` where the shape has a grid of targets.
        """


@runtime_checkable
class TreeEstimator(RowSetEstimator[State], Protocol[State]):
    """An estimator of trees, each of which can be fitted again by itself, as a check."""

    @property
    def tree_count(self) -> int:
        """Number of trees."""

    def tree_bytes(self, state: State, tree: int) -> bytes:
        """Return all that a state has of one tree."""

    def counts_rows(self, state: State, rows: RowSet) -> bool:
        """Return whether every tree counts as many rows of each class as it should have.

        Nothing is fitted for it. A row that was forgotten, and is still in its trees, is seen.
        """

    def refit_trees(
        self, state: State, rows: RowSet, trees: Sequence[int]
    ) -> Iterator[tuple[int, bytes]]:
        """Fit trees again, each given the trees before it as the state has them.

        Parameters
        ----------
        state
            A state that claims to be of these rows.
        rows
            The rows.
        trees
            Numbers of the trees, ascending.

        Returns
        -------
        iterator
            Of the number of each tree, and what `tree_bytes` would return for it. If these are the
            same for all trees, the state's trees are those that `fit` returns.
        """


@runtime_checkable
class ReadsOthers(Protocol):
    """An estimator whose changes may read more rows than those that come or go.

    Its states have `reads`: how many rows the last change read, in rows of a fit. An estimator
    that is not of this kind reads the rows that come or go, and no others.
    """

    def rows_to_read(self, state: Any, moved: RowSet, rows: RowSet, sign: int) -> int:
        """Return how many rows a change of a state will read; the state stays as it is.

        Parameters
        ----------
        state
            The state before.
        moved, rows
            The rows that come or go, and the rows in the end.
        sign
            1 if they come, -1 if they go.
        """


def load_digests(content: bytes | None) -> Bytes:
    """Return the row digests that a file of a state has, whatever else is in it."""
    try:
        found = None if content is None else load(content).get("digests")
    except SafetensorError:
        found = None
    if found is None or found.dtype != np.uint8 or found.ndim != 2:  # noqa: PLR2004 - rows and bytes
        raise InputError("a file of an exact model is damaged or belongs to another model")
    return found


def state_digest(files: Files) -> str:
    """Return a digest of the tensors of a state's files, in hex."""
    tensors = [
        type(tensor)(f"{name}/{tensor.name}", tensor.dtype, tensor.shape, tensor.data)
        for name, content in files.items()
        for tensor in read_safetensors(content)
    ]
    return digest_tensors(tensors)


def save_tensors(tensors: Mapping[str, Tensor]) -> bytes:
    """Return a safetensors file, whose bytes follow from the arrays."""
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    return bytes(save(contiguous))


def load_tensors(
    content: bytes | None, expected: Mapping[str, tuple[str, int]]
) -> dict[str, Tensor]:
    """Return the arrays of a safetensors file.

    Parameters
    ----------
    content
        The file; None if it is missing.
    expected
        Type and number of dimensions of each array.

    Raises
    ------
    InputError
        If it does not have exactly these arrays.
    """
    try:
        found: dict[str, Tensor] = {} if content is None else dict(load(content))
    except SafetensorError:
        found = {}
    kinds = {name: (str(tensor.dtype), tensor.ndim) for name, tensor in found.items()}
    if kinds != dict(expected):
        raise InputError("a file of an exact model is damaged or belongs to another model")
    return found
