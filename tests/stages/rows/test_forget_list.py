"""The forget list: what its lines may be, and which rows they name."""

import hashlib
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.config.params import ShardingParams, shard_names
from unlearn.stages.errors import InputError
from unlearn.stages.rows.forget_list import (
    LEFT_OUT,
    ForgetList,
    governing_token,
    parse_forget_list,
    place_of_line,
    read_forget_list,
    render,
    text_lines,
)
from unlearn.stages.rows.tokens import Tokenizer, place

from tests.stages.conftest import KEY, token_of

TOKENIZER = Tokenizer(KEY)
ANN, BOB = token_of("ann", "subject"), token_of("bob", "subject")
ONE, TWO, THREE = token_of("1"), token_of("2"), token_of("3")

tokens = st.binary(min_size=32, max_size=32).map(lambda digest: f"u1_{digest.hex()}")
pairs = st.tuples(tokens, tokens).map(".".join)


def parse(content: bytes, *, subjects: bool = False) -> ForgetList:
    return parse_forget_list(content, TOKENIZER, subjects=subjects)


@given(st.lists(tokens | pairs))
def test_what_was_rendered_is_parsed_again(lines: list[str]) -> None:
    content = render(set(lines))
    found = parse(content, subjects=True)

    assert found.tokens == tuple(sorted(set(lines)))
    assert render(found.tokens) == content
    assert found.by_hand == 0
    assert found.digest == hashlib.sha256(content).hexdigest()


@given(st.lists(tokens, min_size=1), st.randoms(use_true_random=False))
def test_order_and_repetition_of_lines_mean_nothing(lines: list[str], draw: Random) -> None:
    shuffled = [*lines, *lines]
    draw.shuffle(shuffled)

    assert parse("\n".join(shuffled).encode()).tokens == tuple(sorted(set(lines)))


@pytest.mark.slow
@given(st.sets(tokens), st.sets(tokens))
def test_adding_gives_the_union_in_order(old: set[str], new: set[str]) -> None:
    content = parse(render(old)).with_tokens(new)

    assert content == render(old | new)
    assert content.decode().split() == sorted(old | new)


def test_an_empty_list_names_nobody() -> None:
    assert parse(b"").tokens == ()
    assert render([]) == b""


@pytest.mark.parametrize(
    "content",
    [
        f"{ONE}\r\n{TWO}\r\n",
        f"\ufeff{ONE}\n{TWO}\n",
        f"\n\n{ONE}\n\n\n{TWO}\n\n",
        f"{TWO}\n{ONE}",
        f"\ufeff\r\n{ONE}\r\n\r\n{TWO}",
    ],
    ids=["crlf", "byte-order mark", "blank lines", "no last line end", "all at once"],
)
def test_harmless_differences_of_a_text_file_are_fine(content: str) -> None:
    found = parse(content.encode())

    assert found.tokens == tuple(sorted([ONE, TWO]))
    assert found.by_hand == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe1\n", "is not UTF-8 text"),
        (b"caf\xe9\n", "is not UTF-8 text"),
        (b"1\x00\n", "holds a NUL byte"),
        ("1\n".encode("utf-16"), "is not UTF-8 text"),
    ],
)
def test_what_is_no_text_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse(content)


@pytest.mark.parametrize(
    "line",
    [
        "u1_",
        "u1_abc",
        ONE[:-1],
        ONE + "0",
        ONE.upper().replace("U1", "u1"),
        ONE + " ",
        f"{ANN}.",
        f"{ANN}.{ONE}.{TWO}",
        f"{ANN}.{ONE[:-1]}",
        f"{ANN},{ONE}",
    ],
)
def test_a_line_that_only_begins_like_a_token_is_an_error(line: str) -> None:
    with pytest.raises(InputError, match="line 2: begins like a token but is none"):
        parse(f"{ONE}\n{line}\n".encode(), subjects=True)


def test_a_record_of_a_subject_needs_a_dataset_with_subjects() -> None:
    with pytest.raises(InputError, match="line 1: begins like a token but is none"):
        parse(f"{ANN}.{ONE}\n".encode(), subjects=False)


def test_a_raw_id_counts_as_if_a_command_had_written_it() -> None:
    found = parse(f"1\n{TWO}\n".encode())

    assert found.tokens == tuple(sorted([ONE, TWO]))
    assert found.by_hand == 1
    assert found.unplaced == frozenset()


def test_a_raw_id_is_taken_as_it_stands() -> None:
    found = parse("1 \n1\u2028\n#1\ncafé\n".encode())

    raw = ["1 ", "1\u2028", "#1", "café"]
    assert found.tokens == tuple(sorted(token_of(each) for each in raw))
    assert found.by_hand == 4


