"""A final model of tables, used as scikit-learn's own estimators are."""

import json
import pickle
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import unlearn
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import permutation_importance
from sklearn.model_selection import cross_val_score
from sklearn.utils.validation import check_is_fitted
from unlearn.stages.errors import InputError
from unlearn.stages.final_model.ensemble import load_ensemble
from unlearn.stages.final_model.predictions import predict_file

from tests.conftest import make_frame
from tests.stages.conftest import (
    CLASSES,
    EXACT,
    FEATURES,
    MLP,
    make_context,
    make_params,
    run_stages,
)
from tests.stages.regression import make_amounts, regression_context

FRAME = make_frame(90)
ROWS = FRAME[list(FEATURES)]
TREES = {"model": "sklearn.ensemble.ExtraTreesClassifier", "options": {"n_estimators": 3}}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trees") / "project"
    run_stages(make_context(root, FRAME, make_params(train=TREES)))
    return root


@pytest.fixture(scope="module")
def forest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("forest") / "project"
    run_stages(make_context(root, FRAME, make_params(train=EXACT, shards=1)))
    return root


@pytest.fixture(scope="module")
def model(root: Path) -> Any:
    return unlearn.load_model(root)


def test_it_answers_as_unlearn_predict_does(root: Path, model: Any, tmp_path: Path) -> None:
    source, output = tmp_path / "rows.csv", tmp_path / "out.parquet"
    FRAME.to_csv(source, index=False)
    predict_file(load_ensemble(root / "models/final_model"), source, output)
    found = pd.read_parquet(output)

    table = pd.read_csv(source, dtype=str, keep_default_na=False)[list(FEATURES)]
    expected = found[[f"probability_{name}" for name in model.classes_]].to_numpy()
    arrow = pa.Table.from_pandas(ROWS)
    by_column = [table, ROWS, arrow, arrow.to_batches()[0], ROWS[list(FEATURES)[::-1]]]
    for rows in (*by_column, table.to_numpy(), ROWS.to_numpy(), ROWS.to_numpy().tolist()):
        assert model.predict_proba(rows).tobytes() == expected.tobytes()
        assert model.predict(rows).tolist() == found["prediction"].tolist()


def test_a_project_its_folder_and_a_copy_of_it_are_one_model(
    root: Path, model: Any, tmp_path: Path
) -> None:
    folder = root / "models/final_model"
    copy = shutil.copytree(folder, tmp_path / "copy")

    for path in (str(root), folder, str(copy)):
        loaded = unlearn.load_model(path)
        assert np.array_equal(loaded.predict_proba(ROWS), model.predict_proba(ROWS))
    with pytest.raises(InputError, match="there is no folder nothing to load"):
        unlearn.load_model(tmp_path / "nothing")
    with pytest.raises(InputError, match="there is no final model in"):
        unlearn.load_model(tmp_path)
    (tmp_path / "params.yaml").touch()
    with pytest.raises(InputError, match="has no final model yet"):
        unlearn.load_model(tmp_path)


def test_scikit_learn_takes_it_for_a_fitted_classifier(model: Any) -> None:
    check_is_fitted(model)
    assert is_classifier(model)
    assert not is_regressor(model)
    copy = clone(model).set_params(as_written=True)
    assert (copy.ensemble is model.ensemble, model.as_written) == (True, False)
    assert model.get_params().keys() == {"path", "trust_code", "as_written", "root", "base"}
    assert (model.n_features_in_, model.feature_names_in_.tolist()) == (4, list(FEATURES))
    assert model.classes_.tolist() == list(CLASSES)
    with pytest.raises(NotFittedError):
        unlearn.TableClassifier("models/final_model").predict(ROWS)
    with pytest.raises(InputError, match="cannot be fitted: `unlearn repro` trains it"):
        model.fit(ROWS, FRAME["label"])


