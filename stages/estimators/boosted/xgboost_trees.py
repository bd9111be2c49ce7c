"""The trees of XGBoost's JSON models, all of a model at once."""

from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
from unlearn.stages.estimators.boosted.values import IntArray, Reader, check_children

#: What stands for the parent of the root, and for the feature of a node that was taken away again,
#: which the tree method `exact` leaves behind.
_NONE = 2**31 - 1

#: Bytes that the sets of categories of all splits may take. In a file a set takes as much room as
#: it has categories; in memory it takes a bit for each category up to its largest.
_SET_BYTES = 64 << 20

_FLOATS = ("base_weights", "loss_changes", "split_conditions", "sum_hessian")
_INTS = (
    "default_left",
    "left_children",
    "parents",
    "right_children",
    "split_indices",
    "split_type",
)
_OF_SETS = ("categories_nodes", "categories_segments", "categories_sizes")
_FIELDS = (*_FLOATS, *_INTS, *_OF_SETS, "categories", "id", "tree_param")

_read = Reader("XGBoost")


def read_trees(trees: list[Any], types: list[str]) -> dict[str, npt.NDArray[Any]]:
    """Return the lists of all trees, by name, if they are trees with splits on known features.

    Parameters
    ----------
    trees
        As in the file; at least one.
    types
        By feature, `q` for a number and `c` for a category.

    Raises
    ------
    InputError
        If one of them is not as XGBoost writes it.
    """
    for tree in trees:
        _read.fields(tree, _FIELDS, "a tree")
    sizes = _sizes(trees, "left_children")
    values = {name: _joined(trees, name, sizes, floats=True) for name in _FLOATS}
    found = {name: _joined(trees, name, sizes) for name in _INTS}
    numbers = _read.ints([tree["id"] for tree in trees], "id")
    if not np.array_equal(numbers, np.arange(len(trees))):
        _read.refuse("the trees are not in order")
    starts = np.cumsum(sizes) - sizes
    deleted = found["split_indices"] == _NONE
    _check_params(trees, len(types), sizes, np.add.reduceat(deleted, starts, dtype=np.int64))
    inner = _check_nodes(found, sizes, starts, deleted)
    split, kind = found["split_indices"], found["split_type"]
    flags = np.concatenate([found["default_left"], kind])
    if ((flags != 0) & (flags != 1)).any():
        _read.refuse("a split of a tree is of an unknown kind")
    if (split < 0).any() or (split[~deleted] >= max(1, len(types))).any():
        _read.refuse("a split of a tree is on no feature")
    by_set = inner & (kind == 1)
    is_category = np.array([name == "c" for name in types])
    if by_set.any() and not is_category[split[by_set]].all():
        _read.refuse("a split by categories is on a number")
    return {"nodes": sizes} | values | found | _sets(trees, by_set, sizes, starts)


def _sizes(trees: list[Any], name: str) -> IntArray:
    """Return how many values each tree has in a list; none is an error of `left_children`."""
    sizes = np.array([len(_read.list(tree[name], name)) for tree in trees], dtype=np.int64)
    if name == "left_children" and not sizes.all():
        _read.refuse("a tree has no nodes")
    return sizes


def _joined(
    trees: list[Any], name: str, sizes: IntArray | None, *, floats: bool = False
) -> npt.NDArray[Any]:
    """Return the values of all trees in a list, one tree after the other."""
    if sizes is not None and not np.array_equal(_sizes(trees, name), sizes):
        _read.refuse("the nodes of a tree do not match")
    values = list(chain.from_iterable(tree[name] for tree in trees))
    return _read.floats(values, name) if floats else _read.ints(values, name)


def _check_params(trees: list[Any], inputs: int, sizes: IntArray, deleted: IntArray) -> None:
    expected = {"num_feature": inputs, "size_leaf_vector": 1}
    for tree, nodes, gone in zip(trees, sizes.tolist(), deleted.tolist(), strict=True):
        known = {**expected, "num_nodes": nodes, "num_deleted": gone}
        param = _read.fields(tree["tree_param"], known, "tree_param")
        for name, number in known.items():
            _read.decimal(param[name], name, least=number, most=number)


def _check_nodes(
    found: dict[str, IntArray],
    sizes: IntArray,
    starts: IntArray,
    deleted: npt.NDArray[np.bool_],
) -> npt.NDArray[np.bool_]:
    """Check children and parents; return which nodes have children."""
    left, right, parents = found["left_children"], found["right_children"], found["parents"]
    shift = np.repeat(starts, sizes)
    inner = check_children(_read, left, right, sizes, spare=deleted)
    at = np.flatnonzero(inner)
    within = at - shift[at]
    if (parents[starts] != _NONE).any() or any(
        (parents[(side + shift)[at]] != within).any() for side in (left, right)
    ):
        _read.refuse("the parents of a tree do not match")
    return inner


def _sets(
    trees: list[Any], by_set: npt.NDArray[np.bool_], sizes: IntArray, starts: IntArray
) -> dict[str, npt.NDArray[Any]]:
    """Return the sets of categories of splits."""
    at = np.flatnonzero(by_set)
    counts = np.add.reduceat(by_set, starts, dtype=np.int64)
    if any(not np.array_equal(_sizes(trees, name), counts) for name in _OF_SETS):
        _read.refuse("the sets of categories of a tree do not match")
    nodes, segments, lengths = (_joined(trees, name, None) for name in _OF_SETS)
    totals = _sizes(trees, "categories")
    values = _joined(trees, "categories", None)
    if not np.array_equal(nodes, at - np.repeat(starts, sizes)[at]) or (lengths < 1).any():
        _read.refuse("the sets of categories of a tree do not match")
    # Places count from the first category of the tree.
    firsts = np.cumsum(lengths) - lengths
    before = np.repeat(np.cumsum(totals) - totals, counts)
    owner = np.repeat(np.arange(len(trees)), counts)
    sums = np.bincount(owner, weights=lengths, minlength=len(trees))
    if not np.array_equal(segments, firsts - before) or not np.array_equal(sums, totals):
        _read.refuse("the sets of categories of a tree do not match")
    if (values < 0).any():
        _read.refuse("a category is negative")
    if len(values) and (np.maximum.reduceat(values, firsts) // 8 + 1).sum() > _SET_BYTES:
        _read.refuse("its splits have too many categories")
    return {"categories": values, "categories_sizes": lengths}
