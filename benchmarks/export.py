"""What one adapter in place of many keeps, whole and compressed, beside the ensemble.

The authors example. Some authors are on the forget list from the start, so that every adapter is
exact.

    python benchmarks/export.py [--size tiny] [--authors 8]
"""

import argparse
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
from unlearn.stages.aggregate import stage as aggregate_stage
from unlearn.stages.context import Context
from unlearn.stages.export.export import Members, compressed, read_members
from unlearn.stages.export.measurement import Rows, read_rows
from unlearn.stages.final_model.one_adapter import NAME, merge_members
from unlearn.stages.final_model.text_ensemble import LanguageEnsemble
from unlearn.stages.final_model.text_loading import open_language_models
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.recipe import stage as recipe_stage
from unlearn.stages.rows.forget_list import render
from unlearn.stages.rows.shard_file import read_shard, subject_tokens
from unlearn.stages.shard import stage as shard_stage
from unlearn.stages.text.adapters import Shape
from unlearn.stages.train import stage as train_stage
from unlearn.stages.training.shard_model import ShardModel
from unlearn.stages.verify.evidence import FINAL_MODEL, gather
from unlearn.stages.verify.measures.memorisation import measure_knowledge
from unlearn.stages.verify.measures.text_model import OneAdapterModel, TextModel
from unlearn.stages.verify.membership.registry import deciding_attack
from unlearn.stages.verify_report.quality import Knowledge

from benchmarks.harness import Bench, say, show, workplace

_SHARES = (2, 4, 8, 16)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--authors", type=int, default=8, help="how many are forgotten")
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    with workplace(arguments.keep) as folder:
        context = _tuned(folder, arguments.size, arguments.authors)
        lines = list(_lines(context))
    show(
        "export",
        (
            "model",
            "rank",
            "relative error",
            "perplexity, unseen",
            "ROUGE-L, unseen",
            "extraction, trained",
            "extraction, forgotten",
            "extraction, unseen",
            "membership AUC",
        ),
        lines,
        f"The authors example of size {arguments.size}: {arguments.authors} authors forgotten, of "
        "each of the shards in turn. Membership: the deciding attack on the model itself.",
    )


def _tuned(folder: Path, size: str, authors: int) -> Context:
    """Return the example with some authors on the list, run in this process."""
    pinned = Bench(folder / "pinned")
    pinned.root.mkdir()
    pinned.unlearn("init", ".", "--example", "authors", "--size", size)
    target = folder / "tuned"
    shutil.copytree(pinned.root, target, ignore=shutil.ignore_patterns(".git", ".dvc"))
    context = Bench(target).context()
    recipe_stage.run(context)
    shard_stage.run(context)
    context.project.forget_list.write_bytes(render(_forgotten(context, authors)))
    forget_stage.run(context)
    for shard in context.params.sharding.shards:
        say(f"tuning {shard}")
        train_stage.run(context, shard)
    aggregate_stage.run(context)
    return context


def _forgotten(context: Context, count: int) -> list[str]:
    """Return the tokens of so many authors, of each shard in turn."""
    of_shards = []
    for shard in context.params.sharding.shards:
        rows = read_shard(context.project.shard_file(shard), shard).rows
        of_shards.append(list(dict.fromkeys(subject_tokens(rows))))
    rounds = max(map(len, of_shards))
    in_turn = [of[at] for at in range(rounds) for of in of_shards if at < len(of) - 1]
    return in_turn[:count]


def _lines(context: Context) -> Iterator[list[str]]:
    members, rows = read_members(context), read_rows(context)
    merged = merge_members(members)
    rank = Shape.from_json(merged.description["adapter"]).rank
    parts, exported = _open(context, members, merged)
    yield ["ensemble", "", "", *_measured(context, rows, TextModel(parts))]
    one = OneAdapterModel(exported, parts)
    yield ["one adapter", str(rank), "0", *_measured(context, rows, one)]
    for share in _SHARES:
        lower, left_out = compressed(merged, rank // share)
        parts, exported = _open(context, members, lower)
        measured = _measured(context, rows, OneAdapterModel(exported, parts))
        yield ["one adapter", str(rank // share), f"{left_out.error:.3f}", *measured]


def _open(
    context: Context, members: Members, one: ShardModel
) -> tuple[LanguageEnsemble, LanguageEnsemble]:
    """Return the ensemble and the one adapter, on one base."""
    dataset, root = context.params.dataset, context.project.root
    opened = open_language_models([*members, (NAME, one)], dataset, "merged", root)
    *told, merged = opened.members
    return opened.with_members(told), opened.with_members([merged])


def _measured(context: Context, rows: Rows, model: TextModel) -> list[str]:
    say("measuring a model")
    asked = model.ensemble
    unseen = measure_knowledge(asked, rows.holdout)
    trained = measure_knowledge(asked, _together(rows.retained), generate=False)
    forgotten = measure_knowledge(asked, _together(rows.forgotten), generate=False)
    retained = rows.retained
    evidence = gather(context, model, rows.forgotten, lambda name: retained[name], rows.holdout)
    found = evidence.attacks[FINAL_MODEL][deciding_attack(context.params).name]
    return [
        f"{unseen.perplexity:.3f}",
        f"{unseen.rouge_l:.3f}",
        *map(_extraction, (trained, forgotten, unseen)),
        "-" if found is None else f"{found.result.auc:.3f} {_interval(found.result.ci)}",
    ]


def _together(tables: Mapping[str, pa.Table]) -> pa.Table:
    return pa.concat_tables(list(tables.values()))


def _extraction(of: Knowledge) -> str:
    return f"{of.extraction_strength:.3f}"


def _interval(ci: tuple[float, float] | None) -> str:
    return "" if ci is None else f"({ci[0]:.2f} to {ci[1]:.2f})"


if __name__ == "__main__":
    main()
