"""Models of trees, checked by fitting some of their trees again."""

import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save
from unlearn.cli.verify_answer import Shown
from unlearn.cli.verify_text import describe
from unlearn.stages.aggregate import stage as aggregate_stage
from unlearn.stages.context import Context
from unlearn.stages.estimators.row_sets.base import state_digest
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.project.files import json_bytes
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.shard_file import read_shard, record_tokens
from unlearn.stages.train import stage as train_stage
from unlearn.stages.training.lineage import FILE_NAME, read_lineage, sealed
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.row_sets import ShardRows, fitted_of, state_files
from unlearn.stages.training.shard_model import read_shard_model
from unlearn.stages.training.slices import plan_shard, shard_of_set
from unlearn.stages.verify.exactness.checks import check_exactness, derive_rows
from unlearn.stages.verify.exactness.choosing import choose_trees
from unlearn.stages.verify.exactness.found import Exactness
from unlearn.stages.verify.stage import run
from unlearn.stages.verify_report.reading import read_report

from tests.conftest import make_frame
from tests.stages.conftest import (
    EXACT,
    KEY,
    OTHER_KEY,
    make_context,
    make_params,
    put_on_list,
    read_json,
    run_stages,
)

TREES = 12
OPTIONS: dict[str, dict[str, Any]] = {
    "exact_forest": {"trees": TREES, "share": 0.3, "leaf": 3},
    "exact_boosting": {"trees": TREES, "depth": 3},
}
every = pytest.mark.parametrize("model", OPTIONS)

RIGHT_TREES = "s000: its files are not those that its rows and its trees give"
OTHER_TREES = "s000: fitting trees again from its rows gives other trees"
OTHER_COUNTS = "s000: its trees do not have the rows that they should have"
OTHER_ROWS = "s000: its state is not of its rows without the forgotten ones"

NAMES = st.lists(st.sampled_from([f"s{number:03d}" for number in range(6)]), unique=True)
COUNTS = NAMES.flatmap(lambda names: st.fixed_dictionaries(dict.fromkeys(names, st.integers(0, 7))))


@given(COUNTS, st.integers(0, 50))
def test_as_many_trees_are_drawn_as_are_asked_for(trees: dict[str, int], count: int) -> None:
    drawn = choose_trees(KEY, trees, "aa", count)

    assert drawn.keys() == trees.keys()
    assert sum(map(len, drawn.values())) == min(count, sum(trees.values()))
    more = choose_trees(KEY, trees, "aa", count + 1)
    for shard, own in drawn.items():
        assert own == sorted(set(own) & set(range(trees[shard])))
        assert set(own) <= set(more[shard])
    assert choose_trees(KEY, trees, "aa", "all") == {
        shard: list(range(own)) for shard, own in trees.items()
    }


def test_other_trees_are_drawn_with_another_key_or_for_another_list() -> None:
    trees = {"s000": 1000}
    drawn = choose_trees(KEY, trees, "aa", 20)
    assert drawn != choose_trees(KEY, trees, "ab", 20)
    assert drawn != choose_trees(OTHER_KEY, trees, "aa", 20)


@dataclass(frozen=True)
class Asked:
    """A project after a request that was carried out, and its shard model from before."""

    context: Context
    before: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Asked]:
    @cache
    def make(model: str) -> Asked:
        root = tmp_path_factory.mktemp(model)
        train = EXACT | {"model": model, "options": EXACT["options"] | OPTIONS[model]}
        context = make_context(
            root / "project", make_frame(400), make_params(shards=1, train=train)
        )
        run_stages(context)
        folder = context.project.shard_models / "s000"
        shutil.copytree(folder, root / "before")
        rows = read_shard(context.project.retain_file("s000"), "s000").rows
        put_on_list(context, *record_tokens(rows)[:3])
        forget_stage.run(context)
        assert train_stage.run(context, "s000").changed == 3
        aggregate_stage.run(context)
        return Asked(context, root / "before")

    return make


@pytest.fixture
def asked(made: Callable[[str], Asked], tmp_path: Path) -> Callable[[str], Asked]:
    """Return what makes a copy of such a project, for the test to change."""

    def make(model: str) -> Asked:
        one = made(model)
        shutil.copytree(one.context.project.root, tmp_path / "project")
        return replace(one, context=replace(one.context, project=Project(tmp_path / "project")))

    return make


def with_rerun(context: Context, rerun: int | str) -> Context:
    verify = context.params.verify.model_copy(update={"rerun": rerun})
    return replace(context, params=context.params.model_copy(update={"verify": verify}))


def check(context: Context, rerun: int | str) -> Exactness:
    forget_list = context.read_list()
    return check_exactness(
        with_rerun(context, rerun),
        forget_list,
        lambda name: derive_rows(context, name, forget_list),
    )


def drawn_trees(context: Context, rerun: int | str) -> list[int]:
    return choose_trees(KEY, {"s000": TREES}, context.read_list().digest, rerun)["s000"]


