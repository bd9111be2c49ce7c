"""The search for a method's settings: on rows that no test looks at, and with a trail."""

import csv
import io
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from unlearn.stages.context import PosthocContext, check_params
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import HOLDOUT
from unlearn.stages.rows import holdout
from unlearn.stages.rows.shard_file import RECORD, TARGET, read_shard, record_tokens, write_shard
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.shard_model import ShardModel
from unlearn.stages.unlearn import tuning
from unlearn.stages.unlearn.base.ranges import Span
from unlearn.stages.unlearn.base.registry import find_method
from unlearn.stages.unlearn.stage import train_from_scratch, unlearn_rows
from unlearn.stages.unlearn.tuning import (
    Trial,
    Tuning,
    candidates,
    trail,
    tune,
)
from unlearn.stages.unlearn.tuning_rows import sample_rows

from tests.conftest import make_frame
from tests.stages.conftest import (
    KEY,
    LAYOUT,
    OTHER_KEY,
)
from tests.stages.unlearn.tunable import MOST, TRAIN, forget, make_tunable, noisy_frame

#: Learns even the labels that were drawn by lot, so that a method has much to change.
MEMORISING = TRAIN | {"options": {"hidden": [64]}, "epochs": 60}
BUDGET = 2

#: A gradient so small that nothing is forgotten, and one so large that all is.
NO_STEP, WILD_STEP = 1e-12, 50.0


def with_settings(context: PosthocContext, **of_methods: dict[str, Any]) -> PosthocContext:
    """Return the project with other settings of methods."""
    raw = context.params.model_dump(mode="json")
    for method, values in of_methods.items():
        raw["unlearn"]["settings"][method] |= values
    return replace(context, params=check_params(raw))


def table(found: Tuning) -> list[dict[str, str]]:
    """Return the trail as it is read back."""
    return list(csv.DictReader(io.StringIO(trail(found).decode())))


def spoil(path: Path, spoilt: pa.Array) -> None:
    """Give rows of a file other values in every column but the token."""
    rows = read_shard(path, path.name).rows
    columns = {}
    for name in rows.column_names:
        old = rows[name].combine_chunks()
        new: pa.Array = old
        if name == TARGET:
            new = pa.array(["c0"] * len(old), pa.string())
        elif name != RECORD:
            worst = {"age": 1e6, "income": -1e9, "member": True, "city": "Nowhere"}[name]
            new = pa.array([worst] * len(old), old.type)
        columns[name] = pc.if_else(spoilt, new, old)
    write_shard(path, KEY, pa.table(columns).cast(rows.schema), LAYOUT)


def test_no_row_of_the_forget_set_or_of_the_tested_half_is_ever_read(
    tunable: PosthocContext,
) -> None:
    before = trail(tune(tunable, "ssd", BUDGET, MOST))
    project = tunable.project
    gone = read_shard(project.forget_file("s000"), "gone").rows
    held_out = read_shard(project.retain_file(HOLDOUT), "holdout").rows
    tested = pc.is_in(held_out[RECORD], holdout.tested_half(held_out)[RECORD].combine_chunks())
    assert gone.num_rows > 10
    assert 0 < pc.sum(tested).as_py() < held_out.num_rows

    spoil(project.forget_file("s000"), pa.array([True] * gone.num_rows))
    spoil(project.retain_file(HOLDOUT), tested.combine_chunks())
    # Nor any other file that has these rows, or was made of them.
    shutil.rmtree(project.shards)
    (project.root / tunable.params.dataset.path).unlink()

    assert trail(tune(tunable, "ssd", BUDGET, MOST)) == before


def test_the_rows_that_it_does_read_matter(tunable: PosthocContext) -> None:
    before = tune(tunable, "ssd", 1, MOST).trials
    held_out = read_shard(tunable.project.retain_file(HOLDOUT), "holdout").rows
    mine = pc.is_in(held_out[RECORD], holdout.calibration_half(held_out)[RECORD].combine_chunks())

    spoil(tunable.project.retain_file(HOLDOUT), mine.combine_chunks())

    after = tune(tunable, "ssd", 1, MOST).trials
    assert [trial.on_sample for trial in after] == [trial.on_sample for trial in before]
    assert [trial.on_calibration for trial in after] != [trial.on_calibration for trial in before]


def test_the_same_inputs_give_the_same_bytes_and_more_trials_begin_with_them(
    tunable: PosthocContext,
) -> None:
    found = trail(tune(tunable, "finetune", 2, MOST))

    assert trail(tune(tunable, "finetune", 2, MOST)) == found
    assert trail(tune(tunable, "finetune", 3, MOST)).startswith(found)


