"""Comparing two states: every change needs a cause, and every cause its change."""

import hashlib
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.audit.compare import Audit, Listed, Snapshot, compare
from unlearn.stages.config.params import ShardingParams, shard_names
from unlearn.stages.rows.tokens import place

from tests.stages.conftest import token_of

SHARDING = ShardingParams(shards=shard_names(3), slices=2, holdout=0.2)

Lock = dict[str, dict[str, Any]]
Change = Callable[[Lock], object]


def tokens_in(shard: str, kind: str = "record") -> list[str]:
    """Return tokens whose rows go to a shard, or to the holdout."""
    found = [token_of(f"{kind}{number}", kind) for number in range(200)]  # type: ignore[arg-type]  # a literal
    return [token for token in found if place(token, 3, 2, 0.2).shard == shard]


IN_S0, IN_S1 = tokens_in("s000"), tokens_in("s001")
ANN = tokens_in("s000", "subject")[0]
HELD_OUT = tokens_in("holdout")


def entry(path: str, md5: str) -> dict[str, str]:
    return {"path": path, "md5": md5}


def make_lock(list_md5: str = "list-0") -> Lock:
    """Return the entries that DVC would write for a run."""
    lock: Lock = {
        "shard": {
            "cmd": "unlearn stage shard",
            "deps": [
                entry("data/dataset.csv", "data-0"),
                entry("shards.yaml", "names-0"),
                entry("schema.yaml", "schema-0"),
            ],
            "params": {"params.yaml": {"algorithm": 1}},
            "outs": [entry("data/shards", "shards-0")],
        },
        "recipe": {
            "cmd": "unlearn stage recipe",
            "deps": [entry("schema.yaml", "schema-0"), entry("net.py", "net-0")],
            "params": {"params.yaml": {"algorithm": 1, "train": {"model": "mlp"}}},
            "outs": [entry("data/recipe.json", "recipe-0")],
        },
        "forget": {
            "cmd": "unlearn stage forget",
            "deps": [entry("data/shards", "shards-0"), entry("data/forget_list.txt", list_md5)],
            "params": {"params.yaml": {"algorithm": 1}},
            "outs": [entry("data/retain_set", "retain-0"), entry("data/forget_set", "forget-0")],
        },
        "aggregate": {
            "cmd": "unlearn stage aggregate",
            "deps": [entry("models/shard_models", "")],
            "params": {"params.yaml": {"algorithm": 1}},
            "outs": [entry("models/final_model", "")],
        },
        "verify": {
            "cmd": "unlearn stage verify",
            "deps": [entry("models/final_model", ""), entry("models/shard_models", "")],
            "params": {"params.yaml": {"algorithm": 1}},
            "outs": [entry("reports/verdict.json", "report-0")],
        },
    }
    for shard in SHARDING.shards:
        lock[f"train@{shard}"] = {
            "cmd": f"unlearn stage train@{shard}",
            "deps": [
                entry(f"data/retain_set/{shard}.parquet", f"{shard}-rows-0"),
                entry("data/recipe.json", "recipe-0"),
            ],
            "outs": [entry(f"models/shard_models/{shard}", f"{shard}-model-0")],
        }
    return follow(lock)


def follow(lock: Lock) -> Lock:
    """Let each stage's entry name what the stages before it made."""
    outs = sorted(str(lock[stage]["outs"]) for stage in lock if "train@" in stage)
    models = hashlib.sha256("".join(outs).encode()).hexdigest()
    set_dep(lock, "aggregate", models)
    set_out(lock, "aggregate", f"final-{models}")
    set_dep(lock, "verify", f"final-{models}")
    set_dep(lock, "verify", models, 1)
    for name in [name for name in lock if name.startswith("train@")]:
        if "recipe" in lock:
            set_dep(lock, name, lock["recipe"]["outs"][0]["md5"], 1)
    if "shard" in lock and "forget" in lock:
        set_dep(lock, "forget", lock["shard"]["outs"][0]["md5"])
    return lock


