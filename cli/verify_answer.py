"""What `unlearn verify --json` prints: the report, and what is not in its file."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

from pydantic import Field
from unlearn.stages.audit.models import ModelsFound
from unlearn.stages.rows.seals import SealState
from unlearn.stages.verify.measures.utility_change import UtilityChange
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


class ModelsAnswer(Part):
    """How the models on this machine compare with dvc.lock, by their paths.

    Parameters
    ----------
    same, different
        Models that are, and are not, what dvc.lock names.
    absent
        Those that are not on this machine, and so were not checked.
    """

    same: Sentences = ()
    different: Sentences = ()
    absent: Sentences = ()


class VerifyAnswer(Report):
    """The report as it belongs to the present state.

    Where its figures are not on this machine, or with `--public`, every figure is null.

    Parameters
    ----------
    schema_version
        Always 1. Keys are only ever added.
    verdict
        That of the report, or `stale`.
    figures
        Whether the figures are there.
    seal_state
        Whether the verdicts carry the seal of the project key; `unchecked` without the key.
    models_found
        How the models compare with dvc.lock.
    change
        With `--before` only.
    """

    OPTIONAL: ClassVar[frozenset[str]] = Report.OPTIONAL | {"change"}

    schema_version: Literal[1] = 1
    # Wider than in the file, or with more in it: an answer is read by programs, not as a report.
    verdict: Literal["pass", "fail", "inconclusive", "stale"] = "inconclusive"  # type: ignore[assignment]
    methods: dict[str, MethodAnswer] = Field(default_factory=dict)  # type: ignore[assignment]
    figures: bool = False
    seal_state: SealState = "unchecked"
    models_found: ModelsAnswer = ModelsAnswer()
    change: Change | None = None

    @property
    def passed(self) -> bool:
        """Whether the verdict is pass; no other one is good enough to deploy."""
        return self.verdict == "pass"

    def __repr__(self) -> str:
        """Return the verdict and its reasons; `as_json` has everything."""
        return f"Report(verdict={self.verdict!r}, kind={self.kind!r}, reasons={self.reasons!r})"

    __str__ = __repr__


def set_fields(part: Part) -> dict[str, Any]:
    """Return the fields of a part of the report that its file has, by name."""
    return {name: getattr(part, name) for name in part.model_fields_set}


@dataclass(frozen=True)
class Shown:
    """The report, and what is shown with it.

    Parameters
    ----------
    report
        As it is in the file.
    verdict, reasons
        Those of the report, or why it is stale.
    seconds
        How long each method took. It is not in the report, since it differs from run to run.
    figures
        Whether the figures are there.
    public
        Whether they were left out because that was asked for.
    seal
        Whether the verdicts carry their seal.
    models
        How the models compare with dvc.lock.
    before, change
        The revision that the quality is compared with, and what changed since.
    """

    report: Report
    verdict: str
    reasons: tuple[str, ...]
    seconds: Mapping[str, float] = field(default_factory=dict)
    figures: bool = True
    public: bool = False
    seal: SealState = "unchecked"
    models: ModelsFound = field(default_factory=ModelsFound)
    before: str | None = None
    change: UtilityChange | None = None

    def answer(self) -> VerifyAnswer:
        """Return what a program reads."""
        values = set_fields(self.report)
        values |= {"schema_version": 1, "verdict": self.verdict, "reasons": self.reasons}
        values |= {
            "figures": self.figures,
            "seal_state": self.seal,
            "models_found": ModelsAnswer(**asdict(self.models)),
        }
        if "methods" in values:
            values["methods"] = {
                name: MethodAnswer(**set_fields(found), seconds=self.seconds.get(name))
                for name, found in self.report.methods.items()
            }
        if self.change is not None:
            values["change"] = Change(
                before=self.before, utility=self.change.utility, classes=self.change.classes
            )
        return VerifyAnswer(**values)
