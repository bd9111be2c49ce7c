"""What holds for every file, whatever its bytes are; shared by the tests and the fuzzer."""

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from unlearn.stages.config.dataset import CsvParams, DatasetParams
from unlearn.stages.errors import InputError
from unlearn.stages.reading.reading import Reading
from unlearn.stages.reading.records import read_batches
from unlearn.stages.rows.schema import feature_columns, target_column

#: Endings of the formats whose damaged files are read.
ENDINGS = (".csv", ".jsonl", ".json", ".parquet")

DATASET = DatasetParams(
    path="data/a",
    id="id",
    target="y",
    classes=["a", "b"],
    features={"x": "numeric", "city": "categorical"},
)


def seed_rows(rows: int = 12) -> list[dict[str, Any]]:
    """Return rows of which damaged files are made."""
    return [
        {"id": f"r{n}", "x": n / 4, "city": f'Bern, {n} "{"é" * (n % 3)}"', "y": "ab"[n % 2]}
        for n in range(rows)
    ]


def seed_files(folder: Path) -> dict[str, bytes]:
    """Return a sound file of each format, by its ending."""
    table = pa.Table.from_pylist(seed_rows())
    pq.write_table(table, folder / "seed.parquet", row_group_size=5, data_page_size=64)
    frame = table.to_pandas()
    return {
        ".csv": frame.to_csv(index=False).encode(),
        ".jsonl": frame.to_json(orient="records", lines=True).encode(),
        ".json": frame.to_json(orient="records").encode(),
        ".parquet": (folder / "seed.parquet").read_bytes(),
    }


def hold(path: Path, *, multiline: bool = False) -> bool:
    """Read a file as the stages do; return whether it was read.

    Raises
    ------
    AssertionError
        If it has more records than rows that were read.
    Exception
        Any but an InputError is a fault of the reader.
    """
    rows = 0
    reading = Reading(multiline=multiline, csv=CsvParams())
    try:
        for batch in read_batches(path, "data/a", reading=reading):
            rows += batch.num_rows
            for column in batch.columns:
                column.to_pylist()
    except InputError as error:
        assert error.message.startswith("data/a"), error.message
        return False
    least = _records(path, multiline=multiline)
    assert rows >= least, f"{rows} rows were read of {least} records"
    _use(path, reading)
    return True


def _use(path: Path, reading: Reading) -> None:
    """Do with the rows what the shard stage does."""
    first = 1
    try:
        for batch in read_batches(path, "data/a", reading=reading):
            feature_columns(batch, DATASET, "data/a", first)
            target_column(batch, DATASET, "data/a", first)
            first += batch.num_rows
    except InputError:
        return


def _records(path: Path, *, multiline: bool) -> int:
    """Return how many records a file has, without any reader of this tool."""
    content = path.read_bytes()
    if path.suffix == ".parquet":
        return int(pq.ParquetFile(path).metadata.num_rows)
    if path.suffix == ".jsonl":
        return sum(bool(line.strip()) for line in content.split(b"\n"))
    if path.suffix == ".csv" and not multiline:
        return sum(map(bool, re.split(b"\r\n|\r|\n", content.removeprefix(b"\xef\xbb\xbf")))) - 1
    return 0
