"""Canaries: synthetic records, each trained on or left out by the toss of a keyed coin.

Whether an attack finds the canaries that were trained on among those left out is its power on these
very models, known before the first request; and because every toss is fair and independent of all
others, the share of right guesses bounds what the models can reveal about any record
(`verify/one_run.py`).
"""

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.config.dataset import (
    DATE_KINDS,
    TENSOR_KINDS,
    DatasetParams,
    FeatureKind,
    TargetScale,
)
from unlearn.stages.reading.datetimes import text_of_seconds
from unlearn.stages.rows.canary_arrays import PixelSummary, TensorSummary
from unlearn.stages.rows.tokens import Key

#: Where `unlearn canary` plants, unless params.yaml names another file.
CANARIES_PATH = "data/canaries.csv"

Bools = npt.NDArray[np.bool_]

_ID = re.compile(r"canary-(\d{6,})")

#: Stands for a category where none is common enough to be no one's own.
_ANY_CATEGORY = "canary"


def coin(key: Key, token: str) -> bool:
    """Toss the coin of a canary: True puts it into its shard, False leaves it out.

    One bit of a keyed digest, so it is fair, independent of every other canary's and of where
    its record belongs, and the same in every run.

    Parameters
    ----------
    key
        The project key.
    token
        The canary's record token.
    """
    return bool(key.digest("canary", token.encode())[0] & 1)


def included(key: Key, tokens: Iterable[str]) -> Bools:
    """Return for each canary, by its record token, whether it is trained on, shape (canaries,)."""
    return np.array([coin(key, token) for token in tokens], dtype=np.bool_)


def canary_id(number: int) -> str:
    """Return the id of a canary, numbered from 1."""
    return f"canary-{number:06d}"


def canary_number(raw: str | None) -> int | None:
    """Return the number in a canary's id; None for any other id."""
    match = _ID.fullmatch(raw or "")
    return None if match is None else int(match[1])


def canary_columns(dataset: DatasetParams) -> list[str]:
    """Return the columns of a file of canaries: those of the dataset that have a role."""
    people = [] if dataset.subject is None else [dataset.subject]
    others = [name for name in (dataset.target, dataset.weight) if name is not None]
    return [dataset.id, *people, *dataset.features, *others]


#: A made-up text has so many words, each of so many bytes in hexadecimal.
_WORDS = 6
_WORD_BYTES = 3


@dataclass
class _Numbers:
    """Count, mean and squared deviations, put together batch by batch.

    Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances", 1979, equation 2.1.
    """

    text: Callable[[float], str] = "{:.6g}".format
    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def see(self, values: pa.ChunkedArray) -> None:
        numbers = values.drop_null().to_numpy()
        if numbers.size == 0:
            return
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(numbers.mean())
            squares = float(np.square(numbers - mean).sum())
            apart, total = mean - self.mean, self.count + numbers.size
            self.squares += squares + apart * apart * self.count * numbers.size / total
            self.mean += apart * numbers.size / total
            self.count = total

    def draw(self, random: np.random.Generator, min_rows: int) -> str:
        spread = math.sqrt(self.squares / self.count) if self.count else 0.0
        # A mean over one row would be that row's value; and squares of huge numbers overflow.
        known = self.count >= min_rows and math.isfinite(self.mean) and math.isfinite(spread)
        value = random.normal(self.mean, spread) if known else random.normal()
        return self.text(value)


@dataclass
class _Choices:
    """How many rows have each value, and what is drawn where no value is common enough."""

    otherwise: tuple[str, ...]
    counts: Counter[str] = field(default_factory=Counter)

    def see(self, values: pa.ChunkedArray) -> None:
        for found in pc.value_counts(values.drop_null().cast(pa.string())).to_pylist():
            self.counts[found["values"]] += found["counts"]

    def draw(self, random: np.random.Generator, min_rows: int) -> str:
        common = sorted((value, n) for value, n in self.counts.items() if n >= min_rows)
        values = [value for value, _ in common] or list(self.otherwise)
        weights = np.cumsum([n for _, n in common] or [1] * len(values))
        at = np.searchsorted(weights, random.integers(weights[-1]), side="right")
        return values[int(at)]


@dataclass
class _Words:
    """Made-up words: most texts are those of a single row."""

    def see(self, values: pa.ChunkedArray) -> None:
        """Take nothing of the texts into account."""

    def draw(self, random: np.random.Generator, min_rows: int) -> str:
        del min_rows  # nothing is drawn from rows
        return " ".join(random.bytes(_WORD_BYTES).hex() for _ in range(_WORDS))


#: Ranges of a number target that canaries draw from, and digits of their ends.
_RANGES = 50
_DIGITS = 3


#: Digits of a canary's weight.
_WEIGHT_DIGITS = 2


