"""Post-hoc methods judged on pairs that are as hard for the retrained model."""

from pathlib import Path

import numpy as np
import pytest
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.verify.membership import matching

from tests.conftest import make_frame
from tests.stages.conftest import make_context
from tests.stages.posthoc import (
    changed_params,
    copied,
    files_in,
    forget,
    posthoc_params,
    tokens_of,
    train_original,
)
from tests.stages.verify.reports import run
from tests.stages.verify.test_posthoc import (
    AS_IT_WAS,
    FROM_SCRATCH,
    MY,
    OVERFIT,
    by_chance,
    numbers,
)


@pytest.fixture(scope="module")
def _known_by_heart(tmp_path_factory: pytest.TempPathFactory) -> Context:
    verify = {"negatives": "matched", "rerun": 0}
    params = posthoc_params(
        "retrain", AS_IT_WAS, FROM_SCRATCH, train=OVERFIT, holdout=0.6, verify=verify
    )
    root = tmp_path_factory.mktemp("matched") / "p"
    context = make_context(root, by_chance(260), params)
    (root / "my.py").write_text(MY, encoding="utf-8")
    train_original(context)
    forget(context, *tokens_of(context)[:30])
    return context


@pytest.fixture
def known_by_heart(_known_by_heart: Context, tmp_path: Path) -> Context:
    """Return a project whose model knows its rows by heart, for the test to change."""
    return copied(_known_by_heart, tmp_path / "known")


@pytest.mark.trained
def test_the_original_fails_and_another_retraining_does_not(known_by_heart: Context) -> None:
    report = run(known_by_heart)
    untouched, again = report["methods"][AS_IT_WAS], report["methods"][FROM_SCRATCH]
    found = untouched["membership"]["matched"]

    assert untouched["verdict"] == "fail"
    assert again["verdict"] in ("pass", "inconclusive")
    low, high = found["difference"]["ci"]
    assert 0.1 < low < found["difference"]["auc"] < high
    assert found["difference"] != untouched["membership"]["difference_from_retrain"]
    assert found["difference"] == found["control"]
    assert found["difference"]["auc"] == pytest.approx(
        found["auc"] - found["retrained_auc"], abs=1e-5
    )
    assert found["rows"] == 30
    assert 10 <= found["matched_rows"] <= 30
    assert found["matched_rows"] + found["harder_rows"] + found["easier_rows"] <= 30
    assert found["matched_rows"] <= found["pairs"] <= 5 * found["matched_rows"]
    assert found["caliper"] > 0
    assert (found["references"], found["spread"]) == (1, None)
    of_retrain = report["methods"]["retrain"]["membership"]["matched"]
    assert of_retrain["difference"] == {"auc": 0, "ci": [0, 0]}
    assert any("forgotten rows have such pairs" in said for said in untouched["reasons"])
    assert untouched["relative"]["nearer"] == "original"
    assert untouched["relative"]["p_value_original"] <= 0.05
    assert untouched["relative"]["to_original"] == 0
    assert untouched["relative"]["rows"] == 30
    assert again["relative"]["nearer"] in ("retrained", "unclear")
    assert again["relative"]["p_value_original"] > 0.05
    assert "relative" not in report["methods"]["retrain"]
    public = (known_by_heart.project.root / "reports" / "verdict.json").read_text()
    assert "caliper" not in public
    for content in files_in(known_by_heart.project.root / "reports").values():
        assert b"u1_" not in content


@pytest.mark.trained
def test_without_pairs_within_the_caliper_there_is_no_number(
    known_by_heart: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "CALIPER", 0.0)
    report = run(known_by_heart)

    for name in (AS_IT_WAS, FROM_SCRATCH):
        method = report["methods"][name]
        found = method["membership"]["matched"]
        assert method["verdict"] == "inconclusive", name
        assert "none of 30" in method["reasons"][0]
        assert found["matched_rows"] == 0
        assert found["difference"] == {"auc": None, "ci": None}
        assert found["auc"] is None
        assert found["caliper"] is None
        assert not list(numbers(found))


@pytest.mark.slow
@pytest.mark.trained
def test_several_retrained_models_have_a_spread(known_by_heart: Context) -> None:
    context = changed_params(known_by_heart, "verify", references=3)
    report = run(context)
    untouched, again = report["methods"][AS_IT_WAS], report["methods"][FROM_SCRATCH]
    found = untouched["membership"]["matched"]

    assert found["references"] == 3
    assert found["spread"] > 0
    assert untouched["verdict"] in ("fail", "inconclusive")
    assert again["verdict"] != "fail"
    assert run(context) == report


@pytest.mark.trained
def test_a_whole_class_can_be_judged(tmp_path: Path) -> None:
    """No held-out row of the class is left, and pairs with its label are."""
    params = posthoc_params(
        "retrain", AS_IT_WAS, holdout=0.5, verify={"negatives": "matched", "rerun": 0}
    )
    context = make_context(tmp_path / "p", make_frame(240), params)
    (tmp_path / "p" / "my.py").write_text(MY, encoding="utf-8")
    train_original(context)
    label = context.params.classes[0]
    gone = [
        token
        for shard in ("s000", "holdout")
        for token in tokens_of(context, label=label, shard=shard)
    ]
    forget(context, *gone)
    found = run(context)["methods"][AS_IT_WAS]

    assert found["membership"]["auc"] is None
    assert found["membership"]["matched"]["rows"] > 20
    assert found["verdict"] in ("fail", "inconclusive")


def test_an_attack_with_reference_models_cannot_score_pairs(known_by_heart: Context) -> None:
    context = changed_params(known_by_heart, "verify", attack="lira")

    with pytest.raises(InputError, match="with `negatives: matched` it must be one of confidence"):
        run(context)


def test_with_too_few_rows_there_are_counts_only(known_by_heart: Context) -> None:
    context = changed_params(known_by_heart, "verify", min_rows=31)
    found = run(context)["methods"][AS_IT_WAS]

    assert found["verdict"] == "inconclusive"
    assert found["membership"].get("matched") is None
    assert np.isfinite(found["holdout_accuracy"])
