"""A seal holds for one file with one content and one key."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.rows.seals import REPORT, VERDICT, seal, seal_state

from tests.stages.conftest import KEY, OTHER_KEY

CONTENT: dict[str, Any] = {"verdict": "pass", "models": {"s000": "0123.dir"}, "reasons": ["a", "b"]}
SEALED = CONTENT | {"seal": seal(KEY, VERDICT, CONTENT)}


def test_a_seal_that_was_made_with_the_key_is_valid() -> None:
    assert seal_state(KEY, VERDICT, SEALED) == "valid"


def test_without_the_key_a_seal_is_not_checked_but_missed() -> None:
    assert seal_state(None, VERDICT, SEALED) == "unchecked"
    assert seal_state(None, VERDICT, CONTENT) == "missing"


@pytest.mark.parametrize(
    "changed",
    [
        SEALED | {"verdict": "fail"},
        SEALED | {"models": {"s000": "0124.dir"}},
        SEALED | {"reasons": ["b", "a"]},
        SEALED | {"more": None},
        {name: value for name, value in SEALED.items() if name != "reasons"},
        SEALED | {"seal": "00" * 32},
        SEALED | {"seal": 7},
        SEALED | {"seal": "é"},
    ],
)
def test_any_change_makes_it_wrong(changed: dict[str, Any]) -> None:
    assert seal_state(KEY, VERDICT, changed) == "wrong"


def test_the_seal_of_another_key_or_of_another_file_is_wrong() -> None:
    assert seal_state(OTHER_KEY, VERDICT, SEALED) == "wrong"
    assert seal_state(KEY, REPORT, SEALED) == "wrong"


@given(st.binary(min_size=1), st.data())
def test_no_other_text_fits(noise: bytes, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(CONTENT)))

    assert seal_state(KEY, VERDICT, SEALED | {name: noise.hex()}) == "wrong"
