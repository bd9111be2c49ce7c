"""Pages of the site on a telephone, a tablet and a desktop, as Chromium lays them out."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), "")

#: Widths of windows in pixels.
WIDTHS = (360, 768, 1440)

#: Shows each page in a frame of each width, and notes what is wider than it, and what is missing.
_MEASURE = """\
<!doctype html><meta charset="utf-8"><pre id="found"></pre><script>
function problems(frame) {
  const page = frame.contentDocument, width = frame.contentWindow.innerWidth, found = [];
  const whole = page.scrollingElement.scrollWidth;
  if (whole > width) found.push("the page is " + whole + " wide");
  const scrolls = element => ["auto", "scroll"].includes(
    frame.contentWindow.getComputedStyle(element).overflowX);
  for (const image of page.images) {
    const box = image.getBoundingClientRect();
    if (box.width && !image.naturalWidth) found.push("missing: " + image.src);
    let around = image.parentElement;
    while (around !== page.body && !scrolls(around)) around = around.parentElement;
    if (around === page.body && box.right > width + 1) found.push("too wide: " + image.src);
  }
  return found;
}
(async () => {
  const found = {};
  for (const page of PAGES) for (const width of WIDTHS) {
    const frame = document.createElement("iframe");
    frame.style = `border: 0; height: 900px; width: ${width}px`;
    document.body.append(frame);
    await new Promise(done => { frame.onload = done; frame.src = page; });
    found[page + " " + width] = problems(frame);
    frame.remove();
  }
  document.getElementById("found").textContent = JSON.stringify(found);
})();
</script>
"""


def measured(folder: Path, pages: list[str], profile: Path) -> dict[str, list[str]]:
    """Return what is wrong with pages, by their name and the width of the window.

    Parameters
    ----------
    folder
        The site.
    pages
        Names of pages below it.
    profile
        A folder for Chromium.
    """
    script = _MEASURE.replace("PAGES", json.dumps(pages)).replace("WIDTHS", str(list(WIDTHS)))
    looking = folder / "looking.html"
    looking.write_text(script, encoding="utf-8")
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--allow-file-access-from-files",
            f"--user-data-dir={profile}",
            "--window-size=1600,1000",
            "--virtual-time-budget=600000",
            "--dump-dom",
            looking.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    looking.unlink()
    text = re.search(r'<pre id="found">(.+?)</pre>', done.stdout)
    assert text is not None, done.stderr
    found: dict[str, list[str]] = json.loads(unescape(text[1]))
    return found
