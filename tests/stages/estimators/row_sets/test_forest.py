"""The forest against a tree that is grown row by row, and what it answers."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier
from unlearn.stages.config.row_sets import ExactForestOptions
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.row_sets.base import Shape, load_tensors, save_tensors
from unlearn.stages.estimators.row_sets.draws import Words
from unlearn.stages.estimators.row_sets.forest import (
    ExactForest,
    ForestCosts,
    tree_file,
)
from unlearn.stages.estimators.row_sets.forest_draws import ForestDraws
from unlearn.stages.estimators.row_sets.forest_model import ForestModel
from unlearn.stages.estimators.row_sets.forest_nodes import KINDS, find_leaves, join, route
from unlearn.stages.estimators.row_sets.forest_sums import RowData, _add_targets
from unlearn.stages.estimators.row_sets.row_set import RowSet

from tests.stages.estimators.row_sets.laws import (
    KEY,
    SHAPE,
    draw_rows,
    mask_of,
    numbers_of,
    with_numbers,
)

OPTIONS = ExactForestOptions(trees=6, share=0.5, depth=7, leaf=3, candidates=5)

#: A node: counts of the classes, and where it is split: feature, factor, offset, cut, two children.
Node = dict[str, Any]


def grow_by_hand(rows: RowSet, inside: list[int], state: Words, draws: ForestDraws) -> Node:
    return _grow(rows, inside, state, draws, 0)


def _grow(rows: RowSet, inside: list[int], state: Words, draws: ForestDraws, depth: int) -> Node:
    targets = [int(rows.targets[row]) for row in inside]
    numbers = rows.targets.max() > 2
    counts = (
        [len(targets) - sum(targets), sum(targets)]
        if numbers
        else [targets.count(label) for label in range(3)]
    )
    node: Node = {"counts": counts, "split": None}
    if len(inside) < 2 * OPTIONS.leaf or depth == OPTIONS.depth or len(set(targets)) < 2:
        return node
    best, drawn = None, draws.candidates(state)
    for number in range(OPTIONS.candidates):
        feature, factor, offset, share = (
            int(values[number, 0])
            for values in (drawn.features, drawn.factors, drawn.offsets, drawn.shares)
        )
        places = {row: (int(rows.codes[row, feature]) * factor + offset) % 4096 for row in inside}
        low, high = min(places.values()), max(places.values())
        cut = low + share * (high - low) // 2**32
        sides = [row for row in inside if places[row] <= cut]
        others = [row for row in inside if places[row] > cut]
        if min(len(sides), len(others)) < OPTIONS.leaf:
            continue
        good = _decrease(rows, sides, others) if numbers else _purity(rows, sides, others)
        if good == 0:
            continue
        if best is None or good > best[0]:
            best = (good, (feature, factor, offset, cut), sides, others)
    if best is not None:
        node["split"] = best[1]
        node["left"] = _grow(
            rows, best[2], draws.children(state, np.array([True])), draws, depth + 1
        )
        node["right"] = _grow(
            rows, best[3], draws.children(state, np.array([False])), draws, depth + 1
        )
    return node


def _purity(rows: RowSet, *sides: list[int]) -> Fraction:
    found = (
        Fraction(sum(int(rows.targets[row]) == label for row in side) ** 2, len(side))
        for side in sides
        for label in range(3)
    )
    return sum(found, Fraction())


def _decrease(rows: RowSet, *sides: list[int]) -> Fraction:
    """Return how much the squared error falls if each side has its own mean."""

    def error(side: list[int]) -> Fraction:
        targets = [int(rows.targets[row]) for row in side]
        mean = Fraction(sum(targets), len(targets))
        return sum(((target - mean) ** 2 for target in targets), Fraction())

    return error([row for side in sides for row in side]) - sum(map(error, sides), Fraction())


def in_preorder(node: Node) -> list[Node]:
    below = [] if node["split"] is None else [node["left"], node["right"]]
    return [node] + [found for child in below for found in in_preorder(child)]


@pytest.mark.parametrize("numbers", [False, True], ids=["classes", "numbers"])
def test_trees_are_those_that_are_grown_row_by_row(numbers: bool) -> None:
    rows, shape = draw_rows(240, 21), SHAPE
    if numbers:
        rows, shape = with_numbers(rows), numbers_of(shape)
    draws = ForestDraws(KEY, shape, OPTIONS)
    state = ExactForest(KEY, shape, OPTIONS).fit(rows)
    trees_of_rows = draws.all_trees_of(rows.words)
    for number, tree in enumerate(state.trees):
        inside = [row for row in range(240) if number in trees_of_rows[row]]
        expected = in_preorder(grow_by_hand(rows, inside, draws.roots[number : number + 1], draws))
        assert len(tree) == len(expected) > 10
        for at, node in enumerate(expected):
            assert list(tree.counts[at]) == node["counts"]
            split = (tree.features[at], tree.factors[at], tree.offsets[at], tree.cuts[at])
            assert split == (node["split"] or (-1, 0, 0, 0))
            assert tree.sizes[at] == len(in_preorder(node))


def test_a_number_is_the_mean_of_its_leaves() -> None:
    rows, shape = with_numbers(draw_rows(300, 30)), numbers_of(SHAPE)
    assert shape.target is not None
    forest = ExactForest(KEY, shape, OPTIONS)
    state = forest.fit(rows)
    model = forest.predictor(forest.model(state))
    expected = np.zeros(300)
    for number, tree in enumerate(state.trees):
        inside = np.flatnonzero((forest.draws.all_trees_of(rows.words) == number).any(axis=1))
        leaves = route(tree, np.zeros(300, np.intp), rows.codes, np.arange(300))
        for row in range(300):
            same = inside[leaves[inside] == leaves[row]]
            expected[row] += np.mean(rows.targets[same]) / OPTIONS.trees
    # Steps are 1/256 of the scale of 7, from the centre at -30.
    assert np.allclose(model.values(rows.codes), expected * 7 / 256 - 30, rtol=1e-12)


def test_equal_numbers_are_not_split_however_many_rows_there_are() -> None:
    rows, shape = draw_rows(2_000, 31), numbers_of(SHAPE)
    same = RowSet(rows.digests, rows.codes, np.full(2_000, 77_777))
    state = ExactForest(KEY, shape, OPTIONS).fit(same)
    assert [len(tree) for tree in state.trees] == [1] * OPTIONS.trees


def test_sums_that_do_not_fit_into_a_word_are_added_one_after_the_other() -> None:
    rows, shape = with_numbers(draw_rows(200, 32)), numbers_of(SHAPE)
    data, places = RowData(rows.codes, rows.targets, shape), np.arange(200)
    to_left = np.random.default_rng(0).random((3, 200)) < 0.5
    starts = np.array([0, 70])
    packed, apart = (
        _add_targets(data, places, starts, to_left, largest) for largest in (200, 2**40)
    )
    assert np.array_equal(packed, apart)
    sums = (to_left[:, :70] * rows.targets[:70]).sum(axis=1)
    assert packed[:, 0, 1].tolist() == sums.tolist()
    assert packed[:, 0].sum(axis=1).tolist() == to_left[:, :70].sum(axis=1).tolist()


def test_each_row_is_in_its_share_of_the_trees() -> None:
    rows = draw_rows(2000, 22)
    options = ExactForestOptions(trees=23, share=0.3)
    draws = ForestDraws(KEY, SHAPE, options)
    trees = draws.all_trees_of(rows.words)
    assert trees.shape == (2000, 7)  # 0.3 * 23, rounded up
    assert all(len(set(row)) == 7 for row in trees.tolist())
    counts = np.bincount(trees.reshape(-1), minlength=23)
    assert counts.min() > 0.8 * 2000 * 7 / 23
    for number in (0, 11, 22):
        expected = np.flatnonzero((trees == number).any(axis=1))
        assert np.array_equal(draws.rows_of(rows.words, number), expected)


def test_one_tree_can_be_grown_by_itself() -> None:
    rows, estimator = draw_rows(500, 23), ExactForest(KEY, SHAPE, OPTIONS)
    state = estimator.fit(rows)
    for number in range(OPTIONS.trees):
        tree = estimator.fit_tree(rows, number)
        for name in KINDS:
            assert np.array_equal(getattr(tree, name), getattr(state.trees[number], name))


def test_forgetting_a_row_rewrites_only_the_trees_that_it_is_in() -> None:
    rows = draw_rows(3000, 24)
    options = ExactForestOptions(trees=30, share=0.1)
    estimator = ExactForest(KEY, SHAPE, options)
    state = estimator.fit(rows)
    before = estimator.save(state)
    gone = mask_of([700], rows)
    after = estimator.save(estimator.forget(state, rows.take(gone), rows.take(~gone)))
    own = ForestDraws(KEY, SHAPE, options).all_trees_of(rows.words[gone])[0]
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {tree_file(int(tree)) for tree in own} | {"state.safetensors"}


def test_changing_and_growing_again_give_the_same_bytes() -> None:
    rows = draw_rows(900, 25)
    gone = mask_of(range(0, 900, 3), rows)
    files = []
    for refit_from in (0.0, 2.0):
        estimator = ExactForest(KEY, SHAPE, OPTIONS, ForestCosts(refit_from=refit_from))
        state = estimator.forget(estimator.fit(rows), rows.take(gone), rows.take(~gone))
        files.append(dict(estimator.save(state)))
    assert files[0] == files[1]


def test_a_state_keeps_nothing_of_its_history() -> None:
    """Numbers of rows grow with each row that is added, and are given again at some point."""
    rows = draw_rows(40, 26)
    estimator = ExactForest(KEY, SHAPE, OPTIONS, ForestCosts(refit_from=2, sums_from=6))
    state = estimator.fit(rows)
    one = mask_of([4], rows)
    for _ in range(150):
        state = estimator.forget(state, rows.take(one), rows.take(~one))
        state = estimator.add(state, rows.take(one), rows)
    assert state.numbers.max() < 4 * 41
    assert dict(estimator.save(state)) == dict(estimator.save(estimator.fit(rows)))


@pytest.mark.trained
def test_it_is_about_as_accurate_as_extremely_randomised_trees() -> None:
    shape = Shape((4096, 4096, 4096, 6), SHAPE.categorical, 3)
    rows, others = draw_rows(3000, 27, shape), draw_rows(3000, 28, shape, first=5000)
    estimator = ExactForest(KEY, shape, ExactForestOptions(share=0.5))
    answers = estimator.predictor(estimator.model(estimator.fit(rows))).probabilities(others.codes)
    assert np.allclose(answers.sum(axis=1), 1)
    ours = (answers.argmax(axis=1) == others.targets).mean()
    theirs = ExtraTreesClassifier(100, min_samples_leaf=5, random_state=0)
    theirs.fit(rows.codes, rows.targets)
    assert ours > theirs.score(others.codes, others.targets) - 0.01


def test_predictions_are_averages_of_the_leaves() -> None:
    rows, estimator = draw_rows(200, 29), ExactForest(KEY, SHAPE, OPTIONS)
    draws = ForestDraws(KEY, SHAPE, OPTIONS)
    answers = estimator.predictor(estimator.model(estimator.fit(rows))).probabilities(rows.codes)
    trees_of_rows = draws.all_trees_of(rows.words)
    expected = np.zeros(3)
    for number in range(OPTIONS.trees):
        inside = [row for row in range(200) if number in trees_of_rows[row]]
        node = grow_by_hand(rows, inside, draws.roots[number : number + 1], draws)
        while node["split"] is not None:
            feature, factor, offset, cut = node["split"]
            place = (int(rows.codes[5, feature]) * factor + offset) % 4096
            node = node["left"] if place <= cut else node["right"]
        expected += np.array(node["counts"]) / sum(node["counts"])
    assert np.allclose(answers[5], expected / OPTIONS.trees)


def test_leaves_of_many_rows_are_those_that_rows_are_routed_to() -> None:
    rows, estimator = draw_rows(500, 33), ExactForest(KEY, SHAPE, OPTIONS)
    state = estimator.fit(rows)
    forest = join([*state.trees, estimator.fit(draw_rows(0, 34)).trees[0]])
    ends = np.cumsum([len(tree) for tree in state.trees] + [1])
    for first, last in zip([0, *ends[:-1]], ends, strict=True):
        found = find_leaves(forest, slice(first, last), rows.codes)
        everywhere = np.arange(len(rows))
        expected = route(forest, np.full(len(rows), first), rows.codes, everywhere)
        assert np.array_equal(found + first, expected)
        assert len(find_leaves(forest, slice(first, last), rows.codes[:0])) == 0


def test_importances_are_decreases_of_impurity() -> None:
    rows, estimator = draw_rows(400, 30), ExactForest(KEY, SHAPE, OPTIONS)
    model = estimator.predictor(estimator.model(estimator.fit(rows)))
    assert isinstance(model, ForestModel)
    found = model.importances()
    draws = ForestDraws(KEY, SHAPE, OPTIONS)
    trees_of_rows = draws.all_trees_of(rows.words)
    expected = np.zeros(4)
    for number in range(OPTIONS.trees):
        inside = [row for row in range(400) if number in trees_of_rows[row]]
        for node in in_preorder(grow_by_hand(rows, inside, draws.roots[[number]], draws)):
            if node["split"] is not None:
                parts = [node, node["left"], node["right"]]
                impurities = [
                    sum(part["counts"])
                    - sum(count**2 for count in part["counts"]) / sum(part["counts"])
                    for part in parts
                ]
                expected[node["split"][0]] += impurities[0] - impurities[1] - impurities[2]
    assert np.allclose(found, expected / expected.sum())


def test_files_of_another_shape_are_refused() -> None:
    rows, estimator = draw_rows(60, 31), ExactForest(KEY, SHAPE, OPTIONS)
    files = dict(estimator.save(estimator.fit(rows)))
    name = tree_file(0)
    arrays = load_tensors(files[name], KINDS)
    for damage in ("features", "counts", "lows"):
        broken = dict(arrays)
        broken[damage] = broken[damage] + 9 if damage == "features" else broken[damage][:, :1]
        if damage == "lows":
            broken[damage] = np.concatenate(
                [arrays["lows"], arrays["lows"][:1], arrays["lows"][:1]]
            )
            broken[damage] = np.zeros((len(arrays["lows"]) + 1, 5), np.uint16)
        with pytest.raises(InputError):
            estimator.load(files | {name: save_tensors(broken)})