def snapshot(name: str, lock: Mapping[str, Any] | None = None, *tokens: str) -> Snapshot:
    return Snapshot(
        name=name,
        lock=make_lock() if lock is None else lock,
        listed=Listed(frozenset(tokens)),
        carried_out=Listed(frozenset(tokens)),
        list_md5="list-0",
        sharding=SHARDING,
        environment={"numpy": "2"},
        report_md5="report-0",
    )


def set_out(lock: Lock, stage: str, md5: str, index: int = 0) -> None:
    lock[stage]["outs"][index]["md5"] = md5


def set_dep(lock: Lock, stage: str, md5: str, index: int = 0) -> None:
    lock[stage]["deps"][index]["md5"] = md5


def retrain(lock: Lock, shard: str = "s000") -> None:
    """Change a shard's entry as a run on other rows would."""
    set_dep(lock, f"train@{shard}", f"{shard}-rows-1")
    set_out(lock, f"train@{shard}", f"{shard}-model-1")


def after(*changes: Change) -> Lock:
    lock = make_lock()
    for change in changes:
        change(lock)
    return follow(lock)


def request(*tokens: str) -> Snapshot:
    """Return the state after a request was carried out in s000."""

    def applied(lock: Lock) -> None:
        set_dep(lock, "forget", "list-1", 1)
        set_out(lock, "forget", "retain-1", 0)

    lock = after(retrain, applied)
    return replace(snapshot("new", lock, *tokens), list_md5="list-1")


def reasons(found: Audit) -> dict[str, tuple[str, ...]]:
    return {item.stage: item.reasons for item in found.retrained}


def test_two_equal_states_are_consistent() -> None:
    found = compare(snapshot("old"), snapshot("new"))

    assert found == Audit(0, (), ("train@s000", "train@s001", "train@s002"), (), ())
    assert found.verdict == "consistent"


def test_a_request_explains_its_own_shard_and_no_other() -> None:
    found = compare(snapshot("old"), request(*IN_S0[:2]))

    assert found.forgotten == 2
    assert reasons(found) == {"train@s000": ("2 new lines",)}
    assert found.untouched == ("train@s001", "train@s002")
    assert found.unexplained == ()


def test_a_request_for_a_held_out_record_touches_no_shard() -> None:
    new = replace(
        snapshot("new", after(lambda lock: set_dep(lock, "forget", "list-1", 1)), HELD_OUT[0]),
        list_md5="list-1",
    )
    found = compare(snapshot("old"), new)

    assert (found.forgotten, found.retrained, found.unexplained) == (1, (), ())


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


def other_shards(lock: Lock) -> None:
    set_dep(lock, "shard", "data-1")
    set_out(lock, "shard", "shards-1")


UNEXPLAINED: dict[str, tuple[Change, str]] = {
    "other rows": (retrain, "train@s000 changed without a cause"),
    "another model of the same rows": (
        lambda lock: set_out(lock, "train@s000", "s000-model-1"),
        "train@s000 changed without a cause",
    ),
    "a shard that left": (
        lambda lock: lock.pop("train@s002"),
        "train@s002 left dvc.lock, although shards.yaml names s002",
    ),
    "other shards of the same dataset": (
        lambda lock: set_out(lock, "shard", "shards-1"),
        "the output of shard changed although its dependencies did not",
    ),
    "another retain set": (
        lambda lock: set_out(lock, "forget", "retain-1", 0),
        "the output of forget changed although its dependencies did not",
    ),
    "another final model": (
        lambda lock: set_out(lock, "aggregate", "final-1"),
        "the output of aggregate changed although its dependencies did not",
    ),
    "another list than the one applied": (
        lambda lock: set_dep(lock, "forget", "list-1", 1),
        "the forget list is not the one that dvc.lock says was applied",
    ),
    "no forget stage": (
        lambda lock: lock.pop("forget"),
        "dvc.lock has no entry for forget",
    ),
    "shards that forget did not read": (
        other_shards,
        "forget did not run on the current data/shards",
    ),
    "a model that was not aggregated": (
        retrain,
        "shard models changed, but aggregate was not run with them",
    ),
    "a model that was not verified": (
        retrain,
        "shard models changed, but verify was not run with them",
    ),
    "another report": (
        lambda lock: set_out(lock, "verify", "report-1"),
        "reports/verdict.json is not the one in dvc.lock",
    ),
}


