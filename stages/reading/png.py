"""Pixels as a PNG file: the same bytes wherever it is written, and no library of pictures."""

import struct
import zlib
from typing import Final

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

#: Colour types of PNG by number of channels: grey, red-green-blue, and that with opacity
#: (W3C, "Portable Network Graphics Specification", 11.2.2).
_COLOUR_TYPES: Final = {1: 0, 3: 2, 4: 6}
_DEPTH = 8


def png_bytes(pixels: Pixels, *, level: int = 0) -> bytes:
    """Return pixels as a PNG file.

    Parameters
    ----------
    pixels
        Shape (channels, height, width), with 1, 3 or 4 channels.
    level
        Of compression. 0 stores the pixels as they are, so that the bytes do not depend on the
        version of zlib.

    Raises
    ------
    ValueError
        If the number of channels is another one.
    """
    channels, height, width = pixels.shape
    if channels not in _COLOUR_TYPES:
        raise ValueError(f"a PNG has 1, 3 or 4 channels, not {channels}")
    # Each line begins with the number of its filter; 0 is none.
    lines = np.zeros((height, 1 + width * channels), dtype=np.uint8)
    lines[:, 1:] = pixels.transpose(1, 2, 0).reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, _DEPTH, _COLOUR_TYPES[channels], 0, 0, 0)
    data = zlib.compress(lines.tobytes(), level)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(name: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + check
