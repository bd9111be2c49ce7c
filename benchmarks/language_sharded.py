"""What shards cost in what a language model knows: of its own rows, and of rows it never saw."""

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from unlearn.stages.aggregate import stage as aggregate_stage
from unlearn.stages.config.params import shard_names
from unlearn.stages.context import Context
from unlearn.stages.final_model.text_ensemble import LanguageEnsemble
from unlearn.stages.final_model.text_loading import load_language_model, open_language_models
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.project.paths import HOLDOUT
from unlearn.stages.recipe import stage as recipe_stage
from unlearn.stages.requests.plan import expected_fraction
from unlearn.stages.rows.shard_file import read_shard
from unlearn.stages.shard import stage as shard_stage
from unlearn.stages.train import stage as train_stage
from unlearn.stages.training.shard_model import read_shard_model
from unlearn.stages.verify.measures.memorisation import measure_knowledge
from unlearn.stages.verify_report.quality import Knowledge

from benchmarks.harness import Bench, say, show

_COUNTS = (1, 2, 4, 8)


@dataclass(frozen=True)
class _Known:
    """What is known of some rows by all adapters together, and by one alone.

    Parameters
    ----------
    ensemble
        By the mean of their log-probabilities.
    alone
        By each row's own adapter; of rows that none was tuned on by every adapter, their mean.
    """

    ensemble: Knowledge
    alone: Sequence[Knowledge]

    @property
    def cells(self) -> list[str]:
        """Return both in the terms of the table."""
        weights = [one.rows or 0 for one in self.alone]
        tokens = [one.tokens or 0 for one in self.alone]
        losses = [np.log(one.perplexity or 1.0) for one in self.alone]
        pairs = [
            (
                self.ensemble.extraction_strength,
                np.average([one.extraction_strength or 0.0 for one in self.alone], weights=weights),
            ),
            (
                self.ensemble.answer_probability,
                np.average([one.answer_probability or 0.0 for one in self.alone], weights=weights),
            ),
            (
                self.ensemble.rouge_l or 0.0,
                np.average([one.rouge_l or 0.0 for one in self.alone], weights=weights),
            ),
        ]
        cells = [f"{together:.3f} / {alone:.3f}" for together, alone in pairs]
        perplexity = float(np.exp(np.average(losses, weights=tokens)))
        return [*cells, f"{self.ensemble.perplexity:.2f} / {perplexity:.2f}"]


def measure(folder: Path, arguments: argparse.Namespace) -> None:
    """Print what each number of shards costs and keeps."""
    size = (arguments.sizes or ["tiny"])[0]
    pinned = Bench(folder / "pinned")
    pinned.root.mkdir()
    pinned.unlearn("init", ".", "--example", "authors", "--size", size)
    lines = []
    for count in (1, 4) if arguments.quick else _COUNTS:
        context = _trained(pinned.root, folder / f"shards-{count}", count)
        own, unseen = _ask(context)
        slices = context.params.sharding.slices
        cost = expected_fraction(count, slices, 0.0, 1)
        lines += [
            [f"{count}, trained rows", *own.cells, f"{cost:.3f}"],
            [f"{count}, unseen rows", *unseen.cells, ""],
        ]
    show(
        "language-sharded",
        (
            "shards",
            "extraction strength",
            "answer probability",
            "ROUGE-L",
            "perplexity",
            "a request's share of the training",
        ),
        lines,
        "All adapters by the mean of their log-probabilities / one adapter alone: for trained "
        "rows the row's own adapter, for unseen rows the mean over adapters. The same holdout in "
        "all lines; every shard is trained for the same number of epochs; "
        f"{slices} slices, size {size}. Perplexity of one adapter: exp of the mean loss.",
    )


def _trained(source: Path, target: Path, count: int) -> Context:
    """Return a project of so many shards, run in this process up to its final model."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(".git", ".dvc"))
    bench = Bench(target)
    bench.set_params(sharding={"shards": shard_names(count)})
    context = bench.context()
    recipe_stage.run(context)
    shard_stage.run(context)
    forget_stage.run(context)
    seconds = 0.0
    for shard in context.params.sharding.shards:
        seconds += train_stage.run(context, shard).timing.seconds
    aggregate_stage.run(context)
    say(f"{count} shards: {seconds:.0f} s of tuning")
    return context


def _ask(context: Context) -> tuple[_Known, _Known]:
    """Return what is known of rows tuned on, and of the holdout."""
    project = context.project
    ensemble = load_language_model(project.final_model, project.root)
    rows = {
        name: read_shard(project.shard_file(name), name).rows
        for name in (*context.params.sharding.shards, HOLDOUT)
    }
    unseen = rows.pop(HOLDOUT)
    filled = {name: table for name, table in rows.items() if table.num_rows}
    members = {name: _open(context, name) for name in filled}
    own = [measure_knowledge(members[name], table) for name, table in filled.items()]
    others = [measure_knowledge(member, unseen) for member in members.values()]
    seen = pa.concat_tables(list(filled.values()))
    return (
        _Known(measure_knowledge(ensemble, seen), own),
        _Known(measure_knowledge(ensemble, unseen), others),
    )


def _open(context: Context, shard: str) -> LanguageEnsemble:
    """Return a shard's adapter as a model by itself."""
    model = read_shard_model(context.project.shard_models / shard, shard)
    params = context.params
    return open_language_models(
        [(shard, model)], params.dataset, params.aggregate.rule, context.project.root
    )
