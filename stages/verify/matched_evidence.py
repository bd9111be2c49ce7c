"""Evidence on pairs that are as hard for retrained models as the forgotten rows are."""

from dataclasses import dataclass, field

import numpy as np
from unlearn.stages.rows.shard_file import targets
from unlearn.stages.training.method_record import RETRAIN, WHOLE
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.verify.exactness.methods import ORIGINAL
from unlearn.stages.verify.measures.base import MeasuredModel, Setting
from unlearn.stages.verify.membership.answers import persons
from unlearn.stages.verify.membership.arrays import Floats, Ints
from unlearn.stages.verify.membership.attack import AnswerScore
from unlearn.stages.verify.membership.matched import (
    ComparedPairs,
    MatchedDifference,
    PairScores,
    RetrainedModels,
    matched_difference,
    retrained_models,
)
from unlearn.stages.verify.membership.references import retrained_again
from unlearn.stages.verify.membership.registry import deciding_attack
from unlearn.stages.verify.membership.sampling import forgotten_sample, non_members
from unlearn.stages.verify.membership.scores import logit
from unlearn.stages.verify.verdict import Difference, Verdict, judge_matched, no_matches
from unlearn.stages.verify_report.membership import Difference as MeasuredDifference
from unlearn.stages.verify_report.membership import MatchedResult


@dataclass
class MatchedEvidence:
    """Compares models with retrained ones on matched pairs, one model after another.

    Parameters
    ----------
    setting
        The project and its rows.
    """

    setting: Setting
    _scores: dict[str, PairScores] = field(default_factory=dict)
    _found: dict[str, MatchedDifference | None] = field(default_factory=dict)
    _retrained: RetrainedModels | None = None

    def __post_init__(self) -> None:
        """Draw the rows."""
        context = self.setting.context
        self._forget = forgotten_sample(self.setting.rows.forget, context.layout)
        self._others = non_members(self.setting.tested, context.layout)
        truth = targets(self._forget, context.layout)
        self._rows = ComparedPairs(truth, persons(self._forget), persons(self._others))

    def ask(self, name: str, model: MeasuredModel) -> None:
        """Ask a model about all pairs; the retrained model comes first."""
        answers = [model.probabilities(rows) for rows in (self._forget, self._others)]
        forgotten, others = answers
        if forgotten is None or others is None or len(others) == 0:
            return
        if not (np.isfinite(forgotten).all() and np.isfinite(others).all()):
            return
        self._scores[name] = self._scored(forgotten, others)
        if name == RETRAIN:
            self._match(forgotten, others)

    def _match(self, forgotten: Floats, others: Floats) -> None:
        """Match the forgotten rows by the retrained model, and by others that are trained here."""
        context = self.setting.context
        answers = [(forgotten, others)]
        count = context.params.verify.references - 1
        recipe = Recipe.of_project(context)
        for predictor in retrained_again(recipe, WHOLE, self.setting.rows.retain, count):
            rows = (self._forget, self._others)
            one, other = (predictor.probabilities(each).astype(np.float64) for each in rows)
            if np.isfinite(one).all() and np.isfinite(other).all():
                answers.append((one, other))
        logits = [_logits(*each, self._rows.targets) for each in answers]
        scores = [self._scored(*each) for each in answers]
        self._retrained = retrained_models(self._rows, logits, scores)

    def _scored(self, forgotten: Floats, others: Floats) -> PairScores:
        score = deciding_attack(self.setting.context.params).score
        if not isinstance(score, AnswerScore) or score.classes is None:
            raise AssertionError("checked with the settings")
        every = [
            score.classes(others, np.full(len(others), label)) for label in range(others.shape[1])
        ]
        return PairScores(score.classes(forgotten, self._rows.targets), np.stack(every, axis=1))

    def difference(self, name: str) -> MatchedDifference | None:
        """Return what the attack finds in a model that was asked; None without enough matches."""
        if name not in self._found:
            self._found[name] = self._difference(name)
        return self._found[name]

    def _difference(self, name: str) -> MatchedDifference | None:
        if self._retrained is None or name not in self._scores:
            return None
        if self._matched < self.setting.min_rows:
            return None
        context = self.setting.context
        seed = context.key.seed(context.params.seed, "verify", "matched")
        rng = np.random.Generator(np.random.PCG64(seed))
        return matched_difference(self._scores[name], self._retrained, rng)

    @property
    def _matched(self) -> int:
        """How many forgotten rows have a match."""
        return 0 if self._retrained is None else int(self._retrained.matching.matched.sum())

    def verdict(self, name: str) -> Verdict:
        """Judge a method's model by what the attack finds on matched pairs."""
        settings = self.setting.context.params.verify
        found, original = self.difference(name), self.difference(ORIGINAL)
        if self._retrained is None or name not in self._scores or ORIGINAL not in self._scores:
            return Verdict("inconclusive", (_UNANSWERED,))
        if found is None or original is None:
            return no_matches(self._matched, self._forget.num_rows, settings.min_rows)
        difference = Difference(
            settings.attack,
            found.auc,
            found.reference,
            found.difference,
            original.difference,
            self._matched,
        )
        return judge_matched(difference, self._forget.num_rows, settings.margin)

    def result(self, name: str) -> MatchedResult | None:
        """Return what the report has of it; None if the model could not be asked."""
        retrained = self._retrained
        if retrained is None or name not in self._scores:
            return None
        matching = retrained.matching
        found, original = self.difference(name), self.difference(ORIGINAL)
        counts = MatchedResult(
            rows=self._forget.num_rows,
            matched_rows=self._matched,
            harder_rows=matching.harder,
            easier_rows=matching.easier,
            pairs=len(matching.forgotten),
            holdout_rows=len(np.unique(matching.others)),
            references=len(retrained.scores),
        )
        if found is None:
            return counts
        known = {
            "caliper": matching.caliper,
            "auc": found.auc,
            "retrained_auc": found.reference,
            "difference": _measured(found),
            "spread": retrained.spread,
        }
        if original is not None:
            known["control"] = _measured(original)
        return counts.model_copy(update=known)


_UNANSWERED = (
    "the retrained model, the original or this model gives no probabilities for all rows, so that "
    "nothing could be matched"
)


def _measured(found: MatchedDifference) -> MeasuredDifference:
    return MeasuredDifference(auc=found.difference.value, ci=found.difference.wide)


def _logits(forgotten: Floats, others: Floats, truth: Ints) -> PairScores:
    every = [logit(others, np.full(len(others), label)) for label in range(others.shape[1])]
    return PairScores(logit(forgotten, truth), np.stack(every, axis=1))
