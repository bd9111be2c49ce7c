"""CatBoost's boosted trees."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import catboost
import numpy as np
import numpy.typing as npt
from unlearn.stages.config.boosted import CatBoostOptions, CatBoostRegressorOptions
from unlearn.stages.config.train import TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.base import (
    Dtype,
    FloatArray,
    SliceData,
    Targets,
)
from unlearn.stages.estimators.boosted.answers import (
    BoostedClassifier,
    BoostedRegressor,
    answering,
    check_model,
    check_signs,
    known_targets,
    read_back,
)
from unlearn.stages.estimators.boosted.catboost_file import (
    CatBoostFile,
    loss_of,
    of_library,
    read_file,
)
from unlearn.stages.estimators.boosted.refusal import refusal
from unlearn.stages.rows.outputs import Outputs

#: Seeds are numbers of 64 bits; as many as the other libraries have do.
_SEEDS = 2**31

_SETTINGS = {
    "thread_count": 1,
    "task_type": "CPU",
    "allow_writing_files": False,
    "logging_level": "Silent",
}


class CatBoostEstimator:
    """A model of CatBoost that reads categories and missing values as they are.

    Parameters
    ----------
    train
        The settings.
    inputs
        Number of input columns.
    outputs
        What models answer with.
    """

    dtype: Dtype = np.float32
    min_rows = 1
    has_probabilities = True

    def __init__(self, train: TrainParams, inputs: int, outputs: Outputs) -> None:
        self._model = train.model
        kind = CatBoostRegressorOptions if outputs.is_number else CatBoostOptions
        self._options = kind.model_validate(train.options)
        check_signs(self._options.monotone_constraints, inputs)
        self._inputs = inputs
        self._outputs = outputs

    def fit_slice(self, state: bytes | None, data: SliceData, init_seed: int) -> bytes:
        """Return the model of the rows; there is one slice, so there is no state before."""
        del state
        # CatBoost numbers the classes itself.
        present, _ = known_targets(self._model, data, self._outputs)
        counts = data.categories or (0,) * self._inputs
        numbers = [at for at, count in enumerate(counts) if not count]
        categories = [at for at, count in enumerate(counts) if count]
        try:
            rows = _pool(data.inputs, numbers, categories, data.targets)
            if data.weights is not None:
                rows.set_weight(data.weights)
            settings = self._settings([*numbers, *categories], len(present), init_seed)
            # It prints some warnings although it is to be silent.
            model = catboost.CatBoost(settings).fit(rows, log_cout=StringIO(), log_cerr=StringIO())
        except (catboost.CatBoostError, ValueError) as error:
            raise refusal(self._model, error) from error
        with _private_file() as path:
            model.save_model(str(path), format="json", pool=rows)
            content = path.read_bytes()
        written = of_library(content, numbers, categories, present, catboost.__version__)
        return read_back(self._model, read_file, written)

    def _settings(self, columns: list[int], classes: int, seed: int) -> dict[str, Any]:
        settings = self._options.model_dump()
        if signs := settings.pop("monotone_constraints", None):
            # The library gets the numbers before the categories.
            settings["monotone_constraints"] = [signs[at] for at in columns]
        if not self._outputs.is_number:
            settings["loss_function"] = loss_of(classes)
        return settings | _SETTINGS | {"random_seed": seed % _SEEDS}

    def export(self, state: bytes) -> bytes:
        """Return the model: a state is all that it needs."""
        return state

    def predictor(self, model: bytes) -> BoostedClassifier | BoostedRegressor:
        """Return the model that a file holds."""
        file = read_file(model)
        check_model(file.inputs, file.classes, self._inputs, self._outputs)
        opened = catboost.CatBoost()
        try:
            with _private_file() as path:
                path.write_bytes(file.for_library())
                opened.load_model(str(path), format="json")
        except catboost.CatBoostError:
            raise InputError("a model file is not one that CatBoost reads") from None
        return answering(partial(_answer, opened, file), file.classes, self._outputs)

    def describe(self) -> dict[str, Any]:
        """Return nothing: the settings name the model."""
        return {}


def _answer(model: Any, file: CatBoostFile, inputs: FloatArray) -> npt.NDArray[np.float64]:
    """Return numbers, or the probabilities of the known classes."""
    rows = _pool(inputs, list(file.numbers), list(file.categories))
    raw = model.predict(rows, prediction_type="RawFormulaVal", thread_count=1)
    scores = np.asarray(raw, dtype=np.float64)
    if not file.classes:
        return scores
    if scores.ndim == 1:
        scores = np.stack([np.zeros(len(scores)), scores], axis=1)
    likely: npt.NDArray[np.float64] = np.exp(scores - scores.max(axis=1, keepdims=True))
    likely /= likely.sum(axis=1, keepdims=True)
    return likely


def _pool(
    inputs: FloatArray,
    numbers: list[int],
    categories: list[int],
    targets: Targets | None = None,
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
