"""PNG and JPEG files as pixels of one size and one number of channels, by Pillow.

A file is checked before it is decoded: what it is, its size in pixels and, of a PNG, every chunk's
checksum. Conversions are those of Pillow's `convert`, but for 16 bits, of which the upper 8 stay.
"""

import io
import struct
import threading
import zlib
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
from PIL import Image, JpegImagePlugin, PngImagePlugin

#: Pixels of a picture, at most: others are refused by their header.
MOST_PIXELS = 50_000_000

#: Pictures with more pixels are decoded one at a time, whatever the number of threads.
_LARGE = 4_000_000

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"

#: First bytes of other kinds of pictures, for the error.
_OTHERS = {
    b"GIF8": "a GIF",
    b"BM": "a BMP",
    b"II*\x00": "a TIFF",
    b"MM\x00*": "a TIFF",
    b"RIFF": "a WebP",
    b"<svg": "an SVG",
    b"<!DO": "a web page",
    b"<htm": "a web page",
}

#: Pillow's mode by number of channels.
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}

#: The colour type of PNG that has the channels of a mode, in their order.
_PLAIN = {"L": 0, "RGB": 2, "RGBA": 6}

#: Of a PNG: the data of its first chunk, how each chunk begins, and how each ends.
_HEADER, _CHUNK, _CHECKSUM = struct.Struct(">IIBBBBB"), struct.Struct(">I4s"), struct.Struct(">I")

#: Chunks of PNG that say how it is to be turned, and which colour counts as transparent.
_SPECIAL = frozenset({b"eXIf", b"tRNS"})

#: EXIF data of a JPEG begin so.
_EXIF = b"Exif\x00\x00"

#: The tag of the orientation in EXIF data, and the types that its value can have: 16 or 32 bits.
_ORIENTATION, _INTEGERS = 0x0112, {3: "H", 4: "I"}

#: What the EXIF value of an orientation asks for.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

#: Turns that make the height the width.
_SIDEWAYS = frozenset({5, 6, 7, 8})

_one_large = threading.Lock()


class PictureError(Exception):
    """A picture cannot be read, or is not as the schema says; the message follows its name."""

    def __init__(self, problem: str, *hints: str) -> None:
        super().__init__(problem)
        self.problem, self.hints = problem, hints


class _Jpeg(JpegImagePlugin.JpegImageFile):
    """Pillow's reader of JPEG, without what it looks up in EXIF data and warns about."""

    def _read_dpi_from_exif(self) -> None:
        """Leave the resolution for print alone."""


