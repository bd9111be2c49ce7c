"""What the commands about receipts share: signers and their passphrases."""

import os
import sys
from contextlib import suppress
from pathlib import Path

import typer
from unlearn.stages.errors import InputError
from unlearn.stages.receipts.signers import (
    COMMAND,
    PASSPHRASE_VARIABLE,
    CommandSigner,
    Signer,
    read_private,
)


def open_signer(text: str, variable: str = PASSPHRASE_VARIABLE) -> Signer:
    """Return the signer that an option names: a file, or `command:` and a program.

    Parameters
    ----------
    text
        The option's value.
    variable
        The environment variable that may hold the passphrase of the file.

    Raises
    ------
    InputError
        If there is no such signer, or no passphrase.
    """
    if text.startswith(COMMAND):
        return CommandSigner(text.removeprefix(COMMAND))
    path = Path(text)
    if not path.is_file():
        raise InputError(
            f"there is no private key {path.name}",
            f"a signer is a file that `unlearn receipt keygen` made, or {COMMAND} and a program",
        )
    return read_private(path, passphrase(f"Passphrase of {path.name}", variable))


def passphrase(prompt: str, variable: str, *, confirm: bool = False) -> str:
    """Return a passphrase from an environment variable, or from the terminal.

    It is never an argument: every user of a machine can read the arguments of a process.

    Parameters
    ----------
    prompt
        The question.
    variable
        The environment variable.
    confirm
        Ask twice.
    """
    found = os.environ.get(variable)
    if found:
        return found
    with suppress(typer.Abort):
        if sys.stdin.isatty():
            return str(typer.prompt(prompt, hide_input=True, confirmation_prompt=confirm, err=True))
    raise InputError(f"no passphrase was given; nothing was changed: set {variable}")