def test_a_subject_may_be_named_by_hand() -> None:
    found = parse(b"subject:ann\n1\n", subjects=True)

    assert set(found.tokens) == {ANN, ONE}
    assert found.by_hand == 2
    assert found.unplaced == {ONE}, "a record alone does not say whose it is"


def test_a_subject_named_where_there_are_none_is_an_error_that_does_not_quote_it() -> None:
    with pytest.raises(InputError, match="line 2: names a subject") as caught:
        parse(b"1\nsubject:ann\n", subjects=False)

    assert "ann" not in caught.value.message


def test_without_subjects_a_row_goes_by_its_record() -> None:
    found = parse(render([ONE, THREE]))

    assert found.mask([ONE, TWO, THREE], None) == [True, False, True]


@pytest.mark.parametrize(
    ("line", "gone"),
    [
        (ANN, [True, True, False]),
        (ONE, [True, False, False]),
        (f"{ANN}.{TWO}", [False, True, False]),
        (f"{BOB}.{TWO}", [False, False, False]),
        (f"{BOB}.{THREE}", [False, False, True]),
        (token_of("ann"), [False, False, False]),
    ],
    ids=["subject", "record", "record of the subject", "of another", "of bob", "another kind"],
)
def test_with_subjects_a_row_goes_by_either_or_both(line: str, gone: list[bool]) -> None:
    found = parse(render([line]), subjects=True)

    assert found.mask([ONE, TWO, THREE], [ANN, ANN, BOB]) == gone


@given(st.lists(st.tuples(st.sampled_from([ANN, BOB]), st.sampled_from([ONE, TWO, THREE]))))
def test_naming_a_row_by_its_pair_takes_that_row_alone(rows: list[tuple[str, str]]) -> None:
    found = parse(render([f"{ANN}.{ONE}"]), subjects=True)

    mask = found.mask([record for _, record in rows], [subject for subject, _ in rows])
    assert mask == [row == (ANN, ONE) for row in rows]


def test_the_governing_token_is_the_subjects_where_there_is_one() -> None:
    assert governing_token(f"{ANN}.{ONE}") == ANN
    assert governing_token(ONE) == ONE


def test_a_missing_list_is_not_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "forget_list.txt"

    with pytest.raises(InputError, match="is missing"):
        read_forget_list(path, TOKENIZER, subjects=False)
    path.write_bytes(b"1\r\n")
    assert read_forget_list(path, TOKENIZER, subjects=False).tokens == (ONE,)


def test_lines_end_with_line_feeds_and_nothing_else() -> None:
    assert text_lines("a\x0cb\u2028c\rd\r\ne".encode(), "f") == ["a\x0cb\u2028c\rd", "e"]


@given(st.sets(tokens | pairs), st.sets(tokens | pairs))
def test_left_out_lines_keep_their_mark_and_are_no_tokens(
    plain: set[str], marked: set[str]
) -> None:
    marked -= plain
    content = render(plain | {line + LEFT_OUT for line in marked})
    found = parse(content, subjects=True)

    assert found.tokens == tuple(sorted(plain))
    assert found.left_out == marked
    assert found.with_tokens(()) == content


def test_a_row_that_a_left_out_line_names_goes_all_the_same() -> None:
    found = parse(f"{ONE}{LEFT_OUT}\n{ANN}.{TWO}{LEFT_OUT}\n".encode(), subjects=True)

    assert found.mask([ONE, TWO, TWO, THREE], [BOB, ANN, BOB, ANN]) == [True, True, False, False]


@given(st.binary(min_size=32, max_size=32), st.integers(1, 40), st.integers(1, 9))
def test_a_line_is_where_its_governing_token_is(digest: bytes, shards: int, slices: int) -> None:
    sharding = ShardingParams(shards=shard_names(shards), slices=slices, holdout=0.3)
    subject = f"u1_{digest.hex()}"
    expected = place(subject, shards, slices, 0.3)

    assert place_of_line(subject, sharding) == expected
    assert place_of_line(f"{subject}.{ONE}", sharding) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", "data/forget_list.txt is not UTF-8"),
        (b"a\0b", "data/forget_list.txt holds a NUL"),
    ],
)
def test_an_unreadable_list_is_named(content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(content)


def test_a_list_that_is_read_from_disk_knows_whether_there_are_subjects(tmp_path: Path) -> None:
    path = tmp_path / "forget_list.txt"
    path.write_bytes(f"{ANN}.{ONE}\n".encode())

    assert read_forget_list(path, TOKENIZER, subjects=True).tokens == (f"{ANN}.{ONE}",)
    with pytest.raises(InputError, match="line 1"):
        read_forget_list(path, TOKENIZER, subjects=False)
