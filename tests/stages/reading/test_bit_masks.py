"""Masks say of 64 bytes at a time what a loop over all bytes says."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.reading import bit_masks as masks

FLAGS = st.lists(st.booleans(), max_size=200)


def listed(mask: masks.Mask, size: int) -> list[bool]:
    found = [False] * max(size, mask.size * 64)
    for position in masks.positions(mask):
        found[position] = True
    return found[:size]


@given(FLAGS, st.booleans(), st.integers(0, 210))
def test_masks_are_what_a_loop_finds(flags: list[bool], first: bool, end: int) -> None:
    mask = masks.mask_of(np.array(flags, np.bool_))
    size = len(flags)
    where = [position for position, flag in enumerate(flags) if flag]

    assert listed(mask, size) == flags
    assert masks.positions(mask).tolist() == where
    assert masks.count(mask) == len(where)
    assert masks.first_of(mask) == (where[0] if where else None)
    assert masks.last_of(mask) == (where[-1] if where else None)
    assert listed(masks.preceding(mask), size) == [*flags[1:], False][:size]
    assert listed(masks.following(mask, first=first), size) == [first, *flags][:size]
    assert listed(masks.below(mask, end), size) == [
        flag and position < end for position, flag in enumerate(flags)
    ]
    odd = [sum(flags[: position + 1]) % 2 == 1 for position in range(size)]
    assert listed(masks.odd_up_to(mask), size) == odd
