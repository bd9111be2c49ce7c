"""Comparison of post-hoc methods, and the meaning of the deployed one's label."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup
from unlearn.stages.config.methods import YOUNG
from unlearn.stages.report import formatting, pictures
from unlearn.stages.report.contents import Contents
from unlearn.stages.report.retraining import (
    ComparedRow,
    compared_rows,
    is_matched,
    matched_auc,
)
from unlearn.stages.report.trade_off import Point, trade_off
from unlearn.stages.verify_report.membership import Membership
from unlearn.stages.verify_report.methods import MethodResult

#: The method that the others are compared with.
REFERENCE = "retrain"

_APPROXIMATE = (
    "the original was changed so that it answers like a model trained without the forgotten "
    "records, as far as this was measured. It was not retrained, and there is no proof that no "
    "trace of them is left. This is not a deletion."
)
_MEANINGS = {
    "exact": (
        "the model was trained from scratch on the retained records, as if the forgotten ones had "
        "never been in the data."
    ),
    "approximate": _APPROXIMATE,
}
_CERTIFIED = re.compile(r"certified\(epsilon=([0-9.e+-]{1,12}), delta=([0-9.e+-]{1,12})\)")

_STOPPED = {
    "done": "took its single step",
    "epochs": "took all its epochs",
    "young_target": "stopped: reached the loss of a fresh model that never saw the records",
    "forget_target": "stopped: reached the loss of unseen records",
    "forgetting": "stopped: further repair would undo the forgetting",
    "retain_budget": "stopped: it cost more accuracy than the budget allows",
    "perplexity": "stopped: generic text became too unlikely",
    "repetition": "stopped: generated text repeats itself",
    "not_finite": "stopped: values were no longer finite",
    "gradient": "stopped: its gradient exploded",
    "unguarded": "ran without a guard",
    "trained": "retrained",
    "nothing_to_forget": "had nothing to forget",
}


@dataclass(frozen=True)
class Deployed:
    """The method whose model is deployed, and what its label means."""

    name: str
    label: str
    meaning: str


@dataclass(frozen=True)
class MethodRow:
    """A method's line in the tables; no numbers where it made no model."""

    name: str
    deployed: bool
    label: str
    verdict: str
    tone: str
    forget: str
    retain: str
    holdout: str
    auc: formatting.Measured | None
    has_model: bool
    apart: str
    apart_forgotten: str
    relearning: str
    passes: str
    seconds: formatting.Measured
    stopped: str


@dataclass(frozen=True)
class MethodsView:
    """All methods: tables, a picture, and why each has its verdict."""

    headline: str
    rows: tuple[MethodRow, ...]
    compared: tuple[ComparedRow, ...]
    picture: Markup | None
    caption: str
    no_picture: str
    legend: tuple[tuple[Markup, str], ...]
    reasons: tuple[tuple[str, str, tuple[str, ...]], ...]
    has_reference: bool
    has_seconds: bool
    is_matched: bool
    is_of_numbers: bool = False


def kind_of(label: str | None) -> str:
    """Return `exact`, `certified` or `approximate`; what is none of them claims nothing."""
    said = str(label)
    if said == "exact":
        return "exact"
    is_certified = said == "certified" or _CERTIFIED.fullmatch(said) is not None
    return "certified" if is_certified else "approximate"


def meaning_of(label: str | None) -> str:
    """Return what a label promises, in plain words and as the end of a sentence."""
    kind = kind_of(label)
    if kind != "certified":
        return _MEANINGS[kind]
    epsilon, delta = guarantee_of(label)
    if epsilon is None or delta is None:
        return (
            "the method gives a guarantee where it applies, but the report does not state it. "
            "Treat it as approximate."
        )
    # Above that, the factor says nothing to a reader.
    factor = f"{math.exp(epsilon):,.3g}" if epsilon < 20 else "any number of"  # noqa: PLR2004 - e^20
    return (
        "a proof bounds the remaining effect of the forgotten records. The probability of any "
        f"event in this model is at most {factor} times that in a model trained without them, and "
        f"vice versa (epsilon {epsilon:g}), plus {delta:g} (delta). The proof covers the whole "
        "forget list; effects within the bound may remain."
    )


