"""CatBoost's boosted trees."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import catboost
import numpy as np
import numpy.typing as npt
from unlearn.stages.config.boosted import CatBoostOptions
from unlearn.stages.config.train import TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.base import Dtype, FloatArray, RefusedRowsError, SliceData
from unlearn.stages.estimators.boosted.catboost_file import (
    LOSSES,
    CatBoostFile,
    of_library,
    read_file,
)
from unlearn.stages.estimators.boosted.refusal import refusal

#: Seeds are numbers of 64 bits; as many as the other libraries have do.
_SEEDS = 2**31

_SETTINGS = {
    "thread_count": 1,
    "task_type": "CPU",
    "allow_writing_files": False,
    "logging_level": "Silent",
}


class CatBoostEstimator:
    """A classifier of CatBoost that reads categories and missing values as they are.

    Parameters
    ----------
    train
        The settings.
    inputs
        Number of input columns.
    classes
        Number of pinned classes.
    """

    dtype: Dtype = np.float32
    min_rows = 1
    has_probabilities = True

    def __init__(self, train: TrainParams, inputs: int, classes: int) -> None:
        self._model = train.model
        self._options = CatBoostOptions.model_validate(train.options)
        self._inputs = inputs
        self._classes = classes

    def fit_slice(self, state: bytes | None, data: SliceData, init_seed: int) -> bytes:
        """Return the model of the rows; there is one slice, so there is no state before."""
        del state
        present = np.unique(data.targets)
        if len(present) < 2:  # noqa: PLR2004 - one class has nothing to tell apart
            raise RefusedRowsError(f"{self._model} cannot be trained: all rows have one class")
        counts = data.categories or (0,) * self._inputs
        numbers = [at for at, count in enumerate(counts) if not count]
        categories = [at for at, count in enumerate(counts) if count]
        try:
            rows = _pool(data.inputs, numbers, categories, data.targets)
            settings = self._settings([*numbers, *categories], len(present), init_seed)
            model = catboost.CatBoost(settings).fit(rows)
        except (catboost.CatBoostError, ValueError) as error:
            raise refusal(self._model, error) from error
        with _private_file() as path:
            model.save_model(str(path), format="json", pool=rows)
            content = path.read_bytes()
        written = of_library(content, numbers, categories, present.tolist(), catboost.__version__)
        try:
            read_file(written)
        except InputError as error:
            raise RefusedRowsError(f"{self._model} cannot be trained: {error.message}") from error
        return written

    def _settings(self, columns: list[int], classes: int, seed: int) -> dict[str, Any]:
        settings = self._options.model_dump()
        if signs := settings.pop("monotone_constraints", None):
            # The library gets the numbers before the categories.
            settings["monotone_constraints"] = [
                signs[at] if at < len(signs) else 0 for at in columns
            ]
        loss = LOSSES[classes == 2]  # noqa: PLR2004 - two have one logit
        return settings | _SETTINGS | {"loss_function": loss, "random_seed": seed % _SEEDS}

    def export(self, state: bytes) -> bytes:
        """Return the model: a state is all that it needs."""
        return state

    def predictor(self, model: bytes) -> "CatBoostPredictor":
        """Return the model that a file holds."""
        file = read_file(model)
        if file.inputs != self._inputs:
            raise InputError(f"a model file is of {file.inputs} columns, not {self._inputs}")
        if file.classes[-1] >= self._classes:
            raise InputError(f"a model file has more than {self._classes} classes")
        opened = catboost.CatBoost()
        try:
            with _private_file() as path:
                path.write_bytes(file.for_library())
                opened.load_model(str(path), format="json")
        except catboost.CatBoostError:
            raise InputError("a model file is not one that CatBoost reads") from None
        return CatBoostPredictor(opened, file, self._classes)

    def describe(self) -> dict[str, Any]:
        """Return nothing: the settings name the model."""
        return {}


class CatBoostPredictor:
    """A fitted model, its classes mapped to the pinned ones."""

    def __init__(self, model: Any, file: CatBoostFile, classes: int) -> None:
        self._model = model
        self._file = file
        self._classes = classes

    def probabilities(self, inputs: FloatArray) -> npt.NDArray[np.float64]:
        """Return probabilities of all pinned classes; 0 for one that the rows did not have."""
        file = self._file
        rows = _pool(inputs, list(file.numbers), list(file.categories))
        raw = self._model.predict(rows, prediction_type="RawFormulaVal", thread_count=1)
        scores = np.asarray(raw, dtype=np.float64)
        if scores.ndim == 1:
            scores = np.stack([np.zeros(len(scores)), scores], axis=1)
        likely = np.exp(scores - scores.max(axis=1, keepdims=True))
        answer = np.zeros((len(inputs), self._classes))
        answer[:, list(file.classes)] = likely / likely.sum(axis=1, keepdims=True)
        return answer


def _pool(
    inputs: FloatArray,
    numbers: list[int],
    categories: list[int],
    targets: npt.NDArray[np.int64] | None = None,
) -> Any:
    """Return rows as CatBoost takes them: numbers, and the texts of the codes of categories.

    A missing category is a category of its own.
    """
    texts = None
    if categories:
        codes = inputs[:, categories]
        places = np.where(np.isnan(codes), 0, codes + 1).astype(np.int64)
        words = [b"missing", *(str(code).encode() for code in range(int(places.max(initial=0))))]
        texts = np.array(words, dtype=object)[places]
    values = np.ascontiguousarray(inputs[:, numbers], dtype=np.float32) if numbers else None
    features = catboost.FeaturesData(num_feature_data=values, cat_feature_data=texts)
    return catboost.Pool(features, label=targets, thread_count=1)


@contextmanager
def _private_file() -> Iterator[Path]:
    """Yield an empty file for a model, in memory where the system has such files.

    CatBoost reads and writes JSON by a file's name only, and no other copy of a model is to stay.
    """
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("model")
        try:
            yield Path(f"/proc/self/fd/{handle}")
        finally:
            os.close(handle)
        return
    with TemporaryDirectory() as folder:
        yield Path(folder) / "model.json"
