"""Difference attacks: which rows was only the older of two final models trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from unlearn.stages.context import Context
from unlearn.stages.rows.holdout import quarters
from unlearn.stages.verify.difference.linear_models import Similarities, similarities
from unlearn.stages.verify.difference.rows import Rows
from unlearn.stages.verify.difference.scores import change, model_scores
from unlearn.stages.verify.measures.base import MeasuredModel
from unlearn.stages.verify.membership.answers import Answers, Question
from unlearn.stages.verify.membership.arrays import Bools, Floats
from unlearn.stages.verify.membership.attacks import Samples, halves_of, shares_found
from unlearn.stages.verify.membership.row_scores import RowScores
from unlearn.stages.verify.membership.sampling import Questions, questions
from unlearn.stages.verify.membership.statistics import (
    Interval,
    Pair,
    Scored,
    auc_intervals,
    detectable_auc,
    difference_interval,
    roc,
)
from unlearn.stages.verify_report.difference import (
    DifferenceAttack,
    DifferenceAttacks,
    ModelDifference,
    Reconstruction,
)
from unlearn.stages.verify_report.membership import Control, Difference


def measure_difference(
    context: Context, older: MeasuredModel, newer: MeasuredModel, rows: Rows
) -> ModelDifference:
    """Attack two final models together.

    Parameters
    ----------
    context
        The project as it is now.
    older, newer
        The final model of an older revision, and that of now.
    rows
        The rows of the project, by what became of them.
    """
    reason = _why_nothing(context, older, newer, rows)
    if reason is not None:
        return ModelDifference(rows=rows.counts, reasons=(reason,))
    has_both = {member.shard for member in older.members}
    common = [member.shard for member in newer.members if member.shard in has_both]
    asked = questions(common, context.layout, rows.went, rows.stayed, rows.others)
    if asked is None:
        return ModelDifference(rows=rows.counts, reasons=(_NO_SHARD,))
    pair = _Pair(_ask(older, common, asked), _ask(newer, common, asked), asked)
    weights = pair.samples.weights()
    matched = [int(np.count_nonzero(of)) for of in weights]
    counts = rows.counts.model_copy(update={"stayed": matched[1], "others": matched[2]})
    if not pair.finite:
        return ModelDifference(rows=counts, reasons=(_NO_NUMBERS,))
    if min(matched) < context.params.verify.min_rows:
        held_out = "rows of their classes" if context.layout.classes else "rows"
        reason = _UNMATCHED.format(context.params.verify.min_rows, held_out)
        return ModelDifference(rows=counts, reasons=(reason,))
    found: dict[str, Any] = {"final_model": _attacks(context, pair, weights, "final_model")}
    if all(member.has_probabilities for of in (older, newer) for member in of.members):
        found["shard_models"] = _attacks(context, pair, weights, "shard_models")
        touched = {int(number): common[number] for number in np.unique(asked.forgotten[1])}
        alike = similarities(older, newer, touched, asked, context.params.train)
        rebuilt = None if alike is None else _reconstruction(context, pair, weights, alike)
        if rebuilt is not None:
            found["reconstruction"] = rebuilt
    return ModelDifference(rows=counts, **found)


def _why_nothing(
    context: Context, older: MeasuredModel, newer: MeasuredModel, rows: Rows
) -> str | None:
    """Return why there is nothing to ask the models; None where there is."""
    went, minimum = rows.counts.went, context.params.verify.min_rows
    if went == 0:
        return _NONE_TRAINED
    if went < minimum:
        return f"rows that went: {went}, fewer than verify.min_rows ({minimum}): counts only"
    if not (older.has_probabilities and newer.has_probabilities):
        return _VOTES
    return None


_NONE_TRAINED = (
    "no model was trained on the rows that went: they were held out, or came later, so neither "
    "model tells of them"
)
_NO_SHARD = "the shards of the rows that went have no model left: there is nothing to compare"
_VOTES = "a final model only votes, and a vote has no score to attack"
_NO_NUMBERS = "some answer of a model is no number"
_UNMATCHED = (
    "fewer than {} rows could be matched: rows that went whose shard still has a model, rows that "
    "stayed in it, and held-out {}"
)


@dataclass(frozen=True)
class _Pair:
    """The answers of both models on the same rows: that went, stayed, and never were in a model."""

    older: list[Answers]
    newer: list[Answers]
    asked: Questions

    @property
    def samples(self) -> Samples:
        """The rows as attacks match and weigh them."""
        went, stayed, others = self.newer
        return Samples(went, stayed, others, quarters(self.asked.others[0]))

    @property
    def finite(self) -> bool:
        """Whether all answers are numbers."""
        return all(answers.finite for answers in (*self.older, *self.newer))

    def answers(self, target: str) -> list[tuple[RowScores, RowScores]]:
        """Return older and newer answers on each sample, for one target of the attack."""
        pairs = zip(self.older, self.newer, strict=True)
        if target == "final_model":
            return [(before.of_final, after.of_final) for before, after in pairs]
        return [(before.of_home, after.of_home) for before, after in pairs]


def _ask(model: MeasuredModel, common: list[str], asked: Questions) -> list[Answers]:
    """Return a model's answers on the samples, with the homes that `asked` has."""
    index = {member.shard: number for number, member in enumerate(model.members)}
    own = np.array([index[shard] for shard in common], dtype=np.int64)
    samples: list[Question] = [asked.forgotten, asked.members, asked.others]
    found = model.answers([(rows, own[home]) for rows, home in samples])
    return [replace(answers, home=home) for answers, (_, home) in zip(found, samples, strict=True)]


