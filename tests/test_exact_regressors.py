"""The scikit-learn regressors that forget rows."""

import pickle
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks
from unlearn import ExactBoostingRegressor, ExactForestRegressor, ExactLinearRegressor
from unlearn.exact_base import UnknownIdsError

KEY = "ab" * 32

MODELS: dict[str, Any] = {
    "forest": ExactForestRegressor(trees=20, key=KEY),
    "boosting": ExactBoostingRegressor(trees=20, key=KEY),
    "linear": ExactLinearRegressor(key=KEY),
    "fourier": ExactLinearRegressor(fourier=30, key=KEY),
}
every = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


@pytest.fixture
def rows() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], list[str]]:
    """Return values with a category and missing ones, amounts of money, and ids."""
    random = np.random.default_rng(5)
    values = random.normal(size=(400, 4))
    values[:, 2] = random.integers(0, 5, 400)
    values[random.random((400, 4)) < 0.03] = np.nan
    signal = np.nan_to_num(values[:, 0]) + (values[:, 2] > 2)
    amounts = 30_000 + 8_000 * signal + 500 * random.normal(size=400)
    return values, amounts, [f"id-{at}" for at in range(400)]


@parametrize_with_checks(  # type: ignore[untyped-decorator]  # scikit-learn has no types
    list(MODELS.values())
)
def test_scikit_learn_accepts_them(estimator: Any, check: Any) -> None:
    check(estimator)


@every
def test_forgetting_is_fitting_on_the_other_rows(model: Any, rows: tuple[Any, ...]) -> None:
    values, amounts, ids = rows
    fitted = clone(model).set_params(categorical=(2,)).fit(values, amounts, ids=ids)
    before = fitted.model_bytes()
    gone = ["id-3", "id-77", "id-399"]
    for one in gone:
        fitted.forget([one])

    stays = ~np.isin(ids, gone)
    again = clone(fitted).set_params(ranges=fitted.ranges_, target_scale=fitted.target_scale_)
    again.fit(values[stays], amounts[stays], ids=[name for name in ids if name not in gone])

    assert fitted.model_bytes() == again.model_bytes() != before
    assert fitted.ids_ == again.ids_
    assert np.array_equal(fitted.predict(values), again.predict(values))


@every
def test_everyone_may_be_forgotten(model: Any, rows: tuple[Any, ...]) -> None:
    values, amounts, ids = rows
    fitted = clone(model).fit(values, amounts, ids=ids).forget(ids)
    assert fitted.ids_ == []
    assert set(fitted.predict(values)) == {fitted.target_scale_[0]}


@every
def test_they_learn(model: Any, rows: tuple[Any, ...]) -> None:
    values, amounts, _ = rows
    model = clone(model).set_params(categorical=(2,))
    assert cross_val_score(model, values, amounts, cv=3).mean() > 0.8


@every
def test_a_fitted_model_can_be_stored_and_go_on(model: Any, rows: tuple[Any, ...]) -> None:
    values, amounts, ids = rows
    fitted = clone(model).fit(values, amounts, ids=ids)
    stored = pickle.loads(pickle.dumps(fitted))  # noqa: S301 - it was made in the line itself
    assert stored.forget(["id-9"]).model_bytes() == fitted.forget(["id-9"]).model_bytes()


@every
def test_nothing_is_changed_by_an_unknown_id(model: Any, rows: tuple[Any, ...]) -> None:
    values, amounts, ids = rows
    fitted = clone(model).fit(values, amounts, ids=ids).forget(["id-1"])
    before = fitted.model_bytes()
    for wrong in (["id-2", "nobody"], ["id-1"]):
        with pytest.raises(UnknownIdsError):
            fitted.forget(wrong)
    assert fitted.model_bytes() == before


@pytest.mark.parametrize("name", ["forest", "boosting"])
def test_importances_find_the_feature_that_decides(name: str) -> None:
    random = np.random.default_rng(6)
    values = random.normal(size=(500, 3))
    fitted = clone(MODELS[name]).fit(values, 100 * values[:, 1])
    found = fitted.feature_importances_
    assert found.sum() == pytest.approx(1)
    assert found.argmax() == 1
    assert found[1] > 0.8


@pytest.mark.parametrize("wrong", [[0.0, 0.0], [0.0, -1.0], [np.nan, 1.0], [0.0, np.inf]])
def test_the_scale_of_the_target_is_a_positive_number(
    wrong: list[float], rows: tuple[Any, ...]
) -> None:
    values, amounts, _ = rows
    with pytest.raises(ValueError, match="target_scale"):
        ExactLinearRegressor(target_scale=wrong).fit(values, amounts)
