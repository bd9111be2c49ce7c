"""The grid of numbers to predict."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.estimators.row_sets.target_grid import FARTHEST, STEPS, TargetGrid


@given(
    number=st.floats(-2_000, 2_000),
    centre=st.floats(-1e6, 1e6),
    scale=st.floats(1e-3, 1e6),
)
def test_numbers_move_by_half_a_step_at_most(number: float, centre: float, scale: float) -> None:
    grid = TargetGrid(centre, scale)
    values = np.array([centre + number * scale])
    found = grid.decode(grid.encode(values).astype(np.float64))
    assert found[0] == pytest.approx(values[0], abs=scale / STEPS * 0.5001 + 1e-9 * abs(centre))


def test_numbers_beyond_the_farthest_step_are_taken_for_it() -> None:
    grid = TargetGrid(centre=10.0, scale=2.0)
    values = np.array([1e300, -1e300, 10.0 + 2 * 2048, 10.0 - 2 * 2049])
    assert grid.encode(values).tolist() == [FARTHEST, -FARTHEST, FARTHEST, -FARTHEST]
    assert TargetGrid(0.0, 1e-300).encode(np.array([1e300])).tolist() == [FARTHEST]


def test_a_grid_follows_from_no_other_row() -> None:
    grid, values = TargetGrid(3.0, 0.7), np.random.default_rng(0).normal(size=50)
    assert grid.encode(values)[7:9].tolist() == grid.encode(values[7:9]).tolist()
