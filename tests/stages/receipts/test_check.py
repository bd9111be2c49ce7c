"""Receipts against changes: each kind of change fails with a reason of its own."""

import json
import subprocess
from collections.abc import Callable
from datetime import date, datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib import dsse
from securesystemslib.signer import SSlibKey
from unlearn.stages.receipts.check import Checked, check_annex, check_files, check_receipt
from unlearn.stages.receipts.envelope import Envelope, Signed, parse_envelope
from unlearn.stages.receipts.failures import RefusedError
from unlearn.stages.receipts.keys import Keys, parse_key
from unlearn.stages.receipts.statement import (
    PAYLOAD_TYPE,
    Place,
    Purge,
    Verification,
    parse_statement,
    receipt_name,
)

from tests.stages.receipts.receipts import (
    OTHER_PROJECT,
    START,
    TestKey,
    make_chain,
    make_key,
    make_statement,
    names,
)

KEY = make_key(seed=1)
KEYS = Keys([KEY.public])
RECEIPT = KEY.sign(make_statement().payload)


#: Parts that a receipt may lack.
OPTIONAL = {"before", "heads", "suppressedRows"}


def code(content: bytes, keys: Keys = KEYS, project: str | None = None) -> str:
    """Return why a receipt is not accepted."""
    with pytest.raises(RefusedError) as error:
        check_receipt(content, keys, project)
    assert error.value.exit_code == 1
    return error.value.code


def codes(checked: Checked) -> set[str]:
    return {failure.code for failure in checked.failures}


def test_a_receipt_holds() -> None:
    found = check_receipt(RECEIPT, KEYS)

    assert found.statement == make_statement()
    assert found.name == receipt_name(make_statement().payload)


def test_another_implementation_verifies_it_as_well(tmp_path: Path) -> None:
    """securesystemslib's own reader, and OpenSSL, which knows nothing of DSSE."""
    found = dsse.Envelope.from_dict(json.loads(RECEIPT))
    key = SSlibKey.from_crypto(KEY.public.key)
    assert found.verify([key], 1).keys() == {KEY.public.keyid}
    assert found.pae() == parse_envelope(RECEIPT).to_sign

    envelope = parse_envelope(RECEIPT)
    kind, payload = PAYLOAD_TYPE.encode(), envelope.payload
    signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    der = bytes.fromhex("302a300506032b6570032100" + KEY.public.statement.public)
    for name, content in (
        ("signed", signed),
        ("other", signed + b" "),
        ("signature", envelope.signatures[0].signature),
        ("key", der),
    ):
        (tmp_path / name).write_bytes(content)
    line = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER", "-inkey", "key"]
    for name, code in (("signed", 0), ("other", 1)):
        words = [*line, "-in", name, "-sigfile", "signature"]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == code, done


@given(st.binary(max_size=400))
def test_no_other_file_is_a_key(content: bytes) -> None:
    with pytest.raises(RefusedError):
        parse_key(content)


@pytest.mark.parametrize("text", ["\\ud800", "\\u0000", "é"])
def test_odd_texts_in_an_envelope_are_refused(text: str) -> None:
    for old in ("application/vnd.in-toto+json", KEY.public.keyid):
        changed = RECEIPT.decode().replace(old, text)
        assert code(changed.encode()) in {"bad-envelope", "unknown-type", "unknown-key"}


@pytest.mark.slow
def test_every_change_of_one_bit_fails() -> None:
    found: dict[str, int] = {}
    for place in range(len(RECEIPT)):
        for bit in range(8):
            changed = bytearray(RECEIPT)
            changed[place] ^= 1 << bit
            why = code(bytes(changed))
            found[why] = found.get(why, 0) + 1

    # By where the bit is: the form of the file, the payload or the signature, the type, the key.
    assert found.keys() == {"bad-envelope", "bad-signature", "unknown-type", "unknown-key"}
    assert min(found.values()) > 100


def test_every_truncation_fails() -> None:
    assert {code(RECEIPT[:length]) for length in range(len(RECEIPT))} == {"bad-envelope"}


