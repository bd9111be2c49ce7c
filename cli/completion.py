"""Completion of command lines by bash, zsh and fish: installing it, and values that it offers.

A completion reads nothing of a project: no dataset, no forget list, no shard. So ids are never
completed, and neither are names of people.
"""

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

from unlearn.cli.output import say
from unlearn.stages.errors import InputError, ToolError
from unlearn.stages.project.files import write_bytes

_PROGRAM, _VARIABLE = "unlearn", "_UNLEARN_COMPLETE"
SHELLS = ("bash", "zsh", "fish")

#: What zsh needs before a completion can be declared, where the user's own settings have none.
_ZSH_START = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }\n"


def install() -> None:
    """Install completion for the shell that called this command.

    Raises
    ------
    InputError
        If the shell is not known, or not supported.
    ToolError
        If a file cannot be written.
    """
    shell = _shell()
    script = _script_file(shell)
    try:
        script.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(script, _script(shell).encode())
        if (start := _start_file(shell)) is not None:
            _add_line(start, f"source {_quoted(script)}")
    except OSError as error:
        raise ToolError(f"{error.filename or script}: {error.strerror}") from None
    say(f"{shell} completion installed in {script}; new shells have it")


def show() -> None:
    """Print the script for the shell that called this command."""
    sys.stdout.write(_script(_shell()))


def _shell() -> str:
    """Return the name of the shell that called this command."""
    # Typer's own dependency; of this option alone.
    import shellingham  # noqa: PLC0415

    try:
        name = str(shellingham.detect_shell()[0])
    except shellingham.ShellDetectionFailure:
        name = Path(os.environ.get("SHELL", "")).name
    if name not in SHELLS:
        raise InputError(
            f"there is no completion for {name or 'this shell'}",
            f"run the command in one of {', '.join(SHELLS)}",
        )
    return name


def _script(shell: str) -> str:
    """Return what makes a shell ask this program for completions."""
    from typer._completion_shared import get_completion_script  # noqa: PLC0415 - as above

    script = get_completion_script(prog_name=_PROGRAM, complete_var=_VARIABLE, shell=shell)
    start = _ZSH_START if shell == "zsh" else ""
    return f"{start}{script}\n"


def _script_file(shell: str) -> Path:
    if shell == "fish":  # it reads this folder by itself
        return _folder("XDG_CONFIG_HOME", ".config") / "fish/completions" / f"{_PROGRAM}.fish"
    return _folder("XDG_DATA_HOME", ".local/share") / _PROGRAM / f"completion.{shell}"


def _start_file(shell: str) -> Path | None:
    """Return the file that a shell reads when it starts; None if it needs no line there."""
    if shell == "bash":
        return Path.home() / ".bashrc"
    return _folder("ZDOTDIR", ".") / ".zshrc" if shell == "zsh" else None


def _folder(variable: str, default: str) -> Path:
    chosen = os.environ.get(variable, "")
    return Path(chosen) if Path(chosen).is_absolute() else Path.home() / default


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "'\\''") + "'"


def _add_line(path: Path, line: str) -> None:
    """Add a line to a file of the user, which is left as it is if it has it."""
    content = path.read_bytes() if path.exists() else b""
    if line.encode() in content.splitlines():
        return
    end = b"" if not content or content.endswith(b"\n") else b"\n"
    # A link to where people keep such files stays a link, and its permissions stay.
    with path.open("ab") as file:
        file.write(end + line.encode() + b"\n")


def stage_names(incomplete: str) -> list[str]:
    """Complete the name of a stage; those of shards and methods go on behind the `@`."""
    names = ("recipe", "shard", "forget", "train", "young", "aggregate", "verify")
    return _beginning(incomplete, lambda: names)


def families(incomplete: str) -> list[str]:
    """Complete the name of a family of estimators."""

    def names() -> tuple[str, ...]:
        from unlearn.stages.estimators.registry import specs  # noqa: PLC0415 - to complete it

        # Others are files and classes of the user's own.
        return tuple(spec.name for spec in specs() if re.fullmatch(r"[\w.]+", spec.name))

    return _beginning(incomplete, names)


def methods(incomplete: str) -> list[str]:
    """Complete the name of a post-hoc method."""

    def names() -> tuple[str, ...]:
        from unlearn.stages.config.methods import METHODS  # noqa: PLC0415 - to complete it

        return tuple(dict.fromkeys(name for some in METHODS.values() for name in some))

    return _beginning(incomplete, names)


def tasks(incomplete: str) -> list[str]:
    """Complete what a target is."""
    return _beginning(incomplete, lambda: ("classification", "regression"))


def _beginning(incomplete: str, names: Callable[[], tuple[str, ...]]) -> list[str]:
    return [name for name in names() if name.startswith(incomplete)]
