"""The README as a package's page shows it: its links and pictures lead to the repository.

`python -m website.published https://github.com/OWNER/REPOSITORY TAG` rewrites README.md. The
release workflow does so before it builds the packages: only it knows the repository and the tag.
"""

import re
import sys

from website.links import ROOT


def published(markdown: str, repository: str, tag: str) -> str:
    """Return a page of the repository's root whose relative links are addresses.

    Parameters
    ----------
    markdown
        The page.
    repository, tag
        The address of the repository on GitHub, and the tag or commit of the release.
    """

    def address(match: re.Match[str]) -> str:
        # A picture is a file itself, in place of the page that shows the file.
        kind = "raw" if match["picture"] else "blob"
        return f"{match['text']}({repository}/{kind}/{tag}/{match['target']})"

    link = r"(?P<text>(?P<picture>!)?\[[^\]]*\])\((?!https?://|#|mailto:)(?P<target>[^)\s]+)\)"
    return re.sub(link, address, markdown)


def main(arguments: list[str]) -> None:
    """Rewrite README.md."""
    repository, tag = arguments
    readme = ROOT / "README.md"
    text = published(readme.read_text(encoding="utf-8"), repository, tag)
    readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
