"""Where rows of forgotten records still lie on this machine."""

import csv
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.project.files import scratch_folder
from unlearn.stages.rows.forget_list import ForgetList
from unlearn.stages.rows.identity import TokenColumns, dataset_tokens
from unlearn.stages.rows.shard_file import RECORD, SUBJECT, forget_mask

_PARQUET_MAGIC = b"PAR1"
_SNIFF_BYTES = 1 << 16


@dataclass(frozen=True)
class Copies:
    """Files that hold at least one forgotten row.

    Parameters
    ----------
    in_dataset
        Whether the dataset itself still does.
    in_shards
        How many files of data/shards, data/retain_set and data/forget_set do.
    in_cache
        How many objects of DVC's local cache do.
    unreadable
        How many objects look like a version of the dataset, but cannot be read to the end.
    in_canaries
        Whether the file of canaries still does.
    """

    in_dataset: bool
    in_shards: int
    in_cache: int
    unreadable: int
    in_canaries: bool = False


def find_copies(context: Context, forget_list: ForgetList, cache: Path | None) -> Copies:
    """Scan dataset, data/ and DVC's local cache for rows that the list names.

    Parameters
    ----------
    context, forget_list
        The project, and the records to look for.
    cache
        DVC's cache folder; None to leave it out.
    """
    project = context.project
    if not forget_list.lines:
        return Copies(in_dataset=False, in_shards=0, in_cache=0, unreadable=0)
    dataset = project.root / context.params.dataset.path
    canaries = project.root / (context.params.dataset.canaries or context.params.dataset.path)
    folders = (project.shards, project.retain_set, project.forget_set)
    files = [path for folder in folders for path in folder.glob("*.parquet")]
    objects = [] if cache is None else [path for path in cache.rglob("*") if path.is_file()]
    with scratch_folder(project.scratch("copies")) as scratch:
        cached = [_object_holds(context, path, forget_list, scratch) for path in objects]
        return Copies(
            in_dataset=any(
                path.exists() and bool(_dataset_holds(context, path, forget_list))
                for path in (dataset, project.root / (context.params.dataset.held_out or "."))
                if path.is_file() or path == dataset
            ),
            in_shards=sum(_parquet_holds(path, forget_list) for path in files),
            in_cache=cached.count(True),
            unreadable=cached.count(None),
            in_canaries=canaries != dataset
            and canaries.exists()
            and bool(_dataset_holds(context, canaries, forget_list)),
        )


def _dataset_holds(context: Context, path: Path, forget_list: ForgetList) -> bool | None:
    """Return whether a version of the dataset holds a listed row; None if it cannot be read."""
    try:
        return _any_listed(
            dataset_tokens(path, context.params.dataset.of_any_type(), context.tokenizer),
            forget_list,
        )
    except InputError:
        return None


def _any_listed(batches: Iterable[TokenColumns], forget_list: ForgetList) -> bool:
    return any(any(forget_list.mask(tokens.records, tokens.subjects)) for tokens in batches)


def _parquet_holds(path: Path, forget_list: ForgetList) -> bool:
    """Return whether a shard file, or a Parquet dataset, holds a listed row."""
    try:
        names = pq.read_schema(path).names
        if RECORD in names:
            columns = [RECORD, *([SUBJECT] if SUBJECT in names else [])]
            return any(forget_mask(pq.read_table(path, columns=columns), forget_list).to_pylist())
    except (pa.ArrowInvalid, OSError):
        return False
    return False


def _column_names(path: Path) -> list[str]:
    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowInvalid, OSError):
        return []


def _json_fields(head: bytes) -> Collection[str]:
    """Return the fields of the first line, if it is a JSON object as in JSONL."""
    try:
        row = json.loads(_first_line(head))
    except (ValueError, RecursionError):
        return ()
    return row if isinstance(row, dict) else ()


def _csv_fields(head: bytes) -> Collection[str]:
    try:
        return next(csv.reader([_first_line(head)]), [])
    except csv.Error:
        return ()


def _first_line(head: bytes) -> str:
    return head.decode("utf-8-sig", "replace").lstrip("\r\n").partition("\n")[0].rstrip("\r")


def _object_holds(
    context: Context, path: Path, forget_list: ForgetList, scratch: Path
) -> bool | None:
    """Return whether a cached object of unknown type holds a listed row; None if unknown."""
    id_column = context.params.dataset.id
    with path.open("rb") as handle:
        head = handle.read(_SNIFF_BYTES)
    if head.startswith(_PARQUET_MAGIC):
        if _parquet_holds(path, forget_list):
            return True
        if id_column not in _column_names(path):
            return False
        suffix = ".parquet"
    elif id_column in _json_fields(head):
        suffix = ".jsonl"
    elif id_column in _csv_fields(head):
        suffix = ".csv"
    else:
        return False
    # Readers go by a file's ending.
    named = scratch / f"object{suffix}"
    named.unlink(missing_ok=True)
    named.symlink_to(path)
    return _dataset_holds(context, named, forget_list)
