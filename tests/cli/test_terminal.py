"""Lines and tables fit a terminal, lose nothing, and are left alone in a pipe."""

import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.cli import terminal

from tests.conftest import start_repositories
from tests.terminals import in_terminal, unlearn_in_terminal

WORDS = st.text(
    st.sampled_from(["a", "b", "/", " ", " ", "-", "木", "é", "7"]), min_size=0, max_size=120
)
WIDTHS = st.integers(20, 100)


def letters(text: str) -> str:
    return re.sub(r"\s", "", text)


@given(line=WORDS, width=WIDTHS)
def test_a_wrapped_line_fits_and_has_every_character(line: str, width: int) -> None:
    found = terminal.wrapped(line, width)

    assert all(terminal.width_of(part) <= width for part in found)
    assert letters("".join(found)) == letters(line)
    assert found == [line] or terminal.width_of(line) > width


def test_a_wrapped_line_keeps_its_indent_and_breaks_a_path_after_a_slash() -> None:
    assert terminal.wrapped("  note: one two three", 14) == ["  note: one", "    two three"]
    path = "data/shards/a-long-name/another-name/s000.parquet"
    assert terminal.wrapped(path, 30) == ["data/shards/a-long-name/", "  another-name/s000.parquet"]


@given(
    cells=st.lists(st.lists(WORDS, min_size=4, max_size=4), min_size=1, max_size=4),
    width=WIDTHS,
)
def test_a_table_fits_and_has_every_character(cells: list[list[str]], width: int) -> None:
    head = ["name", "a number of things", "x", "95 % interval"]

    lines = [line for row in terminal.table(head, cells, {"name"}, width=width) for line in row]

    assert all(terminal.width_of(line) <= width for line in lines)
    found = sorted(letters("".join(lines)))
    every = sorted(letters("".join([*head, *(cell for row in cells for cell in row)])))
    for character in every:
        found.remove(character)  # the first column may stand there again
    assert set(found) <= set(every)


def test_a_table_in_a_pipe_is_as_wide_as_it_is() -> None:
    name = "a" * 200
    lines = terminal.table(["name", "n"], [[name, "1"], ["木", "22"]], {"name"})

    assert lines == [
        [f"  {'name':200}   n"],
        [f"  {name}   1"],
        [f"  木{' ' * 198}  22"],
    ]


def test_columns_that_do_not_fit_stand_below_after_the_first() -> None:
    head = ["method", *(f"measurement{number}" for number in range(6))]
    lines = terminal.table(head, [["ssd", *"123456"]], {"method"}, width=40)

    assert [line.split() for line in [*lines[0], *lines[1]]] == [
        ["method", "measurement0", "measurement1"],
        ["ssd", "1", "2"],
        ["method", "measurement2", "measurement3"],
        ["ssd", "3", "4"],
        ["method", "measurement4", "measurement5"],
        ["ssd", "5", "6"],
    ]


#: Prints a message, an answer and a table, as commands do.
PRINTS = """\
from unlearn.cli.output import emit, report_error, say, table
say("note: " + "a/long/path/" * 12)
emit(None, as_json=False, text=lambda: "verdict: pass\\n" + "\\n".join(
    table(["request", "state"], [["a-ticket-" * 12, "late"], ["b", "done"]], {"request"}, red=[0])
))
report_error("a setting is wrong", ("see the page",), 2, as_json=False)
"""


def prints(
    folder: Path, *, columns: int = 60, redirect: str = "", env: dict[str, str] | None = None
) -> str:
    command = ["bash", "-c", f'exec "$0" -c "$1" {redirect}', sys.executable, PRINTS]
    return in_terminal(command, folder, columns, env=env).text


def test_colours_are_for_terminals_alone(tmp_path: Path) -> None:
    assert "\x1b[1;32mverdict: pass\x1b[0m" in (found := prints(tmp_path))
    assert "\x1b[1;31merror\x1b[0m: a setting is wrong" in found
    prints(tmp_path, redirect=">out.txt 2>err.txt")
    plain = (tmp_path / "out.txt").read_text() + (tmp_path / "err.txt").read_text()
    assert "\x1b" not in plain
    assert "note: " + "a/long/path/" * 12 in plain
    assert "  " + "a-ticket-" * 12 + "   late" in plain


@pytest.mark.parametrize(
    "env", [{"NO_COLOR": "0"}, {"TERM": "dumb"}, {"NO_COLOR": "1", "FORCE_COLOR": "1"}]
)
def test_colours_can_be_switched_off(env: dict[str, str], tmp_path: Path) -> None:
    found = prints(tmp_path, env=env)

    assert "\x1b" not in found
    assert "verdict: pass" in found


def test_colours_can_be_had_in_a_pipe_and_an_empty_no_color_is_none(tmp_path: Path) -> None:
    assert "\x1b[1;32m" in prints(tmp_path, env={"NO_COLOR": ""})
    prints(tmp_path, redirect=">out.txt", env={"FORCE_COLOR": "1"})
    assert "\x1b[1;32m" in (tmp_path / "out.txt").read_text()


@pytest.mark.parametrize("words", [["--help"], ["no-such-command"], ["--debug", "status"]])
def test_help_errors_and_tracebacks_have_no_colours_where_none_are_wanted(
    words: list[str], tmp_path: Path
) -> None:
    plain = unlearn_in_terminal(tmp_path, *words, env={"NO_COLOR": "1"})
    coloured = unlearn_in_terminal(tmp_path, *words)

    assert not plain.has_codes
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured.text) == plain.text


def test_colours_of_others_do_not_keep_dvc_from_answering(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = start_repositories(tmp_path / "project")
    monkeypatch.setenv("FORCE_COLOR", "1")

    # As a process, as users have it: colours are found out when DVC is imported.
    code = "from pathlib import Path; from unlearn.stages.dvc.command import dvc_status as s"
    done = repo.run(sys.executable, "-c", f"{code}; print(s(Path('.')))")
    assert (done.code, done.out) == (0, "{}\n")
