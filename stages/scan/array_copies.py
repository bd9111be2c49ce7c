"""Copies of forgotten pictures and arrays, by their content: whatever file or format they are in.

A picture counts as a copy if it decodes to the same pixels: a file with other bytes, such as a PNG
that was saved again, is found, and a JPEG of it or a resized one is not.
"""

import base64
import binascii
import hashlib
import math
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from numpy.lib import format as npy
from unlearn.stages.config.dataset import DatasetParams, FeatureKind
from unlearn.stages.reading.picture_decoding import PictureError, PictureForm, decoded

#: Bytes of a keyed digest.
DIGEST_BYTES = 16

_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
_NPY = b"\x93NUMPY"
#: Larger files are no pictures of a project; so much of an array is in memory at a time.
_MOST_BYTES = 64 << 20
_PIECE_BYTES = 4 << 20
_DATA_URI = "data:image/"
#: Shorter rows could be anything: the size of any file is a multiple of theirs.
_LEAST_NUMBERS = 48
#: Of so many files of pictures it is known whether they are copies: about 100 MB.
_MOST_PICTURES = 1 << 20

#: Arrays, shape (rows, ...).
Rows = npt.NDArray[Any]
Content = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class ArrayForm:
    """What the arrays of a feature are.

    Parameters
    ----------
    kind
        `image` or `tensor`.
    shape
        Of a row; pictures have channels first.
    resize
        Whether pictures of other sizes were resized.
    """

    kind: FeatureKind
    shape: tuple[int, ...]
    resize: bool = False

    @property
    def size(self) -> int:
        """The numbers of a row."""
        return math.prod(self.shape)

    @property
    def picture(self) -> PictureForm:
        """What a picture in a file becomes."""
        channels, height, width = self.shape
        return PictureForm(channels, height, width, self.resize)


def array_forms(dataset: DatasetParams) -> tuple[ArrayForm, ...]:
    """Return what the arrays of a dataset are, each form once."""
    resized = dataset.resized or []
    found = {
        ArrayForm(dataset.features[name], tuple(shape), name in resized)
        for name, shape in (dataset.shapes or {}).items()
    }
    return tuple(sorted(found, key=repr))


def array_digests(key: bytes, rows: Content) -> list[bytes]:
    """Return a keyed digest of each row's bytes; empty for a row whose bytes are all one.

    A picture of one colour, or an array of zeros, would be found by chance.

    Parameters
    ----------
    key
        At most 64 bytes.
    rows
        Shape (rows, bytes).
    """
    varied = (rows != rows[:, :1]).any(axis=1).tolist() if rows.size else []
    keyed = hashlib.blake2b(digest_size=DIGEST_BYTES, key=key).copy
    found = []
    for row, is_varied in zip(np.ascontiguousarray(rows), varied, strict=True):
        digest = keyed()
        digest.update(row.data)
        found.append(digest.digest() if is_varied else b"")
    return found


