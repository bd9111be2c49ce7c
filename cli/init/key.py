"""The key of a new project."""

import secrets

from unlearn.cli.init.answer import KeyName
from unlearn.stages.rows.tokens import DEMO_KEY, Key, key_of_variable


def choose_key(otherwise: KeyName) -> tuple[Key, KeyName]:
    """Return the key of a new project, and where it is.

    Parameters
    ----------
    otherwise
        Where it is if `UNLEARN_KEY` is not set: the stages would refuse any other key then.

    Raises
    ------
    InputError
        If the variable holds something else.
    """
    key = key_of_variable()
    if key is not None:
        return key, "UNLEARN_KEY"
    return Key(DEMO_KEY if otherwise == "demo" else secrets.token_hex(32)), otherwise
