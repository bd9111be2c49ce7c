"""`unlearn audit`: what changed between two dvc.lock files, why, and that nothing else did."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from unlearn.cli import panels
from unlearn.cli.answers import Answer, AnswerPart
from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, emit, names, plural
from unlearn.stages.audit.compare import Audit, compare
from unlearn.stages.audit.reasons import without_count
from unlearn.stages.audit.snapshot import take_snapshot
from unlearn.stages.dvc.lockfile import LockStages
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import Project, find_project

if TYPE_CHECKING:
    from unlearn.stages.verify.exactness.recheck import Recheck

_MARKS = {"consistent": "✅", "inconsistent": "❌", "inconclusive": "❔"}


class RerunAnswer(AnswerPart):
    """Shards of the newer state that were retrained from its data.

    Parameters
    ----------
    asked
        How many were to be retrained, or `all`.
    shards
        Those that were chosen.
    reran, matched
        How many were retrained, and how many of them have the same bytes.
    inconclusive
        A sentence for each reason why some could not be compared here.
    """

    asked: int | Literal["all"]
    shards: list[str]
    reran: int
    matched: int
    inconclusive: list[str]


class AuditAnswer(Answer):
    """The comparison of two states.

    Parameters
    ----------
    old, new
        Their names.
    forgotten
        New lines on the forget list.
    retrained, untouched
        Training stages with another, or the same, entry in dvc.lock.
    unexplained
        A sentence for each change without a cause, and each cause without an effect.
    verdict
        Of the audit.
    reasons
        Why a stage was retrained, by stage.
    notes
        What is worth knowing and no contradiction.
    rerun
        The shards that were retrained to check; None without `--rerun`.
    """

    old: str
    new: str
    forgotten: int
    retrained: list[str]
    untouched: list[str]
    unexplained: list[str]
    verdict: Literal["consistent", "inconsistent", "inconclusive"]
    reasons: dict[str, list[str]]
    notes: list[str]
    rerun: RerunAnswer | None


def audit(
    revisions: Annotated[
        str | None,
        typer.Argument(
            metavar="OLD..NEW",
            help="Two git revisions. The default is HEAD and the working tree.",
        ),
    ] = None,
    markdown: Annotated[
        bool,
        typer.Option(
            "--md",
            help="Print Markdown, for a comment on a pull request.",
            rich_help_panel=panels.OUTPUT,
        ),
    ] = False,
    rerun: Annotated[
        str | None,
        typer.Option(
            metavar="K",
            help="Also retrain K shards of NEW, or `all`, from its data, and compare the models.",
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Compare two states of the pipeline and explain every change.

    Exits with 1 if a change has no cause, or if a cause had no effect.
    """
    asked = None if rerun is None else _shards_asked(rerun)
    old_name, new_name = _revisions(revisions)
    answer = compare_states(find_project(), old_name, new_name, asked)
    render = _markdown if markdown else _describe
    emit(answer, as_json=as_json, text=lambda: render(answer), source=markdown)
    if answer.verdict != "consistent":
        raise typer.Exit(1)


def compare_states(
    project: Project,
    old_name: str,
    new_name: str | None,
    asked: int | Literal["all"] | None = None,
) -> AuditAnswer:
    """Compare two states of a project.

    Parameters
    ----------
    project
        The project.
    old_name, new_name
        Two git revisions; None is the working tree.
    asked
        How many shards of the newer state to retrain as a check; None for no check.

    Raises
    ------
    InputError
        If a state has no dvc.lock, or there is nothing to retrain.
    """
    new = take_snapshot(project, new_name)
    old = take_snapshot(project, old_name, new.epochs)
    if not new.lock:
        raise InputError(f"{new.name} has no dvc.lock to audit", "`unlearn repro` writes it")
    if asked is not None and new.methods is not None:
        raise InputError(
            "--rerun retrains shards, and this project has none",
            "the stage `verify` retrains the models with the label exact",
        )
    found = compare(old, new)
    again = None
    if asked is not None:
        again = _retrain(project, new_name, new.lock, found, asked)
        found = replace(found, unexplained=(*found.unexplained, *again.problems))
    return AuditAnswer(
        old=old.name,
        new=new.name,
        forgotten=found.forgotten,
        retrained=[item.stage for item in found.retrained],
        untouched=list(found.untouched),
        unexplained=list(found.unexplained),
        verdict=_verdict(found, again),
        reasons={item.stage: list(item.reasons) for item in found.retrained},
        notes=list(found.notes),
        rerun=None if again is None else _rerun_answer(again),
    )


COMMAND = Command(audit, example="unlearn audit HEAD~1..HEAD --rerun 2", answer=AuditAnswer)


