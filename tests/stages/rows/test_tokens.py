"""Tokens: one keyed digest decides a record's name, shard, slice and holdout."""

import hashlib
import hmac
import pickle
import re
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import HOLDOUT, Project
from unlearn.stages.rows.epochs import is_token_line
from unlearn.stages.rows.ids import IdRules
from unlearn.stages.rows.tokens import (
    DEMO_KEY,
    KEY_VARIABLE,
    Key,
    Tokenizer,
    check_raw_id,
    home_shard,
    load_key,
    place,
)

from tests.stages.conftest import KEY, OTHER_KEY

raw_ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
tokens = st.binary(min_size=32, max_size=32).map(lambda digest: f"u1_{digest.hex()}")


def test_a_token_is_the_hmac_that_the_design_names() -> None:
    subkey = hmac.digest(bytes.fromhex(KEY.text), b"unlearn/1/token", "sha256")
    expected = hmac.new(subkey, b"record\x00caf\xc3\xa9", hashlib.sha256).hexdigest()

    assert Tokenizer(KEY).token("record", "café") == f"u1_{expected}"


@given(raw_ids)
def test_a_token_follows_from_key_kind_and_id_alone(raw: str) -> None:
    token = Tokenizer(KEY).token("record", raw)

    assert is_token_line(token)
    assert token == Tokenizer(Key(KEY.text)).token("record", raw)
    assert token != Tokenizer(OTHER_KEY).token("record", raw)
    assert token != Tokenizer(KEY).token("subject", raw)


def test_a_tokenizer_of_another_process_gives_the_same_tokens() -> None:
    tokenizer = Tokenizer(KEY, IdRules(folded=True))
    other = pickle.loads(pickle.dumps(tokenizer))  # noqa: S301 (our own bytes)

    assert other.token("subject", "Jane") == tokenizer.token("subject", "jane")


@given(raw_ids)
def test_composed_and_decomposed_text_are_one_id(raw: str) -> None:
    decomposed = unicodedata.normalize("NFD", raw)

    assert Tokenizer(KEY).token("record", raw) == Tokenizer(KEY).token("record", decomposed)


@given(raw_ids, raw_ids)
def test_texts_that_differ_beyond_composition_are_two_ids(one: str, other: str) -> None:
    assume(unicodedata.normalize("NFC", one) != unicodedata.normalize("NFC", other))

    assert Tokenizer(KEY).token("record", one) != Tokenizer(KEY).token("record", other)


@pytest.mark.parametrize("other", [" 7", "7 ", "07", "7.0", "７"])
def test_an_id_is_neither_trimmed_nor_read_as_a_number(other: str) -> None:
    assert Tokenizer(KEY).token("record", "7") != Tokenizer(KEY).token("record", other)


@given(tokens, st.integers(1, 1200), st.integers(1, 60), st.floats(0, 0.99))
def test_a_place_is_one_that_exists(token: str, shards: int, slices: int, holdout: float) -> None:
    where = place(token, shards, slices, holdout)

    assert 1 <= where.slice <= slices
    assert where.is_holdout == (where.shard == HOLDOUT)
    assert where.is_holdout or where.shard in {f"s{index:03d}" for index in range(shards)}


@given(tokens, st.integers(1, 50), st.integers(1, 9), st.floats(0, 0.99))
def test_the_holdout_takes_a_row_and_moves_none(
    token: str, shards: int, slices: int, holdout: float
) -> None:
    where, without = place(token, shards, slices, holdout), place(token, shards, slices, 0.0)

    assert not without.is_holdout
    assert without.shard == home_shard(token, shards)
    assert where.slice == without.slice
    assert where.is_holdout or where == without


@given(tokens, st.floats(0, 0.99), st.floats(0, 0.99))
def test_a_larger_share_holds_out_what_a_smaller_one_does(
    token: str, one: float, other: float
) -> None:
    small, large = sorted([one, other])

    assert place(token, 4, 2, large).is_holdout >= place(token, 4, 2, small).is_holdout


