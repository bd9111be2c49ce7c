"""The templates of the files that `unlearn init` writes."""

from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from unlearn.cli.text_edits import as_yaml


def read_template(name: str) -> str:
    """Return the text of a file that comes with the command."""
    return (files("unlearn.cli") / "templates" / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(  # noqa: S701 - YAML, which `as_yaml` quotes; nothing is HTML
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["yaml"] = as_yaml
    return environment


def render(name: str, **values: Any) -> bytes:
    """Return a file made of a template and values."""
    return _environment().from_string(read_template(name)).render(values).encode()
