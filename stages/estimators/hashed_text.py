"""Texts as columns of numbers, without a vocabulary that would be learned from rows.

Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", ICML 2009: a hash of each
word gives it a column and a sign, so that words that share a column cancel on average.
"""

import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_WORD = re.compile(r"\w+")


def words_of(text: str) -> list[str]:
    """Return the words of a text, in lower case.

    >>> words_of("Knee pain, 3rd visit")
    ['knee', 'pain', '3rd', 'visit']
    """
    return _WORD.findall(text.lower())


def column_of(word: str, columns: int) -> tuple[int, int]:
    """Return the column of a word, from 0, and its sign, 1 or -1."""
    number = _hash(word)
    return (number >> 1) % columns, 1 if number & 1 else -1


def hashed(values: pa.ChunkedArray, columns: int) -> npt.NDArray[np.float64]:
    """Return texts as numbers, shape (rows, columns).

    Each row is divided by its Euclidean norm, so that long texts are no farther out than short
    ones. A missing text, or one without words, is a row of zeros.
    """
    found = np.zeros((len(values), columns))
    for row, column, sign in _places(values, columns):
        found[row, column] += sign
    norms = np.sqrt(np.square(found).sum(axis=1, keepdims=True))
    np.divide(found, norms, out=found, where=norms > 0)
    return found


def present(values: pa.ChunkedArray, columns: int) -> npt.NDArray[np.bool_]:
    """Return whether a text has a word of each column, shape (rows, columns)."""
    found = np.zeros((len(values), columns), np.bool_)
    for row, column, _ in _places(values, columns):
        found[row, column] = True
    return found


def _places(values: pa.ChunkedArray, columns: int) -> Iterable[tuple[int, int, int]]:
    """Yield row, column and sign of each word."""
    for row, text in enumerate(values.to_pylist()):
        for word in () if text is None else words_of(text):
            yield row, *column_of(word, columns)


#: Most words of a text are common ones.
@lru_cache(maxsize=100_000)
def _hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
