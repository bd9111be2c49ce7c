"""Files from reports of users, each made here: read with the right value, or refused with why."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from unlearn.stages.context import open_project
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.shard_file import record_tokens

from tests.cli.conftest import refused, unchanged
from tests.cli.test_init_files import FEATURES, features, rows_of_shards, run_init
from tests.conftest import Repo

ROWS = 600


def visits() -> pd.DataFrame:
    """Return the table that all cases are made from: 600 rows of 130 people."""
    numbers = range(ROWS)
    return pd.DataFrame(
        {
            "rec": [f"R{number:05}" for number in numbers],
            "person": [1000 + number * 7 % 130 for number in numbers],
            "age": [20 + number % 61 + 0.5 for number in numbers],
            "amount": [number * 13 % 997 / 4 for number in numbers],
            "site": [("north", "south", "east")[number * 5 % 3] for number in numbers],
            "label": ["yes" if number * 11 % 3 else "no" for number in numbers],
        }
    )


def token(root: Path, raw: str) -> str:
    return open_project(Project(root / "P")).tokenizer.token("record", raw)


def values_of_shards(root: Path, *columns: str) -> dict[str, tuple[object, ...]]:
    """Run the shard stage; return the values of these columns by the token of each record."""
    assert rows_of_shards(root) == ROWS
    table = pq.read_table(root / "P/data/shards")
    values = zip(*(table[column].to_pylist() for column in columns), strict=True)
    return dict(zip(record_tokens(table), values, strict=True))


def insist_on_every_value(root: Path, frame: pd.DataFrame, *columns: str) -> None:
    """Insist that the shards hold each record's own values."""
    assert set(features(root)) == set(columns)
    found = values_of_shards(root, *columns, "unlearn.target")
    rows = frame[["rec", *columns, "label"]].itertuples(index=False, name=None)
    assert found == {token(root, raw): tuple(values) for raw, *values in rows}


def write_hive(root: Path, frame: pd.DataFrame) -> Path:
    for site, rows in frame.groupby("site"):
        (root / f"d/site={site}").mkdir(parents=True)
        rows.drop(columns="site").to_parquet(root / f"d/site={site}/part-0.parquet", index=False)
    return root / "d"


def write_spark(root: Path, frame: pd.DataFrame) -> Path:
    """Write what Spark writes: two parts, markers, checksums, and what a task that failed left."""
    folder = root / "d"
    (folder / "_temporary/0/task").mkdir(parents=True)
    name = "part-0000{}-4d1c8a6e-6a3d-4c0f-9d5a-0d6c5f6c3b1e-c000.snappy.parquet"
    for part, rows in enumerate((frame.iloc[:300], frame.iloc[300:], frame.iloc[:0])):
        rows.to_parquet(folder / name.format(part), index=False)
        (folder / f".{name.format(part)}.crc").write_bytes(b"crc\0")
    frame.iloc[:9].to_parquet(folder / "_temporary/0/task" / name.format(0), index=False)
    (folder / "_SUCCESS").touch()
    (folder / "._SUCCESS.crc").write_bytes(b"crc\0")
    return folder


def write_spark_csv(root: Path, frame: pd.DataFrame) -> Path:
    (root / "d").mkdir()
    (root / "d/part-00001.csv").touch()
    frame.iloc[:300].to_csv(root / "d/part-00000.csv", index=False)
    frame.iloc[300:].to_csv(root / "d/part-00002.csv", index=False)
    return root / "d"


def write_nested_lines(root: Path, frame: pd.DataFrame) -> Path:
    tags = [["a"] * (number % 3) for number in range(ROWS)]
    frame.assign(tags=tags).to_json(root / "a.jsonl", orient="records", lines=True)
    return root / "a.jsonl"


def write_list_column(root: Path, frame: pd.DataFrame) -> Path:
    frame.assign(emb=[[0.5, number] for number in range(ROWS)]).to_parquet(root / "a.parquet")
    return root / "a.parquet"


