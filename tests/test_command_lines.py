"""Every command line of the documentation names a command and options that there are."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from unlearn.cli.app import COMMANDS
from unlearn.cli.lazy import load

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

#: What stands for other words: such a line shows options and cannot be read as it is.
PLACEHOLDERS = re.compile(r"[\[\]{}<>…]|\.\.\.|\w\|\w")

#: Words by which a shell joins commands, and by which it redirects what they read and print.
JOINTS = {"|", "||", "&&", ";", "&", "(", ")"}
REDIRECTIONS = {">", ">>", "<", "2>"}

#: Options that are accepted anywhere, or without a command.
EVERYWHERE = {"--debug", "--help", "--version", "--json"}


@dataclass(frozen=True)
class Line:
    """A command line of a page, and whether it is all of it."""

    text: str
    whole: bool


def lines_of(text: str) -> Iterator[Line]:
    """Yield the lines with `unlearn` of a page's blocks, and those in its sentences."""
    for block in re.findall(r"(?ms)^```(?:console|text|sh|bash|)\n(.*?)^```$", text):
        for line in block.replace("\\\n", " ").splitlines():
            found = re.match(r"(?:\$ )?(.*\bunlearn [a-z-].*)$", line)
            if found and (line.startswith(("$ ", "unlearn "))):
                yield Line(found[1], whole=True)
    prose = re.sub(r"(?ms)^```.*?^```$", "", text)
    for line in re.findall(r"(?m)^    (?:\$ )?(unlearn [a-z-].*)$", prose.replace("\\\n", " ")):
        yield Line(line, whole=True)
    for line in re.findall(r"`(unlearn [a-z][^`]*)`", prose):
        yield Line(" ".join(line.split()), whole=False)


def commands_of(line: str) -> Iterator[list[str]]:
    """Yield the words of each `unlearn` of a line of a shell, without those around it."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>()")
    lexer.whitespace_split = True
    words: list[str] = []
    skip = False
    for word in [*lexer, ";"]:
        if word in JOINTS:
            if "unlearn" in words:
                yield words[words.index("unlearn") + 1 :]
            words = []
        elif skip:
            skip = False
        elif word in REDIRECTIONS:
            skip = True
        else:
            words.append(word)


@cache
def command(name: str) -> Any:
    """Return a command as Typer reads it."""
    return load(name, COMMANDS[name])


def problem(words: list[str], *, whole: bool) -> str:
    """Return what is wrong with the words after `unlearn`; empty if nothing is."""
    if not words or words[0].startswith("-") or words[0].isupper():
        return ""
    name = " ".join(words[:2]) if words[0] == "receipt" and len(words) > 1 else words[0]
    if name == "receipt":
        return ""
    if name not in COMMANDS:
        return f"there is no command {name}"
    rest = words[len(name.split()) :]
    known = {option for each in command(name).params for option in each.opts + each.secondary_opts}
    for word in rest:
        option = word.partition("=")[0].strip("[],.")
        if option.startswith("--") and option not in {*known, *EVERYWHERE, "--"}:
            return f"{name} has no option {option}"
    if whole and not EVERYWHERE & set(rest):
        try:
            command(name).make_context(name, ["3" if word == "N" else word for word in rest])
        except Exception as error:  # noqa: BLE001 - whatever the command line says of it
            return f"{name}: {error}"
    return ""


def problems(text: str) -> Iterator[str]:
    for line in lines_of(text):
        if PLACEHOLDERS.search(line.text):
            without_quotes = re.sub(r"\"[^\"]*\"|'[^']*'", "TEXT", line.text)
            options = re.split(r"[\s|\[\]]+", without_quotes)
            commands = [options[options.index("unlearn") + 1 :]] if "unlearn" in options else []
            found = [problem(words, whole=False) for words in commands]
        else:
            found = [problem(words, whole=line.whole) for words in commands_of(line.text)]
        yield from (f"{line.text}: {each}" for each in found if each)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_command_lines_can_be_read(page: Path) -> None:
    assert list(problems(page.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("```console\n$ unlearn forgets --ids a\n```\n", "there is no command forgets"),
        ("```text\n$ unlearn plan --tickets a\n```\n", "plan has no option --tickets"),
        ("    unlearn plan --jobs many\n", "plan: "),
        ("Use `unlearn plan --tickets`.", "plan has no option --tickets"),
        ("```console\n$ echo a | unlearn forget --idz - > b && ls\n```\n", "has no option --idz"),
        ("    unlearn init [DIRECTORY] --exampel digits|visits\n", "no option --exampel"),
    ],
)
def test_wrong_command_lines_are_found(text: str, said: str) -> None:
    (found,) = problems(text)
    assert said in found
