"""A terminal of a chosen width: a program runs in it, and the test sees what a person would."""

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.cells import cell_len

#: What decides about colours and widths; a test says what it wants of them.
_UNSET = ("COLUMNS", "LINES", "CI", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE")

#: Cursor up, erase the rest of a line or of the screen; colours.
_CODE = re.compile(r"\x1b\[(\d*)([AKJ])|\x1b\[[\d;]*m")


@dataclass(frozen=True)
class Session:
    """A program that has ended.

    Parameters
    ----------
    code
        Its exit code.
    raw
        All that it wrote.
    columns
        The width of the terminal at the end.
    """

    code: int
    raw: bytes
    columns: int

    @property
    def text(self) -> str:
        """What it wrote, with its codes."""
        return self.raw.decode()

    @property
    def has_codes(self) -> bool:
        """Whether it wrote anything but text."""
        return b"\x1b" in self.raw

    @property
    def screen(self) -> list[str]:
        """The lines that are on the screen at the end, as wide as they were written."""
        return screen_of(self.text, self.columns)

    def widest(self) -> int:
        """Return the width of the widest line that was written, without its codes."""
        lines = re.split(r"[\r\n]+", _CODE.sub("", self.text))
        return max(map(cell_len, lines))


def in_terminal(
    command: Sequence[str],
    folder: Path,
    columns: int = 80,
    *,
    env: Mapping[str, str] | None = None,
    on_output: Callable[[int, int, bytes], None] = lambda _terminal, _process, _raw: None,
) -> Session:
    """Run a program in a terminal of its own, as the one that Ctrl-C reaches.

    Parameters
    ----------
    command, folder
        What to run, and where.
    columns
        The width.
    env
        More variables.
    on_output
        Called with the terminal, the process and all output so far, whenever there is more.
    """
    process, terminal = pty.fork()
    if process == 0:
        try:
            resize(0, columns)
            os.chdir(folder)
            variables = {name: value for name, value in os.environ.items() if name not in _UNSET}
            variables |= {"TERM": "xterm-256color"} | dict(env or {})
            os.execvpe(command[0], list(command), variables)  # noqa: S606 - a program, not a shell
        finally:
            os._exit(127)
    raw = b""
    try:
        while part := _read(terminal):
            raw += part
            on_output(terminal, process, raw)
        columns = struct.unpack("HHHH", fcntl.ioctl(terminal, termios.TIOCGWINSZ, bytes(8)))[1]
    finally:
        os.close(terminal)
        _, status = os.waitpid(process, 0)
    return Session(os.waitstatus_to_exitcode(status), raw, columns)


def unlearn_in_terminal(
    folder: Path, *arguments: str, columns: int = 80, env: Mapping[str, str] | None = None
) -> Session:
    """Run `unlearn` in a terminal."""
    return in_terminal([sys.executable, "-m", "unlearn.cli", *arguments], folder, columns, env=env)


def resize(terminal: int, columns: int) -> None:
    """Give a terminal another width."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # the program has ended
        return b""


def screen_of(text: str, columns: int) -> list[str]:
    """Return the lines that a terminal shows after it got a text; it breaks lines that are long."""
    rows: list[list[str]] = [[]]
    row = column = at = 0
    while at < len(text):
        if code := _CODE.match(text, at):
            at = code.end()
            if code[2] == "A":
                row = max(0, row - int(code[1] or 1))
            elif code[2] in {"K", "J"}:
                del rows[row][column:]
                if code[2] == "J":
                    del rows[row + 1 :]
            continue
        character = text[at]
        at += 1
        if character == "\r":
            column = 0
            continue
        if character == "\n" or column >= columns:
            row += 1
            column = column if character == "\n" else 0
            while len(rows) <= row:
                rows.append([])
        if character != "\n":
            line = rows[row]
            line += " " * (column - len(line))
            line[column : column + 1] = [character]
            column += 1
    return ["".join(row) for row in rows]
