"""Remotes that only an older `.dvc/config` names."""

import shutil
from pathlib import Path

import pytest
from unlearn.stages.dvc.storage import Remote
from unlearn.stages.erasure.objects.find import Choice, find_objects
from unlearn.stages.erasure.objects.remotes import earlier_remotes
from unlearn.stages.errors import InputError

from tests.stages.erasure.purging import add_remote, erase, pending
from tests.stages.erasure.world import State, World, names_below

OLD = State("old", ("a1", "b1"))
NEW = State("new", ("a2", "b1"), video="v1")


@pytest.mark.slow
def test_a_remote_that_was_removed_is_pending_until_it_is_added_again(world: World) -> None:
    world.commit(OLD)
    remote = add_remote(world)
    world.repo.dvc("remote", "remove", "backup")
    world.commit(NEW)
    before = set(names_below(remote))
    found = find_objects(world.context, Choice())
    assert [place.place for place in found.pending] == ["the earlier remote backup"]
    places = erase(world)
    assert pending(places) == {"the earlier remote backup"}
    assert places["the earlier remote backup"].why == (
        "an older .dvc/config names it, and today's settings do not: `dvc remote add` it again, "
        "under any name, or say --gone if it does not exist any more"
    )
    assert str(remote.parent) not in str(places)  # the log is public
    assert set(names_below(remote)) == before
    world.repo.dvc("remote", "add", "--local", "other-name", str(remote))
    assert not pending(erase(world))
    assert not set(names_below(remote)) & (world.counted(OLD) - world.names(NEW))


@pytest.mark.slow
def test_a_remote_with_another_url_is_another_place(world: World) -> None:
    world.commit(OLD)
    remote = add_remote(world)
    moved = remote.with_name("moved")
    shutil.copytree(remote, moved)
    world.repo.dvc("remote", "modify", "backup", "url", str(moved))
    world.commit(NEW)
    places = erase(world)
    assert pending(places) == {"the earlier remote backup"}
    assert places["the remote backup"].state == "purged"


def test_a_remote_of_the_default_branch_alone_is_pending(world: World) -> None:
    world.commit(OLD)
    world.repo.git("checkout", "--quiet", "-b", "forget")
    world.commit(NEW)
    world.repo.git("checkout", "--quiet", "main")
    add_remote(world)
    world.repo.git("checkout", "--quiet", "forget")
    assert "the earlier remote backup" in pending(erase(world))


@pytest.mark.slow
def test_a_remote_that_does_not_exist_any_more_can_be_said_to_be_gone(world: World) -> None:
    world.commit(OLD)
    shutil.rmtree(add_remote(world))
    world.repo.dvc("remote", "remove", "backup")
    world.commit(NEW)
    places = erase(world, Choice(gone=("backup",)))
    assert not pending(places)
    assert places["the earlier remote backup"].method == (
        "it does not exist any more, as the person who erased said"
    )
    with pytest.raises(InputError, match="names a remote 'typo'"):
        find_objects(world.context, Choice(gone=("typo",)))
    add_remote(world)
    with pytest.raises(InputError, match="names a remote 'backup'"):
        find_objects(world.context, Choice(gone=("backup",)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("['remote \"one\"']\n    url = ../../data\n", []),
        ("['remote \"one\"']\n    url = file:///data\n", ["one"]),
        ("[core]\n    remote = one\n", []),
        ("['remote \"one\"']\n    url = ../data\n", ["one"]),
        ("['remote \"two\"']\n    profile = me\n", []),
        ("['remote \"six\"']\n    profile = me\n", ["six"]),
        ("['remote \"one\"']\n    url = s3://bucket/a/\n", []),
        ("['remote \"one\"']\n    url = s3://bucket/a\n    endpointurl = http://x\n", ["one"]),
        ("['remote \"a b\"']\nurl=s3://bucket/b\n['remote \"c\"']\nurl = 'gs://x'\n", ["a b", "c"]),
        ('[remote "one"]\n    url = s3://bucket/b\n', ["one"]),
        ("\0\xff[[remote\n=", []),
    ],
)
def test_settings_are_compared_by_where_they_lead(text: str, expected: list[str]) -> None:
    today = [
        Remote("two", "local", "/data", None, url="/data"),
        Remote("three", "s3", "bucket/a", None, url="s3://bucket/a"),
    ]
    configs = [(".dvc/config", text.encode("utf-8"))]
    assert earlier_remotes(configs, Path("/top"), today) == expected
