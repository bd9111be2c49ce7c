"""Tables behind the plots: shares over many rows, never one row's score.

The long tables hold every attack, for other programs; the wide ones hold the deciding attack on the
shard models, a column for each line, as `dvc plots` needs them.
"""

import csv
import io
from collections.abc import Iterable, Mapping

import numpy as np
from unlearn.stages.verify.membership.arrays import Floats
from unlearn.stages.verify.membership.attacks import Attacked
from unlearn.stages.verify.membership.statistics import Scored, roc
from unlearn.stages.verify_report.methods import MethodResult

ROC_COLUMNS = ("model", "attack", "sample", "fpr", "tpr")
SCORE_COLUMNS = ("model", "attack", "sample", "bin", "low", "high", "share")

#: Rates on a logarithmic axis, as the LiRA paper draws them, and 0.
_RATES = np.concatenate([[0.0], np.logspace(-4, 0, 41)])
_BINS = 20
#: Scores beyond these shares of all are drawn in the outermost bins.
_CUT = 0.01

Found = Mapping[str, Mapping[str, Attacked | None]]


def roc_table(found: Found) -> bytes:
    """Return the ROC curves of forgotten rows and of the positive control as CSV.

    Parameters
    ----------
    found
        Attacks by the model's name and their own.
    """
    rows = [
        (model, name, sample, f"{rate:.6g}", f"{share:.6f}")
        for model, name, attacked in _each(found)
        for sample, shares in _curves(attacked).items()
        for rate, share in zip(_RATES, shares, strict=True)
    ]
    return _csv(ROC_COLUMNS, rows)


def roc_plot(attacked: Attacked | None) -> bytes:
    """Return one attack's curves, a column each, and what guessing would give."""
    rows: list[tuple[object, ...]] = []
    if attacked is not None:
        curves = [_RATES, *_curves(attacked).values(), _RATES]
        rows = [tuple(f"{value:.6g}" for value in line) for line in zip(*curves, strict=True)]
    return _csv(("false_positive_rate", "forgotten", "members", "guessing"), rows)


def score_plot(attacked: Attacked | None) -> bytes:
    """Return one attack's histograms, a column each, by the middles of the bins."""
    rows: list[tuple[object, ...]] = []
    if attacked is not None:
        edges, shares = _histograms(attacked)
        middles = (edges[1:] + edges[:-1]) / 2
        columns = [middles, *shares.values()]
        rows = [tuple(f"{value:.6g}" for value in line) for line in zip(*columns, strict=True)]
    return _csv(("score", "forgotten", "members", "non_members"), rows)


def _curves(attacked: Attacked) -> dict[str, list[float]]:
    scored = attacked.scored
    curves = {
        "forgotten": roc(scored.forgotten, scored.others),
        "control": roc(scored.members, scored.others),
    }
    return {
        sample: [curve.true_positives_at(float(rate)) for rate in _RATES]
        for sample, curve in curves.items()
    }


def _histograms(attacked: Attacked) -> tuple[Floats, dict[str, Floats]]:
    """Return the bins' edges, and each sample's shares."""
    scored = attacked.scored
    samples = {
        "forgotten": scored.forgotten,
        "members": scored.members,
        "non_members": scored.others,
    }
    edges = _edges(np.concatenate([sample.scores for sample in samples.values()]))
    return edges, {name: _shares(sample, edges) for name, sample in samples.items()}


def score_table(found: Found) -> bytes:
    """Return histograms of the scores of forgotten rows, members and non-members as CSV."""
    rows = []
    for model, name, attacked in _each(found):
        edges, shares = _histograms(attacked)
        for sample, values in shares.items():
            for number, share in enumerate(values):
                low, high = edges[number], edges[number + 1]
                rows.append(
                    (model, name, sample, number, f"{low:.6g}", f"{high:.6g}", f"{share:.6f}")
                )
    return _csv(SCORE_COLUMNS, rows)


def methods_table(results: Mapping[str, MethodResult]) -> bytes:
    """Return a CSV for `dvc plots`: forgetting and utility of each method."""
    lines = ["method,label,forget_accuracy,retain_accuracy,holdout_accuracy"]
    for name, found in results.items():
        values = (found.forget_accuracy, found.retain_accuracy, found.holdout_accuracy)
        if any(value is None for value in values):
            continue
        cells = ",".join(f"{value:.6f}" for value in values)
        lines.append(f"{name},{found.kind_of_label},{cells}")
    return ("\n".join(lines) + "\n").encode()


def _each(found: Found) -> Iterable[tuple[str, str, Attacked]]:
    for model, attacks in found.items():
        for name, attacked in attacks.items():
            if attacked is not None:
                yield model, name, attacked


def _edges(scores: Floats) -> Floats:
    low, high = np.quantile(scores, [_CUT, 1 - _CUT])
    if high <= low:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, _BINS + 1)


def _shares(sample: Scored, edges: Floats) -> Floats:
    inside = np.clip(sample.scores, edges[0], edges[-1])
    counts, _ = np.histogram(inside, edges, weights=sample.weights)
    shares: Floats = counts / sample.weights.sum()
    return shares


def _csv(columns: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue().encode()
