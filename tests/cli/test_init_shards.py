"""How many shards, slices and epochs `unlearn init` chooses."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.cli.examples.visits import FEATURES, ROWS, VISITS_PATH, WARDS, visits_csv
from unlearn.cli.init.scaffold import BREAK_EVEN, Plan, suggest, suggest_by_time
from unlearn.stages.estimators.registry import find_spec
from unlearn.stages.estimators.spec import TrainingSize

from tests.cli.conftest import init
from tests.conftest import Repo


@pytest.mark.parametrize("rows", [1, 50, 600, 5_000, 50_000, 5_000_000])
@pytest.mark.parametrize("can_slice", [True, False])
def test_the_default_plan_leaves_no_shard_without_rows_or_steps(
    rows: int, *, can_slice: bool
) -> None:
    plan = suggest(rows, holdout=0.2, can_slice=can_slice)

    assert 1 <= plan.shards <= 20
    assert 1 <= plan.slices <= (5 if can_slice else 1)
    assert plan.epochs >= 10
    if plan.shards > 1:
        assert rows * 0.8 / plan.shards >= 400
    if plan.slices > 1:
        assert rows * 0.8 / plan.shards / plan.slices >= 80


def test_the_default_plan_gives_small_shards_more_epochs() -> None:
    epochs = [suggest(rows, holdout=0.2, can_slice=True).epochs for rows in (500, 5_000, 500_000)]

    assert epochs == sorted(epochs, reverse=True)
    asked = suggest(1000, holdout=0.2, can_slice=True, shards=7, slices=3)
    assert (asked.shards, asked.slices) == (7, 3)


def test_shards_are_chosen_where_they_save_time() -> None:
    def chosen(seconds: float | None, **given: int) -> tuple[int, int, float | None]:
        shards, slices = given.get("shards"), given.get("slices")
        plan, known = suggest_by_time(
            lambda number: suggest(
                20_000, holdout=0.2, can_slice=True, shards=number, slices=slices
            ),
            lambda _plan: seconds,
            shards=shards,
            slices=slices,
        )
        return plan.shards, plan.slices, known

    assert chosen(BREAK_EVEN - 0.1) == (1, 1, BREAK_EVEN - 0.1)
    assert chosen(BREAK_EVEN) == (20, 5, BREAK_EVEN)
    assert chosen(None) == (20, 5, None)
    assert chosen(1.0, shards=7) == (7, 5, None)
    assert chosen(1.0, slices=4) == (1, 4, 1.0)


def test_one_model_of_all_rows_is_what_the_seconds_are_of() -> None:
    asked: list[Plan] = []

    def plan(shards: int | None) -> Plan:
        return suggest(20_000, holdout=0.2, can_slice=True, shards=shards)

    suggest_by_time(plan, asked.append, shards=None, slices=None)

    assert [one.epochs for one in asked] == [plan(1).epochs]
    assert plan(1).epochs != plan(20).epochs


@given(
    st.sampled_from(
        [
            "mlp",
            "perturbed_logistic",
            "sklearn.ensemble.GradientBoostingClassifier",
            "sklearn.naive_bayes.GaussianNB",
            "sklearn.svm.SVC",
        ]
    ),
    st.integers(1, 10**7),
    st.integers(1, 5_000),
    st.integers(1, 200),
)
def test_larger_trainings_take_longer(model: str, rows: int, inputs: int, classes: int) -> None:
    def seconds(rows: int, inputs: int, classes: int) -> float:
        found = find_spec(model).seconds(
            TrainingSize(model, rows, inputs, classes, epochs=10, batch=32)
        )
        assert found is not None
        return found

    least = seconds(rows, inputs, classes)
    assert least > 0
    assert seconds(2 * rows, inputs, classes) > least or (model == "mlp" and rows <= 16)
    assert seconds(rows, 2 * inputs, classes) > least
    assert seconds(rows, inputs, classes + 1) >= least


@pytest.mark.parametrize("model", ["sklearn.linear_model.NoSuchClassifier", "net.py:build"])
def test_nobody_knows_how_long_an_unknown_model_trains(model: str) -> None:
    size = TrainingSize(model, 1_000, 20, 2, epochs=10, batch=32)

    assert find_spec(model).seconds(size) is None


def write_table(path: Path, features: int) -> None:
    rows = 2_000
    values = np.random.default_rng(0).normal(size=(rows, features)).round(2)
    frame = pd.DataFrame(values, columns=[f"x{number}" for number in range(features)])
    frame.insert(0, "id", [f"r{number}" for number in range(rows)])
    frame["label"] = ["a", "b"] * (rows // 2)
    frame.to_csv(path, index=False)


@pytest.mark.parametrize(
    ("model", "shards", "said"),
    [
        ("mlp", 1, "one shard: training one plain model on all rows takes about 0.2 s, and more"),
        pytest.param(
            "sklearn.ensemble.GradientBoostingClassifier",
            3,
            "3 shards: training one plain model on",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_init_picks_shards_by_the_time_of_a_training(
    repositories: Repo, model: str, shards: int, said: str
) -> None:
    write_table(repositories.root / "wide.csv", features=300)

    options = ("--dataset", "wide.csv", "--id", "id", "--target", "label", "--model", model)
    done = init(repositories, ".", *options)

    assert "is not known" not in done.err
    assert len(repositories.params()["sharding"]["shards"]) == shards
    assert done.out.splitlines()[1].startswith(said)
    assert "8 s" in done.out.splitlines()[1]


def test_init_says_that_it_does_not_know_how_long_a_model_trains(repositories: Repo) -> None:
    write_table(repositories.root / "table.csv", features=2)
    model = ("--model", "sklearn.semi_supervised.LabelPropagation")
    options = ("--dataset", "table.csv", "--id", "id", "--target", "label", *model)

    done = init(repositories, ".", *options)

    assert len(repositories.params()["sharding"]["shards"]) == 3
    assert "LabelPropagation trains is not known, so the number of shards follows" in done.err
    assert "plain model" not in done.out


@pytest.mark.slow
def test_the_visits_are_large_enough_for_shards(tmp_path: Path) -> None:
    options = ("--example", "visits")
    written = [Repo(tmp_path / name) for name in ("one", "two")]
    for repo in written:
        repo.root.mkdir()
        repo.git("init", "--quiet", "--initial-branch", "main")
        done = init(repo, ".", *options, "--json")

        assert (done.json["rows"], done.json["shards"], done.json["slices"]) == (ROWS, 20, 4)
        assert done.json["plain_training"] >= BREAK_EVEN
    # Nothing of this machine is in them, such as how fast it is.
    for name in (VISITS_PATH, "params.yaml", "schema.yaml", "shards.yaml", "dvc.yaml"):
        assert (written[0].root / name).read_bytes() == (written[1].root / name).read_bytes()
    frame = pd.read_csv(written[0].root / VISITS_PATH)
    assert list(frame.columns[2:-1]) == list(FEATURES)
    assert frame["visit"].is_unique
    assert frame["patient"].nunique() < ROWS / 3
    assert set(frame["ward"]) == set(WARDS)
    # One time out of three: a model has something to learn, and cannot know it all.
    assert 0.3 < (frame["readmitted"] == "yes").mean() < 0.5


def test_the_visits_are_the_same_everywhere() -> None:
    digest = hashlib.sha256(visits_csv()).hexdigest()

    assert digest == "33272a83e20a06023af4cad232989aab2e36f4f3e6948a8cfe04fc2e87f02337"


def test_the_digits_say_that_their_shards_save_no_time(tmp_path: Path) -> None:
    done = init(Repo(tmp_path), "digits", "--example", "digits")

    assert done.out.splitlines()[1] == (
        "shards show how requests work: training one plain model on all rows takes about 0.1 s, "
        "and shards save time from 8 s on"
    )
