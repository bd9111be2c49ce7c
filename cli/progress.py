"""Bars at the bottom of a terminal, with rates and the time that is left.

While bars are shown, all output is printed above them, whether it is from this process, from a
library in C, or from a process that was started. For that, standard error, and standard output if
it is a terminal, are replaced by a file in memory, which is copied to the terminal ten times a
second. A pipe would not do: a writer waits when it is full, and may hold a lock that the reader
needs.
"""

import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event, RLock, Thread
from typing import Protocol

from unlearn.cli import terminal

#: Seconds between two frames, and until the first: what ends sooner shows nothing.
_PAUSE, _PATIENCE = 0.1, 0.3
#: Seconds that a rate is the mean of.
_RECENT = 20.0
#: Columns that stay free, for the ^C that a terminal writes behind the last line.
_FREE = 3
_WIDEST, _BAR = 100, (10, 30)


class Shown(Protocol):
    """What is shown as one line or several."""

    def lines(self, width: int, most: int) -> list[str]:
        """Return lines of at most so many columns, and at most so many of them."""
        ...


@dataclass
class Bar:
    """A bar of one piece of work.

    Parameters
    ----------
    description
        What is done.
    total
        How many steps there are, or about how many; None if that is not known.
    unit
        What a step is, as a plural.
    """

    description: str
    total: int | None
    unit: str = ""
    done: int = 0
    started: float = field(default_factory=time.monotonic)
    _marks: deque[tuple[float, int]] = field(default_factory=deque)

    def advance(self, steps: int) -> None:
        """Note that so many more steps were done."""
        self.done += steps

    def lines(self, width: int, most: int) -> list[str]:  # noqa: ARG002 - as `Shown` has it
        """Return the line of the bar."""
        now = time.monotonic()
        self._marks.append((now, self.done))
        while len(self._marks) > 1 and self._marks[1][0] < now - _RECENT:
            self._marks.popleft()
        rate = self._rate(now)
        unit = f" {self.unit}" if self.unit else ""
        # A total that was a guess may be too low.
        total = None if self.total is None or self.done > self.total else self.total
        if total is None:
            count, left, share = f"{self.done:,}{unit}", duration(now - self.started), None
        else:
            share = self.done / total if total else 1.0
            count = f"{self.done:,} of {total:,}{unit}"
            left = f"{duration((total - self.done) / rate)} left" if rate else ""
        return [line_of(self.description, share, (count, self._pace(rate), left), width)]

    def _rate(self, now: float) -> float:
        """Return steps a second lately; 0 before there were any."""
        time_then, done_then = self._marks[0]
        if self.done > done_then:
            return (self.done - done_then) / max(now - time_then, 1e-9)
        return self.done / max(now - self.started, 1e-9)

    def _pace(self, rate: float) -> str:
        if not rate or not self.unit:
            return ""
        if rate < 1:
            return f"{1 / rate:.0f} s each"
        return f"{rate:,.0f} {self.unit}/s" if rate >= 10 else f"{rate:.1f} {self.unit}/s"  # noqa: PLR2004 - two digits


def line_of(description: str, share: float | None, facts: tuple[str, str, str], width: int) -> str:
    """Return a line that fits: what matters least is left out first.

    Parameters
    ----------
    description
        What is done.
    share
        How much of it is done, from 0 to 1; None shows no bar.
    facts
        The count, the rate and the time.
    width
        Columns.
    """
    count, rate, left = facts
    for parts, has_bar in (
        ((count, rate, left), True),
        ((count, left), True),
        ((count, rate, left), False),
        ((count, left), False),
        ((left or count,), False),
    ):
        text = "  ".join(part for part in parts if part)
        room = width - terminal.width_of(description) - len(text) - 4
        if has_bar and share is not None and room >= _BAR[0]:
            return f"{description}  {_bar(share, min(room, _BAR[1]))}  {text}"
        if not (has_bar and share is not None) and room + 2 >= 0:
            return f"{description}  {text}"
    return cut(description, width)


def cut(text: str, width: int) -> str:
    """Return the beginning of a text that is too wide."""
    if terminal.width_of(text) <= width:
        return text
    while text and terminal.width_of(text) > width - 2:
        text = text[:-1]
    return f"{text}.."


