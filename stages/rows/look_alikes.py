"""Look-alikes: different ids whose folded texts are the same, so that they may be one person.

`init` stops at them, until the user says whether they are one.
"""

import secrets
from bisect import bisect_right
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.errors import InputError
from unlearn.stages.reading.records import RowPlace, place_of_row
from unlearn.stages.rows.ids import AS_WRITTEN
from unlearn.stages.rows.roles import fold_column

#: What look-alikes differ in, for messages.
DIFFERENCES = "case, outer spaces, Unicode form or a decimal .0"

_BUCKETS = 64
#: Of a row: two digests of its folded id, one of the id itself, and its number.
_ENTRY = np.dtype([("fold", "<u8"), ("check", "<u8"), ("id", "<u8"), ("row", "<i8")])


@dataclass(frozen=True)
class LookAlikes:
    """The look-alikes in one column of a dataset.

    Parameters
    ----------
    ids, rows
        How many different ids have a look-alike, and how many rows have such an id.
    example
        Two rows whose ids are look-alikes; None if there are none.
    folds
        Digests of the folded texts that more than one id has, each once, shape (groups,).
    """

    ids: int
    rows: int
    example: tuple[RowPlace, RowPlace] | None
    folds: npt.NDArray[np.uint64]


class LookAlikeFinder:
    """Finds the look-alikes in a column of ids, on disk, so that memory does not grow with it.

    Parameters
    ----------
    stack
        Closes the files when it ends.
    folder
        Where to put them; it is created.
    """

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._paths = [folder / f"bucket-{number}" for number in range(_BUCKETS)]
        self._files: list[BinaryIO] = [stack.enter_context(path.open("wb")) for path in self._paths]
        # Nobody can prepare ids whose digests collide.
        self._keys = (secrets.token_hex(8), secrets.token_hex(8))
        self._starts: list[int] = []
        self._places: list[RowPlace] = []
        self._rows = 0

    def see(self, texts: pa.ChunkedArray, batch: pa.Table) -> None:
        """Take a batch into account: its ids as text, and the rows as `read_batches` gave them."""
        if not batch.num_rows:
            return
        entries = np.empty(len(texts), _ENTRY)
        folded = fold_column(texts)
        entries["fold"] = self.digests(folded)
        entries["check"] = _digests(folded, self._keys[1])
        entries["id"] = self.digests(_normalized(texts))
        entries["row"] = np.arange(self._rows, self._rows + len(entries))
        self._starts.append(self._rows)
        self._places.append(place_of_row(batch, 0, "", 1))
        self._rows += len(entries)
        entries = entries[texts.is_valid().to_numpy()]
        bucket = (entries["fold"] % _BUCKETS).astype(np.int64)
        entries = entries[np.argsort(bucket, kind="stable")]
        ends = np.cumsum(np.bincount(bucket, minlength=_BUCKETS))
        for file, part in zip(self._files, np.split(entries, ends[:-1]), strict=True):
            part.tofile(file)

    def digests(self, folded: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
        """Return the digests by which `LookAlikes.folds` names folded texts, shape (rows,)."""
        return _digests(folded, self._keys[0])

    def found(self) -> LookAlikes:
        """Return the look-alikes among all rows seen."""
        ids = rows = 0
        folds = [np.empty(0, np.uint64)]
        pairs = []
        for file, path in zip(self._files, self._paths, strict=True):
            file.flush()
            alike = _look_alikes(np.fromfile(path, _ENTRY))
            rows += len(alike)
            ids += int((~_same(alike, "fold", "check", "id")).sum())
            folds.append(np.unique(alike["fold"]))
            if len(alike):
                pairs.append(_first_pair(alike))
        example = None
        if pairs:
            one, other = min(pairs)
            example = (self._place(one), self._place(other))
        return LookAlikes(ids, rows, example, np.concatenate(folds))

    def _place(self, row: int) -> RowPlace:
        at = bisect_right(self._starts, row) - 1
        start = self._places[at]
        return RowPlace(start.file, start.row + row - self._starts[at])


def _digests(texts: pa.ChunkedArray, key: str) -> npt.NDArray[np.uint64]:
    from pandas.util import hash_array

    values = texts.fill_null("").to_numpy().astype(object)
    digests: npt.NDArray[np.uint64] = hash_array(values, hash_key=key, categorize=False)
    return digests


def _normalized(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return ids in NFC, as tokens are made from them."""
    if pc.all(pc.string_is_ascii(texts)).as_py():
        return texts
    values = [raw and AS_WRITTEN.canonical("record", raw) for raw in texts.to_pylist()]
    return pa.chunked_array([pa.array(values, pa.string())])


def _same(entries: npt.NDArray[np.void], *fields: str) -> npt.NDArray[np.bool_]:
    """Return for each entry whether it has the fields of the one before it."""
    same = np.zeros(len(entries), np.bool_)
    same[1:] = np.logical_and.reduce([entries[name][1:] == entries[name][:-1] for name in fields])
    return same


def _look_alikes(entries: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """Return the entries whose folded text more than one id has, sorted by text, then by id."""
    entries = entries[np.lexsort((entries["id"], entries["check"], entries["fold"]))]
    if not len(entries):
        return entries
    same_fold = _same(entries, "fold", "check")
    is_other_id = same_fold & ~_same(entries, "id")
    starts = np.flatnonzero(~same_fold)
    several = np.add.reduceat(is_other_id, starts) > 0
    return entries[np.repeat(several, np.diff(np.append(starts, len(entries))))]


def _first_pair(alike: npt.NDArray[np.void]) -> tuple[int, int]:
    """Return the first row of a look-alike, and the first row of another id like it."""
    first = alike[alike["row"].argmin()]
    others = alike[(alike["fold"] == first["fold"]) & (alike["check"] == first["check"])]
    return int(first["row"]), int(others["row"][others["id"] != first["id"]].min())


def refuse_look_alikes(column: str, found: LookAlikes) -> None:
    """Raise an InputError if there are look-alikes: only the user knows whether they are one.

    It names two rows, and no id.
    """
    if found.example is None:
        return
    one, other = found.example
    raise InputError(
        f"column {column!r}: {found.ids:,} ids, in {found.rows:,} rows, differ from another id "
        f"only in {DIFFERENCES}, such as those of {one} and {other}",
        "--identity folded treats such ids as one: a request for one of them forgets all",
        "--identity exact treats them as different people",
        facts=one.facts(column),
    )
