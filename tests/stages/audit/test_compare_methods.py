"""Comparing two states of a project without shards: methods follow the list, training does not."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from unlearn.stages.audit.compare import Audit, Listed, Snapshot, compare
from unlearn.stages.config.params import ShardingParams

from tests.stages.audit.locks import Lock, entry
from tests.stages.conftest import token_of

METHODS = ("retrain", "ssd")
SHARDING = ShardingParams(shards=["s000"], slices=1, holdout=0.2)
ANN, BOB = token_of("ann"), token_of("bob")

Change = Callable[[Lock], object]


def stage(deps: dict[str, str], outs: dict[str, str], **params: Any) -> dict[str, Any]:
    return {
        "cmd": "unlearn stage",
        "deps": [entry(path, md5) for path, md5 in deps.items()],
        "params": {"params.yaml": {"algorithm": 1} | params},
        "outs": [entry(path, md5) for path, md5 in outs.items()],
    }


def make_lock(
    *,
    data: str = "data-0",
    listed: str = "list-0",
    original: str = "original-0",
    models: str = "0",
    train: str = "mlp",
    settings: str = "0",
) -> Lock:
    """Return what DVC would write for a run on this dataset, list, training and settings."""
    shards, rows = f"shards-{data}", f"rows-{data}-{listed}"
    made = {name: f"{name}-{models}-{original}-{rows}-{settings}" for name in METHODS}
    lock = {
        "shard": stage({"data/dataset.csv": data}, {"data/shards": shards}),
        "train": stage({"data/shards/s000.parquet": shards}, {"models/original": original}),
        "forget": stage(
            {"data/shards": shards, "data/forget_list.txt": listed},
            {"data/retain_set": rows, "data/forget_set": f"gone-{rows}"},
        ),
        "aggregate": stage(
            {"models/unlearned/retrain": made["retrain"]},
            {"models/final_model": f"final-{made['retrain']}"},
        ),
        "verify": stage(
            {
                "models/unlearned": str(sorted(made.values())),
                "models/final_model": f"final-{made['retrain']}",
            },
            {"reports/verdict.json": "report-0"},
        ),
    }
    lock["train"]["params"]["params.yaml"]["train"] = {"model": train}
    for name in METHODS:
        lock[f"unlearn@{name}"] = stage(
            {
                "models/original": original,
                "data/retain_set": rows,
                "data/forget_set": f"gone-{rows}",
            },
            {f"models/unlearned/{name}": made[name]},
            settings=settings,
        )
    return lock


def snapshot(name: str, lock: Lock | None = None, *tokens: str, listed: str = "list-0") -> Snapshot:
    found = Listed(frozenset(tokens))
    return Snapshot(
        name=name,
        lock=make_lock(listed=listed) if lock is None else lock,
        listed=found,
        carried_out=found,
        list_md5=listed,
        sharding=SHARDING,
        environment={"numpy": "2"},
        report_md5="report-0",
        methods=METHODS,
    )


OLD = snapshot("old")


def reasons(found: Audit) -> dict[str, tuple[str, ...]]:
    return {item.stage: item.reasons for item in found.retrained}


def test_two_equal_states_are_consistent() -> None:
    found = compare(OLD, snapshot("new"))

    assert found == Audit(0, (), ("unlearn@retrain", "unlearn@ssd", "train"), (), ())


def test_a_request_explains_every_method_and_not_the_training() -> None:
    found = compare(OLD, snapshot("new", None, ANN, BOB, listed="list-1"))

    assert found.forgotten == 2
    assert reasons(found) == {f"unlearn@{name}": ("2 new lines",) for name in METHODS}
    assert found.untouched == ("train",)
    assert found.unexplained == ()


def test_a_request_never_explains_another_original() -> None:
    lock = make_lock(listed="list-1", original="original-1")
    found = compare(OLD, snapshot("new", lock, ANN, listed="list-1"))

    assert "train changed without a cause" in found.unexplained
    assert reasons(found)["train"] == ()


#: What a run was of, why the training ran, and why a method did.
EXPLAINED: dict[str, tuple[dict[str, str], tuple[str, ...], str]] = {
    "the dataset": (
        {"data": "data-1", "original": "original-1"},
        ("the dataset changed",),
        "the dataset changed",
    ),
    "settings of training": (
        {"train": "net", "original": "original-1"},
        ("settings changed",),
        "models/original changed",
    ),
    "settings of methods": ({"settings": "1"}, (), "settings changed"),
}


@pytest.mark.parametrize(("of", "train", "method"), EXPLAINED.values(), ids=EXPLAINED)
def test_other_causes(of: dict[str, str], train: tuple[str, ...], method: str) -> None:
    found = compare(OLD, snapshot("new", make_lock(**of)))

    assert found.unexplained == ()
    assert reasons(found).get("train", ()) == train
    for name in METHODS:
        assert method in reasons(found)[f"unlearn@{name}"]


def with_young(lock: Lock, rows: str, model: str) -> Lock:
    """Return the lock of a project with the stage `young`, whose model every method reads."""
    young = stage({"data/retain_set/s000.parquet": rows}, {"models/unlearned/young": model})
    for name in METHODS:
        lock[f"unlearn@{name}"]["deps"].append(entry("models/unlearned/young", model))
    return lock | {"young": young | {"cmd": "unlearn stage young"}}


def young_snapshot(name: str, lock: Lock, *tokens: str, listed: str = "list-0") -> Snapshot:
    return replace(snapshot(name, lock, *tokens, listed=listed), methods=("young", *METHODS))


OLD_YOUNG = young_snapshot("old", with_young(make_lock(), "rows-0", "young-0"))


def test_a_request_has_to_change_young_as_well() -> None:
    lock = with_young(make_lock(listed="list-1"), "rows-1", "young-1")
    found = compare(OLD_YOUNG, young_snapshot("new", lock, ANN, listed="list-1"))
    stays = with_young(make_lock(listed="list-1"), "rows-0", "young-0")
    left_out = compare(OLD_YOUNG, young_snapshot("new", stays, ANN, listed="list-1"))

    assert reasons(found)["young"] == ("1 new line",)
    assert found.unexplained == ()
    assert "1 new line for young, but young did not change" in left_out.unexplained


def test_young_that_changed_without_a_cause_is_found() -> None:
    lock = with_young(make_lock(models="1"), "rows-0", "young-1")
    found = compare(OLD_YOUNG, young_snapshot("new", lock))

    assert "young changed without a cause" in found.unexplained


def test_the_entry_of_a_young_stage_that_is_gone_says_nothing() -> None:
    """Nor does a stage of the user's own by that name."""
    lock = with_young(make_lock(), "rows-0", "young-0")
    for name in METHODS:
        lock[f"unlearn@{name}"]["deps"].pop()
    gone = compare(snapshot("old", lock), snapshot("new", lock | {"young": lock["young"]}))
    lock["young"]["cmd"] = "echo"
    own = compare(OLD, snapshot("new", lock))

    assert "young" not in (*gone.untouched, *reasons(gone))
    assert "young" not in (*own.untouched, *reasons(own))
    assert gone.unexplained == own.unexplained == ()


