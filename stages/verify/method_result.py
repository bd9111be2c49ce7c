"""What is known of one post-hoc method."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

MethodOutcome = Literal["pass", "fail", "inconclusive", "not applicable"]


@dataclass(frozen=True)
class MethodResult:
    """What is known of one method; None where it could not be measured, or too few rows allow it.

    Parameters
    ----------
    label
        `exact`, `certified(...)` or `approximate`.
    verdict, reasons
        The outcome by itself, and why: `not applicable` where the method made no model.
    forget_accuracy, retain_accuracy, holdout_accuracy
        On forgotten rows, on retained rows, and on held-out rows that no guard looked at.
    membership
        What the deciding attack found, as JSON values.
    disagreement_with_retrain, kl_from_retrain
        On these held-out rows; see `distance`.
    disagreement_on_forgotten
        On the forgotten rows.
    relearning_ratio
        Steps to learn the forgotten rows again, over those of the retrained model.
    passes
        How often each forget row and each retain row was read.
    stopped_by, rolled_back
        What ended an iterative method, and whether the guard went back.
    facts
        What else the method says.
    language
        What is known of a language model besides, as JSON values; None for other models.
    """

    label: str
    verdict: MethodOutcome
    reasons: tuple[str, ...]
    forget_accuracy: float | None = None
    retain_accuracy: float | None = None
    holdout_accuracy: float | None = None
    membership: dict[str, Any] | None = None
    disagreement_with_retrain: float | None = None
    kl_from_retrain: float | None = None
    disagreement_on_forgotten: float | None = None
    relearning_ratio: float | None = None
    passes: dict[str, float] = field(default_factory=dict)
    stopped_by: str | None = None
    rolled_back: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    language: dict[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the result as JSON values; `language` only where there is something in it."""
        found = asdict(self) | {"reasons": list(self.reasons)}
        return found if self.language is not None else _without_language(found)

    def summary(self) -> dict[str, Any]:
        """Return what `dvc metrics show` is to print of the method: a line of a table."""
        membership = self.membership or {}
        found = {
            "label": self.label.partition("(")[0],
            "verdict": self.verdict,
            "forget": self.forget_accuracy,
            "retain": self.retain_accuracy,
            "holdout": self.holdout_accuracy,
            "auc": membership.get("auc"),
            "disagreement": self.disagreement_with_retrain,
            "relearning": self.relearning_ratio,
            "stopped": self.stopped_by,
        }
        if self.language is None:
            return found
        return found | {
            "extraction": (self.language["forget"] or {}).get("extraction_strength"),
            "utility": self.language["utility_ratio"],
        }


def _without_language(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name != "language"}
