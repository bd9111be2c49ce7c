"""What the values of a column could be."""

import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st
from unlearn.stages.columns import column_facts

#: Numbers as files have them, and what is nearly one.
NUMBERS = st.one_of(
    st.integers().map(str),
    st.floats().map(str),
    st.from_regex(r"\A[-+]?[0-9]{0,4}[.,]?[0-9]{0,4}([eE][-+]?[0-9]{1,2})?\Z"),
    st.sampled_from(
        [" 1", "1 ", "\t1.5", "1_000", "inf", "nan", "0x1f", "1e999", "", "٣", ".", "a"]
    ),
)


@given(st.lists(NUMBERS, max_size=6), st.booleans())
@example(["1", "2.5"], True)
@example(["1", "0x1f"], True)
def test_many_numbers_at_once_are_what_each_of_them_is(values: list[str], is_csv: bool) -> None:
    found = column_facts.values_by_kind(pa.array(values, pa.string()), is_csv=is_csv)
    one_by_one: dict[str, list[str]] = {}
    for value in values:
        # Beside a word, no value is read with the others.
        kinds = column_facts.values_by_kind(pa.array([value, "word"]), is_csv=is_csv)
        kind = next(kind for kind, texts in kinds.items() if value in texts.to_pylist())
        one_by_one.setdefault(kind, []).append(value)

    assert {kind: texts.to_pylist() for kind, texts in found.items()} == one_by_one