def set_out(name: str, md5: str) -> Change:
    def change(lock: Lock) -> None:
        lock[name]["outs"][0]["md5"] = md5

    return change


def set_dep(name: str, md5: str) -> Change:
    def change(lock: Lock) -> None:
        lock[name]["deps"][0]["md5"] = md5

    return change


UNEXPLAINED: dict[str, tuple[Change, str]] = {
    "another model of a method": (
        set_out("unlearn@ssd", "ssd-1"),
        "unlearn@ssd changed without a cause",
    ),
    "a model that was not verified": (
        set_out("unlearn@ssd", "ssd-1"),
        "unlearned models changed, but verify was not run with them",
    ),
    "a deployed model that was not aggregated": (
        set_out("unlearn@retrain", "retrain-1"),
        "aggregate did not run on the current models/unlearned/retrain",
    ),
    "another original": (set_out("train", "original-1"), "train changed without a cause"),
    "another original of the same rows": (
        set_out("train", "original-1"),
        "the output of train changed although its dependencies did not",
    ),
    "an original that no method read": (
        set_out("train", "original-1"),
        "unlearn@ssd did not run on the current models/original",
    ),
    "a method on other rows": (
        lambda lock: lock["unlearn@ssd"]["deps"][1].update(md5="rows-1"),
        "unlearn@ssd did not run on the current data/retain_set",
    ),
    "a method that left": (
        lambda lock: lock.pop("unlearn@ssd"),
        "unlearn@ssd left dvc.lock, although params.yaml names ssd",
    ),
    "another final model": (
        set_out("aggregate", "final-1"),
        "the output of aggregate changed although its dependencies did not",
    ),
    "another list": (
        lambda lock: lock["forget"]["deps"][1].update(md5="list-1"),
        "the forget list is not the one that dvc.lock says was applied",
    ),
    "another report": (
        set_out("verify", "report-1"),
        "reports/verdict.json is not the one in dvc.lock",
    ),
}


