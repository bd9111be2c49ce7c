"""Slices with layers of their own, switched off by requests, against slices by rows alone."""

import argparse
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

import numpy as np
import pyarrow as pa
from unlearn.stages.config.params import shard_names
from unlearn.stages.context import Context
from unlearn.stages.final_model.text_loading import open_language_models
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.project.files import write_bytes
from unlearn.stages.recipe import stage as recipe_stage
from unlearn.stages.rows.shard_file import governing_digests, governing_tokens, read_shard
from unlearn.stages.rows.token_arrays import slice_numbers
from unlearn.stages.shard import stage as shard_stage
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.shard_model import ShardModel
from unlearn.stages.training.slices import plan_shard, train_shard
from unlearn.stages.verify.measures.memorisation import measure_knowledge

from benchmarks.harness import Bench, say, show

#: More slices than the example has: one for each layer of a base of size small.
_SHARDS, _SLICES = 4, 4
#: After how many requests the models are asked.
_ASKED = (0, 1, 2, 4, 8)


@dataclass
class _Shard:
    """A shard under one way of honouring requests.

    Parameters
    ----------
    rows
        The rows that are not forgotten.
    off
        The first slice that is off; one more than there are slices where all are on.
    files
        Of the model.
    """

    rows: pa.Table
    off: int = _SLICES + 1
    files: dict[str, bytes] = field(default_factory=dict)


@dataclass
class _Way:
    """One way of honouring requests, with what it took so far.

    Parameters
    ----------
    name
        In the table.
    recipe
        The settings.
    switches
        Whether slices are switched off where that is enough.
    folder
        Where the models stand.
    """

    name: str
    recipe: Recipe
    switches: bool
    folder: Path
    shards: dict[str, _Shard] = field(default_factory=dict)
    rows_read: int = 0
    trainings: int = 0
    seconds: float = 0.0

    def start(self, rows: dict[str, pa.Table]) -> None:
        """Train all shards."""
        self.shards = {name: _Shard(table) for name, table in rows.items()}
        for name in rows:
            self._train(name)

    def honour(self, name: str, token: str) -> None:
        """Forget the rows of a person, who is in a shard."""
        shard = self.shards[name]
        named = np.array([own == token for own in governing_tokens(shard.rows)])
        numbers = _slices_of(shard.rows)
        first = int(numbers[named].min())
        shard.rows = shard.rows.filter(pa.array(~named))
        if first >= shard.off:
            return
        if self.switches and bool((numbers < first).any()):
            shard.off = first
        else:
            shard.off = _SLICES + 1
        self._train(name)

    def _train(self, name: str) -> None:
        shard = self.shards[name]
        rows = shard.rows.filter(pa.array(_slices_of(shard.rows) < shard.off))
        folder = self.folder / name
        started = time.process_time()
        work = plan_shard(self.recipe, name, rows, folder if folder.is_dir() else None)
        shard.files = train_shard(self.recipe, work, folder).files
        self.seconds += time.process_time() - started
        self.rows_read += work.rows_to_train
        self.trainings += work.rows_to_train > 0
        for path in folder.rglob("*.*") if folder.is_dir() else ():
            path.unlink()
        for file, content in shard.files.items():
            write_bytes(folder / file, content)

    def known(self, context: Context) -> tuple[float, float]:
        """Return what each shard's own adapter knows of the rows that stay.

        Returns
        -------
        tuple of float
            The probability of an answer, and its extraction strength, both as means over rows.
        """
        found = []
        for name, shard in self.shards.items():
            if shard.rows.num_rows == 0:
                continue
            model = ShardModel.of_files(shard.files)
            ensemble = open_language_models(
                [(name, model)],
                context.params.dataset,
                context.params.aggregate.rule,
                context.project.root,
            )
            known = measure_knowledge(ensemble, shard.rows)
            found.append(
                (
                    shard.rows.num_rows,
                    known.answer_probability or 0.0,
                    known.extraction_strength or 0.0,
                )
            )
        weights = [rows for rows, _, _ in found]
        return (
            float(np.average([one for _, one, _ in found], weights=weights)),
            float(np.average([one for _, _, one in found], weights=weights)),
        )

    @property
    def stored(self) -> int:
        """Bytes of the checkpoints."""
        return sum(
            len(content)
            for shard in self.shards.values()
            for file, content in shard.files.items()
            if file.startswith("checkpoints/")
        )


