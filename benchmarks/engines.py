"""What engines cost when training costs nothing: processor time of all their processes.

A process of its own starts an engine, trains one shard, then all others, and ends; the engines take
turns. `command` runs `unlearn stage` on this machine. The models are compared to the byte.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.cost import write_rows
from benchmarks.harness import Bench, machine, new_project, say, show, workplace
from benchmarks.processor_clock import processor_seconds

MODEL = {"model": "sklearn.naive_bayes.GaussianNB", "options": {}}
ENGINES = ("local", "command", "ray")
#: What `--engine command` runs.
COMMAND = "unlearn stage train@{shard}"
#: What is measured, each as seconds that passed and processor time.
PARTS = ("first shard", "each further shard", "end")


def main() -> None:
    """Measure the engines in turns, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=int, default=41)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES)
    parser.add_argument("--quick", action="store_true", help="a small part, to see that it works")
    parser.add_argument("--keep", type=Path, help="make the project here and leave it")
    parser.add_argument("--one", nargs=2, metavar=("ENGINE", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(_measure(arguments.one[0], Bench(Path(arguments.one[1])))))
        return
    if arguments.quick:
        arguments.shards, arguments.repeats = 3, 1
    print(machine())
    with workplace(arguments.keep) as folder:
        bench = _new_project(folder, arguments.shards)
        found: dict[str, list[list[list[float]]]] = {name: [] for name in arguments.engines}
        for number in range(arguments.repeats):
            models = []
            for name in arguments.engines:
                command = [sys.executable, __file__, "--one", name, str(bench.root)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                found[name].append(json.loads(done.stdout))
                models.append(_take_models(bench))
            say(f"{number + 1} of {arguments.repeats}")
            if any(other != models[0] for other in models):
                raise SystemExit("the engines made other bytes")
    _show(found, arguments.shards)


def _new_project(folder: Path, shards: int) -> Bench:
    """Return a project whose shards are to be trained, 100 rows each."""
    source = folder / "rows.csv"
    write_rows(source, 100 * shards)
    plan = ("--shards", str(shards), "--slices", "1")
    bench = new_project(folder / "project", source, "--id", "id", "--target", "label", *plan)
    bench.set_params(train=MODEL)
    for stage in ("recipe", "shard", "forget"):
        bench.unlearn("stage", stage)
    return bench


def _measure(name: str, bench: Bench) -> list[list[float]]:
    """Return, for each of `PARTS`, seconds that passed and processor time; None where unknown."""
    from unlearn.cli.engine_choice import EngineChoice, EngineName
    from unlearn.stages.engines.pool import Pool

    choice = EngineChoice(EngineName(name), 1, COMMAND if name == "command" else None)
    context = bench.context()
    first, *others = context.params.sharding.shards
    marks = [_mark()]
    with Pool() as pool, choice.make(context, pool) as engine:
        for shards in ([first], others):
            for _ in engine.train(context, shards):
                pass
            marks.append(_mark())
    # What has been killed by then is no more below this process: only the clock counts.
    marks.append((time.perf_counter(), marks[-1][1]))
    counts = (1, len(others), 1)
    return [
        [(after[kind] - before[kind]) / count for kind in (0, 1)]
        for before, after, count in zip(marks[:-1], marks[1:], counts, strict=True)
    ]


def _mark() -> tuple[float, float]:
    return time.perf_counter(), processor_seconds()


def _take_models(bench: Bench) -> dict[str, bytes]:
    folder = bench.root / "models" / "shard_models"
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    models = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    shutil.rmtree(folder)
    return models


def _show(found: dict[str, list[list[list[float]]]], shards: int) -> None:
    lines = []
    for name, runs in found.items():
        for place, part in enumerate(PARTS):
            passed, used = (statistics.median(run[place][kind] for run in runs) for kind in (0, 1))
            lines.append(
                (f"{name}, {part}", f"{passed:.3f}", f"{used:.3f}" if part != "end" else "-")
            )
    show(
        "engines",
        ("engine", "time, s", "processor time, s"),
        lines,
        f"Medians of {len(next(iter(found.values())))} runs of {shards} shards, one at a time. The "
        "first shard includes the start of the engine.",
    )


if __name__ == "__main__":
    main()
