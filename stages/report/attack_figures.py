"""The curves and histograms of the deciding attack, each with the sentence that it shows."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup
from unlearn.stages.report import charts, formatting, pictures
from unlearn.stages.report.attack_names import attack_name, deciding_attack, models_of
from unlearn.stages.report.contents import Contents
from unlearn.stages.verify_report.membership import Membership

_SAMPLES = {
    "forgotten": "forgotten records",
    "control": "records in the model (positive control)",
    "members": "records in the model",
    "non_members": "unseen records",
}


@dataclass(frozen=True)
class Figure:
    """A picture with the sentence that it shows, and the kinds in it."""

    title: str
    model: str
    picture: Markup
    legend: tuple[tuple[Markup, str], ...]


def roc_figures(contents: Contents, found: Membership) -> tuple[Figure, ...]:
    """Return the deciding attack's ROC curves, one picture a model.

    Parameters
    ----------
    contents
        What the page is made from.
    found
        What the attacks found.
    """
    deciding = deciding_attack(found)
    curves: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for point in contents.roc:
        if point.attack == deciding:
            curves[point.model, point.sample].append((point.fpr, point.tpr))
    attacks = {"shard_models": found.attacks, "final_model": found.final_model.attacks}
    figures = []
    for model, name in models_of(contents.report).items():
        kinds = [kind for kind in ("control", "forgotten") if (model, kind) in curves]
        if not kinds:
            continue
        rates = {kind: _rate_at(curves[model, kind], 0.01) for kind in kinds}
        # The grid of the curve need not hold 1 %; the report's own number is the better one.
        measured = attacks[model].get(deciding)
        exact = None if measured is None else measured.tpr_at_fpr_1pct
        forgotten = rates.get("forgotten") if exact is None else exact
        title = _roc_title(forgotten, rates.get("control"))
        drawn = [charts.Curve(kind, curves[model, kind]) for kind in kinds]
        picture = charts.roc(drawn, found.holdout_rows, title)
        figures.append(
            Figure(
                title,
                f"{name}, {attack_name(deciding)}",
                picture,
                (*_legend(kinds[::-1]), (pictures.swatch("chance-line"), "guessing")),
            )
        )
    return tuple(figures)


def _legend(kinds: Sequence[str]) -> tuple[tuple[Markup, str], ...]:
    return tuple((pictures.swatch(kind), _SAMPLES[kind]) for kind in kinds)


def _rate_at(curve: Sequence[tuple[float, float]], fpr: float) -> float:
    """Return the true positive rate at a false positive rate that the grid need not hold."""
    return max((tpr for x, tpr in curve if x <= fpr * (1 + 1e-9)), default=0.0)


def _roc_title(forgotten: float | None, control: float | None) -> str:
    if forgotten is None:
        found = formatting.percent(control)
        return f"At a 1% false positive rate, it finds {found} of the records in the model"
    title = (
        f"At a 1% false positive rate, it finds {formatting.percent(forgotten)} of the forgotten "
        "records"
    )
    if control is not None:
        title += f", and {formatting.percent(control)} of those in the model"
    return title


def score_figures(contents: Contents, found: Membership) -> tuple[Figure, ...]:
    """Return histograms of the deciding attack's scores, one picture a model; see `roc_figures`."""
    deciding = deciding_attack(found)
    bins: dict[tuple[str, str], list[tuple[float, float, float]]] = defaultdict(list)
    for one in contents.scores:
        if one.attack == deciding:
            bins[one.model, one.sample].append((one.low, one.high, one.share))
    figures = []
    for model, name in models_of(contents.report).items():
        kinds = [kind for kind in ("members", "non_members", "forgotten") if (model, kind) in bins]
        if not kinds:
            continue
        title = _scores_title({kind: bins[model, kind] for kind in kinds})
        drawn = [charts.Histogram(kind, bins[model, kind]) for kind in kinds]
        figures.append(
            Figure(
                title,
                f"{name}, {attack_name(deciding)}",
                charts.histograms(drawn, title),
                _legend(kinds[::-1]),
            )
        )
    return tuple(figures)


def _scores_title(bins: Mapping[str, Sequence[tuple[float, float, float]]]) -> str:
    if "forgotten" not in bins or "non_members" not in bins:
        return "Scores of the records"
    unseen = _overlap(bins["forgotten"], bins["non_members"])
    title = f"The scores of forgotten records overlap by {unseen:.0%} with those of unseen ones"
    if "members" in bins:
        members = _overlap(bins["forgotten"], bins["members"])
        title += f", {members:.0%} with those in the model"
    return title


def _overlap(
    one: Sequence[tuple[float, float, float]], other: Sequence[tuple[float, float, float]]
) -> float:
    """Return the shared area of two histograms on the same bins, from 0 to 1."""
    shares = {(low, high): share for low, high, share in other}
    return min(1.0, sum(min(share, shares.get((low, high), 0.0)) for low, high, share in one))
