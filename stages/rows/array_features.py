"""Columns of pictures and tensors, each value as the bytes of an array of the pinned shape.

A picture is a file, encoded bytes or an array of pixels; a tensor is an array of numbers. Shard
files have the pixels of a picture (uint8, channels first), and the numbers of a tensor (float32,
little-endian).
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.config.dataset import TENSOR_ITEM_BYTES, DatasetParams
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.reading.column_types import is_text
from unlearn.stages.reading.picture_decoding import PictureError, PictureForm, decoded
from unlearn.stages.reading.picture_files import (
    PictureFolder,
    PicturePathError,
    content_of_uri,
    is_data_uri,
)
from unlearn.stages.reading.records import RowPlace
from unlearn.stages.rows.arrays import array_column

#: Bytes of the arrays of rows that are typed at a time; each thread has them up to three times.
_BYTES_AT_A_TIME = 4 << 20


def rows_at_a_time(dataset: DatasetParams) -> int | None:
    """Return how many rows are typed at a time; None where no feature is an array."""
    width = sum(
        math.prod(shape) * TENSOR_ITEM_BYTES[dataset.features[name]]
        for name, shape in (dataset.shapes or {}).items()
    )
    return max(1, _BYTES_AT_A_TIME // width) if width else None


@dataclass(frozen=True)
class ArrayFeature:
    """A feature of pictures or tensors, and where the values of a batch are from.

    Parameters
    ----------
    name
        The column.
    kind
        `image` or `tensor`.
    shape
        The pinned shape; of a picture, channels first.
    resize
        Whether pictures of other sizes are resized.
    place
        The first row of the batch.
    pictures
        The files that paths lead to; None where rows are from no file, so that paths lead nowhere.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    resize: bool
    place: RowPlace
    pictures: PictureFolder | None = None

    @classmethod
    def of(
        cls, name: str, dataset: DatasetParams, place: RowPlace, pictures: PictureFolder | None
    ) -> "ArrayFeature":
        """Return a feature of a dataset, by its name."""
        shape = tuple((dataset.shapes or {})[name])
        resize = name in (dataset.resized or ())
        return cls(name, dataset.features[name], shape, resize, place, pictures)

    def typed(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return the values as binary of one length.

        Parameters
        ----------
        column
            Values as read: paths, data URIs, encoded pictures, or arrays.

        Returns
        -------
        pyarrow.ChunkedArray
            Of an image `prod(shape)` bytes a value, of a tensor four times as many; no value is
            missing.

        Raises
        ------
        InputError
            If a value is missing, no picture, damaged, or of another shape. It is named by its row,
            a file by its name as well.
        """
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if column.null_count:
            row = pc.index(pc.is_null(column), value=True).as_py()
            what = "picture" if self.kind == "image" else "tensor"
            raise self._error(row, f"a {what} is missing: each row needs one")
        arrays = self._images(column) if self.kind == "image" else self._tensors(column)
        return _binary(arrays)

    def _images(self, column: pa.ChunkedArray) -> npt.NDArray[np.uint8]:
        kind = column.type
        if is_text(kind):
            return self._decoded(column.cast(pa.string()).to_pylist(), self._read)
        if _is_binary(kind):
            return self._decoded(column.to_pylist(), bytes)
        if pa.types.is_struct(kind) and {"bytes", "path"} & {field.name for field in kind}:
            return self._decoded(column.to_pylist(), self._of_struct)
        if _is_list(kind):
            return self._pixels(*self._array(column))
        raise self._error(
            None, f"has type {kind}, which is no picture", "it can have paths, bytes or pixels"
        )

    def _tensors(self, column: pa.ChunkedArray) -> npt.NDArray[np.float32]:
        if is_text(column.type):
            return self._finite(self._of_texts(column))
        if not _is_list(column.type):
            raise self._error(
                None,
                f"has type {column.type}, which is no tensor",
                "write it as Parquet or Arrow with lists of one length, or as .npz",
            )
        values, shape = self._array(column)
        if values.dtype.kind not in "biuf":
            raise self._error(None, "is a tensor of something else than numbers")
        if shape != self.shape and not (len(shape) == 1 and shape[0] == math.prod(self.shape)):
            raise self._other_shape(shape)
        return self._finite(values)

    def _of_texts(self, column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
        """Return the numbers of texts such as [0.5, 1.5], shape (rows, values)."""
        found = np.empty((len(column), math.prod(self.shape)))
        for row, text in enumerate(column.cast(pa.string()).to_pylist()):
            try:
                values = np.asarray(json.loads(text))
            except (ValueError, RecursionError):
                values = np.asarray("")
            if values.dtype.kind not in "biuf" or values.ndim == 0:
                raise self._error(row, "a value is no list of numbers, such as [0.5, 1.5]")
            if values.shape not in (self.shape, found.shape[1:]):
                raise self._other_shape(values.shape)
            found[row] = values.reshape(-1)
        return found

    def _finite(self, values: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
        """Return numbers as float32, shape (rows, values)."""
        with np.errstate(over="ignore", invalid="ignore"):
            found = values.astype(np.float32).reshape(len(values), -1)
        finite = np.isfinite(found).all(axis=1)
        if not finite.all():
            row = int(np.argmin(finite))
            raise self._error(row, "a number is not finite, or too large for float32")
        return found

    def _of_struct(self, value: dict[str, bytes | str | None]) -> bytes:
        """Return the bytes of a picture as the library `datasets` writes it."""
        content, path = value.get("bytes"), value.get("path")
        if isinstance(content, bytes):
            return content
        if isinstance(path, str):
            return self._read(path)
        raise PicturePathError("has a picture without bytes and path")

    def _read(self, text: str) -> bytes:
        if self.pictures is None:
            if is_data_uri(text):
                return content_of_uri(text)
            raise PicturePathError(
                "has a path, and rows that are in no file have no folder",
                "give the bytes of each picture",
            )
        return self.pictures.read(text)

    def _decoded(
        self, values: Sequence[object], content: Callable[..., bytes]
    ) -> npt.NDArray[np.uint8]:
        """Return the pixels of encoded pictures, shape (rows, bytes)."""
        channels, height, width = self.shape
        form = PictureForm(channels, height, width, self.resize)
        found: list[bytes] = []
        for row, value in enumerate(values):
            try:
                found.append(decoded(content(value), form))
            except PictureError as error:
                raise self._picture_error(row, value, error) from None
        pixels = np.frombuffer(b"".join(found), np.uint8)
        return _channels_first(pixels.reshape(len(values), height, width, channels))

    def _pixels(
        self, values: npt.NDArray[np.generic], shape: tuple[int, ...]
    ) -> npt.NDArray[np.uint8]:
        """Return arrays of pixels, channels first, shape (rows, bytes)."""
        if values.dtype != np.uint8:
            raise self._error(
                None, f"has pixels of type {values.dtype}, and not uint8", "write 0 to 255 as uint8"
            )
        pixels = values.astype(np.uint8, copy=False)
        channels, height, width = self.shape
        if shape == self.shape or (len(shape) == 1 and shape[0] == math.prod(self.shape)):
            return pixels.reshape(len(values), -1)
        if shape == (height, width, channels):
            return _channels_first(pixels.reshape(len(values), *shape))
        if channels == 1 and shape == (height, width):
            return pixels.reshape(len(values), -1)
        raise self._other_shape(shape)

    def _array(self, column: pa.ChunkedArray) -> tuple[npt.NDArray[np.generic], tuple[int, ...]]:
        """Return lists or tensors as an array of shape (rows, values), and the shape of each."""
        rows = len(column)
        values = column.combine_chunks()
        if isinstance(values, pa.ChunkedArray):  # without a chunk
            values = pa.array([], column.type)
        order: Sequence[int] | None = None
        shape: list[int] = []
        if isinstance(values.type, pa.FixedShapeTensorType):
            shape, order = list(values.type.shape), values.type.permutation
            values = values.storage.flatten()
        elif not rows:
            return np.empty((0, math.prod(self.shape)), np.uint8), self.shape
        while _is_list(values.type):
            values, size = self._flat(values, rows)
            shape.append(size)
        if values.null_count:
            row = pc.index(pc.is_null(values), value=True).as_py() * rows // len(values)
            raise self._error(row, "a value in a list is missing")
        try:
            found = values.to_numpy(zero_copy_only=False).reshape(rows, *shape)
        except (pa.ArrowException, ValueError):
            raise self._error(None, f"has lists of type {values.type}") from None
        if order is not None:
            # Some versions of pyarrow write the inverse of what the format says.
            other = np.argsort(order)
            if list(other) != list(order) and [shape[at] for at in other] == [
                shape[at] for at in order
            ]:
                raise self._error(
                    None,
                    "has tensors whose axes are permuted, and programs differ in how they read it",
                    "write them without a permutation: numpy.ascontiguousarray",
                )
            found = found.transpose(0, *(axis + 1 for axis in order))
        return found.reshape(rows, -1), found.shape[1:]

    def _flat(self, lists: pa.Array, rows: int) -> tuple[pa.Array, int]:
        """Return the values of lists of one length, and the length."""
        if lists.null_count:
            row = pc.index(pc.is_null(lists), value=True).as_py() * rows // len(lists)
            raise self._error(row, "a list is missing")
        if pa.types.is_fixed_size_list(lists.type):
            return lists.flatten(), lists.type.list_size
        sizes = pc.list_value_length(lists).to_numpy()
        other = sizes != sizes[0]
        if other.any():
            row = int(np.argmax(other)) * rows // len(lists)
            raise self._error(row, "a list has another length than in the rows before")
        return lists.flatten(), int(sizes[0])

    def _other_shape(self, shape: tuple[int, ...]) -> InputError:
        shown, pinned = (" x ".join(map(str, each)) for each in (shape, self.shape))
        return self._error(None, f"has arrays of {shown}, not {pinned} as schema.yaml says")

    def _error(self, row: int | None, problem: str, *hints: str) -> InputError:
        """Return the error about a row of the batch, or about all of the column."""
        if row is None:
            facts = Facts(file=self.place.file, column=self.name)
            return InputError(
                f"{self.place.file}: column {self.name!r} {problem}", *hints, facts=facts
            )
        facts = self._place(row).facts(self.name)
        return InputError(
            f"{self.place.file}: column {self.name!r}: {problem} (data row {facts.row})",
            *hints,
            facts=facts,
        )

    def _picture_error(self, row: int, value: object, error: PictureError) -> InputError:
        """Return the error about a picture, with the name of its file where it has one."""
        place = self._place(row)
        if isinstance(error, PicturePathError):
            message = f"{place.file}: column {self.name!r} {error.problem} (data row {place.row})"
            return InputError(message, *error.hints, facts=place.facts(self.name))
        file = None
        if isinstance(value, dict):
            value = value.get("path") if value.get("bytes") is None else None
        if isinstance(value, str) and self.pictures is not None:
            file = self.pictures.label(value)
        if file is None:
            what = f"{place.file}: the picture in column {self.name!r} of data row {place.row}"
            return InputError(f"{what} {error.problem}", *error.hints, facts=place.facts(self.name))
        facts = replace(place.facts(self.name), file=file)
        return InputError(
            f"{file} {error.problem} ({place.file}, data row {place.row})",
            *error.hints,
            facts=facts,
        )

    def _place(self, row: int) -> RowPlace:
        return RowPlace(self.place.file, self.place.row + row)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_binary_view(kind)
    )


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        isinstance(kind, pa.FixedShapeTensorType)
        or pa.types.is_fixed_size_list(kind)
        or pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
    )


def _channels_first(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return pictures of shape (rows, height, width, channels) as shard files have them."""
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).reshape(len(pixels), -1)


def _binary(values: npt.NDArray[np.uint8] | npt.NDArray[np.float32]) -> pa.ChunkedArray:
    """Return rows of an array as binary values of one length."""
    little = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False))
    return pa.chunked_array([array_column(little.view(np.uint8))])
