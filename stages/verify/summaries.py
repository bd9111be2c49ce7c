"""The few numbers of a report that `dvc metrics` shows: lines that fit on a screen."""

from typing import Any

from unlearn.stages.verify.measures.utility_change import measures_of
from unlearn.stages.verify_report.membership import CanaryResult, Membership
from unlearn.stages.verify_report.methods import MethodResult
from unlearn.stages.verify_report.part import json_value
from unlearn.stages.verify_report.quality import Knowledge
from unlearn.stages.verify_report.report import Report


def report_summary(report: Report) -> dict[str, Any]:
    """Return the numbers of a whole report, as JSON values."""
    membership = report.membership or Membership()
    canaries = report.canaries or CanaryResult()
    low, high = membership.ci or (None, None)
    exactness, utility = report.exactness, report.utility
    found = {
        "verdict": report.verdict,
        "exactness": {
            "touched": exactness.touched,
            "reran": exactness.reran,
            "matched": exactness.matched,
        },
        "membership": {
            "verdict": membership.verdict,
            "auc": membership.auc,
            "low": low,
            "high": high,
            "control": membership.control.auc,
        },
        "canaries": {"auc": canaries.auc, "epsilon": canaries.epsilon_lower_bound},
        "utility": {name: getattr(utility, name) for name in measures_of(utility)},
    }
    if report.language is not None:
        forgotten = report.language.forgotten or Knowledge()
        holdout = report.language.holdout or Knowledge()
        found["extraction_strength"] = {
            "forgotten": forgotten.extraction_strength,
            "holdout": holdout.extraction_strength,
        }
    return dict(json_value(found))


def method_summary(result: MethodResult) -> dict[str, Any]:
    """Return the numbers of one post-hoc method, as JSON values."""
    membership = result.membership or Membership()
    forget, retain, holdout = result.quality
    found = {
        "label": result.kind_of_label,
        "verdict": result.verdict,
        "forget": forget,
        "retain": retain,
        "holdout": holdout,
        "auc": membership.auc,
        "matched": None if membership.matched is None else membership.matched.difference.auc,
        "disagreement": result.distances[0],
        "relearning": result.relearning_ratio,
        "stopped": result.stopped_by,
    }
    if result.language is not None:
        forgotten = result.language.forget or Knowledge()
        found["extraction"] = forgotten.extraction_strength
        found["utility"] = result.language.utility_ratio
    return dict(json_value(found))
