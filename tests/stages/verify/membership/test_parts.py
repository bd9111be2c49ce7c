"""Attacks that compare the trees of a row with the others, and models of sums: no training."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from unlearn.stages.config.row_sets import ExactForestOptions
from unlearn.stages.context import Context
from unlearn.stages.estimators.row_sets.forest import ExactForest
from unlearn.stages.estimators.row_sets.forest_draws import ForestDraws
from unlearn.stages.estimators.row_sets.row_set import RowSet
from unlearn.stages.project.paths import HOLDOUT, Project
from unlearn.stages.rows.shard_file import read_shard, target_numbers
from unlearn.stages.rows.tokens import Key
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.verify.evidence import FINAL_MODEL, SHARD_MODELS, Evidence
from unlearn.stages.verify.exactness.checks import derive_rows
from unlearn.stages.verify.membership.parts import has_parts, parts_of

from tests.conftest import make_frame
from tests.stages.conftest import (
    EXACT,
    make_context,
    make_params,
    make_recipe,
    put_on_list,
    run_stages,
)
from tests.stages.estimators.row_sets.laws import KEY, SHAPE, draw_rows
from tests.stages.regression import EXACT_FOREST, make_amounts, regression_params
from tests.stages.verify.test_evidence import evidence, honour, some_of_each

#: What an attack must find at least. Linear models learn few rows by heart.
LEARNED = {"exact_forest": 0.6, "exact_linear": 0.5, "exact_forest of numbers": 0.6}

BY_HEART = {"trees": 60, "share": 0.2, "leaf": 1, "depth": 64}

OPTIONS: dict[str, dict[str, Any]] = {
    "exact_forest": BY_HEART,
    "exact_forest of numbers": BY_HEART,
    "exact_linear": {"fourier": 250, "bandwidth": 4.0, "shrinkage": 1e-6},
}
every = pytest.mark.parametrize("model", OPTIONS)


@given(st.integers(1, 60), st.floats(0.01, 1), st.integers(0, 5))
def test_one_sub_forest_has_the_trees_of_a_row_and_the_others_none(
    trees: int, share: float, seed: int
) -> None:
    draws = ForestDraws(KEY, SHAPE, ExactForestOptions(trees=trees, share=share))
    words = draw_rows(20, seed).words
    own = draws.all_trees_of(words)

    found = draws.sub_forests(words)

    assert np.array_equal(found[:, 0], own)
    assume(found.shape[1] > 1)
    for row in range(20):
        used = found[row].reshape(-1)
        assert len(set(used)) == len(used), "no tree is in two sub-forests of a row"
    assert (found >= draws.first_trees[:-1]).all()
    assert (found < draws.first_trees[1:]).all()


NUMBERS = EXACT_FOREST | {"options": EXACT_FOREST["options"] | BY_HEART}


def train_of(model: str) -> dict[str, Any]:
    return EXACT | {"model": model, "options": EXACT["options"] | OPTIONS[model]}


@pytest.fixture(scope="module")
def memorised(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Context, Context]]:
    """Return what makes projects before and after a request was carried out."""

    @cache
    def make(model: str) -> tuple[Context, Context]:
        root = tmp_path_factory.mktemp("project")
        if model == "exact_forest of numbers":
            params = regression_params(NUMBERS, shards=1, holdout=0.4)
            frame, target = make_amounts(900), "amount"
        else:
            params = make_params(shards=1, train=train_of(model), holdout=0.4)
            frame, target = make_frame(900), "label"
        permuted = np.random.default_rng(53).permutation(frame[target])
        before = make_context(root / "before", frame.assign(**{target: permuted}), params)
        run_stages(before)
        put_on_list(before, *some_of_each(before, 120))
        shutil.copytree(before.project.root, root / "after")
        after = replace(before, project=Project(root / "after"))
        honour(after)
        return before, after

    return make


@pytest.fixture(scope="module")
def attacked(
    memorised: Callable[[str], tuple[Context, Context]],
) -> Callable[[str], tuple[Evidence, Evidence]]:
    """Return what attacks both projects, once for each model."""

    @cache
    def attack(model: str) -> tuple[Evidence, Evidence]:
        before, after = memorised(model)
        return evidence(before), evidence(after)

    return attack


def intervals(found: Evidence, model: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the 95 % intervals of the forgotten rows and of the control."""
    attacked = found.attacks[model]["lira"]
    assert attacked is not None
    return attacked.forgotten.wide, attacked.control.wide


@pytest.mark.slow
@every
@pytest.mark.parametrize("under_attack", [SHARD_MODELS, FINAL_MODEL])
def test_rows_that_were_learned_by_heart_are_found_until_they_are_forgotten(
    model: str, under_attack: str, attacked: Callable[[str], tuple[Evidence, Evidence]]
) -> None:
    before, after = attacked(model)
    (low, _), _ = intervals(before, under_attack)
    assert low > LEARNED[model]
    (low, high), (of_members, _) = intervals(after, under_attack)
    assert low < 0.5 < high
    assert of_members > LEARNED[model], "the same attack still finds the rows that stayed"


