"""Entries of dvc.lock that are no longer what the project is."""

from collections.abc import Mapping

import pytest
import yaml
from unlearn.stages.dvc.listing import listing_md5
from unlearn.stages.erasure.objects.find import Choice, find_objects
from unlearn.stages.erasure.objects.purge import purge

from tests.stages.erasure.purging import add_remote, erase, pending
from tests.stages.erasure.world import State, World, labelled, md5_of

OLD = State("old", ("a1", "b1"))
NEW = State("new", ("a2", "b1"), video="v1")
VIDEO = "docs/video.bin"
AGAIN = "it did not run on what is there now: run it again, or remove it from dvc.yaml and dvc.lock"


def append(
    world: World, name: str, deps: Mapping[str, str], outs: Mapping[str, str], at: str = ""
) -> None:
    """Add the entry of a stage to a dvc.lock."""
    path = world.repo.root / at / "dvc.lock"
    text = path.read_text() if path.exists() else "schema: '2.0'\nstages:\n"
    text += f"  {name}:\n    cmd: make\n"
    for kind, entries in (("deps", deps), ("outs", outs)):
        text += f"    {kind}:\n"
        for file, md5 in entries.items():
            last = "nfiles: 1" if md5.endswith(".dir") else "size: 1"
            text += f"    - path: {file}\n      hash: md5\n      md5: {md5}\n      {last}\n"
    path.write_text(text)


def declare(world: World, name: str, at: str = "", **options: object) -> None:
    """Add a stage to a dvc.yaml."""
    path = world.repo.root / at / "dvc.yaml"
    path.parent.mkdir(exist_ok=True)
    content = yaml.safe_load(path.read_text()) if path.exists() else {"stages": {}}
    content["stages"][name] = {"cmd": "make"} | options
    path.write_text(yaml.safe_dump(content))


def remaining(world: World) -> set[str]:
    """Return what has to be in the cache after the erasure of `OLD`, which `NEW` replaced."""
    return world.names(NEW) | set(world.objects(OLD)[VIDEO])


@pytest.mark.slow
def test_entries_of_shards_and_stages_that_are_no_more_keep_nothing(world: World) -> None:
    world.commit(OLD)
    old, new = world.objects(OLD), world.objects(NEW)
    third = world.put(b"a model of a third shard")
    picture = world.put(b"a picture of rows")
    world.write(NEW)
    folder = old["models/shard_models/s000"][0]
    for _ in range(2):
        append(
            world,
            "train@s007",
            {"data/retain_set/s000.parquet": old["data/retain_set"][1]},
            {"models/shard_models/s007": folder},
        )
        append(
            world,
            "unlearn@gone",
            {"data/shards": old["data/shards"][0], "data/retain_set": old["data/retain_set"][0]},
            {"models/unlearned/gone": third},
        )
        append(
            world, "draw", {"data/dataset.csv": new["data/dataset.csv"][0]}, {"drawn.png": picture}
        )
        world.repo.commit("a shard, a method and a stage fewer")
        assert not pending(erase(world))
        assert world.here() == remaining(world), labelled(world.here() ^ remaining(world), world)
        # Lists that the entries name are nowhere now: the next erasure does not ask for them.
        world.write(NEW)


@pytest.mark.slow
def test_what_a_stage_that_is_no_more_wrote_is_pending_where_it_is_still_there(
    world: World,
) -> None:
    world.commit(OLD)
    world.write(NEW)
    (model,) = (world.put(b"a model of a third shard"),)
    append(
        world,
        "train@s007",
        {"data/retain_set/s007.parquet": "0" * 32},
        {"models/shard_models/s007": model},
    )
    file = world.repo.root / "models/shard_models/s007/model.bin"
    file.parent.mkdir(parents=True)
    file.write_text("a model of a third shard")
    world.repo.commit("a shard fewer")
    places = erase(world)
    assert pending(places) == {"the stage train@s007"}
    assert places["the stage train@s007"].why == (
        "dvc.yaml does not name it any more, and what it wrote is still there: "
        "delete models/shard_models/s007"
    )
    assert not world.path(model).exists()
    file.unlink()
    file.parent.rmdir()
    assert not pending(erase(world))


