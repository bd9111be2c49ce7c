"""`unlearn report`: the evidence as one HTML file for people."""

from pathlib import Path
from typing import Annotated

import typer
from unlearn.cli import panels
from unlearn.cli.answers import Answer
from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, emit
from unlearn.stages.audit.places import Place
from unlearn.stages.errors import InputError
from unlearn.stages.project.files import write_bytes
from unlearn.stages.project.paths import Project, find_project
from unlearn.stages.report.contents import gather
from unlearn.stages.report.page import render, verdict


class ReportAnswer(Answer):
    """The page that was written.

    Parameters
    ----------
    output
        Its file.
    verdict
        That of the last run, or `stale`.
    """

    output: str
    verdict: str


def report(
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The .html file to write. The default is reports/report.html, or "
            "reports/officer.html.",
            rich_help_panel=panels.OUTPUT,
        ),
    ] = None,
    public: Annotated[
        bool,
        typer.Option(
            "--public",
            help="Leave out all figures that were computed from rows.",
            rich_help_panel=panels.OUTPUT,
        ),
    ] = False,
    officer: Annotated[
        bool,
        typer.Option(
            "--officer",
            help="Write the page for a privacy officer: requests, copies and what is pending.",
        ),
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write the evidence as an HTML page.

    The page is one file. It needs no network, and can be printed on A4 paper. With figures it is
    for those who may see the rows; with --public it is for everybody. With --officer it is about
    requests and copies: it searches the project, DVC's cache and remotes for them, but not with
    --public as well.
    """
    project = find_project()
    name = "officer.html" if officer else "report.html"
    path = project.report.with_name(name) if output is None else _checked(output)
    found = _search(project) if officer and not public else None
    contents = gather(project, public=public, officer=officer, found=found)
    write_bytes(path, render(contents).encode())
    said = verdict(contents).kind
    shown = f"reports/{name}" if output is None else str(output)
    emit(
        ReportAnswer(output=shown, verdict=said),
        as_json=as_json,
        text=lambda: f"wrote {shown}: verdict {said}",
    )


COMMAND = Command(
    report,
    example="unlearn report --output evidence.html\nunlearn report --officer --output officer.html",
    answer=ReportAnswer,
)


def _search(project: Project) -> tuple[Place, ...]:
    """Look for copies of forgotten rows, as `unlearn doctor` does."""
    # For --officer alone: it reads every object of the cache.
    from unlearn.cli.doctor import search_places  # noqa: PLC0415

    return tuple(search_places(project))


def _checked(output: Path) -> Path:
    """Return where to write: never over a file of another kind by a slip of the keys."""
    if output.suffix.lower() not in {".html", ".htm"}:
        raise InputError(f"--output {output.name} is not an .html file")
    if output.is_dir():
        raise InputError(f"--output {output.name} is a directory")
    if not output.parent.is_dir():
        raise InputError(f"--output: there is no folder {output.parent}")
    return output
