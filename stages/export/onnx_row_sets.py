"""Exact models as ONNX nodes: forests, boosting, linear models and naive Bayes.

Codes are whole numbers, so what is decided by them is decided as in NumPy.
"""

import numpy as np
from unlearn.stages.estimators.row_sets.base import Shape
from unlearn.stages.estimators.row_sets.boosting_draws import narrow
from unlearn.stages.estimators.row_sets.boosting_model import BoostingModel
from unlearn.stages.estimators.row_sets.boosting_sums import probability_table
from unlearn.stages.estimators.row_sets.code_columns import BINS
from unlearn.stages.estimators.row_sets.forest_model import ForestModel
from unlearn.stages.estimators.row_sets.forest_nodes import RING
from unlearn.stages.estimators.row_sets.fourier import SCALE, table_of_cosines
from unlearn.stages.estimators.row_sets.linear import LinearModel
from unlearn.stages.estimators.row_sets.naive_bayes import NaiveBayesModel
from unlearn.stages.estimators.row_sets.target_grid import STEPS, TargetGrid
from unlearn.stages.export.onnx_graph import DOUBLE, INT64, Array, Graph
from unlearn.stages.export.onnx_trees import depth_of

_TWO = 2
_RING = int(RING) + 1
_NARROW = 256

ExactModel = ForestModel | BoostingModel | LinearModel | NaiveBayesModel


def exact_model(graph: Graph, model: ExactModel, codes: str) -> str:
    """Add a model; return its probabilities, (rows, classes), or its numbers, (rows, 1).

    Parameters
    ----------
    graph
        Where nodes are added.
    model
        The model.
    codes
        Codes of rows, as int64, shape (rows, features).
    """
    if isinstance(model, ForestModel):
        return _forest(graph, model, codes)
    if isinstance(model, BoostingModel):
        return _boosting(graph, model, codes)
    if isinstance(model, LinearModel):
        return _linear(graph, model, codes)
    return _naive_bayes(graph, model, codes)


def _decoded(graph: Graph, steps: str, target: TargetGrid) -> str:
    found = graph.op("Mul", steps, graph.constant(target.scale / STEPS, np.float64))
    return graph.op("Add", found, graph.constant(target.centre, np.float64))


def _forest(graph: Graph, model: ForestModel, codes: str) -> str:
    """Walk down all trees at once: a leaf is its own child."""
    nodes, ends = model.nodes, model.ends
    is_split = nodes.features >= 0
    split = np.flatnonzero(is_split)
    children = np.repeat(np.arange(len(nodes)), 2)
    children[2 * split] = split + 1
    children[2 * split + 1] = split + 1 + nodes.sizes[split + 1]

    def table(values: Array) -> str:
        return graph.constant(np.where(is_split, values, 0), np.int64)

    columns, factors = table(nodes.features), table(nodes.factors)
    offsets, cuts = table(nodes.offsets), table(nodes.cuts)
    below = graph.constant(children, np.int64)
    roots = np.append(0, ends[:-1])
    at = graph.rows_of(roots, codes)
    two, ring = graph.constant(2, np.int64), graph.constant(_RING, np.int64)
    for _ in range(depth_of(children, roots)):
        values = graph.op("GatherElements", codes, graph.take(columns, at), axis=1)
        values = graph.op("Mul", values, graph.take(factors, at))
        values = graph.op("Mod", graph.op("Add", values, graph.take(offsets, at)), ring)
        beyond = graph.cast(graph.op("Greater", values, graph.take(cuts, at)), INT64)
        at = graph.take(below, graph.op("Add", graph.op("Mul", at, two), beyond))
    counts = nodes.counts.astype(np.int64)
    sizes = counts.sum(axis=1, keepdims=True)
    trees = graph.constant(float(len(ends)), np.float64)
    if model.shape.target is not None:
        means = counts[:, 1] / np.maximum(sizes[:, 0], 1)
        found = graph.sum(graph.take(graph.constant(means, np.float64), at), 1, keep=True)
        return _decoded(graph, graph.op("Div", found, trees), model.shape.target)
    shares = np.where(sizes > 0, counts / np.maximum(sizes, 1), 1 / model.shape.classes)
    found = graph.sum(graph.take(graph.constant(shares, np.float64), at), 1)
    return graph.op("Div", found, trees)


