"""Columns of pictures and other arrays, and the shape that `init` pins for each.

A column is one of pictures if its texts name PNG or JPEG files that are there, or are data URIs; if
its values are the bytes of such files; or if they are arrays of uint8 with two or three dimensions.
Other arrays of numbers are tensors. Lists with one dimension are columns unless the user says that
they are an array.
"""

import io
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.config.dataset import PICTURE_CHANNELS, TENSOR_KINDS, FeatureKind
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.reading.column_types import is_text
from unlearn.stages.reading.dataset_files import PICTURE_FORMATS
from unlearn.stages.reading.picture_decoding import PictureError, orientation
from unlearn.stages.reading.picture_files import PictureFolder
from unlearn.stages.reading.png import SIGNATURE

Shape = tuple[int, ...]

#: So many pictures of a batch are looked at, evenly placed; `init` decodes all of them later on.
_LOOKED_AT = 200

_ENDINGS = "|".join(ending.removeprefix(".") for ending in PICTURE_FORMATS)
_IS_PICTURE = rf"(?i)^data:image/(png|jpeg);|[.]({_ENDINGS})$"

#: Channels that a picture becomes by Pillow's name of its mode; all other modes are colours.
_CHANNELS = {"1": 1, "L": 1, "LA": 4, "PA": 4, "RGBA": 4, "RGBa": 4, "La": 4}

#: What files of PNG and JPEG begin with.
_SIGNATURES = (SIGNATURE, b"\xff\xd8\xff")

#: How many sizes an error names.
_SHOWN = 4

#: Orientations by EXIF of which height and width change places.
_SIDEWAYS = range(5, 9)

_CHANNELS_FIRST_OR_LAST = 3
_GREY = 2


@dataclass
class ArrayFacts:
    """What was found about a column of arrays.

    Attributes
    ----------
    kind
        `image` or `tensor`.
    encoded
        Whether the arrays are files of pictures, which can be resized.
    shapes
        How many rows, of those looked at, have an array of each shape; pictures have channels
        first.
    """

    kind: FeatureKind
    encoded: bool
    shapes: Counter[Shape] = field(default_factory=Counter)


class ArrayColumns:
    """Finds the columns of arrays, batch by batch.

    Parameters
    ----------
    kinds
        Kind by column where the user chose it.
    chosen
        The shape of arrays where the user chose it.
    pictures
        Reads the pictures that texts name; None where there is no folder of them.
    """

    def __init__(
        self,
        kinds: Mapping[str, FeatureKind],
        chosen: Mapping[str, Shape],
        pictures: PictureFolder | None = None,
    ) -> None:
        self._kinds, self._chosen, self._pictures = kinds, chosen, pictures
        self._facts: dict[str, ArrayFacts | None] = {}
        #: Columns whose pictures are files.
        self.paths: set[str] = set()

    def see(self, name: str, column: pa.ChunkedArray) -> FeatureKind | None:
        """Take the values of a batch into account; return the kind of an array, None for others."""
        if name not in self._facts:
            if column.null_count == len(column):
                return None
            self._facts[name] = self._first_look(name, column)
        facts = self._facts[name]
        if facts is None:
            return None
        if facts.encoded:
            facts.shapes.update(self._looked_at(name, column))
        elif (shape := _dimensions(column.type)) is not None:
            facts.shapes[_picture_shape(shape) if facts.kind == "image" else shape] += len(column)
        return facts.kind

    def _first_look(self, name: str, column: pa.ChunkedArray) -> ArrayFacts | None:
        """Return what a column of arrays is; None for one of other values."""
        chosen = self._kinds.get(name)
        if chosen is not None and chosen not in TENSOR_KINDS:
            return None
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if (shape := _dimensions(kind)) is not None:
            if chosen is None and len(shape) == 1 and pa.types.is_fixed_size_list(kind):
                return None  # a list, which is a column for each of its numbers
            is_image = chosen == "image" or (chosen is None and _are_pixels(kind, shape))
            return ArrayFacts("image" if is_image else "tensor", encoded=False)
        encoded = self._are_encoded(column, kind) or chosen == "image"
        if encoded and chosen != "tensor":
            return ArrayFacts("image", encoded=True)
        return None if chosen is None else ArrayFacts(chosen, encoded=False)

    def _are_encoded(self, column: pa.ChunkedArray, kind: pa.DataType) -> bool:
        """Return whether values are pictures in files, in texts or in bytes."""
        if is_text(kind):
            texts = pc.utf8_trim_whitespace(column.drop_null().cast(pa.string()))
            if not pc.all(pc.match_substring_regex(texts, _IS_PICTURE)).as_py():
                return False
        elif not (_is_binary(kind) or _is_struct_of_bytes(kind)):
            return False
        first = next(self._contents(column.drop_null().slice(0, 1)), None)
        return first is not None and (is_text(kind) or first.startswith(_SIGNATURES))

    def _looked_at(self, name: str, column: pa.ChunkedArray) -> Iterator[Shape]:
        """Yield the shapes of some pictures of a batch; those that cannot be read have none."""
        there = column.drop_null()
        if is_text(there.type) and not str(there[0].as_py()).lower().startswith("data:"):
            self.paths.add(name)
        places = np.linspace(0, len(there) - 1, min(_LOOKED_AT, len(there))).astype(np.int64)
        for content in self._contents(there.take(pa.array(places))):
            shape = shape_of_picture(content)
            if shape is not None:
                yield shape

    def _contents(self, column: pa.ChunkedArray) -> Iterator[bytes]:
        """Yield the bytes of pictures; of those that are not there, none."""
        for value in column.to_pylist():
            found: Any = value
            if isinstance(found, dict):
                found = found.get("bytes") or found.get("path")
            if isinstance(found, str):
                try:
                    found = None if self._pictures is None else self._pictures.read(found)
                except PictureError:
                    continue
            if isinstance(found, bytes):
                yield found

    @property
    def shapes(self) -> dict[str, Shape]:
        """The shape to pin of each column of arrays.

        Raises
        ------
        InputError
            If the arrays of a column have different sizes and the user did not choose one, or no
            picture could be read.
        """
        return {
            name: self._shape(name, facts)
            for name, facts in self._facts.items()
            if facts is not None
        }

    @property
    def resized(self) -> list[str]:
        """The columns of pictures that do not all have the pinned size."""
        pinned = self.shapes
        return [
            name
            for name, facts in self._facts.items()
            if facts is not None
            and facts.encoded
            and any(shape[1:] != pinned[name][1:] for shape in facts.shapes)
        ]

    def _shape(self, name: str, facts: ArrayFacts) -> Shape:
        if name in self._chosen:
            return self._chosen[name]
        sizes = {shape[1:] if facts.encoded else shape for shape in facts.shapes}
        if not sizes:
            problem = (
                "no picture that it names can be read" if facts.encoded else "it has no arrays"
            )
            kind = "tensor" if facts.kind == "tensor" else "image"
            raise InputError(
                f"column {name!r} cannot be {kind}: {problem}",
                f"--kind={shlex.quote(f'{name}={kind}:{_example(kind)}')} says which shape it has",
                facts=Facts(column=name),
            )
        if len(sizes) == 1:
            # Pictures with fewer channels are converted.
            return max(facts.shapes, key=lambda shape: shape[0])
        shown = [
            f"{written(shape)} in {count:,}" for shape, count in facts.shapes.most_common(_SHOWN)
        ]
        more = f" and {len(facts.shapes) - _SHOWN:,} more" if len(facts.shapes) > _SHOWN else ""
        common = facts.shapes.most_common(1)[0][0]
        option = shlex.quote(f"{name}={facts.kind}:{written(common)}")
        what = "resizes all pictures to one" if facts.encoded else "is the shape of all arrays"
        raise InputError(
            f"column {name!r} has arrays of different shapes: {', '.join(shown)}{more} of the "
            f"{facts.shapes.total():,} that were looked at",
            f"--kind={option} {what}",
            facts=Facts(column=name),
        )

    def notes(self) -> Iterator[str]:
        """Yield a sentence for each column of arrays."""
        resized = self.resized
        for name, shape in self.shapes.items():
            facts = self._facts[name]
            if facts is None or facts.kind == "tensor":
                yield f"column {name!r} has arrays of {written(shape)} numbers"
                continue
            channels, height, width = shape
            colours = "1 channel" if channels == 1 else f"{channels} channels"
            note = f"column {name!r} has pictures, {width} pixels wide, {height} high, {colours}"
            yield note + (": those of other sizes are resized" if name in resized else "")


