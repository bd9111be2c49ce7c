"""Deleting from the cache, the run cache and remotes: what goes, what stays, after any fault."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from unlearn.stages.erasure.objects.find import Choice, Objects, find_in, find_objects
from unlearn.stages.erasure.objects.purge import purge, purge_in
from unlearn.stages.erasure.objects.stores import open_stores
from unlearn.stages.ledger.erasure import Erasure

from tests.file_faults import Killed, fault_at
from tests.stages.erasure.purging import add_remote, erase, pending
from tests.stages.erasure.world import State, World, labelled, names_below, write_run

OLD = State("old", ("a1", "b1"))
NEW = State("new", ("a2", "b1"), video="v1")
OTHER = State("other", ("a3", "b3"), video="v2")

#: More operations than any purge here needs.
_MOST = 200


def test_cache_run_cache_and_remote_keep_what_is_used_and_nothing_else(world: World) -> None:
    world.commit(OLD)
    world.commit(NEW)
    run = write_run(world, world.objects(OLD)["models/final_model"][0])
    other_run = write_run(world, world.objects(NEW)["models/final_model"][0])
    remote = add_remote(world)
    places = erase(world)
    assert list(places) == ["DVC's cache", "the run cache", "the remote backup"]
    assert not pending(places)
    expected = world.names(NEW) | {world.objects(OLD)["docs/video.bin"][0]}
    assert world.here() == expected, labelled(world.here() ^ expected, world)
    assert set(names_below(remote)) == expected
    for folder in (world.cache, remote):
        assert not (folder / run).exists()
        # DVC fails at an empty folder of a run.
        assert not (folder / run).parent.exists()
        assert (folder / other_run).exists()


def test_what_the_erasure_replaced_goes_too(world: World) -> None:
    world.commit(OLD)
    objects = find_objects(world.context, Choice())
    world.write(NEW)  # as the stages do after rows were dropped
    purge(world.project, objects, lambda _count: None)
    assert world.here() == world.names(NEW) | {world.objects(OLD)["docs/video.bin"][0]}


def test_the_layout_of_dvc_2_is_purged_too(world: World) -> None:
    world.commit(OLD)
    for path in list((world.cache / "files/md5").glob("*/*")):
        target = world.cache / path.parent.name / path.name
        target.parent.mkdir(exist_ok=True)
        path.rename(target)
        if path.suffix == ".dir":
            unpacked = target.with_name(f"{target.name}.unpacked")
            unpacked.mkdir()
            (unpacked / "row").write_text("a row")
    for name in ("dvc.lock", "data/dataset.csv.dvc"):
        file = world.repo.root / name
        file.write_text(file.read_text().replace("hash: md5\n", ""))
    world.repo.commit("as DVC 2 has it")
    world.commit(NEW)
    assert not pending(erase(world))
    gone = world.counted(OLD) - world.names(NEW)
    left = [path.relative_to(world.cache).as_posix() for path in world.cache.rglob("*")]
    assert not [name for name in gone if any(name in path.replace("/", "") for path in left)]


@pytest.mark.slow
def test_nothing_is_deleted_in_a_shared_remote_unless_it_is_owned(world: World) -> None:
    world.commit(OLD)
    world.commit(NEW)
    remote = add_remote(world)
    foreign = remote / "files/md5/ff" / ("e" * 30)
    foreign.parent.mkdir(exist_ok=True)
    foreign.write_text("rows of another project")
    before = set(names_below(remote))
    places = erase(world)
    assert pending(places) == {"the remote backup"}
    assert set(names_below(remote)) == before
    assert not pending(erase(world, Choice(owned=True)))
    assert not foreign.exists()
    assert set(names_below(remote)) == world.names(NEW) | set(world.objects(OLD)["docs/video.bin"])


@pytest.mark.slow
def test_another_branch_keeps_its_objects_until_it_is_named(world: World) -> None:
    world.commit(OLD)
    world.repo.git("checkout", "--quiet", "-b", "new-rows")
    world.commit(OTHER)
    world.repo.git("checkout", "--quiet", "main")
    world.commit(NEW)
    places = erase(world)
    assert pending(places) == {"DVC's cache", "the branch new-rows"}
    assert places["DVC's cache"].why == "it keeps objects of the branch new-rows"
    assert world.here() >= world.names(OTHER)
    places = erase(world, Choice(branches=("new-rows",)))
    assert not pending(places)
    assert places["the branch new-rows"].state == "purged"
    assert not world.here() & (world.counted(OTHER) - world.names(NEW))


def test_a_branch_that_came_after_the_search_is_respected(world: World) -> None:
    world.commit(OLD)
    world.commit(NEW)
    objects = find_objects(world.context, Choice())
    world.repo.git("checkout", "--quiet", "-b", "again", "main~1")
    world.repo.git("commit", "--quiet", "--allow-empty", "-m", "uses the old state again")
    world.repo.git("checkout", "--quiet", "main")
    purge(world.project, objects, lambda _count: None)
    assert world.here() >= world.names(OLD)


@pytest.mark.slow
def test_a_remote_without_this_projects_objects_is_never_called_purged(world: World) -> None:
    world.commit(OLD)
    world.commit(NEW)
    world.repo.dvc("remote", "add", "wrong", "../elsewhere")
    (world.repo.root.parent / "elsewhere").mkdir()
    places = erase(world)
    assert pending(places) == {"the remote wrong"}
    # The same objects, resumed: it is still not known where they are.
    objects = find_objects(world.context, Choice())
    again = {place.name: place for place in purge(world.project, objects, lambda _count: None)}
    assert pending(again) == {"the remote wrong"}


@pytest.mark.slow
def test_a_remote_that_comes_back_is_purged_by_the_next_call(world: World) -> None:
    world.commit(OLD)
    only_remote = world.objects(OLD)["data/retain_set"]
    world.commit(NEW)
    remote = add_remote(world)
    for name in only_remote:  # what was never pulled: the cache has neither list nor files
        world.path(name).unlink(missing_ok=True)
    remote.rename(remote.with_name("away"))
    objects = find_objects(world.context, Choice())
    places = purge(world.project, objects, lambda _count: None)
    assert pending({place.name: place for place in places}) == {"the remote backup"}
    remote.with_name("away").rename(remote)
    places = purge(world.project, objects, lambda _count: None)
    assert Erasure(places=tuple(places)).complete
    assert not set(names_below(remote)) & (world.counted(OLD) - world.names(NEW))


def test_files_of_the_working_tree_stay_where_they_are_links_into_the_cache(world: World) -> None:
    world.commit(OLD)
    world.commit(NEW)
    kept = world.objects(NEW)["data/dataset.csv"][0]
    stale = world.objects(OLD)["reports/verify.json"][0]
    for path, name in (("data/dataset.csv", kept), ("reports/verify.json", stale)):
        file = world.repo.root / path
        file.unlink(missing_ok=True)
        file.parent.mkdir(exist_ok=True)
        file.symlink_to(world.path(name))
    places = erase(world)
    assert (world.repo.root / "data/dataset.csv").read_text() == "dataset new"
    assert (world.repo.root / "reports/verify.json").read_text() == "report a1 b1"
    # It is not what dvc.lock names, and can hold rows.
    assert pending(places) == {"DVC's cache"}
    assert places["DVC's cache"].why == (
        "files of the working tree are links to objects in it that dvc.lock does not name"
    )


@pytest.mark.slow
def test_a_hard_link_in_the_working_tree_keeps_its_content(world: World) -> None:
    world.commit(OLD)
    world.commit(NEW)
    file = world.repo.root / "models/old-copy.bin"
    name = world.objects(OLD)["models/shard_models/s000"][1]
    file.parent.mkdir(exist_ok=True)
    os.link(world.path(name), file)
    content = file.read_bytes()
    assert not pending(erase(world))
    assert file.read_bytes() == content
    assert not world.path(name).exists()


def checked_out(world: World) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Check out every commit with `dvc checkout`; yield the files below data/ and models/."""
    for commit in world.repo.git("rev-list", "HEAD").split():
        world.repo.git("checkout", "--quiet", commit)
        world.repo.run("dvc", "checkout", "--force")
        yield commit, world.repo.files("data") | world.repo.files("models")


