"""The end of a cluster that was started for a run: its processes are killed, its folder deleted.

A process of the cluster cannot do so: Ray ends processes whose raylet or store is gone, and would
end this one before it is done. So it is done in a process of another session, or by the run.
"""

import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

#: Seconds to try.
_SWEEP = 10.0


def sweep(session: int, folder: Path | None) -> None:
    """Kill the processes of a session, and delete a folder.

    Parameters
    ----------
    session
        Number of the process that leads it, which is killed too.
    folder
        What Ray kept there is deleted; None if it kept nothing.
    """
    deadline = time.monotonic() + _SWEEP
    while time.monotonic() < deadline:
        found = _members(session)
        for process in found:
            with suppress(psutil.Error):
                process.kill()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        # What is found may have started another process since.
        if not found and (folder is None or not folder.exists()):
            break
        time.sleep(0.02)


def start_sweep(session: int, folder: Path | None) -> None:
    """Start a process, in a session of its own, that does what `sweep` does."""
    names = [str(session)] if folder is None else [str(session), str(folder)]
    subprocess.Popen(
        [sys.executable, "-P", "-m", "unlearn.stages.engines.ray_sweep", *names],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )


def _members(session: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


if __name__ == "__main__":
    sweep(int(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)  # noqa: PLR2004 - a folder
