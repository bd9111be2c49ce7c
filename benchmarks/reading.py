"""Reading: CSV and JSON compared with other readers, and `unlearn init` on a large table.

The readers take turns on the same file, and read every column as text; pyarrow reads the numbers in
JSON as numbers, because it cannot read them as text. What `init` does with the
rows is measured as a whole process: seconds, processor seconds and the largest memory.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.json as pajson
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
    parser.add_argument("--part", choices=["csv", "json", "init"], help="by default all")
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
        parts = {"csv": measure_csv, "json": measure_json, "init": measure_init}
        for name in parts if arguments.part is None else [arguments.part]:
            parts[name](folder, arguments)


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


def write_json(path: Path, rows: int, columns: int, separators: tuple[str, str]) -> None:
    """Write the table as one object a line."""
    encoder = json.JSONEncoder(separators=separators)
    with path.open("w", encoding="ascii") as file:
        for block in blocks(rows, columns):
            file.writelines(f"{encoder.encode(row)}\n" for row in block.to_pylist())


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


def arrow_json_batches(path: Path) -> int:
    """Read a file with one object a line batch by batch, in one thread."""
    options = pajson.ReadOptions(use_threads=False)
    return sum(batch.num_rows for batch in pajson.open_json(path, read_options=options))


READERS: dict[str, Callable[[Path], int]] = {
    "this tool": this_tool,
    "pyarrow, one table": arrow_whole,
    "pyarrow, batches": arrow_batches,
    "DuckDB, batches": duckdb_batches,
}


JSON_READERS: dict[str, Callable[[Path], int]] = {
    "this tool": this_tool,
    "pyarrow, batches": arrow_json_batches,
}


def measure_csv(folder: Path, arguments: argparse.Namespace) -> None:
    """Print how long each reader takes, and how many times as long this tool does."""
    lines = []
    for name, quoting in QUOTES.items():
        path = folder / f"{quoting}.csv"
        say(f"writing CSV with quotes around {name}")
        write_csv(path, arguments.rows // 2, arguments.columns, quoting)
        lines += _turns(name, path, READERS, arguments.rows // 2, arguments.turns)
    show(
        "reading",
        ("quotes around", "MB", "reader", "s", "processor s", "tool / reader, s", "processor s"),
        lines,
        f"{arguments.rows // 2:,} rows, {arguments.columns + 2} columns, all as text, "
        f"{arguments.turns} turns. Goal: at most {GOAL} of pyarrow or of DuckDB.",
    )


def measure_json(folder: Path, arguments: argparse.Namespace) -> None:
    """Print how long this tool and pyarrow take for one object a line."""
    lines = []
    styles = {"none, as pandas and Spark write": (",", ":"), "yes, as Python writes": (", ", ": ")}
    rows = arguments.rows // 5
    for name, separators in styles.items():
        path = folder / "table.jsonl"
        say(f"writing JSON with spaces: {name}")
        write_json(path, rows, arguments.columns, separators)
        lines += _turns(name, path, JSON_READERS, rows, arguments.turns)
    show(
        "reading-json",
        ("spaces", "MB", "reader", "s", "processor s", "tool / reader, s", "processor s"),
        lines,
        f"{rows:,} rows, {arguments.columns + 2} columns, {arguments.turns} turns.",
    )


def _turns(
    name: str, path: Path, readers: Mapping[str, Callable[[Path], int]], rows: int, turns: int
) -> list[list[object]]:
    """Let readers take turns on a file, which is removed; return the lines of a table."""
    found = {reader: Clocked() for reader in readers}
    for _ in range(turns):
        for reader, read in readers.items():
            wall, processor = time.perf_counter(), time.process_time()
            if read(path) != rows:
                sys.exit(f"{reader} has read another number of rows")
            found[reader].wall.append(time.perf_counter() - wall)
            found[reader].processor.append(time.process_time() - processor)
    lines = [_line(name, path, reader, found) for reader in readers]
    path.unlink()
    return lines


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
        command = [UNLEARN, "init", str(folder / kind), "--dataset", str(path), "--model", "mlp"]
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
