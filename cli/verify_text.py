"""The evidence as text for a terminal."""

from collections.abc import Mapping

from unlearn.cli import knowledge_tables
from unlearn.cli.output import names, table
from unlearn.cli.verify_answer import Shown
from unlearn.stages.audit.models import ModelsFound
from unlearn.stages.config.methods import YOUNG
from unlearn.stages.report import formatting
from unlearn.stages.rows.seals import SealState
from unlearn.stages.verify.measures.utility_change import NUMBER_MEASURES, UtilityChange
from unlearn.stages.verify.membership.registry import registered
from unlearn.stages.verify_report.membership import AttackResult, MatchedResult, Membership
from unlearn.stages.verify_report.methods import MethodResult
from unlearn.stages.verify_report.quality import Utility
from unlearn.stages.verify_report.report import Report

_UNKNOWN = "-"

#: The columns of the table of methods.
_METHODS = (
    "method",
    "label",
    "verdict",
    "forget",
    "retain",
    "holdout",
)
#: Its last two columns, by the evidence that decides: unseen rows, or matched pairs.
_UNSEEN = ("AUC", "95 % interval")
_MATCHED = ("AUC less retrain's", "95 % interval")
_COSTS = (
    "method",
    "disagreement",
    "relearning",
    "seconds",
    "forget passes",
    "retain passes",
    "stopped by",
)
#: The AUC against all unseen rows decides nothing where there are matched pairs.
_COMPARED = ("matched rows", "AUC, unmatched", "95 % interval")
_NEARER = ("nearer to", "p")
#: Titles of the tables of language models' memorisation.
_OF_METHODS = (
    "on the forgotten rows (utility, and perplexity of generic text, relative to the original):"
)
_OF_ROWS = "memorisation of the final model, on forgotten rows and on unseen rows:"
#: Columns of words.
_LEFT = {"attack", "method", "label", "verdict", "stopped by", "rows", "nearer to"}

#: The width of the columns of the table of attacks: whichever there are, it looks the same.
_ATTACK, _INTERVAL = 17, 14


def describe(shown: Shown) -> str:
    """Return what `unlearn verify` prints."""
    report, utility = shown.report, shown.report.utility
    lines = [f"verdict: {shown.verdict}"]
    lines += [f"  {reason}" for reason in shown.reasons]
    if report.kind == "posthoc":
        lines.append(f"deployed: {report.deploy}, {report.label}")
        first = {report.deploy: 2, YOUNG: 1, "retrain": 0}
        order = sorted(report.methods, key=lambda name: first.get(name, len(first)))
        methods = {name: report.methods[name] for name in order}
        lines += _methods(methods, shown.seconds) if shown.figures else _verdicts(methods)
        lines += _knowledge(knowledge_tables.of_methods(methods, report.original), _OF_METHODS)
        lines.append(f"exactness: {_of_one_model(report)}")
    else:
        lines.append(f"exactness: {_of_shards(report)}")
        constant = sorted(report.exactness.constant.items())
        lines += [f"  {shard} has a constant model: {reason}" for shard, reason in constant]
    lines += _membership(report)
    if report.kind == "exact":
        lines += _knowledge(knowledge_tables.of_rows(report.language), _OF_ROWS)
    if not shown.figures:
        lines.append(f"figures: {_NO_FIGURES[shown.public]}")
    elif (quality := _utility(utility)) is None:
        few = f"{_count(utility.rows)} held-out rows are too few" if utility.rows else "no rows"
        lines.append(f"utility: {few} to measure it on")
    else:
        lines.append(f"utility: {quality} on {_count(utility.rows)} held-out rows")
    if utility.language is not None:
        lines.append(f"  {knowledge_tables.in_words(utility.language)}")
    if report.covers is not None and report.covers not in shown.reasons:
        lines.append(f"covers: {report.covers}")
    lines += [f"seal: {_SEALS[shown.seal]}", f"models: {_models(shown.models)}"]
    if shown.change is not None:
        lines += _change(shown.before, shown.change)
    return "\n".join(lines)


_NO_FIGURES = {
    False: "not on this machine; `dvc pull reports/verify.json` fetches them, with access "
    "to the DVC remote",
    True: "left out (--public)",
}

