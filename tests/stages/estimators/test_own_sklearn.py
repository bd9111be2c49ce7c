"""Estimators of one's own with scikit-learn's interface."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.base import clone
from unlearn.stages.config.train import TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators import skops_file
from unlearn.stages.estimators.base import RefusedRowsError, UnansweredRowError
from unlearn.stages.estimators.own_building import without_values
from unlearn.stages.estimators.own_packages import UntrustedTypesError
from unlearn.stages.estimators.own_sklearn import OwnEstimator
from unlearn.stages.estimators.raw_columns import OTHER, RawColumns, raw_columns
from unlearn.stages.project.user_code import importable, load_module
from unlearn.stages.rows.outputs import Outputs
from unlearn.stages.rows.shard_file import Layout, targets
from unlearn.stages.training.environment import environment
from unlearn.stages.training.shard_model import ShardModel

from tests.stages.conftest import LAYOUT, make_recipe, make_rows, train_at_once
from tests.stages.estimators.own_models import PIPELINE, THIRD_PARTY
from tests.stages.estimators.test_models import data

ROWS = make_rows(60)
HEAD = "from sklearn.ensemble import *\nfrom sklearn.linear_model import *\n"


def estimator(folder: Path, body: str, **settings: Any) -> OwnEstimator:
    """Return the estimator that a function `build` with this body returns."""
    code = folder / "model.py"
    code.write_text(body if "def build" in body else f"{HEAD}def build():\n    {body}\n")
    train = TrainParams.model_validate({"model": "sklearn:model.py:build", **settings})
    return OwnEstimator(train, Outputs(classes=3), code)


def fitted(folder: Path, body: str, seed: int = 1, **settings: Any) -> Any:
    """Return what an estimator's file holds after a fit."""
    own = estimator(folder, body, **settings)
    content = own.fit_slice(None, data(), seed)
    with importable(load_module(folder / "model.py", "train.model")):
        return skops_file.load(content, lambda _name: True)


@pytest.mark.slow
def test_a_pipeline_answers_as_it_does_without_this_tool(tmp_path: Path) -> None:
    code = tmp_path / "model.py"
    code.write_text(PIPELINE, encoding="utf-8")
    recipe = make_recipe({"model": "sklearn:model.py:build", "raw": True}, code=code)
    model = ShardModel.of_files(train_at_once(recipe, ROWS))
    found = model.predictor(code).probabilities(ROWS)

    module = load_module(code, "train.model")
    frame = pd.DataFrame(
        {
            name: ROWS[name].to_pandas().astype("category" if name == "city" else "float64")
            for name in LAYOUT.features
        }
    )
    bare = clone(module.build())
    # The folds are shuffled by numpy's generator, which training seeds.
    np.random.seed(recipe.key.seed(0, "s000", "init") % 2**32)
    bare.fit(frame, targets(ROWS, LAYOUT))
    assert np.allclose(found, bare.predict_proba(frame))


def test_random_states_at_any_depth_follow_from_the_seed(tmp_path: Path) -> None:
    body = "return VotingClassifier([('a', RandomForestClassifier(3)), ('b', SGDClassifier())])"
    one, same, other = (fitted(tmp_path, body, seed) for seed in (1, 1, 2))

    states = [
        [value for name, value in model.get_params().items() if name.endswith("random_state")]
        for model in (one, same, other)
    ]
    assert states[0] == states[1]
    assert all(isinstance(state, int) for state in states[0])
    assert len({*states[0], *states[2]}) == 4


def test_training_has_one_thread_and_no_cache_of_rows(tmp_path: Path) -> None:
    body = (
        "from sklearn.pipeline import Pipeline\n"
        "    return Pipeline([('f', RandomForestClassifier(3, n_jobs=2))], memory='cache')"
    )
    model = fitted(tmp_path, body)

    assert model.get_params()["f__n_jobs"] == 1
    assert model.memory is None
    assert not Path("cache").exists()


