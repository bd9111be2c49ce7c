"""Blocks of pages: run in order in one terminal, and compared with what the page shows.

Every command of a `console` block is run. A line `...` stands for any number of lines, and what
differs between runs and machines is masked. A `python` block is run, or written to the file that
its first line names. A `pycon` block has to print what it shows.
"""

import contextlib
import doctest
import hashlib
import io
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
    (r"\b\d\.\d{3}\b", "0.NNN"),
    (r"perplexity \d+\.\d+", "perplexity P"),
)

#: A line that `plan` prints only where the measured seconds say so.
BY_SECONDS = "sharding saves no time for this request"


#: Kinds of blocks that are run.
RUN = frozenset({"console", "python", "pycon"})

#: The address that pages show of `unlearn serve`. Tests take a port that is free.
SHOWN_ADDRESS = "http://127.0.0.1:8000"


class UnexpectedOutputError(AssertionError):
    """A command failed, or printed something else than the page shows."""

    def __init__(self, command: str, shown: Sequence[str], printed: Sequence[str]) -> None:
        super().__init__("\n".join([f"$ {command}", "shown:", *shown, "printed:", *printed]))


@dataclass(frozen=True)
class Shown:
    """A command of a page and the lines below it."""

    command: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Block:
    """A block of a page.

    Parameters
    ----------
    kind
        The word after its first marks, such as `console`.
    text
        What is in it.
    heading
        The words of the heading above it.
    """

    kind: str
    text: str
    heading: str

    def commands(self) -> Iterator[Shown]:
        """Yield the commands, each with the lines below it."""
        for part in re.split(r"(?m)^\$ ", self.text)[1:]:
            command, *lines = part.splitlines()
            while command.endswith("\\"):
                command = f"{command}\n{lines.pop(0)}"
            yield Shown(command, tuple(lines))

    @property
    def file(self) -> str | None:
        """The file that a block of Python is the text of, which its first line names."""
        named = re.match(r"# ([\w/]+\.py)\n", self.text)
        return named[1] if named else None


def blocks(text: str) -> Iterator[Block]:
    """Yield the blocks of a page in order."""
    heading = ""
    for found in re.finditer(r"(?ms)^```(\w*)\n(.*?)^```$|^#+ ([^\n]+)$", text):
        if found[3] is None:
            yield Block(found[1], found[2], heading)
        else:
            heading = found[3]


def console_commands(text: str, kind: str = "console") -> list[Shown]:
    """Return the commands of all blocks of a kind, in order.

    Those of `console` follow each other; those of `text` stand for themselves.
    """
    found = [block for block in blocks(text) if block.kind == kind]
    return [shown for block in found for shown in block.commands()]


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
    """A bash whose folder, `here`, is kept from one command to the next."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.here = folder
        self._names: dict[str, Any] = {}
        self._server: subprocess.Popen[str] | None = None
        self._address = SHOWN_ADDRESS
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
        command = command.replace(SHOWN_ADDRESS, self._address)
        done = subprocess.run(
            ["bash", "-c", f'set -e\n{command}\npwd > "{where}"'],
            cwd=self.here,
            env=self._environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode:
            raise UnexpectedOutputError(command, (), done.stdout.splitlines())
        self.here = Path(where.read_text(encoding="utf-8").strip())
        return done.stdout.splitlines()

    def enter(self, name: str) -> None:
        """Go to a folder below the terminal's, which is made if it is not there."""
        self.here = self.folder / name
        self.here.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, text: str) -> None:
        """Write a file."""
        (self.here / name).write_text(text, encoding="utf-8")

    def run_python(self, text: str) -> None:
        """Run Python, with the names that were defined since the last `forget_names`."""
        text = text.replace(SHOWN_ADDRESS, self._address)
        with contextlib.chdir(self.here), contextlib.redirect_stdout(io.StringIO()):
            exec(compile(text, "page", "exec"), self._names)  # noqa: S102 - our own pages

    def run_session(self, text: str) -> None:
        """Run an interactive session, which has to print what it shows."""
        session = doctest.DocTestParser().get_doctest(text, self._names, "page", None, 0)
        said = io.StringIO()
        runner = doctest.DocTestRunner(verbose=False)
        with contextlib.chdir(self.here):
            found = runner.run(session, out=said.write, clear_globs=False)
        self._names = session.globs
        if found.failed:
            raise AssertionError(said.getvalue())

    def forget_names(self) -> None:
        """Forget all names of earlier blocks of Python."""
        self._names = {}

    def serve(self, command: str) -> list[str]:
        """Start a server on a port that is free; return what it prints until it is ready."""
        # It has to get the signal that ends it. Where tests run commands as forks of a Python that
        # is there already, a command with such a variable is a process of its own.
        environment = {**self._environment, "PYTHONFAULTHANDLER": "1"}
        self._server = subprocess.Popen(
            ["bash", "-c", f"exec {command} --port 0"],
            cwd=self.here,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        printed = []
        for line in self._server.stdout or ():
            printed.append(line.rstrip("\n"))
            if found := re.search(r"http://[\d.]+:\d+$", printed[-1]):
                self._address = found[0]
                return [each.replace(self._address, SHOWN_ADDRESS) for each in printed]
        raise UnexpectedOutputError(command, (), printed)

    def stop_serving(self) -> None:
        """End the server, if there is one."""
        if self._server is not None:
            self._server.send_signal(signal.SIGTERM)
            self._server.communicate(timeout=60)
            self._server, self._address = None, SHOWN_ADDRESS


def write_visits(terminal: Terminal) -> None:
    """Make the table of the tutorial by the script in docs/data.md."""
    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"(?ms)^## The table of the tutorial$.*?^```python\n(.*?)^```$", page)
    (terminal.folder / "visits.py").write_text(script, encoding="utf-8")
    terminal.run("python visits.py\nrm visits.py")


