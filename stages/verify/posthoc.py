"""Verification of the post-hoc pipeline: which methods forgot, at what cost, how surely."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from unlearn.stages.context import PosthocContext
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import HOLDOUT
from unlearn.stages.rows.forget_list import ForgetList
from unlearn.stages.rows.holdout import calibration_half, tested_half
from unlearn.stages.training.method_record import RETRAIN, WHOLE, MethodRows
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.verify.comparison import AskedModel, Comparison
from unlearn.stages.verify.exactness.checks import derive_rows
from unlearn.stages.verify.exactness.found import Exactness
from unlearn.stages.verify.exactness.methods import (
    ORIGINAL,
    MethodCheck,
    check_final_model,
    check_original,
    check_unlearned,
)
from unlearn.stages.verify.findings import Findings, Methods
from unlearn.stages.verify.matched_evidence import MatchedEvidence
from unlearn.stages.verify.measures.base import Measures, Setting
from unlearn.stages.verify.measures.modality import modality_of
from unlearn.stages.verify.membership.answers import ReferenceLogits
from unlearn.stages.verify.membership.attacks import run_attacks
from unlearn.stages.verify.membership.canaries import attack_canaries
from unlearn.stages.verify.membership.references import (
    References,
    train_online_references,
    train_references,
)
from unlearn.stages.verify.membership.registry import attacks_for
from unlearn.stages.verify.membership.sampling import compared_rows, draw
from unlearn.stages.verify.membership.views import of_shard_models
from unlearn.stages.verify.verdict import Verdict
from unlearn.stages.verify_report.membership import CanaryResult
from unlearn.stages.verify_report.methods import OriginalResult
from unlearn.stages.verify_report.quality import Utility


def verify_methods(context: PosthocContext, forget_list: ForgetList) -> Findings:
    """Check, attack and compare what every method made; the deployed method decides.

    Parameters
    ----------
    context, forget_list
        The project, and the current list.

    Raises
    ------
    InputError
        If data/shards cannot be read. What is wrong with the models is a finding, not an error.
    """
    whole, holdout = (derive_rows(context, name, forget_list) for name in (WHOLE, HOLDOUT))
    rows = MethodRows(whole.forget, whole.retain, calibration_half(holdout.retain))
    modality = modality_of(context.params)
    common = check_original(context, forget_list, whole, holdout)
    made = {name: check_unlearned(context, name, rows) for name in context.unlearn.compared}
    setting = Setting(context, rows, tested_half(holdout.retain))
    comparison = _ask_models(setting, holdout.retain, made)
    name = context.unlearn.deploy
    final = Exactness()
    check_final_model(context, name, final)
    deployed = replace(made[name], problems=(*made[name].problems, *final.problems))
    made[name] = deployed
    results = {name: comparison.result(name, found, common) for name, found in made.items()}
    original = None
    if comparison.original is not None and modality.reports_original:
        original = OriginalResult(**comparison.measures.numbers(ORIGINAL))
    exactness = Exactness(
        touched=int(rows.forget.num_rows > 0),
        reran=deployed.reran,
        matched=deployed.matched,
        lineage_clean=common.lineage_clean and deployed.lineage_clean,
        problems=(*common.problems, *deployed.problems),
        environment=deployed.environment,
    )
    utility = Utility(rows=holdout.retain.num_rows)
    canaries: CanaryResult | None = None
    try:
        model = modality.open_final_model(context)
    except InputError as error:
        exactness.add(f"models/final_model: {error.message}")
    else:
        # The other half has been looked at by guards.
        utility = model.utility(setting.tested, context.params.verify.min_rows)
        if model.members:
            canaries = attack_canaries(context, model, forget_list)
    result = results[name]
    # A method that does not apply has no model to deploy, which is a problem by itself.
    outcome = "fail" if result.verdict == "not applicable" else result.verdict
    if exactness.problems:
        verdict = Verdict("fail", exactness.problems)
    else:
        verdict = Verdict(outcome, result.reasons, result.reasons_in_words)
    return Findings(
        label=deployed.label,
        verdict=verdict,
        exactness=exactness,
        utility=utility,
        evidence=comparison.evidence(name),
        canaries=canaries,
        methods=Methods(name, results, original),
    )


def _ask_models(setting: Setting, holdout: pa.Table, made: dict[str, MethodCheck]) -> Comparison:
    """Open, measure and attack every model, one after another."""
    context = setting.context
    measures = modality_of(context.params).measures(setting)
    enough = setting.rows.forget.num_rows >= setting.min_rows
    matched = None
    if context.params.verify.negatives == "matched" and enough:
        matched = MatchedEvidence(setting)
    ask = _asker(setting, holdout, measures, matched)
    unlearned = context.project.unlearned
    # The retrained model first, and then the original: others are compared with them.
    # A reference that fails its checks is none: nothing is compared with it.
    with_model = [
        name
        for name, found in made.items()
        if found.has_model and not (name == RETRAIN and found.problems)
    ]
    asked = {name: ask(unlearned / name, name) for name in with_model if name == RETRAIN}
    original = ask(context.project.original, ORIGINAL)
    asked |= {name: ask(unlearned / name, name) for name in with_model if name != RETRAIN}
    answering = {name: asked.get(name) for name in made}
    return Comparison(context, setting.rows, original, answering, measures, matched)


def _asker(
    setting: Setting,
    holdout: pa.Table,
    measures: Measures[Any],
    matched: MatchedEvidence | None,
) -> Callable[[Path, str], AskedModel | None]:
    """Return what opens a model, measures it and asks it about all samples."""
    context, rows = setting.context, setting.rows
    params = context.params

    references, online = _reference_models(setting, holdout)

    def ask(folder: Path, name: str) -> AskedModel | None:
        try:
            model = measures.open(folder, name)
        except InputError:
            return None  # named among the problems
        if model is None:
            return None
        measures.look(name, model)
        if rows.forget.num_rows < params.verify.min_rows:
            return AskedModel()
        if matched is not None:
            matched.ask(name, model)
        drawn = draw(
            model,
            context.layout,
            {WHOLE: rows.forget},
            lambda _shard: rows.retain,
            holdout,
            references,
            online,
        )
        if drawn is None:
            return AskedModel()
        samples = drawn.samples
        asked = samples.forgotten, samples.members, samples.others, drawn.population
        probable = model.has_probabilities and all(answers.finite for answers in asked)
        view = of_shard_models(*asked, probable=probable)
        seed = context.key.seed(params.seed, "verify", "posthoc")
        rng = np.random.Generator(np.random.PCG64(seed))
        attacks = run_attacks(
            view, samples, attacks_for(params), rng, min_rows=params.verify.min_rows
        )
        return AskedModel(view, samples, attacks)

    return ask


def _reference_models(
    setting: Setting, holdout: pa.Table
) -> tuple[
    Callable[[str, pa.Table], References] | None, Callable[[pa.Table], ReferenceLogits] | None
]:
    """Return what gives reference models for `draw`, trained once for all methods."""
    context, rows = setting.context, setting.rows
    params = context.params
    count = params.verify.reference_models

    @cache
    def trained() -> References:
        recipe = Recipe.of_project(context)
        return train_references(recipe, params.dataset, WHOLE, rows.retain, count)

    @cache
    def trained_online() -> References:
        recipe = Recipe.of_project(context)
        parts = compared_rows(context.layout, rows.forget, rows.retain, holdout)
        return train_online_references(recipe, params.dataset, WHOLE, parts, count)

    def references(_shard: str, _rows: pa.Table) -> References:
        return trained()

    def online(asked: pa.Table) -> ReferenceLogits:
        return trained_online().ask_online(asked)

    return (references if count else None), (online if params.verify.online else None)
