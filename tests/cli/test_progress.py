"""Bars stand at the bottom of a terminal, and leave nothing behind."""

import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from unlearn.cli.progress import Bar, duration, line_of
from unlearn.cli.terminal import width_of

from tests.terminals import Session, in_terminal, resize, screen_of

#: Works for a second; a child process writes in the middle of it, and then it may fail.
WORKS = """\
import os, subprocess, sys, time
from unlearn.cli.output import emit, progress, say
say("before")
try:
    with progress("reading rows", 40, "rows") as advance:
        for step in range(int(sys.argv[1])):
            time.sleep(.05)
            advance(2)
            if step == 8:
                say("a message")
                print("an answer of a library")
                subprocess.run(["sh", "-c", "printf 'of a process\\\\nhalf a line' >&2"])
        if sys.argv[2:]:
            raise ValueError("a stage failed")
except KeyboardInterrupt:
    say("error: interrupted")
except ValueError as error:
    say(f"error: {error}")
say("after")
os._exit(0)
"""


def works(
    folder: Path,
    *arguments: str,
    columns: int = 80,
    redirect: str = "",
    on_output: Callable[[int, int, bytes], None] = lambda _terminal, _process, _raw: None,
    env: Mapping[str, str] | None = None,
) -> Session:
    command = ["bash", "-c", f'exec "$0" -c "$@" {redirect}', sys.executable, WORKS]
    command += arguments or ("20",)
    return in_terminal(command, folder, columns, env=env, on_output=on_output)


LINES = ["before", "a message", "an answer of a library", "of a process", "half a line"]


@pytest.mark.parametrize("columns", [80, 40])
def test_a_bar_has_a_rate_and_a_time_and_is_gone_at_the_end(columns: int, tmp_path: Path) -> None:
    done = works(tmp_path, columns=columns)

    assert sorted(done.screen[:5]) == sorted([*LINES[:4], "half a lineafter"])
    assert done.screen[0] == "before"
    assert not any(done.screen[5:])
    assert re.search(r"0:0[01] left", done.text)
    if columns == 80:
        assert re.search(r"\d+ of 40 rows", done.text)
        assert re.search(r"\d+ rows/s", done.text)
    assert done.widest() <= columns


def test_ctrl_c_leaves_no_half_line(tmp_path: Path) -> None:
    def interrupt(terminal: int, _process: int, raw: bytes) -> None:
        if b"of a process" in raw and not pressed:
            pressed.append(os.write(terminal, b"\x03"))

    pressed: list[int] = []
    done = works(tmp_path, "400", on_output=interrupt)

    assert done.screen[-4:] == ["of a process", "half a lineerror: interrupted", "after", ""]
    assert not any("reading rows" in line for line in done.screen)


def test_an_error_comes_after_the_bar_is_gone(tmp_path: Path) -> None:
    done = works(tmp_path, "12", "fail")

    assert done.screen[-3:] == ["half a lineerror: a stage failed", "after", ""]
    assert not any("reading rows" in line for line in done.screen)


#: Prints while a bar is shown that cannot be drawn.
FAULTY = """\
import os, time
from unlearn.cli.output import say
from unlearn.cli.progress import bars
class Faulty:
    def lines(self, width, most):
        raise ValueError("a fault of the bar")
with bars(Faulty()):
    time.sleep(.6)
    say("a message")
say("after")
os._exit(0)
"""


def test_a_bar_with_an_error_loses_nothing_that_is_printed(tmp_path: Path) -> None:
    text = in_terminal([sys.executable, "-c", FAULTY], tmp_path, 80).text

    assert text.startswith("a message")
    assert "ValueError: a fault of the bar" in text
    assert text.rstrip().endswith("after")


def test_standard_output_that_is_redirected_has_what_was_printed(tmp_path: Path) -> None:
    done = works(tmp_path, redirect=">out.txt")

    assert (tmp_path / "out.txt").read_text() == "an answer of a library\n"
    assert "reading rows" in done.text
    assert done.screen[:3] == ["before", "a message", "of a process"]


def test_a_bar_without_colours_has_none(tmp_path: Path) -> None:
    done = works(tmp_path, env={"NO_COLOR": "1"})

    assert "━╌" in done.text
    assert not re.search(r"\x1b\[[\d;]*m", done.text)


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"CI": "true"}])
def test_where_lines_cannot_be_replaced_there_is_no_bar(
    env: dict[str, str], tmp_path: Path
) -> None:
    done = works(tmp_path, "10", env=env)

    assert not done.has_codes
    assert "reading rows" not in done.text


def test_a_redirected_standard_error_gets_lines_alone(tmp_path: Path) -> None:
    done = works(tmp_path, redirect="2>err.txt")

    assert (
        tmp_path / "err.txt"
    ).read_text() == "before\na message\nof a process\nhalf a lineafter\n"
    assert done.screen == ["an answer of a library", ""]


def test_a_narrower_terminal_keeps_no_part_of_a_bar(tmp_path: Path) -> None:
    def narrow(terminal: int, _process: int, raw: bytes) -> None:
        if b"reading rows" in raw and not at:
            at.append(len(raw))
            resize(terminal, 40)

    at: list[int] = []
    done = works(tmp_path, on_output=narrow)

    # What stood on the screen was broken into lines of the new width.
    assert not any("reading" in line or "left" in line for line in screen_of(done.text, 40))
    assert "half a lineafter" in screen_of(done.text, 40)


@pytest.mark.parametrize("width", [100, 60, 37, 20, 8, 1])
def test_a_line_fits_every_width(width: int) -> None:
    facts = ("1,234,567 of 7,654,321 rows", "45,678 rows/s", "1:12:30 left")

    assert width_of(line_of("rewriting the dataset", 0.3, facts, width)) <= max(width, 2)


def test_a_guess_that_was_too_low_is_not_shown() -> None:
    bar = Bar("shard", 10, "rows")
    bar.advance(11)

    (line,) = bar.lines(80, 5)
    assert "11 rows" in line
    assert "of 10" not in line


def test_a_duration_is_a_clock() -> None:
    assert [duration(seconds) for seconds in (0.4, 61, 3661)] == ["0:00", "1:01", "1:01:01"]
