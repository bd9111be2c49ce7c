"""What MLflow imports to load a final model; see `mlflow_model.py`."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from unlearn.stages.final_model.predictions import PREDICTION
from unlearn.stages.final_model.table_model import TableClassifier, TableRegressor, table_model


class FinalModel:
    """A final model as MLflow calls it.

    Parameters
    ----------
    model
        What `unlearn.load_model` returns.
    """

    def __init__(self, model: TableClassifier | TableRegressor) -> None:
        self._model = model

    def predict(self, rows: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return the columns of `unlearn predict`, but for the id.

        Parameters
        ----------
        rows
            The features.
        params
            Not used.
        """
        del params
        if isinstance(self._model, TableRegressor):
            found = {PREDICTION: self._model.predict(rows)}
            return pd.DataFrame(found, index=rows.index)
        classes, shares = self._model.classes_, self._model.predict_proba(rows)
        found = {PREDICTION: np.asarray(classes)[shares.argmax(axis=1)].astype(object)}
        found |= {f"probability_{name}": shares[:, at] for at, name in enumerate(classes)}
        return pd.DataFrame(found, index=rows.index)


def _load_pyfunc(path: str) -> FinalModel:
    """Return the final model in a folder; MLflow calls this."""
    return FinalModel(table_model(Path(path)))
