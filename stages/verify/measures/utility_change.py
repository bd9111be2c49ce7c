"""What a run did to the model's quality: two reports, compared."""

import math
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict
from unlearn.stages.verify_report.quality import ClassUtility, Utility

#: The numbers of a classifier's utility that one line or one comparison shows.
MEASURES = ("accuracy", "macro_f1", "log_loss", "calibration_error")

#: The same of a regression.
NUMBER_MEASURES = (
    "mean_absolute_error",
    "root_mean_squared_error",
    "r_squared",
    "pinball_loss",
)

#: Two-sided 95 % of a normal distribution, in standard errors.
_WIDE = 1.959964


class UtilityChange(BaseModel):
    """What changed between two reports.

    Parameters
    ----------
    utility
        Old and new value of each measure.
    classes
        A sentence for each class that lost more accuracy than chance explains for its number of
        rows.
    """

    model_config = ConfigDict(frozen=True)

    utility: dict[str, tuple[float | None, float | None]]
    classes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the change as JSON values."""
        return self.model_dump(mode="json")


def measures_of(utility: Utility) -> tuple[str, ...]:
    """Return the names of the measures of a classifier, or of those that a regression has."""
    found = tuple(name for name in NUMBER_MEASURES if name in utility.model_fields_set)
    return found or MEASURES


def compare_utility(older: Utility, newer: Utility) -> UtilityChange:
    """Compare the quality that two reports state.

    Parameters
    ----------
    older, newer
        Quality on the holdout.
    """
    classes = []
    for label, new in newer.per_class.items():
        before, after = _measured(older.per_class.get(label)), _measured(new)
        if before is None or after is None:
            continue
        if before.accuracy - after.accuracy > _chance(before, after):
            classes.append(
                f"class {label!r} lost more than chance would take: accuracy "
                f"{before.accuracy:.3f} -> {after.accuracy:.3f} on {after.rows:,} rows"
            )
    return UtilityChange(
        utility={name: (getattr(older, name), getattr(newer, name)) for name in measures_of(newer)},
        classes=tuple(classes),
    )


class _Share(NamedTuple):
    """Accuracy on a class that was measured."""

    rows: int
    accuracy: float


def _measured(found: ClassUtility | None) -> _Share | None:
    if found is None or found.accuracy is None or not found.rows:
        return None
    return _Share(found.rows, found.accuracy)


def _chance(before: _Share, after: _Share) -> float:
    """Return how far two shares of this number of rows differ by chance, 19 times out of 20.

    Of one pooled share with a row more of either kind (Agresti and Caffo 2000), so that a share
    of 1 does not mean certainty. The rows are mostly the same ones, which
    makes this wider than it need be.
    """
    hits = sum(entry.accuracy * entry.rows for entry in (before, after))
    rows = before.rows + after.rows
    share = (hits + 1) / (rows + 2)
    variance = share * (1 - share) * (1 / before.rows + 1 / after.rows)
    return _WIDE * math.sqrt(variance)
