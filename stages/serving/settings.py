"""What a server allows: addresses, sizes, numbers and times."""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from unlearn.stages.errors import InputError

#: Where the token is, if no file is named.
TOKEN_VARIABLE: Final = "UNLEARN_SERVE_TOKEN"  # noqa: S105 - a name, no token

#: Where the port is, if none is given. Not UNLEARN_PORT: Kubernetes sets a variable of that name
#: to a URL where a service is called unlearn.
PORT_VARIABLE: Final = "UNLEARN_LISTEN_PORT"

#: A shorter token can be guessed (characters).
_TOKEN_LENGTH: Final = 16

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd])")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


@dataclass(frozen=True)
class Limits:
    """How much a server takes on.

    Parameters
    ----------
    slots
        Answers that are generated at the same time.
    queue
        Further answers that wait for a slot.
    tokens
        Tokens of an answer at most.
    seconds
        How long a request may take, from its last byte to the end of its answer.
    body
        Bytes of a request's body at most.
    connections
        Open connections at most.
    client_seconds
        How long the server waits for a client that sends its request, or reads the answer.
    """

    slots: int = 16
    queue: int = 64
    tokens: int = 1024
    seconds: float = 120.0
    body: int = 1 << 20
    connections: int = 256
    client_seconds: float = 10.0

    @property
    def answers(self) -> int:
        """Answers that are generated or wait."""
        return self.slots + self.queue


@dataclass(frozen=True)
class Settings:
    """How a server is run.

    Parameters
    ----------
    host, port
        The address; port 0 takes a free one.
    name
        What requests call the model.
    token
        What clients have to know; None if they need no token.
    allow_inconclusive
        Serve approximate models whose verdict is `inconclusive`.
    max_stale
        Seconds that a request to forget may be pending before nothing is answered any more.
    check_every
        Seconds between two looks at git and at the forget list.
    base
        Where the base is, if not where params.yaml says.
    limits
        How much the server takes on.
    """

    host: str
    port: int
    name: str
    token: str | None = None
    allow_inconclusive: bool = False
    max_stale: float = 30 * 86_400.0
    check_every: float = 10.0
    base: str | None = None
    limits: Limits = Limits()

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches the address."""
        return is_loopback(self.host)

    def check(self) -> None:
        """Raise an InputError if the address needs a token and there is none."""
        if self.token is None and not self.is_loopback:
            raise InputError(
                f"--host {self.host} can be reached from other machines, and needs a token",
                f"write one into a file for --token-file, or into the variable {TOKEN_VARIABLE}",
            )


def is_loopback(host: str) -> bool:
    """Return whether an address or a name is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_token(path: Path | None, variable: str | None) -> str | None:
    """Return the token of a file, or else of the environment.

    Parameters
    ----------
    path
        The file; its first line counts.
    variable
        What the environment's variable says.

    Raises
    ------
    InputError
        If the token is too short, or cannot be in a header.
    """
    if path is not None:
        try:
            text = path.read_text(encoding="utf-8").partition("\n")[0].strip()
        except (OSError, UnicodeDecodeError):
            raise InputError(f"--token-file {path} cannot be read") from None
    elif variable:
        text = variable.strip()
    else:
        return None
    if len(text) < _TOKEN_LENGTH or not (text.isascii() and text.isprintable() and " " not in text):
        raise InputError(
            f"the token needs {_TOKEN_LENGTH} or more letters and digits, without spaces",
            "`openssl rand -hex 32` prints a good one",
        )
    return text


def seconds_of(text: str, option: str) -> float:
    """Return the seconds of a duration such as 90s, 30m, 24h or 7d.

    Parameters
    ----------
    text, option
        The duration, and what the error calls it.

    Raises
    ------
    InputError
        If it is none, or not more than 0.
    """
    found = _DURATION.fullmatch(text)
    seconds = 0.0 if found is None else float(found[1]) * _SECONDS[found[2]]
    if seconds <= 0:
        raise InputError(
            f"{option} {text} is no duration", "write a number and a unit, as in 90s, 30m, 24h, 7d"
        )
    return seconds
