"""A shard model in its folder: what it is made of, its digest, and loading it.

    model.json            kind, classes, features, preprocessing, settings
    model.safetensors     weights (torch and built-in models), or model.skops (scikit-learn), or
                          adapter_model.safetensors (an adapter on a language model)
    checkpoints/          the states after each slice but the last
    lineage.json          where all of it comes from

A shard without rows has a model.json of kind `empty`; one whose rows all have one class, fitted
as a whole by scikit-learn, is `constant`.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from unlearn.stages.config.train import TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.base import Estimator, Predictor
from unlearn.stages.estimators.preprocessing import Preprocessor
from unlearn.stages.project.files import digest_json
from unlearn.stages.rows.shard_file import Layout

FILE_NAME = "model.json"
_WEIGHT_FILES = ("model.safetensors", "model.skops", "adapter_model.safetensors")


def checkpoint_name(slice_number: int, estimator_file: str) -> str:
    """Return the path of a slice's checkpoint, relative to the shard model's folder."""
    return f"checkpoints/slice-{slice_number:03d}{Path(estimator_file).suffix}"


def make_estimator(
    train: TrainParams, inputs: int, classes: int, *, sliced: bool, code: Path | None
) -> Estimator:
    """Return the estimator that `train.model` names.

    Parameters
    ----------
    train
        The settings.
    inputs, classes
        Number of input columns and of classes.
    sliced
        Whether it is to go on from slice to slice.
    code
        The user's own module file, where `train.model` names one.
    """
    if train.is_sklearn:
        from unlearn.stages.estimators.sklearn_models import SklearnEstimator

        return SklearnEstimator(train, classes, sliced=sliced)
    if train.is_perturbed:
        from unlearn.stages.estimators.perturbed_logistic import PerturbedLogisticEstimator

        return PerturbedLogisticEstimator(train, inputs, classes)
    from unlearn.stages.estimators import torch_models

    if code is not None:
        return torch_models.user_estimator(train, inputs, classes, code)
    return torch_models.TorchEstimator(train, inputs, classes, torch_models.build_mlp)


def digest_state(content: bytes, file_name: str) -> str:
    """Digest of a model's or checkpoint's numbers, by the format that its name says.

    Raises
    ------
    InputError
        If the content is not in that format.
    """
    if file_name.endswith(".safetensors"):
        from unlearn.stages.estimators.tensors import digest_safetensors

        return digest_safetensors(content)
    from unlearn.stages.estimators import skops_file

    return skops_file.digest(content)


def model_digest(description: Mapping[str, Any], weights: bytes | None) -> str:
    """Digest of a model: its description and the numbers of its weights, in hex."""
    file = description.get("file")
    state = None if weights is None or file is None else digest_state(weights, str(file))
    return digest_json([description, state])


@dataclass(frozen=True)
class ShardModel:
    """A fitted shard model as read from its folder.

    Parameters
    ----------
    description
        The content of model.json.
    weights
        The content of the weights file; None for kinds without one.
    """

    description: dict[str, Any]
    weights: bytes | None

    @classmethod
    def of_files(cls, files: Mapping[str, bytes]) -> "ShardModel":
        """Return the model whose folder is to hold these files, by name."""
        description = json.loads(files[FILE_NAME])
        file = description["file"]
        return cls(description, None if file is None else files[file])

    @property
    def kind(self) -> str:
        """`torch`, `sklearn`, `perturbed_logistic`, `lora`, `causal_lm`, `constant` or `empty`."""
        return str(self.description["kind"])

    @property
    def digest(self) -> str:
        """Digest of description and numbers."""
        return model_digest(self.description, self.weights)

    @property
    def layout(self) -> Layout:
        """Features and classes that the model was made for."""
        return Layout.from_json(self.description["layout"])

    @property
    def has_probabilities(self) -> bool:
        """Whether its probabilities are more than votes."""
        return bool(self.description["has_probabilities"])

    def predictor(self, code: Path | None = None) -> "RowPredictor":
        """Return the model ready to answer on rows.

        Parameters
        ----------
        code
            The user's own module file, for a model made with one. It is run.
        """
        classes = len(self.layout.classes)
        if self.kind == "constant":
            return RowPredictor(None, None, int(self.description["class"]), classes, np.float64)
        preprocessor = Preprocessor.from_json(self.description["preprocessing"])
        train = TrainParams.model_validate(self.description["train"])
        estimator = make_estimator(
            train, preprocessor.width, classes, sliced=True, code=code if train.code_path else None
        )
        predictor = estimator.predictor(self.weights or b"")
        return RowPredictor(preprocessor, predictor, None, classes, estimator.dtype)


@dataclass(frozen=True)
class RowPredictor:
    """A shard model that answers on rows with the features of its layout."""

    preprocessor: Preprocessor | None
    model: Predictor | None
    constant: int | None
    classes: int
    dtype: type[np.float32] | type[np.float64]

    def probabilities(self, rows: pa.Table) -> npt.NDArray[np.float64]:
        """Return class probabilities, shape (rows, classes)."""
        if rows.num_rows == 0 or self.preprocessor is None or self.model is None:
            answer = np.zeros((rows.num_rows, self.classes))
            if self.constant is not None:
                answer[:, self.constant] = 1.0
            return answer
        return self.model.probabilities(self.preprocessor.transform(rows, self.dtype))


def read_shard_model(folder: Path, name: str) -> ShardModel:
    """Read the model in a folder.

    Parameters
    ----------
    folder
        A shard model's folder, or a member's in the final model.
    name
        What errors call it.

    Raises
    ------
    InputError
        If it is missing or not in this tool's format. A pickle never is, and is never loaded.
    """
    try:
        description = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
        if not {"kind", "rows", "layout", "has_probabilities"} <= description.keys():
            raise ValueError
        file = description.get("file")
        if file is None:
            return ShardModel(description, None)
        if file not in _WEIGHT_FILES:
            raise InputError(f"{name} names {file!r}, which is no model file of this tool")
        return ShardModel(description, (folder / file).read_bytes())
    except FileNotFoundError:
        raise InputError(f"{name} is missing or incomplete", "`unlearn repro` makes it") from None
    except (ValueError, AttributeError):
        raise InputError(f"{name}: {FILE_NAME} is not readable") from None


def digest_code(path: Path, setting: str = "train.model") -> str:
    """SHA-256 of a user's module file, in hex.

    Parameters
    ----------
    path
        The file.
    setting
        What of params.yaml names it.

    Raises
    ------
    InputError
        If there is no such file.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        raise InputError(f"{setting}: {path.name} does not exist") from None
