"""What is checked of every tree, whatever the library."""

import numpy as np
import pytest
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.boosted.values import Reader, check_children

READ = Reader("a")


def check(left: list[int], right: list[int], *sizes: int, spare: list[int] | None = None) -> None:
    gone = None if spare is None else np.isin(np.arange(len(left)), spare)
    check_children(READ, np.array(left), np.array(right), np.array(sizes), spare=gone)


def test_trees_are_trees() -> None:
    check([-1], [-1], 1)
    check([1, -1, -1], [2, -1, -1], 3)
    check([1, -1, 3, -1, -1, 1, -1, -1, -1], [2, -1, 4, -1, -1, 2, -1, -1, -1], 5, 3, 1)
    check([1, -1, -1, -1], [2, -1, -1, -1], 4, spare=[3])


@pytest.mark.parametrize(
    ("left", "right", "sizes"),
    [
        ([1, -1, -1], [-1, -1, -1], [3]),
        ([1, -1, -1], [1, -1, -1], [3]),
        ([-2, -1, -1], [-2, -1, -1], [3]),
        ([0, -1, -1], [2, -1, -1], [3]),
        ([1, -1, -1, -1], [2, -1, -1, -1], [4]),
        ([1, -1, -1, -1], [3, -1, -1, -1], [3, 1]),
        # A ring that the root does not reach; every node but the root has one parent.
        ([1, -1, -1, 4, 3, -1, -1], [2, -1, -1, 5, 6, -1, -1], [7]),
    ],
)
def test_what_is_no_tree_is_refused(left: list[int], right: list[int], sizes: list[int]) -> None:
    with pytest.raises(InputError, match="not in the a format: a node of a tree has"):
        check(left, right, *sizes)


@pytest.mark.parametrize("spare", [[0], [1], [3, 2]])
def test_a_tree_uses_no_node_that_was_taken_away(spare: list[int]) -> None:
    with pytest.raises(InputError, match="not in the a format"):
        check([1, -1, -1, -1], [2, -1, -1, -1], 4, spare=spare)
