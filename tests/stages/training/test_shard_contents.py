"""What training a shard writes, and what it hands to the estimator: each value by itself."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from unlearn.stages.config.params import ALGORITHM
from unlearn.stages.estimators.base import RefusedRowsError, SliceData
from unlearn.stages.estimators.formats import SKOPS
from unlearn.stages.rows.shard_file import (
    TARGET,
    digest_rows,
    nonce,
    record_tokens,
    targets,
)
from unlearn.stages.rows.tokens import place
from unlearn.stages.training.environment import environment
from unlearn.stages.training.fitting import constant_class, prepare
from unlearn.stages.training.lineage import FILE_NAME, Lineage, SliceLink, links, read_lineage, seal
from unlearn.stages.training.shard_model import model_digest
from unlearn.stages.training.sliced_rows import by_slice, step_totals
from unlearn.stages.training.slices import plan_shard, train_shard

from tests.stages.conftest import (
    CLASSES,
    KEY,
    LAYOUT,
    MLP,
    NAIVE_BAYES,
    make_recipe,
    make_rows,
    put,
    train_at_once,
)

SLICES = 3
ROWS = make_rows(30)
LOGISTIC = {"model": "sklearn.linear_model.LogisticRegression"}


def of_slices(*numbers: int) -> pa.Table:
    """Return the rows of slices."""
    wanted = [place(token, 1, SLICES, 0.0).slice in numbers for token in record_tokens(ROWS)]
    return ROWS.filter(pa.array(wanted))


def expected_chain(shard: str) -> list[str]:
    recipe, sliced = make_recipe(NAIVE_BAYES, slices=SLICES), by_slice(ROWS, SLICES)
    digests = [
        digest_rows(KEY, sliced.slice_rows(number), f"slice {shard} {number}")
        for number in range(1, SLICES + 1)
    ]
    return links(recipe.digest(shard), environment(recipe.train), digests)


def test_a_plan_has_the_links_of_the_rows_of_each_slice() -> None:
    recipe = make_recipe(NAIVE_BAYES, slices=SLICES)
    work = plan_shard(recipe, "s007", ROWS, None)

    assert work.shard == "s007"
    assert work.first == 1
    assert list(work.links) == expected_chain("s007")
    assert work.environment == environment(recipe.train)


def test_a_lineage_states_what_the_model_was_made_from(tmp_path: Path) -> None:
    recipe, sizes = make_recipe(NAIVE_BAYES, slices=SLICES), by_slice(ROWS, SLICES).sizes
    trained = train_shard(recipe, plan_shard(recipe, "s007", ROWS, None), None)
    files = trained.files
    names = ["checkpoints/slice-001.skops", "checkpoints/slice-002.skops"]
    states = [SKOPS.digest(files[name]) for name in [*names, "model.skops"]]
    description = json.loads(files["model.json"])

    expected = Lineage(
        shard="s007",
        algorithm=ALGORITHM,
        recipe=recipe.digest("s007"),
        environment=environment(recipe.train),
        retain=nonce(KEY, "s007", ROWS, LAYOUT),
        slices=tuple(
            SliceLink(number, size, link, state, name)
            for number, size, link, state, name in zip(
                range(1, SLICES + 1),
                sizes,
                expected_chain("s007"),
                states,
                [*names, None],
                strict=True,
            )
        ),
        model=model_digest(description, files["model.skops"]),
        files={
            name: hashlib.sha256(content).hexdigest()
            for name, content in files.items()
            if name != FILE_NAME
        },
        constant=None,
        seal=trained.lineage.seal,
    )
    assert trained.lineage == expected
    assert trained.lineage.seal == seal(KEY, expected)
    assert trained.refusal is None
    assert files.keys() == {*names, "model.skops", "model.json", FILE_NAME}
    put(tmp_path, files)
    assert read_lineage(tmp_path) == expected
    assert (description["rows"], description["kind"]) == (30, "sklearn")
    assert description["layout"] == LAYOUT.as_json()
    assert description["has_probabilities"] is True
    assert "preprocessing" in description


@pytest.mark.parametrize("count", [0, 6])
def test_a_model_without_weights_is_described_by_its_answer(count: int) -> None:
    rows = ROWS.filter(pc.equal(ROWS[TARGET], "c1")).slice(0, count)
    recipe = make_recipe(LOGISTIC)
    trained = train_shard(recipe, plan_shard(recipe, "s000", rows, None), None)

    description = json.loads(trained.files["model.json"])
    assert description == {
        "schema_version": 1,
        "kind": "constant" if count else "empty",
        "layout": LAYOUT.as_json(),
        "rows": count,
        "has_probabilities": True,
        "file": None,
    } | ({"class": 1} if count else {})
    lineage = trained.lineage
    assert lineage.constant is None
    assert lineage.model == model_digest(description, None)
    assert [(link.state, link.checkpoint) for link in lineage.slices] == [(None, None)]
    assert lineage.files.keys() == {"model.json"}


def test_refused_rows_give_frequencies_of_all_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of a class that none of the rows has, the last one."""
    rows = ROWS.filter(pc.not_equal(ROWS[TARGET], "c2"))
    recipe = make_recipe({"model": "sklearn.naive_bayes.GaussianNB"}, slices=SLICES)
    refusal = RefusedRowsError("these rows")

    def refuse(*_: Any) -> bytes:
        raise refusal

    work = plan_shard(recipe, "s000", rows, None)
    kind = type(prepare(recipe, "s000", work.sliced).estimator)
    with monkeypatch.context() as patch:
        patch.setattr("unlearn.stages.training.slices.fits_trial_rows", lambda _recipe: True)
        patch.setattr(kind, "fit_slice", refuse)
        trained = train_shard(recipe, work, None)

    description = json.loads(trained.files["model.json"])
    counts = [pc.sum(pc.equal(rows[TARGET], label)).as_py() for label in CLASSES]
    assert counts[2] == 0
    assert description["frequencies"] == [count / rows.num_rows for count in counts]
    assert description["reason"] == "the estimator cannot be fitted on these rows"
    assert description["kind"] == "constant"
    assert trained.refusal is refusal
    assert trained.lineage.refused
    assert [link.state for link in trained.lineage.slices] == [None] * SLICES