def test_scikit_learns_tools_work_with_it(model: Any) -> None:
    labels = FRAME["label"]
    important = permutation_importance(model, ROWS, labels, n_repeats=2, random_state=0)
    calibrated = CalibratedClassifierCV(FrozenEstimator(model)).fit(ROWS, labels)

    assert important.importances_mean.argmax() == list(FEATURES).index("age")
    assert model.score(ROWS, labels) == (model.predict(ROWS) == labels).mean() > 0.5
    assert (calibrated.predict(ROWS) == labels).mean() > 0.5
    scores = cross_val_score(FrozenEstimator(model), ROWS, labels, cv=2)
    assert scores.min() > 0.5


def test_importances_are_those_of_the_members_summed_up_by_feature(model: Any) -> None:
    members = []
    for member in model.ensemble.members:
        # age, income and member are one column each; the others are those of city.
        own = member.predictor.model.importances()
        members.append([*own[:3], own[3:].sum()])

    assert np.allclose(model.feature_importances_, np.mean(members, axis=0))
    assert model.feature_importances_.sum() == pytest.approx(1)


def test_exact_trees_have_importances_and_other_models_have_none(
    forest: Path, tmp_path: Path
) -> None:
    run_stages(make_context(tmp_path / "net", FRAME, make_params(train=MLP, shards=1)))
    net: Any = unlearn.load_model(tmp_path / "net")

    assert unlearn.load_model(forest).feature_importances_.argmax() == 0
    assert not hasattr(net, "feature_importances_")
    assert net.predict_proba(ROWS).shape == (len(ROWS), 3)


def test_torch_is_not_imported_for_scikit_learn_and_exact_members(
    forest: Path, tmp_path: Path, root: Path
) -> None:
    ROWS.to_csv(tmp_path / "rows.csv", index=False)
    script = (
        "import sys, pandas, unlearn\n"
        f"for path in {[str(root), str(forest)]!r}:\n"
        f"    rows = pandas.read_csv({str(tmp_path / 'rows.csv')!r})\n"
        "    assert unlearn.load_model(path).predict(rows).shape == (90,)\n"
        "print([name for name in ('torch', 'transformers', 'dvc', 'typer') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd="/", text=True, capture_output=True, check=True
    )

    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_rows_that_do_not_fit_are_refused_by_name(model: Any) -> None:
    with pytest.raises(InputError, match="the input has no column 'age'") as raised:
        model.predict(ROWS.drop(columns="age"))
    assert raised.value.exit_code == 2
    with pytest.raises(InputError, match=r"column 'age' is numeric: .*data row 2") as raised:
        model.predict(ROWS.astype({"age": object}).assign(age=["1", "secret", *["2"] * 88]))
    assert "secret" not in str(raised.value)
    for values in (ROWS.to_numpy()[:, :3], ROWS.to_numpy()[0], [], [[1.0], [1.0, 2.0]]):
        with pytest.raises(ValueError, match=r"shape \(.*\), and the model has 4 features"):
            model.predict(values)
    with pytest.raises(InputError, match="has no column 'age'") as raised:
        model.predict(ROWS.rename(columns={"age": "Age"}))
    assert raised.value.hints[0] == "did you mean 'Age'?"
    for other in (None, "x", 5, ROWS["age"], ROWS.to_dict("list"), ROWS.to_records(index=False)[0]):
        with pytest.raises(TypeError, match="rows are a pandas DataFrame, a PyArrow table, or an"):
            model.predict(other)


def test_labels_that_do_not_fit_are_refused(model: Any) -> None:
    labels = FRAME["label"]
    assert model.score(ROWS, FRAME[["label"]]) == model.score(ROWS, labels)
    for wrong, message in (
        (None, r"y: an array of shape \(\)"),
        (FRAME[["label", "id"]], r"y: an array of shape \(90, 2\)"),
        ([None] * 90, "y: column 'label': a class is missing"),
        (labels[:5], "inconsistent numbers of samples"),
    ):
        with pytest.raises(ValueError, match=message):
            model.score(ROWS, wrong)


