"""A run in a process of its own, for callers in Python.

How many threads a library uses, and what code of the caller has changed in it, could change what is
trained. So the caller's process trains nothing: it starts this module, writes one line with a call,
and reads one JSON object. Messages go to standard error. If the caller ends, so does the run.
"""

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from unlearn.cli.answers import Answer, ErrorAnswer, ErrorDetails
from unlearn.stages.errors import UnlearnError
from unlearn.stages.project.git import leave_hook
from unlearn.stages.project.paths import find_project
from unlearn.stages.project.threads import use_one_thread

#: As the command ends after Ctrl-C.
_INTERRUPTED = 130

#: As the command ends after an error that nobody expected.
_UNEXPECTED = 3


def _repro(root: Path, values: Mapping[str, Any]) -> Answer:
    from unlearn.cli.engine_choice import EngineChoice, EngineName  # noqa: PLC0415 - after threads
    from unlearn.cli.repro import RunChoice, run_pipeline  # noqa: PLC0415

    name = EngineName(values["engine"])
    engine = EngineChoice(name, values["jobs"], values["command"], values["address"])
    return run_pipeline(find_project(root), engine, RunChoice(**values["run"]))


def _audit(root: Path, values: Mapping[str, Any]) -> Answer:
    from unlearn.cli.audit import compare_states  # noqa: PLC0415 - after threads

    return compare_states(find_project(root), values["old"], values["new"], values["rerun"])


#: What can be called, by name.
_CALLS: Mapping[str, Callable[[Path, Mapping[str, Any]], Answer]] = {
    "repro": _repro,
    "audit": _audit,
}


def main() -> None:
    """Run one call, and exit as the command of the same name would."""
    # Whatever else is printed, by code of the user for example, is no answer.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    call = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_caller, daemon=True).start()
    leave_hook(os.environ)
    use_one_thread()
    answer, code = _answered(call)
    json.dump(answer.as_json(), answers, allow_nan=False)
    answers.flush()
    sys.stderr.flush()
    # Not sys.exit, as in `unlearn.cli.app.main`.
    os._exit(code)


def _answered(call: Mapping[str, Any]) -> tuple[Answer, int]:
    try:
        return _CALLS[call["do"]](Path(call["root"]), call["values"]), 0
    except UnlearnError as error:
        details = ErrorDetails(
            message=error.message,
            hints=list(error.hints),
            exit_code=error.exit_code,
            facts=error.facts,
        )
    except KeyboardInterrupt:
        details = ErrorDetails(message="interrupted", hints=[], exit_code=_INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the outermost handler: it is raised by the caller
        traceback.print_exc()
        details = ErrorDetails(
            message=f"unexpected {type(error).__name__}",
            hints=["the log `unlearn` has the traceback; please report it"],
            exit_code=_UNEXPECTED,
        )
    return ErrorAnswer(error=details), details.exit_code


def _end_with_the_caller() -> None:
    """Interrupt the run once nobody waits for it."""
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    main()