def test_each_slice_goes_on_from_the_state_before_it_with_the_shards_own_seed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recipe = make_recipe(MLP, slices=SLICES)
    put(tmp_path, train_at_once(recipe, ROWS, "s007"))
    work = plan_shard(recipe, "s007", of_slices(1, 2), tmp_path)
    assert work.first == 3
    kind = type(prepare(recipe, "s007", work.sliced).estimator)
    fit_slice = kind.fit_slice  # type: ignore[attr-defined]  # of an estimator of features
    calls: list[tuple[bytes | None, int]] = []
    seeds: list[int] = []

    def record(self: Any, state: bytes | None, data: SliceData, seed: int) -> bytes:
        calls.append((state, seed))
        seeds.append(data.seed(2))
        made = fit_slice(self, state, data, seed)
        assert isinstance(made, bytes)
        return made

    monkeypatch.setattr(kind, "fit_slice", record)
    told: list[int] = []
    whole = train_shard(recipe, plan_shard(recipe, "s007", ROWS, None), None, told.append)

    seed = KEY.seed(0, "s007", "init")
    states = [whole.files[f"checkpoints/slice-00{number}.safetensors"] for number in (1, 2)]
    assert calls == [(None, seed), (states[0], seed), (states[1], seed)]
    assert seeds == [KEY.seed(0, "s007", number, 2) for number in (1, 2, 3)]
    assert told == [1, 2, 3]
    calls.clear()
    told.clear()
    # The first two states are used as they are, though the rows of the third slice left.
    train_shard(recipe, work, tmp_path, told.append)
    assert calls == [(states[1], seed)]
    assert told == [3]


@pytest.mark.parametrize("forgotten", [1, 2, 3])
def test_only_slices_from_that_of_a_forgotten_row_are_trained(
    tmp_path: Path, forgotten: int
) -> None:
    recipe = make_recipe(NAIVE_BAYES, slices=SLICES)
    put(tmp_path, train_at_once(recipe, ROWS))
    gone = record_tokens(of_slices(forgotten))[0]
    rest = ROWS.filter(pa.array([token != gone for token in record_tokens(ROWS)]))
    told: list[int] = []

    trained = train_shard(recipe, plan_shard(recipe, "s000", rest, tmp_path), tmp_path, told.append)

    assert told == list(range(forgotten, SLICES + 1))
    assert trained.files == train_at_once(recipe, rest)


