"""The gate before unlearning: what was never memorised cannot be seen to go."""

from typing import Final

from unlearn.stages.errors import InputError

#: Mean extraction strength from which on a model counts as having memorised rows.
MEMORISED: Final = 0.9

#: Maximum number of forgotten rows that are evaluated.
MOST_FORGET: Final = 200


def check_memorised(extraction: float, minimum: float = MEMORISED, *, shown: bool = True) -> None:
    """Stop a run whose model never memorised what it is to unlearn.

    Parameters
    ----------
    extraction
        Mean extraction strength of the tuned model on the forget set.
    minimum
        What it has to reach.
    shown
        Whether the error may contain the number: for few rows it describes a person.

    Raises
    ------
    InputError
        If it does not: nothing that is measured after unlearning would mean anything.
    """
    # A NaN reaches nothing either.
    if not extraction >= minimum:
        value = f"is {extraction:.2f}" if shown else "is less"
        raise InputError(
            f"the tuned model did not memorise the forget set: its extraction strength {value}, "
            f"and unlearning is measured from {minimum:.2f} on",
            "fine-tune it for more epochs, or at a higher rate",
        )
