""".gitignore, .gitattributes and .dockerignore of a new project."""

import re

from unlearn.cli.init.files.templates import render


def render_gitignore(before: str, exceptions: list[str]) -> bytes:
    """Return .gitignore with every line that keeps rows, models and the key out of git.

    Parameters
    ----------
    before
        What it holds already.
    exceptions
        More lines, such as exceptions from `/data/?*`.
    """
    return _extended(before, render("gitignore.jinja", exceptions=exceptions))


def render_gitattributes(before: str, *, hashed: list[str]) -> bytes:
    """Return .gitattributes that keeps the line ends of every file that DVC hashes.

    Parameters
    ----------
    before
        What it holds already.
    hashed
        Files of this project that git keeps and DVC hashes, and folders with a slash at the end.
    """
    patterns = [attribute_pattern(path) for path in hashed]
    return _extended(before, render("gitattributes.jinja", patterns=patterns))


def render_dockerignore(before: str) -> bytes:
    """Return .dockerignore that keeps the key out of images; `before` is what it holds already."""
    return _extended(before, render("dockerignore.jinja"))


def _extended(before: str, lines: bytes) -> bytes:
    """Return a file of patterns with the lines that it does not have yet at its end."""
    missing = [line for line in lines.decode().splitlines() if line not in before.splitlines()]
    gap = "" if before == "" or before.endswith("\n") else "\n"
    return (before + gap + "".join(f"{line}\n" for line in missing)).encode(
        "utf-8", "surrogateescape"
    )


def attribute_pattern(path: str) -> str:
    """Return a path, of a folder with a slash at its end, as a pattern that matches it alone."""
    pattern = "/" + re.sub(r"([\\*?\[\]])", r"\\\1", path) + ("**" if path.endswith("/") else "")
    if re.fullmatch(r"[\w./*-]+", pattern):
        return pattern
    # In quotes, as git reads names with spaces.
    quoted = pattern.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}"'
