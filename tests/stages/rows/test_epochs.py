"""Tokens of earlier keys, and what they are with the present one."""

import hashlib
import hmac
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.errors import InputError
from unlearn.stages.rows.epochs import (
    FIRST,
    Rotation,
    begins_like_token,
    epoch_in,
    epochs_of,
    is_older,
    is_token_line,
    latest_epoch,
    split_token,
)
from unlearn.stages.rows.forget_list import parse_forget_list, parse_without_key
from unlearn.stages.rows.tokens import PREFIX, Key, Tokenizer, key_of_text

KEYS = tuple(hashlib.sha256(bytes([number])).hexdigest() for number in range(4))


def key(epoch: int) -> Key:
    return Key(KEYS[epoch - 1], KEYS[: epoch - 1])


def in_git(epoch: int, raw: str) -> str:
    """Return the token of a record as git has it in an epoch."""
    return FIRST.with_key(key(epoch)).written(Tokenizer(key(epoch)).token("record", raw))


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


@given(st.lists(TEXTS, max_size=4), st.sampled_from(["record", "subject"]))
def test_a_token_of_the_next_key_is_the_hmac_of_the_one_before(raws: list[str], kind: str) -> None:
    for epoch in (2, 3, 4):
        before = Tokenizer(key(epoch - 1)).joined_digests(kind, raws)  # type: ignore[arg-type]
        after = Tokenizer(key(epoch)).joined_digests(kind, raws)  # type: ignore[arg-type]
        subkey = hmac.digest(bytes.fromhex(KEYS[epoch - 1]), b"unlearn/1/rotation", "sha256")
        digests = [before[at : at + 32] for at in range(0, len(before), 32)]
        assert after == b"".join(hmac.digest(subkey, one, "sha256") for one in digests)


@given(TEXTS, TEXTS, st.integers(1, 4), st.integers(1, 4))
def test_a_line_of_any_earlier_key_is_brought_forward_without_the_id(
    person: str, record: str, first: int, last: int
) -> None:
    first, last = sorted((first, last))
    lines = {}
    for epoch in (first, last):
        tokenizer = Tokenizer(key(epoch))
        pair = (tokenizer.token("subject", person), tokenizer.token("record", record))
        lines[epoch] = ".".join(pair)
    epochs = FIRST.with_key(key(last))
    old = FIRST.with_key(key(first)).written(lines[first])

    assert epochs.present(old) == lines[last]
    assert is_token_line(old)
    assert latest_epoch(old) == first
    assert is_older(old, last) is (first < last)
    # And so do those who have no key, by what the rotations noted.
    parts = old.split(".")
    noted = [
        Rotation(
            epoch=max(last, 2),  # not used where there was none
            key_check=key(last).check,
            tokens={
                str(first): {
                    split_token(part)[1]: split_token(epochs.present(part) or "")[1]
                    for part in parts
                }
            },
        )
    ]
    without = epochs_of(noted if first < last else [], [epochs.written(lines[last])])
    assert without.number == last
    assert without.present(old) == lines[last]
    assert without.earlier_lines(lines[last]) == ([lines[first]] if first < last else [])


def test_a_line_goes_over_several_rotations_in_steps() -> None:
    rotations = []
    for epoch in (2, 3):
        tokens = {
            split_token(in_git(epoch - 1, raw))[1]: split_token(in_git(epoch, raw))[1]
            for raw in ("a", "b")
        }
        check = key(epoch).check
        rotations.append(Rotation(epoch=epoch, key_check=check, tokens={str(epoch - 1): tokens}))
    epochs = epochs_of(rotations)

    assert epochs.number == 3
    present = Tokenizer(key(3)).token("record", "a")
    assert {epochs.present(in_git(epoch, "a")) for epoch in (1, 2, 3)} == {present}
    assert epochs.present(in_git(1, "c")) is None
    assert epochs.present(in_git(4, "a")) == in_git(4, "a")
    assert epochs.earlier(present) == [in_git(2, "a"), in_git(1, "a")]
    assert epochs.written(present + ".left-out") == in_git(3, "a") + ".left-out"
    assert epochs.written("subject:a.b") == "subject:a.b"


