"""LightGBM's text models, read completely before the library sees them.

The format is that of `Booster.save_model`, without the library's settings, importances and the
ranges of the features, which no answer needs, and with a line `classes`, which it skips. Read are
boosted trees with constant leaves.
"""

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from unlearn.stages.estimators.boosted.values import IntArray, Reader
from unlearn.stages.estimators.tensors import NamedTensor

#: The lines before the trees, in order, after `tree`.
_HEAD = (
    "version",
    "num_class",
    "num_tree_per_iteration",
    "label_index",
    "max_feature_idx",
    "objective",
    "classes",
    "feature_names",
    "feature_infos",
)

_OF_SPLITS = ("split_feature", "decision_type", "left_child", "right_child", "internal_count")
_FLOATS_OF_SPLITS = ("split_gain", "threshold", "internal_value", "internal_weight")
_FLOATS_OF_LEAVES = ("leaf_value", "leaf_weight")
_OF_SETS = ("cat_boundaries", "cat_threshold")

#: The lines of a tree in order; those of sets only where it has some.
_TREE = (
    "num_leaves",
    "num_cat",
    "split_feature",
    "split_gain",
    "threshold",
    "decision_type",
    "left_child",
    "right_child",
    "leaf_value",
    "leaf_weight",
    "leaf_count",
    "internal_value",
    "internal_weight",
    "internal_count",
    *_OF_SETS,
    "is_linear",
    "shrinkage",
)

#: Objectives of models that predict numbers.
NUMBERS = (
    "regression",
    "regression_l1",
    "huber",
    "fair",
    "poisson",
    "quantile",
    "mape",
    "gamma",
    "tweedie",
)

_END = "end of trees"
_VERSION = re.compile(r"v[0-9]{1,6}")
_NUMBERS = re.compile(r"[0-9eE+\-. ]*")
_INTS = re.compile(r"[0-9\- ]*")
#: Digits of the longest number that is written.
_DIGITS = 40

#: Of a decision: by a set of categories, to the left where a value is missing, and what counts as
#: missing: nothing, 0 or NaN.
_BY_SET, _MOST_DECISIONS = 1, 0b1011

_read = Reader("LightGBM")


@dataclass(frozen=True)
class LightGBMFile:
    """What a file says.

    Parameters
    ----------
    head
        The lines before the trees, by name.
    classes
        The pinned classes that the model knows, as their indices, in order; none if it predicts
        numbers.
    trees
        The lines of each tree, by name.
    arrays
        The lists of all trees, by name, one tree after the other.
    """

    head: dict[str, str]
    classes: tuple[int, ...]
    trees: list[dict[str, str]]
    arrays: dict[str, npt.NDArray[Any]]

    @property
    def inputs(self) -> int:
        """Number of input columns."""
        return int(self.head["max_feature_idx"]) + 1

    def dump(self) -> bytes:
        """Return the file, in the one way that its content is written."""
        blocks = [["tree", *_lines(self.head)]]
        blocks += [[f"Tree={number}", *_lines(tree)] for number, tree in enumerate(self.trees)]
        return "\n".join("\n".join([*block, ""]) for block in [*blocks, [_END]]).encode("ascii")

    def tensors(self) -> list[NamedTensor]:
        """Return all of it but the version of the library that wrote it."""
        rest = "\n".join(_lines({**self.head, "version": ""})).encode()
        return [
            NamedTensor("head", "text", (len(rest),), rest),
            *(
                NamedTensor(name, values.dtype.str, values.shape, values.tobytes())
                for name, values in self.arrays.items()
            ),
        ]


