"""The different texts of a column in one batch."""

from collections import Counter

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.columns.distinct_values import DistinctValues

MISSING = ("", "NA")


@given(
    st.lists(st.lists(st.sampled_from(["a", "b", " b", "", "NA", " NA "]) | st.none()), max_size=3)
)
def test_every_row_has_its_text_and_missing_values_have_none(
    chunks: list[list[str | None]],
) -> None:
    column = pa.chunked_array([pa.array(chunk, pa.string()) for chunk in chunks], pa.string())
    rows = [
        None if text is None or text.strip() in MISSING else text
        for chunk in chunks
        for text in chunk
    ]
    different = list(dict.fromkeys(text for text in rows if text is not None))

    found = DistinctValues.of(column, pa.array(MISSING))

    assert found.texts.to_pylist() == different
    assert [None if place < 0 else different[place] for place in found.places] == rows
    assert dict(zip(different, found.counts, strict=True)) == Counter(filter(None, rows))
    for many in range(len(different) + 1):
        some = different[:many]
        assert found.count(pa.array(some, pa.string())) == sum(row in some for row in rows)
    assert [found.first_row(place) for place in range(len(different))] == [
        rows.index(text) for text in different
    ]
