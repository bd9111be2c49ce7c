"""`init` for models of sets of rows: what it pins, and what it refuses."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from unlearn.cli.examples import visits
from unlearn.stages.estimators.row_sets.forest_share import default_share
from unlearn.stages.estimators.row_sets.grids import find_ends

from tests.conftest import Done, Repo, make_frame, start_repositories


@pytest.mark.parametrize(
    "model", ["exact_forest", "exact_boosting", "exact_linear", "exact_naive_bayes"]
)
def test_init_pins_grids_from_all_rows(model: str, tmp_path: Path) -> None:
    frame = make_frame(300)
    frame["when"] = [f"2024-01-{day % 28 + 1:02d}" for day in range(300)]
    frame.to_csv(tmp_path / "rows.csv", index=False)
    repo = start_repositories(tmp_path / "project")
    source = str(tmp_path / "rows.csv")

    done = repo.inline(
        "init", ".", "--dataset", source, "--id", "id", "--target", "label", "--model", model
    )

    assert done.code == 0, done.err
    train, sharding = repo.params()["train"], repo.params()["sharding"]
    days = np.array([1704067200.0 + 86400 * (day % 28) for day in range(300)])
    assert train["options"]["range"] == {
        "age": list(find_ends(frame["age"].to_numpy())),
        "income": list(find_ends(frame["income"].to_numpy())),
        "when": list(find_ends(days)),
    }
    assert train["preprocessing"] == {"scale": "none", "impute": "zero"}
    assert sharding["slices"] == 1
    assert repo.params()["aggregate"]["rule"] == "mean_probability"


def test_the_posthoc_template_does_not_take_them(tmp_path: Path) -> None:
    make_frame(60).to_csv(tmp_path / "rows.csv", index=False)
    repo = start_repositories(tmp_path / "project")
    before = sorted(repo.root.rglob("*"))
    options = ("--template", "posthoc", "--model", "exact_forest")
    source = str(tmp_path / "rows.csv")

    done = repo.inline(
        "init", ".", "--dataset", source, "--id", "id", "--target", "label", *options
    )

    assert done.code == 2
    assert "exact_forest is for the exact template only" in done.err
    assert sorted(repo.root.rglob("*")) == before


def init(repo: Repo, frame: pd.DataFrame, *options: str) -> Done:
    source = repo.root.parent / "rows.csv"
    frame.to_csv(source, index=False)
    columns = ("--id", "id", "--target", "label")
    done = repo.inline("init", ".", "--dataset", str(source), *columns, *options)
    assert done.code == 0, done.err
    return done


def test_a_table_has_an_exact_model_unless_it_is_to_have_shards(tmp_path: Path) -> None:
    repo = start_repositories(tmp_path / "project")

    done = init(repo, make_frame(300))

    first, second = done.out.splitlines()[:2]
    assert first.endswith("1 shard of 1 slice, model exact_forest")
    assert second == (
        "model exact_forest, without shards: a request changes it, which takes a small share of "
        "a training (--model mlp is a network with shards)"
    )
    params = repo.params()
    assert params["train"]["model"] == "exact_forest"
    assert params["train"]["options"]["share"] == 1  # few rows
    assert (len(params["sharding"]["shards"]), params["sharding"]["slices"]) == (1, 1)


@pytest.mark.parametrize(
    "options",
    [
        ("--model", "mlp"),
        ("--shards", "2"),
        ("--slices", "2"),
        ("--epochs", "3"),
        ("--template", "posthoc"),
    ],
)
def test_options_of_networks_give_a_network(options: tuple[str, ...], tmp_path: Path) -> None:
    repo = start_repositories(tmp_path / "project")

    done = init(repo, make_frame(300), *options, "--json")

    assert repo.params()["train"]["model"] == "mlp"
    assert done.json["why_model"] is None


@pytest.mark.slow
def test_many_numbers_have_a_linear_model(tmp_path: Path) -> None:
    frame = make_frame(60)[["id", "label"]]
    values = np.random.default_rng(0).normal(size=(60, 256)).round(3)
    wide = frame.join(pd.DataFrame(values, columns=[f"x{at}" for at in range(256)]))
    repo = start_repositories(tmp_path / "project")

    done = init(repo, wide, "--json")

    assert repo.params()["train"]["model"] == "exact_linear"
    assert "share" not in repo.params()["train"]["options"]
    assert done.json["why_model"].startswith("model exact_linear, without shards: ")


@pytest.mark.parametrize(
    ("rows", "classes", "share"),
    [
        (100, 2, 1),
        (4_000, 2, 1),
        (4_100, 2, 1),
        (10_000, 26, 1),
        (32_561, 2, 0.15),
        (60_000, 7, 0.25),
        (100_000, 2, 0.1),
        (1_000_000, 2, 0.1),
        (1_000_000, 100, 0.2),
    ],
)
def test_the_share_of_a_forest_follows_from_rows_and_classes(
    rows: int, classes: int, share: float
) -> None:
    assert default_share(rows, classes) == pytest.approx(share)


@pytest.mark.slow
def test_rows_of_a_shard_count_for_the_share(tmp_path: Path) -> None:
    shares = []
    for name, options in (("one", ()), ("two", ("--shards", "10", "--slices", "1"))):
        repo = start_repositories(tmp_path / name)
        init(repo, make_frame(9_000), "--model", "exact_forest", *options)
        shares.append(repo.params()["train"]["options"]["share"])
    assert shares == [0.85, 1]


def with_vectors(rows: int) -> pa.Table:
    frame = make_frame(rows)
    random = np.random.default_rng(3)
    vectors = random.normal(size=(rows, 6)) + np.eye(6)[frame["label"].str[1:].astype(int)] * 3
    lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 6)
    return pa.table({"id": frame["id"], "vector": lists, "label": frame["label"]})


def test_an_embedding_counts_as_that_many_features(tmp_path: Path) -> None:
    source = tmp_path / "rows.parquet"
    pq.write_table(with_vectors(300), source)
    repo = start_repositories(tmp_path / "project")
    columns = ("--id", "id", "--target", "label")

    done = repo.inline(
        "init", ".", "--dataset", str(source), *columns, "--model", "exact_linear", "--json"
    )

    assert done.code == 0, done.err
    assert done.json["features"] == 6
    names = [f"vector[{place}]" for place in range(6)]
    params = repo.params()
    assert params["dataset"]["features"] == dict.fromkeys(names, "numeric")
    assert list(params["train"]["options"]["range"]) == names
    repo.stages()
    assert repo.report()["utility"]["accuracy"] > 0.8


def test_an_embedding_is_dropped_by_its_name(tmp_path: Path) -> None:
    source = tmp_path / "rows.parquet"
    table = with_vectors(60)
    pq.write_table(table.append_column("age", pa.array(make_frame(60)["age"])), source)
    repo = start_repositories(tmp_path / "project")
    columns = ("--id", "id", "--target", "label", "--drop", "vector")

    done = repo.inline("init", ".", "--dataset", str(source), *columns)

    assert done.code == 0, done.err
    assert list(repo.params()["dataset"]["features"]) == ["age"]


def test_the_visits_may_have_an_exact_model(tmp_path: Path) -> None:
    repo = start_repositories(tmp_path / "project")

    done = repo.inline("init", ".", "--example", "visits", "--model", "exact_forest")

    assert done.code == 0, done.err
    assert done.out.splitlines()[0].endswith("1 shard of 1 slice, model exact_forest")
    options = repo.params()["train"]["options"]
    frame = pd.read_csv(repo.root / visits.VISITS_PATH)
    assert options["share"] == 0.1
    assert options["range"] == {
        name: list(find_ends(frame[name].to_numpy(float)))
        for name, kind in visits.FEATURES.items()
        if kind == "numeric"
    }


def test_the_visits_take_exact_models_only(tmp_path: Path) -> None:
    repo = start_repositories(tmp_path / "project")
    before = sorted(repo.root.rglob("*"))
    for options in (("--model", "mlp"), ("--model", "exact_forest", "--template", "posthoc")):
        done = repo.inline("init", ".", "--example", "visits", *options)
        assert done.code == 2
        assert done.err.startswith("error: ")
        assert sorted(repo.root.rglob("*")) == before
