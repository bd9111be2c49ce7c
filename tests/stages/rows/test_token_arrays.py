"""Many tokens at once: what `tokens.py` gives for each of them."""

import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st
from unlearn.stages.project.paths import HOLDOUT
from unlearn.stages.rows.ids import IdRules
from unlearn.stages.rows.token_arrays import (
    as_digests,
    digest_array,
    digests_of,
    first_repeat,
    shard_numbers,
    slice_numbers,
    sort_order,
    token_texts,
)
from unlearn.stages.rows.tokens import PREFIX, Tokenizer, place

from tests.stages.conftest import KEY

#: Digests that often begin, or are, the same.
DIGESTS = st.one_of(
    st.binary(min_size=32, max_size=32),
    st.lists(
        st.sampled_from([b"\0" * 8, b"\x80" + b"\0" * 7, b"\xff" * 8]), min_size=4, max_size=4
    ).map(b"".join),
)
MANY = st.lists(DIGESTS, max_size=8)


def texts(digests: list[bytes]) -> list[str]:
    return [PREFIX + digest.hex() for digest in digests]


@given(MANY)
def test_digests_and_texts_are_the_same_tokens(digests: list[bytes]) -> None:
    array = as_digests(b"".join(digests))
    both = pa.chunked_array([digest_array(array), digest_array(array)])
    written = pa.chunked_array([texts(digests)], pa.string())

    assert token_texts(array).to_pylist() == texts(digests)
    assert digests_of(written).tobytes() == b"".join(digests)
    assert digests_of(both).tobytes() == b"".join(digests * 2)
    for first in range(len(digests)):
        assert digests_of(both[first : first + 3]).tobytes() == b"".join(
            (digests * 2)[first : first + 3]
        )
        assert digests_of(written[first:]).tobytes() == b"".join(digests[first:])


@given(MANY, st.integers(1, 1200), st.integers(1, 60), st.floats(0, 1, exclude_max=True))
@example([b"\xff" * 32], 1, 1, 1 - 2**-53)
@example([bytes(16) + b"\x80" + bytes(15)], 3, 1, 0.5)
@example([bytes(16) + b"\x7f" + b"\xff" * 15], 3, 1, 0.5)
def test_places_are_those_of_each_token(
    digests: list[bytes], shards: int, slices: int, holdout: float
) -> None:
    array = as_digests(b"".join(digests))
    names = [f"s{number:03d}" for number in range(shards)] + [HOLDOUT]
    expected = [place(token, shards, slices, holdout) for token in texts(digests)]

    found = shard_numbers(array, shards, holdout)

    assert [names[number] for number in found] == [where.shard for where in expected]
    assert list(slice_numbers(array, slices)) == [where.slice for where in expected]


@given(st.lists(st.tuples(DIGESTS, DIGESTS), max_size=12))
def test_rows_are_sorted_by_their_tokens_as_text(pairs: list[tuple[bytes, bytes]]) -> None:
    subjects, records = ([pair[at] for pair in pairs] for at in (0, 1))
    keys = [as_digests(b"".join(digests)) for digests in (subjects, records)]
    rows = range(len(pairs))

    by_both = list(zip(texts(subjects), texts(records), strict=True))
    assert list(sort_order(*keys)) == sorted(rows, key=by_both.__getitem__)
    assert list(sort_order(keys[1])) == sorted(rows, key=texts(records).__getitem__)


@given(MANY)
def test_the_first_repeat_is_of_the_smallest_token(digests: list[bytes]) -> None:
    twice = sorted(digest for digest in set(digests) if digests.count(digest) > 1)
    found = first_repeat(as_digests(b"".join(digests)))

    if not twice:
        assert found is None
    else:
        assert found == tuple([row for row, digest in enumerate(digests) if digest == twice[0]][:2])


@given(
    st.lists(st.one_of(st.text(st.characters(exclude_categories=["Cs"])), st.integers().map(str)))
)
def test_digests_of_many_ids_are_those_of_each(raws: list[str]) -> None:
    for rules in (
        IdRules(),
        IdRules("integer", "integer"),
        IdRules("text", "text", folded=True),
        IdRules("integer", "text", folded=True),
    ):
        tokenizer = Tokenizer(KEY, rules)
        digests = as_digests(tokenizer.joined_digests("record", raws))
        assert token_texts(digests).to_pylist() == [tokenizer.token("record", raw) for raw in raws]
        assert list(rules.canonicals("record", raws)) == [
            rules.canonical("record", raw) for raw in raws
        ]
