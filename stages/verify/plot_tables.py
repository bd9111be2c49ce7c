"""Tables behind the plots: shares over many rows, never one row's score.

The long tables hold every attack, for other programs; the wide ones hold the deciding attack on the
shard models, a column for each line, as `dvc plots` needs them.
"""

import csv
import io
import math
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
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


def score_plot(attacked: Attacked | None, min_rows: int) -> bytes:
    """Return one attack's histograms, a column each, by the middles of the bins.

    Parameters
    ----------
    attacked
        The attack; None where it could not be made.
    min_rows
        Fewer rows than this are a person; see `score_table`.
    """
    rows: list[tuple[object, ...]] = []
    if attacked is not None:
        edges, shares = _histograms(attacked, min_rows)
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


def _histograms(attacked: Attacked, min_rows: int) -> tuple[Floats, dict[str, Floats]]:
    """Return the bins' edges, and each sample's shares."""
    scored = attacked.scored
    samples = {
        "forgotten": scored.forgotten,
        "members": scored.members,
        "non_members": scored.others,
    }
    edges = _edges(np.concatenate([sample.scores for sample in samples.values()]))
    return edges, {name: _shares(sample, edges, min_rows) for name, sample in samples.items()}


def score_table(found: Found, min_rows: int) -> bytes:
    """Return histograms of the scores of forgotten rows, members and non-members as CSV.

    No edge of a bin is a row's score, and no share is that of a few rows: neighbouring bins of a
    sample that have too few rows have one share, spread evenly over them.

    Parameters
    ----------
    found
        Attacks by the model's name and their own.
    min_rows
        The fewest rows that a share may be of.
    """
    rows = []
    for model, name, attacked in _each(found):
        edges, shares = _histograms(attacked, min_rows)
        for sample, values in shares.items():
            for number, share in enumerate(values):
                low, high = edges[number], edges[number + 1]
                rows.append(
                    (model, name, sample, number, f"{low:.6g}", f"{high:.6g}", f"{share:.6f}")
                )
    return _csv(SCORE_COLUMNS, rows)


def methods_table(results: Mapping[str, MethodResult]) -> bytes:
    """Return a CSV for `dvc plots`: forgetting and utility of each method."""
    kind = "error" if any(found.is_of_numbers for found in results.values()) else "accuracy"
    lines = [f"method,label,forget_{kind},retain_{kind},holdout_{kind}"]
    for name, found in results.items():
        values = found.quality
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
    """Return the edges of bins of a round width, at multiples of it."""
    low, high = np.quantile(scores, [_CUT, 1 - _CUT])
    if high <= low:
        low, high = low - 0.5, high + 0.5
    width = _round_up((high - low) / _BINS)
    first, last = math.floor(low / width), math.ceil(high / width)
    edges: Floats = np.arange(first, last + 1) * width
    return edges


def _round_up(value: float) -> float:
    """Return the next of 1, 2 and 5 times a power of ten."""
    power = float(10.0 ** math.floor(math.log10(value)))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= value)


def _shares(sample: Scored, edges: Floats, min_rows: int) -> Floats:
    """Return each bin's share of the rows, by weight; bins of too few rows share theirs."""
    inside = np.clip(sample.scores, edges[0], edges[-1])
    weights, _ = np.histogram(inside, edges, weights=sample.weights)
    counts, _ = np.histogram(inside[sample.weights > 0], edges)
    groups = _merged(counts, min_rows)
    together = np.bincount(groups, weights)
    shares: Floats = (together / np.bincount(groups))[groups] / sample.weights.sum()
    return shares


def _merged(counts: npt.NDArray[np.int64], min_rows: int) -> npt.NDArray[np.int64]:
    """Return for each bin the number of its group: neighbours with enough rows together."""
    groups = np.zeros(len(counts), dtype=np.int64)
    group = found = 0
    for number, count in enumerate(counts):
        groups[number] = group
        found += int(count)
        if found >= min_rows:
            group, found = group + 1, 0
    if group > 0:
        # What is left at the end is too few for a group of its own.
        groups = np.minimum(groups, group - 1)
    return groups


def _csv(columns: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue().encode()
