"""The help: whole sentences on 80 columns, options in panels, and examples that parse."""

import re
import shlex
from pathlib import Path

import pytest
from unlearn.cli import panels
from unlearn.cli.app import COMMANDS
from unlearn.cli.lazy import load

from tests.conftest import Repo

PANELS = {value for name, value in vars(panels).items() if name.isupper()}


@pytest.fixture
def help_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return what each command prints for `--help`, and under `unlearn` the list of commands."""
    monkeypatch.setenv("COLUMNS", "80")
    lines = {"unlearn": ["--help"], **{name: [*name.split(), "--help"] for name in COMMANDS}}
    found = {}
    for name, words in lines.items():
        done = Repo(tmp_path).inline(*words)
        assert (done.code, done.err) == (0, ""), name
        found[name] = done.out
    return found


def sections(text: str) -> dict[str, str]:
    """Return the parts of a help text below a heading, by heading."""
    parts = re.split(r"^(\S[^:\n]*):\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def one_line(text: str) -> str:
    return " ".join(text.split())


def test_no_line_is_wider_than_80_columns(help_of: dict[str, str]) -> None:
    for name, text in help_of.items():
        assert max(map(len, text.splitlines())) <= 80, name
        assert "..." not in re.sub(r"[\[{][A-Z]+[\]}]\.\.\.", "", text), name


def test_the_list_of_commands_has_every_sentence_whole(help_of: dict[str, str]) -> None:
    text = sections(help_of["unlearn"])

    for name, entry in COMMANDS.items():
        assert entry.summary.endswith(".")
        assert f"{name} {entry.summary}" in one_line(text[entry.panel])


def test_options_stand_in_panels_and_their_help_is_sentences(help_of: dict[str, str]) -> None:
    for name, entry in COMMANDS.items():
        text = sections(help_of[name])
        assert text.keys() <= PANELS | {"Example"}, name
        for parameter in load(name, entry).params:
            said = parameter.help
            assert said[0].isupper(), (name, parameter.name)
            assert said.endswith("."), (name, parameter.name)
            panel = parameter.rich_help_panel or (
                panels.ARGUMENTS if parameter.param_type_name == "argument" else panels.OPTIONS
            )
            assert said in one_line(text[panel]), (name, parameter.name)


def test_every_command_has_an_example_that_parses(help_of: dict[str, str]) -> None:
    for name, entry in COMMANDS.items():
        lines = sections(help_of[name])["Example"].splitlines()
        assert lines, name
        for line in lines:
            program, *words = shlex.split(line)
            command, words = words[: len(name.split())], words[len(name.split()) :]
            assert (program, command) == ("unlearn", name.split())
            assert load(name, entry).make_context(name, words).params.keys()


def test_the_exit_codes_are_those_of_the_documentation(help_of: dict[str, str]) -> None:
    text = (Path(__file__).parents[2] / "docs/commands.md").read_text(encoding="utf-8")
    documented = re.findall(r"^\| (\d+) \|", text, flags=re.MULTILINE)

    listed = re.findall(
        r"^  (\d+) ", sections(help_of["unlearn"])["Exit codes"], flags=re.MULTILINE
    )
    assert listed == documented
