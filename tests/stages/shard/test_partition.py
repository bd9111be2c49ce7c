"""Rows to their places: one table of a shard, whatever file its rows came in."""

import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from unlearn.stages.config.params import Params
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import HOLDOUT
from unlearn.stages.reading.reading import Reading
from unlearn.stages.reading.records import read_batches
from unlearn.stages.rows.shard_file import (
    RECORD,
    SUBJECT,
    TARGET,
    Layout,
    in_order,
    record_tokens,
    subject_tokens,
)
from unlearn.stages.rows.tokens import Tokenizer, place
from unlearn.stages.shard.partition import collect, spill
from unlearn.stages.shard.typed_rows import Rules

from tests.conftest import make_frame
from tests.stages.conftest import KEY, make_params, token_of

SECRET = "jane.roe"


def shards_of(path: Path, params: Params, scratch: Path) -> dict[str, pa.Table]:
    """Return the table of every shard, and of the holdout, of a dataset."""
    scratch.mkdir()
    dataset = params.dataset
    batches = read_batches(path, dataset.path, reading=Reading(multiline=True))
    rows = spill(batches, Rules(dataset, params.sharding, Tokenizer(KEY)), scratch).rows
    layout = Layout.of(dataset)
    names = [*params.sharding.shards, HOLDOUT]
    found = {name: collect(scratch, name, layout, dataset.path) for name in names}
    assert sum(table.num_rows for table in found.values()) == rows
    return found


def to_csv(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_csv(path.with_suffix(".csv"), index=False)
    return path.with_suffix(".csv")


def to_parquet(frame: pd.DataFrame, path: Path) -> Path:
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path.with_suffix(".parquet"))
    return path.with_suffix(".parquet")


def to_jsonl(frame: pd.DataFrame, path: Path) -> Path:
    path = path.with_suffix(".jsonl")
    frame.to_json(path, orient="records", lines=True, double_precision=15)
    return path


def to_folder(frame: pd.DataFrame, path: Path) -> Path:
    path.mkdir()
    third = len(frame) // 3
    to_csv(frame[third : 2 * third], path / "a")
    to_parquet(frame[2 * third :], path / "b")
    to_jsonl(frame[:third], path / "c")
    return path


WRITERS: list[Callable[[pd.DataFrame, Path], Path]] = [to_csv, to_parquet, to_jsonl, to_folder]


@pytest.mark.parametrize("subjects", [0, 60])
def test_every_format_gives_the_same_shards(tmp_path: Path, subjects: int) -> None:
    frame = make_frame(120, subjects=subjects)
    params = make_params(subject="person" if subjects else None)

    found = [
        shards_of(write(frame, tmp_path / write.__name__), params, tmp_path / f"s-{number}")
        for number, write in enumerate(WRITERS)
    ]

    assert all(each == found[0] for each in found[1:])
    assert [table.num_rows > 0 for table in found[0].values()] == [True] * 4


NUMERIC_IDS = pd.DataFrame(
    {
        "id": [7, 2**53 + 1, 2**63 - 1, 0, -12, 100],
        "age": [1.5, None, 3.0, 1e-7, 1e16, -0.1],
        "income": [1, 2, 3, 4, 5, 6],
        "member": [True, False, True, False, True, False],
        "city": ["Rom, Lazio", 'the "city"', "a b", "Zürich", None, "東京"],
        "label": ["c0", "c1", "c2", "c0", "c1", "c2"],
    }
)


@pytest.mark.parametrize("write", WRITERS)
def test_numbers_as_ids_keep_their_digits(
    tmp_path: Path, write: Callable[[pd.DataFrame, Path], Path]
) -> None:
    shards = shards_of(write(NUMERIC_IDS, tmp_path / "d"), make_params(), tmp_path / "scratch")

    rows = {
        token: row
        for table in shards.values()
        for token, row in zip(record_tokens(table), table.to_pylist(), strict=True)
    }
    for row in NUMERIC_IDS.to_dict("records"):
        found = rows[token_of(str(row["id"]))]
        assert found["age"] == (None if pd.isna(row["age"]) else row["age"])
        assert found["income"] == row["income"]
        assert found["member"] is row["member"]
        assert found["city"] == (None if pd.isna(row["city"]) else row["city"])
        assert found[TARGET] == row["label"]
    assert len(rows) == len(NUMERIC_IDS)