def replace_files(context: Context, files: Mapping[str, bytes]) -> None:
    """Write files of the shard model and all that names them, as one with the key can do."""
    folder = context.project.shard_models / "s000"
    for name, content in files.items():
        (folder / name).write_bytes(content)
    lineage = read_lineage(folder)
    assert lineage is not None
    model = read_shard_model(folder, "s000")
    changed = replace(
        lineage,
        model=model.digest,
        slices=(replace(lineage.slices[0], state=state_digest(state_files(folder, lineage))),),
        files={
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in lineage.files
        },
    )
    (folder / FILE_NAME).write_bytes(json_bytes(sealed(context.key, changed).as_json()))
    aggregate_stage.run(context)


def own_of(context: Context) -> tuple[Recipe, ShardRows]:
    recipe = Recipe.of_project(context)
    return recipe, ShardRows(recipe, "s000")


def load_state(context: Context, folder: Path) -> Any:
    _, own = own_of(context)
    lineage = read_lineage(folder)
    assert lineage is not None
    return own.estimator.load(state_files(folder, lineage))


def write_state(context: Context, state: Any) -> None:
    """Write a state, its model and its lineage as if they had been trained."""
    recipe, own = own_of(context)
    rows = derive_rows(context, "s000", context.read_list()).retain
    work = plan_shard(recipe, "s000", rows, folder=None)
    made = shard_of_set(recipe, work, fitted_of(recipe, own, state))
    folder = context.project.shard_models / "s000"
    for name, content in made.files.items():
        (folder / name).write_bytes(content)
    aggregate_stage.run(context)


def put_back_tree(old: Any, state: Any, tree: int) -> None:
    """Give a state a tree of another one."""
    if hasattr(state, "trees"):
        state.trees[tree] = old.trees[tree]
        return
    for before, own in zip(old.classes, state.classes, strict=True):
        own.structure.choices[tree] = before.structure.choices[tree]
        own.structure.left[tree] = before.structure.left[tree]
        own.structure.gains[tree] = before.structure.gains[tree]
        own.leaf_sums[tree] = before.leaf_sums[tree]
        own.leaf_values[tree] = before.leaf_values[tree]


@every
@pytest.mark.parametrize(("rerun", "count"), [(0, 0), (1, 1), (5, 5), (99, TREES), ("all", TREES)])
def test_as_many_trees_are_fitted_again_as_params_say(
    model: str, rerun: int | str, count: int, made: Callable[[str], Asked]
) -> None:
    found = check(made(model).context, rerun)

    assert found.problems == ()
    assert (found.touched, found.trees) == (1, TREES)
    assert (found.reran, found.matched) == (count, count)


@every
@pytest.mark.parametrize("rerun", [1, 6, "all"])
def test_a_tree_that_still_has_the_forgotten_rows_is_found(
    model: str, rerun: int | str, asked: Callable[[str], Asked]
) -> None:
    one = asked(model)
    context, old = one.context, load_state(one.context, one.before)
    folder = context.project.shard_models / "s000"
    _, own = own_of(context)
    right = load_state(context, folder)
    different = [
        tree
        for tree in range(TREES)
        if own.estimator.tree_bytes(old, tree) != own.estimator.tree_bytes(right, tree)  # type: ignore[attr-defined]
    ]
    drawn = drawn_trees(context, rerun)
    inside = [tree for tree in different if tree in drawn]
    # Trees of boosting that come later are fitted given the wrong one, and so find it as well.
    outside = [tree for tree in different if tree > drawn[-1]]
    assert inside
    for tree in {inside[0], *outside[:1]}:
        state = load_state(context, folder)
        put_back_tree(old, state, tree)
        write_state(context, state)

        found = check(context, rerun)

        assert found.reran == len(drawn)
        if model == "exact_forest":
            # Rows are counted in all trees, whichever are fitted again.
            assert (found.matched, found.problems) == (0, (OTHER_COUNTS,))
        else:
            assert (found.matched < found.reran) is (tree in drawn)
            assert (OTHER_TREES in found.problems) is (tree in drawn)
        write_state(context, right)
        assert check(context, rerun).problems == ()


@every
@pytest.mark.parametrize("rerun", [1, "all"])
def test_a_state_from_before_the_request_is_found_by_its_rows(
    model: str, rerun: int | str, asked: Callable[[str], Asked]
) -> None:
    one = asked(model)
    write_state(one.context, load_state(one.context, one.before))
    assert OTHER_ROWS in check(one.context, rerun).problems


@every
@pytest.mark.parametrize("rerun", [1, "all"])
def test_row_digests_of_other_rows_are_found(
    model: str, rerun: int | str, asked: Callable[[str], Asked]
) -> None:
    one = asked(model)
    name = "state/state.safetensors"
    path = one.context.project.shard_models / "s000" / name
    tensors = load(path.read_bytes())
    tensors["digests"][5, 15] ^= 1
    replace_files(one.context, {name: save(tensors)})
    assert OTHER_ROWS in check(one.context, rerun).problems