@dataclass(frozen=True)
class PictureForm:
    """What the pictures of a feature become.

    Parameters
    ----------
    channels, height, width
        The pinned shape; 1 channel is grey, 3 are red, green and blue, and a fourth is opacity.
    resize
        Whether pictures of other sizes are resized; otherwise they are refused.
    """

    channels: int
    height: int
    width: int
    resize: bool = False

    @property
    def mode(self) -> str:
        """Pillow's name for the channels."""
        return _MODES[self.channels]

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels of a picture."""
        return self.channels * self.height * self.width

    def check_size(self, width: int, height: int) -> None:
        """Raise a PictureError if a picture of this size, as it is shown, does not fit."""
        if width * height > MOST_PIXELS:
            raise PictureError(
                f"has {width:,} x {height:,} pixels, more than the {MOST_PIXELS:,} that are read",
                "make it smaller",
            )
        if not self.resize and (width, height) != (self.width, self.height):
            raise PictureError(
                f"is {width} pixels wide and {height} high, not {self.width} and {self.height} as "
                "schema.yaml says",
                "`resize: true` of the feature in schema.yaml resizes pictures of other sizes",
            )


def decoded(content: bytes, form: PictureForm) -> bytes:
    """Return the pixels of a PNG or JPEG file.

    Parameters
    ----------
    content
        The file's bytes.
    form
        Size and channels of the result.

    Returns
    -------
    bytes
        One byte for each channel of each pixel: rows from the top, channels last. Its length is
        `form.nbytes`.

    Raises
    ------
    PictureError
        If the file is neither PNG nor JPEG, is animated, damaged or cut short, has too many pixels,
        or another size than `form` without `form.resize`.
    """
    if content.startswith(_PNG):
        return _png(content, form)
    if content.startswith(_JPEG):
        return _jpeg(content, form)
    if not content:
        raise PictureError("has no bytes")
    if content.startswith(b"version https://git-lfs"):
        raise PictureError("is a pointer of Git LFS", "`git lfs pull` fetches the file")
    what = next((what for start, what in _OTHERS.items() if content.startswith(start)), None)
    kind = "neither PNG nor JPEG" if what is None else f"{what}, and only PNG and JPEG are read"
    raise PictureError(f"is {kind}", "convert it to PNG")


def _png(content: bytes, form: PictureForm) -> bytes:
    chunks = _chunks(content)
    header = chunks[0][1] if chunks[0][0] == b"IHDR" else b""
    if len(header) != _HEADER.size:
        raise PictureError("is a damaged PNG")
    width, height, depth, colours, _, _, interlaced = _HEADER.unpack(header)
    names = {name for name, _ in chunks}
    if b"acTL" in names:
        raise PictureError("is animated", "write one picture for each row")
    if width * height == 0:
        raise PictureError("has no pixels")
    is_special = not names.isdisjoint(_SPECIAL)
    if not is_special or width * height > MOST_PIXELS:
        form.check_size(width, height)
    # Of 8 bits, with the channels and the size that are pinned: there is nothing to convert.
    plain = (form.width, form.height, 8, _PLAIN[form.mode], 0)
    if not is_special and (width, height, depth, colours, interlaced) == plain:
        return _plain_png(b"".join(data for name, data in chunks if name == b"IDAT"), form)
    return _opened(PngImagePlugin.PngImageFile, content, form, depth)


def _chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """Return name and data of each chunk of a PNG, up to its end.

    Pillow does not compare the checksums of pixels, and takes a file without its end for whole.
    """
    at, found = len(_PNG), list[tuple[bytes, bytes]]()
    try:
        while True:
            size, name = _CHUNK.unpack_from(content, at)
            end = at + _CHUNK.size + size
            if zlib.crc32(content[at + 4 : end]) != _CHECKSUM.unpack_from(content, end)[0]:
                raise PictureError("is a damaged PNG: a checksum is wrong")
            found.append((name, content[at + _CHUNK.size : end]))
            if name == b"IEND":
                return found
            at = end + _CHECKSUM.size
    except struct.error:
        raise PictureError("is cut short: it has no end") from None


def _plain_png(pixels: bytes, form: PictureForm) -> bytes:
    """Return what `_opened` does for a PNG that has the pinned form, in a third of the time."""
    try:
        size, interlaced = (form.width, form.height), 0
        image = Image.frombytes(form.mode, size, pixels, "zip", form.mode, interlaced)
    except (ValueError, OSError, MemoryError, SyntaxError):
        raise PictureError("is a damaged PNG") from None
    return image.tobytes()


def _jpeg(content: bytes, form: PictureForm) -> bytes:
    # A preview in the header has an end of its own, so what counts is one after the last scan.
    if content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda"):
        raise PictureError("is cut short: it has no end")
    return _opened(_Jpeg, content, form, 8)


def _opened(
    kind: type[PngImagePlugin.PngImageFile | _Jpeg],
    content: bytes,
    form: PictureForm,
    depth: int,
) -> bytes:
    """Return the pixels of a file by Pillow's reader of its kind.

    Parameters
    ----------
    kind
        The reader: no other one of Pillow ever sees the bytes.
    content, form
        The file, and what it is to become.
    depth
        Bits of a channel.
    """
    try:
        with kind(io.BytesIO(content)) as image:
            turn = orientation(image.info.get("exif", b""))
            width, height = image.size[::-1] if turn in _SIDEWAYS else image.size
            form.check_size(width, height)
            with _one_large if width * height > _LARGE else nullcontext():
                image.load()
                if depth == 16 or form.mode != "RGBA":  # noqa: PLR2004 - bits
                    # Pillow takes a value of 16 bits for one of 8, and warns of what is dropped.
                    image.info.pop("transparency", None)
                return _converted(image, turn, form).tobytes()
    except PictureError:
        raise
    except Exception:  # noqa: BLE001 - Pillow's readers raise errors of any type for damaged files
        raise PictureError("is damaged or cut short") from None


def orientation(exif: bytes) -> int:
    """Return the orientation that EXIF data say, 1 to 8; 1 where they say none that exists.

    1 is a picture that is shown as it is stored. Only the first directory is read, which is the one
    of the picture itself: Pillow's reader looks at all data, and warns of damage that does not
    matter here.
    """
    tiff = exif.removeprefix(_EXIF)
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (at,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, at)
        for entry in range(entries):
            start = at + 2 + 12 * entry
            tag, kind, count = struct.unpack_from(f"{order}HHI", tiff, start)
            if tag == _ORIENTATION and kind in _INTEGERS and count == 1:
                (value,) = struct.unpack_from(order + _INTEGERS[kind], tiff, start + 8)
                return value if value in _TURNS else 1
    except struct.error:
        pass  # shorter than it says
    return 1


def _converted(image: Image.Image, turn: int, form: PictureForm) -> Image.Image:
    """Return a loaded picture with the channels, the orientation and the size of a form."""
    if image.mode.startswith("I"):
        # Pillow would give 255 for all values above it.
        upper = (np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)
        image = Image.fromarray(upper)
    if image.mode != form.mode:
        image = image.convert(form.mode)
    if turn in _TURNS:
        image = image.transpose(_TURNS[turn])
    if image.size != (form.width, form.height):
        image = image.resize((form.width, form.height), Image.Resampling.BILINEAR)
    return image
