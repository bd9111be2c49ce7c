"""Entry of the `verify` stage."""

from pathlib import Path
from typing import Any

from unlearn.stages.context import Context
from unlearn.stages.dvc.lockfile import folder_md5
from unlearn.stages.dvc.pipeline import model_folders
from unlearn.stages.ledger.suppressed import dropped_rows
from unlearn.stages.project.files import (
    canonical_json,
    json_bytes,
    remove_unplanned,
    write_bytes,
    write_json,
)
from unlearn.stages.project.paths import UNLABELLED
from unlearn.stages.rows import seals
from unlearn.stages.rows.forget_list import ForgetList
from unlearn.stages.rows.padding import padded_text
from unlearn.stages.rows.shard_file import count_rows
from unlearn.stages.rows.tokens import Key
from unlearn.stages.training.environment import environment
from unlearn.stages.training.recipe import settings_digest
from unlearn.stages.verify.evidence import Evidence
from unlearn.stages.verify.exact import verify_shards
from unlearn.stages.verify.exactness.checks import retrain_shards
from unlearn.stages.verify.exactness.found import Retrain
from unlearn.stages.verify.exactness.trees import Refit, check_trees
from unlearn.stages.verify.findings import Findings, Methods
from unlearn.stages.verify.measures.modality import modality_of
from unlearn.stages.verify.membership.registry import deciding_attack
from unlearn.stages.verify.plot_tables import (
    methods_table,
    roc_plot,
    roc_table,
    score_plot,
    score_table,
)
from unlearn.stages.verify.posthoc import verify_methods
from unlearn.stages.verify.summaries import method_summary, report_summary
from unlearn.stages.verify_report.public import PublicReport, public_part
from unlearn.stages.verify_report.report import ExactnessCounts, ForgetListState, Report


def run(
    context: Context, *, retrain: Retrain = retrain_shards, refit: Refit = check_trees
) -> Report:
    """Write the report with its figures, the plots' tables, and the verdicts for git.

    Aggregates only: never a row, an id, a token or a score of one record.

    Parameters
    ----------
    context
        The project.
    retrain
        Trains the shards that the check chose; one after another by default.
    refit
        Fits trees of a shard model again, where models are of trees.

    Returns
    -------
    Report
        As a reader of the file gets it.

    Raises
    ------
    InputError
        If params.yaml names no attack on such models, or if params.yaml, the key, the forget list
        or data/shards cannot be read. What is wrong with the models is a finding, not an error.
    """
    deciding_attack(context.params)  # a wrong name is an error before anything is measured
    forget_list = context.read_list()
    covers = modality_of(context.params).covers(context.params)
    if context.params.kind == "posthoc":
        found = verify_methods(context.posthoc(), forget_list)
    else:
        found = verify_shards(context.exact(), forget_list, covers, retrain=retrain, refit=refit)
    report = _sealed(context.key, _report(context, forget_list, found, covers))
    project = context.project
    # A verdict without its figures is complete; figures without their verdict are not.
    project.verdict.unlink(missing_ok=True)
    _write_tables(context, found.evidence)
    if found.methods is not None:
        _write_methods(context, found.methods)
    _write_figures(context, project.metrics, report_summary(report))
    _write_figures(context, project.report, report.as_json())
    public = sealed_verdict(context.key, report, context.params.verify.min_rows)
    write_json(project.verdict, public.as_json())
    return report


def sealed_verdict(key: Key, report: Report, min_rows: int) -> PublicReport:
    """Return what git holds of a report, with its seal.

    Parameters
    ----------
    key
        The project key.
    report
        With all its figures.
    min_rows
        The fewest rows that anything is told about.
    """
    # Drawn again for another report, and the same for the same one.
    drawn = key.digest("caution", canonical_json(_unsealed(report)))
    public = public_part(report, int.from_bytes(drawn[:8], "big") / 2**64, min_rows)
    return public.model_copy(update={"seal": seals.seal(key, seals.VERDICT, public.as_json())})


def _unsealed(report: Report) -> dict[str, Any]:
    return {name: value for name, value in report.as_json().items() if name != "seal"}


def _sealed(key: Key, report: Report) -> Report:
    return report.model_copy(update={"seal": seals.seal(key, seals.REPORT, report.as_json())})


def _write_figures(context: Context, path: Path, value: dict[str, Any]) -> None:
    """Write figures that git does not hold, but whose size and hash it does."""
    write_bytes(path, padded_text(json_bytes(value), context.key, "json"))


def _write_tables(context: Context, evidence: Evidence) -> None:
    """Write the tables behind the plots."""
    project = context.project
    tables = {
        project.roc: roc_table(evidence.attacks),
        project.scores: score_table(evidence.attacks, context.params.verify.min_rows),
        project.plots / "roc.csv": roc_plot(evidence.decisive),
        project.plots / "scores.csv": score_plot(evidence.decisive, context.params.verify.min_rows),
    }
    for path, table in tables.items():
        write_bytes(path, padded_text(table, context.key, "csv"))


def _write_methods(context: Context, methods: Methods) -> None:
    """Write a file of numbers for each method, and the table of all."""
    folder = context.project.method_metrics
    for name, result in methods.results.items():
        _write_figures(context, folder / _file_of(name), method_summary(result))
    remove_unplanned(folder, [_file_of(name) for name in methods.results])
    table = padded_text(methods_table(methods.results), context.key, "csv")
    write_bytes(context.project.plots / "methods.csv", table)


def _file_of(method: str) -> str:
    """Return the path of a method's file of numbers; one of the user's own may be in a folder."""
    return f"{method}.json"


def _report(
    context: Context, forget_list: ForgetList, found: Findings, covers: str | None
) -> Report:
    params, exactness, utility = context.params, found.exactness, found.utility
    # Some parts are in the reports of one kind or modality alone, there even if nothing is known.
    some: dict[str, Any] = {}
    if params.modality == "text":
        some["covers"] = covers
        utility = utility.model_copy(update={"language": utility.language})
        if found.methods is None:
            some["language"] = found.language
        else:
            some["original"] = found.methods.original
    some_counts: dict[str, Any] = {"constant": exactness.constant} if exactness.constant else {}
    if exactness.trees is not None:
        some_counts["trees"] = exactness.trees
    if found.methods is not None:
        some |= {"deploy": found.methods.deployed, "methods": found.methods.results}
    unlabelled = count_rows(context.project.shard_file(UNLABELLED)) or 0
    if unlabelled >= params.verify.min_rows:
        some["unlabelled"] = unlabelled
    if dropped := dropped_rows(context.project):
        some["suppressed"] = dropped
    report = Report(
        kind=params.kind,
        modality=params.modality,
        label=found.label,
        verdict=found.verdict.outcome,
        reasons=found.verdict.reasons,
        reasons_in_words=found.verdict.in_words,
        forget_list=ForgetListState(digest=forget_list.digest, tokens=len(forget_list.tokens)),
        exactness=ExactnessCounts(
            touched=exactness.touched,
            reran=exactness.reran,
            matched=exactness.matched,
            lineage_clean=exactness.lineage_clean,
            problems=len(exactness.problems),
            **some_counts,
        ),
        models=_models(context),
        settings=settings_digest(params),
        utility=utility,
        environment=environment(params.train),
        membership=found.evidence.membership(),
        canaries=found.canaries,
        **some,
    )
    return report.rounded()


def _models(context: Context) -> dict[str, str]:
    """Return the md5 of every model that was looked at, by shard or method."""
    root = context.project.root
    return {
        name: folder_md5(root / folder)
        for name, (_, folder) in model_folders(context.params).items()
    }
