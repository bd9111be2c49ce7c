"""Files that are whole or not there, locks, and where a project is."""

import errno
import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.errors import BusyError, InputError
from unlearn.stages.project.files import (
    TEMPORARY_PREFIX,
    canonical_json,
    digest_file,
    digest_json,
    json_bytes,
    move_through,
    remove_unplanned,
    scratch_folder,
    write_bytes,
    write_folder,
    write_folder_through,
    write_json,
    write_through,
)
from unlearn.stages.project.locks import exclusive
from unlearn.stages.project.paths import Project, find_project
from unlearn.stages.project.timings import Timing, read_timings, record_timings

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


def below(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_moved_file_is_the_new_one(tmp_path: Path) -> None:
    source, path = tmp_path / "new", tmp_path / "folder" / "a.txt"
    source.write_bytes(b"new")

    assert move_through(source, path)
    assert below(tmp_path) == {"folder/a.txt": b"new"}


def test_a_file_on_another_file_system_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, path = tmp_path / "new", tmp_path / "a.txt"
    source.write_bytes(b"new")
    path.write_bytes(b"old")
    replace = Path.replace

    def across(self: Path, target: Path) -> Path:
        if self == source:
            raise OSError(errno.EXDEV, "other file system")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", across)

    assert move_through(source, path)
    assert path.read_bytes() == b"new"
    assert set(below(tmp_path)) <= {"a.txt", "new"}


@pytest.mark.parametrize("size", [0, 5, (1 << 20) + 1])
def test_an_equal_file_is_left_alone_and_another_is_not(tmp_path: Path, size: int) -> None:
    path, source = tmp_path / "a", tmp_path / "new"
    path.write_bytes(bytes(size))
    before = path.stat().st_ino
    source.write_bytes(bytes(size))

    assert not move_through(source, path)
    assert not write_through(path, lambda temporary: _put(temporary, bytes(size)), leave=True)
    assert path.stat().st_ino == before
    other = bytes(size)[:-1] + b"x"
    assert write_through(path, lambda temporary: _put(temporary, other), leave=True)
    assert path.read_bytes() == other
    # A link with the same bytes is not left: they may change without this folder.
    (tmp_path / "link").symlink_to(path)
    assert write_through(tmp_path / "link", lambda temporary: _put(temporary, other), leave=True)
    assert not (tmp_path / "link").is_symlink()


def _put(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")

    def fail(temporary: Path) -> None:
        temporary.write_bytes(b"half of the n")
        raise OSError

    with pytest.raises(OSError):  # noqa: PT011 - raised four lines above
        write_through(path, fail)

    assert below(tmp_path) == {"a.txt": b"old"}


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep/er/a.txt"
    write_bytes(path, b"old")
    seen = []

    def write(temporary: Path) -> None:
        assert temporary.parent == path.parent
        assert temporary.name.startswith(TEMPORARY_PREFIX)
        temporary.write_bytes(b"new")
        seen.append(path.read_bytes())

    write_through(path, write)

    assert seen == [b"old"]
    assert path.read_bytes() == b"new"


def test_a_secret_is_never_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "key"
    before = os.umask(0)
    try:
        write_bytes(path, b"secret", 0o600)
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_equal_content_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    assert write_bytes(path, b"same")
    before = path.stat().st_mtime_ns, path.stat().st_ino

    assert not write_bytes(path, b"same")
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before
    assert write_bytes(path, b"other")


def test_a_link_is_replaced_and_what_it_points_to_left_alone(tmp_path: Path) -> None:
    """DVC may link a file to its cache: what is written must not go through the link."""
    cached, path = tmp_path / "cached", tmp_path / "a.txt"
    cached.write_bytes(b"cached")
    path.symlink_to(cached)

    write_bytes(path, b"new")
    assert not path.is_symlink()
    assert cached.read_bytes() == b"cached"
    path.unlink()
    os.link(cached, path)
    write_bytes(path, b"newer")
    assert cached.read_bytes() == b"cached"


@given(json_values)
def test_json_has_one_text(value: Any) -> None:
    assert json.loads(json_bytes(value)) == value
    assert json.loads(canonical_json(value)) == value
    assert json_bytes(value).endswith(b"\n")
    assert digest_json(value) == digest_json(json.loads(json_bytes(value)))


def test_the_order_of_keys_means_nothing() -> None:
    assert digest_json({"a": 1, "b": [1, 2]}) == digest_json({"b": [1, 2], "a": 1})
    assert digest_json([1, 2]) != digest_json([2, 1])
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))


