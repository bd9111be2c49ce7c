"""Post-hoc methods beside each other, and what the label of the deployed one means."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from unlearn.stages.report import formatting as words
from unlearn.stages.report import pictures
from unlearn.stages.report.contents import Contents

#: The method that the others are held against.
REFERENCE = "retrain"

_APPROXIMATE = (
    "the original was changed until it answers like a model without the forgotten records, as far "
    "as this was measured. It was not trained anew, and nothing proves that no trace of them is "
    "left: this is no deletion."
)
_MEANINGS = {
    "exact": (
        "the model was trained from nothing on the records that stay. It is as if the forgotten "
        "ones had never been there."
    ),
    "approximate": _APPROXIMATE,
}
_CERTIFIED = re.compile(r"certified\(epsilon=([0-9.e+-]{1,12}), delta=([0-9.e+-]{1,12})\)")

_STOPPED = {
    "done": "took its one step",
    "epochs": "took all its epochs",
    "forget_target": "stopped: forgotten as far as unseen records are",
    "forgetting": "stopped: more would have undone the forgetting",
    "retain_budget": "stopped: it cost more accuracy than the budget allows",
    "perplexity": "stopped: text about nobody became too unlikely",
    "repetition": "stopped: what it says went in circles",
    "not_finite": "stopped: its numbers were no longer finite",
    "gradient": "stopped: its gradient exploded",
    "unguarded": "ran without a guard",
    "trained": "trained anew",
    "nothing_to_forget": "had nothing to forget",
}
_VERDICTS = ("pass", "fail", "inconclusive", "not applicable")


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
    auc: words.Measured | None
    has_model: bool
    apart: str
    apart_forgotten: str
    relearning: str
    passes: str
    seconds: words.Measured
    stopped: str


@dataclass(frozen=True)
class MethodsView:
    """All methods: tables, a picture, and why each has its verdict."""

    headline: str
    rows: tuple[MethodRow, ...]
    picture: Markup | None
    caption: str
    no_picture: str
    legend: tuple[tuple[Markup, str], ...]
    reasons: tuple[tuple[str, str, tuple[str, ...]], ...]
    has_reference: bool
    has_seconds: bool


def is_posthoc(report: Mapping[str, Any]) -> bool:
    """Tell whether a report is on one model without shards, and on methods that were applied."""
    return bool(words.entry(report, "methods"))


def kind_of(label: object) -> str:
    """Return `exact`, `certified` or `approximate`; what is none of them claims nothing."""
    said = str(label)
    if said == "exact":
        return "exact"
    is_certified = said == "certified" or _CERTIFIED.fullmatch(said) is not None
    return "certified" if is_certified else "approximate"


def meaning_of(label: object) -> str:
    """Return what a label promises, in plain words and as the end of a sentence."""
    kind = kind_of(label)
    if kind != "certified":
        return _MEANINGS[kind]
    epsilon, delta = guarantee_of(label)
    if epsilon is None or delta is None:
        return (
            "the method gives a guarantee where it applies, but the report does not say which. "
            "Count it as approximate."
        )
    # Above that, the factor says nothing to a reader.
    factor = f"{math.exp(epsilon):,.3g}" if epsilon < 20 else "any number of"  # noqa: PLR2004 - e^20
    return (
        "a proof bounds what the forgotten records can still matter. Whatever someone looks for in "
        f"this model is at most {factor} times as likely as in one trained without them, and the "
        f"other way round (epsilon {epsilon:g}), but for a chance of {delta:g} (delta). The proof "
        "covers the whole forget list; traces within the bound may be left."
    )


def guarantee_of(label: object) -> tuple[float | None, float | None]:
    """Return epsilon and delta of a certified label; None where it does not hold them."""
    found = _CERTIFIED.fullmatch(str(label))
    try:
        values = [float(value) for value in found.groups()] if found else []
    except ValueError:
        values = []
    if not all(math.isfinite(value) and value >= 0 for value in values) or not values:
        return None, None
    return values[0], values[1]


def label_in_words(label: object) -> str:
    """Return a label as a reader knows it; the kind alone where its numbers are not readable."""
    epsilon, delta = guarantee_of(label)
    if epsilon is None or delta is None:
        return kind_of(label)
    return f"certified, epsilon {epsilon:g}, delta {delta:g}"


def deployed(contents: Contents) -> Deployed | None:
    """Return the deployed method and what its label means; None in a project of shards."""
    report = contents.report
    if not is_posthoc(report):
        return None
    label = report.get("label")
    name = words.plain(report.get("deploy"), 40)
    return Deployed(name, label_in_words(label), meaning_of(label))


def methods(contents: Contents) -> MethodsView | None:
    """Return the comparison of all methods; None in a project of shards."""
    found = words.entry(contents.report, "methods")
    if not found:
        return None
    first = {REFERENCE: 0, str(contents.report.get("deploy")): 1}
    entries = {
        name: words.entry(found, name)
        for name in sorted(found, key=lambda name: (first.get(name, 2), name))
    }
    rows = tuple(_row(contents, name, entries) for name in entries)
    picture, caption = _picture(contents, entries)
    few = contents.min_rows
    return MethodsView(
        headline=_headline(contents, entries),
        rows=rows,
        picture=picture,
        caption=caption,
        no_picture=(
            "There is no picture: forgotten or held-out records are too few to be counted"
            + (f" (under {few})." if few else ".")
        ),
        legend=(
            (pictures.dot("other", is_target=True), "trained anew: the target"),
            (pictures.dot("deployed"), "deployed"),
            (pictures.dot("other"), "not deployed"),
        ),
        reasons=tuple(
            (words.plain(name, 40), _verdict_of(entry), _reasons(entry))
            for name, entry in entries.items()
        ),
        has_reference=REFERENCE in entries and _has_model(entries[REFERENCE]),
        has_seconds=any(name in contents.seconds for name in entries),
    )


def _headline(contents: Contents, entries: Mapping[str, Mapping[str, Any]]) -> str:
    deployed = contents.report.get("deploy")
    name = words.plain(deployed, 40)
    others = [_verdict_of(entry) for method, entry in entries.items() if method != deployed]
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


def _verdict_of(entry: Mapping[str, Any]) -> str:
    said = entry.get("verdict")
    return said if said in _VERDICTS else "inconclusive"


def _has_model(entry: Mapping[str, Any]) -> bool:
    return any(
        words.number(entry.get(key)) is not None
        for key in ("holdout_accuracy", "retain_accuracy", "forget_accuracy")
    )


def _row(contents: Contents, name: str, entries: Mapping[str, Mapping[str, Any]]) -> MethodRow:
    entry = entries[name]
    verdict = _verdict_of(entry)
    reference = words.number(
        words.entry(entries.get(REFERENCE, {}), "membership").get("auc"),
    )
    own = "this is it" if name == REFERENCE else words.MISSING
    return MethodRow(
        name=words.plain(name, 40),
        deployed=name == contents.report.get("deploy"),
        label=label_in_words(entry.get("label")),
        verdict=verdict,
        tone=verdict if verdict in {"pass", "fail", "inconclusive"} else "",
        forget=words.percent(entry.get("forget_accuracy")),
        retain=words.percent(entry.get("retain_accuracy")),
        holdout=words.percent(entry.get("holdout_accuracy")),
        auc=_auc(words.entry(entry, "membership"), reference),
        has_model=verdict != "not applicable",
        apart=_or(entry.get("disagreement_with_retrain"), words.percent, own),
        apart_forgotten=_or(entry.get("disagreement_on_forgotten"), words.percent, own),
        relearning=_or(entry.get("relearning_ratio"), lambda value: f"{value:.2f}", own),
        passes=_passes(words.entry(entry, "passes")),
        seconds=_seconds(contents, name),
        stopped=_stopped(entry),
    )


def _or(value: object, said: Any, otherwise: str) -> str:
    found = words.number(value)
    return otherwise if found is None else str(said(found))


def _auc(found: Mapping[str, Any], reference: float | None) -> words.Measured:
    value = words.number(found.get("auc"))
    if value is None:
        return words.Measured(words.MISSING, None)
    ends = words.interval(found.get("ci"))
    picture = pictures.on_a_scale(value, ends, reference, "forgotten")
    return words.Measured(words.decimal(value), words.between(ends), picture)


def _passes(found: Mapping[str, Any]) -> str:
    forget, retain = (words.number(found.get(side)) for side in ("forget", "retain"))
    if forget is None or retain is None:
        return words.MISSING
    return f"{_times(forget)} / {_times(retain)}"


def _times(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.2g}"  # noqa: PLR2004 - two digits


def _seconds(contents: Contents, name: str) -> words.Measured:
    value = words.number(contents.seconds.get(name))
    if value is None:
        return words.Measured("not known", None)
    longest = max(words.number(other) or 0.0 for other in contents.seconds.values()) or 1.0
    reference = words.number(contents.seconds.get(REFERENCE))
    share = f"{value / reference:.0%} of training anew" if reference and name != REFERENCE else None
    kind = "non_members" if name == REFERENCE else "forgotten"
    return words.Measured(words.duration(value), share, pictures.bar(value / longest, kind))


def _stopped(entry: Mapping[str, Any]) -> str:
    reason = entry.get("stopped_by")
    if not isinstance(reason, str):
        return words.MISSING
    said = _STOPPED.get(reason) or words.plain(reason, 40)
    return f"{said}; then back to its best state" if entry.get("rolled_back") is True else said


def _reasons(entry: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(reason) for reason in words.items(entry.get("reasons")))


def _picture(
    contents: Contents, entries: Mapping[str, Mapping[str, Any]]
) -> tuple[Markup | None, str]:
    """Return the picture of forgetting against utility, and what it says; None without numbers."""
    deployed = contents.report.get("deploy")
    points = []
    for name, entry in entries.items():
        forget, holdout = (
            words.number(entry.get(key)) for key in ("forget_accuracy", "holdout_accuracy")
        )
        if forget is None or holdout is None or not (0 <= forget <= 1 and 0 <= holdout <= 1):
            continue
        kind = "deployed" if name == deployed else "other"
        points.append(
            pictures.Point(words.plain(name, 200), kind, forget, holdout, name == REFERENCE)
        )
    if not points:
        return None, ""
    target = next((point for point in points if point.is_target), None)
    caption = "What each method still gets right of the forgotten records, and of unseen ones"
    if target is not None:
        caption = (
            f"Trained anew, the model is right on {words.percent(target.across)} of the forgotten "
            f"records and on {words.percent(target.up)} of unseen ones: the nearer, the better"
        )
    picture = pictures.trade_off(
        points, "accuracy on forgotten records", "accuracy on held-out records", caption
    )
    return picture, caption
