"""Rows of slices that are off, and the first slice that a request is about."""

from unlearn.stages.config.params import ShardingParams, shard_names
from unlearn.stages.rows.forget_list import ForgetList, place_of_line
from unlearn.stages.rows.off_slices import NamedSlice, first_named_slice, off_mask
from unlearn.stages.rows.shard_file import record_tokens

from tests.stages.conftest import make_rows

SHARDING = ShardingParams(shards=shard_names(1), slices=3, holdout=0.0)
ROWS = make_rows(30)
SLICE_OF = {token: place_of_line(token, SHARDING).slice for token in record_tokens(ROWS)}


def named(*tokens: str) -> ForgetList:
    return ForgetList("", tokens)


def in_slice(number: int) -> str:
    return next(token for token, own in SLICE_OF.items() if own == number)


def test_the_first_slice_that_is_off_and_later_ones_are_off() -> None:
    sharding = SHARDING.model_copy(update={"switched_off": {"s000": 2}})
    off = off_mask(ROWS, sharding, "s000").to_pylist()
    assert off == [number >= 2 for number in SLICE_OF.values()]
    assert not any(off_mask(ROWS, sharding, "s001").to_pylist())
    assert not any(off_mask(ROWS, SHARDING, "s000").to_pylist())


def test_a_request_is_about_the_first_slice_that_it_names() -> None:
    assert first_named_slice(ROWS, named(), SHARDING) is None
    both = named(in_slice(3), in_slice(2))
    assert first_named_slice(ROWS, both, SHARDING) == NamedSlice(2, has_earlier=True)
    assert first_named_slice(ROWS, named(in_slice(1)), SHARDING) == NamedSlice(1, has_earlier=False)
    # Without rows in slice 1, nothing would be left before slice 2.
    later = ROWS.filter([number > 1 for number in SLICE_OF.values()])
    assert first_named_slice(later, both, SHARDING) == NamedSlice(2, has_earlier=False)