def test_draws_follow_from_key_seed_and_method(tunable: PosthocContext) -> None:
    def drawn(context: PosthocContext, method: str = "scrub") -> list[dict[str, Any]]:
        return candidates(context, method, 4)[1:]

    other_seed = replace(tunable, params=tunable.params.model_copy(update={"seed": 1}))
    assert drawn(tunable) == drawn(tunable)
    assert drawn(tunable) != drawn(other_seed)
    assert drawn(tunable) != drawn(replace(tunable, key=OTHER_KEY))
    # Both draw a rate first: where in its range it lies must not be the same.
    places = []
    for method in ("gradient_ascent", "finetune"):
        span = find_method(method, "tabular").ranges["rate"]
        assert isinstance(span, Span)
        rates = np.array([each["rate"] for each in drawn(tunable, method)])
        places.append(np.log(rates / span.low) / np.log(span.high / span.low))
    assert not np.allclose(places[0], places[1], atol=0.01)
    assert len({each["rate"] for each in drawn(tunable)}) == 4


def test_settings_that_are_not_read_are_not_searched(tunable: PosthocContext) -> None:
    """Of SGD, where fine-tuning takes training's own optimizer, and the other way round."""
    sgd = candidates(tunable, "finetune", 4)
    own = candidates(with_settings(tunable, finetune={"optimizer": "training"}), "finetune", 4)

    assert {drawn["rate_factor"] for drawn in sgd} == {sgd[0]["rate_factor"]}
    assert {drawn["rate"] for drawn in own} == {own[0]["rate"]}
    assert len({drawn["rate"] for drawn in sgd}) == len({drawn["rate_factor"] for drawn in own}) > 1


def test_trial_0_is_what_params_yaml_says_and_the_best_is_the_nearest(
    tunable: PosthocContext,
) -> None:
    context = with_settings(tunable, ssd={"selection": 3.5, "dampening": 0.7})

    found = tune(context, "ssd", 4, MOST)

    lines = table(found)
    assert [line["trial"] for line in lines] == [str(number) for number in range(5)]
    assert (lines[0]["selection"], lines[0]["dampening"]) == ("3.5", "0.7")
    distances = [float(line["distance"]) for line in lines]
    assert len(set(distances)) > 1
    assert found.best.number == distances.index(min(distances))
    for line in lines:
        parts = float(line["on_sample"]) + float(line["on_calibration"])
        assert float(line["distance"]) == pytest.approx(parts, abs=1e-9)
        assert min(float(line["on_sample"]), float(line["on_calibration"])) >= 0


def test_a_distance_is_the_surprise_at_the_answers_of_a_model_retrained_without_the_sample(
    tunable: PosthocContext,
) -> None:
    sampled = sample_rows(tunable, MOST)
    rows = sampled.rows
    recipe = Recipe.of_project(tunable)
    original = ShardModel.of_files(train_from_scratch(recipe, sampled.whole).files)
    retrained = ShardModel.of_files(train_from_scratch(recipe, rows.retain).files).predictor()
    made = unlearn_rows(tunable, "finetune", original, rows).files
    mine = ShardModel.of_files(made).predictor()

    found = tune(tunable, "finetune", 1, MOST).trials[0]

    assert {*record_tokens(rows.forget), *record_tokens(rows.retain)} == {
        *record_tokens(sampled.whole)
    }
    for asked, distance in (
        (rows.forget, found.on_sample),
        (rows.calibration, found.on_calibration),
    ):
        p, q = retrained.probabilities(asked), mine.probabilities(asked)
        assert distance == pytest.approx((p * np.log(p / q)).sum(axis=1).mean(), abs=1e-5)


@pytest.mark.trained
@pytest.mark.parametrize(
    ("method", "bad", "train", "share"),
    [
        # 20 seeds on each kind of kernels: at most 0.025 of the distance is left.
        ("negative_gradient_plus", {"rate": WILD_STEP}, TRAIN, 0.2),
        # 20 seeds on each kind of kernels: 0.26 to 0.61.
        ("salun", {"rate": NO_STEP, "epochs": 1}, MEMORISING, 0.8),
    ],
    ids=["too much", "too little"],
)
def test_settings_that_are_bad_on_purpose_are_improved(
    tmp_path: Path, method: str, bad: dict[str, Any], train: dict[str, Any], share: float
) -> None:
    # Without the guard, which takes back most of what a wild step does.
    unguarded = {"guard": {"active": False}}
    plain = make_tunable(tmp_path / "project", noisy_frame(), train=train, unlearn=unguarded)
    forget(plain, *(f"r{number:04d}" for number in range(30)))
    context = with_settings(plain, **{method: bad})

    found = tune(context, method, 10, MOST)

    now, best = found.trials[0], found.best
    assert best.number > 0
    assert now.distance is not None
    assert best.distance is not None
    assert best.distance < share * now.distance
    assert found.changes
    assert {name: best.settings[name] for name in found.changes} == found.changes
    # What is not searched stays.
    assert best.settings["momentum"] == now.settings["momentum"]