def write_index_csv(root: Path, frame: pd.DataFrame) -> Path:
    frame.to_csv(root / "a.csv")
    return root / "a.csv"


def write_index_parquet(root: Path, frame: pd.DataFrame) -> Path:
    """Write rows after a filter, whose index pandas then writes as a column."""
    order = frame.sample(frac=1, random_state=0)
    order.to_parquet(root / "a.parquet")
    assert "__index_level_0__" in pq.read_schema(root / "a.parquet").names
    return root / "a.parquet"


#: Datasets that are read, and the note that says what was not.
READ: dict[str, tuple[Callable[[Path, pd.DataFrame], Path], str | None]] = {
    "hive-partition": (write_hive, "note: d: column 'site' read from the names of folders"),
    "spark-directory": (write_spark, "note: d: 6 files without rows skipped: "),
    "spark-directory, csv": (write_spark_csv, None),
    "unused-nested-column, json": (write_nested_lines, "note: column 'tags' was left out: it has"),
    "unused-nested-column, parquet": (write_list_column, "note: column 'emb' was left out: it has"),
    "index-column, csv": (write_index_csv, "note: column '' was left out: it looks like row num"),
    "index-column, parquet": (
        write_index_parquet,
        "note: column '__index_level_0__' was left out: it looks like row numbers",
    ),
}


