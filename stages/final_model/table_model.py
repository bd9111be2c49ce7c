"""A final model of tables in Python, as scikit-learn knows classifiers and regressors."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, NoReturn, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.validation import check_is_fitted
from unlearn.stages.config.dataset import TENSOR_KINDS
from unlearn.stages.errors import InputError, RowsError
from unlearn.stages.estimators.base import UnansweredRowError
from unlearn.stages.final_model.description import FILE_NAME
from unlearn.stages.final_model.ensemble import Ensemble, load_ensemble, load_own_ensemble
from unlearn.stages.final_model.new_rows import NewRows, as_table
from unlearn.stages.project.files import digest_file
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.schema import target_column

Floats = npt.NDArray[np.float64]

#: What errors call rows that are in no file.
_INPUT = "the input"

#: Dimensions of an array whose columns are features.
_COLUMNS = 2


class TableModel(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """What classifiers and regressors of tables have in common.

    Parameters
    ----------
    path
        The folder of the final model.
    trust_code
        Whether the Python code in the folder may be run; see `load_model`.
    as_written
        Whether a category in another notation than the model knows, such as 1003 for 01003, is one
        that it does not know. By default it is an error.
    root
        The folder that the path of a frozen backbone starts from.
    base
        The file of a frozen backbone, if it has moved since the training.

    Attributes
    ----------
    n_features_in_ : int
        Number of features.
    feature_names_in_ : numpy.ndarray
        Names of the features, in the order in which arrays have them, shape (features,).
    feature_importances_ : numpy.ndarray
        The share of each feature in what the splits of trees gain, shape (features,): the mean over
        the members, with the sum 1. Models without trees do not have this attribute.
    ensemble : Ensemble
        The members, and the rule that combines them.
    """

    #: What the final model's dataset must be for.
    _task: ClassVar[str]

    def __init__(
        self,
        path: str | Path,
        *,
        trust_code: bool = False,
        as_written: bool = False,
        root: str | Path | None = None,
        base: str | Path | None = None,
    ) -> None:
        self.path = path
        self.trust_code = trust_code
        self.as_written = as_written
        self.root = root
        self.base = base

    def _take(self, ensemble: Ensemble) -> Self:
        """Answer with an ensemble that was loaded from the folder."""
        if ensemble.task != self._task:
            raise InputError(f"this final model is one of {ensemble.task}: `load_model` loads it")
        self.ensemble = ensemble
        self.feature_names_in_ = np.array(list(ensemble.features), object)
        self.n_features_in_ = len(self.feature_names_in_)
        self._digest = digest_file(Path(self.path) / FILE_NAME)
        return self

    @property
    def feature_importances_(self) -> Floats:
        """The share of each feature in what the splits of trees gain, shape (features,)."""
        check_is_fitted(self)
        found = self.ensemble.importances()
        if found is None:
            raise AttributeError("the members of this final model have no feature importances")
        return found

    def fit(self, X: Any = None, y: Any = None) -> NoReturn:  # noqa: N803 - as in scikit-learn
        """Refuse: only `unlearn repro` trains a final model.

        Raises
        ------
        InputError
            Always.
        """
        del X, y
        raise InputError(
            "a final model cannot be fitted: `unlearn repro` trains it",
            "for tools that fit what they are given: sklearn.frozen.FrozenEstimator(model)",
        )

    def _answers(self, X: Any) -> Floats:  # noqa: N803
        """Return what the ensemble answers to rows, and warn of what it ignores of them."""
        check_is_fitted(self)
        rows = self.ensemble.new_rows(as_written=self.as_written)
        with _errors_of_rows():
            typed = rows.typed(self._table(X), _INPUT, 1)
            if not isinstance(X, pa.Table | pa.RecordBatch):
                rows.see_columns(getattr(X, "columns", self.feature_names_in_))
            _warn(rows)
            try:
                return self.ensemble.answers(typed)
            except UnansweredRowError as error:
                place = "" if error.row is None else f", data row {error.row + 1}"
                raise InputError(f"{_INPUT}{place}: {error.reason}", *error.hints) from error

    def _table(self, X: Any) -> pa.Table:  # noqa: N803
        """Return rows of any form that has the features, by name or by order."""
        if hasattr(X, "iloc") and hasattr(X, "columns"):  # pandas, which need not be imported
            return as_table(X, list(self.feature_names_in_), _INPUT)
        if isinstance(X, np.ndarray | list | tuple):
            return self._by_order(X)
        if isinstance(X, pa.Table | pa.RecordBatch):
            return pa.table(X)
        raise TypeError(
            "rows are a pandas DataFrame, a PyArrow table, or an array of shape (rows, "
            f"{self.n_features_in_}), and not of type {type(X).__name__}"
        )

    def _by_order(self, X: Any) -> pa.Table:  # noqa: N803
        """Return an array, or lists of rows, with the names of the features."""
        # Pandas, for rows that are no table.
        import pandas as pd

        names: list[str] = list(self.feature_names_in_)
        values = X if isinstance(X, np.ndarray) else np.asarray(X, object)
        is_array = self.ensemble.dataset.features[names[0]] in TENSOR_KINDS
        if len(names) == 1 and is_array and values.ndim > _COLUMNS:
            frame = pd.DataFrame({names[0]: pd.Series(list(values), dtype=object)})
        elif values.ndim == _COLUMNS and values.shape[1] == len(names):
            frame = pd.DataFrame(values, columns=names)
        else:
            raise InputError(
                f"{_INPUT}: an array of shape {values.shape}, and the model has {len(names)} "
                "features",
                "give one column for each of `feature_names_in_`, or a table with their names",
            )
        return as_table(frame, names, _INPUT)

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:  # noqa: N803 - scikit-learn's name
        """Return the size of the model; no class, category or path is in it."""
        del N_CHAR_MAX
        if not hasattr(self, "ensemble"):
            return f"{type(self).__name__}(not loaded)"
        members = len(self.ensemble.members)
        return (
            f"{type(self).__name__}(features={self.n_features_in_}, {self._size()}"
            f"members={members}, rule={self.ensemble.rule!r})"
        )

    def _size(self) -> str:
        return ""

    def _repr_html_inner(self) -> str:
        return f"<pre>{self!r}</pre>"

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "ensemble")

    def __sklearn_clone__(self) -> Self:
        # A copy without the weights could not be trained, so it shares them. Its settings are its
        # own.
        copy = type(self)(**self.get_params(deep=False))
        copy.__dict__.update(self.__dict__)
        return copy

    def set_params(self, **params: Any) -> Self:
        """Set parameters, and load the model again if they name another folder.

        Parameters
        ----------
        **params
            See the class.

        Raises
        ------
        InputError
            If that folder has no whole final model, or one for another task. The model is then as
            it was.
        """
        before = dict(self.__dict__)
        super().set_params(**params)
        if params.keys() - {"as_written"} and hasattr(self, "ensemble"):
            try:
                self._take(_ensemble(self))
            except Exception:
                self.__dict__ = before
                raise
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Return where the model is: a pickle does not hold what was trained on rows."""
        check_is_fitted(self)
        return {**self.get_params(deep=False), "path": str(self.path), "digest": self._digest}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Load the model again from its folder.

        Raises
        ------
        InputError
            If the final model is not there, or is another one by now.
        """
        params = {name: value for name, value in state.items() if name != "digest"}
        self.__dict__.update(params)
        folder = Path(self.path)
        if not (folder / FILE_NAME).is_file() or digest_file(folder / FILE_NAME) != state["digest"]:
            raise InputError(
                "the final model has changed since this was pickled, or is no longer there",
                "a pickle names the folder; `unlearn.load_model` loads the model that is there now",
            )
        self._take(_ensemble(self))


class TableClassifier(ClassifierMixin, TableModel):  # type: ignore[misc]
    """The final model of a table with classes, as a scikit-learn classifier.

    `unlearn.load_model` returns it. It is trained already, and cannot be fitted. Rows are a pandas
    DataFrame or a PyArrow table with the feature columns by name, in any order; or an array of
    shape (rows, features) with the columns in the order of `feature_names_in_`. A table may have
    other columns, which are ignored with a warning. Values are read as `unlearn predict` reads
    them, and the answers are the same.

    A pickle holds the path of the folder, and not the model, so that a request reaches it:
    unpickling loads the folder, and fails if the model has changed since.

    Attributes
    ----------
    classes_ : numpy.ndarray
        Labels of the classes as text, in the order of the columns of `predict_proba`, shape
        (classes,).
    n_features_in_ : int
        Number of features.
    feature_names_in_ : numpy.ndarray
        Names of the features, shape (features,).
    feature_importances_ : numpy.ndarray
        The share of each feature in what the splits of trees gain, shape (features,). Models
        without trees do not have this attribute.

    Examples
    --------
    >>> import pandas as pd
    >>> import unlearn
    >>> model = unlearn.load_model("models/final_model")
    >>> model
    TableClassifier(features=1, classes=2, members=2, rule='mean_probability')
    >>> rows = pd.read_csv("new_rows.csv")
    >>> model.predict(rows)
    array(['no', 'yes', 'yes'], dtype='<U3')
    >>> model.predict_proba(rows).shape
    (3, 2)
    """

    _task = "classification"

    def _take(self, ensemble: Ensemble) -> Self:
        self.classes_ = np.array(ensemble.classes, str)
        return super()._take(ensemble)

    def _size(self) -> str:
        return f"classes={len(self.classes_)}, "

    def predict_proba(self, X: Any) -> Floats:  # noqa: N803 - as in scikit-learn
        """Return the probability of each class.

        Parameters
        ----------
        X
            The rows; see the class.

        Returns
        -------
        numpy.ndarray
            Shape (rows, classes), in the order of `classes_`. They are shares of votes where the
            members only vote.

        Raises
        ------
        InputError
            If a feature is missing, or a value is not of its kind. The error names column and row,
            and never a value.

        Warns
        -----
        UserWarning
            If rows have columns, or categories, that the model does not know.
        """
        return self._answers(X)

    def predict(self, X: Any) -> npt.NDArray[np.str_]:  # noqa: N803
        """Return the most probable class of each row, shape (rows,); see `predict_proba`."""
        chosen = self._answers(X).argmax(axis=1)
        found: npt.NDArray[np.str_] = self.classes_[chosen]
        return found

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: N803
        """Return the accuracy.

        Parameters
        ----------
        X
            The rows; see the class.
        y
            The class of each row. Labels are read as the dataset's are: 1 is the class `1`.
        sample_weight
            The weight of each row.

        Raises
        ------
        InputError
            If a label is no class of the model, or `X` is refused by `predict`.
        """
        dataset = self.ensemble.dataset
        labels = pa.table({str(dataset.target): pa.array(_targets(y).tolist())})
        with _errors_of_rows():
            truth = target_column(labels, dataset, "y", 1).to_numpy()
        found: float = accuracy_score(truth, self.predict(X), sample_weight=sample_weight)
        return found


class TableRegressor(RegressorMixin, TableModel):  # type: ignore[misc]
    """The final model of a table with numbers to predict, as a scikit-learn regressor.

    See `TableClassifier` for the rows that it takes, and for pickles.

    Attributes
    ----------
    n_features_in_ : int
        Number of features.
    feature_names_in_ : numpy.ndarray
        Names of the features, shape (features,).
    feature_importances_ : numpy.ndarray
        The share of each feature in what the splits of trees gain, shape (features,). Models
        without trees do not have this attribute.
    """

    _task = "regression"

    def predict(self, X: Any) -> Floats:  # noqa: N803 - as in scikit-learn
        """Return the predicted number of each row, in the units of the dataset, shape (rows,).

        Parameters
        ----------
        X
            The rows; see the class.

        Raises
        ------
        InputError
            If a feature is missing, or a value is not of its kind. The error names column and row,
            and never a value.

        Warns
        -----
        UserWarning
            If rows have columns, or categories, that the model does not know.
        """
        return self._answers(X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: N803
        """Return the coefficient of determination, R2; see `predict`.

        Parameters
        ----------
        X
            The rows.
        y
            The number of each row.
        sample_weight
            The weight of each row.
        """
        try:
            truth = np.asarray(_targets(y), np.float64)
        except (TypeError, ValueError):
            # NumPy's own error would have the value.
            raise RowsError("y: a value is not a number") from None
        found: float = r2_score(truth, self.predict(X), sample_weight=sample_weight)
        return found


def table_model(
    folder: Path,
    *,
    trust_code: bool = False,
    as_written: bool = False,
    root: Path | None = None,
    base: Path | None = None,
    category_key: str | None = None,
) -> TableClassifier | TableRegressor:
    """Load a final model of tables; see `load_model`."""
    blank = TableClassifier(
        folder, trust_code=trust_code, as_written=as_written, root=root, base=base
    )
    # The key is no parameter of the model: a pickle has its parameters.
    return _of(_ensemble(blank, category_key), **blank.get_params(deep=False))


def own_table_model(project: Project, *, trust_code: bool) -> TableClassifier | TableRegressor:
    """Load a project's final model of tables; see `load_own_model`."""
    folder, root = project.final_model, project.root
    ensemble = load_own_ensemble(project, trust_code=trust_code)
    return _of(ensemble, path=folder, trust_code=trust_code, root=root)


