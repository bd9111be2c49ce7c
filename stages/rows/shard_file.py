"""The Parquet files that hold a shard's rows, and digests of rows that are no oracle.

A file's bytes follow from its rows, its name and the project key alone. A keyed nonce in every
file prevents that the hashes in git's history (dvc.lock) confirm a guess of a removed row.
"""

import hmac
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from unlearn.stages.config.dataset import (
    TENSOR_ITEM_BYTES,
    TENSOR_KINDS,
    DatasetParams,
    FeatureKind,
)
from unlearn.stages.config.section import Modality, Task
from unlearn.stages.config.text import TextRole
from unlearn.stages.errors import InputError
from unlearn.stages.project.files import write_through
from unlearn.stages.rows.array_groups import in_groups, read_array, write_groups
from unlearn.stages.rows.arrays import ArrayColumns, ArraysInMemory
from unlearn.stages.rows.forget_list import ForgetList
from unlearn.stages.rows.keyed_categories import pinned_categories
from unlearn.stages.rows.outputs import Outputs
from unlearn.stages.rows.padding import pad_parquet
from unlearn.stages.rows.token_arrays import (
    DIGEST,
    Digests,
    digest_array,
    digests_of,
    digests_of_texts,
    integer_array,
    joined_texts,
    sort_order,
    token_list,
    token_text_bytes,
)
from unlearn.stages.rows.tokens import Key

RECORD = "unlearn.record"
SUBJECT = "unlearn.subject"
TARGET = "unlearn.target"
WEIGHT = "unlearn.weight"

_META = b"unlearn"
_ARROW_TYPES: dict[FeatureKind, pa.DataType] = {
    "numeric": pa.float64(),
    "boolean": pa.bool_(),
    "categorical": pa.string(),
    # Seconds since the beginning of 1970.
    "datetime": pa.float64(),
    "calendar": pa.float64(),
    "ordinal": pa.string(),
    "hashed_text": pa.string(),
    **dict.fromkeys(get_args(TextRole), pa.string()),
}


#: The bytes of a missing value; a mask distinguishes it from other values.
_FILLERS = {pa.string(): "", pa.bool_(): False, pa.float64(): 0.0}


