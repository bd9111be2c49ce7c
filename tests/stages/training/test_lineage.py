"""The chain and its seal are digests that do not change, and a state is used where both fit."""

import hashlib
import hmac
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unlearn.stages.errors import InputError
from unlearn.stages.project.files import json_bytes
from unlearn.stages.training.lineage import (
    FILE_NAME,
    ONE_ROW,
    REFUSED,
    Lineage,
    SliceLink,
    first_to_train,
    is_whole,
    links,
    read_checkpoint,
    read_lineage,
    seal,
    sealed,
)

from tests.stages.conftest import KEY, OTHER_KEY, put

FILES = {
    "slice-001.bin": b"first state",
    "slice-002.bin": b"second state",
    "model.bin": b"weights",
    "model.json": b"{}\n",
}
CHAIN = ["link 1", "link 2", "link 3"]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def make_lineage(**changes: Any) -> Lineage:
    """Return the sealed lineage of three slices."""
    plain = Lineage(
        shard="s000",
        algorithm=2,
        recipe="the recipe",
        environment={"machine": "Zürich", "numpy": "2.0"},
        retain="the nonce",
        slices=(
            SliceLink(1, 5, CHAIN[0], "state 1", "slice-001.bin"),
            SliceLink(2, 0, CHAIN[1], "state 2", "slice-002.bin"),
            SliceLink(3, 7, CHAIN[2], "state 3", None),
        ),
        model="the model",
        files={name: sha256(content) for name, content in FILES.items()},
    )
    return sealed(KEY, replace(plain, **changes))


def place(folder: Path, lineage: Lineage) -> Lineage:
    """Write a whole folder, and return its lineage."""
    put(folder, FILES | {FILE_NAME: json_bytes(lineage.as_json())})
    return lineage


def test_a_link_is_a_digest_of_recipe_environment_and_all_rows_so_far() -> None:
    root = sha256(b'["the recipe",{"numpy":"2.0"}]')
    first = sha256(f'["the recipe","{root}","rows 1"]'.encode())
    second = sha256(f'["the recipe","{first}","rows 2"]'.encode())

    assert links("the recipe", {"numpy": "2.0"}, ["rows 1", "rows 2"]) == [first, second]


def test_a_seal_is_the_hmac_of_all_the_rest() -> None:
    lineage = make_lineage(slices=(SliceLink(1, 5, "l", None, None),), files={"f": "d"})
    text = (
        '{"algorithm":2,"constant":null,"environment":{"machine":"Z\\u00fcrich","numpy":"2.0"},'
        '"files":{"f":"d"},"model":"the model","recipe":"the recipe","retain":"the nonce",'
        '"schema_version":1,"shard":"s000",'
        '"slices":[{"checkpoint":null,"link":"l","number":1,"rows":5,"state":null}]}'
    )
    subkey = hmac.digest(bytes.fromhex(KEY.text), b"unlearn/1/lineage", "sha256")

    assert lineage.seal == hmac.digest(subkey, text.encode(), "sha256").hex()
    assert seal(KEY, replace(lineage, seal="another")) == lineage.seal
    assert seal(OTHER_KEY, lineage) != lineage.seal


@pytest.mark.parametrize("constant", [None, ONE_ROW, REFUSED])
def test_a_lineage_is_read_as_it_was_written(tmp_path: Path, constant: str | None) -> None:
    lineage = place(tmp_path, make_lineage(constant=constant))

    assert read_lineage(tmp_path) == lineage
    assert lineage.rows == 12
    assert lineage.refused == (constant == REFUSED)


def test_no_file_is_no_lineage(tmp_path: Path) -> None:
    assert read_lineage(tmp_path) is None


WHOLE = make_lineage().as_json()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"3",
        b"{}",
        b"\xff\xfe",
        *(
            json.dumps({key: value for key, value in WHOLE.items() if key != name}).encode()
            for name in WHOLE
            if name != "schema_version"
        ),
        json.dumps(WHOLE | {"slices": [{"number": 1}]}).encode(),
        json.dumps(WHOLE | {"environment": []}).encode(),
        json.dumps(WHOLE | {"algorithm": "two"}).encode(),
    ],
)
def test_what_is_no_lineage_is_named_by_its_path(tmp_path: Path, content: bytes) -> None:
    put(tmp_path / "s001", {FILE_NAME: content})

    with pytest.raises(InputError) as caught:
        read_lineage(tmp_path / "s001")
    assert caught.value.message == "models/shard_models/s001/lineage.json is not a lineage"


