"""What files of DVC say, in every form that DVC has written them in."""

import posixpath

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.erasure.objects.counted import Paths, counted_names, counted_paths, rows_paths
from unlearn.stages.erasure.objects.records import Entry, read_records
from unlearn.stages.erasure.objects.uncached import Patterns

from tests.properties import tried_on

_A, _B, _C = "a" * 32, "b" * 32, "c" * 32 + ".dir"

_PATHS = st.from_regex(r"[a-zA-Z0-9_. '#:é-]{1,9}(/[a-z0-9.]{1,5}){0,2}", fullmatch=True).filter(
    lambda path: posixpath.normpath(path) == path and path not in (".", "..")
)
_OBJECTS = st.from_regex(r"[0-9a-f]{32}(\.dir)?", fullmatch=True)
_ENTRIES = st.lists(
    st.fixed_dictionaries(
        {"path": _PATHS, "hash": st.just("md5"), "md5": _OBJECTS, "size": st.integers(0, 9)}
    ),
    max_size=3,
)
_STAGES = st.dictionaries(
    st.from_regex(r"[a-z]{1,6}(@s[0-9]{3})?", fullmatch=True),
    st.fixed_dictionaries(
        {
            "cmd": st.sampled_from(["make", "a: b\nc", "unlearn stage shard"]),
            "deps": _ENTRIES,
            "params": st.just({"params.yaml": {"train": {"deps": [1], "path": "x"}}}),
            "outs": _ENTRIES.filter(bool),
        }
    ),
    max_size=3,
)


@tried_on(few=8, many=60)
@given(_STAGES, st.sampled_from(["", "sub/"]))
def test_a_lock_is_read_as_yaml_reads_it(
    stages: dict[str, dict[str, list[dict[str, str]]]], folder: str
) -> None:
    text = "schema: '2.0'\n" + yaml.safe_dump({"stages": stages}, sort_keys=False)
    # DVC indents lists as its library does, not as PyYAML.
    found = read_records(f"{folder}dvc.lock", text.encode())
    expected = [
        tuple(
            tuple(Entry(folder + entry["path"], entry["md5"]) for entry in stage[kind])
            for kind in ("deps", "outs")
        )
        for stage in stages.values()
    ]
    assert [(record.deps, record.outs) for record in found.records] == expected
    assert not found.damaged


def lock(*entries: tuple[str, list[tuple[str, str]], list[tuple[str, str]]]) -> bytes:
    """Return a dvc.lock: name, deps and outs of each stage."""
    text = "schema: '2.0'\nstages:\n"
    for name, deps, outs in entries:
        text += f"  {name}:\n    cmd: make\n"
        for kind, listed in (("deps", deps), ("outs", outs)):
            text += f"    {kind}:\n"
            for path, md5 in listed:
                text += f"    - path: {path}\n      hash: md5\n      md5: {md5}\n      size: 1\n"
    return text.encode()


def test_the_usual_form_is_read_without_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_text: str) -> None:
        raise AssertionError

    monkeypatch.setattr("unlearn.stages.erasure.objects.records.parse_yaml", refuse)
    found = read_records("dvc.lock", lock(("one", [("in", _A)], [("out/x", _B), ("dir", _C)])))
    assert list(found.names()) == [_A, _B, _C]


def test_tracked_files_of_all_versions_of_dvc_are_read() -> None:
    text = f"wdir: ..\nouts:\n- md5: {_A}\n  path: rows.csv\n"
    (record,) = read_records("data/x/rows.csv.dvc", text.encode()).records
    assert record.outs == (Entry("data/rows.csv", _A),)
    text = (
        f"outs:\n- path: rows\n  files:\n  - relpath: one.csv\n    md5: {_A}\n"
        f"deps:\n- path: rows\n  md5: {_B}\n  repo:\n    url: elsewhere\n"
    )
    (record,) = read_records("rows.dvc", text.encode()).records
    assert record.outs == (Entry("rows/one.csv", _A),)
    assert record.deps == ()
    old = f"one:\n  cmd: make\n  outs:\n  - path: x\n    md5: {_A}\n"
    (record,) = read_records("dvc.lock", old.encode()).records
    assert record.outs == (Entry("x", _A),)


@pytest.mark.parametrize("cut", range(20, 330, 7))
def test_no_object_of_a_damaged_lock_is_lost(cut: int) -> None:
    whole = lock(("one", [("in", _A)], [("out", _B)]), ("two", [("out", _B)], [("dir", _C)]))
    part = whole[:cut]
    found = set(read_records("dvc.lock", part + b"<<<<<<< HEAD\n").names())
    for name in (_A, _B, _C):
        if name.encode() in part:
            assert name in found, part


_SETTINGS = b"key_check: 'ab'\ndataset: {path: data/rows.csv}\n"


def test_what_rows_were_made_of_and_what_was_made_of_them_counts() -> None:
    one, two, three, four = (letter * 32 for letter in "bcde")
    files = [
        read_records(
            "dvc.lock",
            lock(
                ("prepare", [("raw.csv", one), ("prepare.py", _A)], [("data/rows.csv", two)]),
                ("export", [("data/rows.csv", two)], [("out/all.csv", three)]),
                ("draw", [("prepare.py", _A)], [("pictures", four)]),
            ),
        ),
        read_records("raw.csv.dvc", f"outs:\n- md5: {one}\n  path: raw.csv\n".encode()),
    ]
    dataset, written = rows_paths([("params.yaml", _SETTINGS)], "")
    paths = counted_paths(dataset, written, files)
    assert {name for found in files for name in counted_names(paths, found)} == {one, two, three}


def test_a_stage_with_a_folder_of_its_own_is_found_by_its_objects() -> None:
    dataset, written = rows_paths([("params.yaml", _SETTINGS)], "")
    found = read_records(
        "dvc.lock",
        lock(
            ("one", [("data/rows.csv", _A)], [("models/m", _B)]),
            ("two", [("../models/m", _B)], [("exported", _C)]),
        ),
    )
    assert _C in counted_names(counted_paths(dataset, written, [found]), found)


def test_another_project_in_the_repository_does_not_count() -> None:
    other = b"key_check: 'cd'\ndataset: {path: data/rows.csv}\n"
    settings = [
        ("a/params.yaml", _SETTINGS),
        ("b/params.yaml", other),
        ("c/params.yaml", _SETTINGS),
    ]
    dataset, _ = rows_paths(settings, "a")
    # A folder with the same key is where the project was before, or a copy of it.
    assert dataset.roots == {"a/data/rows.csv", "c/data/rows.csv"}


def test_paths_overlap_with_what_is_in_them_and_what_they_are_in() -> None:
    paths = Paths()
    assert paths.add("data/shards")
    assert not paths.add("data/shards/s000.parquet")
    assert paths.overlap("data")
    assert paths.overlap("data/shards/s000.parquet")
    assert not paths.overlap("data/shards.csv")
    assert not paths.overlap("other")


def test_outs_without_cache_are_known_by_dvc_yaml() -> None:
    text = (
        "stages:\n  a:\n    outs:\n    - data/shards\n    - data/forget_set: {cache: false}\n"
        "  b:\n    metrics:\n    - reports/${item.name}/m.json: {cache: false, persist: true}\n"
    )
    found = Patterns([("sub/dvc.yaml", text.encode()), ("dvc.yaml", b"<<<<<<< HEAD\n")])
    assert found.match("sub/data/forget_set")
    assert found.match("sub/reports/one/m.json")
    assert not found.match("sub/data/shards")
    assert not found.match("data/forget_set")
