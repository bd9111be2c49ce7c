"""Projects whose categories are keyed: every command, from init to predict."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import unlearn
from unlearn.stages.final_model.category_key import CATEGORY_KEY_VARIABLE

from tests.cli.conftest import NAIVE_BAYES, refused, run_all, unchanged
from tests.conftest import Repo, make_frame, make_project

pytestmark = pytest.mark.slow

FRAME = make_frame(240)
CITIES = ("Rome", "Oslo", "Lima")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    root = tmp_path_factory.mktemp("keyed") / "project"
    options = ("--category-texts", "keyed", "--shards", "2", "--slices", "1")
    repo = make_project(root, FRAME, *options, train=NAIVE_BAYES)
    assert repo.inline("canary", "--count", "8").code == 0
    repo.commit("canaries")
    run_all(repo)
    # Some of them are not held out, whatever the key is.
    ids = [word for number in range(12) for word in ("--id", f"r{number:04d}")]
    assert repo.inline("forget", *ids).code == 0
    assert repo.inline("repro").code == 0
    repo.commit("forget")
    return repo


def test_no_model_has_a_text_and_the_evidence_holds(project: Repo) -> None:
    assert project.params()["dataset"]["category_texts"] == "keyed"
    files = [path for path in (project.root / "models").rglob("*") if path.is_file()]
    assert len(files) > 5
    for path in files:
        assert not any(city.encode() in path.read_bytes() for city in CITIES), path
    report = project.inline("verify", "--full", "--json").json
    assert report["verdict"] != "stale"
    assert report["exactness"]["matched"] == report["exactness"]["reran"] > 0
    assert report["exactness"]["lineage_clean"]
    assert project.inline("audit", "HEAD~1..HEAD", "--rerun", "1", "--json").json["verdict"] == (
        "consistent"
    )
    assert project.inline("plan", "--json").json["stages"] == []
    canaries = (project.root / "data/canaries.csv").read_text(encoding="utf-8")
    assert "#" not in canaries


def test_predictions_need_the_key(project: Repo, tmp_path: Path) -> None:
    source = tmp_path / "new.csv"
    FRAME.to_csv(source, index=False)
    options = ("--input", str(source), "--output", str(tmp_path / "out.csv"))
    found = project.inline("predict", *options, "--json")
    assert found.json["unknown_categories"] == {}
    expected = pd.read_csv(tmp_path / "out.csv")
    assert unlearn.load_model(project.root).predict(FRAME).tolist() == (
        expected["prediction"].tolist()
    )

    copy = shutil.copytree(project.root / "models/final_model", tmp_path / "copy")
    alone = Repo(tmp_path)
    with unchanged(copy):
        message = refused(alone.inline("predict", *options, "--model", "copy"))
    assert message.startswith("the categories of this final model are keyed")
    key = unlearn.Project.open(project.root).category_key
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(CATEGORY_KEY_VARIABLE, key)
        assert alone.inline("predict", *options, "--model", "copy").code == 0
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out.csv"), expected)
    assert key not in json.dumps(found.json) + (copy / "ensemble.json").read_text("utf-8")


def test_text_has_no_categories_to_key(repositories: Repo, tmp_path: Path) -> None:
    source = tmp_path / "text.csv"
    pd.DataFrame({"id": ["a", "b"], "prompt": "x", "answer": "y"}).to_csv(source, index=False)
    options = ("--dataset", str(source), "--id", "id", "--base", "none")
    message = refused(repositories.inline("init", ".", *options, "--category-texts", "keyed"))
    assert "--category-texts" in message