def _attacks(
    context: Context, pair: _Pair, weights: tuple[Floats, Floats, Floats], target: str
) -> DifferenceAttacks:
    answers = pair.answers(target)
    changes = [change(before, after) for before, after in answers]
    older = [model_scores(before) for before, _ in answers]
    newer = [model_scores(after) for _, after in answers]
    rng = _rng(context, target)
    samples = pair.samples

    def scored(scores: Sequence[Mapping[str, Floats]], name: str) -> list[Scored]:
        groups = (samples.forgotten.groups, samples.members.groups, samples.others.groups)
        return [
            Scored(of[name], weight, group)
            for of, weight, group in zip(scores, weights, groups, strict=True)
        ]

    found = {
        name: _attack(
            [scored(of, name) for of in (changes, older, newer)],
            halves=samples.halves,
            minimum=context.params.verify.min_rows,
            rng=rng,
        )
        for name in changes[0]
    }
    return DifferenceAttacks(attacks=found)


def _attack(
    scores: list[list[Scored]], *, halves: Bools, minimum: int, rng: np.random.Generator
) -> DifferenceAttack:
    """Make one attack, given each sample's scores by both models, the older and the newer one."""
    both, older, newer = scores
    went, stayed, others = both
    rows, rows_stayed = (int(np.count_nonzero(of.weights)) for of in (went, stayed))
    by_older, by_newer = ((of[0], of[2]) for of in (older, newer))
    negative = halves_of(others, halves, minimum)
    pairs: list[Pair] = [(went, others), (stayed, others), by_older, by_newer, *negative]
    found, of_stayed, before, after, *rest = auc_intervals(pairs, rng)
    added = difference_interval((went, others), by_older, rng)
    half = int(np.count_nonzero(negative[0][0].weights)) if negative else 0
    return DifferenceAttack(
        auc=found.value,
        ci=found.wide,
        **shares_found(roc(went, others), rows, others),
        detectable_auc=detectable_auc(went, others),
        stayed=_control(of_stayed, rows_stayed),
        negative_control=_control(rest[0], half) if rest else Control(),
        older_alone=_control(before, rows),
        newer_alone=_control(after, rows),
        added=Difference(auc=added.value, ci=added.wide),
    )


def _control(found: Interval, rows: int) -> Control:
    return Control(auc=found.value, ci=found.wide, rows=rows)


def _reconstruction(
    context: Context, pair: _Pair, weights: tuple[Floats, Floats, Floats], alike: Similarities
) -> Reconstruction | None:
    """Return what `similarities` come to; None with too few rows on either side."""
    parts = [
        (alike.went, weights[0], alike.usable_went, pair.samples.forgotten),
        (alike.others, weights[2], alike.usable_others, pair.samples.others),
    ]
    scored = []
    for cosines, weight, usable, answers in parts:
        counted = np.where(usable, weight, 0.0)
        if np.count_nonzero(counted) < context.params.verify.min_rows:
            return None
        scored.append(Scored(cosines, counted, answers.groups))
    (found,) = auc_intervals([(scored[0], scored[1])], _rng(context, "reconstruction"))
    medians = [float(np.median(of.scores[of.weights > 0])) for of in scored]
    return Reconstruction(
        auc=found.value,
        ci=found.wide,
        cosine=medians[0],
        cosine_of_others=medians[1],
        shards=alike.shards,
    )


def _rng(context: Context, target: str) -> np.random.Generator:
    seed = context.key.seed(context.params.seed, "difference", target)
    return np.random.Generator(np.random.PCG64(seed))
