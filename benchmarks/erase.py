"""What an erasure costs beside `cp -r` of DVC's cache.

A project of 20 shards, a history of 50 commits and a cache of several gigabytes, whose objects are
written as DVC writes them: in each commit the dataset, and what came of a fifth of the shards, is
new. In turns the cache is copied by `cp -r`, the objects are found, and then deleted in the copy;
the time of each is that of a whole process.

With `--whole` it is the whole command: a project of a million rows is trained, has such a history,
and forgets a row. Its cache is copied, and `unlearn erase` runs in a copy of the project, in turns.

The size is that of `--gigabytes`; 5 is what the documentation shows.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import pyarrow as pa
import yaml
from pyarrow import csv

from benchmarks.harness import Bench, Done, machine, new_project, run, say, show, spread, workplace

SHARDS, COMMITS, TURNS = 20, 50, 3
#: The goal: an erasure in times of `cp -r`.
GOAL = 3.0
#: The share of the shards that are others in each commit.
CHANGED = 5
#: Numeric columns of the rows for the whole command.
FEATURES = 18
#: How much of a commit's bytes the dataset has; shards, retained rows and models have the rest.
DATASET = 0.3

_PURGE = """
from pathlib import Path
from unlearn.stages.context import open_project
from unlearn.stages.erasure.objects.find import Choice, find_objects
from unlearn.stages.project.paths import Project
context = open_project(Project(Path.cwd()))
objects = find_objects(context, Choice())
"""
_REST = """
from unlearn.stages.erasure.objects.purge import purge
told = []
places = purge(context.project, objects, told.append)
assert all(place.state == "purged" for place in places), places
print(sum(told))
"""


@dataclass
class Writer:
    """A history whose objects are random bytes.

    Parameters
    ----------
    bench
        The project.
    size
        Bytes of each commit.
    dataset
        The dataset's name.
    """

    bench: Bench
    size: int
    dataset: str = "dataset.csv"
    outs: dict[str, str] = field(default_factory=dict)
    files: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def cache(self) -> Path:
        """The cache's folder."""
        return self.bench.root / ".dvc/cache"

    def put(self, content: bytes, ending: str = "") -> str:
        """Write an object; return its name."""
        name = hashlib.md5(content, usedforsecurity=False).hexdigest() + ending
        path = self.cache / "files/md5" / name[:2] / name[2:]
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_bytes(content)
            path.chmod(0o444)
        return name

    def folder(self, path: str, new: Mapping[str, str]) -> None:
        """Make a folder one with some other files."""
        files = self.files.setdefault(path, {})
        files |= new
        listed = [{"md5": files[name], "relpath": name} for name in sorted(files)]
        self.outs[path] = self.put(json.dumps(listed, sort_keys=True).encode(), ".dir")

    def commit(self, number: int) -> None:
        """Write and commit a state of the project."""
        changed = range(SHARDS)
        if number:
            changed = range(number % CHANGED, SHARDS, CHANGED)
        # Each shard is in three folders.
        each = int(self.size * (1 - DATASET)) // (3 * len(changed))
        self.outs[f"data/{self.dataset}"] = self.put(os.urandom(int(self.size * DATASET)))
        names = [f"s{shard:03d}" for shard in changed]
        for path in ("data/shards", "data/retain_set"):
            new = {f"{name}.parquet": self.put(os.urandom(each)) for name in names}
            self.folder(path, new)
        models = {name: self.put(os.urandom(each)) for name in names}
        for name, model in models.items():
            self.folder(f"models/shard_models/{name}", {"model.safetensors": model})
        self.folder("models/final_model", models)
        self.outs["data/recipe.json"] = self.put(b"{}")
        self.outs["reports/verify.json"] = self.put(os.urandom(1_000))
        self._write()
        run(["git", "add", "-A"], self.bench.root)
        run(
            ["git", "commit", "--quiet", "--allow-empty", "-m", f"commit {number}"], self.bench.root
        )

    def _write(self) -> None:
        root = self.bench.root
        dataset = f"data/{self.dataset}"
        entry = {"md5": self.outs[dataset], "hash": "md5", "path": self.dataset}
        (root / f"{dataset}.dvc").write_text(yaml.safe_dump({"outs": [entry]}))
        text = "schema: '2.0'\nstages:\n"
        for name, deps, outs in _stages(dataset):
            text += f"  {name}:\n    cmd: unlearn stage {name}\n    deps:\n"
            text += "".join(self._entry(path) for path in deps)
            text += "    outs:\n"
            text += "".join(self._entry(path) for path in outs)
        (root / "dvc.lock").write_text(text)

    def _entry(self, path: str) -> str:
        folder, _, name = path.rpartition("/")
        known = self.outs.get(path) or self.files.get(folder, {}).get(name)
        md5 = known or hashlib.md5(path.encode(), usedforsecurity=False).hexdigest()
        return f"    - path: {path}\n      hash: md5\n      md5: {md5}\n      size: 1\n"