@pytest.mark.parametrize(("change", "said"), UNEXPLAINED.values(), ids=UNEXPLAINED)
def test_changes_without_a_cause(change: Change, said: str) -> None:
    lock = make_lock()
    change(lock)
    found = compare(OLD, snapshot("new", lock))

    assert said in found.unexplained
    assert found.verdict == "inconsistent"


def test_a_request_that_no_method_followed() -> None:
    lock = make_lock()
    lock["forget"]["deps"][1]["md5"] = "list-1"
    found = compare(OLD, snapshot("new", lock, ANN, listed="list-1"))

    for name in METHODS:
        said = f"1 new line for {name}, but unlearn@{name} did not change"
        assert said in found.unexplained


def test_a_request_that_one_method_did_not_follow() -> None:
    lock = make_lock(listed="list-1")
    lock["unlearn@ssd"] = deepcopy(make_lock()["unlearn@ssd"])
    found = compare(OLD, snapshot("new", lock, ANN, listed="list-1"))

    assert "1 new line for ssd, but unlearn@ssd did not change" in found.unexplained
    assert reasons(found) == {"unlearn@retrain": ("1 new line",)}


def test_a_line_that_left_the_list() -> None:
    old = snapshot("old", None, ANN, BOB, listed="list-1")
    found = compare(old, snapshot("new", None, ANN, listed="list-2"))

    assert "1 line left the forget list" in found.unexplained


def test_an_imported_original_has_no_training() -> None:
    old, new = make_lock(), make_lock(original="original-1")
    for lock in (old, new):
        del lock["train"]
    found = compare(snapshot("old", old), snapshot("new", new))

    assert "train" not in found.untouched
    assert all(reasons(found)[f"unlearn@{name}"] for name in METHODS)
    assert found.unexplained == ()


def test_a_method_that_params_no_longer_name_may_stay_in_the_lock() -> None:
    lock = make_lock()
    lock["unlearn@scrub"] = deepcopy(lock["unlearn@ssd"])
    lock["unlearn@scrub"]["outs"] = [entry("models/unlearned/scrub", "scrub-0")]
    found = compare(OLD, snapshot("new", lock))

    assert "unlearn@scrub" not in (*reasons(found), *found.untouched)


def test_a_new_method_is_new_and_not_unexplained() -> None:
    old = replace(OLD, lock={n: e for n, e in OLD.lock.items() if n != "unlearn@ssd"})
    found = compare(replace(old, methods=("retrain",)), snapshot("new"))

    assert reasons(found)["unlearn@ssd"] == ("not in the older lock",)
    assert found.unexplained == ()