@given(st.binary(max_size=60), st.integers(0, len(RECEIPT)))
def test_inserted_bytes_fail(more: bytes, place: int) -> None:
    changed = RECEIPT[:place] + more + RECEIPT[place:]
    if changed != RECEIPT:
        assert code(changed) in {"bad-envelope", "bad-signature", "unknown-type", "unknown-key"}


@given(st.binary(max_size=400))
def test_no_other_file_is_a_receipt(content: bytes) -> None:
    assert code(content) == "bad-envelope"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"payload":"","payloadType":"x","signatures":[]}\n',
        RECEIPT + b"\n",
        b" " + RECEIPT,
        json.dumps(json.loads(RECEIPT), indent=1).encode(),
        json.dumps(json.loads(RECEIPT) | {"more": 1}).encode(),
        RECEIPT.replace(b'{"payload":', b'{"payload":"","payload":'),
        b" " * (1 << 20) + RECEIPT,
    ],
)
def test_a_file_in_another_form_fails(content: bytes) -> None:
    assert code(content) == "bad-envelope"


def test_a_receipt_that_is_too_large_fails_though_its_key_signed_it() -> None:
    long = make_statement().predicate.request.model_copy(update={"reasons": ("x" * (1 << 20),)})

    assert code(KEY.sign(make_statement(request=long).payload)) == "bad-envelope"


def test_fields_in_another_order_fail() -> None:
    value = json.loads(RECEIPT)
    reordered = {name: value[name] for name in reversed(value)}

    assert code(json.dumps(reordered, separators=(",", ":")).encode() + b"\n") == "bad-envelope"


def test_the_envelope_of_something_else_fails() -> None:
    payload = make_statement().payload

    assert code(KEY.sign(payload, "text/plain")) == "unknown-type"
    assert code(KEY.file) == "unknown-type"


def test_two_signatures_fail() -> None:
    other = make_key(seed=2)
    envelope = parse_envelope(RECEIPT)
    second = parse_envelope(other.sign(envelope.payload)).signatures
    both = Envelope(PAYLOAD_TYPE, envelope.payload, envelope.signatures + second)

    assert code(both.write(), Keys([KEY.public, other.public])) == "unknown-type"


def signed_value(change: Callable[[dict[str, Any]], object]) -> bytes:
    """Return a receipt whose key holder signed a changed statement."""
    value = json.loads(make_statement().payload)
    change(value)
    return KEY.sign(rfc8785.dumps(value))


def test_a_payload_in_another_form_fails_though_its_key_signed_it() -> None:
    value = json.loads(make_statement().payload)

    for text in (
        json.dumps(value),
        json.dumps(value, sort_keys=True, separators=(", ", ":")),
        make_statement().payload.decode().replace('"algorithm":3', '"algorithm":3.0'),
        make_statement().payload.decode().replace('"algorithm":3', '"algorithm":NaN'),
        "[" * 90_000,
    ):
        assert code(KEY.sign(text.encode())) == "not-canonical"


def test_another_type_or_a_part_that_is_missing_fails_though_its_key_signed_it() -> None:
    other = {"_type": "https://in-toto.io/Statement/v0.1"}
    assert code(signed_value(lambda value: value.update(other))) == "unknown-type"
    assert code(signed_value(lambda value: value.update(predicateType="x"))) == "unknown-type"
    assert code(KEY.sign(b"[]")) == "unknown-type"
    for name in json.loads(make_statement().payload)["predicate"].keys() - OPTIONAL:
        value = json.loads(make_statement().payload)
        del value["predicate"][name]
        assert code(KEY.sign(rfc8785.dumps(value))) == "bad-statement", name


def test_a_field_of_a_newer_version_is_ignored() -> None:
    content = signed_value(lambda value: value["predicate"].update(newer={"a": 1}))

    check_receipt(content, KEYS)


