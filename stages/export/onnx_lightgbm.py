"""Models of LightGBM as ONNX nodes."""

from typing import Any

import numpy as np
from unlearn.stages.export.onnx_graph import Array, Graph
from unlearn.stages.export.onnx_trees import Trees, leaves

#: What turns the sum of the leaves into an answer, by objective.
_EXPONENTIAL = ("poisson", "gamma", "tweedie")
_IDENTITY = ("regression", "regression_l1", "huber", "fair", "quantile", "mape")

#: LightGBM reads numbers up to this as 0 (`kZeroThreshold`, in float32).
_ZERO = float(np.float32(1e-35))

#: What its JSON says of infinity.
_INFINITE = 1e300


def lightgbm_answers(graph: Graph, booster: Any, inputs: str) -> str | None:
    """Add a model; return what LightGBM predicts, shape (rows, outputs); None if it cannot be.

    Parameters
    ----------
    graph
        Where nodes are added.
    booster
        The model.
    inputs
        As `lightgbm` reads them, in float64, shape (rows, width).
    """
    model: dict[str, Any] = booster.dump_model()
    objective, outputs = model["objective"].split(" "), int(model["num_tree_per_iteration"])
    name = objective[0]
    known = ("binary", "multiclass", *_EXPONENTIAL, *_IDENTITY)
    if name not in known or "sqrt" in objective or model["average_output"]:
        return None
    found = _trees(model["tree_info"], outputs)
    if found is None:
        return None
    trees, values = found
    is_zero = graph.op("LessOrEqual", graph.op("Abs", inputs), graph.constant(_ZERO, np.float64))
    inputs = graph.op("Where", is_zero, graph.constant(0.0, np.float64), inputs)
    at = leaves(graph, trees, inputs)
    scores = graph.sum(graph.take(graph.constant(values, np.float64), at), 1)
    if name in _EXPONENTIAL:
        return graph.op("Exp", scores)
    if name == "binary":
        # `sigmoid` is 1 in all files; a single number is the share of the second class.
        return graph.op("Sigmoid", scores)
    return graph.op("Softmax", scores, axis=1) if name == "multiclass" else scores


def _trees(infos: list[dict[str, Any]], outputs: int) -> tuple[Trees, Array] | None:
    """Return the trees, and the value of each node for each output, which is 0 but for leaves."""
    nodes: list[dict[str, Any]] = []
    children: list[tuple[int, int]] = []
    roots, owner = [], []

    def add(node: dict[str, Any], output: int) -> int:
        here = len(nodes)
        nodes.append(node)
        children.append((here, here))
        owner.append(output)
        if "split_index" in node:
            sides = (add(node["left_child"], output), add(node["right_child"], output))
            children[here] = sides
        return here

    for place, info in enumerate(infos):
        roots.append(add(info["tree_structure"], place % outputs))
    splits = [node if "split_index" in node else None for node in nodes]
    if any("leaf_coeff" in node for node in nodes):
        return None  # trees whose leaves are linear models
    if any(split is not None and split["missing_type"] == "Zero" for split in splits):
        return None
    values = np.zeros((len(nodes), outputs))
    values[np.arange(len(nodes)), owner] = [
        0.0 if split is not None else node["leaf_value"]
        for node, split in zip(nodes, splits, strict=True)
    ]
    is_set = [split is not None and split["decision_type"] == "==" for split in splits]
    thresholds = [
        0.0 if split is None or by_set else _threshold(split)
        for split, by_set in zip(splits, is_set, strict=True)
    ]
    trees = Trees(
        np.array([-1 if split is None else split["split_feature"] for split in splits]),
        np.array(thresholds),
        np.array(
            [
                split is not None and _missing_right(split, threshold, by_set=by_set)
                for split, threshold, by_set in zip(splits, thresholds, is_set, strict=True)
            ]
        ),
        np.array(children).reshape(-1),
        np.array(roots),
        _sets(splits, is_set),
    )
    return trees, values


def _threshold(split: dict[str, Any]) -> float:
    found = float(split["threshold"])
    return np.inf if found >= _INFINITE else found


def _missing_right(split: dict[str, Any], threshold: float, *, by_set: bool) -> bool:
    """Return where a missing value goes: it is in no set, and 0 where none was missing before."""
    if by_set:
        return True
    if split["missing_type"] == "NaN":
        return not split["default_left"]
    return threshold < 0


def _sets(splits: list[dict[str, Any] | None], is_set: list[bool]) -> Array | None:
    """Return which categories go right at each node, shape (nodes, categories + 1)."""
    left = {
        at: [int(text) for text in split["threshold"].split("||")]
        for at, split in enumerate(splits)
        if split is not None and is_set[at]
    }
    if not left:
        return None
    found = np.zeros((len(splits), max(max(codes) for codes in left.values()) + 2), bool)
    for at, codes in left.items():
        found[at] = True
        found[at, codes] = False
    return found
