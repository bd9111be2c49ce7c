"""What `unlearn verify --json` prints: the report, and what is not in its file."""

from typing import Any, ClassVar, Literal

from pydantic import Field
from unlearn.stages.verify_report.methods import MethodResult
from unlearn.stages.verify_report.part import Part, Sentences
from unlearn.stages.verify_report.report import Report


class MethodAnswer(MethodResult):
    """A method's results and its seconds, which differ from run to run.

    Parameters
    ----------
    seconds
        How long the method took.
    """

    seconds: float | None = None


class Change(Part):
    """What changed since an older report; with `--before`.

    Parameters
    ----------
    before
        The git revision of the older report.
    utility
        Old and new value of each measure.
    classes
        A sentence for each class that lost more accuracy than chance allows.
    """

    before: str | None = None
    utility: dict[str, tuple[float | None, float | None]] = Field(default_factory=dict)
    classes: Sentences = ()


class VerifyAnswer(Report):
    """The report as it belongs to the present state.

    Parameters
    ----------
    schema_version
        Always 1. Keys are only ever added.
    verdict
        That of the report, or `stale`.
    change
        With `--before` only.
    """

    OPTIONAL: ClassVar[frozenset[str]] = Report.OPTIONAL | {"change"}

    schema_version: Literal[1] = 1
    # Wider than in the file, or with more in it: an answer is read by programs, not as a report.
    verdict: Literal["pass", "fail", "inconclusive", "stale"] = "inconclusive"  # type: ignore[assignment]
    methods: dict[str, MethodAnswer] = Field(default_factory=dict)  # type: ignore[assignment]
    change: Change | None = None


def set_fields(part: Part) -> dict[str, Any]:
    """Return the fields of a part of the report that its file has, by name."""
    return {name: getattr(part, name) for name in part.model_fields_set}
