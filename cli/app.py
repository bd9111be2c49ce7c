"""The `unlearn` command: the table of commands, and errors as exit codes."""

import os
import sys
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata
from typing import Annotated, ClassVar

import typer
from unlearn.cli.lazy import Entry, LazyGroup
from unlearn.cli.output import report_error

_INTERRUPTED = 130
_INTERNAL = 3

#: How to get PyTorch without the gigabytes of CUDA libraries.
_TORCH = "pip install --index-url https://download.pytorch.org/whl/cpu torch (docs: Install)"

_PROJECT = "Project"
_REQUESTS = "Requests"
_EVIDENCE = "Evidence"
_MODEL = "Final model"
_INTERNALS = "Called by DVC"

#: All commands. The help lists them in this order, by panel. A summary is one sentence, the first
#: of the command's docstring.
COMMANDS: Mapping[str, Entry] = {
    "init": Entry(
        "unlearn.cli.init.command",
        "Set up git, DVC and the pipeline for a dataset.",
        _PROJECT,
    ),
    "import-model": Entry(
        "unlearn.cli.import_model",
        "Use a trained model as the original of a post-hoc pipeline.",
        _PROJECT,
        one_thread=True,
    ),
    "canary": Entry(
        "unlearn.cli.canary",
        "Add synthetic records with random targets, to test the membership attacks.",
        _PROJECT,
    ),
    "tune": Entry(
        "unlearn.cli.tune",
        "Search for settings of a post-hoc method that bring it closer to retraining.",
        _PROJECT,
        one_thread=True,
    ),
    "upgrade": Entry(
        "unlearn.cli.upgrade",
        "Bring a project of an older version to this one.",
        _PROJECT,
    ),
    "rekey": Entry(
        "unlearn.cli.rekey",
        "Rotate the project key: tokens get another form, and every model is trained again.",
        _PROJECT,
    ),
    "doctor": Entry(
        "unlearn.cli.doctor",
        "Check the project and this machine for problems.",
        _PROJECT,
    ),
    "forget": Entry(
        "unlearn.cli.forget",
        "Add records to the forget list.",
        _REQUESTS,
    ),
    "answer": Entry(
        "unlearn.cli.answer",
        "Write the answer to a request of another system.",
        _REQUESTS,
    ),
    "restore": Entry(
        "unlearn.cli.restore",
        "Take a request back, so that its records are trained on again.",
        _REQUESTS,
    ),
    "plan": Entry(
        "unlearn.cli.plan",
        "Show what the next run would retrain, and what it would cost.",
        _REQUESTS,
        one_thread=True,
    ),
    "repro": Entry(
        "unlearn.cli.repro",
        "Bring the models up to date with the dataset, the settings and the forget list.",
        _REQUESTS,
        one_thread=True,
    ),
    "status": Entry(
        "unlearn.cli.status",
        "Show the state of the requests, and the remaining work.",
        _REQUESTS,
    ),
    "verify": Entry(
        "unlearn.cli.verify",
        "Show the evidence of the last run.",
        _EVIDENCE,
    ),
    "audit": Entry(
        "unlearn.cli.audit",
        "Compare two states of the pipeline and explain every change.",
        _EVIDENCE,
        one_thread=True,
    ),
    "report": Entry(
        "unlearn.cli.report",
        "Write the evidence as an HTML page.",
        _EVIDENCE,
    ),
    "erase": Entry(
        "unlearn.cli.erase",
        "Delete every copy of forgotten rows, and of models that were trained on them.",
        _REQUESTS,
        one_thread=True,
    ),
    "scan": Entry(
        "unlearn.cli.scan",
        "Search everywhere for rows and tokens of forgotten records.",
        _EVIDENCE,
    ),
    "receipt keygen": Entry(
        "unlearn.cli.receipt.keygen",
        "Make a key that signs receipts, or follow one key by another.",
        _EVIDENCE,
    ),
    "receipt create": Entry(
        "unlearn.cli.receipt.create",
        "Write a signed receipt for each erased request.",
        _EVIDENCE,
    ),
    "receipt verify": Entry(
        "unlearn.cli.receipt.verify",
        "Check receipts with public keys alone, without the project.",
        _EVIDENCE,
    ),
    "receipt show": Entry(
        "unlearn.cli.receipt.show",
        "Show what receipts say.",
        _EVIDENCE,
    ),
    "receipt export": Entry(
        "unlearn.cli.receipt.export",
        "Write a receipt as a page for the person, or as an attestation.",
        _EVIDENCE,
    ),
    "export": Entry(
        "unlearn.cli.export",
        "Write the models as other tools load them.",
        _MODEL,
        one_thread=True,
    ),
    "predict": Entry(
        "unlearn.cli.predict",
        "Predict the rows of a file with the final model.",
        _MODEL,
    ),
    "serve": Entry(
        "unlearn.cli.serve",
        "Answer requests over HTTP, as OpenAI's interface has them, with the final language model.",
        _MODEL,
    ),
    "stage": Entry(
        "unlearn.cli.stage.command",
        "Run one stage of the pipeline, as dvc.yaml does.",
        _INTERNALS,
        one_thread=True,
    ),
}

_EXIT_CODES = """\
Exit codes:
  0    The command succeeded.
  1    There is a finding: a verdict that is not pass, an unexplained change,
       a problem, or work to do.
  2    Usage, settings or input are wrong. Nothing was changed.
  3    A tool that was called failed: dvc, git or a training.
  4    Another run is using the project. Nothing was changed.
  130  The command was interrupted."""


