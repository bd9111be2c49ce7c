"""The `unlearn` command: the table of commands, and errors as exit codes."""

import os
import sys
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

#: All commands, in the order in which the help lists them. A summary is one sentence, the first
#: of the command's docstring.
COMMANDS: Mapping[str, Entry] = {
    "init": Entry("unlearn.cli.init.command", "Set up git, DVC and the pipeline for a dataset."),
    "forget": Entry(
        "unlearn.cli.forget",
        "Mark records to be forgotten, all or nothing; `unlearn repro` or `dvc repro` does it.",
    ),
    "plan": Entry(
        "unlearn.cli.plan",
        "Show which slices a run would retrain, and what it would cost. Changes nothing.",
        one_thread=True,
    ),
    "repro": Entry(
        "unlearn.cli.repro",
        "Bring the models up to date with the dataset, params.yaml and the forget list.",
    ),
    "status": Entry(
        "unlearn.cli.status",
        "Show requests: pending, applied, verified; and whether DVC has anything left to do.",
    ),
    "audit": Entry(
        "unlearn.cli.audit",
        "Compare two states of the pipeline and explain every change.",
        one_thread=True,
    ),
    "verify": Entry(
        "unlearn.cli.verify",
        "Show the evidence; exit 0 only if the verdict is pass and belongs to the present state.",
    ),
    "predict": Entry(
        "unlearn.cli.predict",
        "Predict: the id where the input has one, the class, and a probability for each class.",
    ),
    "report": Entry(
        "unlearn.cli.report",
        "Write the report as a page: one file, readable offline and on a phone, printable.",
    ),
    "canary": Entry(
        "unlearn.cli.canary",
        "Plant made-up, mislabelled records; a keyed fair coin decides which are trained on.",
    ),
    "import-model": Entry(
        "unlearn.cli.import_model",
        "Make a trained model the original that post-hoc methods start from.",
        one_thread=True,
    ),
    "tune": Entry(
        "unlearn.cli.tune",
        "Search for a method's settings, by distance to retraining, away from the rows under test.",
        one_thread=True,
    ),
    "doctor": Entry(
        "unlearn.cli.doctor",
        "Check environment, key, lock, leftovers and copies; exit 1 if anything is found.",
    ),
    "stage": Entry(
        "unlearn.cli.stage.command",
        "Run one stage, as dvc.yaml does; `dvc repro` is the way to run them all.",
        one_thread=True,
    ),
}


class _Commands(LazyGroup):
    entries: ClassVar[Mapping[str, Entry]] = COMMANDS


app = typer.Typer(
    cls=_Commands,
    name="unlearn",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)


def _print_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"unlearn {metadata.version('dvc-unlearn')}\n")
        raise typer.Exit


@app.callback()
def _root(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks of errors; works anywhere.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Exact machine unlearning as a DVC pipeline.

    Exit codes: 0 done; 1 a finding; 2 usage, configuration or input, nothing was changed;
    3 a tool below failed; 4 busy, nothing was changed.
    """


def main() -> None:
    """Run the command line and exit."""
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
    try:
        result = typer.main.get_command(app).main(
            arguments, prog_name="unlearn", standalone_mode=False
        )
    except (BrokenPipeError, SystemExit):
        # The reader left, as `| head` does; nothing is left to tell it. Typer itself asks for an
        # exit at no other time.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (KeyboardInterrupt, typer.Abort):
        report_error("interrupted", (), _INTERRUPTED, as_json=as_json)
        return _INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last stop: no traceback unless asked for
        if debug:
            traceback.print_exc()
        return _report(error, as_json=as_json)
    if result == _INTERRUPTED:  # Ctrl-C: Typer makes a result of it and says nothing
        report_error("interrupted", (), _INTERRUPTED, as_json=as_json)
    return result if isinstance(result, int) else 0


def _report(error: Exception, *, as_json: bool) -> int:
    """Report an error of ours, a usage error that Typer found, or an unexpected one."""
    # Only errors need it: the help imports nothing of the stages.
    from unlearn.stages.errors import UnlearnError  # noqa: PLC0415

    if isinstance(error, UnlearnError):
        report_error(error.message, error.hints, error.exit_code, as_json=as_json)
        return error.exit_code
    # Typer's own copy of Click has no public name; its errors are known by what they can do.
    format_message = getattr(error, "format_message", None)
    code = getattr(error, "exit_code", None)
    if callable(format_message) and isinstance(code, int):
        if type(error).__name__ == "NoArgsIsHelpError":
            sys.stdout.write(f"{format_message()}\n")
            return code
        context = getattr(error, "ctx", None)
        hint = f"`{context.command_path} --help` lists what there is" if context else ""
        report_error(format_message(), (hint,) if hint else (), code, as_json=as_json)
        return code
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        report_error(f"{error.strerror}{where}", (), _INTERNAL, as_json=as_json)
        return _INTERNAL
    report_error(
        f"unforeseen {type(error).__name__}",
        ("run the command again with --debug to see where, and please report it",),
        _INTERNAL,
        as_json=as_json,
    )
    return _INTERNAL