def guarantee_of(label: str | None) -> tuple[float | None, float | None]:
    """Return epsilon and delta of a certified label; None where it does not hold them."""
    found = _CERTIFIED.fullmatch(str(label))
    try:
        values = [float(value) for value in found.groups()] if found else []
    except ValueError:
        values = []
    if not all(math.isfinite(value) and value >= 0 for value in values) or not values:
        return None, None
    return values[0], values[1]


def label_in_words(label: str | None) -> str:
    """Return a label as a reader knows it; the kind alone where its numbers are not readable."""
    epsilon, delta = guarantee_of(label)
    if epsilon is None or delta is None:
        return kind_of(label)
    return f"certified, epsilon {epsilon:g}, delta {delta:g}"


def deployed(contents: Contents) -> Deployed | None:
    """Return the deployed method and what its label means; None in a project of shards."""
    report = contents.report
    if report.kind != "posthoc":
        return None
    name = formatting.plain(report.deploy, 40)
    return Deployed(name, label_in_words(report.label), meaning_of(report.label))


def methods(contents: Contents) -> MethodsView | None:
    """Return the comparison of all methods; None in a project of shards."""
    report = contents.report
    if report.kind != "posthoc":
        return None
    first = {report.deploy: 2, YOUNG: 1, REFERENCE: 0}
    order = sorted(report.methods, key=lambda name: (first.get(name, 3), name))
    entries = {name: report.methods[name] for name in order}
    rows = tuple(_row(contents, name, entries) for name in entries)
    picture, caption = _picture(contents, entries)
    few = contents.min_rows
    is_of_numbers = any(entry.is_of_numbers for entry in entries.values())
    return MethodsView(
        headline=_headline(contents, entries),
        rows=rows,
        compared=compared_rows(entries, REFERENCE),
        picture=picture,
        caption=caption,
        no_picture=(
            "There is no plot of errors: they have no common scale."
            if is_of_numbers
            else "There is no plot: there are too few forgotten or held-out records"
            + (f" (under {few})." if few else ".")
        ),
        legend=(
            (pictures.dot("other", is_target=True), "retrained: the target"),
            (pictures.dot("deployed"), "deployed"),
            (pictures.dot("other"), "not deployed"),
        ),
        reasons=tuple(
            (formatting.plain(name, 40), entry.verdict, entry.reasons)
            for name, entry in entries.items()
        ),
        has_reference=REFERENCE in entries and _has_model(entries[REFERENCE]),
        has_seconds=any(name in contents.seconds for name in entries),
        is_matched=is_matched(entries),
        is_of_numbers=is_of_numbers,
    )


def _headline(contents: Contents, entries: Mapping[str, MethodResult]) -> str:
    deployed = contents.report.deploy
    name = formatting.plain(deployed, 40)
    others = [entry.verdict for method, entry in entries.items() if method != deployed]
    if not others:
        return f"{name} is the only method."
    counted = {
        "pass": ("passes", "pass"),
        "fail": ("fails", "fail"),
        "inconclusive": ("is inconclusive", "are inconclusive"),
        "not applicable": ("does not apply to this model", "do not apply to this model"),
    }
    if len(others) == 1:
        return f"{name} is deployed. The other method {counted[others[0]][0]}."
    said = [
        f"{others.count(verdict)} {forms[others.count(verdict) > 1]}"
        for verdict, forms in counted.items()
        if verdict in others
    ]
    return f"{name} is deployed. Of {len(others)} others, {_listed(said)}."


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _has_model(entry: MethodResult) -> bool:
    return any(value is not None for value in entry.quality)


