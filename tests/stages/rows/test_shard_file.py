"""Shard files: bytes that follow from rows, name and key, and digests that are no oracle."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unlearn.stages.errors import InputError
from unlearn.stages.rows.forget_list import ForgetList
from unlearn.stages.rows.shard_file import (
    RECORD,
    SUBJECT,
    TARGET,
    Layout,
    digest_rows,
    forget_mask,
    in_order,
    nonce,
    read_nonce,
    read_shard,
    record_tokens,
    subject_tokens,
    targets,
    write_shard,
)
from unlearn.stages.rows.token_arrays import (
    digest_array,
    digests_of,
    digests_of_texts,
    token_texts,
)

from tests.stages.conftest import CLASSES, KEY, LAYOUT, OTHER_KEY, make_rows, token_of

ROWS = make_rows(60)


def written(rows: pa.Table, folder: Path, name: str = "s000") -> bytes:
    path = folder / f"{name}.parquet"
    path.unlink(missing_ok=True)
    write_shard(path, KEY, rows, LAYOUT)
    return path.read_bytes()


def in_pieces(rows: pa.Table) -> pa.Table:
    return pa.concat_tables([rows.slice(start, 7) for start in range(0, rows.num_rows, 7)])


def from_a_larger_table(rows: pa.Table) -> pa.Table:
    return pa.concat_tables([ROWS, rows, ROWS]).combine_chunks().slice(60, rows.num_rows)


def filtered(rows: pa.Table) -> pa.Table:
    mask = [False] * 60 + [True] * rows.num_rows
    return pa.concat_tables([ROWS, rows]).filter(pa.array(mask))


def with_metadata(rows: pa.Table) -> pa.Table:
    return rows.replace_schema_metadata({b"pandas": b"{}"})


@pytest.mark.parametrize("make", [in_pieces, from_a_larger_table, filtered, with_metadata])
def test_equal_rows_give_equal_bytes_however_they_lie_in_memory(
    tmp_path: Path, make: Callable[[pa.Table], pa.Table]
) -> None:
    rows = make_rows(5000, seed=9)

    assert written(make(rows), tmp_path) == written(rows, tmp_path)
    assert digest_rows(KEY, make(rows), "x") == digest_rows(KEY, rows, "x")


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "s001.parquet"

    assert write_shard(path, KEY, ROWS, LAYOUT)
    found = read_shard(path, "data/shards/s001.parquet")

    assert found.rows.equals(ROWS)
    assert found.layout == LAYOUT
    assert found.nonce == nonce(KEY, "s001", ROWS, LAYOUT) == read_nonce(path, "s001")
    assert [path.name for path in tmp_path.iterdir()] == ["s001.parquet"]


def test_a_file_that_holds_these_rows_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s000.parquet"
    write_shard(path, KEY, ROWS, LAYOUT)
    before = path.stat()

    assert not write_shard(path, KEY, ROWS, LAYOUT)
    after = path.stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)


def test_a_file_can_hold_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "s000.parquet"
    write_shard(path, KEY, LAYOUT.schema.empty_table(), LAYOUT)

    found = read_shard(path, "s000")
    assert found.rows.num_rows == 0
    assert found.rows.schema == LAYOUT.schema


def test_a_nonce_depends_on_key_name_rows_and_layout() -> None:
    other_layout = replace(LAYOUT, classes=(*CLASSES, "c3"))
    nonces = [
        nonce(KEY, "s000", ROWS, LAYOUT),
        nonce(OTHER_KEY, "s000", ROWS, LAYOUT),
        nonce(KEY, "s001", ROWS, LAYOUT),
        nonce(KEY, "s000", ROWS.slice(1), LAYOUT),
        nonce(KEY, "s000", ROWS, other_layout),
        nonce(KEY, "s000", LAYOUT.schema.empty_table(), LAYOUT),
        nonce(KEY, "s001", LAYOUT.schema.empty_table(), LAYOUT),
    ]

    assert len(set(nonces)) == len(nonces)


def test_hashes_of_two_projects_on_the_same_rows_differ(tmp_path: Path) -> None:
    """Else the md5 in dvc.lock would confirm a guess at a row that has gone."""
    md5s = set()
    for key in (KEY, OTHER_KEY):
        path = tmp_path / f"{key.check}" / "s000.parquet"
        write_shard(path, key, ROWS, LAYOUT)
        md5s.add(hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest())

    assert len(md5s) == 2


@given(st.integers(0, 59), st.sampled_from(LAYOUT.schema.names))
@settings(max_examples=40)
def test_one_changed_cell_changes_the_digest(row: int, name: str) -> None:
    column = ROWS[name].to_pylist()
    before = column[row]
    changed: object
    if name in ("age", "income"):
        changed = 0.0 if before is None else before + 1e-9
    elif name == "member":
        changed = not before
    elif name == RECORD:
        changed = bytes(before[:31]) + bytes([before[31] ^ 1])
    else:
        changed = "c0" if before == "c1" else "c1"
    column[row] = changed
    place = ROWS.schema.get_field_index(name)
    other = ROWS.set_column(place, name, pa.array(column, ROWS.schema.field(name).type))

    assert digest_rows(KEY, other, "x") != digest_rows(KEY, ROWS, "x")


def test_tokens_are_digested_as_text_as_older_versions_had_them() -> None:
    rows = make_rows(60, subjects=9)
    texts = rows
    for name in (RECORD, SUBJECT):
        place = rows.schema.get_field_index(name)
        texts = texts.set_column(place, name, token_texts(digests_of(rows[name])))

    assert digest_rows(KEY, texts, "x") == digest_rows(KEY, rows, "x")


@pytest.mark.parametrize("name", ["age", "member", "city"])
def test_a_missing_value_is_not_the_value_that_stands_in_for_it(name: str) -> None:
    kind = LAYOUT.schema.field(name).type
    empty = {"age": 0.0, "member": False, "city": ""}[name]
    digests = {
        digest_rows(KEY, pa.table({name: pa.array([value], kind)}), "x") for value in (None, empty)
    }

    assert len(digests) == 2


def test_text_is_told_apart_by_where_it_ends() -> None:
    digests = {
        digest_rows(KEY, pa.table({"city": pa.array(values, pa.string())}), "x")
        for values in (["ab", "c"], ["a", "bc"], ["abc", ""], ["abc"])
    }

    assert len(digests) == 4


def test_digests_depend_on_key_label_order_and_columns() -> None:
    digests = {
        digest_rows(KEY, ROWS, "slice s000 1"),
        digest_rows(OTHER_KEY, ROWS, "slice s000 1"),
        digest_rows(KEY, ROWS, "slice s000 2"),
        digest_rows(KEY, ROWS.take(pa.array(range(59, -1, -1))), "slice s000 1"),
        digest_rows(KEY, ROWS.rename_columns([*ROWS.column_names[:-1], "x"]), "slice s000 1"),
        digest_rows(KEY, ROWS.drop_columns(["age"]), "slice s000 1"),
        digest_rows(KEY, ROWS.slice(0, 0), "slice s000 1"),
    }

    assert len(digests) == 7


def test_rows_are_in_the_order_of_their_tokens() -> None:
    rows = make_rows(80, subjects=9)
    shuffled = rows.take(pa.array([*range(40, 80), *range(40)]))

    assert in_order(shuffled).equals(rows)
    pairs = list(zip(subject_tokens(rows), record_tokens(rows), strict=True))
    assert pairs == sorted(pairs)


def test_only_the_columns_that_were_asked_for_are_read(tmp_path: Path) -> None:
    path = tmp_path / "s000.parquet"
    write_shard(path, KEY, ROWS, LAYOUT)

    found = read_shard(path, "s000", [RECORD])
    assert found.rows.column_names == [RECORD]
    assert found.layout == LAYOUT


def test_tokens_are_written_as_32_bytes_and_read_as_text(tmp_path: Path) -> None:
    path = tmp_path / "s000.parquet"
    write_shard(path, KEY, ROWS, LAYOUT)
    digests = pq.read_table(path)[RECORD]

    assert digests.type == pa.binary(32)
    assert [f"u1_{digest.hex()}" for digest in digests.to_pylist()] == record_tokens(ROWS)
    assert read_shard(path, "s000").rows.equals(ROWS)


def test_a_file_of_an_older_version_has_its_tokens_as_text(tmp_path: Path) -> None:
    path = tmp_path / "s000.parquet"
    write_shard(path, KEY, ROWS, LAYOUT)
    new = read_shard(path, "s000")
    texts = token_texts(digests_of(ROWS[RECORD]))
    old = ROWS.set_column(0, RECORD, texts)
    pq.write_table(old.replace_schema_metadata(pq.read_schema(path).metadata), path)

    assert read_shard(path, "s000") == new
    assert read_shard(path, "s000", [RECORD]).rows.equals(ROWS.select([RECORD]))


@pytest.mark.parametrize("read", [read_shard, read_nonce])
def test_what_is_no_shard_file_is_an_error(
    tmp_path: Path, read: Callable[[Path, str], object]
) -> None:
    path = tmp_path / "s000.parquet"
    with pytest.raises(InputError, match="data/s000 is missing"):
        read(path, "data/s000")
    path.write_bytes(b"not a Parquet file")
    with pytest.raises(InputError, match="data/s000 is not a shard file of this tool"):
        read(path, "data/s000")
    pq.write_table(ROWS, path)
    with pytest.raises(InputError, match="data/s000 is not a shard file of this tool"):
        read(path, "data/s000")
    for meta in (b"", b"[]", b"{}", b'{"nonce": "x", "layout": 3}'):
        pq.write_table(ROWS.replace_schema_metadata({b"unlearn": meta}), path)
        if read is read_shard or meta != b'{"nonce": "x", "layout": 3}':
            with pytest.raises(InputError, match="data/s000 is not a shard file of this tool"):
                read(path, "data/s000")


def test_a_column_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "s000.parquet"
    write_shard(path, KEY, ROWS, LAYOUT)

    with pytest.raises(InputError, match="is not a shard file of this tool"):
        read_shard(path, "s000", [RECORD, SUBJECT])


def test_a_layout_survives_json() -> None:
    layout = Layout({"b": "numeric", "a": "categorical", "c": "boolean"}, ("y", "x"), subjects=True)
    again = Layout.from_json(layout.as_json())

    assert again == layout
    assert "categories" not in layout.as_json()  # files from before have none
    assert list(again.features) == ["b", "a", "c"]
    pinned = replace(layout, categories={"a": ("u", "t")})
    assert Layout.from_json(json.loads(json.dumps(pinned.as_json()))) == pinned != layout
    assert layout.schema.names == [RECORD, SUBJECT, "b", "a", "c", TARGET]
    assert [str(field.type) for field in layout.schema] == [
        *["fixed_size_binary[32]"] * 2,
        "double",
        "string",
        "bool",
        "string",
    ]


def test_targets_are_indices_into_the_pinned_list() -> None:
    rows = pa.table({TARGET: ["c2", "c0", "c2"]})

    assert targets(rows, LAYOUT).tolist() == [2, 0, 2]
    assert targets(rows, LAYOUT).dtype == "int64"


@settings(max_examples=50)
@given(st.data())
def test_the_mask_is_that_of_each_row(data: st.DataObject) -> None:
    rows = st.tuples(st.sampled_from("pqr"), st.sampled_from("abc"))
    drawn = data.draw(st.lists(rows, max_size=6))
    subjects = [token_of(person, "subject") for person, _ in drawn]
    records = [token_of(record) for _, record in drawn]
    columns = {
        SUBJECT: digest_array(digests_of_texts(subjects)),
        RECORD: digest_array(digests_of_texts(records)),
    }
    pairs = [f"{one}.{other}" for one in subjects for other in records]
    lines = st.sets(st.sampled_from([*subjects, *records, *pairs, token_of("elsewhere")]))
    forget_list = ForgetList("", tuple(data.draw(lines)), left_out=frozenset(data.draw(lines)))

    both = forget_mask(pa.table(columns), forget_list)
    alone = forget_mask(pa.table(columns).select([RECORD]), forget_list)

    assert both.to_pylist() == forget_list.mask(records, subjects)
    assert alone.to_pylist() == forget_list.mask(records, None)


def test_the_mask_finds_the_rows_of_the_list() -> None:
    listed = record_tokens(ROWS)[7]
    gone = forget_mask(ROWS, ForgetList("", (listed, token_of("elsewhere"))))

    assert pc.sum(gone).as_py() == 1
    assert gone[7].as_py()
    assert forget_mask(ROWS.slice(0, 0), ForgetList("", (listed,))).to_pylist() == []
