"""Trees with splits of numbers as ONNX nodes: all of them are walked down at once.

The operators for trees in ONNX compare in float32, or need releases that many servers do not have.
These nodes compare in float64, as the libraries do.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from unlearn.stages.export.onnx_graph import INT64, Array, Graph


@dataclass(frozen=True)
class Trees:
    """Nodes of several trees, one after another.

    Parameters
    ----------
    features
        The feature of each split; -1 in leaves.
    thresholds
        A row goes left if its number is at most this.
    missing_right
        Whether missing numbers go right.
    children
        Left and right child of each node, shape (2 * nodes,); a leaf is its own child.
    roots
        The first node of each tree.
    sets
        Of splits by categories, which go right, shape (nodes, categories + 1); the last column is
        for all others. None where there are no such splits; a row without any is a split of
        numbers.
    """

    features: Array
    thresholds: Array
    missing_right: Array
    children: Array
    roots: Array
    sets: Array | None = None


def depth_of(children: Array, roots: Array) -> int:
    """Return after how many steps every row is in a leaf, which is its own child."""
    at, depth = np.unique(roots), 0
    while True:
        below = np.unique(np.concatenate([children[2 * at], children[2 * at + 1]]))
        if np.isin(below, at).all():
            return depth
        at, depth = below, depth + 1


def leaves(graph: Graph, trees: Trees, inputs: str) -> str:
    """Return the leaf of each row in each tree, as int64, shape (rows, trees).

    Parameters
    ----------
    graph, trees
        Where nodes are added, and the trees.
    inputs
        Numbers in float64, shape (rows, width).
    """
    columns = graph.constant(np.maximum(trees.features, 0), np.int64)
    thresholds = graph.constant(trees.thresholds, np.float64)
    missing_right = graph.constant(trees.missing_right, np.bool_)
    below, two = graph.constant(trees.children, np.int64), graph.constant(2, np.int64)
    at = graph.rows_of(trees.roots, inputs)
    for _ in range(depth_of(trees.children, trees.roots)):
        values = graph.op("GatherElements", inputs, graph.take(columns, at), axis=1)
        missing = graph.op("And", graph.op("IsNaN", values), graph.take(missing_right, at))
        beyond = graph.op("Greater", values, graph.take(thresholds, at))
        if trees.sets is not None:
            beyond = _by_sets(graph, trees.sets, at, values, beyond)
        right = graph.cast(graph.op("Or", beyond, missing), INT64)
        at = graph.take(below, graph.op("Add", graph.op("Mul", at, two), right))
    return at


def _by_sets(graph: Graph, sets: Array, at: str, values: str, beyond: str) -> str:
    """Return which rows go right, where some splits are by categories."""
    width = sets.shape[1]
    zero, last = graph.constant(0.0), graph.constant(float(width - 1))
    missing = graph.op("IsNaN", values)
    # A missing value is in no set: where it goes is known elsewhere.
    codes = graph.op("Clip", graph.op("Where", missing, last, values), zero, last)
    index = graph.op("Mul", at, graph.constant(width, np.int64))
    index = graph.op("Add", index, graph.cast(codes, INT64))
    member = graph.take(graph.constant(sets.reshape(-1), np.bool_), index)
    is_set = graph.take(graph.constant(sets.any(axis=1), np.bool_), at)
    # There is no choice between booleans; the row of a split of numbers has no member.
    return graph.op("Or", member, graph.op("And", graph.op("Not", is_set), beyond))


def of_histograms(model: Any) -> tuple[Trees, Array] | None:
    """Return the trees of a model of scikit-learn's histogram boosting, and the values of nodes.

    Values have the shape (nodes, outputs), and are 0 for all outputs but the tree's own. Of trees
    with splits by categories, which no column here has, None is returned.
    """
    parts, values, roots, first = [], [], [], 0
    outputs = model.n_trees_per_iteration_
    for stage in model._predictors:  # noqa: SLF001 - nothing public has its trees
        for output, tree in enumerate(stage):
            nodes = tree.nodes
            own = np.zeros((len(nodes), outputs))
            own[:, output] = nodes["value"]
            parts.append((nodes, first))
            values.append(own)
            roots.append(first)
            first += len(nodes)
    if any(nodes["is_categorical"].any() for nodes, _ in parts):
        return None
    children, features = [], []
    for nodes, start in parts:
        is_leaf = nodes["is_leaf"].astype(bool)
        here = np.arange(len(nodes))
        pair = np.stack([nodes["left"].astype(np.int64), nodes["right"].astype(np.int64)], axis=1)
        children.append((np.where(is_leaf[:, None], here[:, None], pair) + start).reshape(-1))
        features.append(np.where(is_leaf, -1, nodes["feature_idx"]))
    thresholds = np.concatenate([nodes["num_threshold"] for nodes, _ in parts])
    missing_right = np.concatenate([nodes["missing_go_to_left"] == 0 for nodes, _ in parts])
    trees = Trees(
        np.concatenate(features),
        thresholds,
        missing_right,
        np.concatenate(children),
        np.array(roots),
    )
    return trees, np.concatenate(values)


def histogram_scores(graph: Graph, model: Any, inputs: str) -> str | None:
    """Return the raw scores of histogram boosting, shape (rows, outputs); None if it cannot be."""
    found = of_histograms(model)
    if found is None:
        return None
    trees, values = found
    start = np.asarray(model._baseline_prediction)  # noqa: SLF001 - nothing public has it
    baseline = graph.constant(start.reshape(1, -1), np.float64)
    at = leaves(graph, trees, inputs)
    scores = graph.sum(graph.take(graph.constant(values, np.float64), at), 1)
    return graph.op("Add", scores, baseline)
