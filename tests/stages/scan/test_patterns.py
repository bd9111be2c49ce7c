"""The forms of a value, and the search for many of them."""

import base64
import json
import os
from itertools import pairwise
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.errors import InputError
from unlearn.stages.scan.patterns import LEAST_BYTES, Patterns, Wanted, forms, wanted_values
from unlearn.stages.scan.search import Search

#: Bytes that are unlikely by chance.
VALUES = st.binary(min_size=LEAST_BYTES + 2, max_size=40)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=8, max_size=30)


def found_in(text: bytes, value: bytes) -> set[str]:
    patterns = Patterns((Wanted("it", value),))
    return {form for _, form in Search(patterns.in_bytes).stream([text])}


@given(VALUES, st.binary(max_size=7), st.binary(max_size=7))
def test_a_value_is_found_in_base64_and_hexadecimal_whatever_is_around_it(
    value: bytes, before: bytes, after: bytes
) -> None:
    whole = before + value + after
    assert "Base64" in found_in(base64.b64encode(whole), value)
    assert "Base64" in found_in(base64.urlsafe_b64encode(whole), value)
    assert found_in(b"x" + whole.hex().encode(), value) & {"hexadecimal", "as it is"}
    assert found_in(whole.hex().upper().encode(), value) & {"hexadecimal", "as it is"}


@given(TEXTS, TEXTS)
def test_a_text_is_found_in_the_encodings_of_texts(text: str, around: str) -> None:
    whole, value = f"{around}{text}{around}", text.encode()
    assert found_in(whole.encode(), value)
    assert found_in(whole.encode("utf-16"), value)
    assert found_in(json.dumps({"a": whole}).encode(), value)
    assert found_in(json.dumps({"a": whole}, ensure_ascii=False).encode(), value)
    assert found_in(quote(whole, safe="").encode(), value)


@pytest.mark.parametrize(
    ("content", "form"),
    [
        ("Müller-Zoë".encode("latin-1"), "latin-1"),
        ("Mu\u0308ller-Zoe\u0308".encode(), "as it is"),
        ("Müller-Zoë".encode("utf-16-be"), "UTF-16"),
    ],
)
def test_other_encodings_of_a_name(content: bytes, form: str) -> None:
    assert found_in(b"\x00" + content + b"\x00", "Müller-Zoë".encode()) == {form}


@given(st.lists(st.integers(0, 200), min_size=1, max_size=4), st.data())
def test_a_match_is_counted_once_wherever_the_chunks_end(
    cuts: list[int], data: st.DataObject
) -> None:
    values = [b"needle-one", b"one-needle-two", b"two-needle"]
    text = b"".join(data.draw(st.sampled_from([*values, b"--", b"needle"])) for _ in range(12))
    search = Search(Patterns(tuple(Wanted(value.decode(), value) for value in values)).in_bytes)
    bounds = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    chunks = [text[first:last] for first, last in pairwise(bounds)]

    expected = {
        value.decode(): sum(text.startswith(value, at) for at in range(len(text)))
        for value in values
    }
    found = search.stream(chunks)
    assert {name: found[name, "as it is"] for name in expected} == expected
    # One byte at a time.
    assert search.stream(text[at : at + 1] for at in range(len(text))) == found


def test_bytes_without_the_value_hold_none_of_its_forms() -> None:
    value = b"jane.roe@example.org"
    search = Search(Patterns((Wanted("it", value),)).in_bytes)
    assert not search.stream([os.urandom(1 << 20), value[:-1], b"x", value[1:]])
    assert not Search({}).stream([value])


def test_forms_are_different_and_none_is_short() -> None:
    found = [pattern for pattern, _ in forms(b"r00042")]
    assert len(found) == len(set(found))
    assert min(map(len, found)) >= LEAST_BYTES


def test_the_digest_of_a_token_is_searched_as_text_in_cells_alone() -> None:
    digest = bytes(range(32))
    patterns = Patterns((Wanted("a token", digest, is_token=True),))
    text = b"u1_" + digest.hex().encode()

    assert not Search(patterns.in_bytes).stream([text])
    assert Search(patterns.in_bytes).stream([digest])
    assert Search(patterns.in_cells).stream([text])
    assert patterns.numbers == {}


def test_the_values_of_a_file() -> None:
    found = wanted_values([b"jane.roe", b"", b"  ", b"1234567"], "values.txt")
    assert [(item.name, item.value) for item in found] == [
        ("the value of line 1", b"jane.roe"),
        ("the value of line 4", b"1234567"),
    ]
    assert Patterns(found).numbers == {1234567.0: "the value of line 4"}
    with pytest.raises(InputError, match=r"values.txt, line 2: a value of fewer than 6 bytes"):
        wanted_values([b"jane.roe", b"jane"], "values.txt")
    with pytest.raises(InputError, match=r"values.txt holds no values"):
        wanted_values([b""], "values.txt")
