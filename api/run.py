"""Calls that train: in a process of their own, so that nothing of the caller's decides a byte."""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

from unlearn.cli.answers import ErrorAnswer
from unlearn.stages.errors import BusyError, InputError, ToolError, UnlearnError

#: Where messages of a project go: what commands print on standard error.
LOGGER = logging.getLogger("unlearn")

#: How long a run may take to end after an interrupt, in seconds, before it is killed.
_PATIENCE = 30

#: How long the last messages of a run that has ended may take, in seconds.
_LAST_WORDS = 5

#: As the command ends after Ctrl-C.
_INTERRUPTED = 130

_ERRORS = {kind.exit_code: kind for kind in (BusyError, ToolError, InputError)}


def hear(message: str) -> None:
    """Log a message; notes are warnings."""
    LOGGER.log(logging.WARNING if message.startswith("note: ") else logging.INFO, message)


def call(what: str, root: Path, **values: Any) -> dict[str, Any]:
    """Return the JSON of an answer; see `unlearn.cli.own_process`.

    Parameters
    ----------
    what
        The name of the call.
    root
        The project's folder.
    **values
        What the call takes.

    Raises
    ------
    UnlearnError
        What the run raised.
    ToolError
        If it ended without an answer.
    KeyboardInterrupt
        If it was interrupted.
    """
    process = subprocess.Popen(
        # -P: the current folder holds no modules of ours.
        [sys.executable, "-P", "-m", "unlearn.cli.own_process"],
        cwd=root,
        # Notebooks ask for colours also where nothing is a terminal; a log has none.
        env=os.environ | {"NO_COLOR": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise AssertionError("the pipes were asked for")
    listening = Thread(target=_listen, args=(process.stderr,), daemon=True)
    listening.start()
    try:
        # One that could not even start reads nothing, and has no answer.
        with suppress(BrokenPipeError):
            line = {"do": what, "root": str(root), "values": values}
            process.stdin.write(json.dumps(line) + "\n")
            process.stdin.flush()
        text = process.stdout.read()
        code = process.wait()
    except BaseException:
        _end(process)
        raise
    finally:
        listening.join(_LAST_WORDS)
        with suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()
        # A process that the run left behind, such as a shared connection of ssh, may hold it open:
        # to close it would then wait for that process.
        if not listening.is_alive():
            process.stderr.close()
    return _answer(text, code)


def _listen(lines: Iterable[str]) -> None:
    for line in lines:
        hear(line.rstrip("\n"))


def _end(process: subprocess.Popen[str]) -> None:
    """Interrupt a run that nobody waits for, and wait until it has put things in order."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _answer(text: str, code: int) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = json.loads(text)
    except ValueError:
        raise ToolError(
            f"the process of the run ended without an answer (exit code {code})",
            "the log `unlearn` has its messages",
        ) from None
    if "error" not in answer:
        return answer
    error = ErrorAnswer.model_validate(answer).error
    if error.exit_code == _INTERRUPTED:
        raise KeyboardInterrupt
    kind: type[UnlearnError] = _ERRORS.get(error.exit_code, UnlearnError)
    raise kind(error.message, *error.hints, facts=error.facts)
