"""Damaged files give all of their rows or an error of this tool, and never fill the memory."""

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.laws import ENDINGS, hold, seed_files

#: Bytes that mean something in one of the formats.
PIECES = [b'"', b",", b"\n", b"\r", b"\0", b"\\", b"{", b"}", b"[", b"\xff", b"\xc3", b"1e999", b""]

EDITS = st.lists(
    st.tuples(
        st.integers(0, 1 << 16), st.integers(0, 9), st.sampled_from(PIECES) | st.binary(max_size=4)
    ),
    min_size=1,
    max_size=4,
)


def damaged(content: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for position, taken, put in edits:
        at = position % (len(content) + 1)
        content = content[:at] + put + content[at + taken :]
    return content


def hold_for_damaged_files(folder: Path, ending: str, examples: int) -> None:
    seed = seed_files(folder)[ending]
    path = folder / f"a{ending}"
    path.write_bytes(seed)
    assert hold(path)

    @settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(EDITS, st.booleans(), st.booleans())
    def law(edits: list[tuple[int, int, bytes]], multiline: bool, cut: bool) -> None:
        content = damaged(seed, edits)
        path.write_bytes(content[: edits[0][0] % (len(content) + 1)] if cut else content)
        hold(path, multiline=multiline)

    law()


@pytest.mark.parametrize("ending", ENDINGS)
def test_damaged_files_are_read_or_refused(tmp_path: Path, ending: str) -> None:
    hold_for_damaged_files(tmp_path, ending, 80)


@pytest.mark.slow
@pytest.mark.parametrize("ending", ENDINGS)
def test_many_damaged_files_are_read_or_refused(tmp_path: Path, ending: str) -> None:
    hold_for_damaged_files(tmp_path, ending, 1500)


#: Prints by how many bytes the largest memory grew while a file was read, and the error if any.
MEASURE = """
import resource, sys
from pathlib import Path
from unlearn.stages.errors import InputError
from unlearn.stages.reading.reading import Reading
from unlearn.stages.reading.records import read_batches
from tests.fuzz.laws import hold, seed_files
import tempfile
with tempfile.TemporaryDirectory() as folder:
    for ending, content in seed_files(Path(folder)).items():
        path = Path(folder) / f"a{ending}"
        path.write_bytes(content)
        assert hold(path)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
error = ""
try:
    for batch in read_batches(Path(sys.argv[1]), "data/a", reading=Reading(multiline=True)):
        pass
except InputError as found:
    error = found.message
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((after - before) * (1 if sys.platform == "darwin" else 1024), error)
"""

MB = 1 << 20


def csv_rows(path: Path) -> int:
    row = b"r,1.25," + b"x" * 80 + b',"a ""b"""\n'
    path.write_bytes(b"id,x,city,y\n" + row * (40 * MB // len(row)))
    return path.stat().st_size


def csv_one_record(path: Path) -> int:
    path.write_bytes(b'id,x\n1,"' + b"a\n" * (40 * MB))
    return path.stat().st_size


def json_rows(path: Path) -> int:
    row = json.dumps({"id": "r", "x": 1.25, "city": "x" * 80}).encode() + b"\n"
    path.write_bytes(row * (40 * MB // len(row)))
    return path.stat().st_size


def json_array(path: Path) -> int:
    row = json.dumps({"id": "r", "x": 1.25, "city": "x" * 80}).encode()
    path.write_bytes(b"[" + b",".join([row] * (40 * MB // len(row))) + b"]")
    return path.stat().st_size


def parquet_rows(path: Path) -> int:
    text = pa.array([f"{number:080}" for number in range(400_000)])
    pq.write_table(pa.table({"id": text}), path, compression="none", use_dictionary=False)
    return path.stat().st_size


def bomb(content: bytes) -> Callable[[Path], int]:
    def write(path: Path) -> int:
        with gzip.open(path, "wb", compresslevel=1) as out:
            for _ in range(400):
                out.write(content * (MB // len(content)))
        # The goal is for what was read, up to the longest row.
        return 80 * MB

    return write


BIG = {
    "a.csv": csv_rows,
    "one.csv": csv_one_record,
    "a.jsonl": json_rows,
    "a.json": json_array,
    "a.parquet": parquet_rows,
    "bomb.csv.gz": bomb(b"a"),
    "bomb.jsonl.gz": bomb(b"["),
    "bomb.json.gz": bomb(b'[{"a":"aaaaaaaa'),
    "rows.csv.gz": bomb(b"aaa,bbb\n"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BIG)
def test_a_file_takes_at_most_four_times_its_size_in_memory(tmp_path: Path, name: str) -> None:
    size = BIG[name](tmp_path / name)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / name)],
        cwd=Path(__file__).parents[2],
        text=True,
        capture_output=True,
        check=True,
    )
    grown, _, error = done.stdout.strip().partition(" ")
    assert int(grown) < 4 * size
    assert bool(error) == (name.startswith(("one", "bomb")))


@pytest.mark.parametrize("line", ["\x1f\t", "\u00a0", "\u2028"])
def test_a_line_of_other_spaces_than_those_of_json_is_no_blank_line(
    tmp_path: Path, line: str
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id": "1"}\n' + line.encode() + b"\n \t\r\n")

    assert not hold(path)
