"""`unlearn verify`: the verdict of the last run, as a gate."""

from typing import Annotated

import typer
from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, emit
from unlearn.cli.verify_against import AgainstAnswer, answer_of, describe_against
from unlearn.cli.verify_answer import Shown, VerifyAnswer
from unlearn.cli.verify_text import describe
from unlearn.stages.audit.present import find_verdict
from unlearn.stages.audit.reports import FoundReport, key_at_hand, read_found
from unlearn.stages.context import open_project
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import Project, find_project
from unlearn.stages.project.timings import read_method_seconds
from unlearn.stages.verify.measures.utility_change import compare_utility
from unlearn.stages.verify_report.report import Report


def verify(
    before: Annotated[
        str | None,
        typer.Option(
            metavar="REV",
            help="Also compare the model's quality with the report of a git revision.",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="REV",
            help="Measure what the final models of a git revision and of now together tell about "
            "the rows that went.",
        ),
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full", help="Read every byte of the models, also of files that look unchanged."
        ),
    ] = False,
    public: Annotated[
        bool,
        typer.Option("--public", help="Leave out all figures that were computed from rows."),
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show the evidence of the last run.

    Exits with 0 only if the verdict is pass, the report has its seal and belongs to the present
    state, and the models on this machine are those that it is about. With `--against` it exits
    with 0 for any result: that is a measurement, and no rule says which result would be good.
    """
    if against is not None:
        if public or full or before is not None:
            raise InputError("--against measures by itself: it takes no option but --json")
        _measure(against, as_json=as_json)
        return
    if public and before is not None:
        raise InputError("--before compares figures, which --public leaves out")
    shown = find_shown(find_project(), full=full, before=before, public=public)
    emit(shown.answer(), as_json=as_json, text=lambda: describe(shown))
    if shown.verdict != "pass":
        raise typer.Exit(1)


def find_shown(
    project: Project, *, full: bool = False, before: str | None = None, public: bool = False
) -> Shown:
    """Return the last report as it belongs to the present state.

    Parameters
    ----------
    project
        The project.
    full
        Read every byte of the models, also of files that look unchanged.
    before
        A git revision whose report the quality is compared with.
    public
        Leave all figures out.

    Raises
    ------
    InputError
        If there is no report, or figures that are compared are not on this machine.
    """
    present = find_verdict(project, full=full)
    found = present.found
    change = None
    if before is not None:
        older = read_found(project, before)
        change = compare_utility(_figures(older, before).utility, _figures(found).utility)
    if public:
        found = found.without_figures()
    return Shown(
        report=found.report,
        verdict=present.verdict,
        reasons=present.stale or found.report.reasons,
        seconds=read_method_seconds(project) if found.has_figures else {},
        figures=found.has_figures,
        public=public,
        seal=found.seal_state(key_at_hand(project)),
        models=present.models,
        before=before,
        change=change,
    )


def _measure(revision: str, *, as_json: bool) -> None:
    """Measure what two final models tell about the rows that went."""
    # For --against alone: what runs models takes seconds to load.
    from unlearn.stages.verify.difference.against import verify_against  # noqa: PLC0415

    answer = answer_of(revision, verify_against(open_project(find_project()), revision))
    emit(answer, as_json=as_json, text=lambda: describe_against(answer))


def _figures(found: FoundReport, revision: str = "this state") -> Report:
    """Return a report with its figures, which `--before` compares."""
    if found.has_figures:
        return found.report
    raise InputError(
        f"the figures of {revision} are not on this machine",
        "DVC's remote has them, for people with access to the rows: `dvc fetch --all-commits`",
    )


COMMAND = Command(
    verify, example="unlearn verify --before HEAD~1", answer=VerifyAnswer | AgainstAnswer
)