def test_rows_that_no_tree_has_seen_are_alike_over_many_keys() -> None:
    """The mean over keys, since one key's result is one draw."""
    aucs = []
    options = ExactForestOptions(trees=20, share=0.2, leaf=1, depth=64)
    random = np.random.default_rng(3)
    for number in range(60):
        key = Key(hashlib.sha256(b"key %d" % number).hexdigest())
        rows = draw_rows(260, number)
        targets = random.permutation(rows.targets)
        rows = RowSet(rows.digests, rows.codes, targets)
        inside = np.arange(260) % 2 == 0
        forest = ExactForest(key, SHAPE, options)
        model = forest.predictor(forest.model(forest.fit(rows.take(inside))))
        out = rows.take(~inside)
        scores = []
        for chosen in (rows.take(inside), out):
            right = np.stack(
                [
                    model.tree_probabilities(chosen.codes, tree)[
                        np.arange(len(chosen)), chosen.targets
                    ]
                    for tree in range(20)
                ],
                axis=1,
            )
            found = right_of(right, forest.draws.sub_forests(chosen.words))
            scores.append(found[:, 0] - found[:, 1:].mean(axis=1))
        inside_scores, out_scores = scores
        first, second = out_scores[::2], out_scores[1::2]
        aucs.append([auc_of(inside_scores, out_scores), auc_of(first, second)])
    of_members, of_others = np.mean(aucs, axis=0)
    assert of_members > 0.8
    # 60 times 65 rows against 65: the standard error is .0066.
    assert abs(of_others - 0.5) < 0.02


def right_of(right: npt.NDArray[np.float64], trees: npt.NDArray[np.intp]) -> Any:
    rows = np.arange(len(right))[:, None, None]
    return right[rows, trees].mean(axis=-1)


def auc_of(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> float:
    above = (first[:, None] > second).mean() + (first[:, None] == second).mean() / 2
    return float(above)


@pytest.mark.slow
@every
def test_no_model_is_trained_for_it_but_models_of_sums(
    model: str,
    memorised: Callable[[str], tuple[Context, Context]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, after = memorised(model)
    assert after.params.verify.reference_models == 0
    assert has_parts(Recipe.of_project(after)) is model.startswith("exact_forest")
    if model.startswith("exact_forest"):
        fits = "unlearn.stages.estimators.row_sets.forest.ExactForest.fit"
        monkeypatch.setattr(fits, None)
        assert evidence(after).decisive is not None


def test_trees_of_a_row_are_compared_with_trees_that_never_had_it(
    memorised: Callable[[str], tuple[Context, Context]],
) -> None:
    before, _ = memorised("exact_forest")
    parts = parts_of(Recipe.of_project(before), "s000", before.project.shard_models / "s000")
    inside = derive_rows(before, "s000", before.read_list())
    outside = read_shard(before.project.shard_file(HOLDOUT), "holdout").rows

    of_members = parts.compare(inside.retain, trained=True)
    of_others = parts.compare(outside, trained=False)

    assert of_members.own is not None
    assert of_others.own is not None
    assert of_members.logits.shape == (inside.retain.num_rows, 4)
    gap = of_members.own - of_members.logits.mean(axis=1)
    assert gap.mean() > 1, "the trees that had the row know its class"
    spread = of_others.logits.std()
    assert abs(of_others.own.mean() - of_others.logits.mean()) < spread / 4


def test_residuals_of_a_row_are_small_in_the_trees_that_had_it(
    memorised: Callable[[str], tuple[Context, Context]],
) -> None:
    before, after = memorised("exact_forest of numbers")
    folder = before.project.shard_models / "s000"
    parts = parts_of(Recipe.of_project(before), "s000", folder)
    rows = derive_rows(before, "s000", before.read_list())

    found = parts.compare(rows.forget, trained=True)
    changed = parts_of(Recipe.of_project(after), "s000", after.project.shard_models / "s000")
    later = changed.compare(rows.forget, trained=True)

    assert found.own is not None
    assert later.own is not None
    # In the pinned scale, which is about the standard deviation of the target.
    target = target_numbers(rows.forget)
    assert np.abs(found.own).mean() < 0.2 < np.abs(found.logits).mean()
    assert np.corrcoef(found.logits.mean(axis=1), target)[0, 1] < -0.7
    assert np.abs(later.own).mean() == pytest.approx(np.abs(later.logits).mean(), rel=0.1)


def test_a_forest_without_trees_to_compare_with_has_no_parts() -> None:
    for share, expected in ((0.1, True), (0.25, True), (0.3, False), (1.0, False)):
        options = EXACT["options"] | {"share": share}
        params = make_params(shards=1, train=EXACT | {"options": options})
        recipe = make_recipe(params.train.model_dump())
        assert has_parts(recipe) is expected
