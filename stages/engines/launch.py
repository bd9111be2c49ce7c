"""Becomes another program, which ends when the process that started it does.

It is run as a script: `python launch.py PARENT COMMAND...`, with the parent's process id. It
imports nothing of ours, so that it takes some milliseconds.
"""

import ctypes
import os
import signal
import sys

_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG, linux/prctl.h


def main(parent: int, command: list[str]) -> None:
    """Replace this process by a command; it has its parent, and its parent's fate."""
    if sys.platform == "linux":
        # Kept by the program that this process becomes.
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)
    try:
        os.execvp(command[0], command)  # noqa: S606 - a list of words, and no shell
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        os._exit(127)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
