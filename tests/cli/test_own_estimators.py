"""Estimators of one's own, from `init` to `predict`, as commands take and refuse them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from unlearn.stages.errors import InputError
from unlearn.stages.estimators import skops_file
from unlearn.stages.final_model.ensemble import load_ensemble
from unlearn.stages.project.user_code import importable, load_module
from unlearn.stages.training.shard_model import ShardModel

from tests.cli.conftest import FRAME, refused, unchanged
from tests.conftest import Done, Repo, start_repositories
from tests.stages.estimators.own_models import PIPELINE, REGRESSION, THIRD_PARTY
from tests.stages.regression import make_amounts

ASKED = ("init", ".", "--dataset", "source.csv", "--id", "id", "--target", "label")


def start(root: Path, content: str = PIPELINE, name: str = "model.py") -> Repo:
    """Return a folder with a dataset and a file of the user's, and no project yet."""
    repo = start_repositories(root)
    FRAME.to_csv(root / "source.csv", index=False)
    (root / name).write_text(content, encoding="utf-8")
    return repo


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """Return a project with a pipeline of the user's own, trained."""
    repo = start(tmp_path_factory.mktemp("own") / "project")
    done = repo.inline(*ASKED, "--model", "model.py:build", "--raw", "--shards", "2")
    assert done.code == 0, done.err
    assert "model sklearn:model.py:build" in done.out
    repo.stages()
    return repo


def predict(project: Repo, frame: pd.DataFrame, name: str = "new.csv") -> Done:
    path = project.root / name
    frame.to_parquet(path) if name.endswith("parquet") else frame.to_csv(path, index=False)
    return project.inline("predict", "--input", name, "--output", "out.csv")


def test_init_writes_what_a_function_returns(trained: Repo) -> None:
    params = trained.params()

    assert params["train"]["model"] == "sklearn:model.py:build"
    assert params["train"]["raw"] is True
    assert params["train"]["trusted_types"] == []
    assert params["aggregate"]["rule"] == "mean_probability"
    assert params["sharding"]["slices"] == 1
    pipeline = (trained.root / "dvc.yaml").read_text(encoding="utf-8")
    assert "- model.py" in pipeline
    assert trained.report()["verdict"] == "pass"


def test_votes_are_aggregated_as_votes(tmp_path: Path) -> None:
    body = "from sklearn.svm import LinearSVC\ndef build():\n    return LinearSVC()\n"
    repo = start(tmp_path / "project", body)

    assert repo.inline(*ASKED, "--model", "model.py:build").code == 0
    assert repo.params()["aggregate"]["rule"] == "majority_vote"
    assert repo.params()["train"]["raw"] is False


NET = "import torch\ndef build(inputs, classes):\n    return torch.nn.Linear(inputs, classes)\n"
BAD_NET = NET.replace("(inputs, classes)\n", "(inputs, 2)\n")


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("x = ", ("--model", "model.py:build"), "--model: model.py does not load (SyntaxError)"),
        (PIPELINE, ("--model", "model.py:make"), "--model: model.py has no function 'make'"),
        (PIPELINE, ("--model", "own.py:build"), "--model: there is no own.py in project"),
        (
            "def build():\n    return {}\n",
            ("--model", "model.py:build"),
            "model.py:build does not return an estimator with scikit-learn's interface: it has no",
        ),
        (
            PIPELINE.replace("features=3", "features=-1"),
            ("--model", "model.py:build", "--raw"),
            "train.options: model.py:build cannot be trained: The 'k' parameter of SelectKBest",
        ),
        (NET, ("--model", "model.py:build", "--raw"), "--raw is for estimators with scikit-"),
        (BAD_NET, ("--model", "model.py:build"), "train.options: model.py:build cannot be trained"),
        (PIPELINE, ("--trust-type", "a.B"), "--trust-type is for estimators with scikit-learn's"),
        (PIPELINE, ("--model", "sklearn:no.Such"), "no.Such needs the type no.Such, which"),
        (PIPELINE, ("--model", "sklearn.tree.ExtraTre"), "scikit-learn has no sklearn.tree.Extra"),
    ],
)
def test_init_refuses_what_could_not_be_trained(
    tmp_path: Path, content: str, options: tuple[str, ...], message: str
) -> None:
    repo = start(tmp_path / "project", content)

    with unchanged(repo.root):
        done = repo.inline(*ASKED, *options)
    assert message in refused(done)


