"""What a request costs when training costs nothing: whole processes compared with DVC alone.

The base line is `dvc repro` with nothing to do on a graph of as many stages as the project has,
whose commands are `true` and which has no params: each stage has two files as dependencies and
one as its out. All commands of a size are measured in turns within one run.
"""

import argparse
import csv
import random
import resource
import statistics
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

sys.path.insert(0, str(Path(__file__).parent.parent))

import psutil
from unlearn.stages.project.paths import HOLDOUT as OUT
from unlearn.stages.rows.forget_list import place_of_line

from benchmarks.harness import Bench, machine, new_project, run, say, show, spread, workplace

#: Stages of the exact pipeline that are not trainings: recipe, shard, forget, aggregate, verify.
OTHER_STAGES = 5
FEATURES = 4
#: The share of rows that init holds out.
HOLDOUT = 0.2
#: Rows that a request may be about; some of them are held out.
MOST_REQUESTS = 16
#: What runs DVC: its own command, or the process in which `unlearn repro` uses it as a library.
DVC = (["-m", "dvc"], ["-m", "unlearn.stages.dvc.child"])
#: Seconds between two looks at the running processes.
INTERVAL = 0.02
MEBIBYTE = 2**20


@dataclass
class Watch:
    """What the processes below this one use while a block runs.

    Parameters
    ----------
    tool
        Most memory that processes of `unlearn` had at one time together, in bytes.
    everything
        The same with those of DVC.
    """

    tool: int = 0
    everything: int = 0
    _dvc_seconds: dict[int, float] = field(default_factory=dict)
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    @property
    def dvc_seconds(self) -> float:
        """Processor time of DVC's processes, up to the last look at each, in seconds."""
        return sum(self._dvc_seconds.values())

    def _look(self) -> None:
        this = psutil.Process()
        while not self._ended.wait(INTERVAL):
            tool = dvc = 0
            commands: dict[int, list[str]] = {}
            for process in this.children(recursive=True):
                try:
                    words, memory = process.cmdline(), process.memory_info().rss
                    above, used = process.ppid(), process.cpu_times()
                except psutil.Error:
                    continue
                commands[process.pid] = words
                if words == commands.get(above):
                    continue  # forked a moment ago: its memory is that of the process above it
                if words[1:3] in DVC:
                    dvc += memory
                    self._dvc_seconds[process.pid] = used.user + used.system
                else:
                    tool += memory
            self.tool = max(self.tool, tool)
            self.everything = max(self.everything, tool + dvc)


@dataclass
class Cost:
    """What was measured at one number of shards; a list has one value for each repetition.

    Parameters
    ----------
    shards
        How many.
    first_run
        `unlearn repro` of a project that was never run, in seconds.
    first_processor, processor
        Processor time of these commands: other work on the machine changes it little.
    base, nothing
        `dvc repro` with nothing to do on the base line's graph, and in the project, in seconds.
    request
        `unlearn forget` of one row and `unlearn repro` together, in seconds.
    forget
        The `unlearn forget` of it.
    dvc_share
        The part of the processor time of `request` that DVC used.
    tool, everything
        Most memory during `request`, in bytes; see `Watch`.
    """

    shards: int
    first_run: float = 0.0
    first_processor: float = 0.0
    processor: dict[str, list[float]] = field(
        default_factory=lambda: {"base": [], "nothing": [], "request": []}
    )
    base: list[float] = field(default_factory=list)
    nothing: list[float] = field(default_factory=list)
    request: list[float] = field(default_factory=list)
    forget: list[float] = field(default_factory=list)
    dvc_share: list[float] = field(default_factory=list)
    tool: list[int] = field(default_factory=list)
    everything: list[int] = field(default_factory=list)


def main() -> None:
    """Measure each number of shards and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=int, nargs="+", default=[20, 100, 400])
    parser.add_argument("--slices", type=int, default=5)
    parser.add_argument("--rows", type=int, default=4, help="rows of a shard, on average")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--jobs", "-j", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="a small part, to see that it works")
    parser.add_argument("--keep", type=Path, help="make the projects here and leave them")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.shards, arguments.repeats = [4], 1
    print(machine())
    with workplace(arguments.keep) as folder:
        costs = [measure(folder, shards, arguments) for shards in arguments.shards]
    _show_times(costs)
    _show_processor_time(costs)
    _show_memory(costs)


def measure(folder: Path, shards: int, arguments: argparse.Namespace) -> Cost:
    """Return what commands take at one number of shards."""
    source = folder / f"rows-{shards}.csv"
    write_rows(source, round(shards * arguments.rows / (1 - HOLDOUT)))
    options = ("--shards", str(shards), "--slices", str(arguments.slices))
    model = ("--model", "sklearn.naive_bayes.GaussianNB")
    bench = new_project(folder / f"project-{shards}", source, *options, *model)
    plain = base_line(folder / f"base-{shards}", shards + OTHER_STAGES)
    found = Cost(shards)
    say(f"{shards} shards: first run")
    before = _processor_time()
    found.first_run = bench.unlearn("repro", "-j", str(arguments.jobs)).seconds
    found.first_processor = _processor_time() - before
    say(f"  {found.first_run:.1f} s")
    commit(bench)
    measures: dict[str, Callable[[str], object]] = {
        "base": lambda _: found.base.append(plain.dvc("repro").seconds),
        "nothing": lambda _: found.nothing.append(bench.dvc("repro").seconds),
        "request": lambda row: _request(bench, found, row, arguments.jobs),
    }
    for row in _rows_of_shards(bench)[: arguments.repeats]:
        for name, step in measures.items():
            before = _processor_time()
            step(row)
            found.processor[name].append(_processor_time() - before)
        commit(bench)
        say(
            f"  base line {found.base[-1]:.1f} s, nothing to do {found.nothing[-1]:.1f} s, "
            f"request {found.request[-1]:.1f} s"
        )
    return found


def _processor_time() -> float:
    """Return the processor time of all processes below this one that have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _request(bench: Bench, found: Cost, row: str, jobs: int) -> None:
    """Forget one row, and note what it took."""
    before = _processor_time()
    with Watch() as watch:
        forgotten = bench.unlearn("forget", "--id", row).seconds
        brought = bench.unlearn("repro", "-j", str(jobs), "--json")
    if len(brought.json["trained"]) != 1:
        sys.exit(f"a request of one row trained {brought.json['trained']}")
    seconds = forgotten + brought.seconds
    found.forget.append(forgotten)
    found.request.append(seconds)
    found.dvc_share.append(watch.dvc_seconds / (_processor_time() - before))
    found.tool.append(watch.tool)
    found.everything.append(watch.everything)