def test_a_whole_folder_leaves_nothing_to_train(tmp_path: Path) -> None:
    lineage = place(tmp_path, make_lineage())

    assert first_to_train(tmp_path, lineage, CHAIN, KEY) == 4
    # A longer chain has one more slice; a shorter one, none that is not there.
    assert first_to_train(tmp_path, lineage, [*CHAIN, "link 4"], KEY) == 4
    assert first_to_train(tmp_path, lineage, CHAIN[:2], KEY) == 3


@pytest.mark.parametrize("number", [1, 2, 3])
def test_training_begins_at_the_first_link_that_differs(tmp_path: Path, number: int) -> None:
    lineage = place(tmp_path, make_lineage())
    chain = [*CHAIN]
    chain[number - 1] = "another link"

    assert first_to_train(tmp_path, lineage, chain, KEY) == number


@pytest.mark.parametrize(
    ("name", "first"),
    [("slice-001.bin", 1), ("slice-002.bin", 2), ("model.bin", 3), ("model.json", 3)],
)
def test_training_begins_at_the_first_state_that_is_not_there(
    tmp_path: Path, name: str, first: int
) -> None:
    lineage = place(tmp_path, make_lineage())

    (tmp_path / name).write_bytes(b"other bytes")
    assert first_to_train(tmp_path, lineage, CHAIN, KEY) == first
    (tmp_path / name).unlink()
    assert first_to_train(tmp_path, lineage, CHAIN, KEY) == first


def test_a_lineage_without_its_seal_proves_nothing(tmp_path: Path) -> None:
    lineage = place(tmp_path, make_lineage())

    assert first_to_train(tmp_path, lineage, CHAIN, OTHER_KEY) == 1
    assert first_to_train(tmp_path, replace(lineage, seal=""), CHAIN, KEY) == 1
    assert first_to_train(tmp_path, replace(lineage, retain="another"), CHAIN, KEY) == 1


def test_a_slice_before_the_first_row_needs_no_state(tmp_path: Path) -> None:
    plain = make_lineage()
    lineage = place(
        tmp_path, make_lineage(slices=(SliceLink(1, 0, CHAIN[0], None, None), *plain.slices[1:]))
    )

    assert first_to_train(tmp_path, lineage, CHAIN, KEY) == 4
    assert read_checkpoint(tmp_path, lineage, lineage.slices[0]) is None


def test_what_was_refused_is_kept_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    """No state of it was kept, so there is none to go on from."""
    none_kept = tuple(replace(link, checkpoint=None) for link in make_lineage().slices)
    lineage = place(tmp_path, make_lineage(constant=REFUSED, slices=none_kept))

    assert first_to_train(tmp_path, lineage, CHAIN, KEY) == 4
    assert first_to_train(tmp_path, lineage, [*CHAIN[:2], "another link"], KEY) == 1
    assert first_to_train(tmp_path, replace(lineage, constant=None), CHAIN, KEY) == 1
    (tmp_path / "model.json").unlink()
    assert first_to_train(tmp_path, lineage, CHAIN, KEY) == 1


def test_no_more_slices_are_complete_than_there_are(tmp_path: Path) -> None:
    """Whatever number a sealed link gives itself."""
    wrong = replace(make_lineage().slices[2], number=9)
    lineage = place(tmp_path, make_lineage(slices=(*make_lineage().slices[:2], wrong)))

    assert first_to_train(tmp_path, lineage, CHAIN, KEY) == 4


def test_a_folder_is_whole_with_each_byte_of_each_file(tmp_path: Path) -> None:
    lineage = place(tmp_path, make_lineage())
    assert is_whole(tmp_path, lineage)

    (tmp_path / FILE_NAME).write_bytes(json.dumps(lineage.as_json()).encode())
    assert not is_whole(tmp_path, lineage)
    for name in FILES:
        place(tmp_path, lineage)
        (tmp_path / name).unlink()
        (tmp_path / name).mkdir()  # cannot be read as a file
        assert not is_whole(tmp_path, lineage), name
        (tmp_path / name).rmdir()


def test_a_checkpoint_is_returned_to_the_byte(tmp_path: Path) -> None:
    lineage = place(tmp_path, make_lineage())
    first, second, last = lineage.slices

    assert read_checkpoint(tmp_path, lineage, first) == b"first state"
    assert read_checkpoint(tmp_path, lineage, second) == b"second state"
    assert read_checkpoint(tmp_path, lineage, last) is None
    # A file that the lineage does not name is none of its own.
    unnamed = replace(lineage, files={})
    assert read_checkpoint(tmp_path, unnamed, first) is None
