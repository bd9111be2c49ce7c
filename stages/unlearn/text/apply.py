"""From a tuned model in its folder, through one method, to the model that is written."""

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from unlearn.stages.config.methods import UnlearnParams
from unlearn.stages.context import PosthocContext
from unlearn.stages.project.files import json_bytes
from unlearn.stages.rows.holdout import fewest
from unlearn.stages.text.gate import MOST_FORGET, check_memorised
from unlearn.stages.text.metrics import extraction_strength
from unlearn.stages.text.scoring import score
from unlearn.stages.text.sequences import Sequences, ragged
from unlearn.stages.training.generic_text import read_generic
from unlearn.stages.training.method_record import WHOLE, MethodRows, settings_of
from unlearn.stages.training.shard_model import FILE_NAME as MODEL_FILE
from unlearn.stages.training.shard_model import ShardModel
from unlearn.stages.unlearn.base.problem import Changed, NotApplicableError, apply
from unlearn.stages.unlearn.base.registry import Method
from unlearn.stages.unlearn.text.guard import Limits, TextGuard, TextProbes
from unlearn.stages.unlearn.text.problem import TextProblem
from unlearn.stages.unlearn.text.tuned import Tuned

#: The guard's probes, in rows, and in sequences where a row is several: enough to see a loss move,
#: few enough that asking costs about half as much as a step of 32 rows of either side.
_MOST, _MOST_GENERIC, _MOST_PROMPTS = 16, 8, 2


def unlearn_text(
    context: PosthocContext,
    method: Method,
    original: ShardModel,
    rows: MethodRows,
    young: ShardModel | None = None,
) -> Changed:
    """Apply a method to a tuned language model.

    Parameters
    ----------
    context
        The project; nothing in it is written.
    method
        One that changes the model it starts from.
    original
        The model to start from.
    rows
        What the method is given; both sides have rows.
    young
        The model whose loss on the forget rows is the guard's target; None where there is none.

    Raises
    ------
    InputError
        If the original did not memorise what it is to unlearn, or what it reads is not as it
        must be.
    NotApplicableError
        If the method does not apply to this model or these rows.
    """
    problem = make_problem(context, method.name, original, rows, young)
    _check_gate(context, problem, rows.forget)
    if "prompt" in method.needs and not problem.tuned.encoder.layout.has_prompts:
        raise NotApplicableError("running text has no prompt that another answer could follow")
    apply(method, problem)
    guard = problem.guard
    if guard.start is not None:
        if not guard.settled:
            guard.settle()
        # A method may add to what its guard measured, not replace it.
        problem.facts |= guard.facts()
    weights, more = problem.tuned.close()
    description = {**original.description, "rows": rows.retain.num_rows, **more}
    files = {MODEL_FILE: json_bytes(description), str(description["file"]): weights}
    return problem.changed(files)


def make_problem(
    context: PosthocContext,
    name: str,
    original: ShardModel,
    rows: MethodRows,
    young: ShardModel | None = None,
) -> TextProblem:
    """Return what a method is given; see `unlearn_text`."""
    params = context.params
    shared = context.unlearn.for_language
    # Before the original is opened: there may be no room for two models.
    target = None if young is None else _target_of_young(young, context, rows)
    seed = context.key.seed(params.seed, WHOLE, "unlearn", name)
    tuned = Tuned(original, shared.adapter, context.project.root, seed)
    encoder = tuned.encoder
    return TextProblem(
        tuned=tuned,
        forget=encoder.encode(rows.forget).sequences,
        retain=encoder.encode(rows.retain).sequences,
        rows=rows.forget,
        settings=settings_of(context, name),
        shared=shared,
        seed=seed,
        epochs=params.train.epochs,
        guard=_guard_of(tuned, context.unlearn, rows, read_generic(context), target),
    )


def _target_of_young(young: ShardModel, context: PosthocContext, rows: MethodRows) -> float | None:
    """Return the loss of a token of the forget probe in the model of the stage `young`."""
    try:
        opened = Tuned(young, None, context.project.root, seed=0)
    except NotApplicableError:
        return None
    loss = float(opened.losses(_probe(opened, fewest(rows.forget, _MOST))).by_token())
    return loss if math.isfinite(loss) else None


def _guard_of(
    tuned: Tuned,
    unlearn: UnlearnParams,
    rows: MethodRows,
    generic: pa.Table | None,
    young: float | None,
) -> TextGuard:
    shared, guard = unlearn.for_language, unlearn.guard
    probes = TextProbes(
        forget=_probe(tuned, fewest(rows.forget, _MOST)),
        retain=_probe(tuned, fewest(rows.retain, _MOST)),
        unseen=_probe(tuned, fewest(rows.calibration, _MOST)),
        generic=_probe(tuned, None if generic is None else _spread(generic, _MOST_GENERIC)),
        prompts=_prompts(tuned, rows.calibration, generic),
        young=young,
    )
    limits = Limits(
        budget=guard.budget,
        perplexity=shared.perplexity_limit,
        repetition=shared.repetition_limit,
        gradient=guard.gradient_limit,
    )
    return TextGuard(tuned, probes, limits, active=guard.active)


def _probe(tuned: Tuned, rows: pa.Table | None) -> Sequences:
    if rows is None or rows.num_rows == 0:
        return ragged([], [], [])
    found = tuned.encoder.encode(rows).sequences
    if len(found) <= _MOST:
        return found
    # The first piece of every row, then the second of each: not one long text alone.
    piece = np.arange(len(found)) - np.searchsorted(found.rows, found.rows)
    return found.take(np.sort(np.argsort(piece, kind="stable")[:_MOST]))


def _prompts(
    tuned: Tuned, calibration: pa.Table, generic: pa.Table | None
) -> Sequence[Sequence[int]]:
    """Return some prompts of rows that no model saw, each once."""
    if calibration.num_rows:
        rows = fewest(calibration, _MOST_PROMPTS)
    elif generic is not None:
        rows = _spread(generic, _MOST_PROMPTS)
    else:
        return ()
    return list(dict.fromkeys(map(tuple, tuned.encoder.prompts(rows))))


def _spread(rows: pa.Table, most: int) -> pa.Table:
    """Return at most this number of rows, from all parts of a table."""
    if rows.num_rows <= most:
        return rows
    return rows.take(pa.array(np.arange(most) * rows.num_rows // most))


def _check_gate(context: PosthocContext, problem: TextProblem, forget: pa.Table) -> None:
    """Ask what `verify` asks of the original: the mean over rows, whose pieces count as one."""
    gate = problem.shared.gate
    if gate is None:
        return
    tuned = problem.tuned
    probe = fewest(forget, MOST_FORGET)
    sequences = tuned.encoder.encode(probe, tuned.encoder.answer_column).sequences
    scores = score(tuned.forward, sequences, tuned.encoder.pad, device=tuned.device)
    found = scores.by_row(sequences.rows, probe.num_rows)
    strengths = [extraction_strength(found.right[part]) for part in found.slices]
    enough = forget.num_rows >= context.params.verify.min_rows
    check_memorised(float(np.mean(strengths)), gate, shown=enough)
