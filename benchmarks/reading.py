"""Reading: CSV compared with other readers, and `unlearn init` on a large table.

The readers take turns on the same file, and read every column as text. What `init` does with the
rows is measured as a whole process: seconds, processor seconds and the largest memory.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from unlearn.stages.reading.records import read_batches

from benchmarks.harness import UNLEARN, machine, say, show, spread, workplace

#: The goals: times the seconds of another reader; seconds and bytes of `init`.
GOAL, INIT_SECONDS, INIT_BYTES = 1.5, 30, 1 << 30

#: Rows of a table that are made at a time.
BLOCK = 100_000

#: How values are put into quotes, as pyarrow calls it.
QUOTES = {"every value": "all_valid", "texts": "needed", "none": "none"}


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=["csv", "init"], help="by default both")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=50, help="besides id and target")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a small part, to see that it works")
    parser.add_argument("--keep", type=Path, help="make the files here and leave them")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rows, arguments.columns, arguments.turns = 5_000, 6, 2
    print(machine())
    with workplace(arguments.keep) as folder:
        if arguments.part != "init":
            measure_csv(folder, arguments)
        if arguments.part != "csv":
            measure_init(folder, arguments)


def blocks(rows: int, columns: int) -> Iterator[pa.Table]:
    """Yield a table of numbers with a fraction, whole numbers and a few words, in equal parts."""
    random = np.random.default_rng(0)
    words = np.array([f"word {number}" for number in range(40)])
    for first in range(0, rows, BLOCK):
        size = min(BLOCK, rows - first)
        kinds: list[Callable[[int], Any]] = [
            lambda size: np.round(random.normal(size=size), 4),
            lambda size: random.integers(0, 100_000, size),
            lambda size: words[random.integers(0, len(words), size)],
        ]
        table = {"id": pa.array([f"R{number:08}" for number in range(first, first + size)])}
        for column in range(columns):
            table[f"x{column}"] = pa.array(kinds[column % 3](size))
        table["y"] = pa.array(words[random.integers(0, 2, size)])
        yield pa.table(table)


def write_csv(path: Path, rows: int, columns: int, quoting: str) -> None:
    """Write the table, with these quotes."""
    writer: pacsv.CSVWriter | None = None
    for block in blocks(rows, columns):
        text = block.cast(pa.schema([(name, pa.string()) for name in block.column_names]))
        table = block if quoting == "needed" else text
        if writer is None:
            writer = pacsv.CSVWriter(
                path, table.schema, write_options=pacsv.WriteOptions(quoting_style=quoting)
            )
        writer.write_table(table)
    if writer is not None:
        writer.close()


def write_parquet(path: Path, rows: int, columns: int) -> None:
    """Write the table as Parquet."""
    writer: pq.ParquetWriter | None = None
    for block in blocks(rows, columns):
        writer = writer or pq.ParquetWriter(path, block.schema)
        writer.write_table(block)
    if writer is not None:
        writer.close()


@dataclass
class Clocked:
    """Turns of one reader."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)


def this_tool(path: Path) -> int:
    """Read a file as the stages do."""
    return sum(batch.num_rows for batch in read_batches(path, path.name))


def _as_text(path: Path) -> pacsv.ConvertOptions:
    with path.open(encoding="utf-8") as file:
        header = file.readline().replace('"', "").rstrip("\n").split(",")
    return pacsv.ConvertOptions(
        column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False
    )


def arrow_whole(path: Path) -> int:
    """Read a file into one table."""
    return int(pacsv.read_csv(path, convert_options=_as_text(path)).num_rows)


def arrow_batches(path: Path) -> int:
    """Read a file batch by batch."""
    return sum(batch.num_rows for batch in pacsv.open_csv(path, convert_options=_as_text(path)))


def duckdb_batches(path: Path) -> int:
    """Read a file batch by batch."""
    import duckdb

    with duckdb.connect() as connection:
        rows = connection.read_csv(str(path), all_varchar=True)
        return sum(batch.num_rows for batch in rows.to_arrow_reader(100_000))


READERS: dict[str, Callable[[Path], int]] = {
    "this tool": this_tool,
    "pyarrow, one table": arrow_whole,
    "pyarrow, batches": arrow_batches,
    "DuckDB, batches": duckdb_batches,
}


def measure_csv(folder: Path, arguments: argparse.Namespace) -> None:
    """Print how long each reader takes, and how many times as long this tool does."""
    lines = []
    for name, quoting in QUOTES.items():
        path = folder / f"{quoting}.csv"
        say(f"writing CSV with quotes around {name}")
        write_csv(path, arguments.rows // 2, arguments.columns, quoting)
        found = {reader: Clocked() for reader in READERS}
        for _ in range(arguments.turns):
            for reader, read in READERS.items():
                wall, processor = time.perf_counter(), time.process_time()
                if read(path) != arguments.rows // 2:
                    sys.exit(f"{reader} has read another number of rows")
                found[reader].wall.append(time.perf_counter() - wall)
                found[reader].processor.append(time.process_time() - processor)
        lines += [_line(name, path, reader, found) for reader in READERS]
        path.unlink()
    show(
        "reading",
        ("quotes around", "MB", "reader", "s", "processor s", "tool / reader, s", "processor s"),
        lines,
        f"{arguments.rows // 2:,} rows, {arguments.columns + 2} columns, all as text, "
        f"{arguments.turns} turns. Goal: at most {GOAL} of pyarrow or of DuckDB.",
    )


def _line(name: str, path: Path, reader: str, found: dict[str, Clocked]) -> list[object]:
    other, tool = found[reader], found["this tool"]
    return [
        name,
        path.stat().st_size >> 20,
        reader,
        spread(other.wall, 2),
        spread(other.processor, 2),
        f"{median(tool.wall) / median(other.wall):.2f}",
        f"{median(tool.processor) / median(other.processor):.2f}",
    ]


def measure_init(folder: Path, arguments: argparse.Namespace) -> None:
    """Print what `unlearn init` takes for a large table."""
    lines = []
    for kind in ("csv", "parquet"):
        path = folder / f"table.{kind}"
        say(f"writing {path.name}")
        if kind == "csv":
            write_csv(path, arguments.rows, arguments.columns, "needed")
        else:
            write_parquet(path, arguments.rows, arguments.columns)
        command = [UNLEARN, "init", str(folder / kind), "--dataset", str(path)]
        started = time.perf_counter()
        process = subprocess.Popen([*command, "--id", "id", "--target", "y"])
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        if process.returncode:
            sys.exit(f"init of {path.name} failed")
        lines.append(
            [
                kind,
                path.stat().st_size >> 20,
                f"{seconds:.1f}",
                f"{usage.ru_utime + usage.ru_stime:.1f}",
                # In KiB on Linux.
                usage.ru_maxrss >> 10,
            ]
        )
    show(
        "init",
        ("format", "MB", "s", "processor s", "largest memory, MB"),
        lines,
        f"{arguments.rows:,} rows, {arguments.columns + 2} columns. Goal: {INIT_SECONDS} s and "
        f"{INIT_BYTES >> 20} MB.",
    )


if __name__ == "__main__":
    main()
