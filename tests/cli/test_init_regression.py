"""`unlearn init` on a target of numbers: what it proposes, pins and drops."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from unlearn.stages.config.methods import methods_of
from unlearn.stages.context import load_params
from unlearn.stages.rows.shard_file import count_rows

from tests.conftest import Done, Repo
from tests.stages.regression import make_amounts

INIT = ("init", "new", "--dataset", "table.csv", "--id", "id", "--target", "amount")


def init(folder: Path, frame: pd.DataFrame, *options: str, sep: str = ",") -> Done:
    frame.to_csv(folder / "table.csv", index=False, sep=sep)
    done = Repo(folder).inline(*INIT, *options)
    assert done.code == 0, done.err
    return done


def schema(folder: Path) -> dict[str, object]:
    found = yaml.safe_load((folder / "new/schema.yaml").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def settings(folder: Path) -> str:
    return (folder / "new/params.yaml").read_text(encoding="utf-8")


def test_amounts_are_proposed_as_a_regression(tmp_path: Path) -> None:
    done = init(tmp_path, make_amounts(120), "--json")

    assert "note: column 'amount' has 120 different numbers, so the task is regression" in done.err
    assert "--task classification makes each number a class" in done.err
    assert done.json["task"] == "regression"
    assert done.json["classes"] == 0
    assert done.json["model"] == "exact_forest"
    assert done.json["shards"] == 1
    assert done.json["why_model"].startswith("model exact_forest, without shards: ")
    pinned = schema(tmp_path)
    assert pinned["task"] == "regression"
    assert "classes" not in pinned
    params = settings(tmp_path)
    assert "rule: mean\n" in params
    assert "share: 1.0" in params
    assert "rerun: 5\n" in params
    assert "rmia, squared_error, absolute_error" in params
    assert "# Whether rows without a finite number as target are left out" in params


def test_boosting_has_options_for_numbers(tmp_path: Path) -> None:
    init(tmp_path, make_amounts(120), "--model", "exact_boosting")

    options = yaml.safe_load(settings(tmp_path))["train"]["options"]
    assert (options["depth"], options["smoothing"], options["steps"]) == (6, 10.0, 32)


@pytest.mark.slow
def test_the_scale_is_that_of_the_middle_of_the_targets(tmp_path: Path) -> None:
    frame = make_amounts(400)
    init(tmp_path, frame, "--model", "mlp")

    scale = schema(tmp_path)["target_scale"]
    assert isinstance(scale, dict)
    quarter, middle, three = np.quantile(frame["amount"], [0.25, 0.5, 0.75])
    assert scale["centre"] == pytest.approx(middle, abs=1_000)
    assert scale["scale"] == float(f"{(three - quarter) / 1.349:.2g}")
    # An outlier, or another row more or less, leaves both as they are.
    other = frame.assign(amount=[1e12, *frame["amount"][1:]])
    second = tmp_path / "second"
    second.mkdir()
    init(second, other, "--model", "mlp")
    assert schema(second)["target_scale"] == scale


@pytest.mark.slow
def test_the_options_decide(tmp_path: Path) -> None:
    frame = make_amounts(90)
    frame["amount"] = np.arange(90) % 60

    done = init(tmp_path, frame, "--task", "regression", "--shards", "2")
    assert "regression: 2 shards" in done.out
    assert "so the task is" not in done.err
    assert "model mlp" in done.out
    second = tmp_path / "second"
    second.mkdir()
    done = init(second, frame, "--task", "classification", "--json")
    assert (done.json["task"], done.json["classes"]) == ("classification", 60)
    assert "task" not in schema(second)


def test_rows_without_a_number_are_dropped_and_named(tmp_path: Path) -> None:
    frame = make_amounts(90).astype(object)
    frame.loc[[4, 7], "amount"] = [None, "inf"]

    done = init(tmp_path, frame, "--drop-unlabelled")

    assert "2 rows without a finite number: table.csv, data rows 5, 8; dropped" in done.err
    repo = Repo(tmp_path / "new")
    assert repo.inline("stage", "shard").code == 0
    rows = [count_rows(path) for path in sorted((repo.root / "data/shards").glob("*.parquet"))]
    assert sum(count or 0 for count in rows) == 90, "with the two in a file of their own"
    assert count_rows(repo.root / "data/shards/unlabelled.parquet") == 2


def test_a_decimal_comma_is_found_in_the_target(tmp_path: Path) -> None:
    frame = make_amounts(90)[["id", "city", "amount"]]
    texts = frame.assign(amount=[str(value).replace(".", ",") for value in frame["amount"]])

    done = init(tmp_path, texts, "--json", sep=";")

    assert done.json["csv"]["decimal"] == ","
    assert done.json["task"] == "regression"
    scale = schema(tmp_path)["target_scale"]
    assert isinstance(scale, dict)
    assert scale["centre"] == pytest.approx(frame["amount"].median(), abs=1_000)


def test_classes_keep_their_files(tmp_path: Path) -> None:
    frame = make_amounts(90).assign(amount=["no", "yes"] * 45)

    init(tmp_path, frame)

    assert list(schema(tmp_path)) == ["classes", "features", "categories"]


def test_the_post_hoc_template_has_methods_with_a_loss_for_numbers(tmp_path: Path) -> None:
    done = init(tmp_path, make_amounts(120), "--template", "posthoc", "--json")

    assert done.json["model"] == "mlp"
    raw = yaml.safe_load(settings(tmp_path))
    assert raw["unlearn"]["methods"] == list(methods_of("regression"))
    assert set(raw["unlearn"]["settings"]) <= set(raw["unlearn"]["methods"])
    assert (raw["verify"]["attack"], raw["verify"]["negatives"]) == ("squared_error", "class")
    assert raw["aggregate"]["rule"] == "mean"
    assert "methods.csv: forget_error" in (tmp_path / "new/dvc.yaml").read_text(encoding="utf-8")
    load_params(tmp_path / "new/params.yaml")