@pytest.mark.trained
def test_a_method_that_does_nothing_is_as_far_as_the_small_original_is(
    tunable: PosthocContext,
) -> None:
    context = with_settings(tunable, finetune={"rate": NO_STEP, "weight_decay": 0.0, "epochs": 1})
    nothing = tune(context, "finetune", 1, MOST).trials[0]
    calm = with_settings(tunable, salun={"rate": NO_STEP, "weight_decay": 0.0, "epochs": 1})
    other = tune(calm, "salun", 1, MOST).trials[0]

    assert nothing.distance == pytest.approx(other.distance, abs=1e-5)
    assert nothing.on_sample is not None
    assert nothing.on_sample > 0.01


def test_ties_go_to_what_reads_fewer_rows_and_then_to_the_first() -> None:
    def at(number: int, distance: float | None, rows: float) -> Trial:
        return Trial(number, {"rate": number}, distance, rows_read=rows)

    def best(*trials: Trial) -> int:
        return Tuning("ssd", trials, 10, "retained rows", 50, 0).best.number

    assert best(at(0, 0.5, 9), at(1, 0.5, 3), at(2, 0.5, 5)) == 1
    assert best(at(0, 0.5, 3), at(1, 0.5, 3)) == 0
    assert best(at(0, 0.5, 3), at(1, 0.4, 99)) == 1
    assert best(at(0, None, 0), at(1, 0.9, 99)) == 1


def test_a_logarithmic_range_draws_every_decade_alike() -> None:
    random = np.random.default_rng(5)
    drawn = np.array([Span(1e-4, 1.0, logarithmic=True).draw(random) for _ in range(4000)])

    shares = [np.mean((drawn >= 10.0**-n) & (drawn < 10.0 ** (1 - n))) for n in range(1, 5)]
    assert np.allclose(shares, 0.25, atol=0.03)


def test_a_half_of_too_few_rows_counts_for_nothing(tunable: PosthocContext) -> None:
    held_out = read_shard(tunable.project.retain_file(HOLDOUT), "holdout").rows
    few = holdout.calibration_half(held_out).slice(0, 9)
    write_shard(tunable.project.retain_file(HOLDOUT), KEY, few, LAYOUT)

    for trial in tune(tunable, "ssd", 1, MOST).trials:
        assert trial.on_calibration is None
        assert trial.distance == trial.on_sample
    assert all(line["on_calibration"] == "" for line in table(tune(tunable, "ssd", 1, MOST)))


def test_the_search_has_a_young_model_of_its_own(tunable: PosthocContext) -> None:
    """Trained on the rows of the search: with it, methods stop where they do in the project."""
    # Every step goes far.
    fast = with_settings(tunable, gradient_ascent={"rate": 0.5})
    unlearn = fast.unlearn.model_copy(
        update={"young": True, "guard": fast.unlearn.guard.model_copy(update={"budget": 1.0})}
    )
    context = replace(fast, params=fast.params.model_copy(update={"unlearn": unlearn}))

    found = tune(context, "gradient_ascent", 1, MOST).trials[0]

    assert found.stopped_by == "young_target"
    assert not context.project.unlearned.exists()


def test_a_model_without_weights_is_refused_with_the_reason(tmp_path: Path) -> None:
    train = {"model": "sklearn.naive_bayes.GaussianNB"}
    context = make_tunable(tmp_path / "project", make_frame(120), train=train)

    with pytest.raises(InputError, match="ssd does not apply: "):
        tune(context, "ssd", 1, MOST)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("retrain", "retrain has no setting to search"),
        ("certified_removal", "certified_removal has no setting to search"),
        ("young", "young is not tuned"),
        ("my.py:forget_it", "my.py:forget_it is a method of your own"),
        ("scrubb", "there is no method 'scrubb'"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    method: str, said: str, tunable: PosthocContext
) -> None:
    with pytest.raises(InputError, match=said):
        tune(tunable, method, 1, MOST)


def test_nothing_in_the_project_changes_and_every_step_is_told(tunable: PosthocContext) -> None:
    def files() -> dict[str, bytes]:
        paths = sorted(tunable.project.root.rglob("*"))
        return {str(path): path.read_bytes() for path in paths if path.is_file()}

    before = files()
    told: list[int] = []

    tuning.tune(tunable, "ssd", 2, MOST, told.append)

    assert files() == before
    assert told == [1] * 5
