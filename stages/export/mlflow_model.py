"""The final model of a table as a model of MLflow, in the flavour `python_function`.

MLflow 3 sends statistics of its use unless it is told not to before it is imported.
"""

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec as find_module
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from unlearn.stages.config.dataset import TENSOR_KINDS, DatasetParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.registry import find_spec
from unlearn.stages.export.made_up_rows import made_up_rows
from unlearn.stages.export.noted import write_published
from unlearn.stages.final_model.description import Description
from unlearn.stages.final_model.ensemble import Ensemble, load_ensemble
from unlearn.stages.final_model.files import read_final_model
from unlearn.stages.training.shard_model import ShardModel

#: What MLflow imports to load the model.
LOADER = "unlearn.stages.export.mlflow_loader"

#: Made-up rows that the folder has as an example of its input.
_EXAMPLES = 3

_FLAVOUR = "python_function"
_DATA = "model"

#: What the environment of a model has, beside this package, where it is needed to answer.
_LIBRARIES = ("numpy", "pandas", "pyarrow", "scikit-learn", "skops", "torch")


def require_mlflow() -> None:
    """Raise InputError if MLflow is not installed."""
    if find_module("mlflow") is None:
        raise InputError("mlflow is not installed", "pip install 'dvc-unlearn[mlflow]'")


def check_mlflow(description: Description, members: Sequence[tuple[str, ShardModel]]) -> None:
    """Check that MLflow can load a final model from its folder, before anything is written.

    Parameters
    ----------
    description, members
        As `read_final_model` returns them.

    Raises
    ------
    InputError
        If there is no model, it has Python code of the user's own, or it needs files outside its
        folder.
    """
    if not members:
        raise InputError("the final model has no members: every shard lost all its rows")
    trains = [model.description.get("train", {}) for _, model in members]
    if description.code is not None or any(train.get("trusted_types") for train in trains):
        raise InputError(
            "the final model has Python code or types of your own, which MLflow would load unasked",
            "`unlearn export --hub` writes a folder whose reader decides",
        )
    if any(train.get("freeze") for train in trains):
        raise InputError(
            "the final model needs its frozen backbone, which is not in its folder",
            "`unlearn export --onnx` writes both into one file",
        )


def write_mlflow(final_model: Path, folder: Path, facts: Mapping[str, str]) -> None:
    """Write a folder that `mlflow.pyfunc.load_model` loads.

    Parameters
    ----------
    final_model
        The folder of a final model that `check_mlflow` accepts.
    folder
        The folder to make.
    facts
        Metadata: which generation it is, and the verdict on it.
    """
    description, members = read_final_model(final_model)
    # Nothing is sent from a process of ours.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    from mlflow.models import Model
    from mlflow.pyfunc import save_model

    model = Model(metadata=dict(facts))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        save_model(
            path=str(folder),
            loader_module=LOADER,
            mlflow_model=model,
            signature=_signature(description.dataset),
            input_example=_example(load_ensemble(final_model, root=final_model.parents[1])),
            pip_requirements=requirements(model for _, model in members),
        )
    write_published(final_model, folder / _DATA)
    _name_data(folder / "MLmodel")


def _name_data(path: Path) -> None:
    """Say where the final model is; MLflow itself would copy it with links and permissions."""
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["flavors"][_FLAVOUR]["data"] = _DATA
    path.write_text(yaml.safe_dump(content, sort_keys=True), encoding="utf-8")


def _signature(dataset: DatasetParams) -> Any:
    """Return the names of columns; their kinds are read, or refused, as the dataset's are.

    MLflow refuses whole numbers for a column of float64, and numbers for one of texts, which
    `unlearn predict` reads: so a column is of any type.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec
    from mlflow.types.schema import AnyType

    # MLflow gives the class no types.
    any_type = AnyType()  # type: ignore[no-untyped-call]
    inputs: list[ColSpec | TensorSpec] = [ColSpec(any_type, name) for name in dataset.features]
    outputs: list[ColSpec | TensorSpec]
    if dataset.task == "regression":
        outputs = [ColSpec(DataType.double, "prediction")]
    else:
        outputs = [ColSpec(DataType.string, "prediction")]
        outputs += [ColSpec(DataType.double, f"probability_{name}") for name in dataset.classes]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))


def _example(ensemble: Ensemble) -> pd.DataFrame | None:
    """Return made-up rows; None where features are arrays, which MLflow does not write.

    Members with keyed categories know digests, which no dataset has.
    """
    has_arrays = any(kind in TENSOR_KINDS for kind in ensemble.dataset.features.values())
    if has_arrays or ensemble.dataset.keys_categories:
        return None
    rows = made_up_rows(ensemble, [each.predictor for each in ensemble.members])
    return pd.DataFrame(rows.slice(0, _EXAMPLES).to_pandas())


def requirements(models: Iterable[ShardModel]) -> list[str]:
    """Return what has to be installed to load models, at the versions of this environment."""
    names = {each.description["train"]["model"] for each in models if "train" in each.description}
    extras = [extra for name in names if (extra := find_spec(name).extra) is not None]
    boosted = [name for extra in extras for name in extra.distributions if _is_installed(name)]
    return [f"dvc-unlearn=={version('dvc-unlearn')}"] + [
        f"{name}=={version(name).partition('+')[0]}" for name in (*_LIBRARIES, *boosted[:1])
    ]


def _is_installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True