def duration(seconds: float) -> str:
    """Return a time as a clock shows it: `0:07`, `12:30`, `1:05:00`."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    clock = f"{minutes}:{whole % 60:02}"
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else clock


def _bar(share: float, width: int) -> str:
    done = int(share * width)
    full, rest = ("━", "╌") if _has_lines() else ("#", "-")
    left = terminal.styled(full * done, terminal.CYAN, sys.stderr)
    return left + terminal.styled(rest * (width - done), terminal.DIM, sys.stderr)


def _has_lines() -> bool:
    try:
        "━╌".encode(sys.stderr.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


class Screen:
    """The lower end of a terminal, where bars are drawn again and again."""

    def __init__(self) -> None:
        self._shown: list[Shown] = []
        self._lock = RLock()
        self._stopped = Event()
        self._thread = Thread(target=self._draw_on, daemon=True)
        self._saved: dict[int, int] = {}
        self._intake = -1
        self._taken = 0
        self._rest = b""
        self._widths: list[int] = []
        self._frame: tuple[object, ...] = ()
        self._terminal = -1
        self._since = time.monotonic()

    def add(self, bar: Shown) -> None:
        """Show a bar below the others."""
        with self._lock:
            self._shown.append(bar)

    def remove(self, bar: Shown) -> None:
        """Show a bar no more."""
        with self._lock:
            self._shown = [one for one in self._shown if one is not bar]

    def start(self) -> None:
        """Take what is printed from now on, and begin to draw."""
        _flush()
        try:
            self._terminal = os.dup(2)
            self._intake = _file_in_memory()
            for number in (1, 2) if terminal.is_terminal(sys.stdout) else (2,):
                self._saved[number] = os.dup(number)
                terminal.STAND_INS[number] = self._saved[number]
                os.dup2(self._intake, number)
            self._thread.start()
        except BaseException:
            self._give_back()
            raise

    def stop(self) -> None:
        """Give the streams back, print what is left of what they took, and erase the bars."""
        self._give_back()
        self._stopped.set()
        self._thread.join()
        os.close(self._intake)
        os.close(self._terminal)

    def _give_back(self) -> None:
        _flush()
        for number, saved in self._saved.items():
            os.dup2(saved, number)
            terminal.STAND_INS.pop(number, None)
            os.close(saved)
        self._saved.clear()

    def _draw_on(self) -> None:
        # A terminal that is gone takes nothing more; what it was to show is lost with it.
        with suppress(OSError):
            try:
                while not self._stopped.wait(_PAUSE):
                    self._draw(self._lines())
            finally:
                # A bar with an error must not take what others print with it.
                self._stopped.wait()
                self._draw([], last=True)

    def _lines(self) -> list[str]:
        if time.monotonic() < self._since + _PATIENCE:
            return []
        wide, high = self._size()
        width = min(wide - _FREE, _WIDEST)
        lines: list[str] = []
        if width < 1:
            return []
        with self._lock:
            for bar in self._shown:
                lines += bar.lines(width, max(high - 3 - len(lines), 1))
        return [cut(line, width) if terminal.width_of(line) > width else line for line in lines]

    def _draw(self, lines: list[str], *, last: bool = False) -> None:
        """Write one frame, at once: what was printed, and the bars below it."""
        text = self._printed(last=last)
        frame = (lines, self._size())
        if not text and frame == self._frame:
            return
        wide, _ = self._size()
        # A terminal that was made narrower has broken lines that were wider.
        rows = sum(max(1, -(-width // wide)) for width in self._widths)
        start = b"\r" + (b"\x1b[%dA" % (rows - 1) if rows > 1 else b"") if self._widths else b""
        if self._widths and (text or not lines):
            start += b"\x1b[J"
        drawn = b"\x1b[K\n".join(line.encode(_encoding(), "replace") for line in lines)
        end = b"\x1b[K\x1b[J" if lines else b""
        if lines and text and not text.endswith(b"\n"):
            raise AssertionError("only whole lines come before the bars")
        _write(self._terminal, start + text + drawn + end)
        self._widths = [terminal.width_of(line) for line in lines]
        self._frame = frame

    def _printed(self, *, last: bool) -> bytes:
        """Return the lines that were printed since; at last, also what is no whole line."""
        new = b""
        while part := os.pread(self._intake, 1 << 16, self._taken):
            self._taken += len(part)
            new += part
        whole, mark, rest = (self._rest + new).rpartition(b"\n")
        self._rest = rest
        # Of a line that was written over itself, as a bar is, the last state.
        lines = [line.rstrip(b"\r").rpartition(b"\r")[2] for line in whole.split(b"\n")]
        text = b"\n".join(lines) + mark
        return text + rest if last else text

    def _size(self) -> tuple[int, int]:
        return terminal.size(sys.stderr)


#: The one that is shown.
_SCREENS: list[Screen] = []


@contextmanager
def bars(shown: Shown) -> Iterator[None]:
    """Show a bar while the block runs, below those that are shown already."""
    if _SCREENS:
        screen = _SCREENS[-1]
        screen.add(shown)
        try:
            yield
        finally:
            screen.remove(shown)
        return
    screen = Screen()
    screen.add(shown)
    screen.start()
    _SCREENS.append(screen)
    try:
        yield
    finally:
        _SCREENS.remove(screen)
        screen.stop()


@contextmanager
def progress(description: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
    """Show a bar; see `unlearn.cli.output.progress`."""
    bar = Bar(description, total, unit)
    with bars(bar):
        yield bar.advance


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()


def _encoding() -> str:
    return sys.stderr.encoding or "utf-8"


def _file_in_memory() -> int:
    """Return a file that exists as long as it is open; every write is added at its end."""
    if hasattr(os, "memfd_create"):
        import fcntl  # noqa: PLC0415 - of systems that have it

        number = os.memfd_create("unlearn")
        fcntl.fcntl(number, fcntl.F_SETFL, fcntl.fcntl(number, fcntl.F_GETFL) | os.O_APPEND)
        return number
    with tempfile.TemporaryFile("ab+") as file:
        return os.dup(file.fileno())


def _write(number: int, content: bytes) -> None:
    while content:
        content = content[os.write(number, content) :]
