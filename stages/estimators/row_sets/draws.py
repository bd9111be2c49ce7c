"""Random numbers that follow from the project key and a place in a model, many at once.

HMAC-SHA256 under a subkey gives a secret word for each tree or feature. From it on, SplitMix64
(Steele et al., "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014) gives as many words
as are needed. All of it is arithmetic modulo 2**64, so no processor and no library rounds it.
"""

import json

import numpy as np
import numpy.typing as npt
from unlearn.stages.rows.tokens import Key

Words = npt.NDArray[np.uint64]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_HALF = np.uint64(32)


def secret_words(key: Key, count: int, *parts: str | int) -> Words:
    """Return words that nobody can compute without the key, shape (count,).

    Parameters
    ----------
    key
        The project key.
    count
        How many words.
    parts
        What they are for: words for other parts are independent of these.
    """
    digests = [
        key.digest("row-set draws", json.dumps([*parts, number]).encode())[:8]
        for number in range(count)
    ]
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)


def words_of(states: Words, number: int | Words) -> Words:
    """Return a word of each SplitMix64 generator.

    Parameters
    ----------
    states
        The generators' states.
    number
        Which of their words, from 1; the shapes are broadcast.
    """
    found = states + _STEP * np.asarray(number, np.uint64)
    found ^= found >> np.uint64(30)
    found *= _FIRST
    found ^= found >> np.uint64(27)
    found *= _SECOND
    found ^= found >> np.uint64(31)
    return found


def below(words: Words, bounds: int | Words) -> Words:
    """Return numbers from 0 to below `bounds`, by the upper halves of words.

    A bound is at most 2**32. No number is more likely than another by more than 2**-32.
    """
    return ((words >> _HALF) * np.asarray(bounds, np.uint64)) >> _HALF
