"""Values of a model file, checked one by one."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from unlearn.stages.errors import InputError

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

#: While a file is read, its values take about ten times its size in memory, and at most 25 times.
MAX_BYTES = 256 << 20

INT32_MAX = 2**31 - 1
FLOAT32_MAX = float(np.finfo(np.float32).max)


def check_size(content: bytes, name: str) -> None:
    """Refuse a file that would take too much memory; `name` is what the error calls it."""
    if len(content) > MAX_BYTES:
        raise InputError(
            f"{name} has {len(content) >> 20:,} MiB, and at most {MAX_BYTES >> 20} are read",
            "use fewer or smaller trees, or more shards",
        )


class Reader:
    """Reads the values of one file.

    Parameters
    ----------
    library
        The library whose format it is, for errors.
    """

    def __init__(self, library: str) -> None:
        self.library = library

    def refuse(self, what: str) -> NoReturn:
        """Raise the error of a file that is not as it must be."""
        raise InputError(f"a model file is not in the {self.library} format: {what}")

    def check_size(self, content: bytes) -> None:
        """Refuse a file that is too large to be read."""
        check_size(content, "a model file")

    def json(self, content: bytes) -> Any:
        """Return the value of a JSON file, without NaN and infinities."""
        self.check_size(content)
        try:
            return json.loads(content.decode("utf-8"), parse_constant=self._no_constant)
        except (ValueError, RecursionError):
            self.refuse("it is not JSON")

    def _no_constant(self, name: str) -> NoReturn:
        self.refuse(f"it has the value {name}")

    def fields(self, value: Any, names: Iterable[str], where: str) -> dict[str, Any]:
        """Return an object that has exactly these fields."""
        wanted = frozenset(names)
        if not isinstance(value, dict):
            self.refuse(f"{where} is not an object")
        if value.keys() != wanted:
            odd = min(map(str, value.keys() ^ wanted))
            is_missing = odd in wanted
            self.refuse(f"{where} {'lacks' if is_missing else 'has the unknown field'} {odd[:40]}")
        return value

    def list(self, value: Any, where: str) -> list[Any]:
        """Return a list."""
        if not isinstance(value, list):
            self.refuse(f"{where} is not a list")
        return value

    def ints(self, values: Any, where: str) -> IntArray:
        """Return a list of whole numbers of 32 bits."""
        found = self._array(values, where)
        if found.dtype.kind != "i" or (found != found.astype(np.int32)).any():
            self.refuse(f"{where} has other values than whole numbers of 32 bits")
        return found.astype(np.int64)

    def floats(self, values: Any, where: str, *, most: float = FLOAT32_MAX) -> FloatArray:
        """Return a list of finite numbers, at most this large."""
        found = self._array(values, where)
        if found.dtype.kind not in "if":
            self.refuse(f"{where} has other values than numbers")
        numbers = found.astype(np.float64)
        if not (np.abs(numbers) <= most).all():
            self.refuse(f"{where} has numbers that are not finite")
        return numbers

    def _array(self, values: Any, where: str) -> npt.NDArray[Any]:
        if not isinstance(values, list):
            self.refuse(f"{where} is not a list")
        if not values:
            return np.zeros(0, dtype=np.int64)
        # An array would take true for 1, and a text beside numbers for a text.
        if not {*map(type, values)} <= {int, float}:
            self.refuse(f"{where} is not a list of numbers")
        try:
            return np.array(values)
        except OverflowError:
            self.refuse(f"{where} has a number that is too large")

    def whole(self, value: Any, where: str, *, least: int = 0, most: int = INT32_MAX) -> int:
        """Return a whole number in bounds."""
        if type(value) is not int or not least <= value <= most:
            self.refuse(f"{where} is not a whole number from {least} to {most}")
        return value

    def decimal(self, value: Any, where: str, *, least: int = 0, most: int = INT32_MAX) -> int:
        """Return a whole number in bounds that is written as text."""
        # Ten digits hold 2^31; `isdecimal` alone accepts the digits of other scripts.
        if not (isinstance(value, str) and value.isascii() and value.isdecimal()):
            self.refuse(f"{where} is not a whole number")
        return self.whole(int(value) if len(value) <= 10 else -1, where, least=least, most=most)  # noqa: PLR2004

    def choice(self, value: Any, among: Sequence[str] | Mapping[str, Any], where: str) -> str:
        """Return one of some texts."""
        if not isinstance(value, str) or value not in among:
            self.refuse(f"{where} is unknown")
        return value


def check_children(
    read: Reader,
    left: IntArray,
    right: IntArray,
    sizes: IntArray,
    *,
    spare: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.bool_]:
    """Check that nodes are trees whose roots are their first nodes; return which have children.

    Parameters
    ----------
    read
        For the error.
    left, right
        The children of each node by their place in its tree, shape (nodes,); -1 where it has none.
    sizes
        Nodes of each tree, at least 1, shape (trees,).
    spare
        Which nodes belong to no tree, shape (nodes,); none if not given.
    """
    inner = left >= 0
    if not np.array_equal(inner, right >= 0) or (np.minimum(left, right) < -1).any():
        read.refuse("a node of a tree has one child")
    starts = np.cumsum(sizes) - sizes
    at = np.flatnonzero(inner)
    shift, end = np.repeat(starts, sizes)[at], np.repeat(starts + sizes, sizes)[at]
    children = np.concatenate([left[at] + shift, right[at] + shift])
    # A child comes after its parent, so there is no way round to a node itself.
    if (children <= np.tile(at, 2)).any() or (children >= np.tile(end, 2)).any():
        read.refuse("a node of a tree has a child out of place")
    expected = np.ones(len(left), dtype=np.int64)
    expected[starts] = 0
    if spare is not None:
        if spare[at].any() or spare[starts].any():
            read.refuse("a tree uses a node that was taken away")
        expected[spare] = 0
    if not np.array_equal(np.bincount(children, minlength=len(left)), expected):
        read.refuse("a node of a tree has other than one parent")
    return inner
