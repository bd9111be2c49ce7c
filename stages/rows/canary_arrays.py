"""Pictures and tensors of canaries: noise that is made of nothing but means over all rows."""

import base64
import json
import math
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from unlearn.stages.reading.png import png_bytes
from unlearn.stages.rows.arrays import chunk_bytes

#: What is drawn around where few rows are known: the middle of the range of a pixel, and a quarter.
_GREY: Final = 127.5
_SPREAD: Final = 64.0
_MOST = 255

#: Larger pictures have noise in cells of several pixels, so that their files are small.
_CELLS = 32

_URI = "data:image/png;base64,"


class PixelSummary:
    """Mean and standard deviation of all pixels of a channel; no row's own pixels are kept.

    Parameters
    ----------
    shape
        Channels, height and width.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._rows = 0
        self._sums = np.zeros(shape[0], dtype=np.int64)
        self._squares = np.zeros(shape[0], dtype=np.int64)

    def see(self, values: pa.ChunkedArray) -> None:
        """Take the pixels of rows into account, which are bytes."""
        channels = self._shape[0]
        for rows in chunk_bytes(values):
            pixels = rows.reshape(len(rows), channels, -1)
            self._rows += len(rows)
            for channel in range(channels):
                counts = np.bincount(pixels[:, channel].reshape(-1), minlength=_MOST + 1)
                levels = np.arange(_MOST + 1)
                self._sums[channel] += counts @ levels
                self._squares[channel] += counts @ levels**2

    def draw(self, random: np.random.Generator, min_rows: int) -> str:
        """Return a picture of noise as a data URI of a PNG."""
        channels, height, width = self._shape
        centres, spreads = np.full(channels, _GREY), np.full(channels, _SPREAD)
        # A mean over one row would be that row's colour.
        if self._rows >= min_rows:
            pixels = self._rows * height * width
            centres = self._sums / pixels
            spreads = np.sqrt(np.maximum(self._squares / pixels - centres**2, 1.0))
        size = -(-max(height, width) // _CELLS)
        cells = (channels, -(-height // size), -(-width // size))
        noise = random.standard_normal(cells) * spreads[:, None, None] + centres[:, None, None]
        levels = np.clip(np.rint(noise), 0, _MOST).astype(np.uint8)
        picture = levels.repeat(size, axis=1).repeat(size, axis=2)[:, :height, :width]
        # Noise of single pixels cannot be compressed.
        content = png_bytes(picture, level=0 if size == 1 else 9)
        return _URI + base64.b64encode(content).decode()


class TensorSummary:
    """Mean and standard deviation of all numbers of a tensor.

    Parameters
    ----------
    shape
        Of each row's tensor.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._size = math.prod(shape)
        self._rows = 0
        self._mean = self._squares = 0.0

    def see(self, values: pa.ChunkedArray) -> None:
        """Take the numbers of rows into account, which are float32 as bytes."""
        for rows in chunk_bytes(values):
            numbers: npt.NDArray[np.float64] = rows.view("<f4").astype(np.float64)
            before, own = self._rows * self._size, numbers.size
            apart, total = float(numbers.mean()) - self._mean, before + own
            # See `canaries._Numbers`.
            self._squares += float(numbers.var()) * own + apart * apart * before * own / total
            self._mean += apart * own / total
            self._rows += len(rows)

    def draw(self, random: np.random.Generator, min_rows: int) -> str:
        """Return numbers as a JSON list."""
        centre, spread = 0.0, 1.0
        if self._rows >= min_rows:
            centre, spread = self._mean, math.sqrt(self._squares / (self._rows * self._size))
        numbers = random.normal(centre, spread, self._size)
        # In the range of float32, whatever is drawn.
        largest = float(np.finfo(np.float32).max) / 2
        return json.dumps(
            [float(f"{number:.6g}") for number in np.clip(numbers, -largest, largest)]
        )