def _boosting(graph: Graph, model: BoostingModel, codes: str) -> str:
    shape = model.shape
    if shape.target is None and shape.classes < _TWO:
        return graph.repeated(np.ones(shape.classes), codes)
    scores = _scores(graph, model, codes)
    if shape.target is not None:
        steps = graph.op("Mul", graph.cast(scores, DOUBLE), graph.constant(STEPS / model.steps))
        return _decoded(graph, steps, shape.target)
    table = probability_table(model.steps)
    reach = len(table) // 2
    ends = (graph.constant(end, np.int64) for end in (-reach, reach))
    index = graph.op("Add", graph.op("Clip", scores, *ends), graph.constant(reach, np.int64))
    found = graph.take(graph.constant(table, np.float64), index)
    if shape.classes == _TWO:
        return graph.op("Concat", graph.op("Sub", graph.constant(1.0), found), found, axis=1)
    return graph.op("Div", found, graph.sum(found, 1, keep=True))


def _scores(graph: Graph, model: BoostingModel, codes: str) -> str:
    """Return log-odds or numbers in steps, as int64, shape (rows, models)."""
    shape = model.shape
    categorical = np.array(shape.categorical, bool)
    width = max(shape.sizes)
    firsts = graph.constant(np.arange(shape.features)[None] * width, np.int64)
    place = graph.op("Add", codes, firsts)
    every = np.minimum(np.arange(width), np.array(shape.sizes)[:, None] - 1).astype(np.uint16)
    found = [
        graph.constant(model.starts[None, at : at + 1], np.int64) for at in range(len(model.splits))
    ]
    for number, cuts in enumerate(model.cuts):
        table = narrow(every, cuts, categorical).reshape(-1)
        own = graph.cast(graph.take(graph.constant(table, np.uint8), place), INT64)
        trees = np.flatnonzero(model.cuts_of_trees == number)
        for at, splits in enumerate(model.splits):
            depth = splits.features.shape[1]
            flat = [
                np.asarray(values)[trees].reshape(-1).astype(np.int64)
                for values in (splits.features, splits.factors, splits.shifts, splits.widths)
            ]
            columns, factors, shifts, widths = (graph.constant(each, np.int64) for each in flat)
            values = graph.op("Mul", graph.take(own, columns, axis=1), factors)
            values = graph.op("Sub", values, shifts)
            values = graph.op("Mod", values, graph.constant(_NARROW, np.int64))
            right = graph.cast(graph.op("Greater", values, widths), INT64)
            right = graph.reshape(right, -1, len(trees), depth)
            powers = graph.constant(2 ** np.arange(depth)[::-1], np.int64)
            leaves = graph.sum(graph.op("Mul", right, powers), 2)
            of_trees = model.leaf_values[at, trees].astype(np.int64)
            starts = graph.constant(np.arange(len(trees)) * of_trees.shape[1], np.int64)
            index = graph.op("Add", leaves, starts)
            added = graph.take(graph.constant(of_trees.reshape(-1), np.int64), index)
            found[at] = graph.op("Add", found[at], graph.sum(added, 1, keep=True))
    return found[0] if len(found) == 1 else graph.op("Concat", *found, axis=1)


def _linear(graph: Graph, model: LinearModel, codes: str) -> str:
    shape = model.shape
    if shape.target is None and not model.counts.any():
        return graph.repeated(np.full(shape.classes, 1.0 / shape.classes), codes)
    inputs = _linear_inputs(graph, shape, codes)
    blocks = [graph.repeated([1.0], codes), inputs]
    if len(model.phases):
        blocks.append(_cosines(graph, model, inputs))
    scale = np.append(1.0, np.full(len(model.weights) - 1, 1.0 / SCALE))[:, None]
    weights = graph.constant(model.weights * scale, np.float64)
    scores = graph.op("MatMul", graph.op("Concat", *blocks, axis=1), weights)
    if shape.target is not None:
        return _decoded(graph, scores, shape.target)
    if model.weights.shape[1] == 1 and shape.classes == _TWO:
        scores = graph.op("Concat", graph.op("Neg", scores), scores, axis=1)
    if model.is_ridge:
        first = graph.op("ArgMax", scores, axis=1, keepdims=1)
        every = graph.constant(np.arange(shape.classes)[None], np.int64)
        return graph.cast(graph.op("Equal", first, every), DOUBLE)
    with np.errstate(divide="ignore"):
        priors = np.log(model.counts / model.counts.sum())
    return graph.op(
        "Softmax", graph.op("Add", scores, graph.constant(priors[None], np.float64)), axis=1
    )