@dataclass(frozen=True)
class ForgottenArrays:
    """The pictures and arrays to search for.

    Parameters
    ----------
    key
        Of the digests.
    forms
        What the arrays are.
    digests
        Of the bytes of each, as shards have them.
    """

    key: bytes = b""
    forms: tuple[ArrayForm, ...] = ()
    digests: Collection[bytes] = ()
    _pictures: dict[bytes, int] = field(default_factory=dict, repr=False, compare=False)

    def in_file(self, source: IO[bytes], start: bytes) -> int:
        """Return how many copies a file has that is a picture, or an array.

        An array is one of NumPy, or the bytes alone, as a member of PyTorch's files has them.

        Parameters
        ----------
        source
            The file. It must be possible to seek in it.
        start
            Its first bytes.
        """
        if not self.digests:
            return 0
        source.seek(0)
        if start.startswith(_PICTURES):
            return self._in_picture(source.read(_MOST_BYTES))
        return self._in_npy(source) if start.startswith(_NPY) else self._in_raw(source)

    def in_value(self, value: bytes) -> int:
        """Return whether a value, such as a cell of a database, is a copy, as 0 or 1."""
        if not self.digests:
            return 0
        return self._in_picture(value) or self._in_bytes([value])

    def in_column(self, column: pa.Array) -> int:
        """Return how many copies a column has."""
        if not self.digests:
            return 0
        return sum(self._in_leaf(leaf) for leaf in _leaves(column))

    def _in_leaf(self, column: pa.Array) -> int:
        kind = column.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            uris = column.filter(pc.fill_null(pc.starts_with(column, _DATA_URI), False))
            return sum(self._in_picture(_content(uri)) for uri in uris.to_pylist())
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            values = column.drop_null().to_pylist()
            return sum(self._in_picture(value) for value in values) + self._in_bytes(values)
        if pa.types.is_fixed_size_binary(kind):
            return self._in_bytes(column.drop_null().to_pylist())
        return sum(self._in_rows(rows) for rows in _rows_of_lists(column))

    def _in_picture(self, content: bytes) -> int:
        if not content.startswith(_PICTURES):
            return 0
        # DVC's cache and remotes have the files of the folder once more.
        name = hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()
        if (known := self._pictures.get(name)) is not None:
            return known
        found = self._decoded_is_copy(content)
        if len(self._pictures) < _MOST_PICTURES:
            self._pictures[name] = found
        return found

    def _decoded_is_copy(self, content: bytes) -> int:
        for form in self.forms:
            if form.kind != "image":
                continue
            try:
                pixels = decoded(content, form.picture)
            except PictureError:
                continue
            # Shards have channels first.
            channels, height, width = form.shape
            rows = np.frombuffer(pixels, np.uint8).reshape(1, height, width, channels)
            if self._count(np.moveaxis(rows, -1, 1).reshape(1, -1)):
                return 1
        return 0

    def _in_bytes(self, values: list[bytes]) -> int:
        """Return how many values are copies, as shards or other programs have their bytes."""
        found = 0
        for size in {form.size * (4 if form.kind == "tensor" else 1) for form in self.forms}:
            same = [value for value in values if len(value) == size]
            rows = np.frombuffer(b"".join(same), np.uint8).reshape(len(same), size)
            found += self._in_rows(rows) or self._count(rows)
        return found

    def _in_npy(self, source: IO[bytes]) -> int:
        version = npy.read_magic(source)
        if version == (1, 0):
            shape, is_fortran, dtype = npy.read_array_header_1_0(source)
        else:
            shape, is_fortran, dtype = npy.read_array_header_2_0(source)
        if dtype.kind not in "iuf" or not shape or 0 in shape:
            return 0
        whole = int(np.prod(shape, dtype=np.int64))
        if any(whole == form.size for form in self.forms):  # of one row alone
            shape = (1, *shape)
        wanted = {form.size for form in self.forms}
        if whole // shape[0] not in wanted:
            return 0
        if is_fortran:
            content = source.read(_MOST_BYTES)
            if len(content) < whole * dtype.itemsize:
                raise ValueError  # named as a file that cannot be read to its end
            return self._in_rows(np.frombuffer(content, dtype, whole).reshape(shape, order="F"))
        row_bytes = whole // shape[0] * dtype.itemsize
        at_once = max(1, _PIECE_BYTES // row_bytes)
        found = 0
        for first in range(0, shape[0], at_once):
            rows = min(at_once, shape[0] - first)
            content = source.read(rows * row_bytes)
            found += self._in_rows(np.frombuffer(content, dtype).reshape(rows, *shape[1:]))
        return found

    def _in_raw(self, source: IO[bytes]) -> int:
        """Return how many copies a file has that holds the numbers of rows and nothing else."""
        length, found = source.seek(0, os.SEEK_END), 0
        widths = {
            (form.size, dtype)
            for form in self.forms
            for dtype in (("<f4", "|u1") if form.kind == "image" else ("<f4",))
            if form.size >= _LEAST_NUMBERS
        }
        for size, dtype in widths:
            row_bytes = size * np.dtype(dtype).itemsize
            if not length or length % row_bytes:
                continue
            source.seek(0)
            at_once = max(1, _PIECE_BYTES // row_bytes) * row_bytes
            while content := source.read(at_once):
                found += self._in_rows(np.frombuffer(content, dtype).reshape(-1, size))
        return found

    def _in_rows(self, rows: Rows) -> int:
        """Return how many rows of numbers are copies."""
        if not len(rows):
            return 0
        flat = rows.reshape(len(rows), -1)
        found = np.zeros(len(rows), dtype=bool)
        for form in self.forms:
            if flat.shape[1] == form.size:
                for candidate in _contents(flat, form):
                    found |= self._mask(candidate)
        return int(found.sum())

    def _count(self, rows: Content) -> int:
        return int(self._mask(rows).sum())

    def _mask(self, rows: Content) -> npt.NDArray[np.bool_]:
        digests = array_digests(self.key, rows)
        return np.array([digest in self.digests for digest in digests], dtype=bool)


def _contents(flat: Rows, form: ArrayForm) -> Iterator[Content]:
    """Yield the bytes that shards would have of rows of numbers, shape (rows, bytes)."""
    if form.kind == "tensor":
        with np.errstate(over="ignore"):
            numbers = np.ascontiguousarray(flat, dtype="<f4")
        yield numbers.view(np.uint8).reshape(len(flat), -1)
        return
    pixels = _pixels(flat)
    yield pixels
    channels, height, width = form.shape
    if channels > 1:
        last = pixels.reshape(-1, height, width, channels)
        yield np.moveaxis(last, -1, 1).reshape(len(flat), -1)


def _pixels(flat: Rows) -> Content:
    """Return numbers as pixels: whole numbers to 255, or parts of 1, as networks read them."""
    if flat.dtype == np.uint8:
        return flat
    with np.errstate(invalid="ignore", over="ignore"):
        numbers = np.nan_to_num(flat.astype(np.float64))
    if flat.dtype.kind == "f":
        is_share = (numbers <= 1).all(axis=1, keepdims=True)
        numbers = np.where(is_share, numbers * 255, numbers)
    return np.clip(np.rint(numbers), 0, 255).astype(np.uint8)


def _leaves(column: pa.Array) -> Iterator[pa.Array]:
    """Yield the columns of values or lists within a column."""
    if isinstance(column, pa.ExtensionArray):
        yield from _leaves(column.storage)
    elif pa.types.is_dictionary(column.type):
        yield from _leaves(column.dictionary)
    elif pa.types.is_struct(column.type):
        for place in range(column.type.num_fields):
            yield from _leaves(column.field(place))
    else:
        yield column


def _rows_of_lists(column: pa.Array) -> Iterator[Rows]:
    """Yield the numbers of lists that are all of one length, shape (rows, numbers)."""
    rows, values = len(column) - column.null_count, column.drop_null()
    nested = False
    while pa.types.is_nested(values.type) and hasattr(values, "value_lengths"):
        lengths = pc.unique(pc.list_value_length(values)).to_pylist()
        if len(lengths) != 1 or not lengths[0]:
            return
        values, nested = values.flatten(), True
    is_number = pa.types.is_integer(values.type) or pa.types.is_floating(values.type)
    if nested and rows and is_number and not values.null_count:
        yield values.to_numpy(zero_copy_only=False).reshape(rows, -1)


def _content(uri: str) -> bytes:
    """Return the file in a data URI; empty if there is none."""
    try:
        return base64.b64decode(uri.partition(";base64,")[2], validate=True)
    except (binascii.Error, ValueError):
        return b""
