"""What an exported model is like: quality on unseen rows, extraction and membership."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.export.record import AttackFacts, Measurement, Quality
from unlearn.stages.final_model.one_adapter import NAME
from unlearn.stages.final_model.text_ensemble import LanguageEnsemble
from unlearn.stages.final_model.text_loading import load_language_model, open_language_models
from unlearn.stages.project.paths import HOLDOUT
from unlearn.stages.rows.holdout import fewest
from unlearn.stages.training.shard_model import ShardModel
from unlearn.stages.verify.evidence import FINAL_MODEL, Evidence, gather
from unlearn.stages.verify.exactness.checks import derive_rows
from unlearn.stages.verify.exactness.found import ShardRows
from unlearn.stages.verify.measures.memorisation import MOST_ROWS, knowledge_of
from unlearn.stages.verify.measures.text_model import OneAdapterModel
from unlearn.stages.verify.membership.registry import deciding_attack
from unlearn.stages.verify.verdict import DecidingAttack, Missing, judge_membership
from unlearn.stages.verify_report.words import UNSETTLED

#: Significant digits of figures in an export: it goes where rows may not go.
_DIGITS = 3

_UNSETTLED = "the attack does not settle it: more forgotten rows would tell"
_FEW_HELD_OUT = "quality was not measured: fewer held-out rows than verify.min_rows"
_PENDING = "membership was not measured: requests are pending"
_ONE_MODEL = "membership: see the report of the project, whose final model this is"


@dataclass(frozen=True)
class Rows:
    """Rows that an export is measured on.

    Parameters
    ----------
    forgotten
        Those of the forget list, by shard.
    retained
        Those that are left, by shard.
    holdout
        Those that no model was trained on.
    """

    forgotten: Mapping[str, pa.Table]
    retained: Mapping[str, pa.Table]
    holdout: pa.Table


def read_rows(context: Context) -> Rows:
    """Return the project's rows, by the forget list as it stands.

    Raises
    ------
    InputError
        If data/shards is not on this machine.
    """
    listed = context.read_list()

    @cache
    def rows_of(name: str) -> ShardRows:
        return derive_rows(context, name, listed)

    shards = context.params.sharding.shards
    return Rows(
        {name: rows_of(name).forget for name in shards},
        {name: rows_of(name).retain for name in shards},
        rows_of(HOLDOUT).retain,
    )


def measure_adapter(
    context: Context,
    members: Sequence[tuple[str, ShardModel]],
    one: ShardModel,
    whole: Any = None,
    *,
    pending: bool = False,
) -> Measurement:
    """Measure one adapter of the shards', beside the mean of their log-probabilities.

    The reference models of the attack are adapters that were merged in the same way; a lower rank
    is that of the exported one alone, which moves its answers on all rows alike.

    Parameters
    ----------
    context
        The project.
    members
        Shard and model of each adapter.
    one
        The exported adapter.
    whole
        The exported model, if the adapter was merged into its weights.
    pending
        Whether rows on the forget list may still be in the models.
    """
    try:
        rows = read_rows(context)
    except InputError as error:
        return nothing_measured(f"nothing was measured: {error.message}")
    dataset, root = context.params.dataset, context.project.root
    opened = open_language_models([*members, (NAME, one)], dataset, "merged", root)
    *told, merged = opened.members
    parts, exported = opened.with_members(told), opened.with_members([merged])
    if whole is not None:
        exported = exported.of_module(whole)
    evidence = None
    if not pending:
        model = OneAdapterModel(exported, parts)
        retained = rows.retained
        evidence = gather(context, model, rows.forgotten, lambda name: retained[name], rows.holdout)
    missing = [_PENDING] if pending else []
    return _measured(context, rows, (exported, parts), _attack_facts(context, evidence), missing)


def measure_deployed(context: Context, whole: Any = None) -> Measurement:
    """Measure the one model of a post-hoc project; see `measure_adapter`."""
    project = context.project
    try:
        rows = read_rows(context)
    except InputError as error:
        return nothing_measured(f"nothing was measured: {error.message}")
    deployed = load_language_model(project.final_model, project.root)
    exported = deployed if whole is None else deployed.of_module(whole)
    return _measured(context, rows, (exported, deployed), None, [_ONE_MODEL])


def nothing_measured(why: str) -> Measurement:
    """Return a measurement without figures."""
    return Measurement(
        exported=None, deployed=None, perplexity_ratio=None, membership=None, missing=[why]
    )


def _measured(
    context: Context,
    rows: Rows,
    models: tuple[LanguageEnsemble, LanguageEnsemble],
    attack: AttackFacts | None,
    missing: list[str],
) -> Measurement:
    minimum = max(context.params.verify.min_rows, 1)
    exported, deployed = (_quality(model, rows, minimum) for model in models)
    ratio = None
    if exported.perplexity is not None and deployed.perplexity:
        ratio = exported.perplexity / deployed.perplexity
    if rows.holdout.num_rows < minimum:
        missing = [*missing, _FEW_HELD_OUT]
    return Measurement(
        exported=_rounded(exported),
        deployed=_rounded(deployed),
        perplexity_ratio=_round(ratio),
        membership=attack,
        missing=missing,
    )


def _quality(model: LanguageEnsemble, rows: Rows, minimum: int) -> Quality:
    forgotten = pa.concat_tables(rows.forgotten.values())
    of: dict[str, Any] = {}
    for name, table in (("unseen", rows.holdout), ("forgotten", forgotten)):
        asked = fewest(table, MOST_ROWS)
        if asked.num_rows >= minimum:
            scores = model.row_scores(asked)
            of[name] = (knowledge_of(scores), float(scores.right.mean())) if scores.finite else None
    unseen, known = of.get("unseen"), of.get("forgotten")
    return Quality(
        perplexity=None if unseen is None else unseen[0].perplexity,
        accuracy=None if unseen is None else unseen[1],
        extraction=None if known is None else known[0].extraction_strength,
        unseen_extraction=None if unseen is None else unseen[0].extraction_strength,
    )


def _attack_facts(context: Context, evidence: Evidence | None) -> AttackFacts | None:
    """Return what the deciding attack finds on the exported model, and its verdict."""
    if evidence is None or evidence.verdict is None:
        return None
    deciding = deciding_attack(context.params)
    found = evidence.attacks.get(FINAL_MODEL, {}).get(deciding.name)
    if found is None:
        return AttackFacts(
            attack=deciding.name,
            auc=None,
            low=None,
            high=None,
            verdict="inconclusive",
            reasons=list(evidence.verdict.in_words),
        )
    judged = DecidingAttack(
        deciding.name, found.forgotten, found.control, found.rows, deciding.allows_for_difficulty
    )
    verdict = judge_membership(judged, context.params.verify.margin, Missing(""))
    low, high = found.result.ci or (None, None)
    return AttackFacts(
        attack=deciding.name,
        auc=_round(found.result.auc),
        low=_round(low),
        high=_round(high),
        verdict=verdict.outcome,
        reasons=[_UNSETTLED if words == UNSETTLED else words for words in verdict.in_words],
    )


def _rounded(of: Quality) -> Quality:
    return Quality(**{name: _round(value) for name, value in of.model_dump().items()})


def _round(value: float | None) -> float | None:
    if value is None or not np.isfinite(value):
        return None
    return float(f"{value:.{_DIGITS}g}")
