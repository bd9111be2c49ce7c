"""Regressors of the libraries for boosted trees: what they answer, their options and files."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from unlearn.stages.config.train import TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.rows.shard_file import TARGET, target_numbers

from tests.stages.conftest import make_params
from tests.stages.estimators.boosted.libraries import (
    LIBRARIES,
    REGRESSORS,
    Library,
    number_rows,
)
from tests.stages.regression import regression_params

ROWS = number_rows(200)
TRUTH = target_numbers(ROWS)


@pytest.fixture(params=REGRESSORS)
def library(request: pytest.FixtureRequest) -> Library:
    REGRESSORS[request.param].require()
    return REGRESSORS[request.param]


def values(library: Library, **options: Any) -> Any:
    return library.fit(ROWS, **options).predictor().answers(ROWS)


def test_numbers_are_predicted_in_the_units_of_the_dataset(library: Library) -> None:
    found = values(library, **library.more(60))

    assert found.shape == (200,)
    assert found.dtype == np.float64
    assert 1 - ((found - TRUTH) ** 2).mean() / TRUTH.var() > 0.9


def frame() -> pd.DataFrame:
    found = ROWS.select(["age", "income", "member", "city"]).to_pandas()
    found["member"] = found["member"].astype("float64")
    return found


def of_xgboost(table: pd.DataFrame, options: dict[str, Any]) -> Any:
    import xgboost

    table = table.astype({"city": "category"})
    model = xgboost.XGBRegressor(**options, n_jobs=1, enable_categorical=True, random_state=0)
    return model.fit(table, TRUTH).predict(table)


def of_lightgbm(table: pd.DataFrame, options: dict[str, Any]) -> Any:
    import lightgbm

    table = table.astype({"city": "category"})
    model = lightgbm.LGBMRegressor(**options, n_jobs=1, verbosity=-1, force_row_wise=True)
    return model.fit(table, TRUTH).predict(table)


def of_catboost(table: pd.DataFrame, options: dict[str, Any]) -> Any:
    import catboost

    model = catboost.CatBoostRegressor(
        **options,
        thread_count=1,
        cat_features=["city"],
        allow_writing_files=False,
        logging_level="Silent",
    )
    table = table.astype({"age": "float32", "income": "float32", "member": "float32"})
    return model.fit(table, TRUTH).predict(table)


#: Without anything that is drawn, the library's own class answers the same.
OWN: dict[str, tuple[Callable[[pd.DataFrame, dict[str, Any]], Any], dict[str, Any]]] = {
    "xgboost": (of_xgboost, {}),
    "lightgbm": (of_lightgbm, {}),
    "catboost": (
        of_catboost,
        {
            "random_strength": 0,
            "bootstrap_type": "No",
            "max_ctr_complexity": 0,
            "one_hot_max_size": 9,
        },
    ),
}


def test_the_answers_are_those_of_the_librarys_own_class(library: Library) -> None:
    own, options = OWN[library.module]

    found = values(library, **options)

    assert np.allclose(found, own(frame(), library.options | options), rtol=1e-5)


#: Second derivatives of this loss are small where residuals are large.
FREE = {"min_child_weight": 0, "reg_lambda": 0}


@pytest.mark.parametrize(
    ("name", "options", "quantile"),
    [
        ("xgboost", {"objective": "reg:absoluteerror"}, None),
        (
            "xgboost",
            {"objective": "reg:pseudohubererror", "huber_slope": 900.0} | FREE,
            None,
        ),
        ("xgboost", {"objective": "reg:quantileerror", "quantile_alpha": 0.9}, 0.9),
        ("xgboost", {"objective": "reg:gamma"}, None),
        ("xgboost", {"objective": "reg:tweedie", "tweedie_variance_power": 1.2}, None),
        ("xgboost", {"objective": "count:poisson"}, None),
        ("lightgbm", {"objective": "regression_l1"}, None),
        ("lightgbm", {"objective": "huber", "alpha": 0.8}, None),
        ("lightgbm", {"objective": "fair", "fair_c": 1000.0}, None),
        ("lightgbm", {"objective": "poisson"}, None),
        ("lightgbm", {"objective": "quantile", "alpha": 0.9}, 0.9),
        ("lightgbm", {"objective": "mape"}, None),
        ("lightgbm", {"objective": "gamma"}, None),
        ("lightgbm", {"objective": "tweedie", "tweedie_variance_power": 1.2}, None),
        ("catboost", {"loss_function": "RMSE"}, None),
        ("catboost", {"loss_function": "MAE"}, None),
        ("catboost", {"loss_function": "MAPE"}, None),
        ("catboost", {"loss_function": "Quantile:alpha=0.9"}, 0.9),
    ],
    ids=str,
)
def test_every_objective_is_read_back_and_quantiles_are_known(
    name: str, options: dict[str, Any], quantile: float | None
) -> None:
    library = REGRESSORS[name]
    library.require()
    train = library.recipe(**options).train

    found = values(library, **library.more(60), **options)

    assert library.spec.quantile(train) == quantile
    assert np.corrcoef(found, TRUTH)[0, 1] > 0.2
    if quantile is not None:
        assert 0.7 < (found + 1e-6 >= TRUTH).mean() <= 1


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("xgboost", {"objective": "reg:quantileerror"}, "belong together"),
        ("xgboost", {"quantile_alpha": 0.5}, "belong together"),
        ("xgboost", {"objective": "binary:logistic"}, "objective"),
        ("xgboost", {"scale_pos_weight": 2.0}, "scale_pos_weight: is not a known setting"),
        ("lightgbm", {"objective": "quantile"}, "needs alpha, the quantile"),
        ("lightgbm", {"objective": "quantile", "alpha": 2.0}, "needs alpha, the quantile"),
        ("lightgbm", {"is_unbalance": True}, "is_unbalance: is not a known setting"),
        ("catboost", {"loss_function": "Poisson"}, "loss_function: must be RMSE, MAE"),
        ("catboost", {"loss_function": "Quantile:alpha=9"}, "loss_function: must be RMSE"),
        ("catboost", {"loss_function": "RMSE;x"}, "loss_function: must be RMSE"),
        ("catboost", {"objective": "MAE"}, "objective is called loss_function here"),
        ("catboost", {"early_stopping_rounds": 5}, "early_stopping_rounds cannot be set: early st"),
        ("lightgbm", {"n_jobs": 5}, "n_jobs cannot be set: one thread is used"),
    ],
    ids=str,
)
def test_options_that_regressors_do_not_take_are_refused(
    name: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        regression_params(REGRESSORS[name].train(**options))


def test_each_class_is_for_its_own_task(library: Library) -> None:
    classifier = LIBRARIES[library.module]

    assert regression_params(library.train()).train.model == library.model
    with pytest.raises(InputError, match="predicts classes, and the task is regression"):
        regression_params(classifier.train())
    with pytest.raises(InputError, match="predicts numbers, and the target has classes"):
        make_params(train=library.train())


def test_a_model_of_the_other_task_is_refused(library: Library) -> None:
    numbers, classes = library.fit(ROWS).weights or b"", LIBRARIES[library.module].fit()

    with pytest.raises(InputError, match="predicts classes, not numbers"):
        library.estimator().predictor(classes.weights or b"")
    with pytest.raises(InputError, match="predicts numbers, not classes"):
        LIBRARIES[library.module].estimator().predictor(numbers)


#: What makes a model of numbers one of classes, in places that do not match each other.
HOSTILE: dict[str, list[tuple[bytes, bytes]]] = {
    "xgboost": [
        (b'"reg:squarederror"', b'"binary:logistic"'),
        (b'"reg:squarederror"', b'"reg:logistic"'),
        (b'"classes":"[]"', b'"classes":"[0,1]"'),
        (b'"scale_pos_weight":"1"', b'"scale_pos_weight":"inf"'),
    ],
    "lightgbm": [
        (b"objective=regression\n", b"objective=binary sigmoid:1\n"),
        (b"objective=regression\n", b"objective=regression sqrt\n"),
        (b"classes=\n", b"classes=0 1\n"),
        (b"num_class=1\n", b"num_class=2\n"),
    ],
    "catboost": [
        (b'"type":"RMSE"', b'"type":"Logloss"'),
        (b'"class_params":{}', b'"class_params":[]'),
        (b'"class_params":{}', b'"class_params":{"class_to_label":[0,1]}'),
    ],
}


def test_files_of_numbers_are_read_as_strictly(library: Library) -> None:
    weights = library.fit(ROWS).weights or b""
    for old, new in HOSTILE[library.module]:
        assert old in weights
        with pytest.raises(InputError, match="a model file is not in the"):
            library.spec.format.digest(weights.replace(old, new))


def test_numbers_that_the_library_cannot_hold_are_refused(library: Library) -> None:
    """The trees hold numbers of 32 or 64 bits; a target beyond them is no reason to crash."""
    at = ROWS.column_names.index(TARGET)
    huge = ROWS.set_column(at, ROWS.schema.field(at), pa.array(TRUTH * 1e300, pa.float64()))
    model = library.fit(huge)
    assert model.kind in {"constant", library.spec.kind}
    assert model.predictor().answers(huge).shape == (200,)


def test_the_options_of_a_new_project_are_those_of_the_class(library: Library) -> None:
    options: Any = library.spec.options
    assert options().model_dump() == LIBRARIES[library.module].spec.options().model_dump()  # type: ignore[misc]  # it has some
    train = TrainParams.model_validate(library.train())
    assert library.spec.has_probabilities(train)
    assert library.spec.tasks(library.model) == ("regression",)