_SEALS: dict[SealState, str] = {
    "valid": "that of the project key",
    "missing": "there is none",
    "wrong": "not that of the project key",
    "unchecked": "not checked, the project key is not on this machine",
}


def _models(found: ModelsFound) -> str:
    """Say how the models on disk compare with dvc.lock."""
    if not found.same and not found.different:
        return "not checked, they are not on this machine"
    said = f"{len(found.same)} of {len(found.same) + len(found.different)} are those in dvc.lock"
    if found.absent:
        said += f"; not checked, not on this machine: {names(list(found.absent))}"
    return said


def _verdicts(methods: Mapping[str, MethodResult]) -> list[str]:
    """Return the verdicts on all methods, where there are no figures."""
    lines = ["methods:"]
    for name, found in methods.items():
        lines.append(f"  {name}: {found.verdict}, {found.kind_of_label or _UNKNOWN}")
        lines += [f"    {reason}" for reason in found.reasons]
    return lines


def _of_shards(report: Report) -> str:
    found = report.exactness
    again = "retrained shards" if found.trees is None else "refitted trees"
    return (
        f"{_count(found.matched)} of {_count(found.reran)} {again} matched, "
        f"lineage {'clean' if found.lineage_clean else 'not clean'}"
    )


def _of_one_model(report: Report) -> str:
    """Say what the checks of the deployed model found, in a project without shards."""
    found = report.exactness
    if report.label != "exact":
        if found.problems:
            return f"none is claimed; checks that found a difference: {found.problems}"
        return "none is claimed; the checks agree"
    if not found.reran:
        checked = "the deployed model was not retrained as a check"
    elif found.matched == found.reran:
        checked = "the deployed model was retrained: the same numbers"
    else:
        checked = "the deployed model was retrained: other numbers"
    return f"{checked}, lineage {'clean' if found.lineage_clean else 'not clean'}"


def _methods(methods: Mapping[str, MethodResult], seconds: Mapping[str, float]) -> list[str]:
    """Return the tables of all methods, and why some failed or do not apply."""
    made = {name: found for name, found in methods.items() if found.verdict != "not applicable"}
    matched = any(_matched(found) is not None for found in made.values())
    lines = ["methods:"]
    heads = (*_METHODS, *(_MATCHED if matched else _UNSEEN))
    lines += table(heads, [_quality(*each, matched=matched) for each in methods.items()], _LEFT)
    costs = [_cost(name, found, seconds.get(name)) for name, found in made.items()]
    lines += table(_COSTS, costs, _LEFT)
    compared = [_compared(*each, matched=matched) for each in made.items()]
    if any(set(cells[1:]) != {_UNKNOWN} for cells in compared):
        heads = ("method", *(_COMPARED if matched else ()), *_NEARER)
        lines += table(heads, compared, _LEFT)
    for name, found in methods.items():
        if found.verdict in {"fail", "not applicable"}:
            lines.append(f"  {name}: {found.verdict}")
            lines += [f"    {reason}" for reason in found.reasons]
    return lines


def _quality(name: str, found: MethodResult, *, matched: bool) -> list[str]:
    membership = found.membership or Membership()
    return [
        name,
        # A certificate's numbers would widen the column; its reasons and --json have them.
        found.kind_of_label or _UNKNOWN,
        found.verdict,
        *(_in_units(value, found) for value in found.quality),
        *(_difference(found) if matched else (_number(membership.auc), _interval(membership.ci))),
    ]


def _in_units(value: float | None, found: MethodResult) -> str:
    """Return a share; or of a regression an error or a distance, in the target's units."""
    return formatting.amount(value) if found.is_of_numbers and value is not None else _number(value)


def _matched(found: MethodResult) -> MatchedResult | None:
    """Return what the attack finds on matched pairs; where there are any, this decides."""
    return (found.membership or Membership()).matched


def _difference(found: MethodResult) -> list[str]:
    """Return the AUC on matched pairs less the retrained model's, and its interval."""
    difference = (_matched(found) or MatchedResult()).difference
    low, high = difference.ci or (None, None)
    return [
        _UNKNOWN if difference.auc is None else f"{difference.auc:+.3f}",
        _UNKNOWN if low is None or high is None else f"{low:+.3f} to {high:+.3f}",
    ]


