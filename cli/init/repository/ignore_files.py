"""Files of patterns, such as .gitignore, in a folder that may have them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from unlearn.cli.init.files.patterns import (
    attribute_pattern,
    render_dockerignore,
    render_gitattributes,
    render_gitignore,
)
from unlearn.cli.init.files.templates import render
from unlearn.cli.init.repository.joining import joined_lines, joins
from unlearn.stages.project.files import write_bytes
from unlearn.stages.project.git import git
from unlearn.stages.project.shared import is_shared


def pattern_files(
    root: Path, exceptions: list[str], hashed: list[str]
) -> list[tuple[str, Callable[[str], bytes]]]:
    """Return .gitignore, .gitattributes and .dockerignore: what makes each of what it holds.

    Parameters
    ----------
    root, exceptions, hashed
        See `write_ignore_files`.
    """
    if is_shared(root) or (joins(root) and not (root / "data/forget_list.txt").is_file()):
        wide = [name for name in ("data", "models", "reports") if _is_ignored(root, name)]
        return [
            (".gitignore", partial(render_shared_gitignore, exceptions=exceptions, wide=wide)),
            (".gitattributes", partial(render_shared_gitattributes, hashed=hashed)),
            (".dockerignore", render_shared_dockerignore),
        ]
    return [
        (".gitignore", partial(render_gitignore, exceptions=exceptions)),
        (".gitattributes", partial(render_gitattributes, hashed=hashed)),
        (".dockerignore", render_dockerignore),
    ]


def _is_ignored(root: Path, folder: str) -> bool:
    """Return whether git ignores whatever is in a folder."""
    name = f"{folder}/unlearn-probe"
    return git(root, "check-ignore", "--quiet", "--no-index", name) is not None


def render_shared_gitignore(before: str, exceptions: list[str], wide: list[str]) -> bytes:
    """Return the .gitignore of a folder that has other files, with lines for those of a project.

    Parameters
    ----------
    before, exceptions
        See `render_gitignore`.
    wide
        Which of the folders data, models and reports the lines before ignore as a whole.
    """
    lines = render("shared_gitignore.jinja", exceptions=exceptions, wide=wide)
    return _as_bytes(joined_lines(before, lines.decode()))


def render_shared_gitattributes(before: str, *, hashed: list[str]) -> bytes:
    """Return the .gitattributes of a folder that has other files; see `render_gitattributes`."""
    patterns = [attribute_pattern(path) for path in hashed]
    lines = render("shared_gitattributes.jinja", patterns=patterns)
    return _as_bytes(joined_lines(before, lines.decode()))


def render_shared_dockerignore(before: str) -> bytes:
    """Return the .dockerignore of a folder that has other files; see `render_dockerignore`."""
    return _as_bytes(joined_lines(before, render("dockerignore.jinja").decode()))


def _as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def write_ignore_files(root: Path, exceptions: list[str], hashed: list[str]) -> None:
    """Write .gitignore, .gitattributes and .dockerignore: before there is any row or key.

    What these files hold already stays, above the new lines.

    Parameters
    ----------
    root
        The project's folder.
    exceptions
        More lines of .gitignore, such as exceptions from `/data/?*`.
    hashed
        Files that git keeps and DVC hashes, besides those of every project; folders with a slash
        at the end.
    """
    root.mkdir(parents=True, exist_ok=True)
    for name, extended in pattern_files(root, exceptions, hashed):
        path = root / name
        before = path.read_bytes().decode("utf-8", "surrogateescape") if path.is_file() else ""
        write_bytes(path, extended(before))
    for name in ("data", "models", ".unlearn"):
        (root / name).mkdir(mode=0o700, exist_ok=True)
