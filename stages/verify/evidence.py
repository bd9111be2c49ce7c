"""The membership evidence of a run: all attacks on all models, and the verdict."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from unlearn.stages.context import Context
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.verify.membership.answers import FinalModel
from unlearn.stages.verify.membership.attack import Attack
from unlearn.stages.verify.membership.attacks import Attacked, run_attacks
from unlearn.stages.verify.membership.calibrated import MIN_REFERENCES
from unlearn.stages.verify.membership.parts import cheap_references, has_parts, parts_of
from unlearn.stages.verify.membership.references import Comparison, train_references
from unlearn.stages.verify.membership.registry import attacks_for, deciding_attack
from unlearn.stages.verify.membership.sampling import Drawn, draw, non_members
from unlearn.stages.verify.membership.views import (
    View,
    of_final_model,
    of_shard_models,
)
from unlearn.stages.verify.verdict import DecidingAttack, Missing, Verdict, judge_membership
from unlearn.stages.verify_report.membership import AttackResult, Membership, ModelAttacks

SHARD_MODELS, FINAL_MODEL = "shard_models", "final_model"

#: What everybody may know where there are too few rows to measure anything.
FEW_ROWS = "there are fewer forgotten rows than verify.min_rows: nothing was measured"

Attacks = Mapping[str, Attacked | None]


@dataclass(frozen=True)
class Evidence:
    """What membership inference found.

    Parameters
    ----------
    attacks
        By model (`shard_models`, the worst case; `final_model`, what is deployed) and attack; None
        for an attack that could not be made. Empty where no forgotten row is left to ask about.
    deciding
        The attack that params.yaml names.
    verdict
        What it comes to.
    counts
        Forgotten rows and non-members in the sample.
    """

    attacks: Mapping[str, Attacks] = field(default_factory=dict)
    deciding: str = ""
    verdict: Verdict | None = None
    counts: tuple[int, int] = (0, 0)

    @property
    def decisive(self) -> Attacked | None:
        """The deciding attack on the shard models, if it could be made."""
        return self.attacks.get(SHARD_MODELS, {}).get(self.deciding)

    def membership(self) -> Membership | None:
        """Return the part of the report that says it; None where there is none."""
        if self.verdict is None:
            return None
        return Membership(
            **dict(self._result(SHARD_MODELS, self.deciding)),
            attack=self.deciding,
            verdict=self.verdict.outcome,
            reasons=self.verdict.reasons,
            reasons_in_words=self.verdict.in_words,
            room=self.verdict.room,
            attacks=self._results(SHARD_MODELS),
            final_model=ModelAttacks(attacks=self._results(FINAL_MODEL)),
        )

    def _results(self, model: str) -> dict[str, AttackResult]:
        return {name: self._result(model, name) for name in self.attacks.get(model, {})}

    def _result(self, model: str, name: str) -> AttackResult:
        found = self.attacks.get(model, {}).get(name)
        if found is not None:
            return found.result
        return AttackResult(forget_rows=self.counts[0], holdout_rows=self.counts[1])


NO_EVIDENCE = Evidence()


def gather(
    context: Context,
    model: FinalModel,
    forgotten: Mapping[str, pa.Table],
    retained: Callable[[str], pa.Table],
    holdout: pa.Table,
) -> Evidence:
    """Attack the shard models and the final model.

    Parameters
    ----------
    context
        The project.
    model
        The final model; its members are the shard models.
    forgotten
        Every shard's forgotten rows, by its name.
    retained
        Returns the rows that a shard retains.
    holdout
        The holdout's rows that were not forgotten.
    """
    params = context.params
    deciding = deciding_attack(params)
    asked = sum(rows.num_rows for rows in forgotten.values())
    if asked == 0:
        return NO_EVIDENCE
    minimum = params.verify.min_rows
    if asked < minimum:
        few = Missing(
            f"forgotten rows: {asked}, fewer than verify.min_rows ({minimum}): counts only",
            FEW_ROWS,
        )
        return _unasked(context, few, (asked, non_members(holdout, context.layout).num_rows))
    drawn = draw(model, context.layout, forgotten, retained, holdout, _references(context, model))
    if drawn is None:
        lost = Missing(
            "the shards of the forgotten rows have no model left: there is nothing to ask"
        )
        return _unasked(context, lost, (asked, non_members(holdout, context.layout).num_rows))
    attacks = {
        name: run_attacks(
            view, drawn.samples, attacks_for(params), _rng(context, name), min_rows=minimum
        )
        for name, view in _views(model, drawn).items()
    }
    counts = len(drawn.samples.forgotten), len(drawn.samples.others)
    found = attacks[SHARD_MODELS][deciding.name]
    judged = None
    if found is not None:
        judged = DecidingAttack(
            deciding.name,
            found.forgotten,
            found.control,
            found.rows,
            deciding.allows_for_difficulty,
        )
    missing = _missing(model, deciding, minimum, has_classes=bool(context.layout.classes))
    verdict = judge_membership(judged, params.verify.margin, missing)
    return Evidence(attacks, deciding.name, verdict, counts)


def not_made(attacks: Iterable[Attack]) -> Attacks:
    """Return the attacks by name, each without a result."""
    return {attack.name: None for attack in attacks}


def _unasked(context: Context, why: Missing, counts: tuple[int, int]) -> Evidence:
    """Return the evidence if no model was evaluated: counts, and the reason."""
    settings = context.params.verify
    none_made = not_made(attacks_for(context.params))
    nothing = {SHARD_MODELS: none_made, FINAL_MODEL: none_made}
    return Evidence(nothing, settings.attack, judge_membership(None, settings.margin, why), counts)


def _references(
    context: Context, model: FinalModel
) -> Callable[[str, pa.Table], Comparison] | None:
    """Return what gives models to compare with, where there are too few other shards.

    Parts of a forest cost nothing, and models of sums next to nothing. Others are trained where
    params.yaml asks for it.
    """
    params = context.params
    if len(model.members) > MIN_REFERENCES:
        return None
    recipe = Recipe.of_project(context)
    if has_parts(recipe):
        return lambda shard, _: parts_of(recipe, shard, context.project.shard_models / shard)
    count = params.verify.reference_models or cheap_references(recipe)
    if count == 0:
        return None
    return lambda shard, rows: train_references(recipe, params.dataset, shard, rows, count)


def _views(model: FinalModel, drawn: Drawn) -> dict[str, View]:
    samples, population = drawn.samples, drawn.population
    rows = samples.forgotten, samples.members, samples.others
    answers = (*rows, population)
    finite = all(answer.finite for answer in answers)
    probable = all(member.has_probabilities for member in model.members)
    return {
        SHARD_MODELS: of_shard_models(*answers, probable=probable and finite),
        FINAL_MODEL: of_final_model(model, *answers, probable=model.has_probabilities and finite),
    }


def _rng(context: Context, model: str) -> np.random.Generator:
    seed = context.key.seed(context.params.seed, "verify", model)
    return np.random.Generator(np.random.PCG64(seed))


def _missing(model: FinalModel, deciding: Attack, min_rows: int, *, has_classes: bool) -> Missing:
    """Say why the deciding attack could not be made."""
    if not all(member.has_probabilities for member in model.members):
        return Missing("the shard models only vote, and a vote has no score to attack")
    if deciding.is_calibrated and len(model.members) <= MIN_REFERENCES:
        return Missing(
            f"{deciding.name} compares each shard model with others, and needs at least "
            f"{MIN_REFERENCES + 1} that have rows; there are {len(model.members)}. "
            "`verify.reference_models: 16` trains models to compare with",
            f"{deciding.name} compares each shard model with others, and there are too few: "
            "`verify.reference_models` trains models to compare with",
        )
    unmatched = _UNMATCHED.format("ones of their classes" if has_classes else "ones")
    return Missing(
        f"fewer than {min_rows} rows could be matched: {unmatched}",
        f"fewer rows than verify.min_rows could be matched: {unmatched}",
    )


_UNMATCHED = (
    "forgotten ones whose shard has a model, others in that model, and held-out {}; or some answer "
    "of a model is no number"
)
