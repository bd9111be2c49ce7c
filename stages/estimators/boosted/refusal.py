"""Errors of libraries that write where in their code something went wrong, and a stack trace."""

import re

from unlearn.stages.estimators.base import RefusedRowsError

_MOST = 200

#: The time, or the file and line of the library's code, before or after what a message says.
_PLACE = re.compile(
    r"^(\[[\d:]+\]\s*|(\S*/)?[\w./-]+\.(cc|cpp|cu|h|hpp):\d+:\s*)+|\sat \S+, line \d+ ?\.?$"
)


def refusal(model: str, error: Exception) -> RefusedRowsError:
    """Return the error of a training that a library refused.

    Parameters
    ----------
    model
        Value of `train.model`.
    error
        What the library raised.
    """
    first = next((line for line in str(error).splitlines() if line.strip()), "")
    reason = _PLACE.sub("", first.strip())[:_MOST] or type(error).__name__
    return RefusedRowsError(f"{model} cannot be trained: {reason}")