@pytest.mark.slow
def test_init_names_the_types_to_trust_and_then_takes_them(tmp_path: Path) -> None:
    pytest.importorskip("imblearn")
    content, _, types = THIRD_PARTY["imblearn"]
    repo = start(tmp_path / "project", content)
    with unchanged(repo.root):
        done = repo.inline(*ASKED, "--model", "model.py:build")
    error = refused(done)
    options = [part for name in types for part in ("--trust-type", name)]

    assert error == (
        f"model.py:build needs the types {', '.join(types)}, which train.trusted_types does not "
        "name"
    )
    assert " ".join(options) in done.err
    assert repo.inline(*ASKED, "--model", "model.py:build", *options).code == 0
    repo.stages()
    doctor = repo.inline("doctor").out
    assert f"model files may hold {', '.join(types)} (imbalanced-learn " in doctor


@pytest.mark.parametrize("package", [pytest.param("imblearn", marks=pytest.mark.slow), "sklego"])
def test_a_class_of_another_package_is_named_by_its_path(tmp_path: Path, package: str) -> None:
    pytest.importorskip(package)
    types = THIRD_PARTY[package][2]
    model = {
        "imblearn": "imblearn.ensemble.BalancedRandomForestClassifier",
        "sklego": "sklego.mixture.GMMClassifier",
    }[package]
    repo = start(tmp_path / "project")
    assert f"needs the type {model}" in refused(repo.inline(*ASKED, "--model", model))
    options = [part for name in types for part in ("--trust-type", name)]
    done = repo.inline(*ASKED, "--model", model, *options, "--shards", "1")
    assert done.code == 0, done.err
    train = repo.params()["train"]
    assert train["model"] == f"sklearn:{model}"
    if package == "imblearn":
        repo.set_params(train={"options": train["options"] | {"n_estimators": 3}})
    repo.stages("recipe", "shard", "forget", "train@s000", "aggregate")

    assert predict(repo, FRAME.iloc[:9]).code == 0
    folder = repo.root / "models/final_model"
    with pytest.raises(InputError, match=f"loads types of other packages, such as {types[0]}"):
        load_ensemble(folder)
    model_of_all = load_ensemble(folder, trust_code=True)
    answers = pd.read_csv(repo.root / "out.csv", dtype=str)["prediction"].tolist()
    assert model_of_all.predict(FRAME.iloc[:9]) == answers


@pytest.mark.slow
def test_a_pipeline_of_ones_own_predicts_numbers(tmp_path: Path) -> None:
    repo = start(tmp_path / "project", REGRESSION)
    frame = make_amounts(120)
    frame.to_csv(repo.root / "source.csv", index=False)
    options = ("--task", "regression", "--raw", "--shards", "2", "--model", "model.py:build")
    asked = (*ASKED[:-1], "amount")
    with unchanged(repo.root):
        wrong = repo.inline(*asked, "--task", "classification", *options[2:])
    assert "classif" in refused(wrong)
    done = repo.inline(*asked, *options)
    assert done.code == 0, done.err
    assert repo.params()["aggregate"]["rule"] == "mean"
    repo.stages()

    assert repo.report()["verdict"] == "pass"
    assert predict(repo, frame).code == 0
    found = pd.read_csv(repo.root / "out.csv")["prediction"]
    assert np.corrcoef(found, frame["amount"])[0, 1] > 0.8
    repo.set_params(train={"options": {"trees": -5}})
    assert "train.options: model.py:build cannot be trained" in refused(repo.inline("plan"))


