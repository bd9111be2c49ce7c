"""Every link from one page of the documentation to another has a target."""

import re
from pathlib import Path

import pytest

from website import pages
from website.links import ROOT_PAGES

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

#: Pages of the site that are copies of those of the root.
COPIED = {ROOT / "docs" / name for name in ROOT_PAGES.values()}


@pytest.fixture(scope="module")
def generated() -> dict[Path, str]:
    """Return the pages that the site makes from the code."""
    return {ROOT / "docs" / name: text for name, text in pages.generated().items()}


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    without_code = re.sub(r"(?ms)^```.*?^```$", "", text)
    headings = re.findall(r"(?m)^#+ (.+)$", without_code)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def wrong_links(page: Path, text: str, generated: dict[Path, str]) -> list[str]:
    """Return the links of a page that have no target."""
    wrong = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        file = (page.parent / path).resolve() if path else page
        if "://" in link or file in COPIED:
            continue
        known = file in generated or file.exists()
        if known and anchor and file.suffix == ".md":
            there = text if file == page else generated.get(file) or file.read_text("utf-8")
            known = anchor in anchors(there)
        if not known:
            wrong.append(link)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_has_a_target(page: Path, generated: dict[Path, str]) -> None:
    assert wrong_links(page, page.read_text(encoding="utf-8"), generated) == []


def test_every_link_of_a_generated_page_has_a_target(generated: dict[Path, str]) -> None:
    for page, text in generated.items():
        assert wrong_links(page, text, generated) == [], page.name


def test_a_link_without_a_target_is_found(generated: dict[Path, str]) -> None:
    links = ["reference/command-line.md#unlearn-nothing", "nothing.md", "#nothing", "ci.md#nothing"]
    right = "[a](reference/command-line.md#unlearn-init) [b](ci.md#as-an-action)"
    text = right + "".join(f"[c]({link})" for link in links)
    assert wrong_links(ROOT / "docs/x.md", text, generated) == links
