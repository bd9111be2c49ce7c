"""Where `tune` searches: a range for a setting, and draws from it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

#: Digits that a drawn number keeps: more would only make params.yaml hard to read.
_DIGITS = 3


@dataclass(frozen=True)
class Span:
    """A range of numbers, both ends in it.

    Parameters
    ----------
    low, high
        The ends.
    logarithmic
        Each decade is as likely as any other; else each number is.
    """

    low: float
    high: float
    logarithmic: bool = False

    def draw(self, random: np.random.Generator) -> float:
        """Return a number of the range, rounded to three significant digits."""
        if self.logarithmic:
            value = math.exp(random.uniform(math.log(self.low), math.log(self.high)))
        else:
            value = random.uniform(self.low, self.high)
        return min(max(float(f"{value:.{_DIGITS}g}"), self.low), self.high)


@dataclass(frozen=True)
class Whole:
    """A range of whole numbers, both ends in it and all as likely."""

    low: int
    high: int

    def draw(self, random: np.random.Generator) -> int:
        """Return a number of the range."""
        return int(random.integers(self.low, self.high, endpoint=True))


Range = Span | Whole

#: As far as any method's default goes; a fifth of training's epochs is the limit besides.
EPOCHS = Whole(1, 10)

#: From steps that hardly change a weight to steps that destroy most networks.
RATE = Span(1e-5, 1e-1, logarithmic=True)

#: Around the rate of training.
FACTOR = Span(0.3, 30.0, logarithmic=True)


def draw_settings(ranges: Mapping[str, Range], seed: int) -> dict[str, float]:
    """Return a value for every setting that has a range; all follow from the seed.

    Parameters
    ----------
    ranges
        By setting.
    seed
        A trial's own: however many there are, each draws the same.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    return {name: span.draw(random) for name, span in ranges.items()}