@given(st.lists(st.sampled_from(["purged", "pending"]), min_size=1, max_size=6), st.booleans())
def test_complete_is_impossible_while_a_place_is_pending(states: list[str], passed: bool) -> None:
    places = [Place.model_validate({"name": f"p{n}", "state": s}) for n, s in enumerate(states)]
    purge = Purge(entry="e", time=START, places=tuple(places))
    verification = Verification(verdict="pass" if passed else "fail")
    dumped = {
        "purge": purge.model_dump(mode="json", by_alias=True),
        "verification": verification.model_dump(mode="json", by_alias=True),
    }
    content = signed_value(lambda value: value["predicate"].update(dumped))

    if "pending" in states or not passed:
        assert code(content) == "bad-statement"
    else:
        check_receipt(content, KEYS)


def test_an_unknown_key_fails() -> None:
    other = make_key(seed=2)

    assert code(other.sign(make_statement().payload)) == "unknown-key"
    assert code(RECEIPT, Keys([other.public])) == "unknown-key"
    assert code(RECEIPT, Keys([])) == "unknown-key"


def test_a_signature_under_the_name_of_another_key_fails() -> None:
    other = make_key(seed=2)
    envelope = parse_envelope(other.sign(make_statement().payload))
    renamed = Signed(KEY.public.keyid, envelope.signatures[0].signature)

    assert code(Envelope(PAYLOAD_TYPE, envelope.payload, (renamed,)).write()) == "bad-signature"


def test_a_signature_over_another_type_fails() -> None:
    envelope = parse_envelope(KEY.sign(make_statement().payload, "text/plain"))
    content = Envelope(PAYLOAD_TYPE, envelope.payload, envelope.signatures).write()

    assert code(content) == "bad-signature"


def test_a_key_signs_in_its_epoch_alone() -> None:
    key = make_key(seed=3, since=START, until=START + timedelta(days=1))
    keys = Keys([key.public])

    for minutes, holds in ((-1, False), (0, True), (24 * 60, True), (24 * 60 + 1, False)):
        content = key.sign(make_statement(created=START + timedelta(minutes=minutes)).payload)
        if holds:
            check_receipt(content, keys)
        else:
            assert code(content, keys) == "key-epoch"


def rotated() -> tuple[TestKey, TestKey, TestKey]:
    second = make_key(seed=2, since=START + timedelta(days=1), previous=KEY)
    return KEY, second, make_key(seed=3, since=START + timedelta(days=2), previous=second)


def test_who_trusts_the_first_key_can_follow_to_the_last() -> None:
    first, second, third = rotated()
    content = third.sign(make_statement(created=START + timedelta(days=3)).payload)

    check_receipt(content, Keys([first.public], [third.public, second.public]))
    assert code(content, Keys([first.public], [third.public])) == "unknown-key"
    assert code(content, Keys([first.public])) == "unknown-key"


def test_a_key_that_another_follows_signs_no_more() -> None:
    first, second, _ = rotated()
    content = first.sign(make_statement(created=START + timedelta(days=1, seconds=1)).payload)

    check_receipt(content, Keys([first.public]))
    assert code(content, Keys([first.public], [second.public])) == "key-epoch"


def test_a_key_that_names_a_previous_one_without_its_signature_is_not_trusted() -> None:
    first, second, _ = rotated()
    alone = Envelope(
        second.public.envelope.kind,
        second.public.envelope.payload,
        second.public.envelope.signatures[:1],
    )
    content = second.sign(make_statement(created=START + timedelta(days=2)).payload)

    assert code(content, Keys([first.public], [parse_key(alone.write())])) == "unknown-key"
    strange = make_key(OTHER_PROJECT, seed=4, previous=first)
    content = strange.sign(make_statement(project=OTHER_PROJECT).payload)
    assert code(content, Keys([first.public], [strange.public])) == "unknown-key"


def days(count: float) -> datetime:
    return START + timedelta(days=count)


