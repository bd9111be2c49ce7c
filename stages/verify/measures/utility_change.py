"""What a run did to the model's quality: two reports, compared."""

import math
from typing import Any

#: The numbers of a report's utility that one line or one comparison shows.
MEASURES = ("accuracy", "macro_f1", "log_loss", "calibration_error")

#: Two-sided 95 % of a normal distribution, in standard errors.
_WIDE = 1.959964


def compare_utility(older: dict[str, Any], newer: dict[str, Any]) -> dict[str, Any]:
    """Compare the quality that two reports state.

    Parameters
    ----------
    older, newer
        Contents of reports/verify.json.

    Returns
    -------
    dict
        `utility`: old and new value of each measure; `classes`: a sentence for each class that
        lost more accuracy than chance allows on so many rows.
    """
    old, new = older.get("utility", {}), newer["utility"]
    return {
        "utility": {name: [old.get(name), new.get(name)] for name in MEASURES},
        "classes": [
            f"class {label!r} lost more than chance would take: accuracy "
            f"{before['accuracy']:.3f} -> {after['accuracy']:.3f} on {after['rows']:,} rows"
            for label, before, after in _classes(old, new)
            if before["accuracy"] - after["accuracy"] > _chance(before, after)
        ],
    }


def _classes(
    old: dict[str, Any], new: dict[str, Any]
) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Return the classes of both reports that were measured in both."""
    was = old.get("per_class", {})
    return [
        (label, was[label], found)
        for label, found in new.get("per_class", {}).items()
        if label in was and None not in (was[label]["accuracy"], found["accuracy"])
    ]


def _chance(before: dict[str, Any], after: dict[str, Any]) -> float:
    """Return how far two shares of so many rows differ by chance alone, 19 times out of 20.

    Of one pooled share with a row more of either kind (Agresti and Caffo 2000), so that a share
    of 1 does not mean certainty. The rows are mostly the same ones, which
    makes this wider than it need be.
    """
    hits = sum(entry["accuracy"] * entry["rows"] for entry in (before, after))
    rows = before["rows"] + after["rows"]
    share = (hits + 1) / (rows + 2)
    variance = share * (1 - share) * (1 / before["rows"] + 1 / after["rows"])
    return _WIDE * math.sqrt(variance)
