"""A group of commands, each imported when it is named and not before."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from unlearn.cli.threads import use_one_thread


@dataclass(frozen=True)
class Command:
    """What the module of a command declares, as `COMMAND`.

    Parameters
    ----------
    function
        The command, with its options as Typer reads them.
    """

    function: Callable[..., None]


@dataclass(frozen=True)
class Entry:
    """A line of the table of commands: all that the list of commands needs.

    Parameters
    ----------
    module
        Where `COMMAND` is.
    summary
        One sentence, the first of the function's docstring.
    one_thread
        Keep numerical libraries to one thread. They read it when they are loaded, so it is set
        before the module is imported.
    """

    module: str
    summary: str
    one_thread: bool = False


class LazyGroup(TyperGroup):
    """A group that lists its commands without importing them; a subclass names them."""

    entries: ClassVar[Mapping[str, Entry]] = {}

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, entry in self.entries.items():
            self.add_command(_Named(name, entry))


class _Named(TyperCommand):
    """A command by its name and summary; the command itself takes over when it is called."""

    def __init__(self, name: str, entry: Entry) -> None:
        super().__init__(name, help=entry.summary, short_help=entry.summary)
        self._entry = entry

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> Any:
        return load(self.name or "", self._entry).make_context(info_name, args, *rest, **extra)


def load(name: str, entry: Entry) -> Any:
    """Import a command.

    Returns
    -------
    TyperCommand
        Typer's own, made of the function and its options.
    """
    if entry.one_thread:
        use_one_thread()
    command: Command = import_module(entry.module).COMMAND
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False, rich_markup_mode=None)
    app.command(name)(command.function)
    return typer.main.get_command(app)
