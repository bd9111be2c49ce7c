"""Sets of rows by their digests."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.estimators.row_sets.draws import below, secret_words, words_of
from unlearn.stages.estimators.row_sets.row_set import (
    RowSet,
    UnknownRowsError,
    check_split,
    find_rows,
    row_digests,
    row_set,
    set_digest,
    sort_order,
)
from unlearn.stages.rows.tokens import Key

from tests.stages.estimators.row_sets.laws import KEY, draw_rows, mask_of

OTHER_KEY = Key(hashlib.sha256(b"another key").hexdigest())

#: Digests that often share their first half, or all of it.
DIGESTS = st.lists(
    st.tuples(st.sampled_from([b"\0" * 8, b"a" * 8, b"\xff" * 8]), st.integers(0, 3)), max_size=12
)


def as_bytes(drawn: list[tuple[bytes, int]]) -> np.ndarray:
    joined = b"".join(first + number.to_bytes(8, "little") for first, number in drawn)
    return np.frombuffer(joined, np.uint8).reshape(-1, 16)


def sorted_digests(digests: np.ndarray) -> np.ndarray:
    return digests[sort_order(digests)]


@given(drawn=DIGESTS)
def test_digests_sort_as_bytes(drawn: list[tuple[bytes, int]]) -> None:
    digests = as_bytes(drawn)
    found = [bytes(row) for row in sorted_digests(digests)]
    assert found == sorted(map(bytes, digests))


@given(drawn=DIGESTS, chosen=st.frozensets(st.integers(0, 11)))
def test_rows_are_found_however_alike_their_digests_are(
    drawn: list[tuple[bytes, int]], chosen: frozenset[int]
) -> None:
    digests = sorted_digests(as_bytes(drawn))
    places = sorted(at for at in chosen if at < len(digests))
    wanted = digests[places][::-1]
    found = find_rows(digests, wanted)
    assert len(set(found.tolist())) == len(places)
    assert [bytes(digests[at]) for at in found] == [bytes(row) for row in wanted]
    left = np.delete(digests, found, axis=0)
    empty = np.zeros((0, 1), np.uint16), np.zeros(0, np.int64)
    gone = RowSet(sorted_digests(wanted), *empty)
    check_split(digests, gone, RowSet(left, *empty))
    if len(digests):
        with pytest.raises(UnknownRowsError):
            find_rows(digests, np.concatenate([digests, digests[:1]]))
        with pytest.raises(UnknownRowsError):
            check_split(digests, gone, RowSet(np.concatenate([left, digests[:1]]), *empty))


def test_a_row_that_is_not_there_is_an_error() -> None:
    rows = draw_rows(20, 61)
    with pytest.raises(UnknownRowsError):
        find_rows(rows.digests, draw_rows(1, 62, first=50).digests)
    with pytest.raises(UnknownRowsError):
        find_rows(rows.digests, np.full((1, 16), 255, np.uint8))


@pytest.mark.parametrize("count", [3, 90])
def test_another_rest_is_an_error(count: int) -> None:
    """Few rows and many are compared in two ways."""
    rows = draw_rows(200, 63)
    gone = mask_of(range(count), rows)
    check_split(rows.digests, rows.take(gone), rows.take(~gone))
    wrong = rows.digests[~gone].copy()
    wrong[50, 7] ^= 1
    left = rows.take(~gone)
    with pytest.raises(UnknownRowsError):
        check_split(rows.digests, rows.take(gone), RowSet(wrong, left.codes, left.targets))


def test_sets_are_split_and_joined() -> None:
    rows = draw_rows(100, 64)
    gone = mask_of([5, 17, 99], rows)
    left = rows.without(rows.take(gone))
    assert np.array_equal(left.digests, rows.digests[~gone])
    again = left.plus(rows.take(gone))
    for name in ("digests", "codes", "targets"):
        assert np.array_equal(getattr(again, name), getattr(rows, name))


def test_digests_depend_on_the_key_the_ids_and_each_value() -> None:
    base = np.arange(32, dtype=np.uint8).reshape(2, 16)
    found = {bytes(row_digests(key, [base])[0]) for key in (KEY, OTHER_KEY)}
    for at in range(16):
        other = base.copy()
        other[0, at] ^= 1
        found.add(bytes(row_digests(KEY, [other])[0]))
    assert len(found) == 18
    assert np.array_equal(row_digests(KEY, [base[:, :4], base[:, 4:]]), row_digests(KEY, [base]))


def test_the_digest_of_a_set_depends_on_the_key_and_each_row() -> None:
    rows = draw_rows(30, 65)
    digests = {set_digest(KEY, rows.digests), set_digest(OTHER_KEY, rows.digests)}
    digests.add(set_digest(KEY, rows.digests[1:]))
    assert len(digests) == 3
    order = np.random.default_rng(0).permutation(30)
    again = row_set(rows.digests[order], rows.codes[order], rows.targets[order])
    assert set_digest(KEY, again.digests) in digests


def test_words_are_those_of_split_mix_64() -> None:
    """The first outputs of the authors' splitmix64.c for the state 1234567."""
    states = np.array([1234567], np.uint64)
    found = [int(words_of(states, number)[0]) for number in (1, 2, 3)]
    assert found == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_secret_words_depend_on_key_purpose_and_number() -> None:
    words = [*secret_words(KEY, 5, "a"), *secret_words(OTHER_KEY, 5, "a")]
    words += [*secret_words(KEY, 5, "a", 1), *secret_words(KEY, 5, "b")]
    assert len(set(map(int, words))) == 20
    assert np.array_equal(secret_words(KEY, 3, "a"), secret_words(KEY, 5, "a")[:3])


def test_numbers_below_a_bound_are_even() -> None:
    words = words_of(secret_words(KEY, 1, "even"), np.arange(1, 70_001, dtype=np.uint64))
    counts = np.bincount(below(words, 7).astype(np.int64))
    assert len(counts) == 7
    # Four standard deviations.
    assert np.abs(counts - 10_000).max() < 4 * np.sqrt(10_000 * 6 / 7)
