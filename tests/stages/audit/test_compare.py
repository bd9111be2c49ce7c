"""Comparing two states: every change needs a cause, and every cause its change."""

from copy import deepcopy
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.audit.compare import Audit, Listed, compare
from unlearn.stages.config.params import shard_names
from unlearn.stages.rows.tokens import place

from tests.stages.audit.locks import (
    ANN,
    HELD_OUT,
    IN_S0,
    IN_S1,
    SHARDING,
    Change,
    Lock,
    after,
    follow,
    make_lock,
    reasons,
    request,
    retrain,
    set_dep,
    set_out,
    snapshot,
)


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
