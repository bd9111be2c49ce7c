"""Remotes on S3: every version of an object goes, and what cannot go is pending."""

from collections.abc import Iterator

import pytest
from unlearn.stages.erasure.objects.find import Choice, find_objects
from unlearn.stages.erasure.objects.purge import purge
from unlearn.stages.ledger.erasure import ErasedPlace

from tests.s3_server import S3Server, s3_server
from tests.stages.erasure.world import State, World, write_run

OLD = State("old", ("a1", "b1"))
NEW = State("new", ("a2", "b1"), video="v1")

_PLACE = "the remote cloud"


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


@pytest.fixture
def bucket(request: pytest.FixtureRequest) -> str:
    """Return a name that no other test has."""
    return f"bucket-{abs(hash(request.node.nodeid)):x}"


def key_of(name: str) -> str:
    return f"project/files/md5/{name[:2]}/{name[2:]}"


def make_history(world: World, server: S3Server, bucket: str) -> None:
    """Commit two states, and put the objects of both into a remote."""
    server.add_remote(world.repo, "cloud", f"{bucket}/project")
    for state in (OLD, NEW):
        world.commit(state)
        write_run(world, world.objects(state)["models/final_model"][0])
    server.upload(world.cache, bucket, "project")


def erase(world: World) -> dict[str, ErasedPlace]:
    objects = find_objects(world.context, Choice())
    places = purge(world.project, objects, lambda _count: None)
    return {place.name: place for place in places}


@pytest.mark.slow
@pytest.mark.parametrize("versions", [False, True], ids=["plain", "with versions"])
def test_all_versions_go_and_what_is_used_stays(
    world: World, server: S3Server, bucket: str, versions: bool
) -> None:
    server.make_bucket(bucket, versions=versions)
    server.add_remote(world.repo, "cloud", f"{bucket}/project")
    for state in (OLD, NEW):
        world.commit(state)
        write_run(world, world.objects(state)["models/final_model"][0])
        world.repo.dvc("push", "--quiet", "--run-cache", "-r", "cloud")
    gone = world.counted(OLD) - world.names(NEW)
    # A second version of an object, and one that somebody deleted the usual way.
    first, second = sorted(gone)[:2]
    server.client.put_object(Bucket=bucket, Key=key_of(first), Body=b"rows")
    server.client.delete_object(Bucket=bucket, Key=key_of(second))
    server.client.put_object(Bucket=bucket, Key="elsewhere/files/md5/ab/cd", Body=b"not ours")
    # A push of an object that was cut short.
    server.client.create_multipart_upload(Bucket=bucket, Key=key_of(first))
    before = server.keys(bucket)
    objects = find_objects(world.context, Choice())
    cloud = objects.store(_PLACE)
    assert cloud is not None
    assert cloud.objects == len(gone) - (0 if versions else 1)
    assert cloud.runs == 1
    places = purge(world.project, objects, lambda _count: None)
    assert {place.state for place in places} == {"purged"}
    assert not server.client.list_multipart_uploads(Bucket=bucket).get("Uploads")
    after = server.keys(bucket)
    runs = {key for key in before - after if "/runs/" in key}
    assert before - after == {key_of(name) for name in gone if key_of(name) in before} | runs
    assert len(runs) == 1
    assert {key_of(name) for name in world.names(NEW)} <= after


@pytest.mark.slow
def test_rights_to_read_alone_lose_nothing_and_are_named(
    world: World, server: S3Server, bucket: str
) -> None:
    server.make_bucket(bucket)
    make_history(world, server, bucket)
    before = server.keys(bucket)
    server.forbid(bucket, "s3:DeleteObject", "s3:DeleteObjectVersion")
    objects = find_objects(world.context, Choice())
    places = {place.name: place for place in purge(world.project, objects, lambda _count: None)}
    assert places[_PLACE].state == "pending"
    assert places[_PLACE].why == "no rights to delete in it"
    assert places["DVC's cache"].state == "purged"
    assert server.keys(bucket) == before
    server.forbid(bucket)
    (again,) = (
        place
        for place in purge(world.project, objects, lambda _count: None)
        if place.name == _PLACE
    )
    assert again.state == "purged"
    gone = {key_of(name) for name in world.counted(OLD) - world.names(NEW)}
    assert not server.keys(bucket) & gone