@pytest.mark.slow
def test_a_stage_of_ones_own_that_was_not_run_again_is_pending_by_its_name(world: World) -> None:
    world.commit(OLD)
    old, new = world.objects(OLD)["data/dataset.csv"][0], world.objects(NEW)["data/dataset.csv"][0]
    means, means_now = world.put(b"means of the old rows"), md5_of(b"means of the new rows")
    plot = world.put(b"a plot of the means")
    declare(world, "means", deps=["data/dataset.csv"], outs=["means.csv"])
    declare(world, "plot", deps=["means.csv"], outs=["plot.png"])

    def write(dataset: str, found: str) -> None:
        world.write(NEW)
        append(world, "means", {"data/dataset.csv": dataset}, {"means.csv": found})
        append(world, "plot", {"means.csv": found}, {"plot.png": plot})

    write(old, means)
    world.repo.commit("means")
    remote = add_remote(world)
    found = find_objects(world.context, Choice())
    assert [place.place for place in found.pending] == ["the stage means", "the stage plot"]
    places = erase(world)
    assert pending(places) == {
        "DVC's cache",
        "the remote backup",
        "the stage means",
        "the stage plot",
    }
    assert places["the stage means"].why == places["the stage plot"].why == AGAIN
    assert places["DVC's cache"].why == "it keeps objects of the stage means, the stage plot"
    # What it read is no output of anything that is used; what it wrote may be all that there is.
    assert world.here() == remaining(world) | {means, plot}
    assert (remote / "files/md5" / means[:2] / means[2:]).exists()
    write(new, means_now)
    world.put(b"means of the new rows")
    assert not pending(erase(world))
    assert not world.path(means).exists()
    assert world.path(means_now).exists()


@pytest.mark.slow
@pytest.mark.parametrize("is_current", [True, False])
def test_stages_that_read_a_part_or_a_folder_of_outs_are_compared_too(
    world: World, is_current: bool
) -> None:
    world.commit(OLD)
    objects = world.objects(NEW if is_current else OLD)
    other = world.repo.root / "data/shards/own.csv"
    models = {
        f"s00{number}/{name}": objects[f"models/shard_models/s00{number}"][place]
        for number in range(2)
        for place, name in ((1, "model.bin"), (2, "arch.json"))
    }
    reads = {
        "part": {"../data/shards/s000.parquet": objects["data/shards"][1]},
        "models": {
            "../models": listing_md5(
                {f"shard_models/{name}": md5 for name, md5 in models.items()}
                | {
                    "final_model/a.bin": objects["models/final_model"][1],
                    "final_model/b.bin": objects["models/final_model"][2],
                }
            )
        },
        "moved": {"../../models/final_model": objects["models/final_model"][0]},
    }
    world.write(NEW)
    assert not other.exists()
    for name, deps in reads.items():
        declare(world, name, "own", **({"wdir": "below"} if name == "moved" else {}))
        append(world, name, deps, {f"{name}.txt": world.put(name.encode())}, "own")
    world.repo.commit("stages of one's own")
    expected = set() if is_current else {f"the stage own/dvc.yaml:{name}" for name in reads}
    assert {name for name in pending(erase(world)) if name.startswith("the stage")} == expected


def test_a_copy_that_was_imported_from_the_old_dataset_is_pending(world: World) -> None:
    world.commit(OLD)
    world.write(NEW)
    content = b"dataset old"
    assert md5_of(content) == world.objects(OLD)["data/dataset.csv"][0]
    (world.repo.root / "data/copy.csv.dvc").write_text(
        f"deps:\n- md5: {md5_of(content)}\n  hash: md5\n  path: dataset.csv\n"
        f"outs:\n- md5: {md5_of(content)}\n  hash: md5\n  path: copy.csv\n"
    )
    world.repo.commit("a copy")
    places = erase(world)
    assert pending(places) == {"DVC's cache", "the file data/copy.csv.dvc"}
    assert world.path(md5_of(content)).exists()


def test_nothing_goes_where_a_pipeline_cannot_be_read(world: World) -> None:
    world.commit(OLD)
    world.commit(NEW)
    (world.repo.root / "own").mkdir()
    (world.repo.root / "own/dvc.yaml").write_text("stages: [")
    before = world.here()
    objects = find_objects(world.context, Choice())
    places = {place.name: place for place in purge(world.project, objects, lambda _count: None)}
    assert places["DVC's cache"].why == (
        "what the working tree uses is not known: a file of DVC in it cannot be read"
    )
    assert world.here() == before


@pytest.mark.slow
def test_a_stage_without_outs_is_no_damage(world: World) -> None:
    world.commit(OLD)
    music = world.put(b"music")
    declare(world, "check", "own", deps=["notes.txt"])
    declare(world, "compose", "own", deps=["notes.txt"], outs=["music.mid"])
    append(world, "compose", {"notes.txt": "0" * 32}, {"music.mid": music}, "own")
    lock = world.repo.root / "own/dvc.lock"
    lock.write_text(
        lock.read_text()
        + "  check:\n    cmd: make\n    deps:\n    - path: notes.txt\n      hash: md5\n      md5: "
        + "0" * 32
        + "\n      size: 1\n"
    )
    world.repo.commit("more stages")
    world.write(NEW)
    world.repo.commit("the rows are gone")
    assert music not in find_objects(world.context, Choice()).candidates
    assert not pending(erase(world))
    assert world.path(music).exists()
