"""Which values of a column enough rows, or people, share: counted batch by batch."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from unittest import mock

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.columns import category_counts
from unlearn.stages.columns.category_counts import CategoryCounts, hash_people
from unlearn.stages.columns.distinct_values import DistinctValues

from tests.properties import tried_on

ENOUGH = 3

Batches = Sequence[Sequence[tuple[str | None, str]]]

#: Rows of a value, or none, and of a person, in batches of any size.
BATCHES = st.lists(
    st.lists(st.tuples(st.sampled_from("abcd") | st.none(), st.sampled_from("pqrst")), max_size=12),
    max_size=20,
)


def counted(batches: Batches, *, by_people: bool) -> CategoryCounts:
    counts = CategoryCounts(ENOUGH)
    for batch in batches:
        values = pa.chunked_array([pa.array([value for value, _ in batch], pa.string())])
        people = pa.chunked_array([pa.array([person for _, person in batch], pa.string())])
        distinct = DistinctValues.of(values, pa.array([], pa.string()))
        counts.see(distinct, hash_people(people) if by_people else None)
    return counts


@tried_on(few=20, many=100)
@given(batches=BATCHES)
def test_a_value_is_shared_by_as_many_rows_as_have_it(
    batches: Batches,
) -> None:
    rows = Counter(value for batch in batches for value, _ in batch if value is not None)
    expected = sorted(value for value, count in rows.items() if count >= ENOUGH)

    counts = counted(batches, by_people=False)

    assert counts.shared(10) == expected
    assert counts.count_shared == len(expected)
    assert counts.different == len(rows)


@tried_on(few=20, many=100)
@given(batches=BATCHES)
def test_where_rows_name_people_they_are_counted_once(
    batches: Batches,
) -> None:
    people = defaultdict(set)
    for value, person in (row for batch in batches for row in batch):
        people[value].add(person)
    expected = sorted(
        value for value, found in people.items() if value is not None and len(found) >= ENOUGH
    )

    assert counted(batches, by_people=True).shared(10) == expected


def test_spellings_of_one_id_are_one_person() -> None:
    batches = [[("a", spelling)] for spelling in ("7", "7.0", " 7", "p", "P")]

    assert counted(batches, by_people=True).shared(10) == []
    assert counted([*batches, [("a", "q")]], by_people=True).shared(10) == ["a"]


def test_of_too_many_shared_values_the_most_common_stay() -> None:
    rows = [(value, "p") for value in "a" * 3 + "b" * 5 + "c" * 4 + "d" * 4]

    assert counted([rows], by_people=False).shared(2) == ["b", "c"]


def test_memory_is_bounded_and_later_values_are_rare() -> None:
    with mock.patch.object(category_counts, "MAX_COUNTED", 2):
        batches: Batches = [
            [("a", "p"), ("b", "p")],
            [("c", "p")] * 5 + [("a", "p")] * 2,
        ]
        counts = counted(batches, by_people=False)

        assert counts.is_cut
    assert counts.different == 2
    assert counts.shared(10) == ["a"]
