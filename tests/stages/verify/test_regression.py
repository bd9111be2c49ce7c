"""What `verify` finds of a regression: errors on unseen rows, and rows that are in the models."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from unlearn.stages.context import Context
from unlearn.stages.project.paths import HOLDOUT
from unlearn.stages.rows.shard_file import read_shard, record_tokens, target_numbers
from unlearn.stages.verify.evidence import Evidence, gather
from unlearn.stages.verify.measures.tabular_model import open_final_model

from tests.stages.conftest import put_on_list, run_stages
from tests.stages.regression import make_amounts, regression_context
from tests.stages.verify.reports import run
from tests.stages.verify.test_stage import bring_up_to_date

#: Trees with a leaf for each row: they know their own targets by heart, whatever the noise.
OVERFIT = {
    "model": "sklearn.ensemble.ExtraTreesRegressor",
    "options": {"n_estimators": 5, "max_features": 0.7},
}


@pytest.fixture(scope="module")
def overfit(tmp_path_factory: pytest.TempPathFactory) -> Context:
    frame = make_amounts(900, noise=6_000.0)
    root = tmp_path_factory.mktemp("overfit") / "project"
    context = regression_context(root, frame, OVERFIT, shards=8)
    run_stages(context)
    return context


def rows_of(context: Context, name: str) -> pa.Table:
    return read_shard(context.project.retain_file(name), name).rows


def evidence(context: Context, forgotten: dict[str, pa.Table]) -> Evidence:
    return gather(
        context,
        open_final_model(context),
        forgotten,
        lambda name: rows_of(context, name),
        rows_of(context, HOLDOUT),
    )


@pytest.mark.slow
def test_an_overfit_regressor_is_attacked_before_a_request_and_not_after_it(
    overfit: Context,
) -> None:
    shards = overfit.params.sharding.shards
    asked = {name: rows_of(overfit, name).slice(0, 12) for name in shards}
    before = evidence(overfit, asked)
    put_on_list(overfit, *[token for rows in asked.values() for token in record_tokens(rows)])
    bring_up_to_date(overfit)
    after = evidence(overfit, asked)

    assert set(before.attacks["shard_models"]) == {
        "squared_error",
        "absolute_error",
        "lira",
        "rmia",
    }
    for name, found in before.attacks["shard_models"].items():
        then = after.attacks["shard_models"][name]
        assert found is not None, name
        assert then is not None, name
        assert found.forgotten.value > 0.6, name
        assert found.forgotten.wide[0] > 0.55, name
        low, high = then.forgotten.wide
        assert low < 0.5 < high, name
        assert 0.4 < then.forgotten.value < 0.6, name
        assert then.control.value > 0.6, "rows that stayed are found as before"
    assert before.verdict is not None
    assert before.verdict.outcome == "fail"
    assert after.verdict is not None
    assert after.verdict.outcome != "fail"
    # Of the ensemble's mean, one member in eight saw a row.
    final = before.attacks["final_model"]["lira"]
    assert final is not None
    assert final.forgotten.value > 0.6


def test_the_report_has_the_errors_on_unseen_rows(tmp_path: Path) -> None:
    train = {"model": "sklearn.linear_model.QuantileRegressor", "options": {"quantile": 0.75}}
    context = regression_context(tmp_path / "project", make_amounts(200), train)
    run_stages(context)
    put_on_list(context, *record_tokens(rows_of(context, "s000"))[:12])
    bring_up_to_date(context)
    report = run(context)

    holdout = rows_of(context, HOLDOUT)
    predictions = open_final_model(context).ensemble.answers(holdout)
    apart = target_numbers(holdout) - predictions
    utility = report["utility"]
    assert report["verdict"] == "pass"
    assert utility["rows"] == holdout.num_rows
    assert utility["mean_absolute_error"] == pytest.approx(np.abs(apart).mean())
    assert utility["root_mean_squared_error"] == pytest.approx(np.sqrt((apart**2).mean()))
    assert utility["r_squared"] == pytest.approx(
        1 - (apart**2).mean() / target_numbers(holdout).var()
    )
    assert utility["quantile"] == 0.75
    assert utility["pinball_loss"] == pytest.approx(
        np.where(apart > 0, 0.75 * apart, -0.25 * apart).mean()
    )
    assert utility["accuracy"] is None
    assert set(report["membership"]["attacks"]) == {
        "lira",
        "rmia",
        "squared_error",
        "absolute_error",
    }
    metrics = context.project.metrics.read_text(encoding="utf-8")
    assert '"pinball_loss"' in metrics
    assert '"accuracy"' not in metrics


def test_few_rows_get_a_count_alone(tmp_path: Path) -> None:
    context = regression_context(
        tmp_path / "project", make_amounts(40), {"model": "sklearn.linear_model.Ridge"}
    )
    run_stages(context)
    holdout = rows_of(context, HOLDOUT)

    assert holdout.num_rows < context.params.verify.min_rows
    utility = run(context)["utility"]
    assert utility["rows"] == holdout.num_rows
    assert utility["mean_absolute_error"] is utility["r_squared"] is None