def _row(contents: Contents, name: str, entries: Mapping[str, MethodResult]) -> MethodRow:
    entry = entries[name]
    retrained = entries[REFERENCE].membership if REFERENCE in entries else None
    own = "this is it" if name == REFERENCE else formatting.MISSING
    apart, apart_forgotten = entry.distances
    forget, retain, holdout = entry.quality
    shown = formatting.amount if entry.is_of_numbers else formatting.percent
    relearning = entry.relearning_ratio
    return MethodRow(
        name=formatting.plain(name, 40),
        deployed=name == contents.report.deploy,
        label=label_in_words(entry.label),
        verdict=entry.verdict,
        tone="" if entry.verdict == "not applicable" else entry.verdict,
        forget=shown(forget),
        retain=shown(retain),
        holdout=shown(holdout),
        auc=(
            matched_auc(entry.membership)
            if is_matched(entries)
            else _auc(entry.membership, None if retrained is None else retrained.auc)
        ),
        has_model=entry.verdict != "not applicable",
        apart=own if apart is None else shown(apart),
        apart_forgotten=own if apart_forgotten is None else shown(apart_forgotten),
        relearning=own if relearning is None else f"{relearning:.2f}",
        passes=_passes(entry.passes),
        seconds=_seconds(contents, name),
        stopped=_stopped(entry),
    )


def _auc(found: Membership | None, reference: float | None) -> formatting.Measured:
    if found is None or found.auc is None:
        return formatting.Measured(formatting.MISSING, None)
    picture = pictures.on_a_scale(found.auc, found.ci, reference, "forgotten")
    return formatting.Measured(formatting.decimal(found.auc), formatting.between(found.ci), picture)


def _passes(found: Mapping[str, float]) -> str:
    if not found.keys() >= {"forget", "retain"}:
        return formatting.MISSING
    return f"{_times(found['forget'])} / {_times(found['retain'])}"


def _times(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.2g}"  # noqa: PLR2004 - two digits


def _seconds(contents: Contents, name: str) -> formatting.Measured:
    value = formatting.number(contents.seconds.get(name))
    if value is None:
        return formatting.Measured("not known", None)
    longest = max(formatting.number(other) or 0.0 for other in contents.seconds.values()) or 1.0
    reference = formatting.number(contents.seconds.get(REFERENCE))
    share = f"{value / reference:.0%} of retraining" if reference and name != REFERENCE else None
    kind = "non_members" if name == REFERENCE else "forgotten"
    return formatting.Measured(
        formatting.duration(value), share, pictures.bar(value / longest, kind)
    )


def _stopped(entry: MethodResult) -> str:
    if entry.stopped_by is None:
        return formatting.MISSING
    reason = _STOPPED.get(entry.stopped_by) or formatting.plain(entry.stopped_by, 40)
    return f"{reason}; then restored its best state" if entry.rolled_back else reason


def _picture(contents: Contents, entries: Mapping[str, MethodResult]) -> tuple[Markup | None, str]:
    """Return the picture of forgetting against utility, and what it says; None without numbers."""
    deployed = contents.report.deploy
    points = []
    for name, entry in entries.items():
        forget, holdout = entry.forget_accuracy, entry.holdout_accuracy
        if forget is None or holdout is None or not (0 <= forget <= 1 and 0 <= holdout <= 1):
            continue
        kind = "deployed" if name == deployed else "other"
        points.append(Point(formatting.plain(name, 200), kind, forget, holdout, name == REFERENCE))
    if not points:
        return None, ""
    target = next((point for point in points if point.is_target), None)
    caption = "Accuracy of each method on the forgotten records, and on unseen ones"
    if target is not None:
        caption = (
            f"The retrained model is right on {formatting.percent(target.across)} of the "
            f"forgotten records and on {formatting.percent(target.up)} of unseen ones: nearer is "
            "better"
        )
    picture = trade_off(
        points, "accuracy on forgotten records", "accuracy on held-out records", caption
    )
    return picture, caption
