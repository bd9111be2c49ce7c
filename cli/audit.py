"""`unlearn audit`: what changed between two dvc.lock files, why, and that nothing else did."""

from dataclasses import replace
from typing import Annotated, Any, Literal

import typer
from unlearn.cli import panels
from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, emit, names, plural
from unlearn.cli.workers import retrain_side_by_side
from unlearn.stages.audit.compare import Audit, compare
from unlearn.stages.audit.snapshot import take_snapshot
from unlearn.stages.dvc.lockfile import LockStages
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import Project, find_project
from unlearn.stages.verify.exactness.recheck import Recheck, recheck

_MARKS = {"consistent": "✅", "inconsistent": "❌", "inconclusive": "❔"}


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
    project = find_project()
    old_name, new_name = _revisions(revisions)
    old, new = take_snapshot(project, old_name), take_snapshot(project, new_name)
    if not new.lock:
        raise InputError(f"{new.name} has no dvc.lock to audit", "`unlearn repro` writes it")
    if asked is not None and new.methods is not None:
        raise InputError(
            "--rerun retrains shards, and this project has none",
            "`verify` in the pipeline retrains what is called exact",
        )
    found = compare(old, new)
    again = None
    if asked is not None:
        again = _retrain(project, new_name, new.lock, found, asked)
        found = replace(found, unexplained=(*found.unexplained, *again.problems))
    result = {
        "old": old.name,
        "new": new.name,
        "forgotten": found.forgotten,
        "retrained": [item.stage for item in found.retrained],
        "untouched": list(found.untouched),
        "unexplained": list(found.unexplained),
        "verdict": _verdict(found, again),
        "reasons": {item.stage: list(item.reasons) for item in found.retrained},
        "notes": list(found.notes),
        "rerun": None if again is None else _rerun_as_json(again),
    }
    render = _markdown if markdown else _describe
    emit(result, as_json=as_json, text=lambda: render(result, found))
    if result["verdict"] != "consistent":
        raise typer.Exit(1)


COMMAND = Command(audit, example="unlearn audit HEAD~1..HEAD --rerun 2")


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
) -> Recheck:
    changed = [item.stage.partition("@")[2] for item in found.retrained]
    return recheck(project, revision, lock, changed, asked, retrain=retrain_side_by_side)


def _verdict(found: Audit, again: Recheck | None) -> str:
    if not found.unexplained and again is not None and again.inconclusive:
        return "inconclusive"
    return found.verdict


def _rerun_as_json(again: Recheck) -> dict[str, Any]:
    return {
        "asked": again.asked,
        "shards": list(again.shards),
        "reran": again.reran,
        "matched": again.matched,
        "inconclusive": list(again.inconclusive),
    }


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


def _describe(result: dict[str, Any], found: Audit) -> str:
    lines = [
        f"{result['old']} .. {result['new']}",
        f"forgotten: {plural(found.forgotten, 'new line')} on the list",
        f"retrained: {plural(len(found.retrained), _what(result))}",
    ]
    lines += [f"  {item.stage}: {_why(item.reasons)}" for item in found.retrained]
    untouched = plural(len(found.untouched), _what(result))
    lines.append(f"untouched: {untouched}, same entry in dvc.lock")
    if result["rerun"] is not None:
        lines.append(f"retrained to check: {_compared(result['rerun'])}")
        lines += [f"inconclusive: {reason}" for reason in result["rerun"]["inconclusive"]]
    lines += [f"note: {note}" for note in found.notes]
    lines += [f"unexplained: {finding}" for finding in found.unexplained]
    lines.append(f"verdict: {result['verdict']}")
    return "\n".join(lines)


def _what(result: dict[str, Any]) -> str:
    """Return what was retrained: shards, or models of post-hoc methods and their original."""
    stages = (*result["retrained"], *result["untouched"])
    return "shard" if all(name.startswith("train@") for name in stages) else "model"


def _why(reasons: tuple[str, ...]) -> str:
    return ", ".join(reasons) or "no cause found"


def _compared(rerun: dict[str, Any]) -> str:
    same = f"{rerun['matched']} of {plural(rerun['reran'], 'shard')} came out the same"
    return f"{names(rerun['shards'])}; {same}"


def _markdown(result: dict[str, Any], found: Audit) -> str:
    cells = (
        plural(found.forgotten, "new line"),
        plural(len(found.retrained), _what(result)),
        plural(len(found.untouched), _what(result)),
        str(len(found.unexplained)),
    )
    lines = [
        f"### {_MARKS[result['verdict']]} unlearn audit: {result['verdict']}",
        "",
        f"`{result['old']}` .. `{result['new']}`",
        "",
        "| forgotten | retrained | untouched | unexplained |",
        "|---|---|---|---|",
        f"| {' | '.join(cells)} |",
    ]
    if found.retrained:
        lines += ["", "| stage | why |", "|---|---|"]
        lines += [f"| `{item.stage}` | {_why(item.reasons)} |" for item in found.retrained]
    if result["rerun"] is not None:
        lines += ["", f"Retrained to check: {_compared(result['rerun'])}."]
        lines += ["", *(f"- **inconclusive:** {why}" for why in result["rerun"]["inconclusive"])]
    else:
        lines.append("")
    lines += [f"- **unexplained:** {finding}" for finding in found.unexplained]
    lines += [f"- note: {note}" for note in found.notes]
    return "\n".join(lines)
