"""`unlearn receipt export`: a receipt for people, and for other tools."""

from pathlib import Path
from typing import Annotated

import typer
from unlearn.cli import panels
from unlearn.cli.answers import Answer
from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, emit
from unlearn.stages.errors import InputError
from unlearn.stages.project.files import json_bytes, write_bytes
from unlearn.stages.receipts.check import Receipt, check_receipt, read_receipt_file
from unlearn.stages.receipts.failures import RefusedError
from unlearn.stages.receipts.keys import Keys, read_key


class ReceiptExportAnswer(Answer):
    """The files that were written.

    Parameters
    ----------
    name
        The name of the receipt.
    html
        The page for the person; null if none was asked for.
    cyclonedx
        The attestation; null if none was asked for.
    """

    name: str
    html: str | None
    cyclonedx: str | None


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The receipt.")],
    key: Annotated[
        list[Path],
        typer.Option(
            metavar="FILE",
            help="A public key that is trusted. Only a receipt that holds is exported.",
            rich_help_panel=panels.DATA,
        ),
    ],
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write one page in plain words, for the person.",
            rich_help_panel=panels.OUTPUT,
        ),
    ] = None,
    ids: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A file with what the request used for the person, such as an address, one on "
            "each line. The page prints it.",
            rich_help_panel=panels.OUTPUT,
        ),
    ] = None,
    cyclonedx: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write an attestation of CycloneDX 1.6, in JSON.",
            rich_help_panel=panels.OUTPUT,
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write a receipt as a page for the person, or as an attestation.

    The page has no id but those in --ids.
    """
    if html is None and cyclonedx is None:
        raise InputError("pass --html FILE, --cyclonedx FILE, or both")
    if ids is not None and html is None:
        raise InputError("--ids is for --html")
    for option, path, endings in (
        ("--html", html, {".html", ".htm"}),
        ("--cyclonedx", cyclonedx, {".json"}),
    ):
        if path is not None:
            _check_output(option, path, endings)
    texts = [] if ids is None else _lines(ids)
    receipt = _checked(file, key)
    if html is not None:
        # Jinja is needed for the page alone.
        from unlearn.stages.receipts.page import render_page  # noqa: PLC0415

        write_bytes(html, render_page(receipt, texts).encode(), 0o600 if texts else None)
    if cyclonedx is not None:
        from unlearn.stages.receipts.cyclonedx import attestation  # noqa: PLC0415 - as above

        write_bytes(cyclonedx, json_bytes(attestation(receipt)))
    answer = ReceiptExportAnswer(
        name=receipt.name,
        html=None if html is None else str(html),
        cyclonedx=None if cyclonedx is None else str(cyclonedx),
    )
    written = [text for text in (answer.html, answer.cyclonedx) if text is not None]
    emit(answer, as_json=as_json, text=lambda: "\n".join(f"wrote {text}" for text in written))


COMMAND = Command(
    export,
    example="unlearn receipt export receipt.json --key key.json --html receipt.html",
    answer=ReceiptExportAnswer,
)


def _check_output(option: str, path: Path, endings: set[str]) -> None:
    """Refuse to write over a file of another kind by a slip of the keys."""
    if path.suffix.lower() not in endings:
        raise InputError(f"{option} {path.name} does not end in {max(endings)}")
    if path.is_dir():
        raise InputError(f"{option} {path.name} is a directory")
    if not path.parent.is_dir():
        raise InputError(f"{option}: there is no folder for {path.name}")


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"--ids {path.name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"--ids {path.name} is not UTF-8 text") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def _checked(file: Path, key: list[Path]) -> Receipt:
    """Return the receipt if it holds; else end as `receipt verify` does."""
    try:
        return check_receipt(read_receipt_file(file), Keys(map(read_key, key)))
    except RefusedError as error:
        raise RefusedError(error.code, f"{file.name}: {error.code}: {error.message}") from None
