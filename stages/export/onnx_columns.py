"""Features as ONNX nodes: from values as a dataset has them to what the members of a model read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from unlearn.stages.config.dataset import TENSOR_KINDS, DatasetParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.date_parts import MONTHS, WEEKDAYS
from unlearn.stages.estimators.row_sets.code_columns import BINS
from unlearn.stages.export.onnx_graph import DOUBLE, FLOAT, INT64, ML, STRING, UINT8, Graph

_TEXTS = ("categorical", "ordinal")
_SECONDS_OF_DAY = 86_400.0

#: Places of values that are not in a list of categories.
_UNKNOWN, _MISSING = -1, -2


@dataclass
class Columns:
    """The inputs of a graph, and what is computed of them for several members.

    Parameters
    ----------
    graph
        Where nodes are added.
    dataset
        The features, and the texts that mean a missing value.
    """

    graph: Graph
    dataset: DatasetParams
    _numbers: dict[str, str] = field(default_factory=dict)
    _dates: dict[str, tuple[str, str]] = field(default_factory=dict)

    def declare(self) -> None:
        """Declare an input for each feature, in order."""
        for name, kind in self.dataset.features.items():
            if kind == "image":
                self.graph.add_input(name, UINT8, tuple((self.dataset.shapes or {})[name]))
            elif kind in TENSOR_KINDS:
                self.graph.add_input(name, FLOAT, tuple((self.dataset.shapes or {})[name]))
            elif kind == "hashed_text":
                raise InputError(
                    f"feature {name!r} is text that is hashed, which no operation of ONNX does",
                    "the other formats read it: `unlearn export --mlflow` or `--hub`",
                )
            elif kind == "categorical" and self.dataset.keys_categories:
                raise InputError(
                    f"the categories of {name!r} are keyed digests, which no operation of ONNX "
                    "computes",
                    "the other formats read them: `unlearn export --mlflow` or `--hub`",
                )
            else:
                self.graph.add_input(name, STRING if kind in _TEXTS else DOUBLE, (1,))

    def number(self, name: str) -> str:
        """Return a number, a date or a boolean, shape (rows, 1), NaN where it is missing."""
        graph = self.graph
        if name not in self._numbers:
            value = name
            nan = graph.constant(np.nan, np.float64)
            for text in _as_numbers(self.dataset.missing):
                same = graph.op("Equal", value, graph.constant(text, np.float64))
                value = graph.op("Where", same, nan, value)
            self._numbers[name] = value
        return self._numbers[name]

    def place(self, name: str, categories: Sequence[str]) -> str:
        """Return where texts are in a list, shape (rows, 1), as int64; -1 unknown, -2 missing."""
        known = {text: at for at, text in enumerate(categories)}
        missing = {text: _MISSING for text in ("", *self.dataset.missing) if text not in known}
        keys = {**known, **missing}
        return self.graph.op(
            "LabelEncoder",
            name,
            domain=ML,
            keys_strings=list(keys),
            values_int64s=list(keys.values()),
            default_int64=_UNKNOWN,
        )

    def rank(self, name: str, categories: Sequence[str]) -> str:
        """Return places in a list as float64, shape (rows, 1), NaN where there is none."""
        place = self.place(name, categories)
        known = self.graph.op("GreaterOrEqual", place, self.graph.constant(0, np.int64))
        nan = self.graph.constant(np.nan, np.float64)
        return self.graph.op("Where", known, self.graph.cast(place, DOUBLE), nan)

    def one_hot(self, place: str, width: int) -> str:
        """Return columns of 0 and 1 in float64, shape (rows, width), for places."""
        every = self.graph.constant(np.arange(width)[None], np.int64)
        return self.graph.cast(self.graph.op("Equal", place, every), DOUBLE)

    def date(self, name: str) -> tuple[str, str]:
        """Return weekday and month of seconds, shapes (rows, 1), as int64; -1 if missing.

        The month is that of `civil_from_days` in Howard Hinnant, "chrono-Compatible Low-Level Date
        Algorithms", whose numbers are whole in float64.
        """
        if name in self._dates:
            return self._dates[name]
        graph, seconds = self.graph, self.number(name)
        missing = graph.op("IsNaN", seconds)

        def number(value: float) -> str:
            return graph.constant(float(value), np.float64)

        def quotient(value: str, divisor: float) -> str:
            return graph.op("Floor", graph.op("Div", value, number(divisor)))

        def less(value: str, part: str) -> str:
            return graph.op("Sub", value, part)

        def times(value: str, factor: float) -> str:
            return graph.op("Mul", value, number(factor))

        days = quotient(graph.op("Where", missing, number(0), seconds), _SECONDS_OF_DAY)
        after = graph.op("Add", days, number(3))
        weekday = less(after, times(quotient(after, WEEKDAYS), WEEKDAYS))
        shifted = graph.op("Add", days, number(719_468))
        of_era = less(shifted, times(quotient(shifted, 146_097), 146_097))
        parts = less(of_era, quotient(of_era, 1_460))
        parts = graph.op("Add", parts, quotient(of_era, 36_524))
        years = quotient(less(parts, quotient(of_era, 146_096)), 365)
        before = graph.op("Add", times(years, 365), quotient(years, 4))
        of_year = less(of_era, less(before, quotient(years, 100)))
        from_march = quotient(graph.op("Add", times(of_year, 5), number(2)), 153)
        # March is 0 there, and January is 0 here.
        early = graph.op("Less", from_march, number(10))
        month = graph.op("Add", from_march, graph.op("Where", early, number(2), number(-10)))
        none = number(-1)
        found = tuple(
            graph.cast(graph.op("Where", missing, none, value), INT64) for value in (weekday, month)
        )
        self._dates[name] = found[0], found[1]
        return self._dates[name]

    def inputs(self, columns: Mapping[str, Mapping[str, Any]]) -> str:
        """Return what `Preprocessor.transform` does, in float64, shape (rows, width).

        Parameters
        ----------
        columns
            By feature, in order, its kind and what was learned of it.
        """
        blocks: list[str] = []
        scaled: list[tuple[str, float | None, float, float]] = []
        places: list[int] = []
        others: list[tuple[str, list[int]]] = []
        at = 0
        for name, column in columns.items():
            numbers, categories, width = self._parts(name, column)
            if numbers is not None:
                fill = column.get("fill")
                scaled.append((numbers, fill, column.get("mean", 0.0), column.get("scale", 1.0)))
                places.append(at)
                at += 1
            for block, size in zip(categories, width, strict=True):
                others.append((block, list(range(at, at + size))))
                at += size
        if scaled:
            blocks.append(self._scaled(scaled))
        for block, own in others:
            blocks.append(block)
            places += own
        joined = blocks[0] if len(blocks) == 1 else self.graph.op("Concat", *blocks, axis=1)
        if places == sorted(places):
            return joined
        order = np.argsort(np.array(places))
        return self.graph.take(joined, self.graph.constant(order, np.int64), axis=1)

    def _parts(
        self, name: str, column: Mapping[str, Any]
    ) -> tuple[str | None, list[str], list[int]]:
        """Return the number of a feature, if it has one, and its other blocks with their widths."""
        kind = column["kind"]
        if kind in ("numeric", "datetime", "boolean", "number"):
            return self.number(name), [], []
        if kind in ("ordinal", "rank"):
            return self.rank(name, column["categories"]), [], []
        if kind == "calendar":
            parts = zip(self.date(name), (WEEKDAYS, MONTHS), strict=True)
            hot = [self.one_hot(part, size) for part, size in parts]
            return self.number(name), hot, [WEEKDAYS, MONTHS]
        if kind == "date_codes":
            return self.number(name), [self._code(part) for part in self.date(name)], [1, 1]
        if kind in ("categorical", "code"):
            known = len(column["categories"])
            place = self.place(name, column["categories"])
            if kind == "code":
                return self._category(place, known), [], []
            found = self._moved(place, _UNKNOWN, known)
            found = self._moved(found, _MISSING, known + 1)
            return None, [self.one_hot(found, known + 2)], [known + 2]
        raise InputError(
            f"feature {name!r} is encoded in a way that no operation of ONNX has: {kind}",
            "the other formats read it: `unlearn export --mlflow` or `--hub`",
        )

    def _moved(self, place: str, old: int, new: int) -> str:
        same = self.graph.op("Equal", place, self.graph.constant(old, np.int64))
        return self.graph.op("Where", same, self.graph.constant(new, np.int64), place)

    def _code(self, part: str) -> str:
        """Return a part of a date as float64, NaN where it is missing."""
        known = self.graph.op("GreaterOrEqual", part, self.graph.constant(0, np.int64))
        nan = self.graph.constant(np.nan, np.float64)
        return self.graph.op("Where", known, self.graph.cast(part, DOUBLE), nan)

    def _category(self, place: str, known: int) -> str:
        """Return a category's place as float64: unknown ones are one more, NaN is missing."""
        return self._code(self._moved(place, _UNKNOWN, known))

    def _scaled(self, columns: list[tuple[str, float | None, float, float]]) -> str:
        """Return numbers, filled and scaled, shape (rows, columns)."""
        graph = self.graph
        found = graph.op("Concat", *(number for number, _, _, _ in columns), axis=1)
        fills = [np.nan if fill is None else fill for _, fill, _, _ in columns]
        if not np.isnan(fills).all():
            missing = graph.op("IsNaN", found)
            found = graph.op("Where", missing, graph.constant([fills], np.float64), found)
        means, scales = [mean for _, _, mean, _ in columns], [scale for _, _, _, scale in columns]
        if any(means):
            found = graph.op("Sub", found, graph.constant([means], np.float64))
        if any(scale != 1 for scale in scales):
            found = graph.op("Div", found, graph.constant([scales], np.float64))
        return found

    def codes(self, columns: Mapping[str, Mapping[str, Any]]) -> str:
        """Return what `CodePreprocessor.transform` does, as int64, shape (rows, width)."""
        found: list[str] = []
        for name, column in columns.items():
            kind = column["kind"]
            if kind in ("hashed", "hashed_text"):
                raise InputError(
                    f"feature {name!r} is read by a hash with the project key, which no operation "
                    "of ONNX does",
                    "pin its categories in schema.yaml, and train again",
                )
            if kind == "calendar":
                found.append(self._bins(name, column))
                one = self.graph.constant(1, np.int64)
                found += [self.graph.op("Add", part, one) for part in self.date(name)]
            elif kind == "boolean":
                found.append(self._boolean(name, column["categories"]))
            elif kind in _TEXTS:
                found.append(self._listed(name, column, unknown=kind == "categorical"))
            else:
                found.append(self._bins(name, column))
        return found[0] if len(found) == 1 else self.graph.op("Concat", *found, axis=1)

    def _bins(self, name: str, column: Mapping[str, Any]) -> str:
        graph, value = self.graph, self.number(name)
        low, high = float(column["low"]), float(column["high"])
        missing = graph.op("IsNaN", value)
        found = graph.op("Sub", value, graph.constant(low, np.float64))
        found = graph.op("Div", found, graph.constant(high - low, np.float64))
        found = graph.op("Floor", graph.op("Mul", found, graph.constant(float(BINS), np.float64)))
        first, last = (graph.constant(end, np.float64) for end in (0.0, BINS - 1.0))
        found = graph.op("Add", graph.op("Clip", found, first, last), graph.constant(1.0))
        return graph.cast(graph.op("Where", missing, first, found), INT64)

    def _boolean(self, name: str, categories: Sequence[str]) -> str:
        graph, value = self.graph, self.number(name)
        codes = {text: at for at, text in enumerate(categories, start=1)}
        is_true = graph.op("Not", graph.op("Equal", value, graph.constant(0.0)))
        true, false = (graph.constant(codes[text], np.int64) for text in ("true", "false"))
        found = graph.op("Where", is_true, true, false)
        return graph.op("Where", graph.op("IsNaN", value), graph.constant(0, np.int64), found)

    def _listed(self, name: str, column: Mapping[str, Any], *, unknown: bool) -> str:
        """Return codes of texts: 0 is missing; unknown ones are one more, or missing."""
        known = len(column["categories"])
        place = self.place(name, column["categories"])
        if unknown:
            place = self._moved(place, _UNKNOWN, known)
        place = self._moved(place, _MISSING, -1)
        return self.graph.op("Add", place, self.graph.constant(1, np.int64))


def _as_numbers(texts: Sequence[str]) -> list[float]:
    """Return the texts for missing values that are numbers."""
    found = []
    for text in texts:
        try:
            value = float(text)
        except ValueError:
            continue
        if np.isfinite(value):
            found.append(value)
    return found
