"""A family of estimators in a module of its own: the nearest mean of a class, in a file of JSON."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field
from unlearn.stages.config.section import Section
from unlearn.stages.config.train import TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.base import Dtype, FloatArray, SliceData
from unlearn.stages.estimators.formats import WeightsFormat
from unlearn.stages.estimators.spec import EstimatorSpec, FeatureTraining
from unlearn.stages.estimators.tensors import NamedTensor
from unlearn.stages.rows.outputs import Outputs

Numbers = npt.NDArray[np.float64]


class ClassMeansOptions(Section):
    """How sharp the answers are."""

    sharpness: float = Field(default=1.0, gt=0)


def save(sums: Numbers, counts: Numbers) -> bytes:
    """Return a file of sums of rows, shape (classes, inputs), and how many, shape (classes,)."""
    return json.dumps({"sums": sums.tolist(), "counts": counts.tolist()}).encode()


def load(content: bytes) -> dict[str, Numbers]:
    """Return the arrays of a file."""
    try:
        found = json.loads(content)
        return {name: np.array(found[name], dtype=np.float64) for name in ("sums", "counts")}
    except (ValueError, KeyError, TypeError):
        raise InputError("a model file is not in the class means format") from None


def read_tensors(content: bytes) -> list[NamedTensor]:
    """Return the arrays of a file for its digest."""
    return [
        NamedTensor(name, "F64", value.shape, value.tobytes())
        for name, value in load(content).items()
    ]


class ClassMeans:
    """Adds up the rows of each class; a slice adds its own rows to the state before."""

    dtype: Dtype = np.float64
    min_rows = 1
    has_probabilities = True

    def __init__(self, train: TrainParams, inputs: int, classes: int) -> None:
        self._sharpness = ClassMeansOptions.model_validate(train.options).sharpness
        self._shape = (classes, inputs)

    def fit_slice(self, state: bytes | None, data: SliceData, init_seed: int) -> bytes:
        """Add the new rows of a slice."""
        del init_seed
        blank = {"sums": np.zeros(self._shape), "counts": np.zeros(self._shape[0])}
        found = blank if state is None else load(state)
        first = len(data.targets) - data.new
        np.add.at(found["sums"], data.targets[first:], data.inputs[first:])
        np.add.at(found["counts"], data.targets[first:], 1)
        return save(found["sums"], found["counts"])

    def export(self, state: bytes) -> bytes:
        """Return the state, which is the model."""
        return state

    def predictor(self, model: bytes) -> "ClassMeansPredictor":
        """Return the model ready to answer."""
        found = load(model)
        means = found["sums"] / np.maximum(1, found["counts"])[:, None]
        return ClassMeansPredictor(means, self._sharpness)

    def describe(self) -> dict[str, Any]:
        """Return nothing beside the settings."""
        return {}


class ClassMeansPredictor:
    """Answers by the distances to the means."""

    def __init__(self, means: Numbers, sharpness: float) -> None:
        self._means = means
        self._sharpness = sharpness

    def probabilities(self, inputs: FloatArray) -> Numbers:
        """Return the softmax of the negative distances."""
        gaps = np.linalg.norm(inputs[:, None, :] - self._means[None], axis=2)
        likely = np.exp(-self._sharpness * (gaps - gaps.min(axis=1, keepdims=True)))
        answer: Numbers = likely / likely.sum(axis=1, keepdims=True)
        return answer


def _build(
    train: TrainParams, inputs: int, outputs: Outputs, *, sliced: bool, code: Path | None
) -> ClassMeans:
    del sliced, code
    return ClassMeans(train, inputs, outputs.classes)


CLASS_MEANS = EstimatorSpec(
    name="class_means",
    models=("class_means",),
    kind="class_means",
    training=FeatureTraining(_build, counts_epochs=False),
    options=ClassMeansOptions,
    format=WeightsFormat("class means", ".means", read_tensors),
    file_name="model.means",
    libraries=("pyarrow",),
    facts=lambda _train: {"arithmetic": "float64"},
    preload=(__name__,),
)