def _stages(dataset: str) -> Iterator[tuple[str, list[str], list[str]]]:
    yield "recipe", ["schema.yaml"], ["data/recipe.json"]
    yield "shard", [dataset, "schema.yaml"], ["data/shards"]
    yield "forget", ["data/shards", "data/forget_list.txt"], ["data/retain_set"]
    for shard in range(SHARDS):
        name = f"s{shard:03d}"
        deps = ["data/recipe.json", f"data/retain_set/{name}.parquet"]
        yield f"train@{name}", deps, [f"models/shard_models/{name}"]
    yield "aggregate", ["models/shard_models/s000"], ["models/final_model"]
    yield "verify", ["data/shards", "models/final_model"], ["reports/verify.json"]


def make_history(folder: Path, gigabytes: float) -> Bench:
    """Return a project with a history of commits and a cache of a size."""
    source = folder / "source.csv"
    draw = np.random.default_rng(1)
    rows = [f"r{row},{draw.normal():.3f},c{row % 2}" for row in range(200)]
    source.write_text("\n".join(["id,x,label", *rows]) + "\n")
    bench = new_project(folder / "project", source, "--shards", str(SHARDS), "--slices", "1")
    shutil.rmtree(bench.root / ".dvc/cache/files")
    (bench.root / "data/dataset.csv.dvc").unlink()
    writer = Writer(bench, int(gigabytes * 1e9 / COMMITS))
    for number in range(COMMITS):
        writer.commit(number)
    return bench


