"""Many tokens at once: as 32 bytes each, in NumPy and Arrow, and their places and order.

Everything here gives what `tokens.py` gives for one token.
"""

import binascii
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from unlearn.stages.rows.tokens import PREFIX

#: Bytes of a token, and characters of its text.
_BYTES = 32
_CHARACTERS = len(PREFIX) + 2 * _BYTES

#: Tokens of one array of texts: Arrow counts their characters with 32 bits.
_PART = 1 << 24

#: The bytes of tokens, shape (rows, 32).
Digests = npt.NDArray[np.uint8]

Integers = npt.NDArray[np.int64]

#: The Arrow type of a column of digests.
DIGEST = pa.binary(_BYTES)


def integer_array(values: Integers) -> pa.Int64Array:
    """Return integers as an Arrow array: `pyarrow.array` would load pandas first."""
    data = pa.py_buffer(np.ascontiguousarray(values, np.int64))
    return pa.Int64Array.from_buffers(pa.int64(), len(values), [None, data])


def as_digests(joined: bytes) -> Digests:
    """Return the digests that stand in a row in `joined`."""
    return np.frombuffer(joined, np.uint8).reshape(-1, _BYTES)


def digest_array(digests: Digests) -> pa.FixedSizeBinaryArray:
    """Return digests as an Arrow array."""
    data = pa.py_buffer(np.ascontiguousarray(digests))
    return pa.FixedSizeBinaryArray.from_buffers(DIGEST, len(digests), [None, data])


def digests_of(column: pa.ChunkedArray) -> Digests:
    """Return the digests of a column of digests, or of tokens as text; none is missing."""
    if column.type == DIGEST:
        return as_digests(b"".join(map(_digest_bytes, column.chunks)))
    # All texts are of one length.
    text = np.frombuffer(joined_texts(column), np.uint8).reshape(-1, _CHARACTERS)
    return as_digests(bytes.fromhex(text[:, len(PREFIX) :].tobytes().decode()))


def digests_of_texts(tokens: Iterable[str]) -> Digests:
    """Return the digests of tokens."""
    return as_digests(bytes.fromhex("".join(token[len(PREFIX) :] for token in tokens)))


def _digest_bytes(array: pa.FixedSizeBinaryArray) -> memoryview:
    begin = array.offset * _BYTES
    return memoryview(array.buffers()[1])[begin : begin + len(array) * _BYTES]


def joined_texts(column: pa.ChunkedArray) -> bytes:
    """Return all texts of a column of strings, one after the other, as UTF-8; none is missing."""
    return b"".join(map(_text_bytes, column.chunks))


def _text_bytes(array: pa.StringArray) -> bytes | memoryview:
    _, ends, data = array.buffers()
    if len(array) == 0 or data is None:
        return b""
    bounds = np.frombuffer(ends, np.int32)[array.offset : array.offset + len(array) + 1]
    return memoryview(data)[int(bounds[0]) : int(bounds[-1])]


def token_texts(digests: Digests) -> pa.ChunkedArray:
    """Return the tokens with these digests as text."""
    parts = [digests[first : first + _PART] for first in range(0, len(digests), _PART)]
    return pa.chunked_array([_token_texts(part) for part in parts], pa.string())


def token_list(column: pa.ChunkedArray) -> list[str]:
    """Return the tokens of a column of digests as text."""
    digits = digests_of(column).tobytes().hex()
    return [PREFIX + digits[at : at + 2 * _BYTES] for at in range(0, len(digits), 2 * _BYTES)]


def token_text_bytes(digests: Digests) -> npt.NDArray[np.uint8]:
    """Return the characters of the tokens with these digests, shape (rows, 67)."""
    text = np.empty((len(digests), _CHARACTERS), np.uint8)
    text[:, : len(PREFIX)] = np.frombuffer(PREFIX.encode(), np.uint8)
    digits = np.frombuffer(binascii.hexlify(digests.tobytes()), np.uint8)
    text[:, len(PREFIX) :] = digits.reshape(len(digits) // (2 * _BYTES), 2 * _BYTES)
    return text


def _token_texts(digests: Digests) -> pa.StringArray:
    text = token_text_bytes(digests)
    ends = np.arange(len(digests) + 1, dtype=np.int32) * _CHARACTERS
    return pa.StringArray.from_buffers(len(digests), pa.py_buffer(ends), pa.py_buffer(text))


def _words(digests: Digests) -> npt.NDArray[np.uint64]:
    """Return each digest as four numbers that sort as its bytes do, shape (rows, 4)."""
    return np.ascontiguousarray(digests).view(">u8").astype(np.uint64)


def _first_words(digests: Digests) -> npt.NDArray[np.uint64]:
    """Return the first 8 bytes of each digest as a number, shape (rows,)."""
    return np.ascontiguousarray(digests).view(">u8")[:, 0].astype(np.uint64)


def shard_numbers(digests: Digests, shards: int, holdout: float) -> Integers:
    """Return the shard of each token, from 0, or `shards` for the holdout; see `tokens.place`."""
    words = _words(digests)
    numbers = (words[:, 0] % np.uint64(shards)).astype(np.int64)
    numbers[words[:, 2] < np.uint64(int(holdout * 2**64))] = shards
    return numbers


def slice_numbers(digests: Digests, slices: int) -> Integers:
    """Return the slice of each token, from 1; see `tokens.place`."""
    return (_words(digests)[:, 1] % np.uint64(slices)).astype(np.int64) + 1


def sort_order(*keys: Digests) -> Integers:
    """Return the order of rows by their digests, those of the first column first.

    It is the order of the tokens as text. Rows with equal digests keep their order.
    """
    first = _first_words(keys[0])
    # The order of different numbers is one, however they are sorted: not stable is faster.
    order = np.argsort(first)
    ordered = first[order]
    if not (ordered[:-1] < ordered[1:]).all():
        order = _order_of_all_bytes(*keys)
    return order.astype(np.int64, copy=False)


def _order_of_all_bytes(*keys: Digests) -> npt.NDArray[np.intp]:
    words = [_words(key) for key in keys]
    order = np.lexsort([column[:, 0] for column in reversed(words)])
    if not _is_increasing([column[order] for column in words]):
        # Equal ones, or ones that begin with the same 8 bytes.
        order = np.lexsort([column[:, at] for column in reversed(words) for at in (3, 2, 1, 0)])
    return order


def _is_increasing(words: list[npt.NDArray[np.uint64]]) -> bool:
    """Return whether each row is certainly before the next."""
    before = np.zeros(max(len(words[0]) - 1, 0), bool)
    equal = ~before
    for column in words:
        before |= equal & (column[:-1, 0] < column[1:, 0])
        equal &= (column[:-1] == column[1:]).all(axis=1)
    return bool(before.all())


def first_repeat(digests: Digests) -> tuple[int, int] | None:
    """Return the first two rows with the smallest digest that two rows have; None if none has."""
    first = np.sort(_first_words(digests))
    if (first[:-1] < first[1:]).all():
        return None
    order = sort_order(digests)
    ordered = digests[order]
    same = np.flatnonzero((ordered[1:] == ordered[:-1]).all(axis=1))
    return (int(order[same[0]]), int(order[same[0] + 1])) if same.size else None
