"""The console blocks of the documentation print what the pages show.

A page whose blocks are not here has none: commands that would take too long to run stand in `text`
blocks, and `test_command_lines.py` reads those.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.forked_python import forks_of_python
from website.console import (
    ROOT,
    Terminal,
    console_commands,
    matches,
    run_page,
    write_visits,
)


def write_wages(terminal: Terminal) -> None:
    """Make a table of incomes."""
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "person": [f"p{number}" for number in range(1_200)],
            "age": random.integers(18, 67, 1_200),
            "hours": random.integers(10, 60, 1_200),
            "years": random.integers(0, 40, 1_200),
            "children": random.integers(0, 5, 1_200),
            "education": random.integers(1, 17, 1_200),
        }
    )
    table["income"] = (900 * table["years"] + 731.5 * table["hours"]).round(1)
    table["income"] += np.arange(1_200) / 100
    table.to_csv(terminal.folder / "wages.csv", index=False)


def nothing(terminal: Terminal) -> None:
    """Prepare nothing."""


#: Pages that run one after another in one terminal; what is prepared for the first; and the
#: projects that have a key of their own, in place of which the page's key is taken.
RUNS: dict[str, tuple[tuple[str, ...], Callable[[Terminal], None], frozenset[str]]] = {
    "tables": (
        ("tutorials/tables.md", "tutorials/auditor.md"),
        write_visits,
        frozenset({"readmission"}),
    ),
    "networks": (("tutorials/networks.md",), nothing, frozenset()),
    "language models": (("tutorials/language-models.md",), nothing, frozenset()),
    "regression": (("regression.md",), write_wages, frozenset()),
}


@pytest.fixture
def _forks(_apart_from_this_machine: None) -> Iterator[None]:
    with forks_of_python():
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("_forks")
@pytest.mark.parametrize("name", RUNS)
def test_pages_print_what_they_show(tmp_path: Path, name: str) -> None:
    pages, prepare, own_key = RUNS[name]
    terminal = Terminal(tmp_path)
    prepare(terminal)
    for page in pages:
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        assert run_page(terminal, text, own_key)


def test_every_page_with_console_blocks_is_run() -> None:
    run = {page for pages, _, _ in RUNS.values() for page in pages}
    found = {
        page.relative_to(ROOT / "docs").as_posix()
        for page in (ROOT / "docs").rglob("*.md")
        if console_commands(page.read_text(encoding="utf-8"))
    }
    # This one needs a repository that was there before: tests/pipeline/test_existing_docs.py.
    assert found == run | {"existing-repositories.md"}


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


@pytest.mark.slow
def test_a_folder_of_pictures_is_described_as_the_tutorial_shows(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    folder = tmp_path / "collection"
    folder.mkdir()
    lines = ["id,path,label,owner"]
    for number in range(40):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        lines.append(f"r{number},{number}.png,{'cat' if number % 2 else 'dog'},p{number // 4}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    page = (ROOT / "docs/tutorials/networks.md").read_text(encoding="utf-8")
    (shown,) = (
        shown
        for shown in console_commands(page, "text")
        if shown.command.startswith("unlearn init photos")
    )
    printed = terminal.run(shown.command)
    assert matches(list(shown.lines), printed), printed
