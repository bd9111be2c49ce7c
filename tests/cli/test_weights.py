"""A column of weights of rows, from `init` to `verify`."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.cli.conftest import refused, unchanged
from tests.conftest import Repo, make_frame, start_repositories

FRAME = make_frame(90).assign(importance=np.random.default_rng(4).choice(["0,5", "2", "3,25"], 90))
ASKED = ("init", ".", "--dataset", "source.csv", "--id", "id", "--target", "label")
MODEL = ("--model", "sklearn.linear_model.LogisticRegression", "--weight", "importance")


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    found = start_repositories(tmp_path / "project")
    # Weights are numbers with the decimal mark of the file.
    FRAME.to_csv(found.root / "source.csv", index=False, sep=";", decimal=",")
    return found


@pytest.mark.slow
def test_a_project_with_weights_runs_and_predicts(repo: Repo) -> None:
    done = repo.inline(*ASKED, *MODEL, "--shards", "2")
    assert done.code == 0, done.err
    params = repo.params()
    assert params["dataset"]["weight"] == "importance"
    assert "importance" not in params["dataset"]["features"]
    assert repo.inline("canary", "--count", "20").code == 0
    canaries = pd.read_csv(repo.root / "data/canaries.csv")
    mean = FRAME["importance"].str.replace(",", ".").astype(float).mean()
    assert canaries["importance"].unique() == pytest.approx([mean], rel=0.05)
    repo.stages()

    assert repo.report()["verdict"] == "pass"
    new = FRAME.drop(columns=["importance", "label"])
    new.to_csv(repo.root / "new.csv", index=False, sep=";", decimal=",")
    done = repo.inline("predict", "--input", "new.csv", "--output", "out.csv")
    assert done.code == 0, done.err
    assert len(pd.read_csv(repo.root / "out.csv")) == 90


def test_a_weight_that_is_none_stops_init_with_its_row(repo: Repo) -> None:
    frame = FRAME.copy()
    frame.loc[4, "importance"] = "-2"
    frame.to_csv(repo.root / "source.csv", index=False, sep=";", decimal=",")

    with unchanged(repo.root):
        done = repo.inline(*ASKED, *MODEL)
    error = refused(done)
    assert "'importance': a weight is missing, not finite, or not above 0 (data row 5)" in error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--weight", "importance"), "dataset.weight: exact_forest counts each row once"),
        ((*MODEL, "--template", "posthoc"), "post-hoc methods count each row once"),
        ((*MODEL[:3], "nothing"), "source.csv has no column 'nothing'"),
        ((*MODEL[:3], "label"), "id, subject, target and weight must be different columns"),
        (
            ("--model", "sklearn.neighbors.KNeighborsClassifier", "--weight", "importance"),
            "KNeighborsClassifier takes no weights of rows: its `fit` has no `sample_weight`",
        ),
    ],
)
def test_init_refuses_weights_that_would_not_count(
    repo: Repo, options: tuple[str, ...], message: str
) -> None:
    with unchanged(repo.root):
        done = repo.inline(*ASKED, *options)
    assert message in refused(done)
