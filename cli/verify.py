"""`unlearn verify`: the verdict of the last run, as a gate."""

from typing import Annotated, Any, get_args

import typer
from unlearn.cli import knowledge_tables
from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, emit
from unlearn.stages.audit.snapshot import read_report_at
from unlearn.stages.audit.status import read_report, stale_reasons
from unlearn.stages.config.params import Attack
from unlearn.stages.project.paths import find_project
from unlearn.stages.project.timings import read_method_seconds
from unlearn.stages.verify.measures.utility_change import compare_utility

_UNKNOWN = "-"

#: The columns of the table of methods; those of numbers stand to the right.
_METHODS = (
    "method",
    "label",
    "verdict",
    "forget",
    "retain",
    "holdout",
    "AUC",
    "95 % interval",
)
_COSTS = (
    "method",
    "disagreement",
    "relearning",
    "seconds",
    "forget passes",
    "retain passes",
    "stopped by",
)
#: What stands above the tables of what language models know.
_OF_METHODS = (
    "of the forgotten rows (utility and perplexity of text about nobody: beside the original's):"
)
_OF_ROWS = "what the final model knows, of forgotten rows and of rows that it never saw:"
_LEFT = {"method", "label", "verdict", "stopped by", "rows"}


def verify(
    before: Annotated[
        str | None,
        typer.Option(
            metavar="REV",
            help="Also compare the model's quality with the report of a git revision.",
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show the evidence of the last run.

    Exits with 0 only if the verdict is pass and belongs to the present state.
    """
    project = find_project()
    report = read_report(project)
    stale = stale_reasons(project)
    verdict = "stale" if stale else str(report["verdict"])
    result = {**report, "verdict": verdict, "reasons": stale or report["reasons"]}
    if "methods" in report:
        # Not in the report itself: they differ from run to run, and it may not.
        seconds = read_method_seconds(project)
        result["methods"] = {
            name: {**found, "seconds": seconds.get(name)}
            for name, found in report["methods"].items()
        }
    if before is not None:
        older = read_report_at(project, before)
        result["change"] = {"before": before, **compare_utility(older, report)}
    emit(result, as_json=as_json, text=lambda: _describe(result))
    if verdict != "pass":
        raise typer.Exit(1)


COMMAND = Command(verify, example="unlearn verify --before HEAD~1")


def _describe(report: dict[str, Any]) -> str:
    utility, is_posthoc = report["utility"], "methods" in report
    lines = [f"verdict: {report['verdict']}"]
    lines += [f"  {reason}" for reason in report["reasons"]]
    if is_posthoc:
        lines.append(f"deployed: {report['deploy']}, {report['label']}")
        first = ["retrain", report["deploy"]]
        order = sorted(report["methods"], key=lambda name: (name not in first, name != "retrain"))
        methods = {name: report["methods"][name] for name in order}
        lines += _methods(methods)
        lines += _knowledge(
            knowledge_tables.of_methods(methods, report.get("original")), _OF_METHODS
        )
    lines.append(f"exactness: {_of_one_model(report) if is_posthoc else _of_shards(report)}")
    lines += _membership(report["membership"], is_posthoc=is_posthoc)
    if not is_posthoc:
        lines += _knowledge(knowledge_tables.of_rows(report.get("language")), _OF_ROWS)
    if utility["accuracy"] is None:
        lines.append("utility: nothing to measure it on")
    else:
        lines.append(f"utility: {_utility(utility)} on {utility['rows']:,} held-out rows")
    if utility.get("language"):
        lines.append(f"  {knowledge_tables.in_words(utility['language'])}")
    if "covers" in report and report["covers"] not in report["reasons"]:
        lines.append(f"covers: {report['covers']}")
    if "change" in report:
        lines += _change(report["change"])
    return "\n".join(lines)


def _of_shards(report: dict[str, Any]) -> str:
    found = report["exactness"]
    return (
        f"{found['matched']} of {found['reran']} retrained shards matched, "
        f"lineage {'clean' if found['lineage_clean'] else 'not clean'}"
    )


def _of_one_model(report: dict[str, Any]) -> str:
    """Say what the checks of the deployed model found, in a project without shards."""
    found = report["exactness"]
    if report["label"] != "exact":
        problems = found["problems"]
        said = f"checks that found a difference: {problems}" if problems else "the checks agree"
        return f"none is claimed; {said}"
    if not found["reran"]:
        said = "the deployed model was not retrained to check"
    elif found["matched"] == found["reran"]:
        said = "the deployed model was retrained: the same numbers"
    else:
        said = "the deployed model was retrained: other numbers"
    return f"{said}, lineage {'clean' if found['lineage_clean'] else 'not clean'}"


def _methods(methods: dict[str, dict[str, Any]]) -> list[str]:
    """Return the tables of all methods, and why some failed or do not apply."""
    made = {name: found for name, found in methods.items() if found["verdict"] != "not applicable"}
    lines = ["methods:"]
    lines += _table(_METHODS, [_quality(name, found) for name, found in methods.items()])
    lines += _table(_COSTS, [_cost(name, found) for name, found in made.items()])
    for name, found in methods.items():
        if found["verdict"] in {"fail", "not applicable"}:
            lines.append(f"  {name}: {found['verdict']}")
            lines += [f"    {reason}" for reason in found["reasons"]]
    return lines


def _quality(name: str, found: dict[str, Any]) -> list[str]:
    membership = found["membership"] or {}
    return [
        name,
        # A certificate's numbers would widen the column; its reasons and --json have them.
        found["label"].partition("(")[0],
        found["verdict"],
        _number(found["forget_accuracy"]),
        _number(found["retain_accuracy"]),
        _number(found["holdout_accuracy"]),
        _number(membership.get("auc")),
        _interval(membership.get("ci")),
    ]


def _cost(name: str, found: dict[str, Any]) -> list[str]:
    passes = found["passes"]
    stopped = found["stopped_by"] or _UNKNOWN
    return [
        name,
        _number(found["disagreement_with_retrain"]),
        _number(found["relearning_ratio"], 2),
        _number(found["seconds"], 2),
        _number(passes.get("forget"), 1),
        _number(passes.get("retain"), 1),
        f"{stopped}, rolled back" if found["rolled_back"] else stopped,
    ]


def _knowledge(table: list[tuple[str, ...]], title: str) -> list[str]:
    """Return a table of what language models know under its title; nothing without rows."""
    if not table:
        return []
    head, *rows = table
    return [title, *_table(head, [list(cells) for cells in rows])]


def _table(head: tuple[str, ...], rows: list[list[str]]) -> list[str]:
    """Return lines of columns as wide as what is in them; none without rows."""
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [
        "  "
        + "  ".join(
            f"{cell:{'<' if name in _LEFT else '>'}{width}}"
            for name, cell, width in zip(head, cells, widths, strict=True)
        ).rstrip()
        for cells in (head, *rows)
    ]


def _utility(utility: dict[str, Any]) -> str:
    loss = utility["log_loss"]
    said = "no log loss, the answers are votes" if loss is None else f"log loss {loss:.3f}"
    return f"accuracy {utility['accuracy']:.3f}, {said}"


def _membership(found: dict[str, Any] | None, *, is_posthoc: bool) -> list[str]:
    if found is None:
        return ["membership: no forgotten rows left to ask"]
    lines = [f"membership: {found['verdict']}"]
    lines += [f"  {reason}" for reason in found["reasons"]]
    if found["auc"] is None:
        return lines
    # Without shards there is the deployed model alone.
    inside = "in the model" if is_posthoc else "in the models  deployed"
    lines.append(f"  {'attack':17}  {'AUC':>5}  {'95 % interval':>14}  {inside}")
    deployed = found["final_model"]["attacks"]
    for name in [name for name in get_args(Attack) if name in found["attacks"]]:
        entry = found["attacks"][name]
        line = f"  {name:17}  {_number(entry['auc']):>5}  {_interval(entry['ci']):>14}  "
        control = _number(entry["control"]["auc"])
        end = f"{control:>13}  {_number(deployed[name]['auc']):>8}"
        lines.append(line + (f"{control:>12}" if is_posthoc else end))
    lines.append(
        f"  {found['forget_rows']:,} forgotten rows, {found['holdout_rows']:,} non-members; "
        f"this many tell an AUC of {found['detectable_auc']:.3f} from .5"
    )
    return lines


def _number(value: float | None, digits: int = 3) -> str:
    return _UNKNOWN if value is None else f"{value:.{digits}f}"


def _interval(value: list[float] | None) -> str:
    return _UNKNOWN if value is None else f"{value[0]:.3f} to {value[1]:.3f}"


def _change(change: dict[str, Any]) -> list[str]:
    lines = [f"since {change['before']}:"]
    lines += [
        f"  {name.replace('_', ' ')} {_number(old)} -> {_number(new)}"
        for name, (old, new) in change["utility"].items()
    ]
    lines += [f"  {sentence}" for sentence in change["classes"]]
    return lines
