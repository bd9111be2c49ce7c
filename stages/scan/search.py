"""The search for many byte strings at once, in pieces of any length."""

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
from ahocorasick_rs import BytesAhoCorasick

#: How often each value was found in each form.
Found = Counter[tuple[str, str]]


class Search:
    """Searches for patterns; made once, then used for any number of files.

    Parameters
    ----------
    patterns
        What each pattern means: names of values and forms.
    """

    def __init__(self, patterns: Mapping[bytes, list[tuple[str, str]]]) -> None:
        self._meanings = list(patterns.values())
        self._longest = max(map(len, patterns), default=0)
        self._automaton = BytesAhoCorasick(list(patterns))

    def stream(self, chunks: Iterable[bytes]) -> Found:
        """Return what is in bytes that come in chunks; a match may span several chunks."""
        found: Found = Counter()
        rest = b""
        for chunk in chunks:
            text = rest + chunk
            for number, _, end in self._matches(text):
                if end > len(rest):  # others were counted with the chunk before
                    found.update(self._meanings[number])
            rest = text[-(self._longest - 1) :] if self._longest > 1 else b""
        return found

    def cells(self, data: bytes, bounds: npt.NDArray[np.int64]) -> Found:
        """Return what is in cells; a match is within one cell.

        Parameters
        ----------
        data
            All cells, one after the other.
        bounds
            Where each cell begins, and where the last one ends; shape (cells + 1,).
        """
        found: Found = Counter()
        for number, start, end in self._matches(data):
            cell = int(np.searchsorted(bounds, start, side="right"))
            if end <= bounds[cell]:
                found.update(self._meanings[number])
        return found

    def _matches(self, text: bytes) -> list[tuple[int, int, int]]:
        if not self._meanings:
            return []
        return self._automaton.find_matches_as_indexes(text, overlapping=True)