def test_a_file_is_digested_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * (3 << 20))

    import hashlib

    assert digest_file(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert digest_file(path, "md5") == hashlib.md5(path.read_bytes()).hexdigest()  # noqa: S324 - as DVC does


def test_a_folder_holds_exactly_what_is_planned(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write_folder(folder, {"a": b"1", "sub/b": b"2", "old/deep/c": b"3"}, last="a")
    (folder / ".gitignore").write_bytes(b"/x\n")
    (folder / f"{TEMPORARY_PREFIX}1-a").write_bytes(b"half")

    write_folder(folder, {"a": b"1", "sub/d": b"4"}, last="a")

    assert below(folder) == {"a": b"1", "sub/d": b"4", ".gitignore": b"/x\n"}
    assert not (folder / "old").exists()


def test_the_last_file_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    replace = Path.replace

    def note(self: Path, target: Path) -> Path:
        order.append(Path(target).name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", note)
    write_folder(tmp_path, {"a": b"", "lineage.json": b"", "z": b""}, last="lineage.json")

    assert order == ["a", "z", "lineage.json"]


def test_what_was_removed_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": b"", "b/c": b""}, last="a")

    assert remove_unplanned(tmp_path, ["a"]) == ["b/c"]
    assert remove_unplanned(tmp_path / "missing", []) == []


def test_scratch_space_is_empty_and_goes_away(tmp_path: Path) -> None:
    path = tmp_path / "scratch"
    path.mkdir()
    (path / "left over").write_bytes(b"")

    def fail() -> None:
        with scratch_folder(path) as scratch:
            assert list(scratch.iterdir()) == []
            (scratch / "more").write_bytes(b"")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not path.exists()


_HOLD = """
import sys, time
from pathlib import Path
from unlearn.stages.project.locks import exclusive

with exclusive(Path(sys.argv[1]), "a test"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_is_waited_for_and_freed_when_its_holder_dies(tmp_path: Path) -> None:
    path = tmp_path / "locks/list"
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        started = time.monotonic()
        with pytest.raises(BusyError, match="another run is still running") as caught:  # noqa: SIM117 - the outer one ends first
            with exclusive(path, "another run", patience=0.2):
                pass
        assert time.monotonic() - started >= 0.2
        assert caught.value.exit_code == 4
        assert "nothing was changed" in caught.value.message
        holder.kill()
    with exclusive(path, "another run", patience=5):
        assert path.exists()


def test_a_project_is_found_from_any_folder_below_it(tmp_path: Path) -> None:
    root = tmp_path / "project"
    deep = root / "data" / "shards"
    deep.mkdir(parents=True)
    with pytest.raises(InputError, match="not in an unlearn project"):
        find_project(deep)
    (root / "params.yaml").touch()
    with pytest.raises(InputError, match="not in an unlearn project"):
        find_project(deep)
    (root / "dvc.yaml").touch()

    assert find_project(deep) == find_project(root) == Project(root.resolve())
    with pytest.raises(InputError):
        find_project(tmp_path)


def test_timings_are_kept_by_stage_and_a_damaged_file_is_none(tmp_path: Path) -> None:
    project = Project(tmp_path)
    assert read_timings(project) == {}

    record_timings(project, {"forget": Timing(1.5), "train@s000": Timing(2.0, 10, 1)})
    record_timings(project, {"train@s000": Timing(3.0, 5, 2)})

    assert read_timings(project) == {"forget": Timing(1.5), "train@s000": Timing(3.0, 5, 2)}
    for content in ("", "[]", '{"stages": {"a": {"minutes": 1}}}'):
        project.timings.write_text(content, encoding="utf-8")
        assert read_timings(project) == {}
    assert write_json(project.timings, {})


def test_a_folder_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "data/rows"

    def fill(folder: Path) -> None:
        (folder / "a/b").mkdir(parents=True)
        (folder / "a/b/c.csv").write_text("id", encoding="utf-8")
        assert not path.exists()

    def fail(folder: Path) -> None:
        fill(folder)
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        write_folder_through(path, fail)
    assert list(path.parent.iterdir()) == []

    write_folder_through(path, fill)
    assert list(path.parent.iterdir()) == [path]
    assert [found.relative_to(path).as_posix() for found in sorted(path.rglob("*.*"))] == [
        "a/b/c.csv"
    ]
