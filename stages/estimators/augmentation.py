"""Random changes of pictures in training, each a function of the row alone.

Every draw of a row is a function of the row's keyed draw, the slice, the epoch of that slice, the
feature and the kind of draw. It is made by a counter and a mixing function, with no state between
draws. So a row's picture is the same whichever other rows there are, and whatever batch it is in.
All arithmetic on pixels is in integers, which no order of sums and no device rounds differently.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from unlearn.stages.config.networks import AugmentParams, PixelParams
from unlearn.stages.config.train import TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.packing import Packing, Part
from unlearn.stages.project.user_code import load_function

#: 64 random bits a row.
Words = npt.NDArray[np.uint64]

#: A function of the user's: picture and generator to picture, shape (C, H, W), uint8.
OwnAugmentation = Callable[[npt.NDArray[np.uint8], np.random.Generator], Any]

_GAMMA = 0x9E3779B97F4A7C15
_MASK = 2**64 - 1
_LOW = np.uint64(2**32 - 1)
_HALF = np.uint64(32)
#: One in the fixed-point numbers that pixels are multiplied by.
_ONE = 1 << 16
#: Parts of red, green and blue in grey, of `_ONE`: ITU-R Recommendation BT.601.
_GREY = (19595, 38470, 7471)
#: Channels of red, green and blue.
_COLOURS = 3


def mixed(words: Words) -> Words:
    """Return each word mixed: the output function of SplitMix64, a bijection of 64 bits.

    Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, with the
    constants of Stafford's variant 13.

    Examples
    --------
    >>> hex(mixed(np.array([0x9E3779B97F4A7C15], np.uint64))[0])
    '0xe220a8397b1dcdaf'
    """
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def words_of(draws: Words, number: int, epoch: int, feature: str, kind: str) -> Words:
    """Return 64 random bits for each row.

    Parameters
    ----------
    draws
        The rows' keyed draws, shape (rows,).
    number, epoch
        The slice, and the epoch of that slice.
    feature, kind
        The feature, and what is drawn.
    """
    counter = hashlib.sha256(f"{number}/{epoch}/{kind}/{feature}".encode()).digest()
    offset = np.uint64(int.from_bytes(counter[:8], "big"))
    gamma = np.uint64(_GAMMA)
    # Mixed twice: draws that differ in one bit, or counters that do, give unrelated words.
    return mixed(mixed(draws ^ offset) + gamma)


def _below(words: Words, end: int, *, high: bool) -> npt.NDArray[np.int64]:
    """Return whole numbers from 0 to `end - 1`, from the high or the low half of each word.

    By multiplication (Lemire, "Fast random integer generation in an interval", 2019), without the
    rejection: the bias is below `end` / 2**32.
    """
    half = words >> _HALF if high else words & _LOW
    return ((half * np.uint64(end)) >> _HALF).astype(np.int64)


@dataclass(frozen=True)
class Augmenter:
    """Changes the pictures of packed rows.

    Parameters
    ----------
    images
        The parts of a row that are pictures.
    settings
        What is done to them, in this order: crop, flip, colour, cutout, the own function.
    fill
        For each of `images`, the value of each channel around a cropped picture and in what is cut
        out.
    own
        The own function, where `settings` names one.
    """

    images: tuple[Part, ...]
    settings: AugmentParams
    fill: tuple[tuple[int, ...], ...]
    own: OwnAugmentation | None = None

    def __call__(self, batch: torch.Tensor, draws: Words, number: int, epoch: int) -> torch.Tensor:
        """Return the rows with changed pictures; all other bytes are as before.

        Parameters
        ----------
        batch
            Packed rows, shape (rows, bytes), uint8.
        draws
            The rows' keyed draws, shape (rows,).
        number, epoch
            The slice from 1, and the epoch of that slice from 0.

        Raises
        ------
        InputError
            If the own function fails, or returns something else than such a picture.
        """
        if not self.settings.changes_rows or len(batch) == 0:
            return batch
        out = batch.clone()
        for part, fill in zip(self.images, self.fill, strict=True):
            pictures = batch[:, part.start : part.end].reshape(-1, *part.shape)
            draw = _Draws(draws, number, epoch, part.name)
            changed = self._changed(pictures, draw, fill)
            out[:, part.start : part.end] = changed.reshape(len(batch), -1)
        return out

    def _changed(
        self, pictures: torch.Tensor, draw: "_Draws", fill: tuple[int, ...]
    ) -> torch.Tensor:
        settings = self.settings
        if settings.crop or settings.flip:
            pictures = _cropped(pictures, draw, settings.crop, fill, flip=settings.flip)
        if settings.colour:
            pictures = _coloured(pictures, draw, settings.colour)
        if settings.cutout:
            pictures = _cut_out(pictures, draw, settings.cutout, fill)
        if self.own is not None:
            pictures = _own(pictures, draw, self.own, str(settings.own))
        return pictures


@dataclass(frozen=True)
class _Draws:
    """The draws of one feature of some rows in one epoch."""

    rows: Words
    number: int
    epoch: int
    feature: str

    def words(self, kind: str) -> Words:
        return words_of(self.rows, self.number, self.epoch, self.feature, kind)

    def pair(self, kind: str, ends: tuple[int, int]) -> tuple[npt.NDArray[np.int64], ...]:
        """Return two numbers a row, from 0 to below each of `ends`."""
        words = self.words(kind)
        return _below(words, ends[0], high=True), _below(words, ends[1], high=False)


def augmenter_of(train: TrainParams, packing: Packing, root: Path) -> Augmenter | None:
    """Return what changes the pictures of a training; None if the settings ask for no change.

    Parameters
    ----------
    train
        The settings.
    packing
        What the bytes of a row are.
    root
        The project's folder, which the path of an own function starts from.

    Raises
    ------
    InputError
        If the own function's file is missing, fails, or has no such function.
    """
    settings = train.augment
    if settings is None or not settings.changes_rows:
        return None
    pixels = train.pixels or PixelParams()
    fill = tuple(grey_fill(pixels.mean, part.shape[0]) for part in packing.images)
    own = None
    if settings.own is not None:
        path, _, function = settings.own.rpartition(":")
        own = load_function(root / path, function, "train.augment.own")
    return Augmenter(packing.images, settings, fill, own)


def grey_fill(mean: Sequence[float], channels: int) -> tuple[int, ...]:
    """Return the pixel that a network reads as about 0.

    Parameters
    ----------
    mean
        What is subtracted from pixels of the range 0 to 1: a number a channel, or one for all.
    channels
        Channels of the picture.

    Examples
    --------
    >>> grey_fill([0.5], 3)
    (128, 128, 128)
    """
    every = list(mean) * channels if len(mean) == 1 else list(mean)
    return tuple(min(255, max(0, int(255 * value + 0.5))) for value in every)


def _cropped(
    pictures: torch.Tensor, draw: _Draws, margin: int, fill: tuple[int, ...], *, flip: bool
) -> torch.Tensor:
    """Cut the old size out of pictures with a margin, and mirror half of them."""
    rows, channels, height, width = pictures.shape
    device = pictures.device
    down, right = draw.pair("crop", (2 * margin + 1, 2 * margin + 1))
    columns = np.broadcast_to(np.arange(width), (rows, width))
    if flip:
        mirrored = _below(draw.words("flip"), 2, high=True).astype(bool)
        columns = np.where(mirrored[:, None], width - 1 - columns, columns)
    wide = width + 2 * margin
    lines = (np.arange(height) + down[:, None]) * wide
    columns = columns + right[:, None]
    padded = pictures
    if margin:
        shape = (rows, channels, height + 2 * margin, wide)
        padded = _pixel(fill, device).expand(shape).clone()
        padded[:, :, margin : margin + height, margin : margin + width] = pictures
    places = (
        torch.from_numpy(lines).to(device)[:, :, None]
        + torch.from_numpy(columns).to(device)[:, None, :]
    )
    places = places.view(rows, 1, height * width).expand(rows, channels, height * width)
    return padded.reshape(rows, channels, -1).gather(2, places).view(pictures.shape)


def _coloured(pictures: torch.Tensor, draw: _Draws, share: float) -> torch.Tensor:
    """Change brightness, contrast and saturation, each by a factor within 1 - share and 1 + share.

    Contrast goes about the mean grey of the picture, saturation about the grey of each pixel. All
    three are one linear map of the pixels, which are cut off at 0 and 255 once, at the end. A
    fourth channel is opacity, and stays.
    """
    rows, channels = pictures.shape[:2]
    device = pictures.device
    most = int(share * _ONE + 0.5)
    least, end = _ONE - most, 2 * most + 1
    bright, contrast = (least + drawn for drawn in draw.pair("colour", (end, end)))
    both = (bright * contrast) >> 16
    # What each picture's mean grey is multiplied by, and is added to all of its pixels.
    lift = (bright * (_ONE - contrast)) >> 16
    colours = min(channels, _COLOURS)
    # In place from here on: large new tensors cost more than the arithmetic.
    pixels = pictures[:, :colours].to(torch.int32)
    grey = _grey(pixels)
    total = grey.flatten(1).sum(1, dtype=torch.int32).to(torch.int64)
    added = torch.div(_rows(lift, device) * total, grey[0].numel(), rounding_mode="floor")
    added = added.add_(_ONE // 2).to(torch.int32).view(rows, 1, 1, 1)
    if colours == _COLOURS:
        saturation = least + _below(draw.words("saturation"), end, high=True)
        own = (both * saturation) >> 16
        added = grey.mul_(_factors(both - own, device)).add_(added)
        both = own
    pixels.mul_(_factors(both, device)).add_(added)
    changed = pixels.bitwise_right_shift_(16).clamp_(0, 255).to(torch.uint8)
    return changed if colours == channels else torch.cat([changed, pictures[:, colours:]], 1)


def _grey(pixels: torch.Tensor) -> torch.Tensor:
    """Return the grey of pixels, shape (rows, 1, H, W), from one colour or three."""
    if pixels.shape[1] == 1:
        return pixels.clone()
    grey = pixels[:, 0] * _GREY[0]
    for at in (1, 2):
        grey.add_(pixels[:, at], alpha=_GREY[at])
    return grey.add_(_ONE // 2).bitwise_right_shift_(16)[:, None]


def _cut_out(
    pictures: torch.Tensor, draw: _Draws, size: int, fill: tuple[int, ...]
) -> torch.Tensor:
    """Fill a square about a pixel of the picture; what is beyond the border is left out.

    DeVries and Taylor, "Improved regularization of convolutional neural networks with cutout",
    2017.
    """
    height, width = pictures.shape[2:]
    middles = draw.pair("cutout", (height, width))
    inside = []
    for middle, length in zip(middles, (height, width), strict=True):
        start = middle[:, None] - size // 2
        places = np.arange(length)
        inside.append((places >= start) & (places < start + size))
    device = pictures.device
    square = (
        torch.from_numpy(inside[0]).to(device)[:, None, :, None]
        & torch.from_numpy(inside[1]).to(device)[:, None, None, :]
    )
    return torch.where(square, _pixel(fill, device), pictures)


def _own(pictures: torch.Tensor, draw: _Draws, own: OwnAugmentation, name: str) -> torch.Tensor:
    """Call the user's function for each picture by itself, with a generator of its own."""
    before = pictures.cpu().numpy()
    keys = np.stack([draw.words("own"), draw.words("own key")], axis=1)
    changed = np.empty_like(before)
    for row, key in enumerate(keys):
        # Philox takes the two words as they are, and needs no seeding: it is fast to make.
        random = np.random.Generator(np.random.Philox(key=key))
        try:
            found = own(before[row].copy(), random)
        except Exception as error:
            # Only the name of the error: its message may quote pixels.
            raise InputError(
                f"train.augment.own: {name} fails ({type(error).__name__})",
                "--debug shows the whole error",
            ) from error
        if isinstance(found, torch.Tensor):
            found = found.cpu().numpy()
        if not isinstance(found, np.ndarray):
            raise _no_picture(name, f"returns a {type(found).__name__}", before[row])
        if found.shape != before[row].shape or found.dtype != np.uint8:
            raise _no_picture(name, f"returns {found.dtype} of shape {found.shape}", before[row])
        changed[row] = found
    return torch.from_numpy(changed).to(pictures.device)


def _no_picture(name: str, what: str, picture: npt.NDArray[np.uint8]) -> InputError:
    return InputError(
        f"train.augment.own: {name} {what} in place of a picture: uint8 of shape {picture.shape}"
    )


def _pixel(fill: tuple[int, ...], device: torch.device) -> torch.Tensor:
    return torch.tensor(fill, dtype=torch.uint8, device=device).view(1, -1, 1, 1)


def _rows(values: npt.NDArray[np.int64], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(values).to(device)


def _factors(values: npt.NDArray[np.int64], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.int32)).to(device).view(-1, 1, 1, 1)
