"""A shard model in its folder: what it is made of, its digest, and loading it.

    model.json            kind, classes, features, preprocessing, settings
    model.safetensors     weights, in the file and format of the model's family
    checkpoints/          the states after each slice but the last
    lineage.json          where all of it comes from

The family of estimators that `train.model` names says which file and format. A shard without rows
has a model.json of kind `empty`. One whose rows all have one class, where the family cannot fit
that, is `constant`. So is one that its estimator refuses, and one of a single row where the
estimator takes two: these answer with the class frequencies of their rows, or with the mean of
their targets where these are numbers.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from unlearn.stages.config.train import TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.base import Predictor, Regressor
from unlearn.stages.estimators.registry import estimator_of, find_spec
from unlearn.stages.estimators.spec import (
    EstimatorSpec,
    FeatureTraining,
    RowSetTraining,
    RowTransform,
)
from unlearn.stages.project.files import digest_json
from unlearn.stages.rows.outputs import Outputs
from unlearn.stages.rows.shard_file import Layout
from unlearn.stages.rows.tokens import Key

FILE_NAME = "model.json"

#: The schema_version of files in a copy for publication, which have no number of rows.
PUBLIC_VERSION = 2

#: In place of the project key, where nothing is drawn.
_NO_KEY = Key("0" * 64)


def describe_model(
    train: TrainParams, layout: Layout, rows: int, own: Mapping[str, Any], *, probable: bool = True
) -> dict[str, Any]:
    """Return the content of the model.json of a model with weights.

    Parameters
    ----------
    train, layout
        The settings, and the columns and classes that the model is for.
    rows
        How many rows it was trained on.
    own
        What its estimator, and the preparation of its rows, add.
    probable
        Whether its answers are more than votes.
    """
    spec = find_spec(train.model)
    return {
        "schema_version": 1,
        "kind": spec.kind,
        "train": train.model_dump(mode="json"),
        "layout": layout.as_json(),
        "rows": rows,
        "has_probabilities": probable,
        "file": spec.file_name,
        **own,
    }


def spec_of(description: Mapping[str, Any]) -> EstimatorSpec:
    """Return the family of a model with weights, as its model.json states it.

    Raises
    ------
    InputError
        If model.json names no family, or states a kind or a file that is not the family's.
    """
    try:
        spec = find_spec(str(description["train"]["model"]))
    except (KeyError, TypeError):
        raise InputError(f"{FILE_NAME} does not say what the weights are of") from None
    if description["kind"] != spec.kind:
        raise InputError(f"{FILE_NAME} states kind {description['kind']!r}, not {spec.kind!r}")
    if description.get("file") != spec.file_name:
        raise InputError(
            f"{FILE_NAME} names {description.get('file')!r}, which is no model file of {spec.name}"
        )
    return spec


def model_digest(description: Mapping[str, Any], weights: bytes | None) -> str:
    """Digest of a model: its description and the numbers of its weights, in hex.

    Raises
    ------
    InputError
        If the weights are not in the format of the model's family.
    """
    state = None if weights is None else spec_of(description).format.digest(weights)
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
        """`constant`, `empty`, or the kind that the family declares."""
        return str(self.description["kind"])

    @property
    def digest(self) -> str:
        """Digest of description and numbers."""
        return model_digest(self.description, self.weights)

    def state_digest(self, content: bytes) -> str:
        """Digest of the numbers in one of its checkpoints, in hex.

        Raises
        ------
        InputError
            If the content is not in the format of the model's family.
        """
        return spec_of(self.description).format.digest(content)

    @property
    def layout(self) -> Layout:
        """Features and classes that the model was made for."""
        return Layout.from_json(self.description["layout"])

    @property
    def has_probabilities(self) -> bool:
        """Whether its probabilities are more than votes."""
        return bool(self.description["has_probabilities"])

    @property
    def trusted_types(self) -> tuple[str, ...]:
        """Types of other packages that its file may hold, as it states them itself."""
        return tuple(map(str, self.description.get("train", {}).get("trusted_types", ())))

    def predictor(
        self,
        code: Path | None = None,
        trusted: Collection[str] = (),
        root: Path | None = None,
        base: Path | None = None,
    ) -> "RowPredictor":
        """Return the model ready to answer on rows.

        Parameters
        ----------
        code
            The user's own module file, for a model made with one. It is run.
        trusted
            Types of other packages that its file may hold. What the model itself states is not
            enough, for a hostile one can state anything.
        root
            The folder that the path of a frozen backbone starts from: the project's.
        base
            The backbone's file, if it is not where the settings say.
        """
        outputs = self.layout.outputs
        if self.kind == "constant":
            return RowPredictor(None, None, self._answer(outputs), outputs, np.float64)
        train = TrainParams.model_validate(self.description["train"])
        if base is not None:
            train, root = _with_backbone(train, base), base.parent
        if train.trusted_types:
            train = train.model_copy(update={"trusted_types": list(trusted)})
        training = spec_of(self.description).training
        if isinstance(training, RowSetTraining):
            return self._of_row_set(training, train)
        if not isinstance(training, FeatureTraining):
            raise InputError(f"{FILE_NAME} is of a model that reads text")
        preprocessor = training.stored(self.description["preprocessing"], train)
        estimator = estimator_of(
            train,
            preprocessor,
            outputs,
            sliced=True,
            code=code if train.code_path else None,
            root=root,
        )
        predictor = estimator.predictor(self.weights or b"")
        return RowPredictor(preprocessor, predictor, None, outputs, estimator.dtype)

    def _of_row_set(self, training: RowSetTraining, train: TrainParams) -> "RowPredictor":
        from unlearn.stages.estimators.row_sets.base import CodesAnswer, Shape
        from unlearn.stages.estimators.row_sets.preprocessing import CodePreprocessor

        outputs = self.layout.outputs
        preprocessor = CodePreprocessor.from_json(self.description["preprocessing"])
        grid = preprocessor.grid
        # No key is needed to answer: all that was drawn is in the weights.
        estimator = training.build(train, _NO_KEY, Shape.of(grid, outputs))
        model = CodesAnswer(estimator.predictor(self.weights or b""))
        return RowPredictor(preprocessor, model, None, outputs, np.float32)

    def _answer(self, outputs: Outputs) -> tuple[float, ...]:
        """Return what a constant model answers to every row: probabilities, or one number."""
        classes = outputs.width
        try:
            if outputs.is_number:
                return (float(self.description["mean"]),)
            if "class" in self.description:
                return tuple(np.eye(classes)[int(self.description["class"])].tolist())
            answer = tuple(float(share) for share in self.description["frequencies"])
        except (KeyError, TypeError, ValueError, IndexError):
            answer = ()
        if len(answer) != classes:
            raise InputError(f"{FILE_NAME} does not say what the constant model answers")
        return answer


def _with_backbone(train: TrainParams, base: Path) -> TrainParams:
    """Return the settings with the file of the backbone elsewhere; its digest stays pinned."""
    if train.freeze is None:
        raise InputError("a base is for language models, and for networks with train.freeze")
    freeze = train.freeze.model_copy(update={"weights": base.name})
    return train.model_copy(update={"freeze": freeze})


@dataclass(frozen=True)
class RowPredictor:
    """A shard model that answers on rows with the features of its layout."""

    preprocessor: RowTransform | None
    model: Predictor | Regressor | None
    constant: tuple[float, ...] | None
    outputs: Outputs
    dtype: type[np.float32] | type[np.float64]

    def answers(self, rows: pa.Table) -> npt.NDArray[np.float64]:
        """Return the answers on rows, of the shape that `Outputs.shape` gives.

        These are class probabilities, shape (rows, classes); or for a regression numbers in the
        units of the dataset, shape (rows,).
        """
        if rows.num_rows == 0 or self.preprocessor is None or self.model is None:
            answer = np.zeros(self.outputs.shape(rows.num_rows))
            if self.constant is not None:
                answer[:] = self.constant[0] if self.outputs.is_number else self.constant
            return answer
        inputs = self.preprocessor.transform(rows, self.dtype)
        if self.outputs.is_number:
            return cast("Regressor", self.model).values(inputs)
        return cast("Predictor", self.model).probabilities(inputs)

    def importances(self) -> npt.NDArray[np.float64] | None:
        """Return the importance of each feature, shape (features,); None if there are none.

        That of a feature of several columns, such as categories, is the sum of theirs.
        """
        found = getattr(self.model, "importances", lambda: None)()
        widths = getattr(self.preprocessor, "widths", ())
        if found is None or len(found) != sum(widths):
            return None
        return np.array([part.sum() for part in np.split(found, np.cumsum(widths)[:-1])])

    def probabilities(self, rows: pa.Table) -> npt.NDArray[np.float64]:
        """Return class probabilities, shape (rows, classes); the model is a classifier."""
        if self.outputs.is_number:
            raise TypeError("a regression has no class probabilities")
        return self.answers(rows)


def read_shard_model(folder: Path, name: str, *, public: bool = False) -> ShardModel:
    """Read the model in a folder.

    Parameters
    ----------
    folder
        A shard model's folder, or a member's in the final model.
    name
        What errors call it.
    public
        Whether it may be a member of a copy for publication, which has no number of rows.

    Raises
    ------
    InputError
        If it is missing or not in this tool's format. A pickle never is, and is never loaded.
    """
    try:
        description = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
        if not {"kind", "layout", "has_probabilities"} <= description.keys():
            raise ValueError
        is_public = public and description.get("schema_version") == PUBLIC_VERSION
        if "rows" not in description and not is_public:
            raise ValueError
        if description.get("file") is None:
            return ShardModel(description, None)
        file_name = _file_of(description, name)
        return ShardModel(description, (folder / file_name).read_bytes())
    except FileNotFoundError:
        raise InputError(f"{name} is missing or incomplete", "`unlearn repro` makes it") from None
    except (ValueError, AttributeError):
        raise InputError(f"{name}: {FILE_NAME} is not readable") from None


def _file_of(description: dict[str, Any], name: str) -> str:
    try:
        return spec_of(description).file_name
    except InputError as error:
        raise InputError(f"{name}: {error.message}", *error.hints, facts=error.facts) from None


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
