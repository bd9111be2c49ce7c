"""The attack on canaries: its power, and a lower bound on the privacy loss."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.context import Context
from unlearn.stages.project.paths import CANARIES
from unlearn.stages.rows.canaries import included
from unlearn.stages.rows.forget_list import ForgetList
from unlearn.stages.rows.off_slices import off_mask
from unlearn.stages.rows.shard_file import (
    forget_mask,
    governing_tokens,
    read_shard,
    record_tokens,
)
from unlearn.stages.rows.tokens import home_shard
from unlearn.stages.verify.membership.answers import Answers, FinalModel
from unlearn.stages.verify.membership.arrays import Bools, Floats, Ints
from unlearn.stages.verify.membership.calibrated import (
    LIRA,
    MIN_REFERENCES,
    lira,
    lira_of_residuals,
)
from unlearn.stages.verify.membership.one_run_audit import one_run_bound
from unlearn.stages.verify.membership.registry import loss_attack
from unlearn.stages.verify.membership.statistics import Scored, auc_intervals
from unlearn.stages.verify_report.membership import CanaryResult


def attack_canaries(
    context: Context, model: FinalModel, forget_list: ForgetList
) -> CanaryResult | None:
    """Attack the canaries; None if there are none.

    Parameters
    ----------
    context, model
        The project and its final model, whose members are the shard models.
    forget_list
        Canaries that were to be forgotten are neither members nor left out, and not attacked.
    """
    path = context.project.shard_file(CANARIES)
    if context.params.dataset.canaries is None or not path.is_file():
        return None
    rows = read_shard(path, f"data/shards/{path.name}").rows
    rows = rows.filter(pc.invert(forget_mask(rows, forget_list)))
    index = {member.shard: number for number, member in enumerate(model.members)}
    governing = governing_tokens(rows)
    sharding = context.params.sharding
    shards = len(sharding.shards)
    home = np.array([index.get(home_shard(token, shards), -1) for token in governing], dtype=int)
    for shard in sharding.switched_off:
        # Nothing is trained on slices that are off, whether or not a canary was to be.
        home[(home == index.get(shard, -1)) & np.asarray(off_mask(rows, sharding, shard))] = -1
    # The canaries of a shard without rows have no model.
    rows, home = rows.filter(pa.array(home >= 0)), home[home >= 0]
    trained_on = included(context.key, record_tokens(rows))
    probable = all(member.has_probabilities for member in model.members)
    answers = model.answers([(rows, home)])[0] if probable and rows.num_rows else None
    if answers is None or not answers.finite:
        members = int(trained_on.sum())
        return CanaryResult(count=rows.num_rows, members=members, guesses=0, correct=0)
    calibrated = len(model.members) > MIN_REFERENCES
    by_loss = loss_attack(context.params)
    scores = _lira(answers, home) if calibrated else answers.of_home.scores[by_loss.name]
    seed = context.key.seed(context.params.seed, "verify", "canaries")
    rng = np.random.Generator(np.random.PCG64(seed))
    value, interval = _auc(scores, trained_on, context.params.verify.min_rows, rng)
    bound = one_run_bound(scores, trained_on)
    return CanaryResult(
        count=rows.num_rows,
        members=int(trained_on.sum()),
        attack=(LIRA if calibrated else by_loss).name,
        auc=value,
        ci=interval,
        guesses=bound.guesses,
        correct=bound.correct,
        epsilon_lower_bound=bound.epsilon_lower_bound,
    )


def _lira(answers: Answers, home: Ints) -> Floats:
    rows, logits = np.arange(len(home)), answers.logits
    usable = np.ones(logits.shape, dtype=bool)
    usable[rows, home] = False
    score = lira_of_residuals if answers.of_final.residuals else lira
    return score(logits[rows, home], logits, usable)


def _auc(
    scores: Floats, trained_on: Bools, min_rows: int, rng: np.random.Generator
) -> tuple[float | None, tuple[float, float] | None]:
    samples = [
        Scored(scores[part], np.ones(int(part.sum())), np.arange(int(part.sum())))
        for part in (trained_on, ~trained_on)
    ]
    if min(len(sample.scores) for sample in samples) < min_rows:
        return None, None
    (found,) = auc_intervals([(samples[0], samples[1])], rng)
    return found.value, found.wide
