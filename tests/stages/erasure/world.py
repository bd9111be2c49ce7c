"""Projects with a history in git and objects in DVC's cache, written as DVC writes them.

Runs of the pipeline would take minutes for what these tests look at: names of objects.
"""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from unlearn.stages.context import Context, open_project
from unlearn.stages.dvc.listing import listing_md5
from unlearn.stages.project.paths import Project

from tests.conftest import Repo


def md5_of(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class State:
    """What a commit has: a label for each out, which is in the content of its objects.

    Parameters
    ----------
    dataset
        The dataset; each of its rows.
    shards
        Labels of the two shards, and of their models.
    video
        A file that has nothing to do with the dataset.
    """

    dataset: str
    shards: tuple[str, str]
    video: str = "v0"


@dataclass(frozen=True)
class World:
    """A project and its cache."""

    repo: Repo

    @property
    def cache(self) -> Path:
        return self.repo.root / ".dvc/cache"

    @property
    def project(self) -> Project:
        return Project(self.repo.root)

    @property
    def context(self) -> Context:
        return open_project(self.project)

    def put(self, content: bytes, ending: str = "") -> str:
        """Put an object into the cache, as DVC does; return its name."""
        name = md5_of(content) + ending
        path = self.path(name)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o444)
        return name

    def path(self, name: str) -> Path:
        """Return the path of an object in the cache."""
        return self.cache / "files/md5" / name[:2] / name[2:]

    def objects(self, state: State) -> dict[str, tuple[str, ...]]:
        """Return the names of all objects of a state by path: of a folder, its list first."""
        return {
            path: tuple(md5_of(content) + ending for content, ending in objects)
            for path, objects in _contents(state).items()
        }

    def names(self, state: State) -> set[str]:
        """Return the names of all objects of a state."""
        return {name for names in self.objects(state).values() for name in names}

    def counted(self, state: State) -> set[str]:
        """Return the names of those that can hold rows or models."""
        found = self.objects(state)
        del found["docs/video.bin"], found["data/recipe.json"]
        return {name for names in found.values() for name in names}

    def write(self, state: State) -> None:
        """Make the files of DVC in the working tree those of a state, and fill the cache."""
        for objects in _contents(state).values():
            for content, ending in objects:
                self.put(content, ending)
        found = {path: names[0] for path, names in self.objects(state).items()}
        for path in ("data/dataset.csv", "docs/video.bin"):
            file = self.repo.root / f"{path}.dvc"
            file.parent.mkdir(exist_ok=True)
            entry = {"md5": found[path], "size": 9, "hash": "md5", "path": Path(path).name}
            file.write_text(yaml.safe_dump({"outs": [entry]}, sort_keys=False))
        stages = dict(_stages())
        read = found | _read_within(state)
        text = "schema: '2.0'\nstages:\n"
        for name, (deps, outs) in stages.items():
            text += f"  {name}:\n    cmd: unlearn stage {name}\n    deps:\n"
            text += "".join(_entry(path, read.get(path, md5_of(path.encode()))) for path in deps)
            text += "    params:\n      params.yaml:\n        algorithm: 3\n    outs:\n"
            text += "".join(_entry(path, found[path]) for path in outs)
        (self.repo.root / "dvc.lock").write_text(text)

    def commit(self, state: State, message: str = "a state") -> None:
        self.write(state)
        self.repo.commit(message)

    def here(self) -> set[str]:
        """Return the names of all objects in the cache."""
        return set(names_below(self.cache))


def _contents(state: State) -> dict[str, list[tuple[bytes, str]]]:
    """Return the content of the objects of a state, and the endings of their names, by path."""
    first, second = state.shards
    found = {
        "data/dataset.csv": [(f"dataset {state.dataset}".encode(), "")],
        "docs/video.bin": [(f"video {state.video}".encode(), "")],
        "data/recipe.json": [(b"the recipe", "")],
        "reports/verify.json": [(f"report {first} {second}".encode(), "")],
    }
    for path, kind in (("data/shards", "shard"), ("data/retain_set", "retained")):
        found[path] = _folder(
            {
                "s000.parquet": f"{kind} rows {first}".encode(),
                "s001.parquet": f"{kind} rows {second}".encode(),
            }
        )
    models = [f"model {number} {label}".encode() for number, label in enumerate(state.shards)]
    for number, model in enumerate(models):
        files = {"model.bin": model, "arch.json": b"{}"}
        found[f"models/shard_models/s00{number}"] = _folder(files)
    found["models/final_model"] = _folder({"a.bin": models[0], "b.bin": models[1]})
    return found


def _read_within(state: State) -> dict[str, str]:
    """Return the names of what stages read within the outs of others, or with many outs in it."""
    models = {}
    found = {}
    for number, label in enumerate(state.shards):
        name = f"s00{number}"
        found[f"data/retain_set/{name}.parquet"] = md5_of(f"retained rows {label}".encode())
        models[f"{name}/model.bin"] = md5_of(f"model {number} {label}".encode())
        models[f"{name}/arch.json"] = md5_of(b"{}")
    return found | {"models/shard_models": listing_md5(models)}


def _folder(files: Mapping[str, bytes]) -> list[tuple[bytes, str]]:
    """Return a list of files as DVC writes it, and the files."""
    listed = [{"md5": md5_of(files[name]), "relpath": name} for name in sorted(files)]
    content = json.dumps(listed, sort_keys=True).encode()
    assert f"{md5_of(content)}.dir" == listing_md5({name: md5_of(files[name]) for name in files})
    return [(content, ".dir"), *((file, "") for file in files.values())]


def _stages() -> Iterator[tuple[str, tuple[list[str], list[str]]]]:
    yield "recipe", (["schema.yaml"], ["data/recipe.json"])
    yield "shard", (["data/dataset.csv", "schema.yaml"], ["data/shards"])
    yield "forget", (["data/shards", "data/forget_list.txt"], ["data/retain_set"])
    for number in range(2):
        model = f"models/shard_models/s00{number}"
        yield f"train@s00{number}", ([f"data/retain_set/s00{number}.parquet"], [model])
    yield "aggregate", (["models/shard_models"], ["models/final_model"])
    yield "verify", (["data/shards", "models/final_model"], ["reports/verify.json"])


def _entry(path: str, name: str) -> str:
    last = "nfiles: 2" if name.endswith(".dir") else "size: 9"
    return f"    - path: {path}\n      hash: md5\n      md5: {name}\n      {last}\n"


def names_below(folder: Path) -> Iterator[str]:
    """Yield the names of all objects in a cache or a remote that is a folder."""
    for path in (folder / "files/md5").glob("*/*"):
        yield path.parent.name + path.name


def write_run(world: World, name: str) -> str:
    """Put an entry into the run cache; return its path in the cache."""
    key = "ab" + name[:30] * 2 + "00"
    path = f"runs/ab/{key}/{'c' * 64}"
    entry = {"cmd": "make", "outs": [{"path": "models/final_model", "md5": name}]}
    (world.cache / path).parent.mkdir(parents=True, exist_ok=True)
    (world.cache / path).write_text(yaml.safe_dump(entry))
    return path


def labelled(names: Collection[str], world: World) -> list[str]:
    """Return what objects hold, for messages of failed tests."""
    found = []
    for name in names:
        path = world.path(name)
        found.append(path.read_text(errors="replace") if path.exists() else name)
    return sorted(found)
