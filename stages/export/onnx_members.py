"""The members of a final model as ONNX nodes, by the library that they are of."""

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import torch
from sklearn.linear_model._base import LinearClassifierMixin
from torch import nn
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.boosted.answers import BoostedClassifier, BoostedRegressor
from unlearn.stages.estimators.packing import COLUMNS
from unlearn.stages.estimators.perturbed_logistic import PerturbedLogisticPredictor
from unlearn.stages.estimators.row_sets.base import CodesAnswer
from unlearn.stages.estimators.sklearn_models import SklearnPredictor, SklearnRegressor
from unlearn.stages.estimators.tensor_transform import TensorTransform
from unlearn.stages.estimators.torch_predictors import TorchPredictor, TorchRegressor
from unlearn.stages.estimators.unpacking import Unpack
from unlearn.stages.export.onnx_columns import Columns
from unlearn.stages.export.onnx_graph import DOUBLE, FLOAT, ML, ML_OPSET, OPSET, Graph
from unlearn.stages.export.onnx_lightgbm import lightgbm_answers
from unlearn.stages.export.onnx_row_sets import exact_model
from unlearn.stages.export.onnx_trees import histogram_scores
from unlearn.stages.export.onnx_xgboost import xgboost_answers
from unlearn.stages.training.shard_model import RowPredictor

#: Trees of scikit-learn compare numbers that were rounded to float32, but for those of histograms.
_ROUNDED = ("sklearn.tree.", "sklearn.ensemble._forest.", "sklearn.ensemble._gb.")

_HISTOGRAMS = "sklearn.ensemble._hist_gradient_boosting."

_OTHER_FORMATS = "the other formats hold it: `unlearn export --mlflow` or `--hub`"


def member(columns: Columns, predictor: RowPredictor, name: str) -> str:
    """Add a member; return its probabilities, (rows, classes), or its numbers, (rows, 1).

    Parameters
    ----------
    columns
        The graph and its inputs.
    predictor
        The member.
    name
        What `train.model` calls it, for errors.

    Raises
    ------
    InputError
        If no operations of ONNX do what it does.
    """
    graph, transform, model = columns.graph, predictor.preprocessor, predictor.model
    if transform is None or model is None:
        answer = np.array(predictor.constant or np.zeros(predictor.outputs.width))
        return graph.repeated(answer, next(iter(graph.inputs)))
    if isinstance(model, CodesAnswer):
        return exact_model(graph, model.model, columns.codes(transform.columns))
    if isinstance(model, TorchPredictor | TorchRegressor):
        return _network(columns, predictor, model, name)
    if isinstance(model, PerturbedLogisticPredictor):
        return _perturbed(graph, model, columns.inputs(transform.columns))
    if isinstance(model, SklearnPredictor | SklearnRegressor):
        return _of_sklearn(graph, model, columns.inputs(transform.columns), transform.width)
    if isinstance(model, BoostedClassifier | BoostedRegressor):
        answers = _of_boosted(graph, model, columns.inputs(transform.columns), name)
        if answers is not None:
            return answers
    raise InputError(f"a model of {name} cannot be written as ONNX", _OTHER_FORMATS)


def _perturbed(graph: Graph, model: PerturbedLogisticPredictor, inputs: str) -> str:
    """Add a perturbed logistic regression; see `bounded`."""
    norms = graph.op("Sqrt", graph.sum(graph.op("Mul", inputs, inputs), 1, keep=True))
    at_most_one = graph.op("Div", inputs, graph.op("Max", norms, graph.constant(1.0)))
    rows = graph.op("Concat", at_most_one, graph.repeated([1.0], inputs), axis=1)
    rows = graph.op("Div", rows, graph.constant(np.sqrt(2.0)))
    weight = model.module.weight.detach().numpy()
    scores = graph.op("MatMul", rows, graph.constant(weight.T, np.float64))
    if len(weight) == 1:
        scores = graph.op("Concat", graph.repeated([0.0], inputs), scores, axis=1)
        return graph.op("Softmax", scores, axis=1)
    ones = graph.constant(1.0)
    shares = graph.op("Div", ones, graph.op("Add", ones, graph.op("Exp", graph.op("Neg", scores))))
    return graph.op("Div", shares, graph.sum(shares, 1, keep=True))


def _of_boosted(
    graph: Graph, model: BoostedClassifier | BoostedRegressor, inputs: str, name: str
) -> str | None:
    raw: Any = model.raw
    found = None
    if name.startswith("xgboost"):
        found = xgboost_answers(graph, raw.__self__, inputs)
    elif name.startswith("lightgbm"):
        found = lightgbm_answers(graph, raw.func.__self__, inputs)
    if found is None or isinstance(model, BoostedRegressor):
        return found
    if len(model.known) == 2:  # noqa: PLR2004 - of two classes, the share of the second
        found = graph.op("Concat", graph.op("Sub", graph.constant(1.0), found), found, axis=1)
    return _of_all_classes(graph, found, list(model.known), model.classes)


