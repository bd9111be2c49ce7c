"""Bit masks of text: one bit a byte, and 64 bytes in one step.

Finding the positions of all delimiters and quotes takes longer than parsing the text. Masks answer
most questions about them without any position, as in Langdale and Lemire, "Parsing Gigabytes of
JSON per Second", VLDB Journal 28 (2019), section 3.1.
"""

import numpy as np
import numpy.typing as npt

#: Shape (ceil(bytes / 64),): the bit of byte 64 w + b is bit b of word w, the lowest one first.
Mask = npt.NDArray[np.uint64]

Positions = npt.NDArray[np.intp]

_BITS = 64
_ONE, _LAST = np.uint64(1), np.uint64(_BITS - 1)


def mask_of(flags: npt.NDArray[np.bool_]) -> Mask:
    """Return the mask of flags, one for each byte; bits after the last byte are not set."""
    words = np.zeros(-(-flags.size // _BITS), "<u8")
    packed = np.packbits(flags, bitorder="little")
    words.view(np.uint8)[: packed.size] = packed
    return words


def following(mask: Mask, *, first: bool) -> Mask:
    """Return the bytes that follow one of these; the first byte is one if `first`."""
    moved: Mask = mask << _ONE
    moved[1:] |= mask[:-1] >> _LAST
    if first and moved.size:
        moved[0] |= _ONE
    return moved


def preceding(mask: Mask) -> Mask:
    """Return the bytes that precede one of these."""
    moved: Mask = mask >> _ONE
    moved[:-1] |= mask[1:] << _LAST
    return moved


def odd_up_to(mask: Mask) -> Mask:
    """Return the bytes up to which, with themselves, an odd number of bits is set.

    Of quotes: an opening quote, and what it encloses without the closing quote. The same holds
    for bits after the last byte.
    """
    odd: Mask = mask.copy()
    for shift in (1, 2, 4, 8, 16, 32):
        odd ^= odd << np.uint64(shift)
    whole = np.bitwise_xor.accumulate(odd >> _LAST)
    # All bits of a word change if the words before it have an odd number.
    odd[1:] ^= np.uint64(0) - whole[:-1]
    return odd


def below(mask: Mask, position: int) -> Mask:
    """Return the mask of the bytes before a position; it ends there."""
    words, bits = divmod(position, _BITS)
    if words >= mask.size:
        return mask
    if not bits:
        return mask[:words]
    kept: Mask = mask[: words + 1].copy()
    kept[-1] &= (_ONE << np.uint64(bits)) - _ONE
    return kept


def count(mask: Mask) -> int:
    """Return the number of bits that are set."""
    return int(np.bitwise_count(mask).sum(dtype=np.uint32))


def positions(mask: Mask) -> Positions:
    """Return the positions of the bits that are set, in order."""
    found: Positions = np.flatnonzero(np.unpackbits(mask.view(np.uint8), bitorder="little"))
    return found


def first_of(mask: Mask) -> int | None:
    """Return the first position; None if there is none."""
    if not mask.any():
        return None
    word = int((mask != 0).argmax())
    return word * _BITS + int(positions(mask[word : word + 1])[0])


def last_of(mask: Mask) -> int | None:
    """Return the last position; None if there is none."""
    if not mask.any():
        return None
    word = mask.size - 1 - int((mask[::-1] != 0).argmax())
    return word * _BITS + int(positions(mask[word : word + 1])[-1])