@pytest.mark.parametrize("write", WRITERS)
def test_unusual_ids_are_those_that_were_written(
    tmp_path: Path, write: Callable[[pd.DataFrame, Path], Path]
) -> None:
    ids = ["007", "7", " 7", "7.0", "1" + "0" * 40, "NA", "?", "é", "a,b", 'a"b', "a\nb", "null"]
    frame = make_frame(len(ids)).assign(id=ids)

    shards = shards_of(write(frame, tmp_path / "d"), make_params(), tmp_path / "scratch")

    found = {token for table in shards.values() for token in record_tokens(table)}
    assert found == {token_of(raw) for raw in ids}


def test_each_row_stands_in_the_shard_of_its_token(tmp_path: Path) -> None:
    params = make_params(shards=5, slices=1)
    shards = shards_of(to_csv(make_frame(200), tmp_path / "d"), params, tmp_path / "scratch")

    for name, table in shards.items():
        assert table.equals(in_order(table))
        for token in record_tokens(table):
            assert place(token, 5, 1, 0.2).shard == name


def test_all_rows_of_a_person_fall_in_one_shard(tmp_path: Path) -> None:
    frame = make_frame(200, subjects=40)
    params = make_params(shards=5, subject="person")
    shards = shards_of(to_csv(frame, tmp_path / "d"), params, tmp_path / "scratch")

    homes: dict[str, str] = {}
    for name, table in shards.items():
        assert table.equals(in_order(table))
        for token in subject_tokens(table):
            assert homes.setdefault(token, name) == name
            assert place(token, 5, 1, 0.2).shard == name
    assert homes.keys() == {token_of(raw, "subject") for raw in frame["person"]}


def test_the_order_of_the_dataset_means_nothing(tmp_path: Path) -> None:
    frame = make_frame(100, subjects=30)
    params = make_params(subject="person")
    shuffled = frame.sample(frac=1, random_state=1)[frame.columns[::-1]]

    one = shards_of(to_csv(frame, tmp_path / "a"), params, tmp_path / "s1")
    other = shards_of(to_csv(shuffled, tmp_path / "b"), params, tmp_path / "s2")

    assert one == other


def test_other_columns_of_the_dataset_stay_in_it(tmp_path: Path) -> None:
    frame = make_frame(30).assign(note=SECRET)
    shards = shards_of(to_csv(frame, tmp_path / "d"), make_params(), tmp_path / "scratch")

    for table in shards.values():
        assert table.schema == Layout.of(make_params().dataset).schema
    assert not any(SECRET in str(table.to_pylist()) for table in shards.values())


def test_more_shards_than_rows_leaves_some_empty(tmp_path: Path) -> None:
    params = make_params(shards=40)
    shards = shards_of(to_csv(make_frame(5), tmp_path / "d"), params, tmp_path / "scratch")

    empty = [table for table in shards.values() if table.num_rows == 0]
    assert len(empty) >= 35
    assert all(table.schema == Layout.of(params.dataset).schema for table in empty)


def spoil(frame: pd.DataFrame, row: int, column: str, value: object) -> pd.DataFrame:
    spoiled = frame.astype(object)
    spoiled.loc[row, column] = value
    return spoiled


