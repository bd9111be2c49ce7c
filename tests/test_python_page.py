"""docs/python.md and the docstrings of the public package give what they show."""

import doctest
import importlib
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.conftest import Repo, make_project

ROOT = Path(__file__).resolve().parents[1]
TREES = {"model": "sklearn.ensemble.ExtraTreesClassifier", "options": {"n_estimators": 3}}
PAGE = (ROOT / "docs/python.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def readmission(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """Return a project after its first run, in a folder of the name that the examples use."""
    draw = np.random.default_rng(1)
    frame = pd.DataFrame({"id": [f"r{n:04d}" for n in range(1200)]})
    frame["age"] = draw.uniform(20, 90, len(frame)).round()
    frame["ward"] = draw.choice(["A", "B"], len(frame))
    frame["label"] = np.where(frame["age"] > 55, "yes", "no")
    root = tmp_path_factory.mktemp("page") / "readmission"
    repo = make_project(root, frame, "--shards", "3", "--slices", "1", train=TREES)
    shutil.move(root.parent / "readmission-source.csv", root / ".git/source.csv")
    repo.stages()
    repo.dvc("commit", "--force", "--quiet")
    repo.commit("run")
    return repo


def test_the_docstrings_of_the_public_package_hold(
    readmission: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readmission.copy(tmp_path / "readmission")
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(importlib.import_module("unlearn.project"))

    assert found.attempted >= 4
    assert found.failed == 0


@pytest.mark.slow
def test_the_examples_of_the_page_hold_one_after_another(
    readmission: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(r"(?ms)^```pycon\n(.*?)^```$", PAGE)
    monkeypatch.chdir(readmission.root.parent)
    example = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, "python.md", None, 0)
    found = doctest.DocTestRunner().run(example)

    assert len(blocks) >= 5
    assert found.attempted >= 20
    assert found.failed == 0