@dataclass(frozen=True)
class Layout:
    """Columns, target and pinned categories of a project's shard files.

    They travel in the files, so that a change of either changes every file and, through it,
    reruns what reads it.

    Parameters
    ----------
    features
        Kind by column.
    classes
        The class labels; none where the target is a number.
    subjects
        Whether rows are about people.
    categories
        By column, where schema.yaml pins them; models learn those of other columns. Those of an
        ordinal column are in their order.
    hashed_columns
        How many columns of numbers each hashed text becomes.
    task
        What the target is: a class, which shard files have as text, or a number (float64).
    target_scale
        Centre and scale of a target that is a number; see `Outputs`.
    weighted
        Whether each row has a weight.
    shapes
        The shape of each feature that is an array: pictures have channels first.
    """

    features: dict[str, FeatureKind]
    classes: tuple[str, ...]
    subjects: bool
    categories: dict[str, tuple[str, ...]] = field(default_factory=dict)
    hashed_columns: dict[str, int] = field(default_factory=dict)
    task: Task = "classification"
    target_scale: tuple[float, float] = (0.0, 1.0)
    weighted: bool = False
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, dataset: DatasetParams) -> "Layout":
        """Return the layout that schema.yaml pins."""
        pinned = dataset.target_scale
        return cls(
            dict(dataset.features),
            tuple(dataset.classes),
            dataset.subject is not None,
            pinned_categories(dataset),
            dict(dataset.hashed_columns or {}),
            dataset.task,
            (0.0, 1.0) if pinned is None else (pinned.centre, pinned.scale),
            dataset.weight is not None,
            {name: tuple(shape) for name, shape in (dataset.shapes or {}).items()},
        )

    @property
    def outputs(self) -> Outputs:
        """What a model of these rows answers with."""
        if self.task == "regression":
            return Outputs(0, *self.target_scale)
        return Outputs(len(self.classes), labels=self.classes)

    @property
    def schema(self) -> pa.Schema:
        """Arrow schema of the rows; tokens are their 32 bytes."""
        fields = [(RECORD, DIGEST)]
        if self.subjects:
            fields.append((SUBJECT, DIGEST))
        fields += [(name, self.type_of(name)) for name in self.features]
        if self.task == "regression":
            fields.append((TARGET, pa.float64()))
        elif self.classes:
            fields.append((TARGET, pa.string()))
        if self.weighted:
            fields.append((WEIGHT, pa.float64()))
        return pa.schema(fields)

    def type_of(self, feature: str) -> pa.DataType:
        """Return the Arrow type of a feature: of arrays, the bytes of a row's numbers."""
        kind = self.features[feature]
        if kind not in TENSOR_KINDS:
            return _ARROW_TYPES[kind]
        return pa.binary(prod(self.shapes[feature]) * TENSOR_ITEM_BYTES[kind])

    @property
    def array_widths(self) -> dict[str, int]:
        """Bytes of a value of each feature that is an array, in the order of the features."""
        return {
            name: self.type_of(name).byte_width for name in self.features if name in self.shapes
        }

    @property
    def modality(self) -> Modality:
        """What the rows are; rows of text have no target."""
        return "tabular" if self.classes or self.task == "regression" else "text"

    @property
    def has_prompts(self) -> bool:
        """Whether an answer to each row can be generated: to its prompt, or to its chat."""
        return bool(self.columns("prompt") or self.columns("messages"))

    def column(self, role: TextRole) -> str | None:
        """Return the first column of a role; None where there is none."""
        return next(iter(self.columns(role)), None)

    def columns(self, role: TextRole) -> list[str]:
        """Return the columns of a role."""
        return [name for name, kind in self.features.items() if kind == role]

    def as_json(self) -> dict[str, object]:
        """Return the layout as plain JSON values."""
        found: dict[str, object] = {
            "features": [[name, kind] for name, kind in self.features.items()],
            "classes": list(self.classes),
            "subjects": self.subjects,
        }
        # Files from before pinned categories keep their bytes.
        if self.categories:
            found["categories"] = [
                [name, list(self.categories[name])]
                for name in self.features
                if name in self.categories
            ]
        if self.hashed_columns:
            found["hashed_columns"] = [
                [name, self.hashed_columns[name]]
                for name in self.features
                if name in self.hashed_columns
            ]
        # Files of classification keep theirs.
        if self.task == "regression":
            found |= {"task": self.task, "target_scale": list(self.target_scale)}
        if self.weighted:
            found["weighted"] = True
        if self.shapes:
            found["shapes"] = [
                [name, list(self.shapes[name])] for name in self.features if name in self.shapes
            ]
        return found

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Layout":
        """Return the layout that `as_json` described."""
        return cls(
            dict(value["features"]),
            tuple(map(str, value["classes"])),
            bool(value["subjects"]),
            {name: tuple(map(str, texts)) for name, texts in value.get("categories", [])},
            {name: int(columns) for name, columns in value.get("hashed_columns", [])},
            *_target_from_json(value),
            bool(value.get("weighted", False)),
            {name: tuple(map(int, shape)) for name, shape in value.get("shapes", [])},
        )


def _target_from_json(value: dict[str, Any]) -> tuple[Task, tuple[float, float]]:
    """Return task and scale of a layout's JSON; a ValueError if they are none."""
    task = value.get("task", "classification")
    if task not in get_args(Task):
        raise ValueError(task)
    centre, scale = map(float, value.get("target_scale", (0.0, 1.0)))
    return task, (centre, scale)


@dataclass(frozen=True)
class ShardFile:
    """A shard file's rows and what its footer says."""

    rows: pa.Table
    layout: Layout
    nonce: str


