"""The page on paper: A4 pages on which nothing is cut, as Chromium prints them."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest
from unlearn.stages.report.page import render

from tests.stages.report.samples import a_text_report, for_officer, full, posthoc, some_requests
from tests.stages.report.test_page import hostile

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), "")

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium to print with")

#: A4 in points, and the width between the margins in pixels of CSS.
A4 = (595, 842)
WIDTH = round((210 - 2 * 15) / 25.4 * 96)

PAGES = {
    "full": full(),
    "without shards": posthoc(),
    "text": full(report=a_text_report()),
    "officer": for_officer(),
    "hostile": hostile(),
    "many requests": for_officer(request_states=some_requests(60)),
}

#: Notes what is wider than the page: elements, or text that leaves its cell.
_MEASURE = """
<pre id="found"></pre><script>
const found = [];
for (const element of document.body.querySelectorAll("*")) {
  const box = element.getBoundingClientRect();
  if (box.width && (box.right > WIDTH + 1 || box.left < -1)) {
    const name = element.className.baseVal ?? element.className;
    found.push(element.tagName + " " + name + " " + box.right);
  }
}
for (const cell of document.querySelectorAll("td, th")) {
  if (cell.scrollWidth > cell.clientWidth + 1) found.push("text in " + cell.outerHTML.slice(0, 80));
}
document.getElementById("found").textContent = JSON.stringify(found);
</script>
"""


def chromium(folder: Path, *arguments: str) -> str:
    """Run Chromium without a window; return what it printed."""
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={folder / 'profile'}",
            *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


def in_print(text: str) -> str:
    """Return a page that looks on a screen as it does on paper, and that may run a script."""
    text = text.replace("@media print {", "@media all {")
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    return text.replace("</body>", _MEASURE.replace("WIDTH", str(WIDTH)) + "</body>")


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wider_than_the_paper(name: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(in_print(render(PAGES[name])), encoding="utf-8")

    dom = chromium(tmp_path, f"--window-size={WIDTH},1000", "--dump-dom", page.as_uri())

    measured = re.search(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL)
    assert measured is not None
    assert json.loads(unescape(measured[1])) == []


@pytest.mark.parametrize(("name", "most"), [("full", 8), ("officer", 2), ("many requests", 4)])
def test_the_pages_of_the_pdf_are_a4(name: str, most: int, tmp_path: Path) -> None:
    page, pdf = tmp_path / "page.html", tmp_path / "page.pdf"
    page.write_text(render(PAGES[name]), encoding="utf-8")

    chromium(tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={pdf}", page.as_uri())

    boxes = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", pdf.read_bytes())
    assert 1 <= len(boxes) <= most
    assert {tuple(round(float(side)) for side in box) for box in boxes} == {A4}


def test_a_wide_table_would_be_noticed(tmp_path: Path) -> None:
    """The measurement itself is right."""
    text = render(PAGES["officer"]).replace("</main>", '<div class="wide"></div></main>')
    text = text.replace("</style>", ".wide { width: 900px; height: 1px; }</style>", 1)
    page = tmp_path / "page.html"
    page.write_text(in_print(text), encoding="utf-8")

    dom = chromium(tmp_path, f"--window-size={WIDTH},1000", "--dump-dom", page.as_uri())

    assert "DIV wide 900" in dom
