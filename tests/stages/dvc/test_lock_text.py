"""The text of dvc.lock with some entries replaced is what DVC itself would write."""

from copy import deepcopy
from typing import Any

import pytest
from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.dvc.lock_text import with_entries

from tests.properties import tried_on

NAMES = st.sampled_from(
    ["shard", "forget", "train@s000", "train@s001", "unlearn@retrain", "unlearn@own/code.py:shrink"]
)
#: What commands and paths may be: also what takes quotes, a block, or more than one line.
TEXTS = st.one_of(
    st.text("abc :#'\"-{}\n\t%é0.", min_size=1, max_size=12),
    st.sampled_from(["unlearn stage train@s000", "true", "0x1", "a " * 60, "1e3", "~"]),
)
MD5S = st.sampled_from(["0" * 32, "12345678901234567890123456789012", "1e" + "5" * 30, "ab" * 16])
PATHS = st.fixed_dictionaries(
    {"path": TEXTS, "hash": st.just("md5"), "md5": MD5S, "size": st.integers(0, 2**40)}
)
ENTRIES = st.fixed_dictionaries(
    {"cmd": TEXTS, "outs": st.lists(PATHS, min_size=1, max_size=2)},
    optional={
        "deps": st.lists(PATHS, min_size=1, max_size=3),
        "params": st.dictionaries(
            st.just("params.yaml"),
            st.dictionaries(
                st.sampled_from(["seed", "dataset"]),
                st.one_of(TEXTS, st.sampled_from([0.1, 1e-5, 2])),
            ),
        ),
    },
)
LOCKS = st.dictionaries(NAMES, ENTRIES, min_size=1, max_size=4)


def lock(entries: dict[str, Any], **rest: Any) -> str:
    """Return a dvc.lock as DVC writes it."""
    return str(dumps_yaml({"schema": "2.0", "stages": entries} | rest))


def alone(entries: dict[str, Any]) -> dict[str, str]:
    """Return what DVC writes of each entry."""
    return {name: dumps_yaml({"stages": {name: entry}}) for name, entry in entries.items()}


@tried_on(few=8, many=60)
@given(before=LOCKS, written=LOCKS, datasets=st.booleans())
def test_it_is_what_dvc_writes(
    before: dict[str, Any], written: dict[str, Any], datasets: bool
) -> None:
    rest: dict[str, Any] = {"datasets": [{"name": "d", "url": "u"}]} if datasets else {}
    text = lock(before, **rest)
    # As DVC does it: the whole file is read, changed and written.
    content = parse_yaml_for_update(text, "dvc.lock")
    content["stages"].update(written)

    assert with_entries(text, alone(written)) == dumps_yaml(content)


ENTRY = {"cmd": "true", "outs": [{"path": "a", "hash": "md5", "md5": "0" * 32, "size": 1}]}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "schema: '3.0'\nstages:\n  shard:\n    cmd: true\n",
        lock({"shard": ENTRY})[:-1],
        lock({"shard": ENTRY}).replace("  shard:", "  # of ours\n  shard:"),
        lock({"shard": ENTRY}).replace("  shard:", "  'shard':"),
        lock({"shard": ENTRY}).replace("  shard:", "  shard: &anchor"),
        lock({"shard": ENTRY}).replace("  shard:", "  ? shard\n  :"),
        lock({"shard": ENTRY}) + lock({"shard": ENTRY}).partition("stages:\n")[2],
        lock({"shard": ENTRY}) + "<<<<<<< HEAD\n",
        "schema: '2.0'\nstages:\n    cmd: true\n",
    ],
)
def test_a_lock_of_another_form_is_left_to_dvc(text: str) -> None:
    assert with_entries(text, alone({"shard": ENTRY})) is None


def test_an_entry_of_another_form_is_left_to_dvc() -> None:
    text = lock({"shard": ENTRY})

    assert with_entries(text, {"shard": text}) is None
    assert with_entries(text, {"forget": alone({"shard": ENTRY})["shard"]}) is None
    assert with_entries(text, alone({"a name": ENTRY})) is None


def test_other_entries_keep_their_text() -> None:
    entries = {"shard": ENTRY, "forget": deepcopy(ENTRY)}  # DVC writes an anchor for the same one
    own = lock(entries).replace("cmd: 'true'", "cmd:   'true' # checked")

    found = with_entries(own, alone({"forget": ENTRY}))

    assert found is not None
    assert "  shard:\n    cmd:   'true' # checked\n" in found
    assert "  forget:\n    cmd: 'true'\n" in found
