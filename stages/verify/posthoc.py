"""The evidence on models that post-hoc methods made: which forgot, at what cost, how surely."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from unlearn.stages.context import Context
from unlearn.stages.distance import disagreement, divergence
from unlearn.stages.ensemble import Ensemble, Member
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.preprocessing import Preprocessor
from unlearn.stages.forget_list import ForgetList
from unlearn.stages.holdout import calibration_half, fewest, tested_half
from unlearn.stages.paths import HOLDOUT
from unlearn.stages.recipe import Recipe
from unlearn.stages.shard_file import targets
from unlearn.stages.shard_model import ShardModel, make_estimator, read_shard_model
from unlearn.stages.train_params import TrainParams
from unlearn.stages.unlearned import RETRAIN, WHOLE, MethodRows
from unlearn.stages.verify.comparison import MethodResult
from unlearn.stages.verify.evidence import (
    FINAL_MODEL,
    NO_EVIDENCE,
    SHARD_MODELS,
    Evidence,
)
from unlearn.stages.verify.exactness import Exactness, derive_rows
from unlearn.stages.verify.exposure import ATTACKS, CALIBRATED, Exposure, of_shard_models
from unlearn.stages.verify.made import (
    ORIGINAL,
    Made,
    check_final_model,
    check_original,
    check_unlearned,
)
from unlearn.stages.verify.membership import Attacked, Samples, attack_all
from unlearn.stages.verify.references import References, train_references
from unlearn.stages.verify.relearning import Continues, relearning_steps
from unlearn.stages.verify.sampling import draw
from unlearn.stages.verify.scores import Floats
from unlearn.stages.verify.statistics import Interval, Pair, Scored, difference_interval
from unlearn.stages.verify.utility import accuracy, log_loss
from unlearn.stages.verify.verdict import (
    Difference,
    Membership,
    Verdict,
    judge_difference,
    judge_membership,
)

#: At most so many rows are learned again, and at most so many retained rows are asked about.
_MOST_RELEARNED, _MOST_RETAINED = 1_000, 20_000


@dataclass(frozen=True)
class Posthoc:
    """What was found of all methods.

    Parameters
    ----------
    results
        By method, in the order of params.yaml.
    evidence
        Of the method that is deployed, as for any final model.
    exactness
        What the checks found that concern all methods, and the deployed one.
    """

    results: dict[str, MethodResult]
    evidence: Evidence
    exactness: Exactness


@dataclass(frozen=True)
class _Answering:
    """A model that can be asked: the original, or what a method made."""

    model: ShardModel
    ensemble: Ensemble
    exposure: Exposure | None = None
    samples: Samples | None = None
    attacks: Mapping[str, Attacked | None] = field(default_factory=dict)


def compare_methods(context: Context, forget_list: ForgetList) -> Posthoc:
    """Check, attack and compare what every method made.

    Parameters
    ----------
    context
        The project.
    forget_list
        The list as it stands.
    """
    unlearn = context.params.unlearn
    if unlearn is None:
        raise AssertionError("only for projects without shards")
    whole, holdout = (derive_rows(context, name, forget_list) for name in (WHOLE, HOLDOUT))
    rows = MethodRows(whole.forget, whole.retain, calibration_half(holdout.retain))
    common = check_original(context, forget_list, whole, holdout)
    made = {name: check_unlearned(context, name, rows) for name in unlearn.methods}
    ask = _asker(context, rows, holdout.retain)
    original = ask(context.project.original, ORIGINAL)
    answering = {
        name: ask(context.project.unlearned / name, name) if found.has_model else None
        for name, found in made.items()
    }
    final = Exactness()
    check_final_model(context, unlearn.deploy, final)
    deployed = made[unlearn.deploy]
    deployed = replace(deployed, problems=(*deployed.problems, *final.problems))
    made[unlearn.deploy] = deployed
    compared = _Compared(context, rows, tested_half(holdout.retain), original, answering)
    results = {name: compared.result(name, found, common) for name, found in made.items()}
    exactness = Exactness(
        touched=int(rows.forget.num_rows > 0),
        reran=deployed.reran,
        matched=deployed.matched,
        lineage_clean=common.lineage_clean and deployed.lineage_clean,
        problems=(*common.problems, *deployed.problems),
        environment=deployed.environment,
    )
    return Posthoc(results, compared.evidence(unlearn.deploy), exactness)


def _asker(
    context: Context, rows: MethodRows, holdout: pa.Table
) -> Callable[[Path, str], _Answering | None]:
    """Return what opens a model and asks it about all samples."""
    params = context.params

    @cache
    def trained() -> References:
        recipe = Recipe.of(params, context.key, context.project.root)
        return train_references(recipe, WHOLE, rows.retain, params.verify.reference_models)

    references = None
    if params.verify.reference_models:
        references = lambda _shard, _rows: trained()  # noqa: E731 - one line says it
    code = params.train.code_path

    def ask(folder: Path, name: str) -> _Answering | None:
        try:
            model = read_shard_model(folder, name)
            if model.kind == "empty":
                return None
            predictor = model.predictor(None if code is None else context.project.root / code)
        except InputError:
            return None  # named among the problems
        member = Member(WHOLE, int(model.description["rows"]), predictor, model.has_probabilities)
        ensemble = Ensemble(params.dataset, "mean_probability", (member,), model.has_probabilities)
        if rows.forget.num_rows < params.verify.min_rows:
            return _Answering(model, ensemble)
        drawn = draw(
            ensemble,
            context.layout,
            {WHOLE: rows.forget},
            lambda _shard: rows.retain,
            holdout,
            references,
        )
        if drawn is None:
            return _Answering(model, ensemble)
        samples = drawn.samples
        asked = samples.forgotten, samples.members, samples.others, drawn.population
        probable = model.has_probabilities and all(answers.finite for answers in asked)
        exposure = of_shard_models(*asked, probable=probable)
        seed = context.key.seed(params.seed, "verify", "posthoc")
        rng = np.random.Generator(np.random.PCG64(seed))
        attacks = attack_all(exposure, samples, rng, params.verify.min_rows)
        return _Answering(model, ensemble, exposure, samples, attacks)

    return ask


@dataclass(frozen=True)
class _Compared:
    """All models, and what each is measured against.

    Parameters
    ----------
    context, rows
        The project and its rows.
    tested
        Held-out rows that no guard looked at.
    original
        What all methods started from.
    answering
        What each method made; None for one that made no model.
    steps
        After how many steps each knows the forgotten rows again, as far as found out.
    """

    context: Context
    rows: MethodRows
    tested: pa.Table
    original: _Answering | None
    answering: Mapping[str, _Answering | None]
    steps: dict[str, int | None] = field(default_factory=dict)

    def result(self, name: str, made: Made, common: Exactness) -> MethodResult:
        """Return all that is known of a method."""
        model = self.answering[name]
        record = made.record
        label = made.label
        if record is not None and record.why_not is not None and not made.problems:
            return MethodResult(label, "not applicable", (record.why_not,))
        verdict = self._verdict(name, made, common)
        if model is None or record is None:
            return MethodResult(label, verdict.outcome, verdict.reasons)
        retrained = None if name == RETRAIN else self.answering.get(RETRAIN)
        numbers = self._numbers(model)
        if retrained is not None:
            numbers |= self._distances(model, retrained)
        numbers["relearning_ratio"] = self._relearning(name)
        return MethodResult(
            label,
            verdict.outcome,
            verdict.reasons,
            membership=self._membership_as_json(name),
            passes=record.passes,
            stopped_by=record.stopped_by,
            rolled_back=record.rolled_back,
            facts=record.facts,
            **numbers,
        )

    def _membership_as_json(self, name: str) -> dict[str, Any] | None:
        """Return the evidence, and the difference from the retrained model that decides."""
        found = self.evidence(name).as_json()
        model, retrained = self.answering[name], self.answering.get(RETRAIN)
        if found is None or model is None or retrained is None or not retrained.attacks:
            return found
        away = self._difference(model, retrained, name)
        told = None if away is None else {"auc": away.value, "ci": away.wide}
        return found | {"difference_from_retrain": told}

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
            attacks = {key: dict.fromkeys(ATTACKS) for key in attacks}
        return Evidence(attacks, deciding, self._membership(name), (forgotten, others))

    def _verdict(self, name: str, made: Made, common: Exactness) -> Verdict:
        problems = (*common.problems, *made.problems)
        if problems:
            return Verdict("fail", problems)
        if made.label == "exact":
            if made.environment:
                return Verdict("inconclusive", made.environment)
            said = ["its lineage is that of the retained rows and of nothing else"]
            if made.reran:
                said.append("retrained from these rows: the same numbers")
            return Verdict("pass", tuple(said))
        if self.rows.forget.num_rows == 0:
            return Verdict("inconclusive", ("there is nothing to forget: this is the original",))
        found = self._membership(name)
        facts = made.record.facts if made.record is not None else {}
        if made.label.startswith("certified") and "residual_bound" in facts:
            bound = (
                f"certificate: residual {facts['residual_bound']:.3g} of "
                f"{facts['residual_budget']:.3g}"
            )
            return Verdict(found.outcome, (bound, *found.reasons))
        return found

    def _membership(self, name: str) -> Verdict:
        """Judge what the deciding attack found, against the retrained model where there is one."""
        params = self.context.params.verify
        model, retrained = self.answering[name], self.answering.get(RETRAIN)
        forgotten = self.rows.forget.num_rows
        if forgotten < params.min_rows:
            few = f"forgotten rows: {forgotten}, fewer than verify.min_rows ({params.min_rows})"
            return Verdict("inconclusive", (few,))
        found = None if model is None else model.attacks.get(params.attack)
        if model is None or found is None:
            return judge_membership(None, params.margin, self._missing())
        if retrained is None or self.original is None or params.attack not in retrained.attacks:
            judged = Membership(
                params.attack,
                found.forgotten,
                found.control,
                found.result.forget_rows,
                has_reference=params.attack == "lira",
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
            found.result.forget_rows,
        )
        return judge_difference(difference, params.margin)

    def _missing(self) -> str:
        attack = self.context.params.verify.attack
        if attack in CALIBRATED and not self.context.params.verify.reference_models:
            return (
                f"{attack} compares with models that never saw the rows: "
                "`verify.reference_models: 16` trains them"
            )
        return (
            "too few rows could be matched: forgotten ones, retained ones, and held-out ones of "
            "their classes; or the model only votes"
        )

    def _difference(self, one: _Answering, other: _Answering, name: str) -> Interval | None:
        """Return how much more an attack finds in one model than in another, on the same rows."""
        attack = self.context.params.verify.attack
        if one.attacks.get(attack) is None or other.attacks.get(attack) is None:
            return None  # too few rows, on one side or the other
        exposures = [model.exposure for model in (one, other) if model.exposure is not None]
        if len(exposures) < 2 or not all(each.allows(attack) for each in exposures):  # noqa: PLR2004
            return None
        seed = self.context.key.seed(self.context.params.seed, "verify", "difference", name)
        rng = np.random.Generator(np.random.PCG64(seed))
        count = exposures[0].others.references.shape[1]

        def rescored(rng: np.random.Generator) -> list[tuple[Floats, Floats]]:
            drawn = rng.multinomial(count, np.full(count, 1 / count)).astype(np.float64)
            scores = [each.scores(attack, drawn) for each in exposures]
            return [(forgotten, others) for forgotten, _, others in scores]

        return difference_interval(
            _pair(one, attack),
            _pair(other, attack),
            rng,
            rescored if attack in CALIBRATED else None,
        )

    def _numbers(self, model: _Answering) -> dict[str, float | None]:
        """Return the accuracies; on few forgotten rows none, for few rows are a person."""
        retained = fewest(self.rows.retain, _MOST_RETAINED)
        samples = {
            "forget_accuracy": self.rows.forget,
            "retain_accuracy": retained,
            "holdout_accuracy": self.tested,
        }
        minimum = self.context.params.verify.min_rows
        return {
            name: _accuracy(model, table, self.context) if table.num_rows >= minimum else None
            for name, table in samples.items()
        }

    def _distances(self, model: _Answering, retrained: _Answering) -> dict[str, float | None]:
        minimum = self.context.params.verify.min_rows
        found: dict[str, float | None] = {}
        if self.tested.num_rows >= minimum:
            answers, reference = (
                each.ensemble.probabilities(self.tested) for each in (model, retrained)
            )
            found["disagreement_with_retrain"] = disagreement(answers, reference)
            if model.ensemble.has_probabilities and np.isfinite([answers, reference]).all():
                found["kl_from_retrain"] = divergence(answers, reference)
        if self.rows.forget.num_rows >= minimum:
            answers, reference = (
                each.ensemble.probabilities(self.rows.forget) for each in (model, retrained)
            )
            found["disagreement_on_forgotten"] = disagreement(answers, reference)
        return found

    def _relearning(self, name: str) -> float | None:
        """Return the ratio of steps to learn the rows again; None where there is none to give."""
        params = self.context.params
        if params.train.is_sklearn or self.original is None or name == RETRAIN:
            return None
        if self.rows.forget.num_rows < params.verify.min_rows:
            return None
        own, reference = (self._steps(each) for each in (name, RETRAIN))
        return None if own is None or not reference else own / reference

    def _steps(self, name: str) -> int | None:
        if name not in self.steps:
            try:
                self.steps[name] = self._relearn(name)
            except InputError:
                # A model that someone edited may not be one to train on with: a finding elsewhere.
                self.steps[name] = None
        return self.steps[name]

    def _relearn(self, name: str) -> int | None:
        model = self.answering.get(name)
        if model is None or self.original is None or model.model.weights is None:
            return None
        rows = fewest(self.rows.forget, _MOST_RELEARNED)
        description = model.model.description
        preprocessor = Preprocessor.from_json(description["preprocessing"])
        train = TrainParams.model_validate(description["train"])
        code = train.code_path
        estimator = make_estimator(
            train,
            preprocessor.width,
            len(self.context.layout.classes),
            sliced=True,
            code=None if code is None else self.context.project.root / code,
        )
        if not isinstance(estimator, Continues):
            return None
        return relearning_steps(
            estimator,
            model.model.weights,
            preprocessor.transform(rows, estimator.dtype),
            targets(rows, self.context.layout),
            log_loss(
                self.original.ensemble.probabilities(rows), targets(rows, self.context.layout)
            ),
            self.context.key.seed(self.context.params.seed, "relearn"),
        )


def _pair(model: _Answering, attack: str) -> Pair:
    """Return a model's scores of the forgotten rows and of the others, matched by class."""
    if model.exposure is None or model.samples is None:
        raise AssertionError("asked before")
    samples = model.samples
    weights, _, other_weights = samples.weights()
    forgotten, _, others = model.exposure.scores(attack)
    return (
        Scored(forgotten, weights, samples.forgotten.groups),
        Scored(others, other_weights, samples.others.groups),
    )


def _accuracy(model: _Answering, rows: pa.Table, context: Context) -> float:
    return accuracy(model.ensemble.probabilities(rows), targets(rows, context.layout))
