"""Why a receipt is not accepted: one code for each reason, which never changes its meaning."""

from typing import Literal

from unlearn.stages.errors import UnlearnError

Code = Literal[
    "bad-envelope",
    "unknown-type",
    "unknown-key",
    "key-fork",
    "bad-signature",
    "not-canonical",
    "bad-statement",
    "key-epoch",
    "other-project",
    "misnamed",
    "chain-broken",
    "clock-order",
    "truncated",
    "annex-differs",
    "no-timestamp",
    "bad-timestamp",
]


class RefusedError(UnlearnError):
    """A receipt, or a key, is not what it has to be (exit code 1).

    Parameters
    ----------
    code
        The reason, for programs.
    message
        The reason, for people.
    """

    exit_code = 1

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code: Code = code
