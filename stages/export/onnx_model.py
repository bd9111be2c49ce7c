"""The final model of a table as one ONNX file, compared with it on made-up rows.

Inputs are one for each feature, named as in the dataset, because that is what a table has: numbers,
dates (seconds since 1970) and booleans as float64, shape (rows, 1), with NaN for a missing value;
texts with the empty text for one; arrays in their shape. Numbers are float64 because thresholds and
bins decide differently once a number was rounded to float32.
"""

from collections.abc import Mapping
from importlib.util import find_spec as find_module

import numpy as np
import numpy.typing as npt
import onnx
import pyarrow as pa
from unlearn.stages.config.dataset import TENSOR_KINDS
from unlearn.stages.errors import InputError
from unlearn.stages.export.made_up_rows import made_up_rows
from unlearn.stages.export.onnx_columns import Columns
from unlearn.stages.export.onnx_graph import DOUBLE, STRING, Graph
from unlearn.stages.export.onnx_members import member
from unlearn.stages.final_model.ensemble import Ensemble
from unlearn.stages.rows.arrays import column_bytes
from unlearn.stages.training.shard_model import RowPredictor

#: How far an answer may be from the model's.
_FARTHEST = 1e-5


def require_onnx() -> None:
    """Raise InputError if the libraries that write and read ONNX are not installed."""
    needed = ("onnx", "onnxruntime", "onnxscript", "skl2onnx")
    missing = [name for name in needed if find_module(name) is None]
    if missing:
        raise InputError(f"{missing[0]} is not installed", "pip install 'dvc-unlearn[onnx]'")


def onnx_file(ensemble: Ensemble, name: str, facts: Mapping[str, str]) -> bytes:
    """Return a final model as an ONNX file, whose bytes follow from the model and the facts.

    Parameters
    ----------
    ensemble
        The final model.
    name
        What `train.model` calls its members, for errors.
    facts
        Metadata for the file.

    Raises
    ------
    InputError
        If ONNX has no operations for it, or the file answers otherwise than the model.
    """
    if not ensemble.members:
        raise InputError("the final model has no members: every shard lost all its rows")
    graph = Graph()
    columns = Columns(graph, ensemble.dataset)
    columns.declare()
    predictors = [each.predictor for each in ensemble.members]
    answers = [member(columns, predictor, name) for predictor in predictors]
    found = _combined(graph, ensemble, answers)
    outputs = _outputs(graph, ensemble, found)
    try:
        model = graph.model(outputs, facts)
        onnx.checker.check_model(model)
        content = bytes(model.SerializeToString(deterministic=True))
    except (ValueError, onnx.checker.ValidationError) as error:
        is_large = "2GB" in str(error) or "2GiB" in str(error)
        reason = "it is larger than 2 GiB" if is_large else type(error).__name__
        raise InputError(f"the model cannot be written as one ONNX file: {reason}") from error
    _compare(ensemble, predictors, content, list(outputs))
    return content


def _combined(graph: Graph, ensemble: Ensemble, answers: list[str]) -> str:
    """Return what `Combination` does."""
    rule = ensemble.rule
    if rule == "median":
        return _median(graph, answers)
    if rule == "majority_vote":
        every = graph.constant(np.arange(len(ensemble.classes))[None], np.int64)
        answers = [
            graph.cast(
                graph.op("Equal", graph.op("ArgMax", each, axis=1, keepdims=1), every), DOUBLE
            )
            for each in answers
        ]
    weights = [each.rows if rule == "size_weighted" else 1 for each in ensemble.members]
    parts = [
        answer if weight == 1 else graph.op("Mul", answer, graph.constant(float(weight)))
        for answer, weight in zip(answers, weights, strict=True)
    ]
    total = parts[0]
    for part in parts[1:]:
        total = graph.op("Add", total, part)
    return graph.op("Div", total, graph.constant(float(sum(weights))))


def _median(graph: Graph, answers: list[str]) -> str:
    count = len(answers)
    if count == 1:
        return answers[0]
    joined = graph.op("Concat", *answers, axis=1)
    ordered = graph.op("TopK", joined, graph.constant([count], np.int64), axis=1, unused=1)
    places = sorted({(count - 1) // 2, count // 2})
    middle = graph.take(ordered, graph.constant(places, np.int64), axis=1)
    return graph.op("Div", graph.sum(middle, 1, keep=True), graph.constant(float(len(places))))


def _outputs(
    graph: Graph, ensemble: Ensemble, found: str
) -> dict[str, tuple[str, int, tuple[int, ...]]]:
    def free(name: str) -> str:
        while name in graph.inputs:
            name += "_"
        return name

    if ensemble.task == "regression":
        return {free("value"): (graph.reshape(found, -1), DOUBLE, ())}
    best = graph.op("ArgMax", found, axis=1, keepdims=0)
    labels = graph.take(graph.constant(list(ensemble.classes), object), best)
    return {
        free("label"): (labels, STRING, ()),
        free("probabilities"): (found, DOUBLE, (len(ensemble.classes),)),
    }


def _compare(
    ensemble: Ensemble, predictors: list[RowPredictor], content: bytes, outputs: list[str]
) -> None:
    """Raise InputError if a file answers otherwise than the model on made-up rows."""
    import onnxruntime

    rows = made_up_rows(ensemble, predictors)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        found = session.run(outputs, onnx_inputs(ensemble, rows))
    except Exception as error:
        raise InputError(
            f"onnxruntime {onnxruntime.__version__} cannot run the file ({type(error).__name__})"
        ) from error
    wanted = ensemble.answers(rows)
    scale = np.maximum(1.0, np.abs(wanted)) if ensemble.task == "regression" else 1.0
    apart = np.abs(np.asarray(found[-1]) - wanted) / scale
    if not (apart <= _FARTHEST).all():
        raise InputError(
            "the ONNX file does not answer as the model does: by up to "
            f"{float(np.nanmax(apart)):.1g} on made-up rows",
            "the other formats hold it: `unlearn export --mlflow` or `--hub`",
        )


def onnx_inputs(ensemble: Ensemble, rows: pa.Table) -> dict[str, npt.NDArray[np.generic]]:
    """Return typed rows, as `NewRows.typed` does, as the inputs of the file."""
    found: dict[str, npt.NDArray[np.generic]] = {}
    for name, kind in ensemble.dataset.features.items():
        column = rows[name]
        if kind in TENSOR_KINDS:
            shape = tuple((ensemble.dataset.shapes or {})[name])
            content = np.ascontiguousarray(column_bytes(column))
            numbers = content if kind == "image" else content.view("<f4")
            found[name] = numbers.reshape(-1, *shape)
        elif pa.types.is_string(column.type):
            texts = ["" if text is None else text for text in column.to_pylist()]
            found[name] = np.array(texts, object)[:, None]
        else:
            values = column.cast(pa.float64()).to_pylist()
            found[name] = np.array(values, np.float64)[:, None]
    return found
