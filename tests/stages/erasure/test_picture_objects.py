"""DVC keeps each picture as an object of its own: those of deleted ones go, through all commits."""

import json
from collections.abc import Mapping

import yaml
from unlearn.stages.dvc.listing import listing_md5

from tests.stages.erasure.purging import add_remote, erase, pending
from tests.stages.erasure.world import World, md5_of, names_below


def write(world: World, files: Mapping[str, bytes]) -> None:
    """Make the dataset a folder of these files, as `dvc add` does."""
    digests = {name: world.put(content) for name, content in files.items()}
    listed = [{"md5": digests[name], "relpath": name} for name in sorted(files)]
    name = world.put(json.dumps(listed, sort_keys=True).encode(), ".dir")
    assert name == listing_md5(digests)
    entry = {"md5": name, "nfiles": len(files), "hash": "md5", "path": "dataset"}
    pointer = world.repo.root / "data/dataset.dvc"
    pointer.write_text(yaml.safe_dump({"outs": [entry]}, sort_keys=False))


def start(world: World, files: Mapping[str, bytes]) -> None:
    world.repo.set_params(dataset={"path": "data/dataset"})
    write(world, files)
    world.repo.commit("a folder of pictures")


BEFORE = {
    "labels.csv": b"r1,p1/a.png\nr2,p2/b.png\nr3,p2/c.png\n",
    "p1/a.png": b"the picture a",
    "p1/twin.png": b"the picture of two",
    "p2/b.png": b"the picture b",
    "p2/twin.png": b"the picture of two",
}
AFTER = {
    "labels.csv": b"r2,p2/b.png\nr3,p2/c.png\n",
    "p2/b.png": b"the picture b",
    "p2/twin.png": b"the picture of two",
}


def test_objects_of_deleted_pictures_go_and_others_of_the_same_content_stay(world: World) -> None:
    start(world, BEFORE)
    remote = add_remote(world)
    write(world, AFTER)
    for content in AFTER.values():
        path = remote / "files/md5" / md5_of(content)[:2] / md5_of(content)[2:]
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(content)

    assert not pending(erase(world))

    expected = {md5_of(content) for content in AFTER.values()}
    assert {name for name in world.here() if not name.endswith(".dir")} == expected
    assert set(names_below(remote)) == expected
    # Only the list of what is there now is left.
    lists = [name for name in world.here() if name.endswith(".dir")]
    assert [name in (world.repo.root / "data/dataset.dvc").read_text() for name in lists] == [True]


def test_every_version_counts_whatever_the_picture_was_called(world: World) -> None:
    start(world, {"labels.csv": b"0", "old/x.png": b"the picture a", "y.png": b"y"})
    write(world, {"labels.csv": b"1", "old/x.png": b"an older a", "y.png": b"y"})
    world.repo.commit("another picture in its place")
    write(world, BEFORE)
    world.repo.commit("new names")
    write(world, AFTER)

    assert not pending(erase(world))

    left = {name for name in world.here() if not name.endswith(".dir")}
    assert left == {md5_of(content) for content in AFTER.values()}


def test_a_picture_that_another_branch_uses_stays_and_is_pending(world: World) -> None:
    start(world, BEFORE)
    world.repo.git("checkout", "--quiet", "-b", "side")
    write(world, {**BEFORE, "p3/new.png": b"a new picture"})
    world.repo.commit("new pictures")
    world.repo.git("checkout", "--quiet", "main")
    write(world, AFTER)

    places = erase(world)

    assert "the branch side" in pending(places)
    assert {md5_of(b"the picture a"), md5_of(b"a new picture")} <= world.here()