@every
@pytest.mark.parametrize("rerun", [1, "all"])
def test_a_tree_that_is_changed_in_the_model_only_is_found(
    model: str, rerun: int | str, asked: Callable[[str], Asked]
) -> None:
    """Whichever trees are drawn: the model follows from the state."""
    one = asked(model)
    path = one.context.project.shard_models / "s000" / "model.safetensors"
    tensors = load(path.read_bytes())
    name = "counts" if "counts" in tensors else "values"
    tensors[name].reshape(-1)[-1] += 1
    replace_files(one.context, {path.name: save(tensors)})
    found = check(one.context, rerun)
    assert found.problems == (RIGHT_TREES,)


@every
def test_a_tree_that_is_changed_in_the_state_only_is_found_when_it_is_drawn(
    model: str, asked: Callable[[str], Asked]
) -> None:
    """A sum of a candidate that is not chosen: the model does not have it."""
    one = asked(model)
    context = one.context
    folder = context.project.shard_models / "s000"
    drawn = drawn_trees(context, 1)
    for tree in (drawn[0], next(tree for tree in range(TREES) if tree not in drawn)):
        of_forest = folder / "state" / "trees" / f"{tree:03d}.safetensors"
        path = of_forest if of_forest.exists() else next((folder / "state/classes").iterdir())
        before = path.read_bytes()
        tensors = load(before)
        left = tensors["left"] if of_forest.exists() else tensors["left"][tree]
        chosen = 0 if of_forest.exists() else int(tensors["choices"][tree, 0])
        left[0].reshape(-1)[(chosen + 1) % left[0].size] += 1
        name = path.relative_to(folder).as_posix()
        replace_files(context, {name: save(tensors)})

        assert OTHER_TREES in check(context, "all").problems
        assert (OTHER_TREES in check(context, 1).problems) is (tree in drawn)
        replace_files(context, {name: before})
        assert check(context, "all").problems == ()


@every
def test_rows_that_are_counted_but_gone_are_found_though_nothing_is_fitted(
    model: str, asked: Callable[[str], Asked]
) -> None:
    """The digests are right, and no tree that has the rows is drawn."""
    context = asked(model).context
    _, own = own_of(context)
    state = load_state(context, context.project.shard_models / "s000")
    rows = own.of(derive_rows(context, "s000", context.read_list()).retain)
    assert own.estimator.counts_rows(state, rows)  # type: ignore[attr-defined]
    drawn = drawn_trees(context, 1)
    if model == "exact_forest":
        tree = next(tree for tree in range(TREES) if tree not in drawn)
        state.trees[tree].counts[0, 1] += 1
    else:
        state.classes[1].counts[:] += (-1, 1)
    write_state(context, state)

    assert not own.estimator.counts_rows(state, rows)  # type: ignore[attr-defined]
    assert check(context, 1).problems == (OTHER_COUNTS,)


@every
def test_a_state_with_hidden_content_is_found(model: str, asked: Callable[[str], Asked]) -> None:
    """Bytes that no tensor has, in a file that reads as before."""
    one = asked(model)
    name = "state/state.safetensors"
    path = one.context.project.shard_models / "s000" / name
    hidden = save(load(path.read_bytes()), metadata={"note": "a row"})
    replace_files(one.context, {name: hidden})
    assert RIGHT_TREES in check(one.context, 1).problems


@every
def test_a_state_that_cannot_be_read_is_a_finding(
    model: str, asked: Callable[[str], Asked]
) -> None:
    one = asked(model)
    path = one.context.project.shard_models / "s000" / "state" / "state.safetensors"
    path.unlink()
    found = check(one.context, 1)
    assert any(problem.startswith("s000: its state: ") for problem in found.problems)
    assert (found.reran, found.matched) == (1, 0)


@every
def test_the_reports_speak_of_trees(model: str, asked: Callable[[str], Asked]) -> None:
    context = with_rerun(asked(model).context, 5)
    run(context)
    report = read_json(context.project.report)
    public = read_json(context.project.verdict)
    for found in (report["exactness"], public["exactness"]):
        assert (found["trees"], found["reran"], found["matched"]) == (TREES, 5, 5)
    written = read_report(context.project)
    shown = describe(Shown(written, written.verdict, written.reasons))
    assert "exactness: 5 of 5 refitted trees matched, lineage clean" in shown
    said = "trees of the touched shards fitted again from the rows: the same bytes"
    assert f"5 of {TREES} {said}" in report["reasons"]
    assert f"some {said}" in public["reasons"]


def test_a_model_without_trees_is_retrained_as_a_whole(tmp_path: Path) -> None:
    train = EXACT | {"model": "exact_linear"}
    context = make_context(
        tmp_path / "project", make_frame(300), make_params(shards=1, train=train)
    )
    run_stages(context)
    rows = read_shard(context.project.retain_file("s000"), "s000").rows
    put_on_list(context, *record_tokens(rows)[:2])
    forget_stage.run(context)
    train_stage.run(context, "s000")
    aggregate_stage.run(context)

    found = check(context, 7)

    assert (found.touched, found.trees, found.reran, found.matched) == (1, None, 1, 1)
    assert found.problems == ()
