"""The `unlearn` command: registers the subcommands, and turns errors into exit codes."""

import os
import sys
import traceback
from contextlib import suppress
from typing import Annotated

import typer
from unlearn.cli import (
    audit,
    canary,
    doctor,
    forget,
    import_model,
    plan,
    predict,
    report,
    repro,
    stage,
    status,
    tune,
    verify,
)
from unlearn.cli.init import command as init
from unlearn.cli.output import report_error
from unlearn.stages.errors import UnlearnError

_INTERRUPTED = 130
_INTERNAL = 3

app = typer.Typer(
    name="unlearn",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)


@app.callback()
def _root(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks of errors; works anywhere.")
    ] = False,
) -> None:
    """Exact machine unlearning as a DVC pipeline.

    Exit codes: 0 done; 1 a finding; 2 usage, configuration or input, nothing was changed;
    3 a tool below failed; 4 busy, nothing was changed.
    """


for _command in (
    init.init,
    forget.forget,
    plan.plan,
    repro.repro,
    status.status,
    audit.audit,
    verify.verify,
    predict.predict,
    report.report,
    canary.canary,
    import_model.import_model,
    tune.tune,
    doctor.doctor,
    stage.stage,
):
    app.command()(_command)


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
    except UnlearnError as error:
        if debug:
            traceback.print_exc()
        report_error(error.message, error.hints, error.exit_code, as_json=as_json)
        return error.exit_code
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
        return _report_unexpected(error, as_json=as_json)
    if result == _INTERRUPTED:  # Ctrl-C: Typer makes a result of it and says nothing
        report_error("interrupted", (), _INTERRUPTED, as_json=as_json)
    return result if isinstance(result, int) else 0


def _report_unexpected(error: Exception, *, as_json: bool) -> int:
    """Report a usage error that Typer found, or a failure that nobody foresaw."""
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
