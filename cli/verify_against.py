"""What `unlearn verify --against REV` prints: what two final models together give away."""

from collections.abc import Mapping

from unlearn.cli.answers import Answer
from unlearn.cli.output import plural, table
from unlearn.stages.verify_report.difference import (
    DifferenceAttack,
    DifferenceAttacks,
    DifferenceCounts,
    ModelDifference,
    Reconstruction,
)
from unlearn.stages.verify_report.part import Sentences


class AgainstAnswer(Answer):
    """What the final model of a revision and that of now together give away.

    Parameters
    ----------
    against
        The revision.
    rows
        How many rows there were.
    reasons
        Why nothing, or not all, was measured, in sentences.
    notes
        What else differs between the two models, in sentences.
    final_model
        Attacks on the answers of the two final models.
    shard_models
        The worst case: attacks on the two models of each row's own shard.
    reconstruction
        For linear models; null where there is none.
    """

    against: str
    rows: DifferenceCounts
    reasons: Sentences
    notes: Sentences
    final_model: DifferenceAttacks
    shard_models: DifferenceAttacks
    reconstruction: Reconstruction | None


def answer_of(revision: str, found: ModelDifference) -> AgainstAnswer:
    """Return what a program reads."""
    rounded = found.rounded()
    return AgainstAnswer(
        against=revision,
        rows=rounded.rows,
        reasons=rounded.reasons,
        notes=rounded.notes,
        final_model=rounded.final_model,
        shard_models=rounded.shard_models,
        reconstruction=rounded.reconstruction,
    )


#: The columns of the table of attacks.
_HEAD = (
    "attack",
    "AUC",
    "95 % interval",
    "found at 1 %",
    "older alone",
    "newer alone",
    "stayed",
)
_TARGETS = {
    "final_model": "by the answers of the two final models:",
    "shard_models": "by the answers of the two models of a row's own shard (the worst case):",
}
_LEFT = {"attack"}
_UNKNOWN = "-"


def describe_against(answer: AgainstAnswer) -> str:
    """Return what people read."""
    rows = answer.rows
    went = f"{plural(rows.went, 'row')} went, in {plural(rows.shards, 'shard')}"
    new = f"{plural(rows.lines, 'new line')} on the forget list"
    lines = [f"{answer.against} and now: {went}; {new}"]
    if rows.held_out:
        verb = "was" if rows.held_out == 1 else "were"
        lines.append(f"  {plural(rows.held_out, 'other row')} {verb} held out: in neither model")
    if rows.without_rows:
        lines.append(f"  {plural(rows.without_rows, 'line')} without rows")
    lines += [f"not measured: {reason}" for reason in answer.reasons]
    if answer.final_model.attacks:
        lines += [
            "Someone has both models and guesses which rows only the older one was trained on.",
            "An AUC of .5 means that guesses are no better than chance, 1 that all are right.",
        ]
    for target, title in _TARGETS.items():
        attacks: Mapping[str, DifferenceAttack] = getattr(answer, target).attacks
        if attacks:
            lines += [title, *table(_HEAD, [_row(*item) for item in attacks.items()], _LEFT)]
    if answer.reconstruction is not None:
        lines += _rebuilt(answer.reconstruction)
    if answer.final_model.attacks:
        strongest = next(iter(answer.final_model.attacks.values()))
        lines.append(
            f"  {plural(rows.went, 'row')} that went, {_count(rows.stayed)} that stayed, "
            f"{_count(rows.others)} held out; this number distinguishes an AUC of "
            f"{_number(strongest.detectable_auc)} from .5"
        )
    lines += [f"note: {note}" for note in answer.notes]
    return "\n".join(lines)


def _row(name: str, found: DifferenceAttack) -> list[str]:
    return [
        name,
        _number(found.auc),
        _interval(found.ci),
        _UNKNOWN if found.tpr_at_fpr_1pct is None else f"{100 * found.tpr_at_fpr_1pct:.0f} %",
        _number(found.older_alone.auc),
        _number(found.newer_alone.auc),
        _number(found.stayed.auc),
    ]


def _rebuilt(found: Reconstruction) -> list[str]:
    went, others = _number(found.cosine), _number(found.cosine_of_others)
    return [
        "by a row that was computed from the weights of the two models (linear models):",
        f"  AUC {_number(found.auc)}, 95 % interval {_interval(found.ci)}",
        f"  median cosine with the rows that went {went}, with held-out rows {others}",
    ]


def _number(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.3f}"


def _count(value: int | None) -> str:
    return _UNKNOWN if value is None else f"{value:,}"


def _interval(value: tuple[float, float] | None) -> str:
    return _UNKNOWN if value is None else f"{value[0]:.3f} to {value[1]:.3f}"