def _rows_of_shards(bench: Bench) -> list[str]:
    """Return ids of rows that models are trained on."""
    context = bench.context()
    ids = (f"r{number}" for number in range(MOST_REQUESTS))
    tokens = {name: context.tokenizer.token("record", name) for name in ids}
    sharding = context.params.sharding
    return [name for name, token in tokens.items() if place_of_line(token, sharding).shard != OUT]


def write_rows(path: Path, rows: int) -> None:
    """Write a table that a naive Bayes model takes no time for."""
    draws = random.Random(0)  # noqa: S311 - a dataset, not a secret
    with path.open("w", encoding="ascii", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", *(f"x{number}" for number in range(FEATURES)), "label"])
        for row in range(rows):
            label = draws.choice("ab")
            values = (f"{draws.gauss(label == 'a', 1.0):.4f}" for _ in range(FEATURES))
            writer.writerow([f"r{row}", *values, label])


def base_line(root: Path, stages: int) -> Bench:
    """Return a repository of DVC alone, with so many stages that are all up to date."""
    root.mkdir()
    bench = Bench(root)
    run(["git", "init", "--quiet"], root)
    bench.dvc("init", "--quiet")
    bench.keep_to_itself()
    names = [f"s{number:03d}" for number in range(stages)]
    for kind in ("in", "out"):
        (root / kind).mkdir()
        for name in names:
            (root / kind / name).write_text(f"{kind} {name}\n", encoding="ascii")
    (root / "common").write_text("of all stages\n", encoding="ascii")
    (root / "dvc.yaml").write_text(
        "stages:\n"
        "  each:\n"
        f"    matrix:\n      name: [{', '.join(names)}]\n"
        "    cmd: 'true'\n"
        "    deps:\n      - common\n      - in/${item.name}\n"
        "    outs:\n      - out/${item.name}:\n          persist: true\n",
        encoding="ascii",
    )
    # As running them would: the outs are there.
    bench.dvc("commit", "--force", "--quiet")
    return bench


def commit(bench: Bench) -> None:
    """Commit everything to git, as a request is."""
    run(["git", "add", "--all"], bench.root)
    run(["git", "commit", "--quiet", "--allow-empty", "--message", "as it is"], bench.root)


def _show_times(costs: list[Cost]) -> None:
    lines = []
    for cost in costs:
        pairs = list(zip(cost.base, cost.nothing, cost.request, strict=True))
        lines.append(
            [
                cost.shards,
                spread(cost.base),
                spread(cost.nothing),
                spread([nothing / base for base, nothing, _ in pairs], 2),
                spread(cost.forget),
                spread(cost.request),
                spread([request / base for base, _, request in pairs], 2),
                f"{statistics.median(cost.dvc_share):.2f}",
                f"{cost.first_run:.1f}",
                f"{cost.first_run / statistics.median(cost.base):.1f}",
            ]
        )
    show(
        "cost",
        (
            "S",
            "base line, s",
            "dvc repro, nothing to do, s",
            "in base lines",
            "forget of one row, s",
            "forget + repro, s",
            "in base lines",
            "share of DVC",
            "first run, s",
            "in base lines",
        ),
        lines,
        "Gaussian naive Bayes models, four rows a shard. Base line: `dvc repro` with nothing to "
        "do on a graph of as many stages that run `true`, without params. Share of DVC: of the "
        "processor time of forget + repro.",
    )


def _show_processor_time(costs: list[Cost]) -> None:
    lines = []
    for cost in costs:
        base = statistics.median(cost.processor["base"])
        nothing, request = (
            statistics.median(cost.processor[name]) for name in ("nothing", "request")
        )
        found = (nothing, request, cost.first_processor)
        cells = [(f"{seconds:.1f}", f"{seconds / base:.2f}") for seconds in found]
        lines.append([cost.shards, f"{base:.1f}", *(cell for pair in cells for cell in pair)])
    show(
        "cost-processor",
        (
            "S",
            "base line, s",
            "dvc repro, nothing to do, s",
            "in base lines",
            "forget + repro, s",
            "in base lines",
            "first run, s",
            "in base lines",
        ),
        lines,
        "The same in processor time of all processes, which other work on the machine changes "
        "less.",
    )


def _show_memory(costs: list[Cost]) -> None:
    show(
        "cost-memory",
        ("S", "processes of unlearn, MiB", "with those of DVC, MiB"),
        [
            [
                cost.shards,
                f"{max(cost.tool) / MEBIBYTE:.0f}",
                f"{max(cost.everything) / MEBIBYTE:.0f}",
            ]
            for cost in costs
        ],
        "The most memory that all processes of a request had at one time together.",
    )


if __name__ == "__main__":
    main()
