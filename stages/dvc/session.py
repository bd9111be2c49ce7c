"""DVC for one run of `unlearn repro`: what is out of date, and the record of what ran."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any, Self

from unlearn.stages.config.params import Params
from unlearn.stages.dvc.command import (
    RETRY_SECONDS,
    busy,
    dvc_environment,
    pass_on,
    pipeline_status,
)
from unlearn.stages.dvc.pipeline import stage_names
from unlearn.stages.dvc.recording import changed_meanwhile, commit
from unlearn.stages.project.interrupts import without_interrupts
from unlearn.stages.project.locks import PATIENCE
from unlearn.stages.project.paths import Project

_LAST = "verify"


class Session:
    """DVC in one process from the start of a run to its end; see `child`.

    If that process fails, as it may with another version of DVC, DVC's own commands do what is
    left to do. They take longer, and come to the same.

    Parameters
    ----------
    project
        The project.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._process: subprocess.Popen[str] | None = None
        self._printing = threading.Thread()
        self._asked = False
        self._failure = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.end()

    def start(self) -> None:
        """Start the process, which begins to import DVC."""
        with without_interrupts():
            self._process = subprocess.Popen(
                [sys.executable, "-m", "unlearn.stages.dvc.child"],
                cwd=self._project.root,
                env=dvc_environment(),
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        printing = threading.Thread(target=pass_on, args=(self._process.stderr,), daemon=True)
        printing.start()
        self._printing = printing

    def stale(self) -> set[str]:
        """Return the stages that are out of date, of all that `verify` needs.

        Raises
        ------
        BusyError
            If another DVC held its lock all the time that we were ready to wait.
        ToolError
            If DVC failed.
        """
        answer = self._ask({"do": "status", "target": _LAST})
        if answer is not None:
            return set(answer["stale"])
        found = set(pipeline_status(self._project.root))
        self._note()
        return found

    def record(self, params: Params, ran: Collection[str]) -> None:
        """Have DVC record stages that ran, and nothing else.

        Parameters
        ----------
        params
            The settings.
        ran
            Names of the stages that ran.

        Raises
        ------
        BusyError
            If another DVC held its lock all the time that we were ready to wait.
        ToolError
            If the files of another stage have changed, or DVC failed; nothing is recorded.
        """
        names = [name for name in stage_names(params) if name in ran]
        if not names:
            return
        answer = self._ask({"do": "record", "names": names})
        if answer is None:
            commit(self._project, params, names)
            self._note()
        elif answer["foreign"]:
            raise changed_meanwhile(answer["foreign"])

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the answer to a request; None if the process failed."""
        deadline = time.monotonic() + PATIENCE
        while self._process is not None:
            self._asked = True
            answer = _answer(self._process, request)
            if "failed" in answer:
                self._failure = answer["failed"]
                self.end()
            elif "busy" not in answer:
                return answer
            elif time.monotonic() > deadline:
                raise busy()
            else:
                time.sleep(RETRY_SECONDS)
        return None

    def _note(self) -> None:
        """Say once why DVC's own commands are run, when these have not failed."""
        if self._failure:
            reason = " ".join(self._failure.split())
            sys.stderr.write(f"note: DVC is run by its commands, which takes longer: {reason}\n")
            self._failure = ""

    def end(self) -> None:
        """Let the process end; what is asked of DVC after that is done by its commands."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            if not self._asked:
                process.terminate()  # in the middle of its imports
            with suppress(BrokenPipeError):
                process.stdin.close()
            process.wait()
            self._printing.join()


def _answer(process: subprocess.Popen[str], request: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the process answers, or why it does not."""
    if process.stdin is None or process.stdout is None:
        raise AssertionError("both are pipes")
    try:
        process.stdin.write(f"{json.dumps(request)}\n")
        process.stdin.flush()
        return dict(json.loads(process.stdout.readline()))
    except (OSError, ValueError):
        return {"failed": "it ended without an answer"}
