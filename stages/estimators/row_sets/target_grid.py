"""The grid that numbers to predict are on, so that sums over rows are integers."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from unlearn.stages.estimators.base import IntArray

#: Steps of the grid per unit of the pinned scale.
STEPS = 256

#: The farthest step from the centre, 2,048 scales away: numbers beyond it are taken for it.
FARTHEST = 2**19


@dataclass(frozen=True)
class TargetGrid:
    """A grid of numbers around a pinned centre, which follows from no row.

    Parameters
    ----------
    centre, scale
        As schema.yaml pins them; a step is 1/256 of the scale.

    Examples
    --------
    >>> grid = TargetGrid(centre=100.0, scale=10.0)
    >>> codes = grid.encode(np.array([100.0, 110.0, 95.02, 1e9]))
    >>> codes
    array([     0,    256,   -127, 524288])
    >>> grid.decode(codes).round(2)
    array([  100.  ,   110.  ,    95.04, 20580.  ])
    """

    centre: float = 0.0
    scale: float = 1.0

    def encode(self, values: npt.NDArray[np.float64]) -> IntArray:
        """Return the nearest steps, from the centre, of numbers of any shape."""
        # A number that is too large for a quotient is beyond the farthest step.
        with np.errstate(over="ignore"):
            steps = np.rint((values - self.centre) / self.scale * STEPS)
        return np.clip(steps, -FARTHEST, FARTHEST).astype(np.int64)

    def decode(self, steps: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the numbers at steps, which may be between two of the grid."""
        found: npt.NDArray[np.float64] = steps * (self.scale / STEPS) + self.centre
        return found
