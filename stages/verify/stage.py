"""Entry of the `verify` stage."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from unlearn.stages.context import Context, PosthocContext
from unlearn.stages.dvc.lockfile import folder_md5
from unlearn.stages.dvc.pipeline import model_folders
from unlearn.stages.errors import InputError
from unlearn.stages.final_model.ensemble import Ensemble, load_ensemble, read_final_model
from unlearn.stages.project.files import remove_unplanned, write_bytes, write_json
from unlearn.stages.project.paths import HOLDOUT
from unlearn.stages.rows.forget_list import ForgetList
from unlearn.stages.rows.holdout import tested_half
from unlearn.stages.rows.shard_file import targets
from unlearn.stages.training.environment import environment
from unlearn.stages.training.recipe import settings_digest
from unlearn.stages.verify.comparison import methods_table
from unlearn.stages.verify.evidence import NO_EVIDENCE, Evidence, gather, rounded
from unlearn.stages.verify.exactness.checks import (
    Exactness,
    Retrain,
    ShardRows,
    check_exactness,
    derive_rows,
    retrain_shards,
)
from unlearn.stages.verify.measures.utility import Utility, measure
from unlearn.stages.verify.measures.utility_change import MEASURES
from unlearn.stages.verify.membership.answers import FinalModel
from unlearn.stages.verify.membership.canaries import CanaryResult, attack_canaries
from unlearn.stages.verify.plot_tables import roc_plot, roc_table, score_plot, score_table
from unlearn.stages.verify.posthoc import compare_methods
from unlearn.stages.verify.verdict import decide


def run(context: Context, *, retrain: Retrain = retrain_shards) -> dict[str, Any]:
    """Write `reports/verify.json` and the plots' tables, whatever the findings.

    Aggregates only: never a row, an id, a token or a score of one record.

    Parameters
    ----------
    context
        The project.
    retrain
        Trains the shards that the check chose; one after another by default.

    Returns
    -------
    dict
        The report.

    Raises
    ------
    InputError
        If params.yaml, the key, the forget list or data/shards cannot be read. What is wrong
        with the models is a finding, not an error.
    """
    forget_list = context.read_list()
    if context.params.kind == "posthoc":
        return _run_posthoc(context.posthoc(), forget_list)

    forgotten: dict[str, pa.Table] = {}

    def rows_of(name: str) -> ShardRows:
        rows = derive_rows(context, name, forget_list)
        forgotten[name] = rows.forget
        return rows

    exactness = check_exactness(context, forget_list, rows_of, retrain=retrain)
    holdout = rows_of(HOLDOUT).retain
    utility = Utility(holdout.num_rows)
    evidence = NO_EVIDENCE
    canaries: CanaryResult | None = None
    language: dict[str, Any] | None = None
    try:
        model = _load(context)
    except InputError as error:
        exactness.add(f"models/final_model: {error.message}")
    else:
        utility = _utility(context, model, holdout)
        asked = {shard: forgotten[shard] for shard in context.params.sharding.shards}
        language = _language(context, model, asked, utility)
        evidence = gather(context, model, asked, lambda name: rows_of(name).retain, holdout)
        if model.members:
            canaries = attack_canaries(context, model, forget_list)
    report = _report(context, forget_list, exactness, utility)
    if context.params.dataset.is_text:
        report["language"] = rounded(language)
    return _write(context, report, evidence, canaries)


def _run_posthoc(context: PosthocContext, forget_list: ForgetList) -> dict[str, Any]:
    """Write the report on a model without shards, and a file of numbers for each method."""
    found = compare_methods(context, forget_list)
    holdout = derive_rows(context, HOLDOUT, forget_list).retain
    exactness, utility = found.exactness, Utility(holdout.num_rows)
    canaries: CanaryResult | None = None
    try:
        model = _load(context)
    except InputError as error:
        exactness.add(f"models/final_model: {error.message}")
    else:
        # The other half has been looked at by guards.
        utility = _utility(context, model, tested_half(holdout))
        if model.members:
            canaries = attack_canaries(context, model, forget_list)
    report = _report(context, forget_list, exactness, utility)
    deployed = found.results[context.unlearn.deploy]
    report |= {
        "label": deployed.label,
        "verdict": deployed.verdict if not exactness.problems else "fail",
        "reasons": list(exactness.problems or deployed.reasons),
        "deploy": context.unlearn.deploy,
        "methods": {name: rounded(result.as_json()) for name, result in found.results.items()},
    }
    if context.params.dataset.is_text:
        report["original"] = rounded(None if found.original is None else dict(found.original))
    metrics = context.project.method_metrics
    for name, result in found.results.items():
        write_json(metrics / _file_of(name), rounded(result.summary()))
    remove_unplanned(metrics, [_file_of(name) for name in found.results])
    write_bytes(context.project.plots / "methods.csv", methods_table(found.results))
    return _write(context, report, found.evidence, canaries)


def _file_of(method: str) -> str:
    """Return the path of a method's file of numbers; one of the user's own may be in a folder."""
    return f"{method}.json"


def _write(
    context: Context, report: dict[str, Any], evidence: Evidence, canaries: CanaryResult | None
) -> dict[str, Any]:
    report["membership"] = rounded(evidence.as_json())
    report["canaries"] = rounded(None if canaries is None else canaries.as_json())
    project = context.project
    write_bytes(project.roc, roc_table(evidence.attacks))
    write_bytes(project.scores, score_table(evidence.attacks))
    write_bytes(project.plots / "roc.csv", roc_plot(evidence.decisive))
    write_bytes(project.plots / "scores.csv", score_plot(evidence.decisive))
    write_json(project.metrics, summary(report))
    write_json(project.report, report)
    return report


def summary(report: dict[str, Any]) -> dict[str, Any]:
    """Return what of a report `dvc metrics` is to show: a line that fits on a screen."""
    membership, canaries = report["membership"] or {}, report["canaries"] or {}
    low, high = membership.get("ci") or (None, None)
    exactness, utility = report["exactness"], report["utility"]
    found = {
        "verdict": report["verdict"],
        "exactness": {name: exactness[name] for name in ("touched", "reran", "matched")},
        "membership": {
            "verdict": membership.get("verdict"),
            "auc": membership.get("auc"),
            "low": low,
            "high": high,
            "control": membership.get("control", {}).get("auc"),
        },
        "canaries": {
            "auc": canaries.get("auc"),
            "epsilon": canaries.get("epsilon_lower_bound"),
        },
        "utility": {name: utility[name] for name in MEASURES},
    }
    if (language := report.get("language")) is not None:
        found["extraction_strength"] = {
            rows: (known or {}).get("extraction_strength") for rows, known in language.items()
        }
    return found


def _own_code(context: Context) -> Any:
    code = context.params.train.code_path
    return None if code is None else context.project.root / code


def _load(context: Context) -> FinalModel:
    """Load the final model, of whichever kind of rows; without members if no row is left."""
    folder = context.project.final_model
    if not context.params.dataset.is_text:
        return load_ensemble(folder, own_code=_own_code(context))
    description, models = read_final_model(folder)
    if not models:
        return Ensemble(description.dataset, description.rule, (), has_probabilities=True)
    from unlearn.stages.final_model.text_loading import load_language_model

    return load_language_model(folder, context.project.root)


def _utility(context: Context, model: FinalModel, holdout: pa.Table) -> Utility:
    if not model.members or holdout.num_rows == 0:
        return Utility(holdout.num_rows)
    if not isinstance(model, Ensemble):
        from unlearn.stages.verify.measures.memorisation import language_utility

        return language_utility(model, holdout, context.params.verify.min_rows)
    return measure(
        model.probabilities(holdout),
        targets(holdout, context.layout),
        model.classes,
        has_probabilities=model.has_probabilities,
        min_rows=context.params.verify.min_rows,
    )


def _language(
    context: Context, model: FinalModel, forgotten: Mapping[str, pa.Table], utility: Utility
) -> dict[str, Any] | None:
    """Return what a language model knows of forgotten and of unseen rows; None for others."""
    if isinstance(model, Ensemble):
        return None
    from unlearn.stages.verify.measures.memorisation import forgotten_beside_unseen

    rows = pa.concat_tables(list(forgotten.values()))
    minimum = context.params.verify.min_rows
    return forgotten_beside_unseen(model, rows, utility.language, minimum)


def _covers(context: Context) -> str | None:
    """Say what a verdict on a language model is about, and what it is not."""
    params = context.params
    if not params.dataset.is_text:
        return None
    return (
        "this is about the tuning data, the rows of the dataset: what the base, "
        f"{params.train.language.base}, learned in its own pre-training is not covered"
    )


def _report(
    context: Context,
    forget_list: ForgetList,
    exactness: Exactness,
    utility: Utility,
) -> dict[str, Any]:
    covers, of_text = _covers(context), context.params.dataset.is_text
    verdict = decide(exactness, covers)
    report = {
        "schema_version": 1,
        "label": "exact",
        "verdict": verdict.outcome,
        "reasons": list(verdict.reasons),
        "forget_list": {"digest": forget_list.digest, "tokens": len(forget_list.tokens)},
        "exactness": {
            "touched": exactness.touched,
            "reran": exactness.reran,
            "matched": exactness.matched,
            "lineage_clean": exactness.lineage_clean,
            "problems": len(exactness.problems),
        },
        "models": _models(context),
        "settings": settings_digest(context.params),
        "utility": rounded(utility.as_json(of_text=of_text)),
        "environment": environment(context.params.train),
    }
    return report | {"covers": covers} if of_text else report


def _models(context: Context) -> dict[str, str]:
    """Return the md5 of every model that was looked at, by shard or method."""
    root = context.project.root
    return {
        name: folder_md5(root / folder)
        for name, (_, folder) in model_folders(context.params).items()
    }
