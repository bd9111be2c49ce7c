"""What an adapter answers for a tool, and the rows that all tools are tried with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

#: What a tool's own verifier may conclude. `none`: the tool has no verifier with a verdict.
Verdict = Literal["pass", "fail", "neither", "none"]


@dataclass(frozen=True)
class Rows:
    """Training rows.

    Parameters
    ----------
    ids
        A name for each row, length n.
    features
        Shape (n, d).
    labels
        Class indices, length n.
    """

    ids: tuple[str, ...]
    features: NDArray[np.float64]
    labels: NDArray[np.int64]

    def without(self, ids: Sequence[str]) -> "Rows":
        """Return the rows that have none of these names, in the same order."""
        return self._where(np.isin(self.ids, ids, invert=True))

    def named(self, ids: Sequence[str]) -> "Rows":
        """Return the rows that have these names, in the order of the table."""
        return self._where(np.isin(self.ids, ids))

    def _where(self, stay: NDArray[np.bool_]) -> "Rows":
        names = tuple(np.array(self.ids)[stay].tolist())
        return Rows(names, self.features[stay], self.labels[stay])


class RefusedError(Exception):
    """The tool refused a request, and gave the reason."""


class Tool(Protocol):
    """A tool with one project of its own, in one folder.

    An adapter calls what the tool's documentation shows first, with the tool's own defaults.
    """

    def __init__(self, folder: Path) -> None: ...

    @property
    def version(self) -> str:
        """What is installed."""

    @property
    def has_files(self) -> bool:
        """Whether the tool writes files of its own, so that copies of rows may be left in them."""

    def train(self, rows: Rows, like: "Tool | None" = None) -> None:
        """Start a project on these rows and train it.

        Parameters
        ----------
        rows
            Its rows.
        like
            A project whose settings it has, where the tool chooses settings by the rows.
        """

    def forget(self, ids: Sequence[str]) -> None:
        """Carry out a request. Raises `RefusedError` if the tool refuses it."""

    def erase(self) -> None:
        """Delete what is left of forgotten rows, if the tool has a way."""

    def models(self) -> Mapping[str, bytes]:
        """Return the files of the model that is used now, by name."""

    def probabilities(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return class probabilities, shape (n, classes)."""

    def verify_untouched(self, untouched: "Tool") -> Verdict:
        """Return what its verifier says, after a request, of a model that still has the rows.

        Parameters
        ----------
        untouched
            Another project, trained on all rows.
        """

    def verify_retrained(self, clean: "Tool") -> Verdict:
        """Return what its verifier says, after a request, of a model that never had the rows.

        Parameters
        ----------
        clean
            Another project, trained on the other rows only.
        """
