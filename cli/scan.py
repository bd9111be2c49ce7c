"""`unlearn scan`: the search for what should be nowhere any more."""

from pathlib import Path
from typing import Annotated

import typer
from unlearn.cli import panels
from unlearn.cli.answers import Answer, AnswerPart
from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, emit, has_bars, plural, progress
from unlearn.stages.context import open_project
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import find_project
from unlearn.stages.scan.patterns import wanted_values
from unlearn.stages.scan.residue import ResidueScan

#: How many files with findings, and how many that could not be read, are printed.
_SHOWN = 20


class FindingEntry(AnswerPart):
    """Something that should not be there.

    Parameters
    ----------
    place
        Where, such as DVC's cache.
    file
        The file or git object, and the member of an archive in it.
    what
        `rows of forgotten records`, `a token of the forget list`, `the digest of a forgotten row`,
        or which value.
    form
        How it is written, such as hexadecimal; null for rows.
    count
        How often.
    """

    place: str
    file: str
    what: str
    form: str | None
    count: int


class UnreadEntry(AnswerPart):
    """What could not be searched completely.

    Parameters
    ----------
    place, file
        As in findings; file is null for a whole place.
    why
        The reason.
    """

    place: str
    file: str | None
    why: str


class ScanAnswer(Answer):
    """What the scan found.

    Parameters
    ----------
    clean
        Whether nothing was found.
    searched
        How many files or objects were searched, by place.
    findings
        What was found.
    unread
        What could not be searched.
    """

    clean: bool
    searched: dict[str, int]
    findings: list[FindingEntry]
    unread: list[UnreadEntry]


def scan(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATH", help="More files and folders to search, such as backups."),
    ] = None,
    values: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Values to search for as well, one on each line, such as ids or texts.",
            rich_help_panel=panels.DATA,
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Search everywhere for rows and tokens of forgotten records.

    Opens archives, compressed files, tables, databases and git objects in the project, git, DVC's
    cache, state and remotes. Changes nothing. Exits with 1 if something was found.
    """
    folders = tuple(paths or ())
    for path in folders:
        if not path.exists():
            raise InputError(f"{path} is not there")
    context = open_project(find_project())
    wanted = () if values is None else wanted_values(_lines(values), values.name)
    search = ResidueScan(context, wanted, folders, () if values is None else (values,))
    with progress("searching", search.count() if has_bars() else None, "files") as advance:
        found = search.run(advance)
    answer = ScanAnswer(
        clean=not found.findings,
        searched=found.searched,
        findings=[
            FindingEntry(
                place=item.place,
                file=item.file,
                what=item.what,
                form=item.form,
                count=item.count,
            )
            for item in found.findings
        ],
        unread=[
            UnreadEntry(place=item.place, file=item.file, why=item.why) for item in found.unread
        ],
    )
    emit(answer, as_json=as_json, text=lambda: _describe(answer))
    if not answer.clean:
        raise typer.Exit(1)


COMMAND = Command(scan, example="unlearn scan --values texts.txt /backups", answer=ScanAnswer)


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()
    except OSError as error:
        raise InputError(f"{path.name} cannot be read: {error.strerror}") from None


def _describe(answer: ScanAnswer) -> str:
    lines = [
        f"searched {place}: {plural(count, 'file')}" for place, count in answer.searched.items()
    ]
    files: dict[tuple[str, str], list[str]] = {}
    for item in answer.findings:
        form = "" if item.form in (None, "as it is") else f" ({item.form})"
        files.setdefault((item.place, item.file), []).append(f"{item.what}{form}")
    for (place, file), found in list(files.items())[:_SHOWN]:
        lines.append(f"found in {place}, {file}: {', '.join(found)}")
    if len(files) > _SHOWN:
        more = plural(len(files) - _SHOWN, "more file", "more files")
        lines.append(f"found in {more}: --json lists all")
    for unread in answer.unread[:_SHOWN]:
        where = unread.place if unread.file is None else f"{unread.place}, {unread.file}"
        lines.append(f"not searched: {where}: {unread.why}")
    if len(answer.unread) > _SHOWN:
        more = plural(len(answer.unread) - _SHOWN, "more file", "more files")
        lines.append(f"not searched: {more}: --json lists all")
    if not answer.clean:
        lines.append(f"result: something was found in {plural(len(files), 'file')}")
    elif answer.unread:
        lines.append("result: nothing was found in what could be searched")
    else:
        lines.append("result: nothing was found")
    return "\n".join(lines)
