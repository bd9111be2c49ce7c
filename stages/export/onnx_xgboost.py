"""Models of XGBoost as ONNX nodes."""

import json
from typing import Any

import numpy as np
from unlearn.stages.export.onnx_graph import DOUBLE, FLOAT, Array, Graph
from unlearn.stages.export.onnx_trees import Trees, leaves

#: What turns the sum of the leaves into an answer, by objective; and its inverse, of base_score.
_EXPONENTIAL = ("count:poisson", "reg:gamma", "reg:tweedie")
_LOGISTIC = ("binary:logistic", "reg:logistic")
_IDENTITY = (
    "reg:squarederror",
    "reg:absoluteerror",
    "reg:pseudohubererror",
    "reg:quantileerror",
    "multi:softprob",
)


def xgboost_answers(graph: Graph, booster: Any, inputs: str) -> str | None:
    """Add a model; return what XGBoost predicts, shape (rows, outputs); None if it cannot be.

    Parameters
    ----------
    graph
        Where nodes are added.
    booster
        The model.
    inputs
        As `xgboost` reads them, in float64, shape (rows, width).
    """
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    objective, model = learner["objective"]["name"], learner["gradient_booster"]
    if model["name"] != "gbtree" or objective not in (*_EXPONENTIAL, *_LOGISTIC, *_IDENTITY):
        return None
    outputs = max(1, int(learner["learner_model_param"]["num_class"]))
    trees, values = _trees(model["model"], outputs)
    text = learner["learner_model_param"]["base_score"].strip("[]")
    base = np.array([float(each) for each in text.split(",")])
    if objective in _LOGISTIC:
        base = np.log(base / (1 - base))
    elif objective in _EXPONENTIAL:
        base = np.log(base)
    # Numbers are compared in float32.
    rounded = graph.cast(graph.cast(inputs, FLOAT), DOUBLE)
    at = leaves(graph, trees, rounded)
    found = graph.sum(graph.take(graph.constant(values, np.float64), at), 1)
    found = graph.op("Add", found, graph.constant(np.resize(base, outputs)[None], np.float64))
    if objective in _EXPONENTIAL:
        return graph.op("Exp", found)
    if objective in _LOGISTIC:
        return graph.op("Sigmoid", found)
    return graph.op("Softmax", found, axis=1) if objective == "multi:softprob" else found


def _trees(model: dict[str, Any], outputs: int) -> tuple[Trees, Array]:
    """Return the trees, and the value of each node for each output, which is 0 but for leaves."""
    of_trees = model["trees"]
    sizes = [len(tree["left_children"]) for tree in of_trees]
    roots = np.cumsum([0, *sizes[:-1]])

    def joined(name: str) -> Array:
        return np.concatenate([np.asarray(tree[name]) for tree in of_trees])

    first = np.repeat(roots, sizes)
    left, right = joined("left_children"), joined("right_children")
    is_leaf, here = left < 0, np.arange(len(left))
    pair = [np.where(is_leaf, here, side + first) for side in (left, right)]
    conditions = joined("split_conditions").astype(np.float32)
    values = np.zeros((len(left), outputs))
    owner = np.repeat(np.asarray(model["tree_info"]), sizes)
    values[here, owner] = np.where(is_leaf, conditions, 0)
    # A row goes left below the threshold: up to the number before it.
    before = np.nextafter(conditions, np.float32(-np.inf)).astype(np.float64)
    sets = _sets(of_trees, roots, len(left))
    trees = Trees(
        np.where(is_leaf, -1, joined("split_indices")),
        np.where(is_leaf, 0.0, before),
        joined("default_left") == 0,
        np.stack(pair, axis=1).reshape(-1),
        roots,
        sets,
    )
    return trees, values


def _sets(of_trees: list[dict[str, Any]], roots: Array, nodes: int) -> Array | None:
    """Return which categories go right at each node, shape (nodes, categories + 1)."""
    everything = [value for tree in of_trees for value in tree["categories"]]
    if not everything:
        return None
    found = np.zeros((nodes, max(everything) + 2), bool)
    found[:, -1] = False
    for tree, root in zip(of_trees, roots, strict=True):
        parts = (tree["categories_nodes"], tree["categories_segments"], tree["categories_sizes"])
        for node, start, size in zip(*parts, strict=True):
            found[root + node, tree["categories"][start : start + size]] = True
    return found