def _of(ensemble: Ensemble, **params: Any) -> TableClassifier | TableRegressor:
    kind = TableRegressor if ensemble.task == "regression" else TableClassifier
    return kind(**params)._take(ensemble)  # noqa: SLF001 - of this module


def _ensemble(model: TableModel, category_key: str | None = None) -> Ensemble:
    return load_ensemble(
        model.path,
        trust_code=model.trust_code,
        root=None if model.root is None else Path(model.root),
        base=None if model.base is None else Path(model.base).resolve(),
        category_key=category_key,
    )


def _warn(rows: NewRows) -> None:
    """Warn of columns and categories that the model does not know, where the caller stands."""
    for note in (*rows.notes_on_columns(), *rows.notes_on_categories()):
        warnings.warn(note, stacklevel=4)


def _targets(y: Any) -> npt.NDArray[Any]:
    """Return targets as an array of shape (rows,); scikit-learn takes one column as well."""
    values = np.asarray(y)
    if values.ndim == _COLUMNS and values.shape[1] == 1:
        return values[:, 0]
    if values.ndim != 1:
        raise RowsError(f"y: an array of shape {values.shape}, and each row has one target")
    return values


@contextmanager
def _errors_of_rows() -> Iterator[None]:
    """Make errors of rows ones that scikit-learn's callers expect, too."""
    try:
        yield
    except InputError as error:
        raise RowsError(error.message, *error.hints, facts=error.facts) from error.__cause__
