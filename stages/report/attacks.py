"""What the attacks on the forgotten records found, as the page shows it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup
from unlearn.stages.report import formatting as words
from unlearn.stages.report import pictures
from unlearn.stages.report.contents import Contents
from unlearn.stages.report.methods import REFERENCE, is_posthoc

_ATTACKS = {
    "lira": "LiRA",
    "rmia": "RMIA",
    "confidence": "Confidence",
    "loss": "Loss",
    "entropy": "Entropy",
    "modified_entropy": "Modified entropy",
    "zlib": "Loss by zlib",
    "min_k": "Min-K%",
    "min_k_plus_plus": "Min-K%++",
}
_MODELS = {"shard_models": "The shard models", "final_model": "The final model"}
#: Without shards the deployed model is all there is, and stands under both names.
_MODEL = {"shard_models": "The deployed model"}
_SAMPLES = {
    "forgotten": "forgotten records",
    "control": "records in the model (positive control)",
    "members": "records in the model",
    "non_members": "records never seen",
}


@dataclass(frozen=True)
class AttackRow:
    """An attack's line in the table of forgotten records; no cells if it was not made."""

    name: str
    decides: bool
    auc: words.Measured | None
    low: words.Measured | None = None
    lower: words.Measured | None = None
    balanced: str = words.MISSING
    detectable: str = words.MISSING


@dataclass(frozen=True)
class ControlRow:
    """An attack's line in the table of controls."""

    name: str
    decides: bool
    positive: words.Measured
    negative: words.Measured


@dataclass(frozen=True)
class ModelTables:
    """The attacks on the shard models, or on the final model."""

    name: str
    attacks: tuple[AttackRow, ...]
    controls: tuple[ControlRow, ...]


@dataclass(frozen=True)
class Figure:
    """A picture with the sentence that it shows, and the kinds in it."""

    title: str
    model: str
    picture: Markup
    legend: tuple[tuple[Markup, str], ...]


@dataclass(frozen=True)
class MembershipView:
    """All that the attacks found; `why_not` says in words why there is nothing, if so."""

    headline: str
    beside: str | None
    reasons: tuple[str, ...]
    why_not: str | None
    sizes: str
    tables: tuple[ModelTables, ...]
    roc: tuple[Figure, ...]
    scores: tuple[Figure, ...]
    no_plots: str | None
    canaries: tuple[tuple[str, str], ...]
    is_posthoc: bool = False


def membership(contents: Contents) -> MembershipView:
    """Return what the attacks on the forgotten records found."""
    found = words.entry(contents.report, "membership")
    canaries = _canaries(words.entry(contents.report, "canaries"))
    if not found:
        headline = "No forgotten record is left to ask about."
        return replace(_nothing_found(headline, _NOBODY_LEFT), canaries=canaries)
    models = _models_of(contents)
    attacks = {"shard_models": found, "final_model": found.get("final_model")}
    tables = [
        tables
        for name, said in models.items()
        if (tables := _tables(name, said, words.entry(attacks[name], "attacks"), found))
    ]
    if not tables and words.number(found.get("auc")) is not None:
        # A report from before there were several attacks: one number.
        name = deciding_attack(found)
        tables = [ModelTables([*models.values()][-1], (_attack_row(name, found, name),), ())]
    forgotten, others = found.get("forget_rows"), found.get("holdout_rows")
    sizes = _sizes(forgotten, others)
    if not tables:
        headline = "There are no membership numbers."
        why = f"{sizes} {_why_no_numbers(contents, forgotten)}"
        return replace(_nothing_found(headline, why, _reasons(found)), canaries=canaries)
    roc, scores = _roc_figures(contents, found), _score_figures(contents, found)
    return MembershipView(
        headline=_membership_headline(contents.report, found),
        beside=_beside(contents.report, found),
        reasons=_reasons(found),
        why_not=None,
        sizes=sizes,
        tables=tuple(tables),
        roc=roc,
        scores=scores,
        no_plots=None if roc or scores else _NO_PLOTS,
        canaries=canaries,
        is_posthoc=is_posthoc(contents.report),
    )


def _models_of(contents: Contents) -> dict[str, str]:
    return _MODEL if is_posthoc(contents.report) else _MODELS


_NOBODY_LEFT = (
    "Either nobody asked to be forgotten, or their rows have been dropped from the dataset since. "
    "The verdict rests on exactness."
)
_NO_PLOTS = (
    "The curves and score histograms are not here: reports/roc.csv and reports/scores.csv are "
    "made by a run and kept out of git, or the sample was too small for a picture."
)


def _reasons(found: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(reason) for reason in words.items(found.get("reasons")))


def _nothing_found(headline: str, why: str, reasons: tuple[str, ...] = ()) -> MembershipView:
    return MembershipView(headline, None, reasons, why, "", (), (), (), None, ())


def _sizes(forgotten: object, others: object) -> str:
    if words.number(forgotten) is None or words.number(others) is None:
        return "The report does not say how many records were asked about."
    return f"{words.count(forgotten)} forgotten and {words.count(others)} unseen records."


