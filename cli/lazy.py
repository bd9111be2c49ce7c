"""A group of commands, each imported when it is named and not before."""

import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from unlearn.cli import panels


@dataclass(frozen=True)
class Command:
    """What the module of a command declares, as `COMMAND`.

    Parameters
    ----------
    function
        The command, with its options as Typer reads them.
    example
        A command line that the help shows, or several lines.
    answer
        The model of what `--json` prints, or the union of several; None where there is no
        `--json`.
    """

    function: Callable[..., None]
    example: str
    answer: Any


@dataclass(frozen=True)
class Entry:
    """A line of the table of commands: all that the list of commands needs.

    Parameters
    ----------
    module
        Where `COMMAND` is.
    summary
        One sentence, the first of the function's docstring.
    panel
        The heading that the command is listed under.
    one_thread
        Keep numerical libraries to one thread. They read it when they are loaded, so it is set
        before the module is imported.
    """

    module: str
    summary: str
    panel: str
    one_thread: bool = False


class LazyGroup(TyperGroup):
    """A group that lists its commands without importing them; a subclass names them.

    A name of two words is that of a group, and of a command in it.
    """

    entries: ClassVar[Mapping[str, Entry]] = {}

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        groups: dict[str, dict[str, Entry]] = {}
        for name, entry in self.entries.items():
            group, _, inner = name.partition(" ")
            if inner:
                groups.setdefault(group, {})[inner] = entry
            else:
                self.add_command(_Named(name, entry))
        for group, inside in groups.items():
            self.add_command(_subgroup(group, inside))

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - Click's interface
        """Write the commands in their panels, in the order of the table."""
        width = max(map(len, self.entries), default=0)
        rows: dict[str, list[tuple[str, str]]] = {}
        for name, entry in self.entries.items():
            rows.setdefault(entry.panel, []).append((name.ljust(width), entry.summary))
        _write_panels(formatter, rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - Click's interface
        """Write the epilog line by line; a narrow terminal breaks lines between words."""
        if self.epilog:
            formatter.write_paragraph()
            for line in self.epilog.splitlines():
                start = re.match(r"( +(\d+ +)?)?", line)
                indent = " " * (start.end() if start else 0)
                parts = textwrap.wrap(line, formatter.width, subsequent_indent=indent)
                formatter.write("".join(f"{part}\n" for part in parts))


def _subgroup(name: str, inside: Mapping[str, Entry]) -> LazyGroup:
    """Return a group within a group, which lists its own commands."""
    kind = type("_Subgroup", (LazyGroup,), {"entries": inside})
    group: LazyGroup = kind(name=name, no_args_is_help=True, rich_markup_mode=None)
    return group


class _PanelCommand(TyperCommand):
    """A command whose help has its options in panels and its example below them."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the parameters in their panels, in the order of the function."""
        rows: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                is_argument = parameter.param_type_name == "argument"
                kind = panels.ARGUMENTS if is_argument else panels.OPTIONS
                panel = getattr(parameter, "rich_help_panel", None) or kind
                rows.setdefault(panel, []).append(record)
        for last in (panels.OUTPUT, panels.OPTIONS):
            if last in rows:
                rows[last] = rows.pop(last)
        _write_panels(formatter, rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - Click's interface
        """Write the example unchanged, line by line."""
        with formatter.section("Example"):
            for line in (self.epilog or "").splitlines():
                formatter.write(f"  {line}\n")


def _write_panels(formatter: Any, rows: Mapping[str, list[tuple[str, str]]]) -> None:
    for panel, entries in rows.items():
        with formatter.section(panel):
            formatter.write_dl(entries)


class _Named(TyperCommand):
    """A command by its name and summary; the command itself takes over when it is called."""

    def __init__(self, name: str, entry: Entry) -> None:
        super().__init__(name, help=entry.summary, short_help=entry.summary)
        self._entry = entry

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> Any:
        return load(self.name or "", self._entry).make_context(info_name, args, *rest, **extra)


def declared(entry: Entry) -> Command:
    """Import the module of a command and return what it declares."""
    if entry.one_thread:
        # The help imports nothing of the stages.
        from unlearn.stages.project.threads import use_one_thread  # noqa: PLC0415

        use_one_thread()
    command: Command = import_module(entry.module).COMMAND
    return command


def load(name: str, entry: Entry) -> Any:
    """Import a command.

    Returns
    -------
    TyperCommand
        Typer's own, made of the function and its options.
    """
    command = declared(entry)
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False, rich_markup_mode=None)
    app.command(name, cls=_PanelCommand, epilog=command.example)(command.function)
    return typer.main.get_command(app)