@pytest.mark.parametrize(("change", "expected"), UNEXPLAINED.values(), ids=UNEXPLAINED)
def test_changes_without_a_cause(change: Change, expected: str) -> None:
    lock = make_lock()
    change(lock)

    found = compare(snapshot("old"), snapshot("new", lock))

    assert expected in found.unexplained
    assert found.verdict == "inconsistent"


def test_a_request_that_retrained_nothing_is_unexplained() -> None:
    found = compare(snapshot("old"), snapshot("new", None, *IN_S1[:1]))

    assert found.unexplained == ("1 new line for s001, but train@s001 did not change",)


def test_a_request_does_not_explain_another_shard() -> None:
    new = request(IN_S0[0])
    lock = deepcopy(dict(new.lock))
    retrain(lock, "s001")  # type: ignore[arg-type]  # made of dicts above
    found = compare(snapshot("old"), replace(new, lock=follow(lock)))  # type: ignore[arg-type]  # the same

    assert reasons(found) == {"train@s000": ("1 new line",), "train@s001": ()}
    assert found.unexplained == ("train@s001 changed without a cause",)


def test_a_request_does_not_explain_another_model_of_the_same_rows() -> None:
    """Its shard's retain file did not change, so it is not what made the model change."""
    lock = after(lambda lock: set_out(lock, "train@s000", "s000-model-1"))
    found = compare(snapshot("old"), snapshot("new", lock, IN_S0[0]))

    assert found.unexplained


def test_a_line_that_left_the_list_is_unexplained() -> None:
    old = snapshot("old", None, *IN_S0[:3])
    found = compare(old, snapshot("new", None, IN_S0[0]))

    assert found.unexplained == ("2 lines left the forget list",)
    assert found.forgotten == 0


def test_a_line_taken_back_with_a_training_is_unexplained_all_the_same() -> None:
    found = compare(snapshot("old", None, IN_S0[0]), request())

    assert "1 line left the forget list" in found.unexplained
    assert "train@s000 changed without a cause" in found.unexplained


def test_a_person_is_placed_by_the_subject() -> None:
    record = f"{ANN}.{IN_S1[0]}"

    found = compare(snapshot("old"), request(record))
    assert reasons(found) == {"train@s000": ("1 new line",)}
    assert found.unexplained == ()
    assert compare(snapshot("old"), snapshot("new", None, record)).unexplained == (
        "1 new line for s000, but train@s000 did not change",
    )


def test_a_person_whose_records_all_went_before_needs_no_training() -> None:
    """Nor does a record of a person who is on the list already."""
    record = f"{ANN}.{IN_S1[0]}"
    by_record = snapshot("old", None, record)
    by_person = snapshot("old", None, ANN)

    assert compare(by_record, snapshot("new", None, record, ANN)).unexplained == ()
    assert compare(by_person, snapshot("new", None, record, ANN)).unexplained == ()


def test_a_second_record_of_a_person_needs_its_training() -> None:
    old = snapshot("old", None, f"{ANN}.{IN_S1[0]}")
    new = snapshot("new", None, f"{ANN}.{IN_S1[0]}", f"{ANN}.{IN_S1[1]}")

    assert compare(old, new).unexplained == ("1 new line for s000, but train@s000 did not change",)


def test_a_raw_id_that_became_a_token_is_no_new_request() -> None:
    raw = Listed(unplaced=frozenset([IN_S1[0]]))
    old = replace(snapshot("old"), listed=raw, carried_out=raw, by_hand=1)
    new = snapshot("new", None, f"{ANN}.{IN_S1[0]}")

    assert compare(old, new).unexplained == ()