def in_order(rows: pa.Table) -> pa.Table:
    """Return the rows sorted by subject token, then record token: the one order everywhere."""
    keys = [digests_of(rows[name]) for name in (SUBJECT, RECORD) if name in rows.column_names]
    order = sort_order(*keys)
    whole = rows.combine_chunks()
    if np.array_equal(order, np.arange(len(order))):
        return whole
    return whole.take(integer_array(order)).combine_chunks()


def with_digests(rows: pa.Table) -> pa.Table:
    """Return rows with their tokens as digests; files of older versions have them as text."""
    for name in (RECORD, SUBJECT):
        if name in rows.column_names and rows.schema.field(name).type != DIGEST:
            at = rows.column_names.index(name)
            rows = rows.set_column(at, name, digest_array(digests_of(rows[name])))
    return rows


def record_tokens(rows: pa.Table) -> list[str]:
    """Return the token of every row's record, as text."""
    return token_list(rows[RECORD])


def subject_tokens(rows: pa.Table) -> list[str]:
    """Return the token of every row's subject, as text."""
    return token_list(rows[SUBJECT])


def digest_rows(key: Key, rows: pa.Table, label: str, arrays: ArrayColumns | None = None) -> str:
    """Keyed digest of rows in their order, with their column names and types, in hex.

    Parameters
    ----------
    key
        The project key: without it, a guess cannot be tested against the digest.
    rows
        Any table of a `Layout`.
    label
        What the digest is for; equal rows under two labels have two digests.
    arrays
        Columns that are not in memory; `rows` has nulls in place of each.
    """
    state = hmac.new(key.subkey("rows"), digestmod="sha256")
    state.update(json.dumps([label, rows.num_rows, rows.column_names]).encode())
    arrays = arrays or _arrays_of(rows)
    for name in rows.column_names:
        if name in arrays.widths:
            _digest_array(state, name, arrays, rows.num_rows)
            continue
        for piece in _column_bytes(rows[name]):
            state.update(len(piece).to_bytes(8, "little"))
            state.update(piece)
    return state.hexdigest()


def _arrays_of(rows: pa.Table) -> ArraysInMemory:
    """Return the columns of arrays of a table: binary values of one length that are no tokens."""
    return ArraysInMemory(
        rows,
        {
            field.name: field.type.byte_width
            for field in rows.schema
            if field.name not in (RECORD, SUBJECT) and pa.types.is_fixed_size_binary(field.type)
        },
    )


def _digest_array(state: hmac.HMAC, name: str, arrays: ArrayColumns, rows: int) -> None:
    """Add a column of arrays, of which none is missing; some megabytes are in memory."""
    width = arrays.widths[name]
    state.update(b"array" + width.to_bytes(8, "little"))
    for values in in_groups(arrays, name, rows):
        state.update(values)


def _column_bytes(column: pa.ChunkedArray) -> list[bytes]:
    """Return a column's values as bytes that follow from the values alone."""
    kind = column.type
    if kind == DIGEST:
        # Tokens are never missing; as text, as files of all versions have been digested.
        texts = token_text_bytes(digests_of(column))
        lengths = np.full(len(column), texts.shape[1], "<i8").tobytes()
        return [b"text", b"all", lengths, texts.tobytes()]
    valid = b"all"
    if column.null_count:
        valid = column.is_valid().to_numpy().astype("u1").tobytes()
        column = pc.fill_null(column, _FILLERS[kind])
    if pa.types.is_string(kind):
        lengths = pc.binary_length(column).to_numpy().astype("<i8").tobytes()
        return [b"text", valid, lengths, joined_texts(column)]
    if pa.types.is_boolean(kind):
        return [b"bool", valid, column.to_numpy().tobytes()]
    return [b"float", valid, column.to_numpy().astype("<f8", copy=False).tobytes()]


def nonce(
    key: Key, name: str, rows: pa.Table, layout: Layout, arrays: ArrayColumns | None = None
) -> str:
    """Return the keyed nonce of a file called `name` that holds `rows`, in hex."""
    content = digest_rows(key, rows, f"file {name}", arrays)
    return key.digest("nonce", json.dumps([name, content, layout.as_json()]).encode()).hex()


