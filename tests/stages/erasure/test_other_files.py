"""Files in caches and remotes that no commit names, and places that fail."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unlearn.stages.dvc.storage import UnreachedError
from unlearn.stages.erasure.journal import Journal
from unlearn.stages.erasure.objects.find import SHARED, Choice, find_objects
from unlearn.stages.erasure.objects.purge import purge
from unlearn.stages.erasure.objects.stores import FolderStore

from tests.stages.erasure.purging import add_remote, erase, pending
from tests.stages.erasure.world import State, World, names_below, write_run

OLD = State("old", ("a1", "b1"))
NEW = State("new", ("a2", "b1"), video="v1")


@pytest.mark.slow
def test_going_on_without_owned_leaves_what_no_commit_names_and_says_so(world: World) -> None:
    world.commit(OLD)
    world.commit(NEW)
    remote = add_remote(world)
    foreign = remote / "files/md5/ff" / ("e" * 30)
    foreign.parent.mkdir(exist_ok=True)
    foreign.write_text("rows of another project")
    begun = Journal(
        forget_list="", heads=(), objects=find_objects(world.context, Choice(owned=True))
    )
    # It is killed before anything is deleted.
    plain = begun.going_on(find_objects(world.context, Choice())).objects
    places = {place.name: place for place in purge(world.project, plain, lambda _count: None)}
    assert pending(places) == {"the remote backup"}
    assert places["the remote backup"].why == SHARED
    # It may be another project's: nothing at all is deleted there.
    assert set(names_below(remote)) >= world.names(OLD) | {foreign.parent.name + foreign.name}
    # The other way round, too.
    begun = Journal(forget_list="", heads=(), objects=find_objects(world.context, Choice()))
    owned = begun.going_on(find_objects(world.context, Choice(owned=True))).objects
    places = {place.name: place for place in purge(world.project, owned, lambda _count: None)}
    assert not pending(places)
    assert not foreign.exists()


def test_what_was_known_before_an_interruption_goes_without_the_lists_that_named_it(
    world: World,
) -> None:
    world.commit(OLD)
    world.commit(NEW)
    begun = Journal(forget_list="", heads=(), objects=find_objects(world.context, Choice()))
    # It is killed after it has deleted the lists of folders.
    for name in world.names(OLD) - world.names(NEW):
        if name.endswith(".dir"):
            world.path(name).unlink()
    found = find_objects(world.context, Choice())
    forgotten = set(begun.objects.candidates) - set(found.candidates)
    assert forgotten & world.here()

    places = {
        place.name: place
        for place in purge(world.project, begun.going_on(found).objects, lambda _count: None)
    }

    assert not pending(places)
    assert not forgotten & world.here()


@pytest.mark.slow
def test_what_no_commit_names_is_looked_for_again_after_deletion(world: World) -> None:
    world.commit(OLD)
    world.commit(NEW)
    foreign = world.put(b"rows of another project")
    owned = find_objects(world.context, Choice(owned=True))
    plain = owned.model_copy(update={"choice": Choice()})
    places = {place.name: place for place in purge(world.project, plain, lambda _count: None)}
    assert places["DVC's cache"].why == SHARED
    assert world.path(foreign).exists()


@pytest.mark.slow
def test_files_that_are_not_of_dvc_stay_in_a_place_that_is_ours(world: World) -> None:
    world.commit(OLD)
    world.commit(NEW)
    remote = add_remote(world)
    token = "AbCd-_0123456789abcdef"
    theirs = ("de/brief.txt", "be/2025/plan.md", "fs/notes", "files/md5/README", "files/a/b")
    of_dvc = (
        f"files/md5/.{token}.tmp",
        f"files/md5/ab/.{token}.tmp",
        f"files/md5/ab/{'1' * 30}.{token}.tmp",
        f"files/md5/ab/{'2' * 30}.dir.{token}.tmp",
        f"ab/{'3' * 30}.{token}.tmp",
    )
    for name in (*theirs, *of_dvc):
        (remote / name).parent.mkdir(parents=True, exist_ok=True)
        (remote / name).write_text("a row")
    (world.cache / "fs/local/ab").mkdir(parents=True)
    (world.cache / "fs/local/ab/copy").write_text("a row")
    found = find_objects(world.context, Choice(owned=True))
    assert {store.place: store.unnamed for store in found.stores} == {
        "DVC's cache": ("fs/local/ab/copy",),
        "the remote backup": tuple(sorted(of_dvc)),
    }
    assert pending(erase(world)) == {"DVC's cache", "the run cache", "the remote backup"}
    assert not pending(erase(world, Choice(owned=True)))
    assert [name for name in theirs if not (remote / name).exists()] == []
    assert [name for name in of_dvc if (remote / name).exists()] == []
    assert not (world.cache / "fs/local/ab/copy").exists()


@pytest.mark.slow
@pytest.mark.parametrize("what", ["list", "entry", "run"])
def test_a_disk_that_fails_makes_its_place_pending(
    world: World, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    world.commit(OLD)
    world.commit(NEW)
    write_run(world, world.objects(OLD)["models/final_model"][0])
    remote = add_remote(world)
    target = {"list": remote, "entry": remote / "files/md5", "run": remote / "runs"}[what]
    real: dict[str, Callable[..., Any]] = {
        "is_dir": Path.is_dir,
        "scandir": os.scandir,
        "read_bytes": Path.read_bytes,
    }

    def failing(name: str) -> Callable[..., Any]:
        def call(path: str | Path, *arguments: Any) -> Any:
            if Path(path).is_relative_to(target) and (what == "run" or Path(path) == target):
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))
            return real[name](path, *arguments)

        return call

    objects = find_objects(world.context, Choice())
    with monkeypatch.context() as patch:
        patch.setattr(
            *{
                "list": (Path, "is_dir", failing("is_dir")),
                "entry": (os, "scandir", failing("scandir")),
                "run": (Path, "read_bytes", failing("read_bytes")),
            }[what]
        )
        found = {store.place: store for store in find_objects(world.context, Choice()).stores}
        places = {place.name: place for place in purge(world.project, objects, lambda _count: None)}
    assert found["the remote backup"].why == os.strerror(errno.ESTALE).lower()
    assert pending(places) == {"the remote backup"}
    assert places["the remote backup"].why == os.strerror(errno.ESTALE).lower()
    assert not pending(erase(world))


def test_a_file_that_cannot_be_read_is_no_internal_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("a row")

    def fail(path: Path) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(UnreachedError, match=f"^{os.strerror(errno.EIO).lower()}$"):
        FolderStore("a place", tmp_path).read(["file"])
