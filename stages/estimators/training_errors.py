"""What goes wrong in the training of a torch module, as errors that name the model."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.base import RefusedRowsError


@contextmanager
def training_errors(model: str) -> Iterator[None]:
    """Turn the errors of a training into errors of the input, which name the model."""
    try:
        yield
    except InputError:
        raise
    except (RuntimeError, ValueError) as error:
        # Torch's words on shapes and operations.
        reason = str(error).partition("\n")[0]
        raise kind_of(error)(f"{model} cannot be trained: {reason}") from error
    except Exception as error:
        # Of a user's module: only the name, because the message may quote a row.
        reason = type(error).__name__
        raise kind_of(error)(f"{model} cannot be trained ({reason})") from error


def refuse_diverged(model: str, values: Iterable[torch.Tensor]) -> None:
    """Raise a RefusedRowsError if a model's numbers are no longer finite."""
    if not all(bool(torch.isfinite(value).all()) for value in values if value.is_floating_point()):
        raise RefusedRowsError(
            f"{model} diverged: its weights are no longer finite",
            "decrease train.optimizer.rate, or look for extreme values in a feature",
        )


def kind_of(error: Exception) -> type[InputError]:
    """Return the error of refused rows where they may be the reason; a lack of memory is not."""
    # Torch's type of it is a RuntimeError, as a lack of memory is.
    singular = type(error).__name__ == "_LinAlgError"
    of_rows = (ValueError, ArithmeticError, LookupError)
    return RefusedRowsError if singular or isinstance(error, of_rows) else InputError