@pytest.mark.slow
def test_no_older_commit_brings_a_row_back(world: World) -> None:
    third = State("third", ("a3", "b1"))
    for state in (OLD, third, NEW):
        world.commit(state)
    remote = add_remote(world)
    assert not pending(erase(world))
    assert remote.is_dir()
    rows = (b"old", b"a1", b"third", b"a3")
    seen = 0
    for commit, files in checked_out(world):
        world.repo.run("dvc", "pull", "--force")
        for name, content in files.items():
            found = [row for row in rows if content.startswith(b"dataset " + row)]
            found += [row for row in rows if row in content.split()]
            assert not found, (commit, name)
            seen += content in (b"dataset new", b"model 0 a2")
    assert seen  # what stands now is there


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 4])
def test_a_kill_at_any_file_operation_loses_nothing_and_is_finished_by_the_next_call(
    world: World, step: int
) -> None:
    """Each operation is killed in turn, or every fourth."""
    world.commit(OLD)
    world.commit(NEW)
    write_run(world, world.objects(OLD)["models/final_model"][0])
    remote = add_remote(world)
    objects = find_objects(world.context, Choice())
    kept = world.names(NEW) | {world.objects(OLD)["docs/video.bin"][0]}
    cache, pushed = world.cache.with_name("cache-before"), remote.with_name("remote-before")
    shutil.copytree(world.cache, cache)
    shutil.copytree(remote, pushed)
    with open_stores(world.project) as stores:
        for count, number in enumerate(range(1, _MOST, step)):
            for folder, before in ((world.cache, cache), (remote, pushed)):
                shutil.rmtree(folder)
                shutil.copytree(before, folder)
            try:
                with fault_at(number, world.repo.root.parent, "kill"):
                    purge_in(stores, world.project, objects, lambda _count: None)
                finished = True
            except Killed:
                finished = False
            for folder in (world.cache, remote):
                assert kept <= set(names_below(folder)), number
            # The journal may be lost with the process: the search finds what is left.
            lost = count % (20 // step) == 4
            again = find_objects(world.context, Choice()) if lost else objects
            places = purge_in(stores, world.project, again, lambda _count: None)
            assert Erasure(places=tuple(places)).complete, number
            for folder in (world.cache, remote):
                assert set(names_below(folder)) == kept, number
                assert not list((folder / "runs").glob("*/*")), number
            if finished:
                break
        else:
            pytest.fail(f"{_MOST} file operations were not enough")
    assert number > 10


@pytest.mark.slow
def test_a_file_that_cannot_be_deleted_makes_its_place_pending(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.commit(OLD)
    world.commit(NEW)
    remote = add_remote(world)
    before = remote.with_name("remote-before")
    shutil.copytree(remote, before)
    gone = sorted(world.counted(OLD) - world.names(NEW))
    unlink = os.unlink
    objects = find_objects(world.context, Choice())
    with open_stores(world.project) as stores:
        for name in gone:
            shutil.rmtree(remote)
            shutil.copytree(before, remote)
            protected = remote / "files/md5" / name[:2] / name[2:]

            def refuse(path: str | Path, protected: Path = protected) -> None:
                if Path(path) == protected:
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
                unlink(path)

            with monkeypatch.context() as patch:
                patch.setattr(os, "unlink", refuse)
                found = purge_in(stores, world.project, objects, lambda _count: None)
            places = {place.name: place for place in found}
            assert pending(places) == {"the remote backup"}
            assert places["the remote backup"].why == "no rights to delete in it"
            left = set(names_below(remote)) & set(gone)
            assert name in left
            # The lists that name it stay: nothing else would say whose it is.
            for other in left - {name}:
                assert other.endswith(".dir")
                listed = json.loads((remote / "files/md5" / other[:2] / other[2:]).read_text())
                assert name in [entry["md5"] for entry in listed]
            assert not world.here() & set(gone)
            # Without the journal, the next command finds the file by its list.
            again = {one.place: one for one in find_in(stores, world.context, Choice()).stores}
            assert again["the remote backup"].why is None
            assert again["the remote backup"].objects == len(left)
            # The rights are there now.
            found = purge_in(stores, world.project, objects, lambda _count: None)
            assert Erasure(places=tuple(found)).complete


def test_what_was_found_survives_the_journal(world: World) -> None:
    world.commit(OLD)
    world.commit(NEW)
    found = find_objects(world.context, Choice(owned=True))
    read = Objects.model_validate_json(found.model_dump_json())
    places = purge(world.project, read, lambda _count: None)
    assert Erasure(places=tuple(places)).complete