def write_shard(path: Path, key: Key, rows: pa.Table, layout: Layout) -> bool:
    """Write rows, already `in_order`, to a shard file.

    Returns
    -------
    bool
        False if the file already held these rows and was left alone.
    """
    name = path.stem
    return write_through(
        path, lambda temporary: fill_shard_file(temporary, name, key, rows, layout), leave=True
    )


def fill_shard_file(
    path: Path,
    name: str,
    key: Key,
    rows: pa.Table,
    layout: Layout,
    arrays: ArrayColumns | None = None,
) -> None:
    """Write rows, already `in_order`, to a temporary file.

    Parameters
    ----------
    path
        Where to write.
    name
        What the shard file will be called, without its ending.
    key, rows, layout
        The project key, the rows, and their columns.
    arrays
        Columns that are not in memory; `rows` has nulls in place of each.
    """
    meta = {"nonce": nonce(key, name, rows, layout, arrays), "layout": layout.as_json()}
    encoded = {_META: json.dumps(meta, sort_keys=True).encode()}

    # Given the rows, the bytes follow from pyarrow's version alone. Digests do not compress, and
    # few numbers are alike: to look for equal ones would take longer than everything else.
    texts = [field.name for field in layout.schema if field.type == pa.string()]
    compression = {
        name: "none" if name in (RECORD, SUBJECT) else "zstd" for name in rows.column_names
    }
    described = rows.replace_schema_metadata(encoded)
    arrays = arrays or _arrays_of(rows)
    with path.open("w+b") as file:
        if arrays.widths:
            write_groups(file, described, arrays, compression, texts)
        else:
            pq.write_table(described, file, compression=compression, use_dictionary=texts)
        # dvc.lock gives sizes, which would tell how long the values of one row were.
        pad_parquet(file)


def read_shard(path: Path, name: str, columns: Sequence[str] | None = None) -> ShardFile:
    """Read a shard file.

    Parameters
    ----------
    path
        The file.
    name
        What errors call it.
    columns
        Only these columns; all by default.

    Raises
    ------
    InputError
        If the file is missing or is not one that this tool wrote.
    """
    try:
        # pq.read_table loads pandas first, which takes longer than to read a shard.
        with pq.ParquetFile(path) as file:
            rows = _read_columns(file, columns)
        meta = json.loads(rows.schema.metadata[_META])
        layout = Layout.from_json(meta["layout"])
    except FileNotFoundError:
        raise InputError(f"{name} is missing", "`unlearn repro` makes it") from None
    except (pa.ArrowInvalid, OSError, KeyError, TypeError, ValueError):
        raise InputError(f"{name} is not a shard file of this tool") from None
    rows = with_digests(rows.replace_schema_metadata(None))
    return ShardFile(rows.combine_chunks(), layout, meta["nonce"])


def _read_columns(file: pq.ParquetFile, columns: Sequence[str] | None) -> pa.Table:
    names = list(file.schema_arrow.names if columns is None else columns)
    arrays = [
        name
        for name in names
        if name not in (RECORD, SUBJECT)
        and pa.types.is_fixed_size_binary(file.schema_arrow.field(name).type)
    ]
    if file.num_row_groups == 1 and not arrays:
        return file.read(names).select(names)
    # One after another: the parts of no more than one column are in memory twice.
    found = {
        name: read_array(file, name) if name in arrays else file.read([name]).combine_chunks()[name]
        for name in names
    }
    return pa.table(
        found, pa.schema(map(file.schema_arrow.field, names), file.schema_arrow.metadata)
    )


def count_rows(path: Path) -> int | None:
    """Return how many rows a shard file has, by its footer; None if there is no such file."""
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowInvalid, OSError):
        return None