def test_two_keys_of_one_epoch_do_not_mix() -> None:
    rotations = [Rotation(epoch=2, key_check=f"2-{digit * 16}") for digit in "ab"]
    with pytest.raises(InputError, match="two rotations of the key to epoch 2"):
        epochs_of(rotations)


def test_before_any_rotation_nothing_changes() -> None:
    line = in_git(1, "a")
    assert line.startswith(PREFIX)
    assert epochs_of([], [line]) is FIRST
    assert (FIRST.present(line), FIRST.written(line), FIRST.earlier(line)) == (line, line, [])
    assert key(1).check == Key(KEYS[0]).check
    assert len(key(1).check) == 16


@given(st.permutations(range(3)), st.integers(1, 3))
def test_the_check_depends_on_every_key_and_on_their_order(order: list[int], count: int) -> None:
    texts = [KEYS[number] for number in order[:count]]
    found = Key(texts[-1], tuple(texts[:-1]))
    same = texts == list(KEYS[:count])
    assert (found.check == key(count).check) is same
    assert epoch_in(found.check) == found.epoch == count


@pytest.mark.parametrize("between", ["\n", ":", " ", "\r\n", " :\n "])
def test_keys_are_read_with_anything_between_them(between: str) -> None:
    found = key_of_text(between.join(KEYS[:3]) + "\n")
    assert found == key(3)
    copied = pickle.loads(pickle.dumps(Tokenizer(found)))  # noqa: S301 - our own
    assert copied.token("record", "a") == Tokenizer(key(3)).token("record", "a")
    assert KEYS[1] not in repr(found)


@pytest.mark.parametrize("text", ["", ":", KEYS[0] + "::x", KEYS[0] + KEYS[1], "x " + KEYS[0]])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="64 lower-case"):
        key_of_text(text)


def test_a_list_of_several_keys_is_read() -> None:
    content = f"{in_git(1, 'a')}\n{in_git(2, 'b')}\nc\n{in_git(1, 'd')}.left-out\n".encode()
    tokenizer = Tokenizer(key(2))
    found = parse_forget_list(content, tokenizer, subjects=False)

    token = tokenizer.token
    assert set(found.tokens) == {token("record", raw) for raw in "abc"}
    assert found.left_out == {token("record", "d")}
    assert set(found.older) == {in_git(1, "a"), in_git(1, "d") + ".left-out"}
    assert found.by_hand == 1
    written = found.with_tokens([token("record", "e")]).decode().split()
    assert all(line.startswith("u2_") for line in written)
    # Without the key: by the log, and what it does not name is counted.
    digests = {split_token(in_git(1, "a"))[1]: split_token(in_git(2, "a"))[1]}
    log = epochs_of([Rotation(epoch=2, key_check=key(2).check, tokens={"1": digests})])
    without, others = parse_without_key(content, log)
    assert set(without.tokens) == {token("record", raw) for raw in "ab"}
    assert others == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (in_git(3, "a"), "a token of a later key"),
        (in_git(2, "a")[:-1], "begins like a token but is none"),
        (in_git(1, "a")[:-1], "begins like a token but is none"),
        (f"{in_git(2, 'a')}.{in_git(2, 'b')}", "begins like a token but is none"),
    ],
)
def test_lines_that_cannot_be(line: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_forget_list(f"{line}\n".encode(), Tokenizer(key(2)), subjects=False)


def test_an_id_that_looks_like_a_token_of_a_later_key_is_an_id() -> None:
    assert not begins_like_token("u2_mary", 1)
    assert begins_like_token("u2_mary", 2)
    assert parse_forget_list(b"u2_mary\n", Tokenizer(key(1)), subjects=False).by_hand == 1
