"""What explains a training other than the forget list."""

import copy
from dataclasses import replace

import pytest
from unlearn.stages.audit.compare import compare
from unlearn.stages.audit.training_reasons import training_reasons
from unlearn.stages.ledger.suppressed import SUPPRESSED
from unlearn.stages.rows.tokens import place

from tests.stages.audit.locks import (
    IN_S0,
    SHARDING,
    Change,
    Lock,
    after,
    entry,
    reasons,
    retrain,
    set_dep,
    set_out,
    snapshot,
)


def switch(lock: Lock, **first: int) -> None:
    """Write which slices are off, as DVC notes it of the stage `forget`."""
    lock["forget"]["params"]["params.yaml"]["sharding.switched_off"] = first


EXPLAINED: dict[str, tuple[Change, tuple[str, ...]]] = {
    "command": (
        lambda lock: lock["train@s000"].update(cmd="python train.py"),
        ("its command changed",),
    ),
    "a file of the user's own": (
        lambda lock: lock["train@s000"]["deps"].append(entry("words.txt", "words-0")),
        ("words.txt changed",),
    ),
    "dataset": (
        lambda lock: set_dep(lock, "shard", "data-1"),
        ("the dataset changed",),
    ),
    "reading": (
        lambda lock: lock["shard"]["params"]["params.yaml"].update(dataset={"id": "x"}),
        ("schema, shards or holdout changed",),
    ),
    "slices that are off": (
        lambda lock: switch(lock, s000=2),
        ("slices were switched off",),
    ),
    "shards": (
        lambda lock: set_dep(lock, "shard", "names-1", 1),
        ("schema, shards or holdout changed",),
    ),
}


def another_recipe(lock: Lock, *changes: Change) -> None:
    """Change what all trainings share; every shard is trained again."""
    set_out(lock, "recipe", "recipe-1")
    for shard in SHARDING.shards:
        set_out(lock, f"train@{shard}", f"{shard}-model-1")
    for change in changes:
        change(lock)


RECIPES: dict[str, tuple[Change, tuple[str, ...]]] = {
    "settings": (
        lambda lock: lock["recipe"]["params"]["params.yaml"].update(train={"model": "x"}),
        ("settings changed",),
    ),
    "algorithm": (
        lambda lock: lock["recipe"]["params"]["params.yaml"].update(algorithm=2),
        ("settings changed",),
    ),
    "schema": (lambda lock: set_dep(lock, "recipe", "schema-1"), ("schema.yaml changed",)),
    "the user's module": (lambda lock: set_dep(lock, "recipe", "net-1", 1), ("net.py changed",)),
    "an older version": (lambda lock: lock.pop("recipe"), ("settings changed",)),
}


@pytest.mark.parametrize(("change", "expected"), RECIPES.values(), ids=RECIPES)
def test_what_all_trainings_share_is_a_cause_for_each(
    change: Change, expected: tuple[str, ...]
) -> None:
    new = after(lambda lock: another_recipe(lock, change))
    for shard in SHARDING.shards:
        set_dep(new, f"train@{shard}", "recipe-1", 1)

    found = compare(snapshot("old"), snapshot("new", new))

    assert reasons(found) == {f"train@{shard}": expected for shard in SHARDING.shards}
    assert found.unexplained == ()


def test_another_recipe_without_a_cause_is_unexplained() -> None:
    found = compare(snapshot("old"), snapshot("new", after(another_recipe)))

    assert len(found.unexplained) == len(SHARDING.shards)


@pytest.mark.parametrize(("change", "expected"), EXPLAINED.values(), ids=EXPLAINED)
def test_other_causes_of_a_training(change: Change, expected: tuple[str, ...]) -> None:
    found = compare(snapshot("old"), snapshot("new", after(retrain, change)))

    assert reasons(found) == {"train@s000": expected}
    assert found.unexplained == ()


def test_switching_explains_the_shard_whose_slices_are_switched_alone() -> None:
    def with_slices(**first: int) -> Lock:
        return after(lambda lock: switch(lock, **first))

    on = after(retrain, lambda lock: switch(lock, s001=2))
    found = compare(snapshot("old", with_slices(s000=2, s001=2)), snapshot("new", on))
    assert reasons(found) == {"train@s000": ("slices were switched on",)}
    found = compare(
        snapshot("old"), snapshot("new", after(retrain, lambda lock: switch(lock, s001=2)))
    )
    assert found.unexplained == ("train@s000 changed without a cause",)


def test_a_line_about_a_slice_that_is_off_demands_no_training() -> None:
    token = next(one for one in IN_S0 if place(one, 3, 2, 0.2).slice == 2)
    off = SHARDING.model_copy(update={"switched_off": {"s000": 2}})
    for sharding, unexplained in (
        (off, ()),
        (SHARDING, ("1 new line for s000, but train@s000 did not change",)),
    ):
        new = replace(snapshot("new", after(), token), sharding=sharding)
        assert compare(snapshot("old"), new).unexplained == unexplained


def test_several_causes_are_all_named() -> None:
    changes = [change for change, _ in EXPLAINED.values()]
    new = replace(snapshot("new", after(retrain, *changes), IN_S0[0]), environment={"numpy": "3"})
    found = compare(snapshot("old"), new)

    assert reasons(found)["train@s000"][0] == "1 new line"
    for name, (_, expected) in EXPLAINED.items():
        assert set(expected) <= set(reasons(found)["train@s000"]), name


def test_another_environment_explains_another_model_of_the_same_rows() -> None:
    new = replace(
        snapshot("new", after(lambda lock: set_out(lock, "train@s000", "s000-model-1"))),
        environment={"numpy": "3"},
    )
    found = compare(snapshot("old"), new)

    assert reasons(found) == {"train@s000": ("the environment changed",)}
    assert found.unexplained == ()
    assert found.notes == ("the two were made in different environments",)


def test_another_environment_does_not_explain_other_rows() -> None:
    new = replace(snapshot("new", after(retrain)), environment={"numpy": "3"})

    assert compare(snapshot("old"), new).unexplained == ("train@s000 changed without a cause",)


@pytest.mark.parametrize("facts", [({}, {"numpy": "3"}), ({"numpy": "2"}, {})])
def test_an_environment_that_nobody_noted_explains_nothing(
    facts: tuple[dict[str, str], dict[str, str]],
) -> None:
    lock = after(lambda lock: set_out(lock, "train@s000", "s000-model-1"))
    old, new = snapshot("old"), snapshot("new", lock)
    found = compare(replace(old, environment=facts[0]), replace(new, environment=facts[1]))

    assert found.unexplained == ("train@s000 changed without a cause",)


def of_suppression(stage: str) -> list[str]:
    """Return why a stage ran after data/suppressed.txt changed, and its rows with it."""
    rows = entry("data/shards", "rows-0")
    old: Lock = {
        "shard": {"cmd": "x", "deps": [entry(SUPPRESSED, "0"), entry("data/d.csv", "0")]},
        stage: {"cmd": "x", "deps": [rows]},
    }
    new = copy.deepcopy(old)
    new["shard"]["deps"][0]["md5"] = new[stage]["deps"][0]["md5"] = "1"
    return training_reasons(stage, old, new, environment_changed=False)


def test_suppressed_rows_explain_one_model_and_no_shard_model() -> None:
    # They were in no retain set of a shard: nothing of it may change.
    assert of_suppression("train@s000") == []
    assert of_suppression("train") == ["data/suppressed.txt changed"]
    assert of_suppression("unlearn@ssd") == ["data/suppressed.txt changed"]
