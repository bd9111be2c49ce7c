"""Sets of rows: every row by a keyed digest of its ids and values, in the order of the digests."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from unlearn.stages.estimators.base import IntArray
from unlearn.stages.estimators.row_sets.draws import Words
from unlearn.stages.rows.tokens import Key

#: Bytes of a row's digest.
DIGEST_BYTES = 16

#: With so few rows that go, the others are compared piece by piece.
_FEW = 64

Bytes = npt.NDArray[np.uint8]
Codes = npt.NDArray[np.uint16]


class UnknownRowsError(ValueError):
    """A state was asked to forget rows that it was not made from."""


@dataclass(frozen=True)
class RowSet:
    """Rows in the order of their digests. Make it with `row_set`.

    Rows with one digest have the same ids and values, so their order makes no difference.

    Parameters
    ----------
    digests
        Keyed digests of ids and values, sorted, shape (rows, 16).
    codes
        Values on the pinned grid, shape (rows, features); see `grids`.
    targets
        Class indices, shape (rows,); or numbers on the pinned grid, as `TargetGrid` has them.
    """

    digests: Bytes
    codes: Codes
    targets: IntArray

    def __len__(self) -> int:
        return len(self.digests)

    @property
    def words(self) -> Words:
        """The first 8 bytes of each digest: what the row's own draws begin from, shape (rows,)."""
        return first_words(self.digests)

    def take(self, chosen: npt.NDArray[np.bool_]) -> "RowSet":
        """Return the rows that a mask chooses."""
        return RowSet(self.digests[chosen], self.codes[chosen], self.targets[chosen])

    def without(self, gone: "RowSet") -> "RowSet":
        """Return the set without some of its rows.

        Raises
        ------
        UnknownRowsError
            If one of them is not in the set.
        """
        kept = np.ones(len(self), bool)
        kept[find_rows(self.digests, gone.digests)] = False
        return self.take(kept)

    def plus(self, new: "RowSet") -> "RowSet":
        """Return the set with more rows."""
        return row_set(
            np.concatenate([self.digests, new.digests]),
            np.concatenate([self.codes, new.codes]),
            np.concatenate([self.targets, new.targets]),
        )


def row_set(digests: Bytes, codes: Codes, targets: IntArray) -> RowSet:
    """Return rows, given in any order, as a set; see `RowSet`."""
    order = sort_order(digests)
    return RowSet(digests[order], np.ascontiguousarray(codes[order]), targets[order])


def row_digests(key: Key, parts: Sequence[Bytes]) -> Bytes:
    """Return a keyed digest of each row, shape (rows, 16).

    Parameters
    ----------
    key
        The project key: without it, a guess of a row cannot be tested against its digest.
    parts
        The row's ids and values as bytes, each of shape (rows, width).
    """
    joined = np.ascontiguousarray(np.hstack(parts))
    width, data = joined.shape[1], joined.tobytes()
    # A copy has read the key, which is a block of its own.
    keyed = hashlib.blake2b(digest_size=DIGEST_BYTES, key=key.subkey("row-set rows")).copy
    found = []
    for at in range(0, len(data), width):
        digest = keyed()
        digest.update(data[at : at + width])
        found.append(digest.digest())
    return np.frombuffer(b"".join(found), np.uint8).reshape(-1, DIGEST_BYTES)


def set_digest(key: Key, digests: Bytes) -> str:
    """Return a keyed digest of a set of rows, given its sorted digests, in hex."""
    return key.digest("row-set rows", digests.tobytes()).hex()


def set_nonce(key: Key, digests: Bytes) -> Bytes:
    """Return a keyed digest of a set of rows, to be put into a model, shape (16,).

    Hashes of models are in git for good. Without something keyed in a model of sums, who knows all
    rows but one could try out values of that one until the hash fits.
    """
    found = bytes.fromhex(set_digest(key, digests))[:DIGEST_BYTES]
    return np.frombuffer(found, np.uint8)


def sort_order(digests: Bytes) -> npt.NDArray[np.intp]:
    """Return the order of rows by their digests."""
    words = _words(digests)
    order = np.argsort(words[:, 0])
    first = words[order, 0]
    if not (first[:-1] < first[1:]).all():
        order = np.lexsort([words[:, 1], words[:, 0]])
    return order


def find_rows(digests: Bytes, wanted: Bytes) -> npt.NDArray[np.intp]:
    """Return where rows are among sorted digests, shape (wanted rows,).

    A digest that is wanted twice is found at two places.

    Raises
    ------
    UnknownRowsError
        If one of them is not there, or not that often.
    """
    have, want = _pairs(digests), _pairs(wanted)
    places = np.searchsorted(first_words(digests), first_words(wanted))
    if not _are_at(have, want, places):
        places = _find_repeated(digests, wanted)
        if not _are_at(have, want, places):
            raise UnknownRowsError("rows to forget are not in the set that the state is of")
    return places


