"""Words become columns by their hashes alone, whatever other rows have."""

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.estimators.hashed_text import column_of, hashed, present, words_of

TEXTS = st.lists(st.none() | st.text(max_size=40), min_size=1, max_size=8)


def column(texts: list[str | None]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(texts, pa.string())])


def test_a_word_has_the_column_and_the_sign_of_its_digest() -> None:
    number = int.from_bytes(hashlib.blake2b(b"knee", digest_size=8).digest(), "little")

    assert column_of("knee", 16) == ((number >> 1) % 16, 1 if number % 2 else -1)


def test_texts_by_hand() -> None:
    (knee, sign_of_knee), (pain, sign_of_pain) = column_of("knee", 97), column_of("pain", 97)
    assert knee != pain
    expected = np.zeros((4, 97))
    expected[0, knee], expected[0, pain] = 2 * sign_of_knee / 5**0.5, sign_of_pain / 5**0.5
    expected[3, pain] = sign_of_pain

    texts = column(["Knee pain, knee", None, " - ", "PAIN"])

    assert np.allclose(hashed(texts, 97), expected, rtol=1e-15)
    assert np.array_equal(present(texts, 97), expected != 0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Straße 12b", ["straße", "12b"]),
        ("a_b-c", ["a_b", "c"]),
        ("\n\t", []),
        ("ÄRZ", ["ärz"]),
    ],
)
def test_words_are_letters_digits_and_underscores(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@given(TEXTS, st.integers(1, 40))
def test_a_row_is_the_same_whatever_other_rows_there_are(
    texts: list[str | None], columns: int
) -> None:
    found = hashed(column(texts), columns)

    assert found.shape == (len(texts), columns)
    assert np.isin(np.round(np.square(found).sum(axis=1), 9), [0.0, 1.0]).all()
    for row, text in enumerate(texts):
        assert np.array_equal(hashed(column([text]), columns)[0], found[row])