def _why_no_numbers(contents: Contents, forgotten: object) -> str:
    rows = words.number(forgotten)
    if rows is not None and contents.min_rows is not None and rows < contents.min_rows:
        return (
            f"Fewer than {contents.min_rows} forgotten records are a person, not a statistic, so "
            "nothing is published about them but their number."
        )
    return (
        "No attack gave a number. The sample is too small, or the models answer with votes and "
        "not with probabilities."
    )


def deciding_attack(found: Mapping[str, Any]) -> str:
    """Return the attack that decides; older reports knew one only."""
    return str(found.get("attack") or "confidence")


def attack_name(name: str) -> str:
    """Return an attack's name as a person knows it."""
    return _ATTACKS.get(name) or words.plain(name, 40)


def _beside(report: Mapping[str, Any], found: Mapping[str, Any]) -> str | None:
    """Return how attacks that do not settle it go together with a verdict that does."""
    settled = report.get("label") == "exact" and report.get("verdict") == "pass"
    if not settled or found.get("verdict") in {"pass", None}:
        return None
    return (
        "The verdict above rests on exactness: equal models answer equally, whatever an attack can "
        "tell. What the attacks found stands beside it."
    )


def _membership_headline(report: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    auc = words.number(found.get("auc"))
    name = attack_name(deciding_attack(found))
    if auc is None:
        return f"{name}, the attack that decides, gave no number."
    span = words.interval(found.get("ci"))
    said = f"AUC {auc:.3f}" + (f", 95% interval {words.between(span)}" if span else "")
    outcome = found.get("verdict")
    retrained = words.entry(report, "methods", REFERENCE, "membership")
    reference = words.number(retrained.get("auc"))
    if reference is not None and report.get("deploy") != REFERENCE:
        return _beside_retrained(
            name, outcome, f"{said}; {reference:.3f} on the model that was trained anew"
        )
    if outcome == "fail":
        return f"Forgotten records can be told from unseen ones ({said})."
    if outcome == "inconclusive":
        return f"The attack alone does not settle it ({said})."
    if outcome == "pass":
        return f"{name} tells forgotten records from unseen ones no better than guessing ({said})."
    return f"{name} on the forgotten records: {said}."


def _beside_retrained(name: str, outcome: object, said: str) -> str:
    """Return what an attack found that is judged by what it finds on the retrained model."""
    if outcome == "fail":
        return f"Forgotten records are answered otherwise than by a model without them ({said})."
    if outcome == "pass":
        return f"{name} finds no more than on a model without the forgotten records ({said})."
    return f"The attack does not settle it ({said})."


def _ordered(attacks: Mapping[str, Any], deciding: str) -> list[str]:
    """Return the attacks by name: the one that decides, those known, then any others."""
    known = [deciding, *(name for name in _ATTACKS if name != deciding)]
    return [name for name in known if name in attacks] + sorted(attacks.keys() - set(known))


def _tables(
    model: str, said: str, attacks: Mapping[str, Any], found: Mapping[str, Any]
) -> ModelTables | None:
    """Return a model's tables; None where none of its attacks gave a number."""
    deciding = deciding_attack(found)
    names = _ordered(attacks, deciding)
    entries = {name: words.entry(attacks, name) for name in names}
    if all(_is_empty(found) for found in entries.values()):
        return None
    # The verdict is on the shard models: the worst case.
    decides = deciding if model == "shard_models" else ""
    controls = [
        ControlRow(
            attack_name(name),
            name == decides,
            _auc(words.entry(found, "control"), "control"),
            _auc(words.entry(found, "negative_control"), "non_members"),
        )
        for name, found in entries.items()
        if words.entry(found, "control") or words.entry(found, "negative_control")
    ]
    return ModelTables(
        said,
        tuple(_attack_row(name, found, decides) for name, found in entries.items()),
        tuple(controls),
    )


def _is_empty(found: Mapping[str, Any]) -> bool:
    aucs = (found, words.entry(found, "control"), words.entry(found, "negative_control"))
    return all(words.number(one.get("auc")) is None for one in aucs)


def _attack_row(name: str, found: Mapping[str, Any], deciding: str) -> AttackRow:
    if words.number(found.get("auc")) is None:
        return AttackRow(attack_name(name), name == deciding, None)

    def rate(key: str) -> words.Measured:
        return words.Measured(
            words.percent(found.get(key)), words.between_shares(found.get(f"{key}_ci"))
        )

    return AttackRow(
        name=attack_name(name),
        decides=name == deciding,
        auc=_auc(found, "forgotten"),
        low=rate("tpr_at_fpr_1pct"),
        lower=rate("tpr_at_fpr_0_1pct"),
        balanced=words.percent(found.get("balanced_accuracy")),
        detectable=words.decimal(found.get("detectable_auc")),
    )


def _auc(found: Mapping[str, Any], kind: str) -> words.Measured:
    value = words.number(found.get("auc"))
    if value is None:
        return words.Measured(words.MISSING, None)
    ends = words.interval(found.get("ci"))
    picture = pictures.on_a_scale(value, ends, 0.5, kind)
    return words.Measured(words.decimal(value), words.between(ends), picture)


def _canaries(found: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    if all(value is None for value in found.values()):
        return ()
    span = words.between(found.get("ci"))
    return (
        ("Planted, mislabelled on purpose", words.count(found.get("count"))),
        ("Of these in the training data, by a fair coin", words.count(found.get("members"))),
        ("Attack", attack_name(str(found.get("attack") or words.MISSING))),
        (
            "AUC, in against left out",
            words.decimal(found.get("auc")) + (f", 95% interval {span}" if span else ""),
        ),
        (
            "Guesses right",
            words.out_of(found.get("correct"), found.get("guesses")),
        ),
        (
            "Lower bound on epsilon (Steinke et al. 2023)",
            words.decimal(found.get("epsilon_lower_bound")),
        ),
    )


def _legend(kinds: Sequence[str]) -> tuple[tuple[Markup, str], ...]:
    return tuple((pictures.swatch(kind), _SAMPLES[kind]) for kind in kinds)


def _roc_figures(contents: Contents, found: Mapping[str, Any]) -> tuple[Figure, ...]:
    deciding = deciding_attack(found)
    curves: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for point in contents.roc:
        if point.attack == deciding:
            curves[point.model, point.sample].append((point.fpr, point.tpr))
    non_members = words.number(found.get("holdout_rows"))
    figures = []
    for model, name in _models_of(contents).items():
        kinds = [kind for kind in ("control", "forgotten") if (model, kind) in curves]
        if not kinds:
            continue
        rates = {kind: _rate_at(curves[model, kind], 0.01) for kind in kinds}
        # The grid of the curve need not hold 1 %; the report's own number is the better one.
        said = found if model == "shard_models" else words.entry(found, model)
        exact = words.number(words.entry(said, "attacks", deciding).get("tpr_at_fpr_1pct"))
        forgotten = rates.get("forgotten") if exact is None else exact
        title = _roc_title(forgotten, rates.get("control"))
        drawn = [pictures.Curve(kind, curves[model, kind]) for kind in kinds]
        picture = pictures.roc(drawn, int(non_members) if non_members else None, title)
        figures.append(
            Figure(
                title,
                f"{name}, {attack_name(deciding)}",
                picture,
                (*_legend(kinds[::-1]), (pictures.swatch("chance-line"), "guessing")),
            )
        )
    return tuple(figures)


def _rate_at(curve: Sequence[tuple[float, float]], fpr: float) -> float:
    """Return the true positive rate at a false positive rate that the grid need not hold."""
    return max((tpr for x, tpr in curve if x <= fpr * (1 + 1e-9)), default=0.0)


def _roc_title(forgotten: float | None, control: float | None) -> str:
    if forgotten is None:
        return f"At 1% false alarms, it finds {words.percent(control)} of the records in the model"
    said = f"At 1% false alarms, it finds {words.percent(forgotten)} of the forgotten records"
    if control is not None:
        said += f", and {words.percent(control)} of those in the model"
    return said


def _score_figures(contents: Contents, found: Mapping[str, Any]) -> tuple[Figure, ...]:
    deciding = deciding_attack(found)
    bins: dict[tuple[str, str], list[tuple[float, float, float]]] = defaultdict(list)
    for one in contents.scores:
        if one.attack == deciding:
            bins[one.model, one.sample].append((one.low, one.high, one.share))
    figures = []
    for model, name in _models_of(contents).items():
        kinds = [kind for kind in ("members", "non_members", "forgotten") if (model, kind) in bins]
        if not kinds:
            continue
        title = _scores_title({kind: bins[model, kind] for kind in kinds})
        drawn = [pictures.Histogram(kind, bins[model, kind]) for kind in kinds]
        figures.append(
            Figure(
                title,
                f"{name}, {attack_name(deciding)}",
                pictures.histograms(drawn, title),
                _legend(kinds[::-1]),
            )
        )
    return tuple(figures)


def _scores_title(bins: Mapping[str, Sequence[tuple[float, float, float]]]) -> str:
    if "forgotten" not in bins or "non_members" not in bins:
        return "Scores of the records that were asked"
    unseen = _overlap(bins["forgotten"], bins["non_members"])
    said = f"Scores of forgotten records overlap {unseen:.0%} with those of unseen ones"
    if "members" in bins:
        members = _overlap(bins["forgotten"], bins["members"])
        said += f", {members:.0%} with those in the model"
    return said


def _overlap(
    one: Sequence[tuple[float, float, float]], other: Sequence[tuple[float, float, float]]
) -> float:
    """Return the shared area of two histograms on the same bins, from 0 to 1."""
    shares = {(low, high): share for low, high, share in other}
    return min(1.0, sum(min(share, shares.get((low, high), 0.0)) for low, high, share in one))
