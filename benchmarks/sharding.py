"""Sharding: the `shard` stage compared with DuckDB, which writes the same rows to as many folders.

Both read the same CSV and write Parquet with the same compression. They take turns as whole
processes, so processor time and memory include the start of each. DuckDB neither checks nor types
rows, sorts none, and computes no keyed digest. `--part memory` measures the memory that `init`,
`shard` and `forget` take for ten million rows, all their processes together.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from benchmarks.cost import Watch
from benchmarks.harness import UNLEARN, Bench, machine, new_project, say, show, spread, workplace

#: The goals: times the processor time of DuckDB, and bytes of memory.
GOAL, BYTES = 2, 1_500_000_000

#: Rows by default: whose processor time is measured, and whose memory.
TIMED_ROWS, LARGE_ROWS = 2_000_000, 10_000_000

#: Rows to forget.
FORGOTTEN = [f"R{number:08}" for number in range(0, 20_000, 1_000)]

#: Rows of a table that are made at a time.
BLOCK = 100_000

_DUCKDB = """
import sys
import duckdb

source, target, shards = sys.argv[1:]
duckdb.sql(
    f"COPY (SELECT *, hash(id) % {shards} AS shard FROM read_csv('{source}')) "
    f"TO '{target}' (FORMAT parquet, COMPRESSION zstd, PARTITION_BY (shard))"
)
"""


@dataclass(frozen=True)
class Used:
    """What a process used: seconds, processor seconds, and the largest memory in bytes."""

    wall: float
    seconds: float
    memory: int


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=["time", "memory"], default="time")
    parser.add_argument("--rows", type=int, help=f"by default {TIMED_ROWS:,}, or {LARGE_ROWS:,}")
    parser.add_argument("--columns", type=int, default=18, help="besides id and label")
    parser.add_argument("--shards", type=int, default=20)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a small part, to see that it works")
    parser.add_argument("--keep", type=Path, help="make the files here and leave them")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rows, arguments.turns = 20_000, 2
    part = measure if arguments.part == "time" else measure_memory
    arguments.rows = arguments.rows or (TIMED_ROWS if part is measure else LARGE_ROWS)
    print(machine())
    with workplace(arguments.keep) as folder:
        part(folder, arguments)


def write_csv(path: Path, rows: int, columns: int) -> None:
    """Write a table of numbers with a fraction, whole numbers and a few words, in equal parts."""
    random = np.random.default_rng(0)
    words = np.array([f"word {number}" for number in range(40)])
    writer: pacsv.CSVWriter | None = None
    for first in range(0, rows, BLOCK):
        size = min(BLOCK, rows - first)
        table = {"id": pa.array([f"R{number:08}" for number in range(first, first + size)])}
        for column in range(columns):
            values = (
                np.round(random.normal(size=size), 4),
                random.integers(0, 100_000, size),
                words[random.integers(0, len(words), size)],
            )[column % 3]
            table[f"x{column}"] = pa.array(values)
        table["label"] = pa.array(words[random.integers(0, 2, size)])
        block = pa.table(table)
        writer = writer or pacsv.CSVWriter(path, block.schema)
        writer.write_table(block)
    if writer is not None:
        writer.close()


def used(command: list[str], folder: Path) -> Used:
    """Run a process to its end; stop the benchmark if it fails."""
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{Path(command[0]).name} {command[1]} failed")
    wall = time.perf_counter() - started
    # In KiB on Linux.
    return Used(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10)


def measure(folder: Path, arguments: argparse.Namespace) -> None:
    """Print what both take, how many times as long the stage does, and what `forget` takes."""
    source, other = folder / "table.csv", folder / "duckdb"
    say("writing the table")
    write_csv(source, arguments.rows, arguments.columns)
    bench = new_project(folder / "project", source, "--shards", str(arguments.shards))
    stages: list[Used] = []
    writes: list[Used] = []
    for turn in range(arguments.turns):
        say(f"turn {turn + 1} of {arguments.turns}")
        shutil.rmtree(bench.root / "data/shards", ignore_errors=True)
        stages.append(used([UNLEARN, "stage", "shard"], bench.root))
        shutil.rmtree(other, ignore_errors=True)
        command = [sys.executable, "-c", _DUCKDB, str(source), str(other), str(arguments.shards)]
        writes.append(used(command, folder))
    forget = used([UNLEARN, "stage", "forget"], bench.root)
    ratio = median(each.seconds for each in stages) / median(each.seconds for each in writes)
    lines = [
        ["`shard`", *_cells(stages, arguments.rows), f"{ratio:.2f}"],
        ["DuckDB, partitioned write", *_cells(writes, arguments.rows), ""],
        ["`forget`, no request", *_cells([forget], arguments.rows), ""],
    ]
    show(
        "sharding",
        ("process", "s", "processor s", "us a row", "largest memory, MB", "stage / DuckDB"),
        lines,
        f"{arguments.rows:,} rows, {arguments.columns + 2} columns of CSV, {arguments.shards} "
        f"shards, {arguments.turns} turns. Goal: at most {GOAL} times DuckDB's processor time.",
    )


def measure_memory(folder: Path, arguments: argparse.Namespace) -> None:
    """Print the most memory that all processes of a command have at one time together."""
    source = folder / "table.csv"
    say("writing the table")
    write_csv(source, arguments.rows, arguments.columns)
    lines: list[list[str]] = []

    def note(name: str, run: Callable[[], object]) -> None:
        say(name)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with Watch() as watch:
            run()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        lines.append([name, f"{seconds:.1f}", str(watch.everything // 10**6)])

    projects: list[Bench] = []
    options = (folder / "project", source, "--shards", str(arguments.shards))
    note("`init`", lambda: projects.append(new_project(*options)))
    (bench,) = projects
    wanted = "".join(f"{raw}\n" for raw in FORGOTTEN if int(raw[1:]) < arguments.rows)
    note("`shard`", lambda: bench.unlearn("stage", "shard"))
    note("stage `forget`, no request", lambda: bench.unlearn("stage", "forget"))
    note("`unlearn forget`", lambda: bench.unlearn("forget", "--ids", "-", stdin=wanted))
    note("stage `forget`", lambda: bench.unlearn("stage", "forget"))
    show(
        "sharding-memory",
        ("command", "processor s", "largest memory, MB"),
        lines,
        f"{arguments.rows:,} rows, {arguments.columns + 2} columns of CSV, {arguments.shards} "
        f"shards, {len(wanted.split())} rows to forget. Goal: at most {BYTES // 10**6:,} MB.",
    )


def _cells(found: list[Used], rows: int) -> list[str]:
    seconds = [each.seconds for each in found]
    memory = max(each.memory for each in found)
    return [
        f"{median(each.wall for each in found):.1f}",
        spread(seconds, 2),
        f"{median(seconds) / rows * 1e6:.1f}",
        str(memory // 10**6),
    ]


if __name__ == "__main__":
    main()