@pytest.mark.parametrize("write", [to_csv, to_jsonl])
@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("id", None, r"column 'id', data row 18: an id is missing"),
        ("id", f"u1_{SECRET}", r"column 'id', data row 18: an id begins with 'u1_'"),
        ("person", None, r"column 'person', data row 18: an id is missing"),
        ("person", f"u1_{SECRET}", r"column 'person', data row 18: an id begins with 'u1_'"),
        ("id", "r0003", r"data rows 4 and 18 have the same id"),
        ("label", SECRET, r"a class is (missing|not listed .*) \(data row 18\)"),
        ("label", None, r"a class is (missing|not listed .*) \(data row 18\)"),
        ("age", SECRET, r"'age' is numeric: a value is not a number \(data row 18\)"),
        ("member", SECRET, r"'member' is boolean: .* \(data row 18\)"),
    ],
)
def test_a_bad_cell_is_named_by_its_row_alone(
    tmp_path: Path,
    write: Callable[[pd.DataFrame, Path], Path],
    column: str,
    value: str | None,
    said: str,
) -> None:
    frame = spoil(make_frame(60, subjects=9), 17, column, value)
    params = make_params(subject="person")

    with pytest.raises(InputError, match=said) as caught:
        shards_of(write(frame, tmp_path / "d"), params, tmp_path / "scratch")

    assert SECRET not in caught.value.message + "".join(caught.value.hints)
    assert "r0003" not in caught.value.message
    assert "data/dataset.csv" in caught.value.message or column in caught.value.message


def test_a_missing_id_in_parquet_is_missing_whatever_stands_for_it(tmp_path: Path) -> None:
    table = pa.Table.from_pandas(NUMERIC_IDS, preserve_index=False)
    for number, gap in enumerate([None, float("nan")]):
        ids = pa.array([1.0, 2.0, gap, 4.0, 5.0, 6.0], pa.float64())
        path = tmp_path / f"d{number}.parquet"
        pq.write_table(table.set_column(0, "id", ids), path)

        with pytest.raises(InputError, match="data row 3: an id is missing"):
            shards_of(path, make_params(), tmp_path / f"s{number}")


@pytest.mark.parametrize("column", ["id", "person", "label", "age"])
def test_a_pinned_column_has_to_be_there(tmp_path: Path, column: str) -> None:
    frame = make_frame(20, subjects=3).drop(columns=column)

    with pytest.raises(InputError, match=f"data/dataset.csv has no column '{column}'"):
        shards_of(to_csv(frame, tmp_path / "d"), make_params(subject="person"), tmp_path / "s")


@pytest.mark.parametrize("shards", [1, 7])
def test_one_id_of_two_people_is_still_one_id_twice(tmp_path: Path, shards: int) -> None:
    frame = make_frame(60, subjects=30)
    params = make_params(shards=shards, subject="person")
    for row in range(20, 50):
        if frame.loc[row, "person"] != frame.loc[5, "person"]:
            twice = spoil(frame, row, "id", frame.loc[5, "id"])
            break

    with pytest.raises(InputError, match=rf"data rows 6 and {row + 1} have the same id"):
        shards_of(to_csv(twice, tmp_path / "d"), params, tmp_path / "scratch")


@pytest.mark.parametrize("subject", [None, "person"])
def test_an_id_in_two_files_names_both(tmp_path: Path, subject: str | None) -> None:
    """Also with people, where repeats are found in another way."""
    frame = make_frame(60, subjects=9)
    folder = tmp_path / "d"
    folder.mkdir()
    to_csv(frame[:20], folder / "a")
    frame[20:].to_parquet(folder / "b.parquet", index=False)
    pd.concat([frame[57:58], frame[:20]]).to_csv(folder / "c.csv", index=False)

    with pytest.raises(InputError) as caught:
        shards_of(folder, make_params(subject=subject), tmp_path / "scratch")

    message = caught.value.message
    found = re.fullmatch(
        r".*/(a.csv|b.parquet), data row (\d+), and .*/c.csv, data row (\d+), have .*", message
    )
    assert found is not None, message
    kept, row, again = found[1], int(found[2]), int(found[3])
    first = {"a.csv": row - 1, "b.parquet": 20 + row - 1}[kept]
    assert first == (57 if again == 1 else again - 2)
    assert "do the two files hold the same rows?" in caught.value.hints[0]


def test_composed_and_decomposed_ids_are_the_same_id(tmp_path: Path) -> None:
    frame = make_frame(20)
    frame.loc[3, "id"], frame.loc[9, "id"] = "café", "cafe\u0301"

    with pytest.raises(InputError, match="data rows 4 and 10 have the same id"):
        shards_of(to_csv(frame, tmp_path / "d"), make_params(), tmp_path / "scratch")


