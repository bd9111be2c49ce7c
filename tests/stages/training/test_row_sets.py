"""Models of sets of rows in the stages: changed or made from nothing, they are the same."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.final_model.ensemble import load_ensemble
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.project.paths import HOLDOUT, Project
from unlearn.stages.requests.plan import ShardPlan, plan_shards
from unlearn.stages.rows.shard_file import read_shard, record_tokens
from unlearn.stages.train import stage as train_stage
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.row_sets import STATE_FOLDER, ShardRows
from unlearn.stages.verify.exactness.checks import check_exactness, derive_rows

from tests.conftest import make_frame
from tests.stages.conftest import (
    EXACT,
    OTHER_KEY,
    change_a_number,
    make_context,
    make_params,
    put_on_list,
    run_stages,
    token_of,
)

OPTIONS: dict[str, dict[str, Any]] = {
    "exact_forest": {"trees": 12, "share": 0.3, "leaf": 3},
    "exact_boosting": {"trees": 10, "depth": 4},
    "exact_linear": {"fourier": 12},
    "exact_naive_bayes": {},
}
every = pytest.mark.parametrize("model", OPTIONS)

ROWS = 700


def train_of(model: str) -> dict[str, Any]:
    return EXACT | {"model": model, "options": EXACT["options"] | OPTIONS[model]}


def context_of(root: Path, model: str, frame: pd.DataFrame, *, shards: int = 1) -> Context:
    subject = "person" if "person" in frame.columns else None
    params = make_params(shards=shards, train=train_of(model), subject=subject)
    return make_context(root, frame, params)


def models_of(context: Context) -> dict[str, bytes]:
    folder = context.project.root / "models"
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def after_request(context: Context, *tokens: str) -> train_stage.Trained:
    """Put lines on the list, run the stages, and return what training the shard came to."""
    put_on_list(context, *tokens)
    return retrain(context)


def retrain(context: Context) -> train_stage.Trained:
    from unlearn.stages.aggregate import stage as aggregate_stage

    forget_stage.run(context)
    done = train_stage.run(context, "s000")
    aggregate_stage.run(context)
    return done


def trained_ids(context: Context, count: int) -> list[str]:
    """Return ids of rows that the shard was trained on."""
    rows = read_shard(context.project.retain_file("s000"), "s000").rows
    tokens = set(record_tokens(rows))
    ids = [f"r{number:04d}" for number in range(ROWS)]
    return [name for name in ids if token_of(name) in tokens][:count]


def clean_room(context: Context, model: str, frame: pd.DataFrame) -> dict[str, bytes]:
    other = context_of(context.project.root.with_name("clean"), model, frame)
    run_stages(other)
    return models_of(other)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Context]:
    """Return what makes a project whose stages ran, once for each model."""

    @cache
    def make(model: str) -> Context:
        root = tmp_path_factory.mktemp(model) / "project"
        context = context_of(root, model, make_frame(ROWS))
        run_stages(context)
        return context

    return make


@pytest.fixture
def project(built: Callable[[str], Context], tmp_path: Path) -> Callable[[str], Context]:
    """Return what makes a copy of such a project, for the test to change."""

    def make(model: str) -> Context:
        context = built(model)
        shutil.copytree(context.project.root, tmp_path / "project")
        return replace(context, project=Project(tmp_path / "project"))

    return make


@every
def test_two_requests_end_in_the_bytes_of_a_clean_room(
    model: str, project: Callable[[str], Context]
) -> None:
    context, frame = project(model), make_frame(ROWS)
    first, second, third = trained_ids(context, 3)

    assert after_request(context, token_of(first)).changed == 1
    done = after_request(context, token_of(second), token_of(third))

    assert (done.changed, done.kind) == (2, model)
    assert set(done.timings) == {"change@s000", "files@s000"}
    rest = frame[~frame["id"].isin([first, second, third])]
    assert models_of(context) == clean_room(context, model, rest)


@every
def test_requests_of_persons_end_in_the_bytes_of_a_clean_room(model: str, tmp_path: Path) -> None:
    frame = make_frame(ROWS, subjects=300)
    context = context_of(tmp_path / "project", model, frame)
    run_stages(context)
    rows = read_shard(context.project.retain_file("s000"), "s000").rows
    inside = set(record_tokens(rows))
    persons = [
        person
        for person, row in zip(frame["person"], frame["id"], strict=True)
        if token_of(row) in inside
    ][:2]
    for person in persons:
        done = after_request(context, token_of(person, "subject"))
        assert done.changed == (frame["person"] == person).sum()
    rest = frame[~frame["person"].isin(persons)]
    assert models_of(context) == clean_room(context, model, rest)


@every
def test_a_training_digests_each_row_once(
    model: str, project: Callable[[str], Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = project(model)
    counts: list[int] = []
    in_order = ShardRows.in_order

    def count(own: ShardRows, rows: pa.Table) -> Any:
        counts.append(rows.num_rows)
        return in_order(own, rows)

    monkeypatch.setattr(ShardRows, "in_order", count)
    done = after_request(context, token_of(trained_ids(context, 1)[0]))
    assert sorted(counts) == [1, done.rows]


@every
def test_a_request_that_is_taken_back_adds_the_row(
    model: str, project: Callable[[str], Context]
) -> None:
    context = project(model)
    before = models_of(context)
    (one,) = trained_ids(context, 1)
    after_request(context, token_of(one))
    context.project.forget_list.write_bytes(b"")

    assert retrain(context).changed == 1
    assert models_of(context) == before


def _delete(folder: Path) -> None:
    for path in folder.rglob("*.safetensors"):
        path.unlink()


def _cut(folder: Path) -> None:
    path = max(folder.rglob("*.safetensors"), key=lambda each: each.stat().st_size)
    path.write_bytes(path.read_bytes()[:-1])


def _edit(folder: Path) -> None:
    """Change a number that the model follows from; what is said of the rows stays true."""
    change_a_number(max(folder.rglob("*.safetensors"), key=_is_of_numbers))


def _is_of_numbers(path: Path) -> tuple[bool, int]:
    return path.name != "state.safetensors", path.stat().st_size


@pytest.mark.parametrize("damage", [_delete, _cut, _edit])
@every
def test_a_damaged_state_is_not_used(
    model: str, damage: Callable[[Path], None], project: Callable[[str], Context]
) -> None:
    context = project(model)
    (one,) = trained_ids(context, 1)
    damage(context.project.shard_models / "s000" / STATE_FOLDER)

    done = after_request(context, token_of(one))

    assert done.changed is None
    rest = make_frame(ROWS)
    assert models_of(context) == clean_room(context, model, rest[rest["id"] != one])


@every
def test_a_state_of_another_project_is_not_used(model: str, tmp_path: Path) -> None:
    frame = make_frame(ROWS)
    other_params = make_params(shards=1, train=train_of(model), key=OTHER_KEY)
    other = replace(make_context(tmp_path / "other", frame, other_params), key=OTHER_KEY)
    run_stages(other)
    context = context_of(tmp_path / "project", model, frame)
    run_stages(context)
    (one,) = trained_ids(context, 1)
    folder, strange = (each.project.shard_models / "s000" for each in (context, other))
    for path in strange.rglob("*"):
        if path.is_file():
            (folder / path.relative_to(strange)).write_bytes(path.read_bytes())

    done = after_request(context, token_of(one))

    assert done.changed is None
    assert models_of(context) == clean_room(context, model, frame[frame["id"] != one])


@every
def test_a_state_from_before_a_request_is_brought_to_the_rows(
    model: str, project: Callable[[str], Context]
) -> None:
    """Put back from a backup, it has a valid seal, and a row that has gone since."""
    context = project(model)
    before = models_of(context)
    first, second = trained_ids(context, 2)
    after_request(context, token_of(first))
    for name, content in before.items():
        (context.project.root / "models" / name).write_bytes(content)

    done = after_request(context, token_of(second))

    assert done.changed == 2
    frame = make_frame(ROWS)
    rest = frame[~frame["id"].isin([first, second])]
    assert models_of(context) == clean_room(context, model, rest)


@every
def test_rows_that_nobody_has_any_more_are_forgotten_by_fitting(
    model: str, project: Callable[[str], Context]
) -> None:
    """The rows were dropped from the dataset, or the forget set is not there."""
    context = project(model)
    (one,) = trained_ids(context, 1)
    put_on_list(context, token_of(one))
    forget_stage.run(context)
    context.project.forget_file("s000").unlink()

    done = train_stage.run(context, "s000")

    assert (done.changed, done.timing.rows) == (None, done.rows)
    from unlearn.stages.aggregate import stage as aggregate_stage

    aggregate_stage.run(context)
    frame = make_frame(ROWS)
    assert models_of(context) == clean_room(context, model, frame[frame["id"] != one])


@every
def test_an_edited_row_has_the_model_of_a_clean_room(model: str, tmp_path: Path) -> None:
    frame = make_frame(ROWS)
    context = context_of(tmp_path / "project", model, frame)
    run_stages(context)
    (one,) = trained_ids(context, 1)
    frame.loc[frame["id"] == one, "age"] += 3
    frame.to_csv(context.project.root / context.params.dataset.path, index=False)
    run_stages(context)
    assert models_of(context) == clean_room(context, model, frame)


@every
def test_more_shards_than_one_are_possible(model: str, tmp_path: Path) -> None:
    frame = make_frame(ROWS)
    context = context_of(tmp_path / "project", model, frame, shards=3)
    run_stages(context)
    before = models_of(context)
    rows = read_shard(context.project.retain_file("s001"), "s001").rows
    put_on_list(context, record_tokens(rows)[0])
    run_stages(context)
    changed = {
        name.split("/")[1]
        for name, content in models_of(context).items()
        if before[name] != content and name.startswith("shard_models")
    }
    assert changed == {"s001"}


@every
def test_verify_derives_and_retrains(model: str, project: Callable[[str], Context]) -> None:
    context = project(model)
    ids = trained_ids(context, 3)
    after_request(context, *map(token_of, ids))
    forget_list = context.read_list()

    def check() -> tuple[str, ...]:
        found = check_exactness(
            context, forget_list, lambda name: derive_rows(context, name, forget_list)
        )
        assert found.reran == 1
        return tuple(found.problems)

    assert check() == ()
    _edit(context.project.shard_models / "s000" / STATE_FOLDER)
    assert any("not what its lineage says" in problem for problem in check())


@every
def test_the_final_model_answers_without_the_key_and_holds_no_row(
    model: str, project: Callable[[str], Context]
) -> None:
    context = project(model)
    holdout = read_shard(context.project.shard_file(HOLDOUT), "holdout").rows
    ensemble = load_ensemble(context.project.final_model)
    answers = ensemble.probabilities(holdout)
    assert np.allclose(answers.sum(axis=1), 1)
    found = np.array([f"c{label}" for label in answers.argmax(axis=1)])
    assert (found == np.array(holdout["unlearn.target"].to_pylist())).mean() > 0.5
    recipe = Recipe.of_project(context)
    rows = read_shard(context.project.retain_file("s000"), "s000").rows
    digests = ShardRows(recipe, "s000").of(rows).digests
    content = b"".join(
        path.read_bytes() for path in context.project.final_model.rglob("*") if path.is_file()
    )
    assert not any(digest[:8].tobytes() in content for digest in digests)
    assert not any(bytes.fromhex(token[3:])[:8] in content for token in record_tokens(rows))


@every
def test_nothing_of_a_forgotten_row_is_left_in_the_state(
    model: str, project: Callable[[str], Context]
) -> None:
    context = project(model)
    (one,) = trained_ids(context, 1)
    rows = read_shard(context.project.retain_file("s000"), "s000").rows
    at = record_tokens(rows).index(token_of(one))
    digest = ShardRows(Recipe.of_project(context), "s000").of(rows.slice(at, 1)).digests[0]
    before = b"".join(models_of(context).values())
    assert digest.tobytes() in before
    after_request(context, token_of(one))
    assert digest.tobytes() not in b"".join(models_of(context).values())


def plan_of(context: Context) -> ShardPlan:
    def rows_of(shard: str) -> Any:
        return read_shard(context.project.shard_file(shard), shard).rows

    (plan,) = plan_shards(context, rows_of, context.read_list(), {"forget", "train@s000"})
    return plan


def files_of(context: Context) -> dict[Path, tuple[bytes, int]]:
    root = context.project.root
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in root.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("model", "count"), [(model, count) for model in OPTIONS for count in (1, 4)]
)
def test_a_plan_says_what_a_change_will_read(
    model: str, count: int, project: Callable[[str], Context]
) -> None:
    context = project(model)
    put_on_list(context, *map(token_of, trained_ids(context, count)))
    before = files_of(context)

    plan = plan_of(context)

    assert files_of(context) == before
    assert (plan.is_change, plan.is_refitted) == (True, False)
    assert plan.rows_in_full == plan.remaining
    done = retrain(context)
    assert done.changed == count
    assert done.timing.rows == plan.rows_to_train >= count
    # A forest reads the rows of the subtrees that it grows again. Boosting reads others only if a
    # split or a value moves, and models that are sums never do.
    if model != "exact_boosting":
        assert (plan.rows_to_train > count) == (model == "exact_forest")


@every
def test_a_plan_for_rows_that_go_and_rows_that_come_back(
    model: str, project: Callable[[str], Context]
) -> None:
    context = project(model)
    first, second, third = trained_ids(context, 3)
    after_request(context, token_of(first))
    context.project.forget_list.write_bytes(b"")
    put_on_list(context, token_of(second), token_of(third))
    before = files_of(context)

    plan = plan_of(context)

    assert files_of(context) == before
    done = retrain(context)
    assert (plan.is_change, done.changed) == (True, 3)
    assert done.timing.rows == plan.rows_to_train


def test_a_plan_says_that_training_is_cheaper(project: Callable[[str], Context]) -> None:
    context = project("exact_forest")
    put_on_list(context, *map(token_of, trained_ids(context, 60)))
    plan = plan_of(context)
    assert (plan.is_change, plan.is_refitted) == (False, True)
    assert plan.rows_to_train == plan.rows_in_full
    done = retrain(context)
    assert done.changed is None
    assert done.timing.rows == plan.rows_to_train


@every
def test_a_plan_without_a_state_is_for_a_training(
    model: str, project: Callable[[str], Context]
) -> None:
    context = project(model)
    put_on_list(context, *map(token_of, trained_ids(context, 1)))
    _edit(context.project.shard_models / "s000" / STATE_FOLDER)
    plan = plan_of(context)
    assert (plan.is_change, plan.is_refitted) == (False, False)
    assert plan.rows_to_train == plan.rows_in_full == retrain(context).timing.rows


def test_a_forest_that_loses_many_rows_is_grown_again(project: Callable[[str], Context]) -> None:
    context = project("exact_forest")
    ids = trained_ids(context, 60)
    done = after_request(context, *map(token_of, ids))
    assert done.changed is None
    frame = make_frame(ROWS)
    rest = frame[~frame["id"].isin(ids)]
    assert models_of(context) == clean_room(context, "exact_forest", rest)


def test_settings_that_would_learn_from_rows_are_refused() -> None:
    train = train_of("exact_forest")
    with pytest.raises(InputError, match="'income' has none"):
        make_params(shards=1, train=train | {"options": {"range": {"age": [0, 1]}}})
    with pytest.raises(InputError, match="takes `scale: none`"):
        make_params(shards=1, train=train | {"preprocessing": {"scale": "standard"}})
    wrong = {"range": EXACT["options"]["range"] | {"city": [0, 1]}}
    with pytest.raises(InputError, match="'city' is no number"):
        make_params(shards=1, train=train | {"options": wrong})
    with pytest.raises(InputError, match="cannot go on from a state"):
        make_params(shards=1, slices=2, train=train)


def test_a_state_is_a_file_for_each_tree(project: Callable[[str], Context]) -> None:
    context = project("exact_forest")
    folder = context.project.shard_models / "s000"
    before = {path: path.read_bytes() for path in (folder / STATE_FOLDER / "trees").iterdir()}
    assert len(before) == 12
    (one,) = trained_ids(context, 1)
    after_request(context, token_of(one))
    changed = [path for path, content in before.items() if path.read_bytes() != content]
    assert len(changed) == 4  # 0.3 of 12, rounded up
    assert json.loads((folder / "lineage.json").read_text())["files"].keys() >= {
        "state/state.safetensors",
        "state/trees/000.safetensors",
    }