@pytest.mark.slow
def test_plan_refuses_options_before_anything_runs(trained: Repo, tmp_path: Path) -> None:
    repo = trained.copy(tmp_path / "project")
    for options, message in (
        ({"feature": 2}, "train.options: model.py:build does not take 'feature'"),
        ({"C": -1.0}, "The 'C' parameter of LogisticRegression must be a float"),
        ({"selectkbest__kk": 1}, "model.py:build does not take 'selectkbest__kk'"),
    ):
        repo.set_params(train={"options": options})
        with unchanged(repo.root):
            done = repo.inline("plan")
        assert message in refused(done)
    repo.set_params(train={"options": {"columntransformer__n_jobs": 2}})
    done = repo.inline("plan", "--json")
    assert done.json["shards"] == ["s000", "s001"]
    assert "'columntransformer__n_jobs' has no effect, because training sets n_jobs" in done.err


@pytest.mark.slow
def test_a_part_that_stores_rows_is_a_finding(tmp_path: Path) -> None:
    body = (
        "from sklearn.neighbors import KNeighborsClassifier\n"
        "from sklearn.pipeline import make_pipeline\n"
        "def build():\n    return make_pipeline(KNeighborsClassifier(3))\n"
    )
    repo = start(tmp_path / "project", body)
    assert repo.inline(*ASKED, "--model", "model.py:build").code == 0
    assert "stores training rows" not in repo.inline("doctor").out
    repo.stages("recipe", "shard", "forget", "train@s000")

    found = repo.inline("doctor").out
    assert "has a part sklearn.neighbors._classification.KNeighborsClassifier, which" in found


def test_new_rows_are_converted_as_training_did(trained: Repo) -> None:
    new = FRAME.iloc[:20].reset_index(drop=True)
    assert predict(trained, new).code == 0
    expected = (trained.root / "out.csv").read_text(encoding="utf-8")
    typed = new.assign(
        member=new["member"] == "true",
        city=new["city"].replace("", None).astype("category"),
        age=new["age"].astype("Float64"),
    )

    assert predict(trained, typed, "new.parquet").code == 0
    assert (trained.root / "out.csv").read_text(encoding="utf-8") == expected
    done = predict(trained, new.assign(extra=1)[["extra", *new.columns[::-1]]])
    assert done.code == 0
    assert (trained.root / "out.csv").read_text(encoding="utf-8") == expected
    assert "1 column that the model does not read: 'extra'" in done.err


def test_a_category_that_no_row_had_is_one_of_the_others(trained: Repo) -> None:
    new = FRAME.iloc[:4].reset_index(drop=True)
    answers = []
    for city in ("Paris", "Lisbon"):
        done = predict(trained, new.assign(city=city))
        assert done.code == 0, done.err
        assert "'city': 4 rows have a category that the model does not know" in done.err
        answers.append((trained.root / "out.csv").read_text(encoding="utf-8"))
    assert answers[0] == answers[1]


