"""The scikit-learn estimators that forget rows."""

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks
from unlearn import (
    ExactBoostingClassifier,
    ExactForestClassifier,
    ExactLinearClassifier,
    ExactNaiveBayesClassifier,
)
from unlearn.exact_models import UnknownIdsError

KEY = "ab" * 32

MODELS: dict[str, Any] = {
    "forest": ExactForestClassifier(trees=15, share=0.4, key=KEY),
    "boosting": ExactBoostingClassifier(trees=15, depth=4, key=KEY),
    "linear": ExactLinearClassifier(fourier=10, key=KEY),
    "ridge": ExactLinearClassifier(rule="ridge", key=KEY),
    "naive_bayes": ExactNaiveBayesClassifier(key=KEY, categorical=(2,)),
}
every = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


@pytest.fixture
def rows() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.str_], list[str]]:
    """Return values with a category and missing ones, labels, and ids."""
    random = np.random.default_rng(5)
    values = random.normal(size=(400, 4))
    values[:, 2] = random.integers(0, 5, 400)
    values[random.random((400, 4)) < 0.03] = np.nan
    signal = np.nan_to_num(values[:, 0]) + (values[:, 2] > 2)
    labels = np.array(["low", "mid", "high"])[np.digitize(signal, [0, 0.9])]
    return values, labels, [f"id-{at}" for at in range(400)]


@parametrize_with_checks(  # type: ignore[untyped-decorator]  # scikit-learn has no types
    [
        MODELS["forest"],
        MODELS["boosting"],
        MODELS["linear"],
        MODELS["ridge"],
        ExactNaiveBayesClassifier(),
    ]
)
def test_scikit_learn_accepts_them(estimator: Any, check: Any) -> None:
    check(estimator)


@every
def test_forgetting_is_fitting_on_the_other_rows(model: Any, rows: tuple[Any, ...]) -> None:
    values, labels, ids = rows
    fitted = clone(model).fit(values, labels, ids=ids)
    before = fitted.model_bytes()
    gone = ["id-3", "id-77", "id-399"]
    for one in gone:
        fitted.forget([one])

    stays = ~np.isin(ids, gone)
    again = clone(model).set_params(ranges=fitted.ranges_)
    again.fit(values[stays], labels[stays], ids=[name for name in ids if name not in gone])

    assert fitted.model_bytes() == again.model_bytes() != before
    assert fitted.ids_ == again.ids_
    assert np.array_equal(fitted.predict_proba(values), again.predict_proba(values))


@every
def test_the_order_of_rows_and_requests_makes_no_difference(
    model: Any, rows: tuple[Any, ...]
) -> None:
    values, labels, ids = rows
    fitted = clone(model).fit(values, labels, ids=ids).forget(ids[:7]).forget(ids[7:9])
    order = np.random.default_rng(2).permutation(400)
    again = clone(model).fit(values[order], labels[order], ids=[ids[at] for at in order])
    for one in reversed(ids[:9]):
        again.forget([one])
    assert again.model_bytes() == fitted.model_bytes()


@every
def test_everyone_may_be_forgotten(model: Any, rows: tuple[Any, ...]) -> None:
    values, labels, ids = rows
    fitted = clone(model).fit(values, labels, ids=ids).forget(ids)
    assert fitted.ids_ == []
    assert np.allclose(fitted.predict_proba(values), 1 / 3)


def test_minus_zero_is_the_category_zero() -> None:
    """Which of them stands for both must not follow from the rows that go."""
    values = np.array([[-0.0], [0.0], [1.0], [0.0], [1.0], [-0.0]])
    labels = np.array([0, 1, 1, 0, 0, 1])
    model = ExactNaiveBayesClassifier(categorical=(0,), key=KEY)
    for gone in ([0, 5], [1, 3]):
        fitted = clone(model).fit(values, labels).forget(gone)
        stays = [at for at in range(6) if at not in gone]
        again = clone(model).fit(values[stays], labels[stays], ids=stays)
        assert fitted.model_bytes() == again.model_bytes()


def test_numbers_of_numpy_are_ids_and_options_as_those_of_python(rows: tuple[Any, ...]) -> None:
    values, labels, _ = rows
    plain = ExactForestClassifier(trees=5, key=KEY).fit(values, labels, ids=range(400)).forget([3])
    trees: Any = np.int64(5)
    model = ExactForestClassifier(trees=trees, key=KEY)
    other = model.fit(values, labels, ids=np.arange(400)).forget(np.array([3]))
    assert other.model_bytes() == plain.model_bytes()
    assert other.ids_ == plain.ids_


@every
def test_they_learn(model: Any, rows: tuple[Any, ...]) -> None:
    values, labels, _ = rows
    assert cross_val_score(model, values, labels, cv=3).mean() > 0.6


@every
def test_a_fitted_model_can_be_stored_and_go_on(model: Any, rows: tuple[Any, ...]) -> None:
    values, labels, ids = rows
    fitted = clone(model).fit(values, labels, ids=ids)
    stored = pickle.loads(pickle.dumps(fitted))  # noqa: S301 - it was made in the line itself
    assert stored.forget(["id-9"]).model_bytes() == fitted.forget(["id-9"]).model_bytes()


@every
def test_nothing_is_changed_by_an_unknown_id(model: Any, rows: tuple[Any, ...]) -> None:
    values, labels, ids = rows
    fitted = clone(model).fit(values, labels, ids=ids).forget(["id-1"])
    before = fitted.model_bytes()
    for wrong in (["id-2", "nobody"], ["id-1"]):
        with pytest.raises(UnknownIdsError):
            fitted.forget(wrong)
    assert fitted.model_bytes() == before


def test_ids_are_one_for_each_row(rows: tuple[Any, ...]) -> None:
    values, labels, ids = rows
    for wrong in (ids[:-1], ["same"] * 400):
        with pytest.raises(ValueError, match="no two may be equal"):
            ExactNaiveBayesClassifier().fit(values, labels, ids=wrong)


def test_ids_are_the_numbers_of_the_rows_by_default(rows: tuple[Any, ...]) -> None:
    values, labels, _ = rows
    fitted = ExactNaiveBayesClassifier().fit(values, labels).forget([0, 399])
    assert fitted.ids_ == list(range(1, 399))


def test_the_key_decides_what_a_forest_draws(rows: tuple[Any, ...]) -> None:
    values, labels, ids = rows
    models = {
        ExactForestClassifier(trees=5, key=key).fit(values, labels, ids=ids).model_bytes()
        for key in (None, KEY, "cd" * 32)
    }
    assert len(models) == 3


def test_ranges_have_two_ends_for_each_feature(rows: tuple[Any, ...]) -> None:
    values, labels, _ = rows
    with pytest.raises(ValueError, match=r"shape must be \(4, 2\)"):
        ExactNaiveBayesClassifier(ranges=[[0, 1]]).fit(values, labels)
    with pytest.raises(ValueError, match="low must be less than high"):
        ExactNaiveBayesClassifier(ranges=[[1, 0]] * 4).fit(values, labels)


@pytest.mark.parametrize("name", ["forest", "boosting"])
def test_importances_find_the_feature_that_decides(name: str) -> None:
    random = np.random.default_rng(6)
    values = random.normal(size=(500, 3))
    fitted = clone(MODELS[name]).fit(values, values[:, 1] > 0)
    found = fitted.feature_importances_
    assert found.sum() == pytest.approx(1)
    assert found.argmax() == 1


def test_importing_the_package_loads_no_scikit_learn() -> None:
    code = "import sys, unlearn; print('sklearn' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