class _Commands(LazyGroup):
    entries: ClassVar[Mapping[str, Entry]] = COMMANDS


app = typer.Typer(
    cls=_Commands,
    name="unlearn",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
    epilog=_EXIT_CODES,
)


def _print_version(context: typer.Context, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        sys.stdout.write(f"unlearn {metadata.version('dvc-unlearn')}\n")
        raise typer.Exit


def _install_completion(context: typer.Context, asked: bool) -> None:
    # A shell that completes what comes after it does not ask for it.
    if asked and not context.resilient_parsing:
        from unlearn.cli.completion import install  # noqa: PLC0415 - of this option

        install()
        raise typer.Exit


def _show_completion(context: typer.Context, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        from unlearn.cli.completion import show  # noqa: PLC0415 - of this option

        show()
        raise typer.Exit


@app.callback()
def _root(
    debug: Annotated[
        bool,
        typer.Option(
            "--debug", help="Show the traceback of an error. It is accepted anywhere on the line."
        ),
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
    install_completion: Annotated[
        bool,
        typer.Option(
            "--install-completion",
            callback=_install_completion,
            is_eager=True,
            help="Install completion of commands and options for this shell: bash, zsh or fish.",
        ),
    ] = False,
    show_completion: Annotated[
        bool,
        typer.Option(
            "--show-completion",
            callback=_show_completion,
            is_eager=True,
            help="Show the script that --install-completion installs.",
        ),
    ] = False,
) -> None:
    """Exact machine unlearning as a DVC pipeline.

    `unlearn COMMAND --help` shows the options of a command and an example.
    """


def main() -> None:
    """Run the command line and exit."""
    # The help imports nothing of the stages.
    from unlearn.stages.project.git import leave_hook  # noqa: PLC0415

    # In a hook of git, git and DVC would take another folder for the repository.
    leave_hook(os.environ)
    code = run(sys.argv[1:])
    with suppress(BrokenPipeError):
        sys.stdout.flush()
        sys.stderr.flush()
    # Not sys.exit: Arrow's threads, torn down with the interpreter, now and then abort it, and
    # the exit code is a promise.
    os._exit(code)


def run(arguments: list[str]) -> int:
    """Run a command line and return its exit code.

    Parameters
    ----------
    arguments
        The words after `unlearn`.
    """
    debug = "--debug" in arguments
    as_json = "--json" in arguments
    arguments = [word for word in arguments if word != "--debug"]
    completing = bool(os.environ.get("_UNLEARN_COMPLETE"))
    if completing:
        # A shell asks; nobody else needs it.
        from typer._completion_classes import completion_init  # noqa: PLC0415

        completion_init()
    try:
        # The time is for commands that record how long they took.
        result = typer.main.get_command(app).main(
            arguments, prog_name="unlearn", standalone_mode=False, obj=time.perf_counter()
        )
    except (BrokenPipeError, SystemExit):
        if completing:  # Typer has printed what the shell asked for
            return 0
        # The reader closed the pipe, as `| head` does; no message can reach it. Typer itself asks
        # for an exit at no other time.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (KeyboardInterrupt, typer.Abort):
        report_error("interrupted", (), _INTERRUPTED, as_json=as_json)
        return _INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the outermost handler: no traceback without --debug
        if completing:
            return _INTERNAL  # a shell completes, and its line is no place for errors
        if debug:
            traceback.print_exc()
        return _report(error, as_json=as_json)
    if result == _INTERRUPTED:  # Ctrl-C: Typer makes a result of it and says nothing
        report_error("interrupted", (), _INTERRUPTED, as_json=as_json)
    return result if isinstance(result, int) else 0


def _is_about_torch(error: Exception) -> bool:
    """Return whether PyTorch is missing, or its libraries cannot be loaded."""
    if isinstance(error, ImportError):
        return (error.name or "").partition(".")[0] == "torch" or "libtorch" in str(error)
    return isinstance(error, OSError) and "libtorch" in str(error)


def _report(error: Exception, *, as_json: bool) -> int:
    """Report an error of ours, a usage error that Typer found, or an unexpected one."""
    # Only errors need it: the help imports nothing of the stages.
    from unlearn.stages.errors import ToolError, UnlearnError  # noqa: PLC0415

    if _is_about_torch(error):
        missing = isinstance(error, ModuleNotFoundError)
        error = ToolError(
            f"PyTorch {'is not installed' if missing else 'cannot be loaded'}", _TORCH
        )
    if isinstance(error, UnlearnError):
        report_error(
            error.message, error.hints, error.exit_code, as_json=as_json, facts=error.facts
        )
        return error.exit_code
    # Typer's own copy of Click has no public name; its errors are recognised by their methods.
    format_message = getattr(error, "format_message", None)
    code = getattr(error, "exit_code", None)
    if callable(format_message) and isinstance(code, int):
        if type(error).__name__ == "NoArgsIsHelpError":
            sys.stdout.write(f"{format_message()}\n")
            return code
        context = getattr(error, "ctx", None)
        hint = f"see `{context.command_path} --help`" if context else ""
        report_error(format_message(), (hint,) if hint else (), code, as_json=as_json)
        return code
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        report_error(f"{error.strerror}{where}", (), _INTERNAL, as_json=as_json)
        return _INTERNAL
    report_error(
        f"unexpected {type(error).__name__}",
        ("run the command again with --debug for the traceback, and please report it",),
        _INTERNAL,
        as_json=as_json,
    )
    return _INTERNAL
