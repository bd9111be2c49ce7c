"""`init` for models of sets of rows: what it pins, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest
from unlearn.stages.estimators.row_sets.grids import find_ends

from tests.conftest import make_frame, start_repositories


@pytest.mark.parametrize("model", ["exact_forest", "exact_linear", "exact_naive_bayes"])
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