def test_a_raw_id_that_says_not_where_it_is_may_explain_any_shard() -> None:
    raw = Listed(unplaced=frozenset([IN_S1[0]]))
    new = replace(snapshot("new", after(retrain)), listed=raw, carried_out=raw, by_hand=1)
    found = compare(snapshot("old"), new)

    assert reasons(found) == {"train@s000": ("a new line written by hand",)}
    assert any("1 line of the forget list written by hand" in note for note in found.notes)


def test_a_line_that_was_listed_but_not_carried_out_counts_as_new() -> None:
    line = IN_S0[0]
    old = replace(snapshot("old", None, line), carried_out=Listed())
    found = compare(old, snapshot("new", after(retrain), line))

    assert (found.forgotten, reasons(found)) == (1, {"train@s000": ("1 new line",)})
    assert found.unexplained == ()
    assert found.notes == ("old listed 1 new line that it had not applied",)


def test_a_line_that_was_listed_but_not_carried_out_may_not_leave() -> None:
    old = replace(snapshot("old", None, IN_S0[0]), carried_out=Listed())

    assert compare(old, snapshot("new")).unexplained == ("1 line left the forget list",)


def test_a_first_run_is_new_and_not_unexplained() -> None:
    found = compare(snapshot("old", {}), snapshot("new", None, IN_S0[0]))

    assert reasons(found)["train@s000"] == ("1 new line", "not in the older lock")
    assert reasons(found)["train@s001"] == ("not in the older lock",)
    assert found.unexplained == ()
    assert any("old has no dvc.lock" in note for note in found.notes)


def test_an_entry_of_a_shard_that_is_no_more_is_of_an_older_run() -> None:
    fewer = SHARDING.model_copy(update={"shards": shard_names(2)})
    new = after(
        lambda lock: set_dep(lock, "shard", "names-1", 1),
        lambda lock: set_out(lock, "recipe", "recipe-1"),
        lambda lock: lock["recipe"]["params"]["params.yaml"].update(train={"model": "x"}),
        *(partial(retrain, shard=shard) for shard in fewer.shards),
    )
    set_dep(new, "train@s002", "recipe-0", 1)  # DVC keeps it as it was

    named = snapshot("new", new)
    gap = "train@s002 did not run on the current data/recipe.json"
    assert compare(snapshot("old"), replace(named, sharding=fewer)).unexplained == ()
    assert gap in compare(snapshot("old"), named).unexplained


def test_fewer_shards_in_params_may_leave_the_lock() -> None:
    fewer = SHARDING.model_copy(update={"shards": shard_names(2)})

    def drop(lock: Lock) -> None:
        del lock["train@s002"]
        set_dep(lock, "shard", "names-1", 1)
        for shard in fewer.shards:
            retrain(lock, shard)

    found = compare(snapshot("old"), replace(snapshot("new", after(drop)), sharding=fewer))
    assert found.unexplained == ()
    assert reasons(found)["train@s001"] == ("schema, shards or holdout changed",)


@given(st.sets(st.sampled_from([*IN_S0[:5], *IN_S1[:5], *HELD_OUT[:3]])))
def test_a_request_is_explained_exactly_where_each_shard_follows_it(asked: set[str]) -> None:
    wanted = {place(token, 3, 2, 0.2).shard for token in asked} - {"holdout"}

    def carry_out(lock: Lock) -> None:
        for shard in wanted:
            retrain(lock, shard)

    complete = compare(snapshot("old"), snapshot("new", after(carry_out), *asked))
    assert complete.unexplained == ()
    assert set(reasons(complete)) == {f"train@{shard}" for shard in wanted}
    for missed in wanted:
        lock = after(carry_out)
        lock[f"train@{missed}"] = make_lock()[f"train@{missed}"]
        partial = compare(snapshot("old"), snapshot("new", follow(lock), *asked))
        assert len(partial.unexplained) == 1
        assert f"train@{missed} did not change" in partial.unexplained[0]
