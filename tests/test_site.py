"""The documentation site builds without a warning, and nothing in it is loaded from elsewhere."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.site_layout import CHROMIUM, WIDTHS, measured
from website.screenshots import MOST_BYTES, request_picture

ROOT = Path(__file__).resolve().parents[1]

seen = pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium to look with")

#: Attributes with an address that a browser loads without being asked to.
LOADED = {"src", "srcset", "poster", "data", "background"}

#: Kinds of `link` that only name another page.
NAMED_ONLY = {"canonical", "next", "prev", "alternate", "license", "author"}

#: What the theme does with it would load something from elsewhere.
REFUSED_CLASSES = {"mermaid"}


class Loads(HTMLParser):
    """What a page loads: addresses of files, and its own styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.styles: list[str] = []
        self.classes: set[str] = set()
        self.components: set[str] = set()
        self._within = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._within = tag
        found = {name: value or "" for name, value in attrs}
        self.classes |= set(found.get("class", "").split())
        self.components.add(found.get("data-md-component", ""))
        self.styles.append(found.get("style", ""))
        self.addresses += [found[name] for name in LOADED & found.keys()]
        if tag == "link" and not set(found.get("rel", "").split()) & NAMED_ONLY:
            self.addresses.append(found.get("href", ""))

    def handle_data(self, data: str) -> None:
        if self._within == "style":
            self.styles.append(data)


def is_elsewhere(address: str) -> bool:
    """Return whether an address names another host."""
    return re.match(r"(?i)\s*(?:[a-z]+:)?//", address) is not None


def loaded_by_style(style: str) -> list[str]:
    """Return the addresses that a style sheet loads."""
    urls = re.findall(r"url\(\s*['\"]?([^'\")]+)", style)
    return urls + re.findall(r"@import\s+['\"]([^'\"]+)", style)


def loads(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the files of a site that load something from elsewhere, with its address."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".html":
            page = Loads(path.read_text(encoding="utf-8"))
            found = page.addresses + [url for each in page.styles for url in loaded_by_style(each)]
            yield from ((name, address) for address in found if is_elsewhere(address))
            yield from ((name, each) for each in page.classes & REFUSED_CLASSES)
        elif path.suffix in {".css", ".svg"}:
            text = path.read_text(encoding="utf-8")
            found = loaded_by_style(text) + re.findall(r"(?:xlink:)?href=\"([^\"]+)", text)
            yield from ((name, address) for address in found if is_elsewhere(address))
        elif path.suffix == ".js":
            # Comments name where the libraries are from, outside of strings.
            text = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
            found = re.findall(r"[\"'`](https?://[^\"'`]+)", text)
            yield from ((name, address) for address in found)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.html", "<script src='https://a.example/a.js'></script>"),
        ("a.html", "<link rel='stylesheet' href='//fonts.example/a.css'>"),
        ("a.html", "<style>a { background: url(http://a.example/a.png) }</style>"),
        ("a.html", "<pre class='mermaid'></pre>"),
        ("a.css", "@import 'https://a.example/a.css';"),
        ("a.js", "load('https://unpkg.com/mermaid')"),
        ("a.svg", '<svg><image href="https://a.example/a.png"/></svg>'),
    ],
)
def test_what_is_loaded_from_elsewhere_is_found(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert len(list(loads(tmp_path))) == 1


def test_links_to_other_hosts_load_nothing(tmp_path: Path) -> None:
    page = "<link rel='canonical' href='https://a.example/'><a href='https://a.example/'>a</a>"
    (tmp_path / "a.html").write_text(page, encoding="utf-8")
    assert list(loads(tmp_path)) == []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the built site; any warning of MkDocs is an error."""
    pytest.importorskip("material")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        # Not `--quiet`: warnings that are not printed do not count as errors.
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "https_proxy": "http://127.0.0.1:9"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "Documentation built" in done.stdout
    return folder


def test_nothing_hides_the_warnings_of_a_build() -> None:
    """MkDocs counts the warnings that it prints, so a quiet build passes with broken links."""
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if "mkdocs build" in line]
    assert "-q" not in line.replace("--", "-")
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert "\nstrict: true" in text
    assert "anchors: warn" in text


@pytest.mark.slow
def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    assert len(list(site.rglob("*.html"))) > 20
    assert list(loads(site)) == []


@pytest.mark.slow
def test_what_a_page_loads_is_there(site: Path) -> None:
    for path in site.rglob("*.html"):
        for address in Loads(path.read_text(encoding="utf-8")).addresses:
            target = address.partition("#")[0].partition("?")[0]
            if target and not target.startswith(("data:", "/")):
                assert (path.parent / target).exists(), (path.name, address)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_picture_of_a_request_has_the_same_content_in_both_schemes(scheme: str) -> None:
    written = (ROOT / f"docs/assets/request-{scheme}.svg").read_text(encoding="utf-8")
    assert written == request_picture(scheme)


def test_pictures_are_small_and_have_words_for_those_who_cannot_see_them() -> None:
    assert all(path.stat().st_size < MOST_BYTES for path in (ROOT / "docs/assets").iterdir())
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        text = page.read_text(encoding="utf-8")
        assert "![]" not in text, page.name


@pytest.mark.slow
def test_the_reference_of_python_has_public_names_alone(site: Path) -> None:
    text = (site / "reference/api.html").read_text(encoding="utf-8")
    names = re.findall(r'id="unlearn\.[\w.]*?(\w+)" class="doc', text)
    assert "forget" in names
    assert [name for name in names if name.startswith("_")] == []


@pytest.mark.slow
@seen
def test_no_page_is_wider_than_the_window(site: Path, tmp_path: Path) -> None:
    # The page of missing pages has addresses from the root of a server.
    found_pages = (path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    pages = sorted(name for name in found_pages if name != "404.html")
    found = measured(site, pages, tmp_path)
    assert len(found) == len(pages) * len(WIDTHS)
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


@pytest.mark.slow
@seen
def test_what_is_too_wide_or_missing_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("<p style='width: 800px'>a</p>", encoding="utf-8")
    (tmp_path / "b.html").write_text("<img src='c.png' width=9 height=9>", encoding="utf-8")
    found = measured(tmp_path, ["a.html", "b.html"], tmp_path / "profile")
    wide = "the page is 808 wide"
    missing = f"missing: {(tmp_path / 'c.png').as_uri()}"
    assert [found[f"a.html {width}"] for width in WIDTHS] == [[wide], [wide], []]
    assert [found[f"b.html {width}"] for width in WIDTHS] == [[missing]] * 3