def test_bytes_of_the_digest_decide_as_the_design_says() -> None:
    def token(shard: int, slice_: int, held_out: int) -> str:
        numbers = (shard, slice_, held_out, 0)
        return "u1_" + b"".join(number.to_bytes(8, "big") for number in numbers).hex()

    where = place(token(13, 8, 2**63), shards=5, slices=3, holdout=0.5)
    assert (where.shard, where.slice) == ("s003", 3)
    assert place(token(13, 8, 2**63 - 1), shards=5, slices=3, holdout=0.5).is_holdout
    assert place(token(2**64 - 1, 0, 2**64 - 1), shards=1000, slices=1, holdout=0.5).shard == "s615"


def test_places_are_spread_evenly() -> None:
    tokenizer = Tokenizer(KEY)
    count, shards, slices, holdout = 20_000, 10, 5, 0.2
    found = [
        place(tokenizer.token("record", str(number)), shards, slices, holdout)
        for number in range(count)
    ]

    by_shard = Counter(where.shard for where in found)
    by_slice = Counter(where.slice for where in found)
    both = Counter((where.shard, where.slice) for where in found if not where.is_holdout)
    # Five standard deviations of a binomial count: the key is fixed, so this never changes.
    assert abs(by_shard.pop(HOLDOUT) - count * holdout) < 5 * (count * 0.2 * 0.8) ** 0.5
    for counts, share in ((by_shard, 0.08), (by_slice, 0.2), (both, 0.016)):
        spread = 5 * (count * share * (1 - share)) ** 0.5
        assert all(abs(number - count * share) < spread for number in counts.values())
    assert len(by_shard) == shards
    assert len(both) == shards * slices


@given(st.lists(raw_ids, unique=True, max_size=20), raw_ids)
def test_no_place_depends_on_another_record(others: list[str], raw: str) -> None:
    tokenizer = Tokenizer(KEY)
    before = place(tokenizer.token("record", raw), 7, 3, 0.2)

    for other in others:
        place(tokenizer.token("record", other), 7, 3, 0.2)

    assert place(tokenizer.token("record", raw), 7, 3, 0.2) == before


@given(st.text(max_size=80))
def test_only_a_whole_token_is_one(text: str) -> None:
    assert not is_token_line(text) or re.fullmatch(r"u[1-9]\d{0,2}_[0-9a-f]{64}(\.u.*)?", text)


@pytest.mark.parametrize(
    "text",
    [
        "u1_" + "a" * 63,
        "u1_" + "a" * 65,
        "u1_" + "A" * 64,
        "u1_" + "g" * 64,
        "u0_" + "a" * 64,
        "u1_" + "a" * 64 + "\n",
        " u1_" + "a" * 64,
    ],
)
def test_what_only_looks_like_a_token_is_none(text: str) -> None:
    assert not is_token_line(text)


@pytest.mark.parametrize("raw", ["u1_", "u1_abc", "u1_" + "a" * 64])
def test_a_raw_id_may_not_begin_like_a_token(raw: str) -> None:
    with pytest.raises(InputError, match="kept for tokens") as caught:
        check_raw_id(raw, "ids.txt, line 3")

    assert "ids.txt, line 3" in caught.value.message
    assert caught.value.exit_code == 2


def test_an_empty_id_is_missing() -> None:
    with pytest.raises(InputError, match="line 3: an id is missing"):
        check_raw_id("", "ids.txt, line 3")


@pytest.mark.parametrize("raw", ["U1_a", "u1", "xu1_", "u 1_"])
def test_other_ids_are_fine(raw: str) -> None:
    check_raw_id(raw, "here")


@pytest.mark.parametrize("text", ["", "0f" * 31, "0F" * 32, "0f" * 32 + "\n", "zz" * 32])
def test_a_key_is_64_hexadecimal_digits(text: str) -> None:
    with pytest.raises(InputError, match="64 lower-case hexadecimal digits"):
        Key(text)