#: Other forms of what another case has.
_ALIKE = {"spark-directory, csv", "unused-nested-column, json", "index-column, csv"}


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=[pytest.mark.slow] if case in _ALIKE else []) for case in READ],
)
def test_every_row_has_its_own_values(tmp_path: Path, case: str) -> None:
    write, note = READ[case]
    frame = visits()

    done = run_init(tmp_path, write(tmp_path, frame))

    assert done.code == 0, done.err
    assert done.out.startswith("600 rows, 3 features, 2 classes")
    assert note is None or note in done.err
    assert features(tmp_path) == FEATURES
    insist_on_every_value(tmp_path, frame, *features(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("word", ["-", "None"])
def test_numeric_with_one_word(tmp_path: Path, word: str) -> None:
    frame = visits()
    written = frame.astype({"amount": object})
    written.loc[17, "amount"] = word
    written.to_csv(tmp_path / "a.csv", index=False)

    with unchanged(tmp_path):
        done = run_init(tmp_path, tmp_path / "a.csv")
    assert (
        refused(done) == "a.csv: column 'amount': 599 of 600 values are numbers; data row 18 is not"
    )

    assert run_init(tmp_path, tmp_path / "a.csv", f"--missing={word}").code == 0
    assert features(tmp_path) == FEATURES
    found = values_of_shards(tmp_path, "amount")
    expected = {
        token(tmp_path, raw): (value,) for raw, value in zip(frame.rec, frame.amount, strict=True)
    }
    assert found == {**expected, token(tmp_path, "R00017"): (None,)}


def stray(opened: int, closed: int, column: int) -> str:
    """Return the table with a quote before one value and after another one, rows below."""
    lines = visits().to_csv(index=False).splitlines()
    for row, quoted in ((opened, '"{}'), (closed, '{}"')):
        fields = lines[row].split(",")
        fields[column] = quoted.format(fields[column])
        lines[row] = ",".join(fields)
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("column", range(6))
@pytest.mark.parametrize("more", [(), ("--multiline",)])
def test_stray_quotes(tmp_path: Path, column: int, more: tuple[str, ...]) -> None:
    """The rows between two stray quotes would be one value, and their people out of reach."""
    (tmp_path / "a.csv").write_text(stray(200, 210, column), encoding="utf-8")

    with unchanged(tmp_path):
        done = run_init(tmp_path, tmp_path / "a.csv", *more)

    assert "data row 200" in refused(done) or "data row 210" in refused(done)
    assert "R00199" not in done.err
    assert "R00205" not in done.err


def test_subject_two_types(tmp_path: Path) -> None:
    """Pandas writes a column of whole numbers as 1003.0 once a value was missing."""
    frame = visits()
    (tmp_path / "months").mkdir()
    frame.iloc[:300].to_parquet(tmp_path / "months/2024-01.parquet", index=False)
    later = frame.iloc[300:].astype({"person": "float64"})
    later.to_parquet(tmp_path / "months/2024-02.parquet", index=False)
    types = [pq.read_schema(path).field("person").type for path in (tmp_path / "months").iterdir()]
    assert sorted(map(str, types)) == ["double", "int64"]
    whose = frame[frame["person"] == 1003]
    assert Counter((whose.index < 300).tolist()) == {True: 3, False: 2}

    assert run_init(tmp_path, tmp_path / "months").code == 0
    project = Repo(tmp_path / "P")
    assert project.inline("stage", "shard").code == 0
    done = project.inline("forget", "--subjects", "-", stdin="1003\n")
    assert done.code == 0, done.err
    assert project.inline("stage", "forget").code == 0

    left, gone = (records(tmp_path / "P/data" / name) for name in ("retain_set", "forget_set"))
    tokens = {token(tmp_path, raw) for raw in whose["rec"]}
    assert tokens.isdisjoint(left)
    assert gone == tokens
    assert len(left | gone) == ROWS


def records(folder: Path) -> set[str]:
    """Return the tokens of all records in the Parquet files of a folder."""
    files = [pq.read_table(path, columns=["unlearn.record"]) for path in folder.glob("*.parquet")]
    return {token for file in files for token in record_tokens(file)}


#: What `forget` finds in files of ids as they were exported: what was meant, or why not.
EXPORTED: dict[str, tuple[bytes, str, list[str] | None, str]] = {
    "s5": (b"rec\nR00001\n", "--ids", ["R00001"], "line 1 is the name of the column of ids"),
    "s6": (b'"R00001"\nR00002,\n', "--ids", ["R00001", "R00002"], "quotes or commas around 2 ids"),
    "s7": (b"R00001,R00002\n", "--ids", None, "line 1 would match a row if it were several lines"),
    "s9": (b"R00001\rR00002\r", "--ids", ["R00001", "R00002"], ""),
    "s4": (b"1003 \n", "--subjects", None, "line 1 would match a row without the space"),
    "s11": (
        "1003\u00a0\n".encode(),
        "--subjects",
        None,
        "line 1 would match a row without the no-break space around it",
    ),
    "s12": (
        "\u200b1003\n".encode(),
        "--subjects",
        None,
        "line 1 would match a row without an invisible character in it",
    ),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("plain")
    visits().to_csv(root / "plain.csv", index=False)
    assert run_init(root, root / "plain.csv").code == 0
    assert rows_of_shards(root) == ROWS
    return root


@pytest.mark.parametrize("name", EXPORTED)
def test_id_file_as_exported(plain: Path, tmp_path: Path, name: str) -> None:
    content, option, ids, message = EXPORTED[name]
    shutil.copytree(plain, tmp_path / "p")
    project = Repo(tmp_path / "p/P")
    (tmp_path / name).write_bytes(content)

    done = project.inline("forget", option, str(tmp_path / name))

    assert message in done.err + done.out
    lines = (project.root / "data/forget_list.txt").read_text(encoding="utf-8").split()
    if ids is None:
        assert done.code == 2
        assert lines == []
        return
    assert done.code == 0, done.err
    records = {line.rpartition(".")[2] for line in lines}
    assert records == {token(tmp_path / "p", raw) for raw in ids}


@pytest.mark.slow
def test_a_uuid_is_an_id_however_it_is_stored(tmp_path: Path) -> None:
    frame = visits()
    names = [f"00000000-0000-4000-8000-{number:012}" for number in range(ROWS)]
    table = pa.Table.from_pandas(frame, preserve_index=False)
    stored = pa.array([bytes.fromhex(name.replace("-", "")) for name in names], pa.uuid())
    pq.write_table(table.set_column(0, "rec", stored), tmp_path / "a.parquet")

    assert run_init(tmp_path, tmp_path / "a.parquet").code == 0

    insist_on_every_value(tmp_path, frame.assign(rec=names), *FEATURES)
