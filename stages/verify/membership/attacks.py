"""Membership inference: each attack on a model's answers, with intervals and controls."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from unlearn.stages.verify.membership.answers import Answers
from unlearn.stages.verify.membership.arrays import Bools, Floats
from unlearn.stages.verify.membership.attack import Attack
from unlearn.stages.verify.membership.statistics import (
    Interval,
    Pair,
    Roc,
    Scored,
    auc_intervals,
    detectable_auc,
    roc,
    share_interval,
)
from unlearn.stages.verify.membership.views import View
from unlearn.stages.verify.membership.weights import matching_weights
from unlearn.stages.verify_report.membership import AttackResult, Control

#: False positive rates at which reports give the share of members found.
RATES = {"tpr_at_fpr_1pct": 0.01, "tpr_at_fpr_0_1pct": 0.001}


@dataclass(frozen=True)
class Attacked:
    """One attack in full: its numbers in the report, and what the verdict and the plots need."""

    result: AttackResult
    forgotten: Interval
    control: Interval
    scored: "Weighted"

    @property
    def rows(self) -> int:
        """How many forgotten rows there were."""
        return self.result.forget_rows or 0


@dataclass(frozen=True)
class Weighted:
    """Forgotten rows, members and others, scored and matched."""

    forgotten: Scored
    members: Scored
    others: Scored


@dataclass(frozen=True)
class Samples:
    """The rows of an attack: the models' answers on them, and how they are matched.

    Parameters
    ----------
    forgotten, members, others
        Answers on rows that were to be forgotten, that are in the models, that never were.
    halves
        For each of the others, which half of the negative control it is in.
    """

    forgotten: Answers
    members: Answers
    others: Answers
    halves: Bools

    def weights(self) -> tuple[Floats, Floats, Floats]:
        """Return weights that match members and others to the forgotten rows' shards and classes.

        Forgotten rows of a class that none of the others has cannot be matched, and count nothing.
        """
        matched = np.isin(self.forgotten.targets, self.others.targets)
        wanted = (self.forgotten.home[matched], self.forgotten.targets[matched])
        return (
            matched.astype(np.float64),
            matching_weights(wanted, (self.members.home, self.members.targets)),
            matching_weights(wanted, (self.others.home, self.others.targets)),
        )


def run_attack(
    view: View, samples: Samples, attack: Attack, rng: np.random.Generator, *, min_rows: int
) -> Attacked | None:
    """Make one attack; None if the models do not allow it, or there are too few rows.

    None, too, where a score is not a number, as RMIA's without a population.

    Parameters
    ----------
    view
        The models' answers.
    samples
        The rows.
    attack
        An attack that can read such answers.
    rng
        Draws the bootstrap.
    min_rows
        Fewer rows than this on any side are a person, not a statistic.
    """
    weights = samples.weights()
    counted = [int(np.count_nonzero(of)) for of in weights]
    if not view.allows(attack) or min(counted) < min_rows:
        return None
    scores = view.scores(attack)
    if not all(np.isfinite(of).all() for of in scores):
        return None
    scored = _weighted(samples, scores, weights)
    halves = halves_of(scored.others, samples.halves, min_rows)
    pairs = [(scored.forgotten, scored.others), (scored.members, scored.others), *halves]
    forgotten, control, *negative = auc_intervals(
        pairs, rng, _rescore(view, attack, samples.halves if halves else None)
    )
    curve = roc(scored.forgotten, scored.others)
    rows, members, others = counted
    result = AttackResult(
        auc=forgotten.value,
        ci=forgotten.wide,
        **shares_found(curve, rows, scored.others),
        balanced_accuracy=curve.balanced_accuracy,
        detectable_auc=detectable_auc(scored.forgotten, scored.others),
        forget_rows=rows,
        holdout_rows=others,
        control=Control(auc=control.value, ci=control.wide, rows=members),
        negative_control=_as_control(negative, halves),
    )
    return Attacked(result, forgotten, control, scored)


def shares_found(curve: Roc, rows: int, others: Scored) -> dict[str, Any]:
    """Return the share of rows that an attack finds at each of `RATES`, with its interval.

    Parameters
    ----------
    curve
        The ROC curve of the rows against non-members.
    rows
        How many rows there were.
    others
        The non-members. Fewer than one for each allowed mistake give no estimate of a rate: None.
    """
    found: dict[str, Any] = {}
    for key, rate in RATES.items():
        share = curve.true_positives_at(rate) if others.effective * rate >= 1 else None
        found[key] = share
        found[f"{key}_ci"] = None if share is None else share_interval(share, rows)
    return found


def _weighted(
    samples: Samples,
    scores: tuple[Floats, Floats, Floats],
    weights: tuple[Floats, Floats, Floats],
) -> Weighted:
    answers = (samples.forgotten, samples.members, samples.others)
    return Weighted(
        *(Scored(s, w, of.groups) for s, w, of in zip(scores, weights, answers, strict=True))
    )


def _rescore(
    view: View, attack: Attack, halves: Bools | None
) -> Callable[[np.random.Generator], list[tuple[Floats, Floats]]] | None:
    """Return a function that draws reference models and scores each pair of samples with them."""
    if not attack.is_calibrated:
        return None
    models = view.reference_count(attack)

    def scores(rng: np.random.Generator) -> list[tuple[Floats, Floats]]:
        drawn = rng.multinomial(models, np.full(models, 1 / models)).astype(np.float64)
        forgotten, members, others = view.scores(attack, drawn)
        pairs = [(forgotten, others), (members, others)]
        if halves is not None:
            pairs.append((others[halves], others[~halves]))
        return pairs

    return scores


def halves_of(others: Scored, first: Bools, min_rows: int) -> list[Pair]:
    """Return the two halves of the non-members, or nothing where they are too small."""
    one, other = (
        Scored(
            others.scores[part],
            others.weights[part],
            np.unique(others.groups[part], return_inverse=True)[1],
        )
        for part in (first, ~first)
    )
    counted = min(np.count_nonzero(half.weights) for half in (one, other))
    return [] if counted < min_rows else [(one, other)]


def _as_control(found: list[Interval], halves: list[Pair]) -> Control:
    if not found:
        return Control()
    rows = int(np.count_nonzero(halves[0][0].weights))
    return Control(auc=found[0].value, ci=found[0].wide, rows=rows)


def run_attacks(
    view: View,
    samples: Samples,
    attacks: Sequence[Attack],
    rng: np.random.Generator,
    *,
    min_rows: int,
) -> dict[str, Attacked | None]:
    """Make several attacks, one after another; see `run_attack`."""
    return {
        attack.name: run_attack(view, samples, attack, rng, min_rows=min_rows) for attack in attacks
    }
