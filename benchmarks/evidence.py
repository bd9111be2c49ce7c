"""What the evidence can see, and what it costs.

Mislabelled records are memorised or not known at all: every attack is made on them while they are
in the models, and after they were forgotten, on the same rows. Then `verify` on 50,000 rows and 20
shards is timed beside the training that it judges, without the retraining check.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import pandas as pd
from unlearn.stages.project.paths import HOLDOUT
from unlearn.stages.verify.evidence import Evidence, gather
from unlearn.stages.verify.exactness.checks import derive_rows
from unlearn.stages.verify.measures.tabular_model import open_final_model
from unlearn.stages.verify.membership.registry import attacks_on

from benchmarks.harness import Bench, machine, new_project, say, show, workplace

DIGITS = Path(__file__).parent.parent / "data" / "digits.csv"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mislabelled", type=int, default=60)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--forget", type=int, default=500)
    parser.add_argument("--jobs", "-j", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="a small part, to see that it works")
    parser.add_argument("--keep", type=Path, help="make the projects here and leave them")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rows, arguments.forget = 4_000, 100
    print(machine())
    with workplace(arguments.keep) as folder:
        compare_attacks(folder, arguments)
        measure_cost(folder, arguments)


def compare_attacks(folder: Path, arguments: argparse.Namespace) -> None:
    """Attack mislabelled digits before and after they are forgotten."""
    frame = pd.read_csv(DIGITS, dtype={"id": str}).rename(columns={"digit": "label"})
    draw = np.random.default_rng(0)
    chosen = draw.choice(len(frame), arguments.mislabelled, replace=False)
    wrong = (frame["label"].to_numpy()[chosen] + draw.integers(1, 10, len(chosen))) % 10
    frame.loc[chosen, "label"] = wrong
    source = folder / "mislabelled.csv"
    frame.to_csv(source, index=False)
    bench = new_project(
        folder / "digits", source, "--shards", "8", "--slices", "1", "--holdout", ".3"
    )
    say("training on mislabelled digits")
    bench.unlearn("repro", "-j", str(arguments.jobs))
    ids = folder / "ids.txt"
    ids.write_text("".join(f"{raw}\n" for raw in frame["id"].to_numpy()[chosen]), encoding="utf-8")
    bench.unlearn("forget", "--ids", str(ids))
    before = evidence(bench)
    say("forgetting them")
    bench.unlearn("repro", "-j", str(arguments.jobs))
    after = evidence(bench)
    rows = []
    for model in ("shard_models", "final_model"):
        for name in (attack.name for attack in attacks_on("classes")):
            cells = [_auc(found, model, name) for found in (before, after)]
            rows.append([model.replace("_", " "), name, *cells])
    show(
        "evidence-attacks",
        ("attacked", "attack", "in the models", "forgotten exactly"),
        rows,
        f"AUC with 95 % intervals, {before.counts[0]} mislabelled digits in the shards against "
        f"{before.counts[1]} rows never trained on.",
    )


def evidence(bench: Bench) -> Evidence:
    """Attack the models as they stand with the forget list as it stands."""
    context = bench.context()
    listed = context.read_list()

    rows = {
        name: derive_rows(context, name, listed)
        for name in (*context.params.sharding.shards, HOLDOUT)
    }
    model = open_final_model(context)
    holdout = rows.pop(HOLDOUT).retain
    forgotten = {name: found.forget for name, found in rows.items()}
    return gather(context, model, forgotten, lambda name: rows[name].retain, holdout)


def _auc(found: Evidence, model: str, name: str) -> str:
    attacked = found.attacks[model][name]
    if attacked is None:
        return "-"
    low, high = attacked.forgotten.wide
    return f"{attacked.forgotten.value:.3f} ({low:.3f} to {high:.3f})"


def measure_cost(folder: Path, arguments: argparse.Namespace) -> None:
    """Time `verify` beside the training of all shards, by the stages' own clocks."""
    draw = np.random.default_rng(1)
    label = draw.integers(0, 10, arguments.rows)
    means = draw.normal(size=(10, 30))
    values = means[label] + draw.normal(0, 2, (arguments.rows, 30))
    frame = pd.DataFrame(values.round(4), columns=[f"x{number:02d}" for number in range(30)])
    frame.insert(0, "id", [f"r{number:06d}" for number in range(arguments.rows)])
    frame["label"] = [f"c{value}" for value in label]
    source = folder / "cost.csv"
    frame.to_csv(source, index=False)
    bench = new_project(folder / "cost", source, "--shards", "20", "--slices", "5")
    bench.set_params(verify={"rerun": 0})
    say(f"training 20 shards of {arguments.rows:,} rows")
    bench.unlearn("repro", "-j", str(arguments.jobs))
    timings = bench.timings()
    training = sum(t.seconds for name, t in timings.items() if name.startswith("train@"))
    ids = "".join(f"{raw}\n" for raw in frame["id"].head(arguments.forget))
    bench.unlearn("forget", "--ids", "-", stdin=ids)
    say("forgetting, and verifying")
    bench.unlearn("repro", "-j", str(arguments.jobs))
    verify = bench.timings()["verify"].seconds
    membership = bench.report()["membership"]
    show(
        "evidence-cost",
        ("rows", "training all shards, s", "verify without the check, s", "share"),
        [[f"{arguments.rows:,}", f"{training:.1f}", f"{verify:.1f}", f"{verify / training:.1%}"]],
        f"{membership['forget_rows']:,} forgotten rows, {membership['holdout_rows']:,} "
        "non-members, six attacks on the shard models and six on the final model.",
    )


if __name__ == "__main__":
    main()
