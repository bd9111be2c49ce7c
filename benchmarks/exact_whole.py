"""What a request costs as a whole, compared with a fit of the same model as a process of its own.

A project of jittered copies of UCI Adult is trained. Then it forgets one row: `unlearn forget` and
`unlearn repro`, with everything that these start, read, write, seal and verify. The fit reads the
rows that are left, fits the model and writes its files: no DVC, no verification, no report. All
times are processor times of whole processes. `--profile` prints what the stages noted.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
sys.path.insert(0, str(Path(__file__).parent.parent))

import pandas as pd

from benchmarks.exact_models import copies, read_adult
from benchmarks.harness import Bench, machine, new_project, run, say, show, workplace

MODELS = ("exact_forest", "exact_boosting", "exact_linear")
ROWS = 325_610


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/adult"))
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--requests", type=int, default=1)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--keep", type=Path, help="keep the projects here")
    parser.add_argument("--fit", type=Path, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.fit:
        fit(*arguments.fit)
        return
    print(machine())
    table = []
    with workplace(arguments.keep) as folder:
        source = folder / "adult.parquet"
        write_rows(copies(read_adult(arguments.data), arguments.rows).train, source)
        for model in arguments.models:
            table += compare(folder, source, model, arguments.requests, profile=arguments.profile)
    show(
        "exact models, whole requests",
        ["rows", "model", "first run, s", "fit, s", "forget, s", "repro, s", "fit / request"],
        table,
    )


def write_rows(frame: pd.DataFrame, target: Path) -> None:
    """Write rows with ids."""
    named = frame.rename(columns={frame.columns[-1]: "label"})
    named.insert(0, "id", [f"r{at:07d}" for at in range(len(named))])
    named.to_parquet(target, index=False)


def compare(
    folder: Path, source: Path, model: str, requests: int, *, profile: bool
) -> list[list[object]]:
    """Return lines of the table for one model."""
    bench = new_project(folder / model, source, "--model", model)
    say(f"{model}: first run")
    first = bench.unlearn("repro").processor
    lines: list[list[object]] = []
    for number in range(requests):
        say(f"{model}: request {number}")
        forget = bench.unlearn("forget", "--ids", "-", stdin=f"r{1_000 + 7 * number:07d}\n")
        repro = bench.unlearn("repro")
        if profile:
            say(f"{bench.timings()}\n{repro.out}")
        alone = fit_alone(bench, folder / f"{model}.fitted")
        ratio = alone / (forget.processor + repro.processor)
        times = [f"{one:.1f}" for one in (first, alone, forget.processor, repro.processor)]
        lines.append([f"{len(pd.read_parquet(source)):,}", model, *times, f"{ratio:.2f}"])
    return lines


def fit_alone(bench: Bench, output: Path) -> float:
    """Return the processor time of a process that does nothing but fit the model."""
    command = [sys.executable, __file__, "--fit", str(bench.root), str(output)]
    return run(command, Path(__file__).parent.parent).processor


def fit(project: Path, output: Path) -> None:
    """Fit the model of a project's remaining rows, and write its files."""
    from unlearn.stages.context import open_project
    from unlearn.stages.project.paths import Project
    from unlearn.stages.project.threads import use_one_thread
    from unlearn.stages.rows.shard_file import read_shard
    from unlearn.stages.training.recipe import Recipe
    from unlearn.stages.training.row_sets import KnownRows, fit_rows

    use_one_thread()
    context = open_project(Project(project.resolve()))
    (shard,) = context.params.sharding.shards
    rows = read_shard(context.project.retain_file(shard), shard).rows
    recipe = Recipe.of_project(context)
    fitted = fit_rows(recipe, shard, KnownRows.of(recipe, shard, rows), None)
    for name, content in {**fitted.state, "weights": fitted.weights}.items():
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        (output / name).write_bytes(content)


if __name__ == "__main__":
    main()