def _compared(name: str, found: MethodResult, *, matched: bool) -> list[str]:
    """Return matched rows and the AUC that decides nothing, and the relative test."""
    cells = [name]
    if matched:
        membership, pairs = found.membership or Membership(), _matched(found)
        rows = _UNKNOWN if pairs is None else f"{pairs.matched_rows} of {pairs.rows}"
        cells += [rows, _number(membership.auc), _interval(membership.ci)]
    relative = found.relative
    if relative is None:
        return [*cells, _UNKNOWN, _UNKNOWN]
    return [*cells, relative.nearer or _UNKNOWN, _number(relative.strongest)]


def _cost(name: str, found: MethodResult, seconds: float | None) -> list[str]:
    stopped = found.stopped_by or _UNKNOWN
    return [
        name,
        _in_units(found.distances[0], found),
        _number(found.relearning_ratio, 2),
        _number(seconds, 2),
        _number(found.passes.get("forget"), 1),
        _number(found.passes.get("retain"), 1),
        f"{stopped}, rolled back" if found.rolled_back else stopped,
    ]


def _knowledge(found: list[tuple[str, ...]], title: str) -> list[str]:
    """Return a table of what language models know under its title; nothing without rows."""
    if not found:
        return []
    head, *rows = found
    return [title, *table(head, [list(cells) for cells in rows], _LEFT)]


def _utility(utility: Utility) -> str | None:
    """Say what a model is worth; None if it was not measured."""
    if utility.mean_absolute_error is not None:
        quality = {
            "mean absolute error": utility.mean_absolute_error,
            "root mean squared error": utility.root_mean_squared_error,
            "R squared": utility.r_squared,
            "pinball loss": utility.pinball_loss,
        }
        return ", ".join(
            f"{name} {value:,.5g}" for name, value in quality.items() if value is not None
        )
    if utility.accuracy is None:
        return None
    loss = utility.log_loss
    losses = "no log loss, the answers are votes" if loss is None else f"log loss {loss:.3f}"
    return f"accuracy {_number(utility.accuracy)}, {losses}"


def _membership(report: Report) -> list[str]:
    found = report.membership
    if found is None:
        return ["membership: no forgotten rows"]
    lines = [f"membership: {found.verdict}"]
    lines += [f"  {reason}" for reason in found.reasons]
    if found.auc is None:
        return lines
    # Without shards there is the deployed model alone.
    one_model = report.kind == "posthoc"
    head = ["attack", "AUC", "95 % interval"]
    head += ["in the model"] if one_model else ["in the models", "deployed"]
    rows = []
    for name in [attack.name for attack in registered() if attack.name in found.attacks]:
        entry = found.attacks[name]
        interval = _interval(entry.ci).rjust(_INTERVAL)
        cells = [name.ljust(_ATTACK), _number(entry.auc), interval, _number(entry.control.auc)]
        if not one_model:
            deployed = found.final_model.attacks.get(name, AttackResult())
            cells.append(_number(deployed.auc))
        rows.append(cells)
    lines += table(head, rows, _LEFT)
    lines.append(
        f"  {_count(found.forget_rows)} forgotten rows, {_count(found.holdout_rows)} non-members; "
        f"this number distinguishes an AUC of {_number(found.detectable_auc)} from .5"
    )
    return lines


def _number(value: float | None, digits: int = 3) -> str:
    return _UNKNOWN if value is None else f"{value:.{digits}f}"


def _measure(name: str, value: float | None) -> str:
    """Return a measure: an error of numbers is in their units, and others are from 0 to 1."""
    if value is None or name not in NUMBER_MEASURES:
        return _number(value)
    return f"{value:,.5g}"


def _count(value: int | None) -> str:
    return _UNKNOWN if value is None else f"{value:,}"


def _interval(value: tuple[float, float] | None) -> str:
    return _UNKNOWN if value is None else f"{value[0]:.3f} to {value[1]:.3f}"


def _change(before: str | None, change: UtilityChange) -> list[str]:
    lines = [f"since {before}:"]
    lines += [
        f"  {name.replace('_', ' ')} {_measure(name, old)} -> {_measure(name, new)}"
        for name, (old, new) in change.utility.items()
    ]
    lines += [f"  {sentence}" for sentence in change.classes]
    return lines
