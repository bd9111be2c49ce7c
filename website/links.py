"""Links of the pages that lead out of `docs/`, and what takes their place in the site."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

#: The folder of the site that has copies of files of the repository.
COPIES = "source"

#: A link to a file above `docs/`, from a page in `docs/` or in a folder of it.
_OUTSIDE = re.compile(r"\]\((?:\.\./)+(?P<target>[^)\s#]+)(?P<anchor>#[^)\s]*)?\)")

#: A link to the folder of JSON schemas, which is a page of the site.
_SCHEMAS = re.compile(r"\]\((?P<up>(?:\.\./)*)schemas/\)")

#: Pages of the repository's root that are pages of the site, too.
ROOT_PAGES = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}


def within_the_site(markdown: str, page: str) -> str:
    """Return a page whose links lead to pages and files of the site.

    Parameters
    ----------
    markdown
        The text of the page.
    page
        Its path below `docs/`, such as ``"how-to/index.md"``.
    """
    up = "../" * page.count("/")

    def inside(match: re.Match[str]) -> str:
        target, anchor = match["target"], match["anchor"] or ""
        written = (ROOT / "docs" / page).parent / match[0].split("](")[1].rstrip(")").split("#")[0]
        path = written.resolve().relative_to(ROOT).as_posix()
        if path.startswith("docs/"):
            return match[0]
        if path == "README.md":
            return f"]({up}index.md)"
        if path in ROOT_PAGES:
            return f"]({up}{ROOT_PAGES[path]}{anchor})"
        if (ROOT / path).is_file():
            return f"]({up}{COPIES}/{path})"
        raise FileNotFoundError(f"docs/{page} links to {target}, which is not there")

    markdown = _OUTSIDE.sub(inside, markdown)
    return _SCHEMAS.sub(rf"]({up}reference/schemas.md)", markdown)


def with_pipes_in_code(markdown: str) -> str:
    """Return a page whose tables have pipes in code as Python-Markdown reads them.

    GitHub needs a backslash there, which Python-Markdown would show.
    """

    def line(match: re.Match[str]) -> str:
        return re.sub(r"(`+).+?\1", lambda code: code[0].replace("\\|", "|"), match[0])

    return re.sub(r"(?m)^\|.*$", line, markdown)


def from_the_root(markdown: str) -> str:
    """Return a page of the repository's root as one in `docs/`: its links begin there."""
    return re.sub(
        r"\]\((?!https?://|#|mailto:)(docs/)?([^)\s]+)\)",
        lambda match: f"]({match[2]})" if match[1] else f"](../{match[2]})",
        markdown,
    )


def copied_files() -> Iterator[str]:
    """Yield the files of the repository that pages link to, and that are no pages themselves."""
    found = set()
    pages = {page: page.relative_to(ROOT / "docs") for page in (ROOT / "docs").rglob("*.md")}
    texts = [(page.read_text(encoding="utf-8"), page.parent) for page in pages]
    texts += [((ROOT / name).read_text(encoding="utf-8"), ROOT) for name in ROOT_PAGES]
    for text, folder in texts:
        for target in re.findall(r"\]\(([^)\s#]+)(?:#[^)\s]*)?\)", text):
            path = (folder / target).resolve()
            if "://" in target or not path.is_file() or not path.is_relative_to(ROOT):
                continue
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith("docs/") and name not in {*ROOT_PAGES, "README.md"}:
                found.add(name)
    yield from sorted(found)