class _Targets:
    """Ranges with equally many of the rows' numbers, from which a canary's target is drawn.

    Their ends are rounded, and the outermost ranges are left out: no row's own number is kept, and
    numbers of a kind that the dataset does not have, such as negative prices, are not drawn.
    """

    def __init__(self, min_rows: int) -> None:
        self._min_rows = min_rows
        self._parts: list[npt.NDArray[np.float64]] = []

    def see(self, values: pa.ChunkedArray) -> None:
        self._parts.append(np.asarray(values.drop_null().to_numpy(), dtype=np.float64))

    def draw(self, random: np.random.Generator, scale: TargetScale) -> str:
        ends = self._ends
        if len(ends) < 2:  # noqa: PLR2004 - the ends of one range
            return f"{random.normal(scale.centre, scale.scale):.6g}"
        place = int(random.integers(len(ends) - 1))
        low, high = ends[place : place + 2]
        return f"{random.uniform(low, high):.6g}"

    @cached_property
    def _ends(self) -> list[float]:
        values = np.concatenate([*self._parts, np.zeros(0)])
        ranges = min(_RANGES, values.size // max(1, self._min_rows))
        if ranges < 3:  # noqa: PLR2004 - two outermost ones, and one to draw from
            return []
        shares = np.arange(1, ranges) / ranges
        return [float(f"{end:.{_DIGITS}g}") for end in np.quantile(values, shares)]


class _Summary(Protocol):
    """What is known of a feature on the whole."""

    def see(self, values: pa.ChunkedArray) -> None: ...

    def draw(self, random: np.random.Generator, min_rows: int) -> str: ...


def _summary(name: str, kind: FeatureKind, dataset: DatasetParams) -> _Summary:
    if kind in TENSOR_KINDS:
        shape = tuple((dataset.shapes or {})[name])
        return PixelSummary(shape) if kind == "image" else TensorSummary(shape)
    if kind == "numeric":
        return _Numbers()
    if kind in DATE_KINDS:
        return _Numbers(text_of_seconds)
    if kind == "hashed_text":
        return _Words()
    listed = (dataset.categories or {}).get(name)
    return _Choices(("false", "true") if kind == "boolean" else tuple(listed or (_ANY_CATEGORY,)))


class Aggregates:
    """What a dataset's features are like on the whole: all that canaries are made from.

    No row's own value is kept: numbers as mean and standard deviation, and so pixels and tensors;
    other values by how many rows have them, and a value that fewer than `min_rows` rows have is
    never drawn.

    Parameters
    ----------
    dataset
        What schema.yaml pins; features are in its order.
    min_rows
        Fewer rows than this are a person.
    """

    def __init__(self, dataset: DatasetParams, min_rows: int) -> None:
        self._min_rows = min_rows
        self._targets = _Targets(min_rows)
        self._weights = _Numbers()
        self._found = {
            name: _summary(name, kind, dataset) for name, kind in dataset.features.items()
        }

    def see(self, columns: Mapping[str, pa.ChunkedArray]) -> None:
        """Take a batch into account: every feature's typed values, by name."""
        for name, found in self._found.items():
            found.see(columns[name])

    def see_targets(self, targets: pa.ChunkedArray) -> None:
        """Take the targets of a batch into account, which are numbers; some may be missing."""
        self._targets.see(targets)

    def see_weights(self, weights: pa.ChunkedArray) -> None:
        """Take the weights of a batch into account."""
        self._weights.see(weights)

    def weight(self) -> str:
        """Return the mean weight as text, rounded; 1 where few rows have one."""
        known = self._weights.count >= self._min_rows
        return f"{self._weights.mean if known else 1.0:.{_WEIGHT_DIGITS}g}"

    def draw_target(self, random: np.random.Generator, scale: TargetScale) -> str:
        """Return a number as text, distributed as the targets are.

        Parameters
        ----------
        random
            Draws.
        scale
            The pinned scale, which is all that is known of few rows.
        """
        return self._targets.draw(random, scale)

    def draw(self, random: np.random.Generator) -> list[str]:
        """Return one value a feature, as text and never missing, each independent of the others."""
        return [found.draw(random, self._min_rows) for found in self._found.values()]


def make_canary(key: Key, number: int, dataset: DatasetParams, about: Aggregates) -> list[str]:
    """Return a canary's values, in the order of `canary_columns`.

    Its class is drawn uniformly, or its target from the others' targets, independently of its
    features: a model that was not trained on the record cannot predict it. All draws follow from
    the key and the canary's number. Where rows have weights, it has the mean of theirs.
    """
    random = np.random.Generator(np.random.PCG64(key.seed("canary", number)))
    if dataset.task == "regression":
        target = about.draw_target(random, dataset.target_scale or TargetScale())
    else:
        target = dataset.classes[int(random.integers(len(dataset.classes)))]
    names = [canary_id(number)] * (1 if dataset.subject is None else 2)
    weights = [] if dataset.weight is None else [about.weight()]
    return [*names, *about.draw(random), target, *weights]


def new_numbers(first: int, count: int, is_free: Callable[[int], bool]) -> list[int]:
    """Return the `count` lowest numbers from `first` on that are free."""
    return list(itertools.islice(filter(is_free, itertools.count(first)), count))


def next_number(ids: Iterable[str | None]) -> int:
    """Return the first number above those of the canaries that there are."""
    return max((canary_number(raw) or 0 for raw in ids), default=0) + 1
