"""`unlearn rekey`: another project key, without anybody coming back."""

from typing import Annotated

import typer
from unlearn.cli.answers import Answer
from unlearn.cli.init.answer import KeyName
from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, emit, names, plural, say
from unlearn.stages.config.methods import YOUNG
from unlearn.stages.config.params import Params
from unlearn.stages.context import open_project
from unlearn.stages.dvc.pipeline import stage_names
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import Project, find_project
from unlearn.stages.project.timings import read_timings
from unlearn.stages.requests.rekey import Rotated, plan_rekey, resume
from unlearn.stages.requests.rekey import rekey as rotate


class RekeyAnswer(Answer):
    """A rotation of the project key.

    Parameters
    ----------
    epoch
        The number of the new key, counted from 1.
    lines
        Lines of the forget list that were brought forward.
    key
        Where the new key is.
    new_key
        Whether it was made now; otherwise it was there already.
    stages
        Stages that the next run executes: all of them.
    seconds
        What these took when they ran last on this machine, one after another; None where that is
        not known of all trainings.
    resumed
        Whether a rotation was finished that had been interrupted.
    dry_run
        Whether nothing was changed.
    """

    epoch: int
    lines: int
    key: KeyName
    new_key: bool
    stages: list[str]
    seconds: float | None
    resumed: bool
    dry_run: bool


def rekey(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before the change.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the cost and change nothing.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Rotate the project key: tokens get another form, and every model is trained again.

    Everybody on the forget list stays forgotten. The older keys are kept with the new one,
    because new rows go through all of them.
    """
    project = find_project(rekeying=True)
    if dry_run and project.rekeying.exists():
        raise InputError(
            "a rotation of the project key was interrupted", "`unlearn rekey` finishes it"
        )
    found = None if dry_run else resume(project)
    if found is None:
        context = open_project(project)
        planned = _answer(project, context.params, plan_rekey(context), dry_run=dry_run)
        if not dry_run:
            if not yes:
                _ask(planned)
            found = rotate(context)
    answer = planned if found is None else _answer(project, open_project(project).params, found)
    emit(answer, as_json=as_json, text=lambda: _describe(answer))


COMMAND = Command(rekey, example="unlearn rekey --dry-run", answer=RekeyAnswer)


def _answer(
    project: Project, params: Params, found: Rotated, *, dry_run: bool = False
) -> RekeyAnswer:
    stages = stage_names(params)
    timings = read_timings(project)
    known = {name: timings[name].seconds for name in stages if name in timings}
    training = {name for name in stages if name.startswith(("train", YOUNG, "unlearn@"))}
    return RekeyAnswer(
        epoch=found.epoch,
        lines=found.lines,
        key="UNLEARN_KEY" if found.source == "UNLEARN_KEY" else "unlearn.key",
        new_key=found.is_new,
        stages=stages,
        seconds=round(sum(known.values()), 4) if training <= known.keys() else None,
        resumed=found.resumed,
        dry_run=dry_run,
    )


def _ask(planned: RekeyAnswer) -> None:
    say(_cost(planned))
    try:
        agreed = typer.confirm("Rotate the project key?", err=True)
    except typer.Abort:
        agreed = False
    if not agreed:
        raise InputError("nothing was changed", "--yes answers the question")


def _cost(answer: RekeyAnswer) -> str:
    took = (
        "how long that takes is not known before a first training"
        if answer.seconds is None
        else f"they took {answer.seconds:,.1f} s when they ran last, one after another"
    )
    trained = [name for name in answer.stages if name.startswith(("train", YOUNG, "unlearn@"))]
    return (
        f"every row moves to another place, and every stage runs again: {names(trained)} and the "
        f"others; {took}"
    )


def _describe(answer: RekeyAnswer) -> str:
    lines = plural(answer.lines, "line")
    if answer.dry_run:
        return f"key {answer.epoch}: {lines} of the forget list would change\n{_cost(answer)}"
    verb = "finished: the project has" if answer.resumed else "the project has"
    said = [f"{verb} key {answer.epoch}; {lines} of the forget list brought forward"]
    if answer.key == "unlearn.key":
        said.append(
            "keep a copy of unlearn.key, which has all keys; in CI, set UNLEARN_KEY to all of "
            "them, with a colon between two"
        )
    said.append(
        "next: unlearn repro, then commit params.yaml, the forget list, data/requests, dvc.lock "
        "and reports"
    )
    return "\n".join(said)
