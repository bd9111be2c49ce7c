"""Requests of other systems on the command line: how they are read, and answered."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from unlearn.cli import panels
from unlearn.cli.ids import content_of
from unlearn.cli.output import progress, say
from unlearn.cli.reply_files import check_target, write_reply
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.requests.drop_lists import is_drop
from unlearn.stages.requests.drop_request import read_drop_request
from unlearn.stages.requests.id_file import read_ids
from unlearn.stages.requests.incoming import Incoming, read_column, read_opendsr
from unlearn.stages.requests.replies import drop_reply, opendsr_receipt
from unlearn.stages.requests.signatures import check_signature


class SharedName(StrEnum):
    """What happens to several people who have the identity of one entry of a list."""

    FORGET = "forget"
    KEEP = "keep"


SignatureOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The signature of the file of --from, in Base64, for the certificate that "
        "requests.opendsr.certificate in params.yaml pins.",
        rich_help_panel=panels.DATA,
    ),
]
ExemptOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Entries of a download of DROP, one Id on each line, whose data the law lets you "
        "keep. Their rows are not forgotten.",
        rich_help_panel=panels.DATA,
    ),
]
SharedOption = Annotated[
    SharedName | None,
    typer.Option(
        help="What happens if several people have the identity of one entry of DROP: forget all of "
        "them, or keep their rows and answer that they are opted out of sale and sharing.",
        rich_help_panel=panels.DATA,
    ),
]
AnswerFileOption = Annotated[
    Path | None,
    typer.Option(
        "--answer",
        metavar="FILE",
        help="Where to write the answer to the file of --from; for several lists of DROP, a "
        "folder. `unlearn answer` writes later ones.",
        rich_help_panel=panels.DATA,
    ),
]


@dataclass(frozen=True)
class Source:
    """A file of `--from`, with the options for it."""

    path: Path
    column: str | None
    signature: Path | None
    exempt: Path | None
    shared: SharedName | None
    answer: Path | None

    def read(self, context: Context, *, ignore_unknown: bool) -> Incoming:
        """Return the request.

        Raises
        ------
        InputError
            If the file is no request, is not signed where it has to be, an option is not for it,
            or an id that is a hash is of nobody and `ignore_unknown` is not set.
        """
        content, name = content_of(self.path), self.path.name
        if self.column is not None:
            self._refuse_options("a table", "--signature", "--exempt", "--shared", "--answer")
            return read_column(context, self.path, self.column)
        if self.answer is not None:
            check_target(context.project, self.answer, self.path)
        if is_drop(content, name):
            self._refuse_options("a download of DROP", "--signature")
            return self._drop(context, content)
        self._refuse_options("a request of OpenDSR", "--exempt", "--shared")
        signed = None if self.signature is None else content_of(self.signature)
        check_signature(context, content, signed, name)
        found = read_opendsr(context, content, name)
        if found.unmatched and not ignore_unknown:
            raise InputError(
                f"{name}: no row has the id of {', '.join(found.unmatched)}, which is a hash; "
                "nothing was changed",
                "--ignore-unknown skips it; a hash cannot be suppressed, because rows that appear "
                "later are found by their ids",
            )
        return found

    def write_answer(self, context: Context, ticket: str | None) -> None:
        """Write the answer to a request that is in the log, where one is wanted."""
        if self.answer is None:
            return
        content, name = content_of(self.path), self.path.name
        if is_drop(content, name):
            reply = drop_reply(context, content, name)
        else:
            reply = opendsr_receipt(context, content, name, ticket)
        written = write_reply(reply, self.answer)
        say(f"answer: {written}")

    def _drop(self, context: Context, content: bytes) -> Incoming:
        exempt = []
        if self.exempt is not None:
            exempt = [item for item, _ in read_ids(content_of(self.exempt), self.exempt.name)]
        with progress("contact data", None, "rows") as advance:
            return read_drop_request(
                context,
                content,
                self.path.name,
                exempt=exempt,
                shared=None if self.shared is None else self.shared.value,
                progress=advance,
            )

    def _refuse_options(self, what: str, *names: str) -> None:
        for name in names:
            if getattr(self, name.removeprefix("--")) is not None:
                raise InputError(f"{name} is not for {what}")
