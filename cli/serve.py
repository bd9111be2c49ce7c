"""`unlearn serve`: an HTTP server for the final language model."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from unlearn.cli import panels
from unlearn.cli.lazy import Command
from unlearn.cli.output import say
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import find_project
from unlearn.stages.serving.gate import check_text
from unlearn.stages.serving.settings import (
    PORT_VARIABLE,
    TOKEN_VARIABLE,
    Limits,
    Settings,
    read_token,
    seconds_of,
)

_LIMITS = Limits()


def serve(
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="The address to listen on. Any but this machine's own needs a token.",
            rich_help_panel=panels.ADDRESS,
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            min=0,
            max=65_535,
            envvar=PORT_VARIABLE,
            show_envvar=False,
            help="The port; 0 takes a free one. The environment variable "
            f"{PORT_VARIABLE} can have it instead.",
            rich_help_panel=panels.ADDRESS,
        ),
    ] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A file with the token that clients have to send. The environment variable "
            f"{TOKEN_VARIABLE} can have the token instead.",
            rich_help_panel=panels.ADDRESS,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What requests call the model. The default is the name of the project's folder.",
            rich_help_panel=panels.MODEL,
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="BASE",
            help="The folder of the model's base, if it has moved since the training.",
            rich_help_panel=panels.MODEL,
        ),
    ] = None,
    allow_inconclusive: Annotated[
        bool,
        typer.Option(
            "--allow-inconclusive",
            help="Serve an approximate model whose verdict is inconclusive, too.",
            rich_help_panel=panels.MODEL,
        ),
    ] = False,
    max_stale: Annotated[
        str,
        typer.Option(
            metavar="DURATION",
            help="Answer nothing (503) once a request to forget has been pending for longer.",
            rich_help_panel=panels.MODEL,
        ),
    ] = "30d",
    check_every: Annotated[
        str,
        typer.Option(
            metavar="DURATION",
            help="How often to look for a new commit and for new requests to forget.",
            rich_help_panel=panels.MODEL,
        ),
    ] = "10s",
    slots: Annotated[
        int,
        typer.Option(
            min=1,
            help="Answers that are generated at the same time.",
            rich_help_panel=panels.LIMITS,
        ),
    ] = _LIMITS.slots,
    queue: Annotated[
        int,
        typer.Option(
            min=0,
            help="Further answers that wait. More are refused (429).",
            rich_help_panel=panels.LIMITS,
        ),
    ] = _LIMITS.queue,
    tokens: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="The largest number of tokens of an answer.",
            rich_help_panel=panels.LIMITS,
        ),
    ] = _LIMITS.tokens,
    timeout: Annotated[
        str,
        typer.Option(
            metavar="DURATION",
            help="How long a request may take (504).",
            rich_help_panel=panels.LIMITS,
        ),
    ] = f"{_LIMITS.seconds:.0f}s",
    client_timeout: Annotated[
        str,
        typer.Option(
            metavar="DURATION",
            help="How long to wait for a client that sends its request, or reads its answer.",
            rich_help_panel=panels.LIMITS,
        ),
    ] = f"{_LIMITS.client_seconds:.0f}s",
    max_body: Annotated[
        int,
        typer.Option(
            metavar="BYTES",
            min=1,
            help="The largest body of a request (413).",
            rich_help_panel=panels.LIMITS,
        ),
    ] = _LIMITS.body,
    connections: Annotated[
        int,
        typer.Option(
            min=2,
            help="The largest number of open connections (503).",
            rich_help_panel=panels.LIMITS,
        ),
    ] = _LIMITS.connections,
) -> None:
    """Answer requests over HTTP, as OpenAI's interface has them, with the final language model.

    The server starts only if `unlearn verify --full` says pass. It takes a new model when one is
    committed, after it was verified in the same way. It ends with SIGTERM or ctrl-C, after running
    requests have had five seconds.
    """
    if find_spec("fastapi") is None or find_spec("uvicorn") is None:
        raise InputError(
            "`unlearn serve` needs FastAPI and uvicorn",
            "pip install 'dvc-unlearn[llm,serve]'",
        )
    project = find_project()
    settings = Settings(
        host=host,
        port=port,
        name=name or project.root.name,
        token=read_token(token_file, os.environ.get(TOKEN_VARIABLE)),
        allow_inconclusive=allow_inconclusive,
        max_stale=seconds_of(max_stale, "--max-stale"),
        check_every=seconds_of(check_every, "--check-every"),
        # A path on the command line starts from here, not from the project.
        base=base if base is None or not Path(base).is_dir() else str(Path(base).resolve()),
        limits=Limits(
            slots=slots,
            queue=queue,
            tokens=tokens,
            seconds=seconds_of(timeout, "--timeout"),
            body=max_body,
            connections=connections,
            client_seconds=seconds_of(client_timeout, "--client-timeout"),
        ),
    )
    settings.check()
    check_text(project)
    # Torch, transformers and the server: seconds.
    from unlearn.stages.serving.run import serve as run  # noqa: PLC0415

    run(
        project,
        settings,
        lambda generation, address: say(
            f"serving {settings.name}, generation {generation.name}, verdict "
            f"{generation.admitted.verdict} ({generation.admitted.label}), on {address}"
        ),
    )


COMMAND = Command(serve, example="unlearn serve --port 8000 --max-stale 7d", answer=None)