def measure(folder: Path, arguments: argparse.Namespace) -> None:
    """Print what requests take, and what the models still know of the rows that stay."""
    size = (arguments.sizes or ["small"])[0]
    asked = _ASKED[:3] if arguments.quick else _ASKED
    seeds = range(1 if arguments.quick else arguments.seeds)
    context = _project(folder / "project", size)
    rows = {
        name: read_shard(context.project.shard_file(name), name).rows
        for name in context.params.sharding.shards
    }
    found: dict[str, list[list[tuple[float, ...]]]] = {}
    for seed in seeds:
        for way in _ways(context, folder / str(seed)):
            found.setdefault(way.name, []).append(_run(way, context, rows, seed, asked))
            say(f"seed {seed}, {way.name}: {way.seconds:.0f} s of tuning")
    lines = []
    for name, runs in found.items():
        for at, requests in enumerate(asked):
            values = [mean(run[at][column] for run in runs) for column in range(6)]
            lines.append(
                [
                    name,
                    f"{requests}",
                    f"{values[0]:.1f}",
                    f"{values[1]:,.0f}",
                    f"{values[2]:.1f}",
                    f"{values[3]:.3f}",
                    f"{values[4]:.3f}",
                    f"{values[5] / 2**20:.1f}",
                ]
            )
    show(
        "language-layers",
        (
            "way",
            "requests",
            "trainings",
            "rows read",
            "processor seconds",
            "answer probability",
            "extraction strength",
            "checkpoints, MiB",
        ),
        lines,
        f"{_SHARDS} shards of {_SLICES} slices, size {size}, {len(seeds)} orders of requests. Each "
        "request is one author, drawn from those that are trained on. Trainings, rows and seconds "
        "are of the requests alone, without the first training. The last columns: of the rows that "
        "are not forgotten, each by its own shard's adapter, and of all shards.",
    )


def _run(
    way: _Way, context: Context, rows: dict[str, pa.Table], seed: int, asked: tuple[int, ...]
) -> list[tuple[float, ...]]:
    """Honour requests in a random order; return a line of the table for each number of them."""
    way.start(rows)
    first = (way.trainings, way.rows_read, way.seconds)
    people = sorted(
        {(name, token) for name, table in rows.items() for token in governing_tokens(table)}
    )
    order = np.random.default_rng(seed).permutation(len(people))
    lines: list[tuple[float, ...]] = []
    for number in range(max(asked) + 1):
        if number:
            way.honour(*people[order[number - 1]])
        if number in asked:
            took = (
                way.trainings - first[0],
                way.rows_read - first[1],
                way.seconds - first[2],
            )
            lines.append((*took, *way.known(context), float(way.stored)))
    return lines


def _ways(context: Context, folder: Path) -> list[_Way]:
    recipe = Recipe.of_project(context)
    options = context.params.train.options | {"layers_by_slice": True}
    train = context.params.train.model_copy(update={"options": options})
    layered = Recipe(
        train, recipe.slices, recipe.layout, recipe.seed, recipe.key, recipe.code, recipe.root
    )
    return [
        _Way("rows, trained again", recipe, False, folder / "rows"),
        _Way("layers, trained again", layered, False, folder / "layers"),
        _Way("layers, switched off", layered, True, folder / "off"),
    ]


def _project(root: Path, size: str) -> Context:
    """Return a project of authors, run up to the rows of its shards."""
    root.mkdir(parents=True)
    bench = Bench(root)
    bench.unlearn("init", ".", "--example", "authors", "--size", size)
    bench.set_params(sharding={"shards": shard_names(_SHARDS), "slices": _SLICES})
    context = bench.context()
    recipe_stage.run(context)
    shard_stage.run(context)
    forget_stage.run(context)
    return context


def _slices_of(rows: pa.Table) -> np.ndarray:
    return np.asarray(slice_numbers(governing_digests(rows), _SLICES))