def test_a_key_that_ended_makes_no_key_that_is_trusted() -> None:
    first = make_key(seed=1, until=days(1))
    second = make_key(seed=2, since=days(1), previous=first)
    for since in (days(200), days(1) + timedelta(seconds=1), days(-1)):
        late = make_key(seed=3, since=since, previous=first)
        content = late.sign(make_statement(created=since).payload)

        for others in ([second, late], [late, second], [late]):
            keys = Keys([first.public], [one.public for one in others])
            assert code(content, keys) == "unknown-key"
            assert keys.forks == ()
            check_receipt(first.sign(make_statement(created=days(1)).payload), keys)


@pytest.mark.parametrize("since", [-1.0, 0.5, 1.0, 1.5, 200.0])
def test_a_key_that_two_keys_follow_gives_trust_to_none_of_them(since: float) -> None:
    first, second, third = rotated()
    stolen = make_key(seed=4, since=days(since), previous=first)
    files = {
        "old": first.sign(make_statement(created=days(0.4)).payload),
        "stolen": stolen.sign(make_statement(created=days(300)).payload),
        "second": second.sign(make_statement(created=days(1.9)).payload),
        "third": third.sign(make_statement(created=days(300)).payload),
    }

    for others in permutations((second.public, third.public, stolen.public)):
        checked = check_files(files, Keys([first.public], others))
        found = {failure.file: failure.code for failure in checked.failures}
        if since < 0:  # it would begin before the key that signed it
            assert found == {"stolen": "unknown-key"}
        else:
            assert found == {
                None: "key-fork",
                "stolen": "key-fork",
                "second": "key-fork",
                "third": "unknown-key",
            }
        assert "old" in checked.receipts


def test_a_second_follower_neither_extends_nor_shortens_a_key_whose_follower_is_given() -> None:
    first, second, third = rotated()
    for since in (0.5, 200):
        stolen = make_key(seed=4, since=days(since), previous=first)
        keys = Keys([first.public, second.public], [stolen.public, third.public])

        assert len(keys.forks) == 1
        assert keys.end(first.public.keyid) == days(1)
        assert stolen.public.keyid not in keys
        assert third.public.keyid in keys


def test_two_files_of_one_key_with_different_times_are_two_followers() -> None:
    first, second, _ = rotated()
    again = make_key(seed=2, since=days(1), until=days(900), previous=first)

    for others in permutations((second.public, again.public)):
        keys = Keys([first.public], others)
        assert second.public.keyid not in keys
        assert len(keys.forks) == 1
    assert Keys([first.public], [second.public, second.public]).forks == ()


