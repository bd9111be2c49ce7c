"""The pictures of the documentation, made from the projects of the tutorials.

`python -m website.screenshots` runs the tutorials in a temporary folder, writes their reports, and
takes a picture of each in light and dark with Chromium, which has to be on PATH. It takes some
minutes. The pictures are written to `docs/assets`; commit them.
"""

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.text import Text

from website.console import ROOT, Terminal, console_commands, take_key, write_visits

ASSETS = ROOT / "docs/assets"

#: A picture may have so many bytes: pages are read on telephones.
MOST_BYTES = 150_000

#: The width of the window and the part of the page that is shown, in pixels.
WIDTH, HEIGHT = 920, 900

_SCHEMES = {"light": 1, "dark": 0}


def main() -> None:
    """Make all pictures."""
    _chromium()  # whose lack is known before minutes of training
    # The commands of the environment that this module runs in, also where it is not activated.
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as folder:
        terminal = Terminal(Path(folder))
        write_visits(terminal)
        _run_tutorial(terminal, "tables")
        _report(terminal, "readmission", "report")
        _report(terminal, "readmission", "officer", "--officer")
        _run_tutorial(terminal, "language-models")
        _report(terminal, "authors", "language")
        _run_tutorial(terminal, "networks")
        _terminal_picture(terminal)
    # For the site, whose colours the reader chooses; README.md follows those of the system.
    for scheme in _SCHEMES:
        picture = request_picture(scheme)
        (ASSETS / f"request-{scheme}.svg").write_text(picture, encoding="utf-8")


def request_picture(scheme: str) -> str:
    """Return the picture of a request's path in one scheme of colours, whatever the system has."""
    text = (ASSETS / "request.svg").read_text(encoding="utf-8")
    dark = re.search(r"  @media \(prefers-color-scheme: dark\) \{\n(.*?)\n  \}\n", text, re.DOTALL)
    if dark is None:
        raise ValueError("request.svg has no dark colours")
    return text.replace(dark[0], dark[1] + "\n" if scheme == "dark" else "")


def _run_tutorial(terminal: Terminal, name: str) -> None:
    page = (ROOT / f"docs/tutorials/{name}.md").read_text(encoding="utf-8")
    terminal.run(f"cd {terminal.folder}")
    for shown in console_commands(page):
        if not shown.command.startswith("pip "):
            sys.stderr.write(f"$ {shown.command}\n")
            terminal.run(shown.command)
        # The pictures then show the numbers of the page.
        if shown.command.startswith("unlearn init readmission "):
            take_key(terminal.folder / "readmission")


def _report(terminal: Terminal, project: str, name: str, option: str = "") -> None:
    page = terminal.folder / f"{name}.html"
    terminal.run(f"cd {terminal.folder}/{project} && unlearn report {option} --output {page}")
    for scheme, number in _SCHEMES.items():
        picture = terminal.folder / f"{name}.png"
        subprocess.run(
            [
                _chromium(),
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-first-run",
                "--hide-scrollbars",
                f"--user-data-dir={terminal.folder}/chromium",
                f"--blink-settings=preferredColorScheme={number}",
                f"--window-size={WIDTH},{HEIGHT}",
                f"--screenshot={picture}",
                page.as_uri(),
            ],
            check=True,
            capture_output=True,
        )
        _write_small(Image.open(picture), ASSETS / f"{name}-{scheme}.png")


def _terminal_picture(terminal: Terminal) -> None:
    """Draw what `unlearn audit` and `verify` print as a terminal shows it."""
    console = Console(record=True, width=80, file=io.StringIO())
    for command in ("unlearn audit", "unlearn verify"):
        console.print(Text(f"$ {command}", style="bold"))
        for line in terminal.run(command):
            console.print(Text(line), soft_wrap=True)
    drawn = console.export_svg(title="unlearn")
    # Fonts of other hosts are never loaded.
    drawn = re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL)
    drawn = drawn.replace("Fira Code", "ui-monospace, Menlo, Consolas")
    (ASSETS / "terminal.svg").write_text(drawn, encoding="utf-8")


def _chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        raise FileNotFoundError("chromium is not on PATH")
    return found


def _write_small(picture: Image.Image, path: Path) -> None:
    """Write a PNG with as many colours as its size permits."""
    for colours in (256, 128, 64, 32):
        picture.convert("RGB").quantize(colours).save(path, optimize=True)
        if path.stat().st_size < MOST_BYTES:
            return
    raise ValueError(f"{path.name} is too large")


if __name__ == "__main__":
    main()
