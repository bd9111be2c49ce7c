"""Erasing objects, and the remotes that they are erased from."""

import shutil
from pathlib import Path

from unlearn.stages.erasure.objects.find import Choice, find_objects
from unlearn.stages.erasure.objects.purge import purge
from unlearn.stages.ledger.erasure import ErasedPlace

from tests.stages.erasure.world import World


def add_remote(world: World, name: str = "backup") -> Path:
    """Give a project a remote that is a folder beside it, and push everything to it."""
    world.repo.dvc("remote", "add", name, f"../{name}")
    folder = world.repo.root.parent / name
    shutil.copytree(world.cache, folder)
    world.repo.commit("a remote")
    return folder


def erase(world: World, choice: Choice | None = None) -> dict[str, ErasedPlace]:
    """Find and purge; return what became of each place."""
    objects = find_objects(world.context, choice or Choice())
    told: list[int] = []
    places = purge(world.project, objects, told.append)
    # What is told is what was announced, where nothing has changed in between.
    assert sum(told) >= objects.files - sum(store.in_use for store in objects.stores)
    return {place.name: place for place in places}


def pending(places: dict[str, ErasedPlace]) -> set[str]:
    return {name for name, place in places.items() if place.state == "pending"}