@pytest.mark.slow
def test_every_change_of_one_bit_of_a_key_fails() -> None:
    for content in (KEY.file, rotated()[1].file):
        for place in range(len(content) * 8):
            changed = bytearray(content)
            changed[place // 8] ^= 1 << place % 8
            try:
                found = parse_key(bytes(changed))
            except RefusedError:
                continue
            # What a key's own signature does not cover is that of the key before it.
            assert found.keyid == rotated()[1].public.keyid
            trusted = Keys([KEY.public], [found])
            assert found.keyid not in trusted, place


def test_a_replay_under_another_project_fails() -> None:
    other = make_key(OTHER_PROJECT, seed=1)

    assert code(RECEIPT, Keys([other.public])) == "other-project"
    assert code(RECEIPT, project=OTHER_PROJECT) == "other-project"
    assert code(KEY.sign(make_statement(project=OTHER_PROJECT).payload)) == "other-project"


def test_a_whole_chain_holds_whatever_its_order() -> None:
    files = make_chain(KEY, 5)
    newest = names(files)[-1]

    for order in (list(files), list(reversed(files))):
        checked = check_files(
            {file: files[file] for file in order}, KEYS, whole=True, anchors=(newest,)
        )
        assert checked.failures == ()
        assert len(checked.receipts) == 5


def test_a_receipt_that_is_missing_in_between_is_named() -> None:
    files = make_chain(KEY, 5)
    for gone in names(files)[:-1]:
        rest = {file: content for file, content in files.items() if gone not in file}

        (failure,) = check_files(rest, KEYS, whole=True).failures
        assert failure.code == "chain-broken"
        assert gone[:12] in failure.reason
        assert codes(check_files(rest, KEYS, anchors=(names(files)[-1],))) == {"chain-broken"}


def test_a_newest_receipt_that_is_missing_is_found_by_the_anchor_alone() -> None:
    files = make_chain(KEY, 5)
    newest = names(files)[-1]
    rest = {file: content for file, content in files.items() if newest not in file}

    assert check_files(rest, KEYS, whole=True).failures == ()
    assert codes(check_files(rest, KEYS, anchors=(newest,))) == {"truncated"}
    assert codes(check_files(rest, KEYS, anchors=(newest,), whole=True)) == {"truncated"}


def test_a_damaged_receipt_breaks_the_chain_too() -> None:
    files = make_chain(KEY, 3)
    oldest = next(iter(files))

    checked = check_files(files | {oldest: files[oldest][:-9]}, KEYS, whole=True)

    assert codes(checked) == {"bad-envelope", "chain-broken"}
    assert len(checked.receipts) == 2


def test_two_receipts_that_change_places_fail() -> None:
    first, second, *_ = files = make_chain(KEY, 3)
    swapped = files | {first: files[second], second: files[first]}

    found = check_files(swapped, KEYS, whole=True).failures

    assert {(failure.file, failure.code) for failure in found} >= {
        (first, "misnamed"),
        (second, "misnamed"),
    }


def test_a_receipt_that_was_sent_under_another_name_holds() -> None:
    assert check_files({"a/receipt.json": RECEIPT}, KEYS).failures == ()


def test_a_receipt_that_is_earlier_than_one_before_it_fails() -> None:
    key = make_key(seed=1, since=START - timedelta(days=1))
    older = make_statement()

    for seconds, failures in ((0, []), (-1, [("b", "clock-order")])):
        created = START + timedelta(seconds=seconds)
        newer = make_statement(created=created, heads=[receipt_name(older.payload)])
        files = {"a": key.sign(older.payload), "b": key.sign(newer.payload)}
        found = check_files(files, Keys([key.public])).failures
        assert [(failure.file, failure.code) for failure in found] == failures


def test_branches_of_the_chain_merge() -> None:
    root = make_statement()
    start = receipt_name(root.payload)
    sides = [make_statement(created=START, heads=[start], number=n) for n in (1, 2)]
    heads = [receipt_name(one.payload) for one in sides]
    merge = make_statement(created=START, heads=heads, number=3)
    files = {
        f"{receipt_name(one.payload)}.json": KEY.sign(one.payload) for one in (root, *sides, merge)
    }

    assert check_files(files, KEYS, whole=True).failures == ()
    for gone in (start, *heads):
        rest = {file: content for file, content in files.items() if gone not in file}
        assert codes(check_files(rest, KEYS, whole=True)) == {"chain-broken"}
    tips = {file: content for file, content in files.items() if heads[0] not in file}
    assert codes(check_files(tips, KEYS, anchors=(heads[1],))) == set()


def test_the_annex_is_the_one_that_the_receipt_names() -> None:
    receipt = check_receipt(RECEIPT, KEYS)

    check_annex(receipt, b"annex")
    for other in (b"", b"annex\n", b"Annex"):
        with pytest.raises(RefusedError) as error:
            check_annex(receipt, other)
        assert error.value.code == "annex-differs"


def test_an_expired_receipt_still_holds_with_a_note() -> None:
    until = make_statement().predicate.valid_until

    for today, notes in ((until, 0), (until + timedelta(days=1), 1), (date(2100, 1, 1), 1)):
        checked = check_files({"a": RECEIPT}, KEYS, today=today)
        assert (checked.failures, len(checked.notes)) == ((), notes)


def test_a_statement_is_read_as_it_was_written() -> None:
    statement = make_statement(heads=["a" * 64])

    assert parse_statement(statement.payload) == statement
    assert json.loads(statement.payload)["_type"] == "https://in-toto.io/Statement/v1"