def test_another_folder_is_another_model(root: Path, forest: Path) -> None:
    model = unlearn.load_model(root)
    model.set_params(path=forest / "models/final_model")

    assert np.array_equal(model.predict(ROWS), unlearn.load_model(forest).predict(ROWS))
    with pytest.raises(InputError, match="there is no final model in"):
        model.set_params(path=root, as_written=True)
    assert model.get_params() == unlearn.load_model(forest).get_params()


def test_what_it_ignores_is_a_warning_where_it_was_called(model: Any) -> None:
    odd = FRAME.assign(city="Paris", extra=1)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        model.predict(odd)
        model.predict_proba(pa.Table.from_pandas(FRAME))

    notes = [str(each.message) for each in seen]
    assert notes[0] == "1 column that the model does not read: 'extra'"
    assert notes[1].startswith("column 'city': 90 rows have a category that the model does not")
    assert {each.filename for each in seen} == {__file__}
    assert len(notes) == 2


def test_its_text_has_no_class_and_no_category(model: Any) -> None:
    expected = "TableClassifier(features=4, classes=3, members=3, rule='mean_probability')"
    assert repr(model) == str(model) == expected
    shown = model._repr_html_()
    assert not any(text in shown for text in ("Rome", "Oslo", "c0", "age"))


def test_a_pickle_names_the_folder_and_does_not_hold_the_model(root: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(root / "models/final_model", tmp_path / "copy")
    model = unlearn.load_model(folder)
    content = pickle.dumps(model)

    assert len(content) < 1000
    assert not any(text in content for text in (b"Rome", b"Oslo", b"Lima"))
    again = pickle.loads(content)  # noqa: S301 - made above
    assert np.array_equal(again.predict_proba(ROWS), model.predict_proba(ROWS))
    description = json.loads((folder / "ensemble.json").read_text(encoding="utf-8"))
    del description["members"][0]
    (folder / "ensemble.json").write_text(json.dumps(description), encoding="utf-8")
    with pytest.raises(InputError, match="has changed since this was pickled"):
        pickle.loads(content)  # noqa: S301 - made above


def test_labels_are_read_as_the_datasets_are(tmp_path: Path) -> None:
    frame = FRAME.assign(label=FRAME["label"].str[1:])
    params = make_params(shards=1).model_copy(deep=True)
    params.dataset.classes[:] = ["2", "0", "1"]
    run_stages(make_context(tmp_path / "project", frame, params))
    model: Any = unlearn.load_model(tmp_path / "project")

    assert model.classes_.tolist() == ["2", "0", "1"]
    assert model.score(ROWS, frame["label"].astype(int)) == model.score(ROWS, frame["label"]) > 0.5
    with pytest.raises(InputError, match="y: column 'label'"):
        model.score(ROWS, ["9"] * len(ROWS))
    calibrated = CalibratedClassifierCV(FrozenEstimator(model)).fit(ROWS, frame["label"])
    assert calibrated.score(ROWS, frame["label"]) > 0.5


def test_numbers_are_predicted_by_a_regressor(tmp_path: Path) -> None:
    frame = make_amounts(60)
    train = {"model": "sklearn.ensemble.ExtraTreesRegressor", "options": {"n_estimators": 3}}
    context = regression_context(tmp_path / "project", frame, train)
    run_stages(context)
    model: Any = unlearn.load_model(context.project.root)
    rows = frame[model.feature_names_in_]

    assert is_regressor(model)
    assert repr(model).startswith("TableRegressor(features=")
    expected = load_ensemble(context.project.final_model).predict(frame)
    assert np.array_equal(model.predict(rows), expected)
    assert model.score(rows, frame["amount"]) > 0.5
    with pytest.raises(ValueError, match="^y: a value is not a number$"):
        model.score(rows, ["secret"] * len(rows))
    assert model.feature_importances_.sum() == pytest.approx(1)
    assert not hasattr(model, "predict_proba")