def shape_of_picture(content: bytes) -> Shape | None:
    """Return channels, height and width of a PNG or JPEG file as it is shown, by its header.

    Returns
    -------
    tuple or None
        None if it cannot be read; the stage `shard` says why.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
            width, height = image.size
            if orientation(image.info.get("exif", b"")) in _SIDEWAYS:
                width, height = height, width
            channels = _CHANNELS.get(image.mode, 1 if image.mode.startswith("I") else 3)
            if channels == _CHANNELS_FIRST_OR_LAST and "transparency" in image.info:
                channels += 1
    except Exception:  # noqa: BLE001 - Pillow's readers raise errors of any type for damaged files
        return None
    return (channels, height, width)


def written(shape: Shape) -> str:
    """Return a shape as `--kind` takes it: `3x32x32`."""
    return "x".join(map(str, shape))


def _example(kind: str) -> str:
    return "3x32x32" if kind == "image" else "64"


def _dimensions(kind: pa.DataType) -> Shape | None:
    """Return the shape of arrays of numbers of this type; None for other types."""
    if isinstance(kind, pa.FixedShapeTensorType):
        order = kind.permutation or range(len(kind.shape))
        return tuple(int(kind.shape[axis]) for axis in order)
    shape: list[int] = []
    while pa.types.is_fixed_size_list(kind):
        shape.append(int(kind.list_size))
        kind = kind.value_type
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return tuple(shape) if shape and is_number else None


def _are_pixels(kind: pa.DataType, shape: Shape) -> bool:
    """Return whether arrays of this type can be pictures: bytes, with a plausible shape."""
    while not isinstance(kind, pa.FixedShapeTensorType) and pa.types.is_fixed_size_list(kind):
        kind = kind.value_type
    value = kind.value_type if isinstance(kind, pa.FixedShapeTensorType) else kind
    if not pa.types.is_uint8(value):
        return False
    if len(shape) == _GREY:
        return True
    has_channels = shape[0] in PICTURE_CHANNELS or shape[-1] in PICTURE_CHANNELS
    return len(shape) == _CHANNELS_FIRST_OR_LAST and has_channels


def _picture_shape(shape: Shape) -> Shape:
    """Return the shape of pixels with channels first."""
    if len(shape) == _GREY:
        return (1, *shape)
    if len(shape) == _CHANNELS_FIRST_OR_LAST and shape[0] not in PICTURE_CHANNELS:
        return (shape[2], shape[0], shape[1])
    return shape


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_struct_of_bytes(kind: pa.DataType) -> bool:
    """Return whether values are as the library `datasets` writes pictures."""
    return bool(pa.types.is_struct(kind) and {"bytes", "path"} & {each.name for each in kind})
