"""What holds for the models of every library for boosted trees."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from unlearn.stages.errors import InputError
from unlearn.stages.estimators import spec as spec_module
from unlearn.stages.estimators.base import RefusedRowsError
from unlearn.stages.estimators.boosted import values
from unlearn.stages.rows.shard_file import TARGET, Layout
from unlearn.stages.training.environment import environment
from unlearn.stages.training.shard_model import ShardModel
from unlearn.stages.training.trial import try_settings

from tests.stages.conftest import CLASSES, LAYOUT, make_params, make_rows, train_at_once
from tests.stages.estimators.boosted.libraries import (
    LIBRARIES,
    NATIVE,
    ROWS,
    Library,
    of_classes,
    slice_of,
    with_cities,
)


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> Library:
    LIBRARIES[request.param].require()
    return LIBRARIES[request.param]


_SCRIPT = """
import sys
from pathlib import Path
from tests.stages.estimators.boosted.libraries import LIBRARIES, slice_of
estimator, data = LIBRARIES[sys.argv[1]].estimator(), slice_of(6000)
threads = len(list(Path("/proc/self/task").glob("*")))
state = estimator.fit_slice(None, data, 5)
# XGBoost has a thread of its own for tables with categories, which computes nothing.
assert len(list(Path("/proc/self/task").glob("*"))) <= threads + 1, "it started threads"
sys.stdout.buffer.write(state)
"""


@pytest.mark.slow
def test_another_process_with_other_threads_makes_the_same_bytes(library: Library) -> None:
    here = library.estimator().fit_slice(None, slice_of(6000), 5)
    digest = hashlib.sha256(here).hexdigest()
    for threads in ("1", "3"):
        variables = dict.fromkeys(
            ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "OPENBLAS_NUM_THREADS"), threads
        )
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT, library.module],
            env={**os.environ, **variables},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert hashlib.sha256(done.stdout).hexdigest() == digest


def test_training_and_answering_print_nothing(
    library: Library, capfd: pytest.CaptureFixture[str]
) -> None:
    library.fit().predictor().probabilities(ROWS)

    printed = capfd.readouterr()
    assert printed.out == printed.err == ""


def test_a_model_is_of_its_own_rows_and_their_order(library: Library) -> None:
    others = make_rows(90, seed=4)

    assert library.fit(others).weights != library.fit().weights
    assert library.fit().weights == library.fit(ROWS.slice(0)).weights


@pytest.mark.parametrize("names", [("c0", "c2"), ("c1", "c2"), ("c0", "c1")])
def test_a_class_that_the_shard_lacks_has_no_probability(
    names: tuple[str, str], library: Library
) -> None:
    rows = of_classes(*names)

    found = library.fit(rows).predictor().probabilities(rows)

    known = [CLASSES.index(name) for name in names]
    lacking = ({0, 1, 2} - set(known)).pop()
    assert found.shape == (rows.num_rows, 3)
    assert (found[:, lacking] == 0).all()
    assert np.allclose(found.sum(axis=1), 1)
    right = [CLASSES[place] for place in found.argmax(axis=1)]
    assert np.mean(np.array(right) == rows[TARGET].to_pylist()) > 0.6


def test_a_pinned_class_that_no_row_has_leaves_the_others_as_they_are(library: Library) -> None:
    more = Layout.from_json(LAYOUT.as_json() | {"classes": [*CLASSES, "c3"]})
    recipe = replace(library.recipe(), layout=more)

    found = ShardModel.of_files(train_at_once(recipe, ROWS)).predictor().probabilities(ROWS)

    assert np.array_equal(found[:, :3], library.fit().predictor().probabilities(ROWS))
    assert (found[:, 3] == 0).all()


def test_one_class_or_too_few_classes_are_refused(library: Library) -> None:
    model = library.fit(of_classes("c1"))
    assert model.kind == "constant"
    data = replace(slice_of(9), targets=np.ones(9, dtype=np.int64))
    with pytest.raises(RefusedRowsError, match="all rows have one class"):
        library.estimator().fit_slice(None, data, 1)


def test_categories_that_training_did_not_have_are_one_category(library: Library) -> None:
    model = library.fit().predictor()
    first = with_cities("Rome")

    def answer(city: str | None) -> Any:
        row = with_cities(city)
        assert row.drop(["city"]).equals(first.drop(["city"]))
        return model.probabilities(row).tolist()

    assert answer("Paris") == answer("Quito") == answer("rome")
    assert np.isfinite(answer(None)).all()


def test_categories_and_missing_values_are_read_as_such(library: Library) -> None:
    """A table whose class follows from a set of categories, or from what is missing, alone."""
    draw = np.random.default_rng(5)
    count = 600
    city = draw.choice(list("abcdefgh"), count)
    income = draw.normal(size=count)
    missing = draw.random(count) < 0.4
    target = np.where(missing, 2, np.isin(city, list("aceg")).astype(int))
    rows = make_rows(count)
    columns = {
        "income": pa.array(income, pa.float64(), mask=missing),
        "city": pa.array(city, pa.string()),
        TARGET: pa.array([f"c{value}" for value in target], pa.string()),
    }
    for name, column in columns.items():
        at = rows.column_names.index(name)
        rows = rows.set_column(at, rows.schema.field(at), column.cast(rows.schema.field(at).type))

    found = library.fit(rows, **library.more(30)).predictor().probabilities(rows)

    assert (found.argmax(axis=1) == target).mean() > 0.99


def test_values_that_are_too_large_are_refused_by_the_name_of_the_column(library: Library) -> None:
    at = ROWS.column_names.index("age")
    huge = pa.array([1e300] + [0.0] * (ROWS.num_rows - 1), pa.float64())
    rows = ROWS.set_column(at, ROWS.schema.field(at), huge)
    if library.estimator().dtype is np.float64:
        assert library.fit(rows).predictor().probabilities(rows).shape == (90, 3)
        return
    with pytest.raises(InputError, match=r"column 'age': values too large"):
        library.fit(rows)
    with pytest.raises(InputError, match=r"column 'age': values too large"):
        library.fit().predictor().probabilities(rows)


def test_the_environment_names_the_library_and_what_it_came_in(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = library.recipe().train
    found = environment(train)[library.module]
    extra = library.spec.extra
    assert extra is not None
    assert found.startswith(__import__(library.module).__version__)

    monkeypatch.setattr(spec_module, "version", lambda _name: "1.2")
    assert environment(train)[library.module] == "1.2"

    def missing(_name: str) -> str:
        raise PackageNotFoundError

    monkeypatch.setattr(spec_module, "version", missing)
    assert environment(train)[library.module] == "none"


def test_a_missing_library_is_an_error_with_the_command_that_installs_it(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = library.fit()
    monkeypatch.setattr(spec_module, "find_module", lambda _name: None)

    for use in (library.spec.load, library.spec.check_installed, library.fit, model.predictor):
        with pytest.raises(InputError) as caught:
            use()
        assert caught.value.message == f"{library.module} is not installed"
        assert caught.value.hints == (f"pip install 'dvc-unlearn[{library.module}]'",)


@pytest.mark.parametrize(
    "preprocessing",
    [{}, {"scale": "none"}, {"impute": "none"}, {"scale": "none", "impute": "zero"}],
)
def test_preprocessing_is_left_to_the_library(
    preprocessing: dict[str, str], library: Library
) -> None:
    with pytest.raises(InputError, match=r"train\.preprocessing: .* takes `scale: none` and `imp"):
        make_params(train=library.train() | {"preprocessing": preprocessing})
    assert make_params(train=library.train()).train.model == library.model


def test_models_that_read_no_missing_values_have_to_fill_them() -> None:
    with pytest.raises(InputError, match=r"impute is none, but mlp does not read missing values"):
        make_params(train={"model": "mlp", "preprocessing": NATIVE})


def test_rows_count_by_their_weights(library: Library) -> None:
    data = slice_of(300)
    estimator = library.estimator()

    def mean(weights: Any) -> float:
        state = estimator.fit_slice(None, replace(data, weights=weights), 1)
        answer = estimator.predictor(state).probabilities(data.inputs)
        return float(answer[:, 2].mean())

    heavy = np.where(data.targets == 2, 20.0, 1.0)
    light = np.where(data.targets == 2, 0.05, 1.0)
    assert mean(light) + 0.1 < mean(None) < mean(heavy) - 0.1
    assert mean(np.ones(300)) == pytest.approx(mean(None), abs=0.02)
    assert make_params(train=library.train())


def test_a_file_that_would_take_too_much_memory_is_not_read(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = library.fit().weights or b""
    monkeypatch.setattr(values, "MAX_BYTES", len(weights) - 1)

    for use in (library.spec.format.load, library.estimator().predictor):
        with pytest.raises(InputError, match="a model file has .* MiB, and at most"):
            use(weights + b" ")
    with pytest.raises(InputError, match=rf"the model of {library.model} has"):
        library.fit(**library.more(60))


#: Options that a library refuses together, which nothing but the library knows.
ODD: dict[str, dict[str, Any]] = {
    "xgboost": {"grow_policy": "lossguide", "tree_method": "exact", "max_leaves": 3},
    "lightgbm": {"data_sample_strategy": "goss", "subsample": 0.5, "subsample_freq": 1},
    "catboost": {"bootstrap_type": "Bayesian", "subsample": 0.5},
}


def test_options_that_do_not_go_together_are_found_before_training(
    library: Library, capfd: pytest.CaptureFixture[str]
) -> None:
    recipe = library.recipe(**ODD[library.module])
    with pytest.raises(InputError, match=r"train\.options: .* cannot be trained: "):
        try_settings(recipe, ROWS)
    assert try_settings(library.recipe(), ROWS) is None
    assert capfd.readouterr().out == ""


def test_there_is_one_slice(library: Library) -> None:
    with pytest.raises(InputError, match="cannot go on from a state and takes 1 slice"):
        make_params(train=library.train(), slices=2)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("random_state", "it is derived from the project key"),
        ("n_jobs", "one thread is used"),
        ("callbacks", "a function cannot be given in params.yaml"),
        ("early_stopping_rounds", "set the number of trees"),
    ],
)
def test_options_that_the_pipeline_sets_are_refused_with_the_reason(
    name: str, reason: str, library: Library
) -> None:
    with pytest.raises(InputError, match=rf"train\.options: {name} cannot be set: .*{reason}"):
        make_params(train=library.train(**{name: 1}))


def test_every_refusal_of_an_option_is_of_no_option_that_there_is(library: Library) -> None:
    options: Any = library.spec.options
    assert not options.refused.keys() & options.model_fields.keys()
    assert not options.called.keys() & options.model_fields.keys()
    assert set(options.called.values()) <= options.model_fields.keys()
    for name, known in options.called.items():
        with pytest.raises(InputError, match=f"{name} is called {known} here"):
            make_params(train=library.train(**{name: 1}))


def test_a_wrong_option_is_named_with_the_nearest(library: Library) -> None:
    wrong = library.depth.replace("depth", "deph")
    with pytest.raises(InputError, match=rf"train\.options\.{wrong}: is not a known") as caught:
        make_params(train=library.train(**{wrong: 3}))
    assert caught.value.hints == (f"did you mean `{library.depth}`?",)


def test_monotone_constraints_have_one_value_for_each_feature(library: Library) -> None:
    signs = [1, 0, 0, 0]
    assert make_params(train=library.train(monotone_constraints=signs))
    with pytest.raises(InputError, match="has 2 values, and schema.yaml has 4 features"):
        make_params(train=library.train(monotone_constraints=[1, 0]))
    several = {"age": "numeric", "city": "calendar"}
    with pytest.raises(InputError, match="'city' is calendar, and features of that kind"):
        make_params(train=library.train(monotone_constraints=[1, 0]), features=several)
    with pytest.raises(InputError, match="'city' is categorical and takes 0"):
        make_params(train=library.train(monotone_constraints=[0, 0, 0, 1]))

    with pytest.raises(InputError, match="has 9 values for 4 columns"):
        library.estimator(monotone_constraints=[1] * 9)

    rows = of_classes("c0", "c1")
    answer = library.fit(rows, **library.more(30, monotone_constraints=[-1, 0, 0, 0]))
    at = rows.column_names.index("age")
    found = []
    for age in np.linspace(-3, 6, 40):
        ages = pa.array([age] * 5, pa.float64())
        asked = rows.slice(0, 5).set_column(at, rows.schema.field(at), ages)
        found.append(answer.predictor().probabilities(asked)[:, 1])
    assert (np.diff(np.array(found), axis=0) <= 1e-9).all()
