"""The console blocks of README.md print what the README shows."""

import hashlib
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from unlearn.stages.rows.tokens import Key

from tests.forked_python import forks_of_python

ROOT = Path(__file__).resolve().parents[1]

#: A line of the README that stands for any number of lines, none included.
ANY_LINES = "..."

#: The project of the README that has a key of its own, and the key that its output was made with.
OWN_KEY_PROJECT = "readmission"
OWN_KEY = hashlib.sha256(b"the key of the README").hexdigest()

#: What differs between runs and machines: seconds, processors, and the last digits of a model.
MASKS = (
    (r"^ +\d+\.\d  ", "  SECONDS  "),
    (r"\d+\.\d s ", "SECONDS "),
    (r"with \d+ jobs?", "with JOBS"),
    (r"accuracy \d\.\d+, log loss \d+\.\d+", "accuracy A, log loss L"),
)

#: A line that `plan` prints only where the measured seconds say so.
BY_SECONDS = "sharding saves no time for this request"


@dataclass(frozen=True)
class Shown:
    """A command of the README and the lines below it."""

    command: str
    lines: tuple[str, ...]


def console_commands(text: str, kind: str = "console") -> list[Shown]:
    """Return the commands of all blocks of a kind, in order.

    Those of `console` follow each other; those of `text` stand for themselves.
    """
    shown: list[Shown] = []
    for block in re.findall(rf"(?ms)^```{kind}\n(.*?)^```$", text):
        for part in re.split(r"(?m)^\$ ", block)[1:]:
            command, *lines = part.splitlines()
            shown.append(Shown(command, tuple(lines)))
    return shown


def masked(line: str) -> str:
    """Replace what differs between runs and machines by a word."""
    for pattern, mask in MASKS:
        line = re.sub(pattern, mask, line)
    return line


def comparable(lines: list[str]) -> list[str]:
    """Return the masked lines; those of shards that trained in parallel are sorted."""
    kept: list[str] = []
    parallel: list[str] = []
    for line in lines:
        if line.startswith("train@"):
            parallel.append(line)
            continue
        kept += sorted(parallel)
        parallel = []
        if not line.startswith(BY_SECONDS):
            kept.append(masked(line))
    return kept + sorted(parallel)


def matches(shown: list[str], printed: list[str]) -> bool:
    """Return whether the lines are the same, where `...` stands for any lines."""
    pattern = "".join(
        "(?:.*\n)*" if line == ANY_LINES else re.escape(line) + "\n" for line in shown
    )
    return re.fullmatch(pattern, "".join(line + "\n" for line in printed)) is not None


class Terminal:
    """A bash whose folder is kept from one command to the next."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._here = folder
        config = folder / "gitconfig"
        config.write_text(
            "[user]\n\tname = reader\n\temail = reader@example.org\n", encoding="utf-8"
        )
        self._environment = {
            **os.environ,
            "GIT_CONFIG_GLOBAL": str(config),
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(folder / "site"),
            "PYTHONUNBUFFERED": "1",
            # The README's reader is asked for it.
            "UNLEARN_RECEIPT_PASSPHRASE": "a passphrase of the README",
        }

    def run(self, command: str) -> list[str]:
        """Run a command; return the lines it printed, of both streams in their order."""
        where = self.folder / "where"
        done = subprocess.run(
            ["bash", "-c", f'set -e\n{command}\npwd > "{where}"'],
            cwd=self._here,
            env=self._environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}"
        self._here = Path(where.read_text(encoding="utf-8").strip())
        return done.stdout.splitlines()


def write_visits(terminal: Terminal) -> None:
    """Make the table of the README by the script in docs/data.md."""
    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"(?ms)^## The table of the README$.*?^```python\n(.*?)^```$", page)
    (terminal.folder / "visits.py").write_text(script, encoding="utf-8")
    terminal.run("python visits.py")


def take_key(project: Path) -> None:
    """Give a new project the key that the README's output was made with."""
    (project / "unlearn.key").write_text(OWN_KEY + "\n", encoding="utf-8")
    params = project / "params.yaml"
    text = params.read_text(encoding="utf-8")
    before = yaml.safe_load(text)["key_check"]
    params.write_text(text.replace(before, Key(OWN_KEY).check), encoding="utf-8")


@pytest.mark.parametrize(
    ("shown", "same"),
    [
        (["a", "..."], True),
        (["...", "c"], True),
        (["a", "...", "b", "...", "c"], True),
        (["a", "c"], False),
        (["a", "...", "d"], False),
        (["..."], True),
    ],
)
def test_three_dots_stand_for_any_lines(shown: list[str], same: bool) -> None:
    assert matches(shown, ["a", "b", "c"]) is same


@pytest.fixture
def _forks(_apart_from_this_machine: None) -> Iterator[None]:
    with forks_of_python():
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("_forks")
def test_the_commands_of_the_readme_print_what_it_shows(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    write_visits(terminal)
    commands = console_commands((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(commands) > 20

    for shown in commands:
        if shown.command.startswith("pip install"):
            continue
        printed = terminal.run(shown.command)
        if shown.command.startswith(f"unlearn init {OWN_KEY_PROJECT} "):
            take_key(tmp_path / OWN_KEY_PROJECT)
        expected = comparable(list(shown.lines))
        assert matches(expected, comparable(printed)), "\n".join(
            [f"$ {shown.command}", "shown:", *shown.lines, "printed:", *printed]
        )


@pytest.mark.slow
def test_a_folder_of_pictures_is_described_as_the_readme_shows(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    folder = tmp_path / "collection"
    folder.mkdir()
    lines = ["id,path,label,owner"]
    for number in range(40):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        lines.append(f"r{number},{number}.png,{'cat' if number % 2 else 'dog'},p{number // 4}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (shown,) = (
        shown
        for shown in console_commands((ROOT / "README.md").read_text(encoding="utf-8"), "text")
        if shown.command.startswith("unlearn init photos")
    )
    printed = terminal.run(shown.command)
    assert matches(list(shown.lines), printed), printed
