"""scikit-learn's linear classifiers as modules: the same answers, there and back."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier, RidgeClassifierCV
from unlearn.stages.estimators import skops_file
from unlearn.stages.estimators.linear import from_sklearn, to_sklearn, unsupported
from unlearn.stages.unlearn.tabular.linear_objective import objective_of_sklearn

from tests.stages.unlearn.tabular.problems import as_rows, draw_rows

KINDS = [LogisticRegression, RidgeClassifier]


def fitted(kind: Any, classes: int, *, seed: int = 0, **options: Any) -> Any:
    inputs, targets = draw_rows(60, classes, seed=seed)
    return kind(**options).fit(inputs, targets)


def answers(estimator: Any, classes: int, seed: int = 1) -> Any:
    inputs, _ = draw_rows(30, classes, seed=seed)
    with torch.no_grad():
        return inputs, from_sklearn(estimator, classes)(torch.from_numpy(inputs))


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(
    classes=st.integers(2, 4),
    seed=st.integers(0, 100),
    penalty=st.sampled_from([0.01, 1.0, math.inf]),
    intercept=st.booleans(),
)
def test_the_softmax_of_the_logits_is_predict_proba(
    classes: int, seed: int, penalty: float, intercept: bool
) -> None:
    estimator = fitted(
        LogisticRegression, classes, seed=seed, C=penalty, fit_intercept=intercept, max_iter=2000
    )
    inputs, logits = answers(estimator, classes)

    assert np.allclose(torch.softmax(logits, dim=1), estimator.predict_proba(inputs), atol=1e-12)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("classes", [2, 3])
def test_a_ridge_answers_its_decision_values(classes: int, intercept: bool) -> None:
    estimator = fitted(RidgeClassifier, classes, fit_intercept=intercept)
    inputs, found = answers(estimator, classes)

    values = estimator.decision_function(inputs)
    expected = np.stack([-values, values], axis=1) if classes == 2 else values
    assert np.allclose(found, expected, atol=1e-12)
    assert np.array_equal(found.argmax(dim=1), estimator.predict(inputs))


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back_is_the_same_file(kind: Any, classes: int, intercept: bool) -> None:
    estimator = fitted(kind, classes, fit_intercept=intercept)

    again = to_sklearn(estimator, from_sklearn(estimator, classes))

    assert skops_file.dump(again) == skops_file.dump(estimator)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_what_changes_in_the_module_changes_in_a_copy(kind: Any, classes: int) -> None:
    estimator = fitted(kind, classes)
    before = skops_file.dump(estimator)
    module = from_sklearn(estimator, classes)
    module.draw(7)

    changed = skops_file.load(skops_file.dump(to_sklearn(estimator, module)))

    inputs, _ = draw_rows(30, classes, seed=2)
    with torch.no_grad():
        found = module(torch.from_numpy(inputs))
    assert np.array_equal(changed.predict(inputs), found.argmax(dim=1))
    assert not np.array_equal(changed.coef_, estimator.coef_)
    assert skops_file.dump(estimator) == before
    with torch.no_grad():
        module.weight.zero_()
    assert np.array_equal(changed.predict(inputs), found.argmax(dim=1))  # shares no memory


@pytest.mark.parametrize("known", [[0, 2], [1, 2, 3]])
@pytest.mark.parametrize("kind", KINDS)
def test_a_class_that_was_never_seen_is_never_answered(kind: Any, known: list[int]) -> None:
    inputs, targets = draw_rows(60, len(known))
    estimator = kind().fit(inputs, np.array(known)[targets])
    module = from_sklearn(estimator, 5)
    with torch.no_grad():
        found = module(torch.from_numpy(inputs))

    assert found.shape == (60, 5)
    assert np.array_equal(found.argmax(dim=1), estimator.predict(inputs))
    assert bool(torch.isfinite(found).all())
    if kind is LogisticRegression:
        likely = torch.softmax(found, dim=1)
        assert np.allclose(likely[:, known], estimator.predict_proba(inputs), atol=1e-12)
        assert not bool(likely[:, [place for place in range(5) if place not in known]].any())


@settings(max_examples=15, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    classes=st.integers(2, 4),
    strength=st.sampled_from([0.1, 1.0, 20.0]),
    intercept=st.booleans(),
    extra=st.integers(0, 1),
)
def test_the_objective_is_least_where_scikit_learn_ends(
    kind: Any, classes: int, strength: float, intercept: bool, extra: int
) -> None:
    more: dict[str, Any]
    if kind is LogisticRegression:
        more = {"C": strength, "tol": 1e-12, "max_iter": 10_000}
    else:
        more = {"alpha": strength}
    estimator = fitted(kind, classes, fit_intercept=intercept, **more)
    module = from_sklearn(estimator, classes + extra)
    objective = objective_of_sklearn(estimator)
    rows = as_rows(*draw_rows(60, classes))

    def slope() -> float:
        value = objective.total(module, rows)
        found = torch.autograd.grad(value, list(module.parameters()))
        return max(float(one.abs().max()) for one in found)

    assert slope() < 1e-4
    with torch.no_grad():  # and nowhere near it
        module.weight.mul_(1.05)
    assert slope() > 1e-3


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        (LogisticRegression(class_weight="balanced"), "class_weight"),
        (RidgeClassifier(class_weight={0: 2}), "class_weight"),
        (RidgeClassifier(positive=True, solver="lbfgs"), "positive"),
        (LogisticRegression(solver="liblinear"), "liblinear"),
        (LogisticRegression(solver="saga", l1_ratio=0.5), "l1_ratio"),
        (RandomForestClassifier(), "RandomForestClassifier is neither"),
        (RidgeClassifierCV(), "RidgeClassifierCV is neither"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_is_trained_otherwise_is_refused_with_the_reason(estimator: Any, reason: str) -> None:
    found = unsupported(estimator)

    assert found is not None
    assert reason in found


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        LogisticRegression(solver="newton-cg", C=3),
        LogisticRegression(C=math.inf),
        RidgeClassifier(),
        RidgeClassifier(alpha=3, solver="cholesky"),
    ],
)
def test_plain_linear_classifiers_are_taken(estimator: Any) -> None:
    assert unsupported(estimator) is None