def _shards_asked(text: str) -> int | Literal["all"]:
    """Return how many shards `--rerun` asks for."""
    if text == "all":
        return "all"
    if text.isascii() and text.isdecimal() and int(text) > 0:
        return int(text)
    raise InputError(f"--rerun takes a number of shards, 1 or more, or `all`; not {text!r}")


def _retrain(
    project: Project,
    revision: str | None,
    lock: LockStages,
    found: Audit,
    asked: int | Literal["all"],
) -> "Recheck":
    # For --rerun alone: what trains models takes as long to load as the rest of an audit.
    from unlearn.cli.workers import retrain_side_by_side  # noqa: PLC0415
    from unlearn.stages.verify.exactness.recheck import recheck  # noqa: PLC0415

    changed = [item.stage.partition("@")[2] for item in found.retrained]
    return recheck(project, revision, lock, changed, asked, retrain=retrain_side_by_side)


def _verdict(
    found: Audit, again: "Recheck | None"
) -> Literal["consistent", "inconsistent", "inconclusive"]:
    if not found.unexplained and again is not None and again.inconclusive:
        return "inconclusive"
    return found.verdict


def _rerun_answer(again: "Recheck") -> RerunAnswer:
    return RerunAnswer(
        asked=again.asked,
        shards=list(again.shards),
        reran=again.reran,
        matched=again.matched,
        inconclusive=list(again.inconclusive),
    )


def _revisions(text: str | None) -> tuple[str, str | None]:
    """Return the older and the newer revision; None is the working tree."""
    if text is None:
        return "HEAD", None
    if "..." in text:
        raise InputError("give two revisions as OLD..NEW, with two dots")
    old, dots, new = text.partition("..")
    if old.startswith("-") or new.startswith("-"):
        raise InputError(f"{text!r} is no pair of revisions")
    if not dots:
        return old, None
    return old or "HEAD", new or None


def _describe(answer: AuditAnswer) -> str:
    lines = [
        f"{answer.old} .. {answer.new}",
        f"forgotten: {plural(answer.forgotten, 'new line')} on the list",
        f"retrained: {plural(len(answer.retrained), _what(answer))}",
    ]
    lines += [f"  {stage}: {_why(reasons)}" for stage, reasons in answer.reasons.items()]
    untouched = plural(len(answer.untouched), _what(answer))
    lines.append(f"untouched: {untouched}, same entry in dvc.lock")
    if answer.rerun is not None:
        lines.append(f"retrained as a check: {_compared(answer.rerun)}")
        lines += [f"inconclusive: {reason}" for reason in answer.rerun.inconclusive]
    lines += [f"note: {note}" for note in answer.notes]
    lines += [f"unexplained: {finding}" for finding in answer.unexplained]
    lines.append(f"verdict: {answer.verdict}")
    return "\n".join(lines)


def _what(answer: AuditAnswer) -> str:
    """Return what was retrained: shards, or models of post-hoc methods and their original."""
    stages = (*answer.retrained, *answer.untouched)
    return "shard" if all(name.startswith("train@") for name in stages) else "model"


def _why(reasons: list[str]) -> str:
    return ", ".join(reasons) or "no cause found"


def _compared(rerun: RerunAnswer) -> str:
    same = f"{rerun.matched} of {plural(rerun.reran, 'shard')} gave the same model"
    return f"{names(rerun.shards)}; {same}"


def _markdown(answer: AuditAnswer) -> str:
    cells = (
        plural(answer.forgotten, "new line"),
        plural(len(answer.retrained), _what(answer)),
        plural(len(answer.untouched), _what(answer)),
        str(len(answer.unexplained)),
    )
    lines = [
        f"### {_MARKS[answer.verdict]} unlearn audit: {answer.verdict}",
        "",
        f"`{answer.old}` .. `{answer.new}`",
        "",
        "| forgotten | retrained | untouched | unexplained |",
        "|---|---|---|---|",
        f"| {' | '.join(cells)} |",
    ]
    if answer.retrained:
        lines += ["", "| stage | why |", "|---|---|"]
        shown = {
            stage: [without_count(reason) for reason in reasons]
            for stage, reasons in answer.reasons.items()
        }
        lines += [f"| `{stage}` | {_why(reasons)} |" for stage, reasons in shown.items()]
    if answer.rerun is not None:
        lines += ["", f"Retrained as a check: {_compared(answer.rerun)}."]
        lines += ["", *(f"- **inconclusive:** {why}" for why in answer.rerun.inconclusive)]
    else:
        lines.append("")
    lines += [f"- **unexplained:** {finding}" for finding in answer.unexplained]
    lines += [f"- note: {note}" for note in answer.notes]
    return "\n".join(lines)
