"""What `verify` measures of models, and what it does differently for each modality."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pyarrow as pa
from unlearn.stages.config.params import AggregationRule, Params
from unlearn.stages.context import Context, PosthocContext
from unlearn.stages.errors import InputError
from unlearn.stages.training.method_record import MethodRows
from unlearn.stages.verify.membership.answers import (
    Answers,
    FinalModel,
    MemberModel,
    Question,
)
from unlearn.stages.verify.membership.arrays import Floats
from unlearn.stages.verify_report.quality import KnowledgeOfRows, Utility


class MeasuredModel(FinalModel, Protocol):
    """A final model of either modality, as `verify` attacks and measures it."""

    def utility(self, rows: pa.Table, min_rows: int) -> Utility:
        """Return the model's quality on unseen rows.

        Parameters
        ----------
        rows
            A table of the project's columns.
        min_rows
            What fewer rows than this would show alone is left out.
        """

    def probabilities(self, rows: pa.Table) -> Floats | None:
        """Return class probabilities, shape (rows, classes); None for text, votes and numbers.

        Parameters
        ----------
        rows
            A table of the project's columns. The model has at least one member.
        """

    def memorisation(
        self, forgotten: pa.Table, utility: Utility, min_rows: int
    ) -> KnowledgeOfRows | None:
        """Return what the model knows of forgotten and of unseen rows; None for tables.

        Parameters
        ----------
        forgotten
            All forgotten rows.
        utility
            What `utility` returned for unseen rows.
        min_rows
            See `utility`.
        """


@dataclass(frozen=True)
class NoModel:
    """The final model of a project whose shards have lost all their rows: no members."""

    rule: AggregationRule
    members: tuple[MemberModel, ...] = ()
    has_probabilities: bool = True

    def answers(self, questions: Sequence[Question]) -> list[Answers]:
        """Raise InputError: there is no member to ask."""
        del questions
        raise InputError("the final model has no members: every shard lost all its rows")

    def utility(self, rows: pa.Table, min_rows: int) -> Utility:
        """Return the count of rows alone."""
        del min_rows
        return Utility(rows=rows.num_rows)

    def probabilities(self, rows: pa.Table) -> Floats | None:
        """Return None: there is no member to ask."""
        del rows
        return None

    def memorisation(
        self, forgotten: pa.Table, utility: Utility, min_rows: int
    ) -> KnowledgeOfRows | None:
        """Return None."""
        del forgotten, utility, min_rows
        return None


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
        """Fewer rows than this would show individual people."""
        return self.context.params.verify.min_rows


Model = TypeVar("Model", bound=MeasuredModel)


class Measures(Protocol[Model]):
    """Measures models one after another, so that not all of them have to be in memory."""

    def open(self, folder: Path, name: str) -> Model | None:
        """Open the model in a folder; None where there is none to ask.

        Raises
        ------
        InputError
            If it cannot be read.
        """

    def look(self, name: str, model: Model) -> None:
        """Compute all that `numbers` needs of a model that `open` returned.

        The retrained model comes first where there is one, then the original.
        """

    def numbers(self, name: str) -> Mapping[str, Any]:
        """Return fields of `MethodResult` for a model that was looked at."""

    def collapse(self, name: str) -> str | None:
        """Return how a model that was looked at has become useless; None where it has not."""

    def doubt(self) -> str | None:
        """Return why the measurements mean nothing; None where they do."""


@dataclass(frozen=True)
class Modality:
    """What `verify` does differently for one modality; see `modality.modality_of`.

    Parameters
    ----------
    open_final_model
        Opens `models/final_model` of a project; without members if no row is left. Raises
        InputError if it cannot be read.
    measures
        Makes what measures the models of post-hoc methods.
    covers
        Returns what a verdict is about and what it is not, where the report has to say so.
    reports_original
        Whether the report shows what was measured of the model that all methods start from.
    """

    open_final_model: Callable[[Context], MeasuredModel]
    measures: Callable[[Setting], Measures[Any]]
    covers: Callable[[Params], str | None]
    reports_original: bool