def _infinite(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(age=[*frame["age"][:2], np.inf, *frame["age"][3:]])


def _a_word(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(age=[*map(str, frame["age"][:2]), "old", *map(str, frame["age"][3:])])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.drop(columns="age"), "new.csv has no column 'age'"),
        (_infinite, "new.csv: column 'age': a value is not a finite number (data row 3)"),
        (_a_word, "new.csv: column 'age' is numeric: a value is not a number (data row 3)"),
    ],
)
def test_new_rows_that_cannot_be_converted_are_refused_with_their_row(
    trained: Repo, change: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    new = FRAME.iloc[:6].reset_index(drop=True)
    (trained.root / "out.csv").unlink(missing_ok=True)

    assert message in refused(predict(trained, change(new)))
    assert not (trained.root / "out.csv").exists()


@pytest.mark.slow
def test_a_row_that_the_estimator_refuses_is_named_with_its_file(tmp_path: Path) -> None:
    body = PIPELINE.replace('OneHotEncoder(handle_unknown="ignore")', "OneHotEncoder()")
    repo = start(tmp_path / "project", body)
    done = repo.inline(*ASKED, "--model", "model.py:build", "--raw", "--rare-categories", "keep")
    assert done.code == 0, done.err
    repo.stages("recipe", "shard", "forget", "train@s000", "aggregate")
    new = FRAME.iloc[:5].assign(city=["Rome", "Oslo", "Rome", "Quito", "Quito"])

    done = predict(repo, new)
    assert refused(done) == "new.csv, data row 4: model.py:build cannot answer (ValueError)"
    assert "Quito" not in done.err


def _rewrite(folder: Path, change: Callable[[dict[str, Any]], None], weights: bytes) -> None:
    """Change the models of a final model as a forger would, who keeps all digests right."""
    ensemble = json.loads((folder / "ensemble.json").read_text(encoding="utf-8"))
    for member in ensemble["members"]:
        at = folder / "members" / member["shard"]
        description = json.loads((at / "model.json").read_text(encoding="utf-8"))
        change(description)
        member["digest"] = ShardModel(description, weights).digest
        (at / "model.json").write_text(json.dumps(description), encoding="utf-8")
        (at / "model.skops").write_bytes(weights)
    (folder / "ensemble.json").write_text(json.dumps(ensemble), encoding="utf-8")


def _trap(trained: Repo, target: Path) -> bytes:
    """Return a model file that touches a file when it answers, if what it names is trusted."""
    from functools import partial

    code = trained.root / "model.py"
    path = trained.root / "models/final_model/members/s000/model.skops"
    module = load_module(code, "train.model")
    with importable(module):
        model = skops_file.load(path.read_bytes(), lambda _name: True)
        model.steps[0][1].transformers_[0][1].steps[2][1].func = partial(Path.touch, target)
        return skops_file.dump(model, ordered=True)


def test_a_hostile_model_file_is_refused_whatever_it_says_of_itself(
    trained: Repo, tmp_path: Path
) -> None:
    folder = shutil.copytree(trained.root / "models/final_model", tmp_path / "model")
    target = tmp_path / "was-run"
    weights = _trap(trained, target)
    named = skops_file.foreign_types(weights)
    assert "pathlib.touch" in " ".join(named) or any("touch" in name for name in named)
    _rewrite(folder, lambda found: found["train"].update(trusted_types=named), weights)
    rows = FRAME.iloc[:3]

    own = trained.root / "model.py"
    with pytest.raises(InputError, match="loads types of other packages, such as"):
        load_ensemble(folder, own_code=own)
    with pytest.raises(InputError, match="contains Python code"):
        load_ensemble(folder)
    _rewrite(folder, lambda found: found["train"].pop("trusted_types"), weights)
    for trust in (False, True):
        with pytest.raises(InputError, match="holds a type that is not trusted"):
            load_ensemble(folder, own_code=own, trust_code=trust).predict(rows)
    assert not target.exists()


def test_a_model_of_another_package_is_not_imported_without_leave(
    trained: Repo, tmp_path: Path
) -> None:
    folder = shutil.copytree(trained.root / "models/final_model", tmp_path / "model")
    weights = (folder / "members/s000/model.skops").read_bytes()
    evil = tmp_path / "evil_package.py"
    evil.write_text("import pathlib\npathlib.Path(__file__).with_name('was-run').touch()\n")
    _rewrite(
        folder, lambda found: found["train"].update(model="sklearn:evil_package.Class"), weights
    )
    ensemble = json.loads((folder / "ensemble.json").read_text(encoding="utf-8"))
    ensemble["code"] = None
    (folder / "ensemble.json").write_text(json.dumps(ensemble), encoding="utf-8")

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        with pytest.raises(InputError, match="needs the type evil_package.Class"):
            load_ensemble(folder)
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize("size", [0, 10, 200, 2000])
def test_a_truncated_model_file_is_refused(trained: Repo, tmp_path: Path, size: int) -> None:
    folder = shutil.copytree(trained.root / "models/final_model", tmp_path / "model")
    path = folder / "members/s000/model.skops"
    path.write_bytes(path.read_bytes()[:size])

    with pytest.raises(InputError):
        load_ensemble(folder, trust_code=True).predict_proba(pa.table({"age": [1.0]}))
