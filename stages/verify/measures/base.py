"""What is measured of models that post-hoc methods made, whatever kind of rows they read."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
from unlearn.stages.context import PosthocContext
from unlearn.stages.training.method_record import MethodRows
from unlearn.stages.verify.membership.answers import FinalModel


@dataclass(frozen=True)
class Setting:
    """What all models of a project are measured on.

    Parameters
    ----------
    context, rows
        The project and its rows.
    tested
        Held-out rows that no guard looked at.
    """

    context: PosthocContext
    rows: MethodRows
    tested: pa.Table

    @property
    def min_rows(self) -> int:
        """Fewer rows than this are a person, not a statistic."""
        return self.context.params.verify.min_rows


class Measures(Protocol):
    """Measures models one after another, so that not all of them have to be in memory."""

    def open(self, folder: Path, name: str) -> FinalModel | None:
        """Open the model in a folder; None where there is none to ask.

        Raises
        ------
        InputError
            If it cannot be read.
        """

    def look(self, name: str, model: FinalModel) -> None:
        """Ask a model that `open` returned all that `numbers` takes; it may be gone afterwards.

        Training anew comes first where there is such a model, then the original.
        """

    def numbers(self, name: str) -> Mapping[str, Any]:
        """Return fields of `MethodResult` for a model that was looked at."""

    def collapse(self, name: str) -> str | None:
        """Say how a model that was looked at is no use any more; None where it is."""

    def doubt(self) -> str | None:
        """Say why nothing that is measured here means anything; None where it does."""
