"""The blocks of the documentation print what the pages show.

A page that is not named here has no `console`, `python` or `pycon` blocks: commands that would take
too long to run are indented, or in `text` and `sh` blocks. `test_command_lines.py` reads those.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.forked_python import forks_of_python
from website.console import (
    ROOT,
    RUN,
    Page,
    Terminal,
    blocks,
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


#: How a chat is written as text; a real base has a template of its own.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ message['role'] + ': ' + message['content'] + eos_token + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)


def write_chats(terminal: Terminal) -> None:
    """Make chats of customers, and a copy of the authors' base with a chat template."""
    turns = [
        ("My order is late.", "It comes tomorrow."),
        ("Where is my order?", "It is on its way."),
        ("Can I send it back?", "Yes, within 30 days."),
    ]
    names = ["ada", *(f"person {number}" for number in range(1, 20))]
    with (terminal.folder / "chats.jsonl").open("w", encoding="utf-8") as file:
        for number in range(60):
            asked, answered = turns[number % 3]
            messages = [
                {"role": "user", "content": asked},
                {"role": "assistant", "content": answered},
            ]
            row = {"chat": f"c{number}", "customer": names[number // 3], "messages": messages}
            file.write(json.dumps(row) + "\n")
    base = terminal.folder / "support/models/base"
    shutil.copytree(terminal.folder / "authors/models/base", base)
    (base / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")


@dataclass(frozen=True)
class Run:
    """Pages that run one after another in one terminal.

    Parameters
    ----------
    pages
        The pages in order, or functions that prepare something for the pages after them.
    """

    pages: tuple[Page | Callable[[Terminal], None], ...]


RUNS = {
    "tables": Run(
        (
            write_visits,
            Page("tutorials/tables.md"),
            Page("tutorials/auditor.md"),
            Page(
                "data.md",
                {"A torch module of your own": "network", "Prediction": "readmission"},
            ),
        ),
    ),
    "networks": Run((Page("tutorials/networks.md"),)),
    "language models": Run(
        (
            Page("tutorials/language-models.md"),
            write_chats,
            Page(
                "language-models.md",
                {
                    "An example in two minutes": "authors",
                    "Chats": "support",
                    "Exact: an adapter for each shard": "authors",
                },
            ),
            Page("serving.md", {"Serving": "support"}),
        ),
    ),
    "regression": Run((write_wages, Page("regression.md"))),
}

#: The tests that run the blocks of other pages, and the one kind of block that each runs.
ELSEWHERE = {
    "exact-models.md": ("tests/test_python_blocks.py", "python"),
    "existing-repositories.md": ("tests/pipeline/test_existing_docs.py", "console"),
    "handover.md": ("tests/pipeline/test_table_exports.py", "python"),
    "methods.md": ("tests/stages/unlearn/test_documented.py", "python"),
    "networks.md": ("tests/test_python_blocks.py", "python"),
    "own-models.md": ("tests/test_python_blocks.py", "python"),
    "own-training.md": ("tests/stages/training/test_own_loops.py", "python"),
    "python.md": ("tests/test_python_page.py", "pycon"),
}

#: All pages with blocks, and what each kind of block that is run begins with.
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BEGINNINGS = {"console": "$ ", "pycon": ">>> "}


@pytest.fixture
def _forks(_apart_from_this_machine: None) -> Iterator[None]:
    with forks_of_python():
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("_forks")
@pytest.mark.parametrize("name", RUNS)
def test_pages_print_what_they_show(tmp_path: Path, name: str) -> None:
    terminal = Terminal(tmp_path)
    for page in RUNS[name].pages:
        if isinstance(page, Page):
            assert run_page(terminal, page.text, page.folders)
        else:
            page(terminal)


def test_the_blocks_of_every_page_are_run() -> None:
    """Those of `RUN`; `test_command_lines.py` reads the commands of the others."""
    pages = [page for run in RUNS.values() for page in run.pages if isinstance(page, Page)]
    kinds = {
        page.relative_to(ROOT / "docs").as_posix(): {
            block.kind for block in blocks(page.read_text(encoding="utf-8")) if block.kind in RUN
        }
        for page in PAGES[1:]  # README.md has a test of its own
    }
    found = {name for name, some in kinds.items() if some}
    assert found == {page.name for page in pages} | ELSEWHERE.keys()
    for name, (test, kind) in ELSEWHERE.items():
        assert Path(name).name in (ROOT / test).read_text(encoding="utf-8"), name
        assert kinds[name] == {kind}, name
    for page in pages:
        headings = {block.heading for block in blocks(page.text) if block.kind in RUN}
        assert page.folders.keys() <= headings, page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_block_is_passed_over(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = list(blocks(text))
    assert len(re.findall(r"(?m)^ *(?:```|~~~)", text)) == 2 * len(found)
    assert {block.kind for block in found} <= RUN | {"", "sh", "text", "yaml"}
    for block in found:
        assert block.text.startswith(BEGINNINGS.get(block.kind, "")), block.text


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
