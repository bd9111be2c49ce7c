"""`verify` on one adapter that was made of the shards': what is checked, attacked and measured."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from unlearn.stages.aggregate import stage as aggregate_stage
from unlearn.stages.context import Context
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.project.paths import Project
from unlearn.stages.train import stage as train_stage
from unlearn.stages.verify.measures.text_model import OneAdapterModel, open_final_model

from tests.stages.conftest import change_a_number, run_stages
from tests.stages.verify.reports import run
from tests.stages.verify.text_projects import (
    authors_in,
    forget_authors,
    language_context,
    language_params,
)


@pytest.fixture(scope="module")
def project(blank_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Context:
    """Return a project of three shards, an author of each on the list, and the list applied."""
    params = language_params(
        blank_base,
        shards=3,
        holdout=0.4,
        rule="merged",
        train={"epochs": 1},
        verify={"min_rows": 2},
    )
    context = language_context(tmp_path_factory.mktemp("merged"), blank_base, params, authors=12)
    run_stages(context)
    forget_authors(context, *(authors_in(context, shard)[0] for shard in ("s000", "s001")))
    forget_stage.run(context)
    for shard in ("s000", "s001"):
        train_stage.run(context, shard)
    aggregate_stage.run(context)
    return context


@pytest.mark.slow
def test_the_one_adapter_is_checked_attacked_and_measured(project: Context) -> None:
    report = run(project)

    assert report["verdict"] == "pass"
    assert report["exactness"]["matched"] == report["exactness"]["reran"] == 1
    for attacks in (report["membership"], report["membership"]["final_model"]):
        assert attacks["attacks"]["loss"]["auc"] is not None
    assert report["language"]["forgotten"]["perplexity"] > 1
    opened = open_final_model(project)
    assert isinstance(opened, OneAdapterModel)
    assert [member.shard for member in opened.members] == ["s000", "s001", "s002"]


def test_an_adapter_that_was_not_made_of_the_shards_fails(project: Context, tmp_path: Path) -> None:
    shutil.copytree(project.project.root, tmp_path / "copy")
    copy = replace(project, project=Project(tmp_path / "copy"))
    change_a_number(copy.project.final_model / "adapter_model.safetensors")

    report = run(copy)

    assert report["verdict"] == "fail"
    verdict = json.loads(copy.project.verdict.read_text(encoding="utf-8"))
    assert verdict["verdict"] == "fail"