@pytest.mark.slow
def test_what_cannot_be_reached_or_is_not_ours_is_pending_by_name(
    world: World, server: S3Server, bucket: str
) -> None:
    server.make_bucket(bucket)
    world.commit(OLD)
    world.commit(NEW)
    server.add_remote(world.repo, "cloud", f"{bucket}/typo")
    server.add_remote(world.repo, "lost", "no-such-bucket/project")
    server.add_remote(world.repo, "down", f"{bucket}/project", endpointurl="http://127.0.0.1:9")
    server.add_remote(world.repo, "tree", f"{bucket}/tree", version_aware="true")
    objects = find_objects(world.context, Choice())
    places = {place.name: place for place in purge(world.project, objects, lambda _count: None)}
    assert {name: place.why for name, place in places.items() if place.state == "pending"} == {
        _PLACE: "none of this project's objects is in it: is its URL right?",
        "the remote down": "it cannot be reached",
        "the remote lost": "it is not there",
        "the remote tree": (
            "remotes that keep versions by themselves (version_aware) are not supported"
        ),
    }
    assert places["DVC's cache"].state == "purged"
    # What is written into the log is public: no address, no bucket.
    assert not [place for place in places.values() if bucket in str(place) or "127" in str(place)]


@pytest.mark.slow
def test_lists_of_folders_come_from_the_remote_where_the_cache_lacks_them(
    world: World, server: S3Server, bucket: str
) -> None:
    server.make_bucket(bucket)
    make_history(world, server, bucket)
    for name in world.objects(OLD)["data/retain_set"]:
        if name not in world.names(NEW):
            world.path(name).unlink()
    gone = {key_of(name) for name in world.counted(OLD) - world.names(NEW)}
    assert gone <= server.keys(bucket)
    assert erase(world)[_PLACE].state == "purged"
    assert not gone & server.keys(bucket)


@pytest.mark.slow
def test_objects_that_the_cache_does_not_have_were_not_searched(
    world: World, server: S3Server, bucket: str
) -> None:
    server.make_bucket(bucket)
    make_history(world, server, bucket)
    name = min(world.names(NEW) - world.counted(NEW))
    content, path = world.path(name).read_bytes(), world.path(name)
    path.chmod(0o644)
    path.unlink()

    place = erase(world)[_PLACE]
    assert place.state == "pending"
    assert "they were not searched" in (place.why or "")
    assert key_of(name) in server.keys(bucket)
    path.write_bytes(content)
    assert erase(world)[_PLACE].state == "purged"


@pytest.mark.slow
def test_older_versions_that_may_not_be_listed_are_pending(
    world: World, server: S3Server, bucket: str
) -> None:
    server.make_bucket(bucket, versions=True)
    make_history(world, server, bucket)
    user = server.add_user("s3:ListBucketVersions")
    server.add_remote(world.repo, "narrow", f"{bucket}/project", **user)
    with server.checking_rights():
        places = erase(world)
    # The other remote's user is not known to the server now.
    assert places[_PLACE].why == "no rights to read it"
    narrow = places["the remote narrow"]
    assert narrow.state == "pending"
    assert narrow.why == "older versions of its files may be left: no rights to read it"
    # Each has a delete marker now; the rows are there.
    (gone, *_) = sorted(world.counted(OLD) - world.names(NEW))
    assert key_of(gone) in server.keys(bucket)
    assert erase(world)["the remote narrow"].state == "purged"
    assert key_of(gone) not in server.keys(bucket)