def _of_sklearn(
    graph: Graph, predictor: SklearnPredictor | SklearnRegressor, inputs: str, width: int
) -> str:
    """Add an estimator of scikit-learn, through skl2onnx."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import DoubleTensorType

    model = predictor.model
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    if kind.startswith(_HISTOGRAMS):
        return _histograms(graph, predictor, inputs)
    is_linear = isinstance(model, LinearClassifierMixin) and not hasattr(model, "predict_proba")
    if is_linear and isinstance(predictor, SklearnPredictor):
        return _linear_votes(graph, model, inputs, predictor.classes)
    if _rounds(model):
        inputs = graph.cast(graph.cast(inputs, FLOAT), DOUBLE)
    options = {id(model): {"zipmap": False}} if hasattr(model, "predict_proba") else {}
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            made = to_onnx(
                model,
                initial_types=[("inputs", DoubleTensorType([None, width]))],
                options=options,
                target_opset={"": OPSET, ML: ML_OPSET},
            )
    except Exception as error:
        raise InputError(
            f"skl2onnx cannot write a {kind} ({type(error).__name__})", _OTHER_FORMATS
        ) from error
    found = _inserted(graph, made, {"inputs": inputs})
    if isinstance(predictor, SklearnRegressor):
        return graph.reshape(graph.cast(found[0], DOUBLE), -1, 1)
    classes = [int(place) for place in model.classes_]
    if hasattr(model, "predict_proba"):
        return _of_all_classes(graph, graph.cast(found[1], DOUBLE), classes, predictor.classes)
    votes = graph.reshape(found[0], -1, 1)
    every = graph.constant(np.arange(predictor.classes)[None], np.int64)
    return graph.cast(graph.op("Equal", votes, every), DOUBLE)


def _rounds(model: Any) -> bool:
    """Return whether an estimator, or one that it holds, compares numbers rounded to float32."""
    if f"{type(model).__module__}.".startswith(_ROUNDED):
        return True
    held = getattr(model, "estimators_", ())
    return any(_rounds(each) for each in np.array(held, object).reshape(-1))


def _linear_votes(graph: Graph, model: Any, inputs: str, classes: int) -> str:
    """Add a linear classifier without probabilities, which skl2onnx writes in float32 alone."""
    weights = graph.constant(np.atleast_2d(model.coef_).T, np.float64)
    scores = graph.op("MatMul", inputs, weights)
    scores = graph.op("Add", scores, graph.constant(np.atleast_1d(model.intercept_), np.float64))
    if len(np.atleast_2d(model.coef_)) == 1:
        scores = graph.op("Concat", graph.repeated([0.0], inputs), scores, axis=1)
    best = graph.op("ArgMax", scores, axis=1, keepdims=1)
    every = graph.constant(np.arange(len(model.classes_))[None], np.int64)
    votes = graph.cast(graph.op("Equal", best, every), DOUBLE)
    return _of_all_classes(graph, votes, [int(place) for place in model.classes_], classes)


def _histograms(graph: Graph, predictor: SklearnPredictor | SklearnRegressor, inputs: str) -> str:
    """Add histogram boosting, whose thresholds skl2onnx would round to float32."""
    model = predictor.model
    scores = histogram_scores(graph, model, inputs)
    if scores is None:
        raise InputError("splits by categories cannot be written as ONNX", _OTHER_FORMATS)
    if isinstance(predictor, SklearnRegressor):
        # The other losses predict a logarithm.
        return graph.op("Exp", scores) if model.loss in ("poisson", "gamma") else scores
    known = [int(place) for place in model.classes_]
    if model.n_trees_per_iteration_ == 1:
        ones = graph.constant(1.0)
        share = graph.op(
            "Div", ones, graph.op("Add", ones, graph.op("Exp", graph.op("Neg", scores)))
        )
        shares = graph.op("Concat", graph.op("Sub", ones, share), share, axis=1)
    else:
        shares = graph.op("Softmax", scores, axis=1)
    return _of_all_classes(graph, shares, known, predictor.classes)


def _of_all_classes(graph: Graph, shares: str, known: list[int], classes: int) -> str:
    if known == list(range(classes)):
        return shares
    place = np.zeros((len(known), classes))
    place[np.arange(len(known)), known] = 1
    return graph.op("MatMul", shares, graph.constant(place))


def _network(
    columns: Columns,
    predictor: RowPredictor,
    model: TorchPredictor | TorchRegressor,
    name: str,
) -> str:
    graph, transform = columns.graph, predictor.preprocessor
    module = model.module.to("cpu").eval()
    if isinstance(transform, TensorTransform):
        given = {
            part.name: columns.inputs(transform.others.columns)
            if part.name == COLUMNS
            else part.name
            for part in transform.packing.parts
        }
        if COLUMNS in given:
            given[COLUMNS] = graph.cast(given[COLUMNS], FLOAT)
        # The predictor goes on with its own module, and its hook.
        answers = _traced(graph, _Parts(copy.deepcopy(module)), given, _examples(transform), name)
    else:
        if transform is None:
            raise TypeError("a network reads rows through a transformation")
        inputs = graph.cast(columns.inputs(transform.columns), FLOAT)
        example = {"inputs": torch.zeros(2, transform.width)}
        answers = _layers(graph, module, inputs) or _traced(
            graph, module, {"inputs": inputs}, example, name
        )
    answers = graph.cast(answers, DOUBLE)
    if isinstance(model, TorchPredictor):
        return graph.op("Softmax", answers, axis=1)
    outputs = predictor.outputs
    answers = graph.op("Mul", graph.reshape(answers, -1, 1), graph.constant(float(outputs.scale)))
    return graph.op("Add", answers, graph.constant(float(outputs.centre)))


def _layers(graph: Graph, module: nn.Module, value: str) -> str | None:
    """Add a module of known layers one after another; return None if it has others."""
    if type(module) is not nn.Sequential:
        return None
    simple = {nn.ReLU: "Relu", nn.Tanh: "Tanh", nn.Sigmoid: "Sigmoid"}
    kinds = {nn.Linear, nn.Dropout, nn.GELU, *simple}
    if any(type(layer) not in kinds for layer in module):
        return None
    for layer in module:
        if isinstance(layer, nn.Linear):
            bias = layer.bias if layer.bias is not None else torch.zeros(layer.out_features)
            weight, shift = (graph.constant(each.detach().numpy()) for each in (layer.weight, bias))
            value = graph.op("Gemm", value, weight, shift, transB=1)
        elif isinstance(layer, nn.GELU):
            half, one, root = (graph.constant(each, np.float32) for each in (0.5, 1.0, 2**-0.5))
            error = graph.op("Erf", graph.op("Mul", value, root))
            share = graph.op("Mul", graph.op("Add", error, one), half)
            value = graph.op("Mul", value, share)
        elif not isinstance(layer, nn.Dropout):
            value = graph.op(simple[type(layer)], value)
    return value


class _Parts(nn.Module):
    """A network that gets the parts of its rows, in place of their bytes."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        hooks = module._forward_pre_hooks  # noqa: SLF001 - torch has no public name for them
        self._unpack = next(hook for hook in hooks.values() if isinstance(hook, Unpack))
        hooks.clear()
        self._own = module

    def forward(self, *parts: torch.Tensor) -> Any:
        """Return the answers."""
        named = {
            part.name: self._unpack.scaled(value) if part.kind == "image" else value
            for part, value in zip(self._unpack.packing.parts, parts, strict=True)
        }
        return self._own(next(iter(named.values())) if len(named) == 1 else named)


