"""What a method has read and its limits: counts of rows, epochs and steps."""

from dataclasses import dataclass
from typing import Literal

Side = Literal["forget", "retain"]

#: Digits of a number of passes.
_DIGITS = 4


@dataclass
class Ledger:
    """How many rows a method read of either side, each time that it read them."""

    forget: int = 0
    retain: int = 0

    def count(self, side: Side, rows: int) -> None:
        """Add rows that were read, for a step or for a sum over all of them."""
        setattr(self, side, getattr(self, side) + rows)

    @property
    def rows(self) -> int:
        """Rows of both sides."""
        return self.forget + self.retain

    def passes(self, forget: int, retain: int) -> dict[str, float]:
        """Return how often each row of either side was read, on average.

        Parameters
        ----------
        forget, retain
            Number of rows of either side, at least 1.
        """
        return {
            "forget": round(self.forget / forget, _DIGITS),
            "retain": round(self.retain / retain, _DIGITS),
        }


def limited_epochs(wanted: int, most: float) -> int:
    """Return how many epochs an update may take: at least one, and no more than `most`.

    Parameters
    ----------
    wanted
        By the settings.
    most
        The epochs that read as many rows as a fifth of training does.
    """
    return min(wanted, max(1, int(most)))