def _linear_inputs(graph: Graph, shape: Shape, codes: str) -> str:
    found = []
    for feature, size in enumerate(shape.sizes):
        own = graph.take(codes, graph.constant([feature], np.int64), axis=1)
        if shape.categorical[feature]:
            every = graph.constant(np.arange(size)[None], np.int64)
            hot = graph.cast(graph.op("Equal", own, every), DOUBLE)
            found.append(graph.op("Mul", hot, graph.constant(float(SCALE))))
        else:
            found.append(_centred(graph, own))
    return found[0] if len(found) == 1 else graph.op("Concat", *found, axis=1)


def _centred(graph: Graph, codes: str) -> str:
    """Return numbers between the ends of their grids, times 4,096; 0 where they are missing."""
    value = graph.op("Mul", graph.cast(codes, DOUBLE), graph.constant(2.0))
    value = graph.op("Sub", value, graph.constant(float(BINS + 1)))
    known = graph.op("Greater", codes, graph.constant(0, np.int64))
    return graph.op("Where", known, value, graph.constant(0.0))


def _cosines(graph: Graph, model: LinearModel, inputs: str) -> str:
    high, low = model.frequencies >> 16, model.frequencies & 0xFFFF

    def turned(part: Array) -> str:
        return graph.cast(graph.op("MatMul", inputs, graph.constant(part, np.float64)), INT64)

    turns = graph.op("Mul", turned(high), graph.constant(1 << 16, np.int64))
    turns = graph.op("Add", turns, turned(low))
    turns = graph.op("Add", turns, graph.constant(model.phases[None], np.int64))
    table, bits = table_of_cosines()
    # The bits above a full turn go, and those below an angle.
    turns = graph.op("Mod", turns, graph.constant(len(table) << bits, np.int64))
    index = graph.op("Div", turns, graph.constant(1 << bits, np.int64))
    return graph.take(graph.constant(table, np.float64), index)


def _naive_bayes(graph: Graph, model: NaiveBayesModel, codes: str) -> str:
    classes = model.sums.classes
    if not classes.any():
        return graph.repeated(np.full(len(classes), 1.0 / len(classes)), codes)
    with np.errstate(divide="ignore"):
        priors = np.log(classes / classes.sum())
    likely = graph.repeated(priors, codes)
    numbers, categories = model.parameters()
    if numbers.features:
        own = graph.take(codes, graph.constant(numbers.features, np.int64), axis=1)
        value = graph.op("Div", _centred(graph, own), graph.constant(float(BINS + 1)))
        value = graph.op("Unsqueeze", value, graph.constant([1], np.int64))
        apart = graph.op("Sub", value, graph.constant(numbers.means[None], np.float64))
        terms = graph.op("Mul", apart, apart)
        terms = graph.op("Div", terms, graph.constant(numbers.variances[None], np.float64))
        terms = graph.op("Add", terms, graph.constant(np.log(numbers.variances)[None], np.float64))
        terms = graph.op("Mul", terms, graph.constant(-0.5))
        known = graph.op("Greater", own, graph.constant(0, np.int64))
        known = graph.op("Unsqueeze", known, graph.constant([1], np.int64))
        says = graph.op("And", known, graph.constant(numbers.has_rows[None], np.bool_))
        likely = graph.op(
            "Add", likely, graph.sum(graph.op("Where", says, terms, graph.constant(0.0)), 2)
        )
    for feature, shares in categories:
        own = graph.take(codes, graph.constant(feature, np.int64), axis=1)
        likely = graph.op("Add", likely, graph.take(graph.constant(shares.T, np.float64), own))
    return graph.op("Softmax", likely, axis=1)