def test_a_key_does_not_show_itself() -> None:
    assert KEY.text not in repr(KEY)
    assert KEY.text not in str(KEY)
    assert KEY.check not in KEY.text


def test_what_a_key_is_used_for_tells_nothing_of_another_use() -> None:
    purposes = ("token", "rows", "nonce", "seed", "check")

    assert len({KEY.subkey(purpose) for purpose in purposes}) == len(purposes)
    assert KEY.check == KEY.digest("check", b"").hex()[:16]
    assert KEY.check != OTHER_KEY.check


@given(st.lists(st.one_of(st.text(max_size=5), st.integers()), max_size=4))
def test_a_seed_follows_from_key_and_parts(parts: list[str | int]) -> None:
    seed = KEY.seed(*parts)

    assert 0 <= seed < 2**63
    assert seed == KEY.seed(*parts)
    assert seed != OTHER_KEY.seed(*parts)


def test_seeds_of_neighbouring_parts_differ() -> None:
    parts = [(0, "s000", 1, 0), (0, "s000", 1, 1), (0, "s000", 11, 0), (1, "s000", 1, 0)]
    parts += [(0, "s001", 1, 0)]

    assert len({KEY.seed(*each) for each in parts}) == len(parts)
    assert KEY.seed("1", "2") != KEY.seed("12")
    assert KEY.seed("1") != KEY.seed(1)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    return Project(tmp_path)


def test_the_key_is_read_from_its_file(project: Project) -> None:
    project.key.write_text(f"{KEY.text}\n", encoding="ascii")

    assert load_key(project, KEY.check) == KEY


def test_the_variable_comes_before_the_file(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.key.write_text(f"{OTHER_KEY.text}\n", encoding="ascii")
    monkeypatch.setenv(KEY_VARIABLE, f"  {KEY.text}\n")

    assert load_key(project, KEY.check) == KEY


def test_an_empty_variable_is_as_good_as_none(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.key.write_text(f"{KEY.text}\n", encoding="ascii")
    monkeypatch.setenv(KEY_VARIABLE, "")

    assert load_key(project, KEY.check) == KEY


def test_without_a_key_nothing_goes_on(project: Project) -> None:
    with pytest.raises(InputError, match="there is no project key"):
        load_key(project, KEY.check)


@pytest.mark.parametrize("by_variable", [True, False])
def test_another_key_is_refused(
    project: Project, monkeypatch: pytest.MonkeyPatch, *, by_variable: bool
) -> None:
    if by_variable:
        monkeypatch.setenv(KEY_VARIABLE, OTHER_KEY.text)
    else:
        project.key.write_text(OTHER_KEY.text, encoding="ascii")

    with pytest.raises(InputError, match="is not the key of this project") as caught:
        load_key(project, KEY.check)

    assert OTHER_KEY.text not in caught.value.message + "".join(caught.value.hints)


@pytest.mark.parametrize("content", [b"", b"0f0f", b"\xff\xfe", KEY.text.upper().encode()])
def test_a_damaged_key_file_is_an_error_that_does_not_quote_it(
    project: Project, content: bytes
) -> None:
    project.key.write_bytes(content)

    with pytest.raises(InputError) as caught:
        load_key(project, KEY.check)

    assert KEY.text.upper() not in caught.value.message
    assert project.key.name in caught.value.message


def test_the_example_needs_no_key_file(project: Project) -> None:
    assert load_key(project, Key(DEMO_KEY).check).is_demo


def test_the_demo_key_opens_no_other_project(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, DEMO_KEY)

    with pytest.raises(InputError, match="is not the key of this project"):
        load_key(project, KEY.check)


def test_only_the_demo_key_is_the_demo_key() -> None:
    assert Key(DEMO_KEY).is_demo
    assert not KEY.is_demo