def read_nonce(path: Path, name: str) -> str:
    """Return the nonce in a shard file's footer, without its rows; see `read_shard` for errors."""
    try:
        meta = json.loads(pq.read_schema(path).metadata[_META])
        return str(meta["nonce"])
    except FileNotFoundError:
        raise InputError(f"{name} is missing", "`unlearn repro` makes it") from None
    except (pa.ArrowInvalid, OSError, KeyError, TypeError, ValueError):
        raise InputError(f"{name} is not a shard file of this tool") from None


def governing_digests(rows: pa.Table) -> Digests:
    """Return the token that decides where each row is: its subject's, or else the record's."""
    return digests_of(rows[SUBJECT if SUBJECT in rows.column_names else RECORD])


def governing_tokens(rows: pa.Table) -> list[str]:
    """Return what `governing_digests` returns, as text."""
    return token_list(rows[SUBJECT if SUBJECT in rows.column_names else RECORD])


def forget_mask(rows: pa.Table, forget_list: ForgetList) -> pa.Array:
    """Return for each row whether the forget list names it, shape (rows,).

    Parameters
    ----------
    rows
        Needs the token columns only.
    forget_list
        The list.
    """
    return listed_mask(rows, forget_list.known)


def listed_mask(rows: pa.Table, lines: Collection[str]) -> pa.Array:
    """Return for each row whether one of some lines names it, shape (rows,).

    Parameters
    ----------
    rows
        Needs the token columns only.
    lines
        Lines of a forget list, without marks.
    """
    alone = [line for line in lines if "." not in line]
    mask = is_one_of(rows[RECORD], alone)
    if SUBJECT in rows.column_names:
        mask = pc.or_(mask, is_one_of(rows[SUBJECT], alone))
        pairs = [tuple(line.split(".")) for line in lines if "." in line]
        if pairs:
            mask = pc.or_(mask, _is_one_of_pairs(rows, pairs))
    return mask.combine_chunks()


def is_one_of(column: pa.ChunkedArray, tokens: Iterable[str]) -> pa.ChunkedArray:
    """Return which tokens of a column are some of these, shape (rows,)."""
    return pc.is_in(column, digest_array(digests_of_texts(tokens)))


def _is_one_of_pairs(rows: pa.Table, pairs: Sequence[tuple[str, ...]]) -> pa.ChunkedArray:
    """Return which rows have a subject and a record that a line names together."""
    subjects, records = (digests_of_texts(tokens) for tokens in zip(*pairs, strict=True))
    joined = pa.binary(subjects.shape[1] + records.shape[1])
    wanted = pa.array(map(bytes, np.hstack([subjects, records])), joined)
    both = np.hstack([digests_of(rows[SUBJECT]), digests_of(rows[RECORD])])
    data = pa.py_buffer(both)
    found = pa.FixedSizeBinaryArray.from_buffers(joined, len(both), [None, data])
    return pc.is_in(pa.chunked_array([found]), wanted)


def targets(rows: pa.Table, layout: Layout) -> npt.NDArray[np.int64]:
    """Return the class of every row as an index into the pinned list, shape (rows,)."""
    indices = pc.index_in(rows[TARGET], pa.array(layout.classes, pa.string()))
    return np.asarray(indices.to_numpy(), dtype=np.int64)


def target_numbers(rows: pa.Table) -> npt.NDArray[np.float64]:
    """Return the target of every row of a regression, in the dataset's units, shape (rows,)."""
    return np.asarray(rows[TARGET].to_numpy(), dtype=np.float64)


def row_weights(rows: pa.Table) -> npt.NDArray[np.float64] | None:
    """Return the weight of every row, shape (rows,); None where rows have none."""
    if WEIGHT not in rows.column_names:
        return None
    return np.asarray(rows[WEIGHT].to_numpy(), dtype=np.float64)


def training_targets(rows: pa.Table, layout: Layout) -> npt.NDArray[Any]:
    """Return what an estimator of the layout's task is fitted to, shape (rows,).

    These are `targets` for classification, and `target_numbers` for regression.
    """
    return target_numbers(rows) if layout.task == "regression" else targets(rows, layout)
