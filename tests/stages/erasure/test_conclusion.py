"""What an erasure comes to: no place counts as purged unless it was searched and is clean."""

from itertools import chain, combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.erasure.conclusion import conclude
from unlearn.stages.ledger.erasure import ErasedPlace, Erasure
from unlearn.stages.scan.residue import ROWS, Finding, Residue, Unread

CACHE, REMOTE, GIT, PROJECT = "DVC's cache", "the remote backup", "git's objects", "the project"
PLACES = (CACHE, REMOTE, GIT, PROJECT)


def purged(name: str) -> ErasedPlace:
    return ErasedPlace(name=name, state="purged", method="deleted")


def state(erasure: Erasure, name: str) -> ErasedPlace:
    (place,) = (place for place in erasure.places if place.name == name)
    return place


def test_a_place_that_was_searched_and_is_clean_is_purged() -> None:
    erasure = conclude([purged(CACHE)], Residue(searched={CACHE: 3, GIT: 5}))

    assert erasure.complete
    assert state(erasure, CACHE) == purged(CACHE)
    assert state(erasure, GIT).method == "searched, and nothing was found"


def test_a_finding_makes_its_place_pending_and_is_counted_by_file() -> None:
    found = [
        Finding(CACHE, "a", ROWS),
        Finding(CACHE, "a", "a token of the forget list", "as it is"),
        Finding(CACHE, "b", ROWS),
    ]
    erasure = conclude([purged(CACHE)], Residue(searched={CACHE: 3}, findings=found))

    place = state(erasure, CACHE)
    assert (place.state, place.residual, place.method) == ("pending", 2, "deleted")
    assert not erasure.complete


def test_a_file_that_cannot_be_searched_makes_its_place_pending() -> None:
    residue = Residue(searched={PROJECT: 9}, unread=[Unread(PROJECT, "x.7z", "7-Zip")])

    place = state(conclude([], residue), PROJECT)
    assert place.state == "pending"
    assert "x.7z" not in (place.why or "")  # git is public


def test_a_cloud_remote_is_what_its_purge_came_to() -> None:
    unread = [Unread(REMOTE, None, "remotes of the kind s3 are not searched")]
    residue = Residue(unread=unread)

    assert conclude([purged(REMOTE)], residue).complete
    assert state(conclude([], residue), REMOTE).state == "pending"


def test_a_cache_that_nobody_searched_is_pending_whatever_was_deleted() -> None:
    residue = Residue(unread=[Unread(CACHE, None, "DVC did not say where it is")])

    assert state(conclude([purged(CACHE)], residue), CACHE).state == "pending"


def test_a_shallow_clone_is_pending_although_its_objects_were_searched() -> None:
    residue = Residue(searched={GIT: 4}, unread=[Unread(GIT, None, "this is a shallow clone")])

    assert state(conclude([], residue), GIT).why == "this is a shallow clone"


def test_of_two_places_with_one_name_the_pending_one_counts() -> None:
    pending = ErasedPlace(name=CACHE, state="pending", why="it is shared")
    for places in ([purged(CACHE), pending], [pending, purged(CACHE)]):
        assert conclude(places, Residue()).places == (pending,)


BROKEN = tuple(chain.from_iterable(combinations(PLACES, size) for size in range(5)))


@pytest.mark.parametrize("broken", BROKEN)
@given(how=st.sampled_from(["pending", "finding", "unread file"]))
def test_an_erasure_is_complete_exactly_if_no_place_is_broken(
    broken: tuple[str, ...], how: str
) -> None:
    places = [
        ErasedPlace(name=name, state="pending", why="it cannot be written")
        if name in broken and how == "pending"
        else purged(name)
        for name in PLACES
    ]
    residue = Residue(searched=dict.fromkeys(PLACES, 2))
    if how == "finding":
        residue.findings = [Finding(name, "file", ROWS) for name in broken]
    elif how == "unread file":
        residue.unread = [Unread(name, "file", "it is encrypted") for name in broken]

    erasure = conclude(places, residue)
    assert {place.name for place in erasure.pending} == set(broken)
    assert erasure.complete == (not broken)