def measure_objects(bench: Bench) -> None:
    """Print what finding and deleting objects costs in times of `cp -r` of the cache."""
    cache, whole = bench.root / ".dvc/cache", bench.root.parent / "cache"
    cache.rename(whole)
    size = sum(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    clock: dict[str, list[float]] = {"cp -r": [], "find": [], "find and delete": []}
    processor: dict[str, list[float]] = {name: [] for name in clock}
    deleted = 0
    for turn in range(TURNS):
        subprocess.run(["sync"], check=True)
        for name, command in (
            ("cp -r", ["cp", "-r", str(whole), str(cache)]),
            ("find", [sys.executable, "-c", _PURGE]),
            ("find and delete", [sys.executable, "-c", _PURGE + _REST]),
        ):
            done = run(command, bench.root)
            clock[name].append(done.seconds)
            processor[name].append(done.processor)
            say(f"turn {turn + 1}: {name} {done.seconds:.2f} s")
            deleted = int(done.out or 0)
        shutil.rmtree(cache)
    rows = []
    for name, measured in (("seconds", clock), ("processor seconds", processor)):
        ratios = [
            both / copied
            for both, copied in zip(measured["find and delete"], measured["cp -r"], strict=True)
        ]
        cells = [spread(values, 2) for values in measured.values()]
        rows.append([name, *cells, spread(ratios, 2)])
    show(
        "erase-objects",
        ["", *clock, "find and delete / cp -r"],
        rows,
        f"A cache of {size / 1e9:.1f} GB, {COMMITS} commits, {SHARDS} shards; {deleted:,} files "
        f"deleted. Goal for the whole command: at most {GOAL:.0f} times `cp -r`.",
    )


def make_whole(folder: Path, gigabytes: float, rows: int) -> Bench:
    """Return a project that was trained and forgot a row, with a history and a cache of a size."""
    source = folder / "rows.csv"
    draw = np.random.default_rng(1)
    features = {f"x{number}": draw.normal(size=rows).round(3) for number in range(FEATURES)}
    ids = {"id": [f"r{row}" for row in range(rows)]}
    table = pa.table({**ids, **features, "label": np.where(draw.random(rows) < 0.5, "yes", "no")})
    csv.write_csv(table, source)
    shards = ("--shards", str(SHARDS), "--slices", "1")
    bench = new_project(folder / "whole", source, *shards)
    source.unlink()
    bench.set_params(train={"model": "sklearn.naive_bayes.GaussianNB", "options": {}})
    _run_and_commit(bench, "start")
    lock = bench.root / "dvc.lock"
    pointer = next((bench.root / "data").glob("*.csv.dvc"))
    stands = {path: path.read_bytes() for path in (pointer, lock)}
    writer = Writer(bench, int(gigabytes * 1e9 / COMMITS), pointer.name.removesuffix(".dvc"))
    for number in range(COMMITS - 2):
        writer.commit(number)
    for path, content in stands.items():
        path.write_bytes(content)
    bench.unlearn("forget", "--id", "r17", "--ticket", "T-1")
    _run_and_commit(bench, "request")
    return bench


def _run_and_commit(bench: Bench, message: str) -> None:
    bench.unlearn("repro")
    run(["git", "add", "-A"], bench.root)
    run(["git", "commit", "--quiet", "-m", message], bench.root)


def measure_whole(bench: Bench, rows: int) -> None:
    """Print what the command costs in times of `cp -r` of the cache."""
    cache = bench.root / ".dvc/cache"
    size = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())
    measured: dict[str, list[Done]] = {"cp -r": [], "unlearn erase": []}
    command = [sys.executable, "-m", "unlearn.cli", "erase", "--yes", "--json"]
    for turn in range(TURNS):
        subprocess.run(["sync"], check=True)
        copy, fresh = bench.root.parent / "cache", bench.copy(bench.root.parent / "turn")
        measured["cp -r"].append(run(["cp", "-r", str(cache), str(copy)], bench.root))
        shutil.rmtree(copy)
        measured["unlearn erase"].append(run(command, fresh.root))
        shutil.rmtree(fresh.root)
        seconds = ", ".join(f"{name} {done[-1].seconds:.1f} s" for name, done in measured.items())
        say(f"turn {turn + 1}: {seconds}")
    table = []
    for name in ("seconds", "processor"):
        values = {what: [getattr(done, name) for done in all_] for what, all_ in measured.items()}
        pairs = zip(values["unlearn erase"], values["cp -r"], strict=True)
        ratios = [erased / copied for erased, copied in pairs]
        table.append([name, *(spread(found, 1) for found in values.values()), spread(ratios, 2)])
    show(
        "erase-whole",
        ["", *measured, "unlearn erase / cp -r"],
        table,
        f"{rows:,} rows of {FEATURES + 2} columns, {SHARDS} shards, {COMMITS} commits, a cache of "
        f"{size / 1e9:.1f} GB. Goal: at most {GOAL:.0f} times `cp -r`.",
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=1.0, help="size of the cache")
    parser.add_argument("--whole", action="store_true", help="the whole command, on real rows")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows for --whole")
    parser.add_argument("--quick", action="store_true", help="a cache of .05 GB, 20,000 rows")
    parser.add_argument("--keep", type=Path, help="a folder for the project, which stays")
    options = parser.parse_args()
    print(machine())
    with workplace(options.keep) as folder:
        gigabytes = 0.05 if options.quick else options.gigabytes
        if options.whole:
            rows = 20_000 if options.quick else options.rows
            measure_whole(make_whole(folder, gigabytes, rows), rows)
        else:
            measure_objects(make_history(folder, gigabytes))


if __name__ == "__main__":
    main()
