"""Projects whose shard models are those of libraries for boosted trees, from `init` on."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.conftest import Repo, fresh_models, make_frame, make_project
from tests.pipeline.conftest import KEY, ids_at
from tests.stages.regression import make_amounts

FILES = {
    "xgboost.XGBClassifier": "model.xgboost.json",
    "lightgbm.LGBMClassifier": "model.lightgbm.txt",
    "catboost.CatBoostClassifier": "model.catboost.json",
}


@pytest.mark.slow
@pytest.mark.parametrize("model", FILES)
def test_two_requests_leave_the_bytes_of_a_clean_room_with_boosted_trees(
    model: str, workspace: Path
) -> None:
    pytest.importorskip(model.partition(".")[0])
    frame = make_frame(240)
    project = make_project(workspace / "project", frame, "--model", model, "--shards", "2", key=KEY)
    train, sharding = project.params()["train"], project.params()["sharding"]
    assert train["preprocessing"] == {"scale": "none", "impute": "none"}
    trees = next(iter(train["options"]))
    assert train["options"][trees] > 1
    assert sharding["slices"] == 1
    project.set_params(train={"options": {trees: 8}}, verify={"reference_models": 8})
    project.ok("repro", "-j", "1")
    original = project.files("models")

    first = ids_at(project, "s000")[:2]
    second = [*ids_at(project, "s000")[2:3], *ids_at(project, "s001")[:2]]
    project.ok("forget", "--ids", "-", stdin="\n".join(first))
    plan = project.ok("plan", "--json").json
    assert plan["rows_to_retrain"] == len(ids_at(project, "s000")) - len(first)
    project.ok("repro", "-j", "1")
    changed = project.files("models")
    name = f"shard_models/s001/{FILES[model]}"
    assert changed[name] == original[name]
    project.forget(second)
    project.ok("repro", "-j", "1")

    made = project.files("models")
    assert made == fresh_models(project, workspace / "room", [*first, *second])
    assert made[name] != original[name]
    verdict = project.ok("verify", "--json").json
    assert verdict["verdict"] == "pass"
    check_predictions(project, frame)


def check_predictions(project: Repo, frame: pd.DataFrame) -> None:
    """Check answers on files that differ from the dataset's form, and refusals."""

    def answers(rows: pd.DataFrame) -> str:
        rows.to_csv(project.root / "new.csv", index=False)
        done = project.ok("predict", "--input", "new.csv", "--output", "out.csv")
        assert done.code == 0
        return (project.root / "out.csv").read_text(encoding="utf-8")

    rows = frame.iloc[:20]
    expected = answers(rows)
    rows.assign(member=rows["member"] == "true").to_parquet(project.root / "new.parquet")
    project.ok("predict", "--input", "new.parquet", "--output", "out.csv")
    assert (project.root / "out.csv").read_text(encoding="utf-8") == expected
    assert answers(rows.assign(more=1)[["more", *reversed(rows.columns)]]) == expected
    assert answers(rows.assign(city="Paris")) == answers(rows.assign(city="Quito"))
    for odd, said in (
        (rows.drop(columns="income"), "income"),
        (rows.assign(income=[1.0] * 19 + ["inf"]), "data row 20"),
        (rows.assign(income=[1.0] * 19 + ["many"]), "data row 20"),
    ):
        odd.to_csv(project.root / "new.csv", index=False)
        done = project.inline("predict", "--input", "new.csv", "--output", "out.csv")
        assert done.code == 2
        assert said in done.err


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", ["xgboost.XGBRegressor", "lightgbm.LGBMRegressor", "catboost.CatBoostRegressor"]
)
def test_two_requests_leave_the_bytes_of_a_clean_room_with_boosted_regressors(
    model: str, workspace: Path
) -> None:
    pytest.importorskip(model.partition(".")[0])
    frame = make_amounts(240).rename(columns={"amount": "label"})
    options = ("--task", "regression", "--model", model, "--shards", "2")
    project = make_project(workspace / "project", frame, *options, key=KEY)
    trees = next(iter(project.params()["train"]["options"]))
    project.set_params(train={"options": {trees: 8}})
    assert project.inline("repro").code == 0
    gone = [*ids_at(project, "s000")[:2], *ids_at(project, "s001")[:3]]

    project.forget(gone[:2])
    assert project.inline("repro").code == 0
    project.forget(gone[2:])
    assert project.inline("repro").code == 0

    assert project.files("models") == fresh_models(project, workspace / "room", gone)
    verified = project.inline("verify")
    assert verified.code == 0, verified.out
    assert "utility: mean absolute error" in verified.out
    source = str(project.root / "data/dataset.csv")
    done = project.inline("predict", "--input", source, "--output", str(project.root / "out.csv"))
    assert done.code == 0, done.err
    found = pd.read_csv(project.root / "out.csv")["prediction"]
    assert np.isfinite(found).all()
    assert found.corr(frame["label"]) > 0.3


@pytest.mark.slow
def test_the_posthoc_template_retrains_them_and_names_what_does_not_apply(
    workspace: Path,
) -> None:
    pytest.importorskip("xgboost")
    model = "xgboost.XGBClassifier"
    frame = make_frame(240)
    options = ("--template", "posthoc", "--model", model)
    project = make_project(workspace / "project", frame, *options, key=KEY)
    project.set_params(train={"options": {"n_estimators": 8}})
    methods = ["retrain", "finetune"]
    project.set_params(unlearn={"methods": methods, "deploy": "retrain"})
    project.ok("repro", "-j", "1")
    project.forget([f"r{number:04d}" for number in range(12)])

    project.ok("repro", "-j", "1")

    found = project.report()["methods"]
    assert found["retrain"]["verdict"] != "not applicable"
    assert "has no epochs" in found["young"]["reasons"][0]
    assert "cannot change the weights" in found["finetune"]["reasons"][0]
    deployed = project.files("models/final_model")
    assert any(name.endswith(FILES[model]) for name in deployed)