def test_rows_are_counted_across_batches_and_files(tmp_path: Path) -> None:
    count = 40_000
    frame = pd.DataFrame(
        {"id": np.arange(count), "x": "y" * 100, "age": 1.0, "label": "c0"}
    ).astype({"age": object})
    frame.loc[count - 2, "age"] = SECRET
    folder = tmp_path / "d"
    folder.mkdir()
    to_csv(frame[: count // 2], folder / "a")
    to_csv(frame[count // 2 :], folder / "b")

    row = count // 2 - 1
    with pytest.raises(InputError, match=rf"/b\S*: .* not a number \(data row {row}\)"):
        shards_of(folder, make_params(features={"age": "numeric"}), tmp_path / "s")


_MEASURED = """
import resource, sys
from pathlib import Path
from tests.stages.conftest import KEY, make_params
from unlearn.stages.reading.records import read_batches
from unlearn.stages.shard.partition import collect, spill
from unlearn.stages.shard.typed_rows import Rules
from unlearn.stages.rows.shard_file import Layout
from unlearn.stages.rows.tokens import Tokenizer

path, scratch = Path(sys.argv[1]), Path(sys.argv[2])
cities = {f"city{number}": "categorical" for number in range(20)}
params = make_params(shards=32, holdout=0.03, features={"age": "numeric", **cities})
batches = read_batches(path, "data/dataset.csv")
spill(batches, Rules(params.dataset, params.sharding, Tokenizer(KEY)), scratch)
for name in params.sharding.shards:
    collect(scratch, name, Layout.of(params.dataset), "data/dataset.csv")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_memory(path: Path, scratch: Path) -> int:
    """Return the most memory (bytes) that a process of its own takes to shard a file."""
    scratch.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, str(path), str(scratch)],
        text=True,
        capture_output=True,
        check=True,
    )
    # Kibibytes on Linux, bytes on macOS.
    return int(done.stdout) * (1 if sys.platform == "darwin" else 1024)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """The peak may grow by a shard, and by what Arrow reads ahead: 32 blocks, whatever the file."""
    peaks, sizes = [], []
    for count in (5_000, 40_000):
        path = tmp_path / f"{count}.csv"
        with path.open("w", encoding="ascii") as handle:
            cities = ",".join(f"city{number}" for number in range(20))
            handle.write(f"id,age,{cities},note,label\n")
            handle.writelines(
                f"{number},{number / 7}{(',' + 'c' * 99) * 20},{'n' * 6_000},c{number % 3}\n"
                for number in range(count)
            )
        peaks.append(peak_memory(path, tmp_path / f"scratch-{count}"))
        sizes.append(path.stat().st_size)
        path.unlink()
        shutil.rmtree(tmp_path / f"scratch-{count}")

    assert sizes[1] > 7.9 * sizes[0]
    assert peaks[1] - peaks[0] < (sizes[1] - sizes[0]) / 2


def test_sharding_needs_no_more_open_files_than_it_may_have(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
    try:
        params = make_params(shards=300, holdout=0.0)
        shards = shards_of(to_csv(make_frame(900), tmp_path / "d"), params, tmp_path / "scratch")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert sum(table.num_rows for table in shards.values()) == 900


def test_a_change_of_the_share_moves_rows_only_in_and_out_of_the_holdout(tmp_path: Path) -> None:
    path = to_csv(make_frame(200), tmp_path / "d")
    params = make_params(shards=4, holdout=0.1)
    larger = replace_holdout(params, 0.4)

    few = shards_of(path, params, tmp_path / "s1")
    many = shards_of(path, larger, tmp_path / "s2")

    for shard in params.sharding.shards:
        assert set(record_tokens(many[shard])) <= set(record_tokens(few[shard]))


def replace_holdout(params: Params, holdout: float) -> Params:
    sharding = params.sharding.model_copy(update={"holdout": holdout})
    return params.model_copy(update={"sharding": sharding})


def test_the_layout_is_that_of_params() -> None:
    layout = Layout.of(make_params(subject="person").dataset)

    assert replace(layout, subjects=False) == Layout.of(make_params().dataset)
    assert layout.schema.names[:2] == [RECORD, SUBJECT]
