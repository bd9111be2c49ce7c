"""The hook of MkDocs: pages that are made from the code, links, and no address of other hosts."""

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from website import links, pages

#: Addresses that the theme's script could load from, for features that the site does not use.
_ELSEWHERE = re.compile(r"https://(?:unpkg\.com|api\.github\.com|\$\{\w+\}/api)/[^\"'`\s]*")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add pages that are made from the code, those of the root, and files that pages link to."""
    for path, text in pages.generated().items():
        files.append(File.generated(config, path, content=text))
    for name, path in links.ROOT_PAGES.items():
        text = (links.ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, path, content=links.from_the_root(text)))
    for name in links.copied_files():
        source = str(links.ROOT / name)
        files.append(File.generated(config, f"{links.COPIES}/{name}", abs_src_path=source))
    return files


def on_page_markdown(markdown: str, page: Any, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - MkDocs' interface
    """Turn links out of `docs/` into links to pages and files of the site; write tables for it."""
    return links.with_pipes_in_code(links.within_the_site(markdown, page.file.src_uri))


def on_post_build(config: MkDocsConfig) -> None:
    """Take addresses of other hosts out of the theme's scripts, so that none can be loaded."""
    folder = Path(config.site_dir)
    for script in folder.rglob("*.js"):
        text = script.read_text(encoding="utf-8")
        script.write_text(_ELSEWHERE.sub("about:blank", text), encoding="utf-8")
    # Their only use is to debug the theme, and they are larger than all pages together.
    for source_map in folder.rglob("*.map"):
        source_map.unlink()
