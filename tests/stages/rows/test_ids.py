"""Which ids are one: whole numbers however written, and ids that differ only in their folding."""

import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.rows.ids import AS_WRITTEN, IdRules, fold, is_cut, lost_digits, whole_number
from unlearn.stages.rows.roles import fold_column
from unlearn.stages.rows.tokens import Tokenizer

from tests.stages.conftest import KEY

INTEGERS = IdRules("integer", "integer")

#: Text with much to fold: spaces, cases, compatibility forms, numbers.
texts = st.one_of(
    st.text(st.sampled_from("aAßſİıΣς ﬁ１1.0-\u00a0\x1c\u0301éE+7"), max_size=6),
    st.text(max_size=6),
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(str),
)


@given(st.integers())
def test_a_whole_number_is_its_digits(number: int) -> None:
    assert whole_number(str(number)) == str(number)
    assert INTEGERS.canonical("record", str(number)) == str(number)


@given(st.integers(-(2**53) + 1, 2**53 - 1), st.integers(1, 4))
def test_a_whole_number_written_as_a_float_is_the_same_number(number: int, zeros: int) -> None:
    assert whole_number(f"{number}.{'0' * zeros}") == str(number)
    # As Python and pandas write it, and Java from ten million on.
    assert whole_number(repr(float(number))) == str(number)
    if number:
        assert whole_number(f"{number:.16E}".replace("E+0", "E").replace("E+", "E")) == str(number)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1.0034567E7", "10034567"), ("1.0E7", "10000000"), ("9.007199254740991E15", str(2**53 - 1))],
)
def test_java_writes_large_floats_with_an_exponent(text: str, expected: str) -> None:
    assert whole_number(text) == expected


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("1.00100E+11", True),
        ("1.001e+11", True),
        ("1E+11", True),
        ("-1.5E+05", True),
        ("1.00100123456E+11", False),
        ("1.001E11", False),
        ("1.001E-11", False),
        ("abc+12", False),
    ],
)
def test_spreadsheets_write_the_first_digits_only(text: str, *, cut: bool) -> None:
    assert is_cut(text) == cut
    assert not (cut and whole_number(text))


OTHER = ["007", "-01", "1003.5", " 1003", "1003 ", "", ".", "1.", ".0", "1e3", "12e5", "1_000"]
OTHER += ["1,003", "１００３", "NaN", "inf", "0x10", "1.5E0", "1003\n", "--1", "+7", f"{2**53}.0"]


@pytest.mark.parametrize("text", OTHER)
def test_what_is_no_whole_number(text: str) -> None:
    assert whole_number(text) is None
    assert INTEGERS.canonical("record", text) == text
    assert not INTEGERS.accepts("record", text)


def test_a_zero_has_no_sign() -> None:
    assert {whole_number(text) for text in ("0", "-0", "0.0", "-0.0")} == {"0"}


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        (f"{2**53}.0", True),
        (f"-{2**53}.0", True),
        (f"{2**53 - 1}.0", False),
        (str(2**60), False),
        ("9.1E15", True),
        ("9.0E15", False),
        ("word", False),
        ("9" * 5000 + ".0", True),
    ],
)
def test_floats_that_lost_digits_are_recognised(text: str, *, lost: bool) -> None:
    assert lost_digits(text) == lost


SPELLINGS = ["Jane.Roe@example.org", " jane.roe@EXAMPLE.org\t", "JANE.ROE@example.org\u00a0"]
SPELLINGS += ["ｊａｎｅ.roe@example.org", "\njane.roe@example.org"]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_spellings_of_one_address_fold_to_one_text(spelling: str) -> None:
    assert fold(spelling) == "jane.roe@example.org"


@given(texts)
def test_ids_that_the_plain_definition_calls_one_are_one(text: str) -> None:
    def plain(raw: str) -> str:
        return unicodedata.normalize("NFKC", raw).strip().casefold()

    for other in (text.upper(), f" {text}", f"{text}\t", unicodedata.normalize("NFD", text)):
        if plain(other) == plain(text):
            assert fold(other) == fold(text)


@given(texts)
def test_folding_twice_is_folding_once(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.lists(st.one_of(st.none(), texts.filter(lambda text: not text.count("\ud800")))))
def test_a_column_folds_as_its_values_do(values: list[str | None]) -> None:
    column = pa.chunked_array([pa.array(values, pa.string())])

    expected = [None if value is None else fold(value) for value in values]
    assert fold_column(column).to_pylist() == expected


@given(texts, texts)
def test_tokens_are_one_where_the_rules_say_so(one: str, other: str) -> None:
    written, folded = Tokenizer(KEY), Tokenizer(KEY, IdRules(folded=True))
    same = unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)

    assert (written.token("record", one) == written.token("record", other)) == same
    assert (folded.token("subject", one) == folded.token("subject", other)) == (
        fold(one) == fold(other)
    )


def test_each_kind_of_id_has_its_own_type() -> None:
    rules = IdRules("text", "integer")

    assert rules.canonical("record", "7.0") == "7.0"
    assert rules.canonical("subject", "7.0") == "7"
    assert AS_WRITTEN.canonical("subject", "7.0") == "7.0"
