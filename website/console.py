"""Console blocks of pages: run in order in one terminal, and compared with what the page shows.

A line `...` stands for any number of lines. What differs between runs and machines is masked.
"""

import hashlib
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from unlearn.stages.rows.tokens import Key

ROOT = Path(__file__).resolve().parents[1]

#: A line of a page that stands for any number of lines, none included.
ANY_LINES = "..."

#: What differs between runs and machines: seconds, processors, the last digits of a model, commits,
#: and ids that are drawn at random.
MASKS = (
    (r"^ +\d+\.\d  ", "  SECONDS  "),
    (r"\d+(?:\.\d)? s\b", "SECONDS"),
    (r"with \d+ jobs?", "with JOBS"),
    (r"accuracy \d\.\d+, log loss \d+\.\d+", "accuracy A, log loss L"),
    (r"\b[0-9a-f]{12,64}\b", "HEX"),
    (r"\b20\d\d-\d\d-\d\d\b", "DATE"),
)

#: A line that `plan` prints only where the measured seconds say so.
BY_SECONDS = "sharding saves no time for this request"


class UnexpectedOutputError(AssertionError):
    """A command failed, or printed something else than the page shows."""

    def __init__(self, command: str, shown: Sequence[str], printed: Sequence[str]) -> None:
        super().__init__("\n".join([f"$ {command}", "shown:", *shown, "printed:", *printed]))


@dataclass(frozen=True)
class Shown:
    """A command of a page and the lines below it."""

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
            # A reader is asked for it.
            "UNLEARN_RECEIPT_PASSPHRASE": "a passphrase of a page",
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
        if done.returncode:
            raise UnexpectedOutputError(command, (), done.stdout.splitlines())
        self._here = Path(where.read_text(encoding="utf-8").strip())
        return done.stdout.splitlines()


def write_visits(terminal: Terminal) -> None:
    """Make the table of the tutorial by the script in docs/data.md."""
    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"(?ms)^## The table of the tutorial$.*?^```python\n(.*?)^```$", page)
    (terminal.folder / "visits.py").write_text(script, encoding="utf-8")
    terminal.run("python visits.py\nrm visits.py")


#: The key that the output of pages was written with, where a project has a key of its own.
OWN_KEY = hashlib.sha256(b"the key of the README").hexdigest()


def take_key(project: Path) -> None:
    """Give a new project the key that the page's output was written with."""
    (project / "unlearn.key").write_text(OWN_KEY + "\n", encoding="utf-8")
    params = project / "params.yaml"
    text = params.read_text(encoding="utf-8")
    before = yaml.safe_load(text)["key_check"]
    params.write_text(text.replace(before, Key(OWN_KEY).check), encoding="utf-8")


def run_page(terminal: Terminal, text: str, own_key: frozenset[str] = frozenset()) -> int:
    """Run the console blocks of a page and compare what they print; return how many commands ran.

    Parameters
    ----------
    terminal
        Where they run.
    text
        The page.
    own_key
        Folders of projects that `unlearn init` makes with a new key, in place of which the key of
        the page is taken.
    """
    commands = console_commands(text)
    for shown in commands:
        if shown.command.startswith("pip install"):
            continue
        printed = terminal.run(shown.command)
        for name in own_key:
            if shown.command.startswith(f"unlearn init {name} "):
                take_key(terminal.folder / name)
        expected = comparable(list(shown.lines))
        if not matches(expected, comparable(printed)):
            raise UnexpectedOutputError(shown.command, shown.lines, printed)
    return len(commands)
