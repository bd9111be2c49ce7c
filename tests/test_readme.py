"""The console blocks of README.md print what the README shows."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.forked_python import forks_of_python
from website.console import ROOT, Terminal, run_page
from website.published import published


@pytest.fixture
def _forks(_apart_from_this_machine: None) -> Iterator[None]:
    with forks_of_python():
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("_forks")
def test_the_commands_of_the_readme_print_what_it_shows(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert run_page(Terminal(tmp_path), readme) > 7


def test_the_readme_fits_before_the_fold() -> None:
    """A sentence, a picture and two commands come first."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    first = "\n".join(lines[:16])
    assert "](docs/assets/request.svg)" in first
    assert "    make demo" in first
    assert "    make test" in first
    assert len(lines) < 160


def test_the_badges_are_true() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    python = project["requires-python"].removeprefix(">=")
    license_name = project["license"].replace("-", " ")
    facts = {"python": f"Python {python} or newer", "license": f"License: {license_name}"}

    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert lines[2] == " ".join(
        f"![{text}](docs/assets/{name}.svg)" for name, text in facts.items()
    )
    for name, text in facts.items():
        picture = (ROOT / f"docs/assets/{name}.svg").read_text(encoding="utf-8")
        assert f"<title>{text}</title>" in picture
        shown = re.findall(r"<text[^>]*>([^<]*)</text>", picture)
        assert shown == [name, text.split(" ", 1)[1]]


def test_the_page_of_a_release_has_no_relative_link() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    text = published(readme, "https://github.com/a/b", "v1")

    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    assert all(target.startswith("https://") for target in targets)
    assert "](https://github.com/a/b/raw/v1/docs/assets/request.svg)" in text
    assert "](https://github.com/a/b/blob/v1/docs/tutorials/tables.md)" in text
    assert len(targets) == len(re.findall(r"\]\(([^)\s]+)\)", readme))