def _lines(values: dict[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in values.items()]


def of_library(text: str, classes: list[int]) -> bytes:
    """Return the file of a model that the library wrote as text, with the classes it knows."""
    head, *blocks = text.partition(f"\n{_END}\n")[0].split("\n\n")
    given = dict(line.split("=", 1) for line in head.splitlines()[1:])
    features = given["feature_names"].split()
    given["classes"] = " ".join(map(str, classes))
    given["feature_infos"] = " ".join("none" for _ in features)
    lines = ["tree", *_lines({name: given[name] for name in _HEAD})]
    trees = [block.strip("\n") for block in blocks if block.strip("\n")]
    return "\n".join(f"{block}\n" for block in ["\n".join(lines), *trees, _END]).encode("ascii")


#: A file is read when it was made, and again for its digest.
@lru_cache(maxsize=1)
def read_file(content: bytes) -> LightGBMFile:
    """Return what a file says.

    Raises
    ------
    InputError
        If anything in it is not as this module writes it.
    """
    _read.check_size(content)
    if not content.isascii():
        _read.refuse("it has characters that are not ASCII")
    first, *blocks = content.decode("ascii").split("\n\n")
    if not blocks or blocks[-1] != f"{_END}\n":
        _read.refuse("it has no end")
    head_lines = first.split("\n")
    if head_lines[0] != "tree":
        _read.refuse("it is no model of trees")
    head = _fields(head_lines[1:], _HEAD)
    classes = _check_head(head)
    trees = []
    for number, block in enumerate(blocks[:-1]):
        lines = block.split("\n")
        if lines[0] != f"Tree={number}":
            _read.refuse("the trees are not in order")
        without_sets = "num_cat=0" in lines
        names = [name for name in _TREE if not (without_sets and name in _OF_SETS)]
        trees.append(_fields(lines[1:], names))
    if len(trees) % _whole(head["num_class"], "num_class"):
        _read.refuse("it does not have as many trees for each class")
    inputs = _whole(head["max_feature_idx"], "max_feature_idx") + 1
    return LightGBMFile(head, classes, trees, _read_trees(trees, inputs) if trees else {})


def read_tensors(content: bytes) -> list[NamedTensor]:
    """Return the model in a file without the version of the library that wrote it."""
    return read_file(content).tensors()


def _fields(lines: list[str], names: "tuple[str, ...] | list[str]") -> dict[str, str]:
    if len(lines) != len(names):
        _read.refuse("it has other lines")
    found = {}
    for line, name in zip(lines, names, strict=True):
        if not line.startswith(f"{name}="):
            _read.refuse(f"it has another line in place of {name}")
        found[name] = line[len(name) + 1 :]
    return found


def _whole(text: str, where: str, *, least: int = 0) -> int:
    return _read.decimal(text, where, least=least)


def _check_head(head: dict[str, str]) -> tuple[int, ...]:
    """Check the lines before the trees; return the classes."""
    if _VERSION.fullmatch(head["version"]) is None:
        _read.refuse("version is unknown")
    groups = _whole(head["num_class"], "num_class", least=1)
    if head["num_tree_per_iteration"] != head["num_class"] or head["label_index"] != "0":
        _read.refuse("it has other trees than one for each class")
    classes = _ints([head["classes"]], "classes", [-1])
    if (classes < 0).any() or (np.diff(classes) <= 0).any():
        _read.refuse("classes are not in order")
    objective, count = f"multiclass num_class:{groups}", groups
    if groups == 1:
        is_number = head["objective"] in NUMBERS
        objective, count = (head["objective"], 0) if is_number else ("binary sigmoid:1", 2)
    if head["objective"] != objective or len(classes) != count:
        _read.refuse("the objective is unknown, or is not one for so many classes")
    names = head["feature_names"].split(" ")
    if names != [f"Column_{number}" for number in range(len(names))]:
        _read.refuse("it names features")
    if head["feature_infos"] != " ".join(["none"] * len(names)):
        _read.refuse("it has ranges of features")
    if _whole(head["max_feature_idx"], "max_feature_idx") != len(names) - 1:
        _read.refuse("max_feature_idx is not that of the features")
    return tuple(classes.tolist())


def _tokens(lines: list[str], where: str, sizes: "IntArray | list[int]") -> list[str]:
    """Return the tokens of all lines, each of which has so many; -1 for any number."""
    found: list[str] = []
    for line, size in zip(lines, sizes, strict=True):
        tokens = line.split(" ") if line else []
        if size not in (-1, len(tokens)):
            _read.refuse(f"{where} has not one value for each part of a tree")
        found += tokens
    if any(not 0 < len(token) <= _DIGITS for token in found):
        _read.refuse(f"{where} has other values than numbers")
    return found


def _ints(lines: list[str], where: str, sizes: "IntArray | list[int]") -> IntArray:
    tokens = _tokens(lines, where, sizes)
    if _INTS.fullmatch(" ".join(tokens)) is None:
        _read.refuse(f"{where} has other values than whole numbers")
    try:
        # Sets of categories are bits of unsigned numbers.
        return np.array(list(map(int, tokens)), dtype=np.int64)
    except (ValueError, OverflowError):
        _read.refuse(f"{where} has other values than whole numbers")


def _floats(lines: list[str], where: str, sizes: "IntArray | list[int]") -> npt.NDArray[np.float64]:
    tokens = _tokens(lines, where, sizes)
    if where == "threshold":
        # A split between missing values and all others has no end.
        tokens = ["1e999" if text == "inf" else text for text in tokens]
    if _NUMBERS.fullmatch(" ".join(tokens)) is None:
        _read.refuse(f"{where} has other values than numbers")
    try:
        found = np.array(list(map(float, tokens)), dtype=np.float64)
    except ValueError:
        _read.refuse(f"{where} has other values than numbers")
    is_bounded = np.isfinite(found) | ((found == math.inf) & (where == "threshold"))
    if not is_bounded.all():
        _read.refuse(f"{where} has numbers that are not finite")
    return found


def _read_trees(trees: list[dict[str, str]], inputs: int) -> dict[str, npt.NDArray[Any]]:
    """Return the lists of all trees, if they are trees with splits on features that there are."""
    lines = {name: [tree.get(name, "") for tree in trees] for name in _TREE}
    one = [1] * len(trees)
    leaves = _ints(lines["num_leaves"], "num_leaves", one)
    sets = _ints(lines["num_cat"], "num_cat", one)
    if (leaves < 1).any() or (sets < 0).any():
        _read.refuse("a tree has no leaves")
    if lines["is_linear"] != ["0"] * len(trees):
        _read.refuse("the leaves of a tree are not constant")
    splits = leaves - 1
    found: dict[str, npt.NDArray[Any]] = {"num_leaves": leaves, "num_cat": sets}
    found |= {name: _ints(lines[name], name, splits) for name in _OF_SPLITS}
    found |= {name: _floats(lines[name], name, splits) for name in _FLOATS_OF_SPLITS}
    found["leaf_value"] = _floats(lines["leaf_value"], "leaf_value", leaves)
    for name, numbers in (("leaf_weight", _floats), ("leaf_count", _ints)):
        # A tree of one leaf may leave out what it would say of it.
        of_leaves = [
            0 if count == 1 and not line else int(count)
            for count, line in zip(leaves, lines[name], strict=True)
        ]
        found[name] = numbers(lines[name], name, of_leaves)
    found["shrinkage"] = _floats(lines["shrinkage"], "shrinkage", one)
    _check_children(found["left_child"], found["right_child"], leaves)
    if (found["split_feature"] < 0).any() or (found["split_feature"] >= inputs).any():
        _read.refuse("a split of a tree is on no feature")
    decision = found["decision_type"]
    if (decision & ~_MOST_DECISIONS).any():
        _read.refuse("a split of a tree is of an unknown kind")
    return found | _sets(lines, found, splits, sets)


def _check_children(left: IntArray, right: IntArray, leaves: IntArray) -> None:
    """Check that each tree's splits and leaves are one tree whose root is split 0."""
    splits = leaves - 1
    first_split, first_leaf = np.cumsum(splits) - splits, np.cumsum(leaves) - leaves
    tree = np.repeat(np.arange(len(leaves)), splits)
    at = np.arange(len(left)) - first_split[tree]
    total = len(left)
    children = []
    for side in (left, right):
        is_leaf = side < 0
        leaf = -side - 1
        if (side[~is_leaf] <= at[~is_leaf]).any():
            _read.refuse("a split of a tree has a child out of place")
        limit = np.where(is_leaf, leaves[tree], splits[tree])
        if (np.where(is_leaf, leaf, side) >= limit).any():
            _read.refuse("a split of a tree has a child out of place")
        place = np.where(is_leaf, total + first_leaf[tree] + leaf, first_split[tree] + side)
        children.append(place)
    expected = np.ones(total + int(leaves.sum()), dtype=np.int64)
    expected[first_split[splits > 0]] = 0
    expected[total + first_leaf[splits == 0]] = 0
    counted = np.bincount(np.concatenate(children), minlength=len(expected))
    if not np.array_equal(counted, expected):
        _read.refuse("a part of a tree has other than one parent")


def _sets(
    lines: dict[str, list[str]],
    found: dict[str, npt.NDArray[Any]],
    splits: IntArray,
    sets: IntArray,
) -> dict[str, npt.NDArray[Any]]:
    """Return the sets of categories of splits, which are bits of numbers."""
    sizes = np.where(sets > 0, sets + 1, 0)
    ends = _ints(lines["cat_boundaries"], "cat_boundaries", sizes)
    words = [len(line.split(" ")) if line else 0 for line in lines["cat_threshold"]]
    bits = _ints(lines["cat_threshold"], "cat_threshold", words)
    if (bits < 0).any() or (bits >= 2**32).any():
        _read.refuse("cat_threshold has other values than numbers of 32 bits")
    starts = np.cumsum(sizes) - sizes
    for start, size, count in zip(starts.tolist(), sizes.tolist(), words, strict=True):
        own = ends[start : start + size]
        if size and (own[0] != 0 or own[-1] != count or (np.diff(own) < 1).any()):
            _read.refuse("the sets of categories of a tree do not match")
        if not size and count:
            _read.refuse("a tree has categories of no split")
    by_set = (found["decision_type"] & _BY_SET) == 1
    which = found["threshold"][by_set]
    most = np.repeat(sets, splits)[by_set]
    if (which != np.floor(which)).any() or (which < 0).any() or (which >= most).any():
        _read.refuse("a split by categories has no set")
    return {"cat_boundaries": ends, "cat_threshold": bits}