def test_options_go_to_the_function_and_to_the_parts_of_what_it_returns(tmp_path: Path) -> None:
    body = (
        "from sklearn.linear_model import LogisticRegression\n"
        "from sklearn.pipeline import make_pipeline\n"
        "def build(C=1.0):\n    return make_pipeline(LogisticRegression(C=C))"
    )
    own = estimator(tmp_path, body, options={"C": 3.0, "logisticregression__max_iter": 7})
    model = own._blank  # noqa: SLF001 - an unfitted estimator is nowhere else

    assert model.get_params()["logisticregression__C"] == 3.0
    assert model.get_params()["logisticregression__max_iter"] == 7


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"c": 1}, "does not take 'c'", "it takes C"),
        ({"CC": 1}, "does not take 'CC'", "did you mean `C`?"),
        (
            {"logisticregression__max_itr": 1},
            "does not take 'logisticregression__max_itr'",
            "did you mean `logisticregression__max_iter`?",
        ),
        ({"random_state": 1}, "does not take 'random_state'", "training sets it itself"),
    ],
)
def test_a_wrong_option_is_named_with_the_nearest_right_one(
    tmp_path: Path, options: dict[str, Any], message: str, hint: str
) -> None:
    body = (
        "from sklearn.linear_model import LogisticRegression\n"
        "from sklearn.pipeline import make_pipeline\n"
        "def build(C=1.0):\n    return make_pipeline(LogisticRegression(C=C))"
    )
    with pytest.raises(InputError, match=message) as caught:
        estimator(tmp_path, body, options=options)
    assert hint in caught.value.hints[0]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return 3", "does not return an estimator with scikit-learn's interface: it has no fit"),
        ("return LinearRegression()", "does not return a classifier, and the task is class"),
        ("raise RuntimeError", r"cannot be called with these options \(RuntimeError\)"),
        ("import torch; return torch.nn.Linear(2, 2)", "returns a torch module"),
        (
            "import sklearn.frozen as f; return f.FrozenEstimator(LogisticRegression())",
            "has a FrozenEstimator",
        ),
        ("def build(depth):\n    return 3", "needs 'depth'"),
        ("def other():\n    def build(): pass", "has no function 'build'"),
    ],
)
def test_what_is_no_classifier_is_refused(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        estimator(tmp_path, body)
    assert caught.value.exit_code == 2


def test_an_estimator_without_classes_is_refused(tmp_path: Path) -> None:
    body = (
        "from sklearn.base import BaseEstimator, ClassifierMixin\n"
        "class Own(ClassifierMixin, BaseEstimator):\n"
        "    def fit(self, rows, targets):\n        return self\n"
        "    def predict(self, rows):\n        return rows[:, 0]\n"
        "def build():\n    return Own()"
    )
    with pytest.raises(InputError, match="no `classes_` with the classes of its rows"):
        estimator(tmp_path, body).fit_slice(None, data(), 1)


def test_what_is_not_saved_is_refused(tmp_path: Path) -> None:
    body = (
        "from sklearn.base import BaseEstimator, ClassifierMixin\n"
        "import numpy as np\n"
        "class Own(ClassifierMixin, BaseEstimator):\n"
        "    def fit(self, rows, targets):\n"
        "        self.classes_ = np.unique(targets)\n        self.kept = targets[0]\n"
        "        return self\n"
        "    def __getstate__(self):\n        return {'classes_': self.classes_, 'kept': 0}\n"
        "    def predict(self, rows):\n        return np.full(len(rows), self.kept)\n"
        "def build():\n    return Own()"
    )
    own = estimator(tmp_path, body)
    given = data()
    given.targets[0] = 2
    with pytest.raises(InputError, match="would answer differently after loading"):
        own.fit_slice(None, given, 1)


def test_a_lambda_is_refused_by_name(tmp_path: Path) -> None:
    body = (
        "from sklearn.pipeline import make_pipeline\n"
        "    from sklearn.preprocessing import FunctionTransformer\n"
        "    return make_pipeline(FunctionTransformer(lambda x: x), LogisticRegression())"
    )
    with pytest.raises(InputError, match="cannot be saved: it has the function <lambda>"):
        estimator(tmp_path, body).fit_slice(None, data(), 1)


@pytest.mark.parametrize(
    ("body", "probable"),
    [
        ("return StackingClassifier([('a', RandomForestClassifier(3))], cv=3)", True),
        ("return make_pipeline(StackingClassifier([('a', LogisticRegression())], cv=3))", True),
        (
            "return StackingClassifier([('a', RandomForestClassifier(3))], Perceptron(), cv=3)",
            False,
        ),
        ("return make_pipeline(Perceptron())", False),
        ("return VotingClassifier([('a', LogisticRegression())], voting='soft')", True),
        ("return VotingClassifier([('a', LogisticRegression())])", False),
    ],
)
def test_whether_an_estimator_has_probabilities_is_known_after_a_fit(
    tmp_path: Path, body: str, *, probable: bool
) -> None:
    own = estimator(tmp_path, f"from sklearn.pipeline import make_pipeline\n    {body}")
    content = own.fit_slice(None, data(), 1)

    assert own.has_probabilities is probable
    answers = own.predictor(content).answers(data().inputs)
    assert np.allclose(answers.sum(axis=1), 1)
    assert (set(np.unique(answers)) == {0.0, 1.0}) is not probable


def test_a_search_of_parameters_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    body = (
        "from sklearn.model_selection import GridSearchCV\n"
        "    return GridSearchCV(LogisticRegression(), {'C': [1, 10]}, scoring='accuracy')"
    )
    own = estimator(tmp_path, body)

    assert own.fit_slice(None, data(), 1) == own.fit_slice(None, data(), 1)


SETS = """
import hashlib, sys
from pathlib import Path
import numpy as np
from unlearn.stages.config.train import TrainParams
from unlearn.stages.estimators.base import SliceData
from unlearn.stages.estimators.own_sklearn import OwnEstimator
from unlearn.stages.rows.outputs import Outputs
code = Path(sys.argv[1]) / "model.py"
code.write_text('''
from sklearn.linear_model import LogisticRegression
class Own(LogisticRegression):
    def fit(self, rows, targets):
        self.names_ = {"one", "two", "three", "four"}
        return super().fit(rows, targets)
def build():
    return Own()
''')
own = OwnEstimator(TrainParams(model="sklearn:model.py:build"), Outputs(classes=2), code)
data = SliceData(np.arange(8.0)[:, None], np.arange(8) % 2, 8, 1, lambda epoch: epoch)
print(hashlib.sha256(own.fit_slice(None, data, 1)).hexdigest())
"""


@pytest.mark.slow
def test_sets_of_texts_have_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", SETS, str(tmp_path)],
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_a_type_of_another_package_has_to_be_named(tmp_path: Path) -> None:
    body = "import _own_package\n    return _own_package.Forest(3)"
    package = tmp_path / "_own_package.py"
    package.write_text(f"{HEAD}class Forest(RandomForestClassifier):\n    pass\n")
    sys.path.insert(0, str(tmp_path))
    try:
        with pytest.raises(UntrustedTypesError) as caught:
            estimator(tmp_path, body).fit_slice(None, data(), 1)
        assert caught.value.types == ["_own_package.Forest"]
        assert "needs the type _own_package.Forest, which train.trusted_types" in str(caught.value)
        assert "trusted_types: [_own_package.Forest]" in caught.value.hints[0]

        named = estimator(tmp_path, body, trusted_types=["_own_package.Forest"])
        content = named.fit_slice(None, data(), 1)
        assert named.predictor(content).answers(data().inputs).shape == (50, 3)
        with pytest.raises(InputError, match="not trusted: _own_package.Forest"):
            estimator(tmp_path, body).predictor(content)
    finally:
        sys.path.remove(str(tmp_path))


def test_a_class_of_an_installed_package_needs_no_file() -> None:
    model = "sklearn:sklearn.ensemble.ExtraTreesClassifier"
    train = TrainParams(model=model, options={"n_estimators": 3})
    own = OwnEstimator(train, Outputs(classes=3), None)

    content = own.fit_slice(None, data(), 1)
    assert own.predictor(content).answers(data().inputs).shape == (50, 3)
    assert own.describe() == {}
    with pytest.raises(UntrustedTypesError, match="needs the type subprocess.Popen"):
        OwnEstimator(TrainParams(model="sklearn:subprocess.Popen"), Outputs(classes=3), None)
    with pytest.raises(InputError, match="there is no sklearn.nothing.Here"):
        OwnEstimator(TrainParams(model="sklearn:sklearn.nothing.Here"), Outputs(classes=3), None)
    with pytest.raises(InputError, match="is not a class"):
        OwnEstimator(
            TrainParams(model="sklearn:sklearn.metrics.accuracy_score"), Outputs(classes=3), None
        )


IMPORTS_SYSTEM = f"{HEAD}from os import system\ndef build():\n    return LogisticRegression()\n"


def test_what_a_file_imports_is_not_its_own(tmp_path: Path) -> None:
    """A hostile model file may name `unlearn_user_model.system`, if the user's file imports it."""
    own = estimator(tmp_path, IMPORTS_SYSTEM)
    content = own.fit_slice(None, data(), 1)
    model = own.predictor(content)._model  # noqa: SLF001 - to make a hostile file of it
    module = load_module(tmp_path / "model.py", "train.model")

    def touch() -> None:
        raise AssertionError

    touch.__module__, touch.__name__ = module.__name__, "system"
    model.trap = touch
    hostile = skops_file.dump(model, ordered=True)

    with pytest.raises(InputError, match=f"not trusted: {module.__name__}.system"):
        own.predictor(hostile)


def test_messages_have_no_values_of_rows(tmp_path: Path) -> None:
    frame = raw_columns(ROWS, LAYOUT).transform(ROWS)

    said = without_values("could not convert string to float: 'Rome' (not Rome, or 3)", frame)
    assert said == "could not convert string to float: ... (not ..., or 3)"
    texts = pd.DataFrame({"note": pd.array(["tall man", "thin woman"], dtype="str")})
    said = without_values("could not convert string to float: 'tall man' or woman", texts)
    assert said == "could not convert string to float: ... or ..."
    code = tmp_path / "model.py"
    code.write_text(f"{HEAD}def build():\n    return LogisticRegression()\n")
    recipe = make_recipe({"model": "sklearn:model.py:build", "raw": True}, code=code)
    with pytest.raises(RefusedRowsError, match="could not convert") as caught:
        train_at_once(recipe, ROWS)
    assert not any(city in str(caught.value) for city in ("Rome", "Oslo", "Lima"))


def test_a_row_that_is_refused_is_named_by_its_number(tmp_path: Path) -> None:
    body = (
        "from sklearn.compose import make_column_transformer\n"
        "    from sklearn.impute import SimpleImputer\n"
        "    from sklearn.pipeline import make_pipeline\n"
        "    from sklearn.preprocessing import OneHotEncoder\n"
        "    columns = make_column_transformer((OneHotEncoder(), ['city']), remainder="
        "SimpleImputer())\n"
        "    return make_pipeline(columns, LogisticRegression())"
    )
    code = tmp_path / "model.py"
    estimator(tmp_path, body)
    recipe = make_recipe({"model": "sklearn:model.py:build", "raw": True}, code=code)
    model = ShardModel.of_files(train_at_once(recipe, ROWS)).predictor(code)
    cities = ROWS["city"].to_pylist()
    cities[7] = "Paris"
    new = ROWS.set_column(ROWS.column_names.index("city"), "city", pa.array(cities))

    with pytest.raises(UnansweredRowError, match="data row 8: model.py:build cannot answer") as e:
        model.probabilities(new)
    assert e.value.row == 7
    assert "Paris" not in str(e.value)


def test_raw_columns_have_the_same_types_whatever_the_rows_are() -> None:
    layout = Layout.from_json(
        {
            "features": [
                ["age", "numeric"],
                ["member", "boolean"],
                ["city", "categorical"],
                ["at", "datetime"],
                ["day", "calendar"],
                ["size", "ordinal"],
                ["note", "hashed_text"],
            ],
            "classes": ["c0"],
            "subjects": False,
            "categories": [["city", ["Rome", "Oslo"]], ["size", ["small", "large"]]],
            "hashed_columns": [["note", 9]],
        }
    )
    rows = pa.table(
        {
            "age": pa.array([1.5, None], pa.float64()),
            "member": pa.array([True, None]),
            "city": pa.array(["Oslo", "Lima"]),
            "at": pa.array([86_400.25, None], pa.float64()),
            "day": pa.array([86_400.0, None], pa.float64()),
            "size": pa.array(["large", None]),
            "note": pa.array(["Knee pain", None]),
        }
    )
    columns = raw_columns(rows, layout)
    frame = columns.transform(rows)

    expected = {
        "age": "float64",
        "member": "float64",
        "city": "category",
        "at": "datetime64[us]",
        "day": "datetime64[us]",
        "size": "category",
        "note": "str",
    }
    nothing = columns.transform(rows.slice(0, 0))
    none = columns.transform(pa.table({n: pa.nulls(2, rows[n].type) for n in rows.column_names}))
    for found in (frame, nothing, none):
        assert {name: str(dtype) for name, dtype in found.dtypes.items()} == expected
        assert list(found["city"].cat.categories) == ["Rome", "Oslo", OTHER]
        assert list(found["size"].cat.categories) == ["small", "large"]
        assert found["size"].cat.ordered
    assert frame["city"].tolist() == ["Oslo", OTHER]
    assert frame["at"][0] == pd.Timestamp("1970-01-02 00:00:00.250")
    assert frame["member"][0] == 1.0
    assert frame["size"][0] == "large"
    assert frame["note"].tolist() == ["Knee pain", ""]
    assert none.drop(columns="note").isna().all(axis=None)
    assert RawColumns.from_json(columns.as_json()).transform(rows).equals(frame)


def test_versions_of_trusted_packages_are_facts_of_the_environment() -> None:
    pytest.importorskip("imblearn")
    plain = TrainParams(model="sklearn:model.py:build")
    named = plain.model_copy(update={"trusted_types": THIRD_PARTY["imblearn"][2], "raw": True})

    assert set(environment(named)) - set(environment(plain)) == {"imbalanced-learn", "pandas"}


def test_settings_of_other_families_are_recorded_as_before() -> None:
    plain = TrainParams(model="mlp").model_dump(mode="json")
    assert not {"raw", "trusted_types"} & plain.keys()
    own = TrainParams(model="sklearn:model.py:build", raw=True, trusted_types=["a.B"])
    assert TrainParams.model_validate(own.model_dump(mode="json")) == own


def test_what_a_model_states_of_itself_is_not_trusted(tmp_path: Path) -> None:
    pytest.importorskip("sklego")
    content, raw, types = THIRD_PARTY["sklego"]
    code = tmp_path / "model.py"
    code.write_text(content, encoding="utf-8")
    train = {"model": "sklearn:model.py:build", "raw": raw, "trusted_types": types}
    model = ShardModel.of_files(train_at_once(make_recipe(train, code=code), ROWS))

    assert model.description["train"]["trusted_types"] == types
    with pytest.raises(InputError, match=f"not trusted: {types[0]}"):
        model.predictor(code)
    assert model.predictor(code, types).probabilities(ROWS).shape == (60, 3)
