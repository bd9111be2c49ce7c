"""Post-hoc methods compared with each other, and with the retrained model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from unlearn.stages.config.methods import YOUNG
from unlearn.stages.context import PosthocContext
from unlearn.stages.training.method_record import RETRAIN, MethodRows
from unlearn.stages.verify.evidence import (
    FEW_ROWS,
    FINAL_MODEL,
    NO_EVIDENCE,
    SHARD_MODELS,
    Evidence,
    not_made,
)
from unlearn.stages.verify.exactness.found import Exactness
from unlearn.stages.verify.exactness.methods import MethodCheck
from unlearn.stages.verify.matched_evidence import MatchedEvidence
from unlearn.stages.verify.measures.base import Measures
from unlearn.stages.verify.membership.arrays import Floats
from unlearn.stages.verify.membership.attack import Attack
from unlearn.stages.verify.membership.attacks import Attacked, Samples
from unlearn.stages.verify.membership.registry import attacks_for, deciding_attack
from unlearn.stages.verify.membership.relative import relation
from unlearn.stages.verify.membership.statistics import Interval, Pair, Scored, difference_interval
from unlearn.stages.verify.membership.views import View
from unlearn.stages.verify.verdict import (
    DecidingAttack,
    Difference,
    Missing,
    Verdict,
    judge_difference,
    judge_membership,
    other_environment,
)
from unlearn.stages.verify_report.membership import Difference as MeasuredDifference
from unlearn.stages.verify_report.membership import Membership, Outcome
from unlearn.stages.verify_report.methods import MethodResult, ModelKnowledge


@dataclass(frozen=True)
class AskedModel:
    """A model that was evaluated: the original, or what a method made."""

    view: View | None = None
    samples: Samples | None = None
    attacks: Mapping[str, Attacked | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """All models, and what each is measured against.

    Parameters
    ----------
    context, rows
        The project and its rows.
    original
        What all methods started from.
    answering
        What each method made; None for one that made no model.
    measures
        What was measured of them.
    matched
        What attacks find on pairs that are as hard; None if unseen rows of the same classes
        decide.
    """

    context: PosthocContext
    rows: MethodRows
    original: AskedModel | None
    answering: Mapping[str, AskedModel | None]
    measures: Measures[Any]
    matched: MatchedEvidence | None = None

    def result(self, name: str, made: MethodCheck, common: Exactness) -> MethodResult:
        """Return all that is known of a method."""
        model = self.answering[name]
        record = made.record
        label = made.label
        if record is not None and record.why_not is not None and not made.problems:
            return MethodResult(label=label, verdict="not applicable", reasons=(record.why_not,))
        verdict = self._verdict(name, made, common)
        if model is None or record is None:
            return MethodResult(
                label=label,
                verdict=verdict.outcome,
                reasons=verdict.reasons,
                reasons_in_words=verdict.in_words,
            )
        return MethodResult(
            label=label,
            verdict=verdict.outcome,
            reasons=verdict.reasons,
            reasons_in_words=verdict.in_words,
            membership=self._membership_part(name),
            passes=record.passes,
            stopped_by=record.stopped_by,
            rolled_back=record.rolled_back,
            facts=self._told(record.facts),
            **self._relation(name),
            **self._numbers(name, record.facts),
        )

    def _relation(self, name: str) -> dict[str, Any]:
        """Return the result of the relative test, if there are all three models to compare."""
        asked = [self.answering[name], self.answering.get(RETRAIN), self.original]
        views = [model.view for model in asked if model is not None and model.view is not None]
        samples = None if asked[0] is None else asked[0].samples
        if name == RETRAIN or len(views) < len(asked) or samples is None:
            return {}
        seed = self.context.key.seed(self.context.params.seed, "verify", "relative")
        rng = np.random.Generator(np.random.PCG64(seed))
        logits = np.array([view.forgotten.logits for view in views])
        found = relation(logits, samples.forgotten.groups, rng)
        return {} if found is None else {"relative": found.result()}

    def _numbers(self, name: str, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Return what was measured; of a language model with what records and attacks add."""
        numbers = dict(self.measures.numbers(name))
        language = numbers.get("language")
        if isinstance(language, ModelKnowledge):
            collapsed = self._collapse(name, facts) is not None
            added = {"priv_leak": self._leak(name), "collapsed": collapsed}
            numbers["language"] = language.model_copy(update=added)
        return numbers

    def _collapse(self, name: str, facts: Mapping[str, Any]) -> str | None:
        """Say how a model is no use any more: by what is measured here, or by its own guard."""
        found = self.measures.collapse(name)
        if found is None and facts.get("collapsed"):
            return "its guard found that it no longer speaks"
        return found

    def _leak(self, name: str) -> float | None:
        """Return MUSE's measure of the deciding attack, relative to the retrained model."""
        from unlearn.stages.text.metrics import priv_leak

        attack = self.context.params.verify.attack
        models = [self.answering[name], self.answering.get(RETRAIN)]
        found = [None if model is None else model.attacks.get(attack) for model in models]
        own, retrained = found
        if name == RETRAIN or own is None or retrained is None:
            return None
        return priv_leak(own.forgotten.value, retrained.forgotten.value)

    def _told(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Return what a method has to say, without the means over rows that are too few for one."""
        means = {
            "forget_loss": self.rows.forget,
            "retain_probability": self.rows.retain,
            "target": self.rows.calibration,
        }
        if self.context.unlearn.target == YOUNG and self.rows.calibration.num_rows:
            # Without such a model, it is the loss of unseen rows all the same.
            means["target"] = min(self.rows.forget, self.rows.calibration, key=len)
        least = self.context.params.verify.min_rows
        few = tuple(name for name, rows in means.items() if rows.num_rows < least)
        return {key: value for key, value in facts.items() if not key.startswith(few)}

    def _membership_part(self, name: str) -> Membership | None:
        """Return the evidence, and the difference from the retrained model that decides."""
        found = self.evidence(name).membership()
        model, retrained = self.answering[name], self.answering.get(RETRAIN)
        if found is None or model is None or retrained is None or not retrained.attacks:
            return found
        away = self._difference(model, retrained, name)
        difference = None if away is None else MeasuredDifference(auc=away.value, ci=away.wide)
        added: dict[str, Any] = {"difference_from_retrain": difference}
        if self.matched is not None:
            added["matched"] = self.matched.result(name)
        return found.model_copy(update=added)

    def evidence(self, name: str) -> Evidence:
        """Return the membership evidence on what a method made."""
        model = self.answering[name]
        forgotten = self.rows.forget.num_rows
        if forgotten == 0 or model is None:
            return NO_EVIDENCE
        deciding = self.context.params.verify.attack
        attacks = {SHARD_MODELS: model.attacks, FINAL_MODEL: model.attacks}
        others = 0 if model.samples is None else len(model.samples.others)
        if not model.attacks:
            attacks = dict.fromkeys(attacks, not_made(attacks_for(self.context.params)))
        return Evidence(attacks, deciding, self._membership(name), (forgotten, others))

    def _verdict(self, name: str, made: MethodCheck, common: Exactness) -> Verdict:
        problems = (*common.problems, *made.problems)
        if problems:
            return Verdict("fail", problems)
        if made.label == "exact":
            if made.environment:
                return other_environment(made.environment)
            said = ["its lineage is that of the retained rows and of nothing else"]
            if name == YOUNG:
                said.insert(0, "it never reads the forget set")
            if made.reran:
                said.append("retrained from these rows: the same numbers")
            return Verdict("pass", tuple(said))
        doubt = self.measures.doubt()
        if self.rows.forget.num_rows == 0:
            return Verdict("inconclusive", ("there is nothing to forget: this is the original",))
        if doubt is not None:
            # Its figures are behind a colon.
            return Verdict("inconclusive", (doubt,), (doubt.partition(":")[0],))
        return self._of_approximate(name, made.label, made.record.facts if made.record else {})

    def _of_approximate(self, name: str, label: str, facts: Mapping[str, Any]) -> Verdict:
        """Judge what a method that is not exact made, its lineage being as it should."""
        found = self._membership(name)
        if (ruin := self._collapse(name, facts)) is not None:
            # Constant answers reveal nothing, and are not a success.
            outcome: Outcome = "fail" if found.outcome == "fail" else "inconclusive"
            reasons = (f"the model has collapsed: {ruin}", *found.reasons)
            return Verdict(outcome, reasons, ("the model has collapsed", *found.in_words))
        if label.startswith("certified") and "residual_bound" in facts:
            bound = (
                f"certificate: residual {facts['residual_bound']:.3g} of "
                f"{facts['residual_budget']:.3g}"
            )
            words = ("certificate: the residual is within its budget", *found.in_words)
            return Verdict(found.outcome, (bound, *found.reasons), words)
        return found

    def _membership(self, name: str) -> Verdict:
        """Judge what the deciding attack found, against the retrained model where there is one."""
        params = self.context.params.verify
        model, retrained = self.answering[name], self.answering.get(RETRAIN)
        forgotten = self.rows.forget.num_rows
        if forgotten < params.min_rows:
            few = f"forgotten rows: {forgotten}, fewer than verify.min_rows ({params.min_rows})"
            return Verdict("inconclusive", (few,), (FEW_ROWS,))
        if self.matched is not None:
            return self.matched.verdict(name)
        found = None if model is None else model.attacks.get(params.attack)
        if model is None or found is None:
            return judge_membership(None, params.margin, self._missing())
        if retrained is None or self.original is None or params.attack not in retrained.attacks:
            judged = DecidingAttack(
                params.attack,
                found.forgotten,
                found.control,
                found.rows,
                has_reference=deciding_attack(self.context.params).allows_for_difficulty,
            )
            return judge_membership(judged, params.margin)
        here = self._difference(model, retrained, name)
        there = self._difference(self.original, retrained, name)
        reference = retrained.attacks[params.attack]
        if here is None or there is None or reference is None:
            return judge_membership(None, params.margin, self._missing())
        difference = Difference(
            params.attack,
            found.forgotten.value,
            reference.forgotten.value,
            here,
            there,
            found.rows,
        )
        return judge_difference(difference, params.margin)

    def _missing(self) -> Missing:
        attack = deciding_attack(self.context.params)
        if attack.is_calibrated and not self.context.params.verify.reference_models:
            why = f"{attack.name} compares with models that never saw the rows"
            return Missing(
                f"{why}: `verify.reference_models: 16` trains them",
                f"{why}: `verify.reference_models` trains them",
            )
        return Missing(
            "too few rows could be matched: forgotten ones, retained ones, and held-out ones of "
            "their classes; or the model only votes"
        )

    def _difference(self, one: AskedModel, other: AskedModel, name: str) -> Interval | None:
        """Return how much more an attack finds in one model than in another, on the same rows."""
        attack = deciding_attack(self.context.params)
        if one.attacks.get(attack.name) is None or other.attacks.get(attack.name) is None:
            return None  # too few rows, on one side or the other
        views = [model.view for model in (one, other) if model.view is not None]
        if len(views) < 2 or not all(view.allows(attack) for view in views):  # noqa: PLR2004
            return None
        seed = self.context.key.seed(self.context.params.seed, "verify", "difference", name)
        rng = np.random.Generator(np.random.PCG64(seed))
        count = views[0].reference_count(attack)

        def rescored(rng: np.random.Generator) -> list[tuple[Floats, Floats]]:
            drawn = rng.multinomial(count, np.full(count, 1 / count)).astype(np.float64)
            scores = [view.scores(attack, drawn) for view in views]
            return [(forgotten, others) for forgotten, _, others in scores]

        return difference_interval(
            _pair(one, attack),
            _pair(other, attack),
            rng,
            rescored if attack.is_calibrated else None,
        )


def _pair(model: AskedModel, attack: Attack) -> Pair:
    """Return a model's scores of the forgotten rows and of the others, matched by class."""
    if model.view is None or model.samples is None:
        raise AssertionError("asked before")
    samples = model.samples
    weights, _, other_weights = samples.weights()
    forgotten, _, others = model.view.scores(attack)
    return (
        Scored(forgotten, weights, samples.forgotten.groups),
        Scored(others, other_weights, samples.others.groups),
    )