#: A command that creates a project whose key is drawn at random. Examples have a known one.
_DRAWS_KEY = re.compile(r"unlearn init (\S+) (?!.*--example)")
#: The key that the output of pages was written with, in place of such a key: which rows are held
#: out, and in which shard a row is, follows from it.
OWN_KEY = hashlib.sha256(b"the key of the README").hexdigest()


def take_key(project: Path) -> None:
    """Give a new project the key that the page's output was written with."""
    (project / "unlearn.key").write_text(OWN_KEY + "\n", encoding="utf-8")
    params = project / "params.yaml"
    text = params.read_text(encoding="utf-8")
    before = yaml.safe_load(text)["key_check"]
    params.write_text(text.replace(before, Key(OWN_KEY).check), encoding="utf-8")


def settle_key(terminal: Terminal, command: str) -> None:
    """Give the project that a command has created the key of the pages, if its key was drawn."""
    if created := _DRAWS_KEY.match(command):
        into = re.search(r" --into (\S+)", command)
        take_key(terminal.here / created[1] / (into[1] if into else ""))


@dataclass(frozen=True)
class Page:
    """A page whose blocks are run.

    Parameters
    ----------
    name
        Its path below `docs/`.
    folders
        Where a section begins, by its heading: a folder below the terminal's. The others go on
        where the section before them ended.
    """

    name: str
    folders: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """What the page says."""
        return (ROOT / "docs" / self.name).read_text(encoding="utf-8")


def run_page(
    terminal: Terminal,
    text: str,
    folders: Mapping[str, str] | None = None,
) -> int:
    """Run the blocks of a page and compare what they print; return how many commands ran.

    Parameters
    ----------
    terminal
        Where they run.
    text
        The page.
    folders
        See `Page`.
    """
    terminal.forget_names()
    heading, ran = "", 0
    try:
        for block in blocks(text):
            if block.heading != heading and folders and block.heading in folders:
                terminal.enter(folders[block.heading])
            heading = block.heading
            if block.kind == "console":
                for shown in block.commands():
                    _run(terminal, shown)
                    ran += 1
            elif block.kind == "pycon":
                terminal.run_session(block.text)
            elif block.kind == "python" and block.file:
                terminal.write(block.file, block.text)
            elif block.kind == "python":
                terminal.run_python(block.text)
    finally:
        terminal.stop_serving()
    return ran


def _run(terminal: Terminal, shown: Shown) -> None:
    """Run a command and compare what it prints."""
    if shown.command.startswith("pip install"):
        return
    is_server = shown.command.startswith("unlearn serve")
    printed = (terminal.serve if is_server else terminal.run)(shown.command)
    settle_key(terminal, shown.command)
    expected = comparable(list(shown.lines))
    if not matches(expected, comparable(printed)):
        raise UnexpectedOutputError(shown.command, shown.lines, printed)
