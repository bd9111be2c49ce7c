"""Verification of the exact pipeline: models that were trained on shards."""

from functools import lru_cache

import pyarrow as pa
from unlearn.stages.context import ExactContext
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import HOLDOUT
from unlearn.stages.rows.forget_list import ForgetList
from unlearn.stages.verify.evidence import NO_EVIDENCE, gather
from unlearn.stages.verify.exactness.checks import check_exactness, derive_rows
from unlearn.stages.verify.exactness.found import Retrain, ShardRows
from unlearn.stages.verify.exactness.trees import Refit
from unlearn.stages.verify.findings import Findings
from unlearn.stages.verify.measures.modality import modality_of
from unlearn.stages.verify.membership.canaries import attack_canaries
from unlearn.stages.verify.verdict import decide
from unlearn.stages.verify_report.membership import CanaryResult
from unlearn.stages.verify_report.quality import KnowledgeOfRows, Utility


def verify_shards(
    context: ExactContext,
    forget_list: ForgetList,
    covers: str | None,
    *,
    retrain: Retrain,
    refit: Refit,
) -> Findings:
    """Check the models of all shards, and attack and measure them.

    Parameters
    ----------
    context, forget_list
        The project, and the current list.
    covers
        What a verdict is about and what it is not; see `decide`.
    retrain
        Trains the shards that the check chose.
    refit
        Fits trees of a shard model again.

    Raises
    ------
    InputError
        If data/shards cannot be read. What is wrong with the models is a finding, not an error.
    """
    forgotten: dict[str, pa.Table] = {}

    # Of one shard at a time: all of them may be more than memory holds.
    @lru_cache(maxsize=1)
    def rows_of(name: str) -> ShardRows:
        rows = derive_rows(context, name, forget_list)
        forgotten[name] = rows.forget
        return rows

    exactness = check_exactness(context, forget_list, rows_of, retrain=retrain, refit=refit)
    holdout = rows_of(HOLDOUT).retain
    utility, evidence = Utility(rows=holdout.num_rows), NO_EVIDENCE
    canaries: CanaryResult | None = None
    language: KnowledgeOfRows | None = None
    try:
        model = modality_of(context.params).open_final_model(context)
    except InputError as error:
        exactness.add(f"models/final_model: {error.message}")
    else:
        minimum = context.params.verify.min_rows
        utility = model.utility(holdout, minimum)
        by_shard = {shard: forgotten[shard] for shard in context.shards}
        language = model.memorisation(pa.concat_tables(by_shard.values()), utility, minimum)
        evidence = gather(context, model, by_shard, lambda name: rows_of(name).retain, holdout)
        if model.members:
            canaries = attack_canaries(context, model, forget_list)
    return Findings(
        label="exact",
        verdict=decide(exactness, covers),
        exactness=exactness,
        utility=utility,
        evidence=evidence,
        canaries=canaries,
        language=language,
    )