def _examples(transform: TensorTransform) -> dict[str, torch.Tensor]:
    kinds = {"image": torch.uint8}
    return {
        part.name: torch.zeros(2, *part.shape, dtype=kinds.get(part.kind, torch.float32))
        for part in transform.packing.parts
    }


def _traced(
    graph: Graph,
    module: nn.Module,
    given: Mapping[str, str],
    examples: Mapping[str, torch.Tensor],
    name: str,
) -> str:
    """Add a network, through torch.onnx."""
    rows = torch.export.Dim("rows", min=1)
    shapes = tuple({0: rows} for _ in examples)
    known = [f"input_{at}" for at in range(len(examples))]
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            made = torch.onnx.export(
                module,
                tuple(examples.values()),
                input_names=known,
                opset_version=OPSET,
                dynamic_shapes=(shapes,) if isinstance(module, _Parts) else shapes,
            )
    except Exception as error:
        raise InputError(
            f"torch cannot write the network of {name} as ONNX ({type(error).__name__})",
            _OTHER_FORMATS,
        ) from error
    if made is None:
        raise InputError(f"torch cannot write the network of {name} as ONNX", _OTHER_FORMATS)
    return _inserted(graph, made.model_proto, dict(zip(known, given.values(), strict=True)))[0]


def _inserted(graph: Graph, made: onnx.ModelProto, given: Mapping[str, str]) -> list[str]:
    """Add what a converter wrote, if it is in the versions of operators of the graph."""
    from onnx.inliner import inline_local_functions

    if made.functions:
        made = inline_local_functions(made)
    versions = {each.domain: each.version for each in made.opset_import}
    used = {node.domain for node in made.graph.node}
    if used - {"", ML, "ai.onnx"} or (ML in used and versions.get(ML, ML_OPSET) > ML_OPSET):
        raise InputError("the converter uses operations that ONNX does not have", _OTHER_FORMATS)
    return graph.insert(made.graph, given)
