"""What the models of a project answer with: probabilities of classes, or a number."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from unlearn.stages.config.section import Task

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Outputs:
    """What a model of a table answers of a row.

    Estimators are built for it: a classifier needs the number of classes, and a regressor the scale
    of the target, if it computes in another one.

    Parameters
    ----------
    classes
        How many pinned classes there are; 0 where the target is a number.
    centre, scale
        The pinned scale of such a target: (number - centre) / scale. No row decides it.
    labels
        The pinned classes, where they are known.

    Examples
    --------
    >>> Outputs(classes=3).task, Outputs(classes=3).shape(5)
    ('classification', (5, 3))
    >>> number = Outputs(centre=40.0, scale=10.0)
    >>> number.task, number.width, number.shape(5), number.scaled(np.array([60.0]))
    ('regression', 1, (5,), array([2.]))
    """

    classes: int = 0
    centre: float = 0.0
    scale: float = 1.0
    labels: tuple[str, ...] = ()

    @property
    def task(self) -> Task:
        """Whether a class or a number is predicted."""
        return "classification" if self.classes else "regression"

    @property
    def is_number(self) -> bool:
        """Whether a number is predicted."""
        return not self.classes

    @property
    def width(self) -> int:
        """How many outputs a network has: one for each class, or one for the number."""
        return self.classes or 1

    def shape(self, rows: int) -> tuple[int, ...]:
        """Return the shape of the answers on rows: probabilities of classes, or numbers."""
        return (rows, self.classes) if self.classes else (rows,)

    def scaled(self, targets: Floats) -> Floats:
        """Return target numbers in the pinned scale, of the same shape."""
        return (targets - self.centre) / self.scale

    def unscaled(self, values: Floats) -> Floats:
        """Return numbers of the pinned scale in the units of the dataset."""
        return values * self.scale + self.centre