def test_a_single_row_is_learned_from() -> None:
    described = json.loads(train_at_once(make_recipe(MLP, slices=SLICES), ROWS[:1])["model.json"])

    assert (described["kind"], described["rows"]) == ("torch", 1)


def test_a_model_that_only_votes_says_so() -> None:
    votes = {"model": "sklearn.svm.LinearSVC"}
    described = json.loads(train_at_once(make_recipe(votes), ROWS)["model.json"])

    assert described["has_probabilities"] is False


@pytest.mark.parametrize("train", [MLP, NAIVE_BAYES], ids=["mlp", "naive Bayes"])
def test_a_slice_is_given_all_rows_so_far_its_steps_and_a_seed_for_each_epoch(
    monkeypatch: pytest.MonkeyPatch, train: dict[str, Any]
) -> None:
    recipe, sliced = make_recipe(train, slices=SLICES), by_slice(ROWS, SLICES)
    fitting = prepare(recipe, "s007", sliced)
    found: list[SliceData] = []

    def record(state: bytes | None, data: SliceData, seed: int) -> bytes:
        assert (state, seed) == (b"before", 42)
        found.append(data)
        return b"after"

    monkeypatch.setattr(fitting.estimator, "fit_slice", record)
    for number in range(1, SLICES + 1):
        assert fitting.fit(b"before", number, 42) == b"after"

    totals = [0, *step_totals(sliced.sizes, recipe.train.epochs, recipe.train.batch)]
    for number, data in enumerate(found, start=1):
        end = sliced.ends[number - 1]
        assert data.new == sliced.sizes[number - 1]
        assert data.steps == totals[number] - totals[number - 1]
        assert data.inputs.shape[0] == end
        assert np.array_equal(data.inputs, found[-1].inputs[:end])
        assert np.array_equal(data.targets, targets(sliced.rows.slice(0, end), LAYOUT))
        assert [data.seed(epoch) for epoch in (0, 3)] == [
            KEY.seed(0, "s007", number, epoch) for epoch in (0, 3)
        ]


def test_the_state_stays_where_a_slice_takes_no_step() -> None:
    recipe = make_recipe(MLP | {"epochs": 1, "batch": 64}, slices=SLICES)
    first = prepare(recipe, "s000", by_slice(of_slices(2, 3), SLICES))
    middle = prepare(recipe, "s000", by_slice(of_slices(1, 3), SLICES))

    assert first.fit(None, 1, 0) is None
    assert middle.fit(b"as it was", 2, 0) == b"as it was"


def test_features_are_scaled_by_the_first_slice_that_has_rows() -> None:
    recipe = make_recipe(NAIVE_BAYES, slices=SLICES)

    def learned(*numbers: int) -> Any:
        return prepare(recipe, "s000", by_slice(of_slices(*numbers), SLICES)).description

    assert learned(1, 2, 3) == learned(1) == learned(1, 3)
    assert learned(2, 3) == learned(2)
    assert learned(1) != learned(2) != learned(3)


def test_one_class_is_a_constant_for_a_family_that_needs_two() -> None:
    one = ROWS.filter(pc.equal(ROWS[TARGET], "c1"))
    logistic = make_recipe(LOGISTIC)

    assert constant_class(logistic, by_slice(one, 1)) == 1
    assert constant_class(logistic, by_slice(ROWS, 1)) is None
    assert constant_class(logistic, by_slice(one.slice(0, 0), 1)) is None
    assert constant_class(make_recipe(MLP), by_slice(one, 1)) is None


def test_with_slices_only_the_pinned_list_of_classes_decides() -> None:
    """Whether the rows have one class is known only after the last slice."""
    one = ROWS.filter(pc.equal(ROWS[TARGET], "c1"))
    sliced = make_recipe(NAIVE_BAYES, slices=SLICES)
    pinned = replace(sliced, layout=replace(LAYOUT, classes=("c1",)))

    assert constant_class(sliced, by_slice(one, SLICES)) is None
    assert constant_class(pinned, by_slice(one, SLICES)) == 0
    assert constant_class(pinned, by_slice(one.slice(0, 0), SLICES)) is None