def difference(have: Bytes, wanted: Bytes) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Compare two sets of rows by their sorted digests.

    Returns
    -------
    gone, missing
        Which of `have` are not among `wanted`, and which of `wanted` are not among `have`. A digest
        that is there twice is compared twice.
    """
    gone, missing = np.ones(len(have), bool), np.ones(len(wanted), bool)
    first, second = first_words(have), first_words(wanted)
    if not ((first[:-1] < first[1:]).all() and (second[:-1] < second[1:]).all()):
        return _difference_of_repeated(have, wanted)
    if len(have) and len(wanted):
        places = np.minimum(np.searchsorted(second, first), len(second) - 1)
        is_same = (_pairs(wanted)[places] == _pairs(have)).all(axis=1)
        gone = ~is_same
        missing[places[is_same]] = False
    return gone, missing


def _difference_of_repeated(
    have: Bytes, wanted: Bytes
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    rest = Counter(map(bytes, wanted))
    gone, missing = np.zeros(len(have), bool), np.zeros(len(wanted), bool)
    for mask, digests in ((gone, have), (missing, wanted)):
        for at, digest in enumerate(map(bytes, digests)):
            # Of `wanted`, what is still there was not among `have`.
            is_there = rest[digest] > 0
            rest[digest] -= is_there
            mask[at] = is_there if mask is missing else not is_there
    return gone, missing


def check_split(digests: Bytes, gone: RowSet, left: RowSet) -> None:
    """Raise UnknownRowsError unless a set's rows are those that go and those that are left.

    Parameters
    ----------
    digests
        The sorted digests of the set.
    gone, left
        Its two parts.
    """
    places = np.sort(find_rows(digests, gone.digests))
    is_same = len(digests) - len(places) == len(left)
    if is_same and len(places) <= _FEW:
        # What is between the rows that go, without a copy of it.
        starts, ends = np.append(0, places + 1), np.append(places, len(digests))
        have, rest = _pairs(digests), _pairs(left.digests)
        is_same = all(
            np.array_equal(have[start:end], rest[start - number : end - number])
            for number, (start, end) in enumerate(zip(starts, ends, strict=True))
        )
    elif is_same:
        kept = np.ones(len(digests), bool)
        kept[places] = False
        is_same = np.array_equal(_pairs(digests)[kept], _pairs(left.digests))
    if not is_same:
        raise UnknownRowsError("the state is not of the rows that go and those that are left")


def check_union(digests: Bytes, new: RowSet, union: RowSet) -> None:
    """Raise UnknownRowsError unless `union` has the rows of a set and the new ones."""
    check_split(union.digests, new, RowSet(digests, new.codes[:0], new.targets[:0]))


def _are_at(have: Words, want: Words, places: npt.NDArray[np.intp]) -> bool:
    if places.size and int(places.max()) >= len(have):
        return False
    is_same = bool((have[places] == want).all())
    return is_same and len(np.unique(places)) == len(places)


def _find_repeated(digests: Bytes, wanted: Bytes) -> npt.NDArray[np.intp]:
    """Find rows where digests are repeated, or begin with the same 8 bytes."""
    have, want = (_as_texts(values) for values in (digests, wanted))
    order = np.argsort(want, kind="stable")
    ordered = want[order]
    number = np.arange(len(ordered)) - np.searchsorted(ordered, ordered)
    places = np.empty(len(want), np.intp)
    places[order] = np.searchsorted(have, ordered) + number
    return places


def first_words(digests: Bytes) -> Words:
    """Return the first 8 bytes of digests as numbers, which sort as the bytes do."""
    found: Words = np.ascontiguousarray(digests).view(">u8")[:, 0].astype(np.uint64)
    return found


def _pairs(digests: Bytes) -> Words:
    """Return digests as two numbers each, to compare them fast, shape (rows, 2)."""
    return np.ascontiguousarray(digests).view(np.uint64)


def _words(digests: Bytes) -> Words:
    """Return digests as two numbers each, which sort as their bytes do, shape (rows, 2)."""
    return np.ascontiguousarray(digests).view(">u8").astype(np.uint64)


def _as_texts(digests: Bytes) -> npt.NDArray[np.bytes_]:
    # NumPy ignores zero bytes at the end; among texts of one length, they sort first all the same.
    return np.ascontiguousarray(digests).view(f"S{DIGEST_BYTES}")[:, 0]
