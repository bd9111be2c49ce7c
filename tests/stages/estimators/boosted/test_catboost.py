"""CatBoost: what its models are of, and its files, which are read here before the library does."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.boosted.catboost_file import read_file
from unlearn.stages.rows.shard_file import targets

from tests.stages.conftest import LAYOUT
from tests.stages.estimators.boosted.libraries import LIBRARIES, ROWS, slice_of

catboost = pytest.importorskip("catboost")

LIBRARY = LIBRARIES["catboost"]
FORMAT = LIBRARY.spec.format

#: The class follows from both categories; the second has few values, which are split one by one.
_DATA = slice_of(300)
_INPUTS = np.column_stack([_DATA.inputs, np.arange(300) % 3]).astype(np.float32)
DATA = replace(_DATA, inputs=_INPUTS, categories=(0, 0, 0, 6, 4))
_CODES = (_INPUTS[:, 3] + _INPUTS[:, 4]).astype(np.int64)
SMALL = {"iterations": 6, "depth": 3, "one_hot_max_size": 4}
MODEL = LIBRARY.estimator(5, **SMALL).fit_slice(None, replace(DATA, targets=_CODES % 3), 3)
OF_TWO = LIBRARY.estimator(5, **SMALL).fit_slice(None, replace(DATA, targets=_CODES % 2 * 2), 3)


def at(*path: Any, new: Any) -> Callable[[Any], None]:
    """Return what puts a value at a place."""

    def apply(value: Any) -> None:
        for name in path[:-1]:
            value = value[name]
        value[path[-1]] = new

    return apply


def split_of(kind: str, name: str, new: Any) -> Callable[[Any], None]:
    """Return what changes a field of the first split of a kind."""

    def apply(value: Any) -> None:
        for tree in value["oblivious_trees"]:
            for split in tree["splits"]:
                if split["split_type"] == kind:
                    split[name] = new
                    return
        raise AssertionError(kind)

    return apply


def first_table(value: Any) -> Any:
    return next(iter(value["ctr_data"].values()))


def table(name: str, new: Any) -> Callable[[Any], None]:
    return lambda value: first_table(value).update({name: new})


FLOATS, CTRS, TREES = (
    ("features_info", "float_features"),
    ("features_info", "ctrs"),
    "oblivious_trees",
)
CLASSES = ("model_info", "class_params")

HOSTILE: dict[str, Callable[[Any], object]] = {
    "an unknown part": lambda value: value.update(more=1),
    "a part less": lambda value: value.pop("ctr_data"),
    "names of features": at(*FLOATS, 0, "feature_id", new="a"),
    "a feature twice": at(*FLOATS, 0, "flat_feature_index", new=1),
    "a feature elsewhere": at(*FLOATS, 0, "flat_feature_index", new=2**31 - 1),
    "a feature out of order": at(*FLOATS, 0, "feature_index", new=1),
    "borders that fall": at(*FLOATS, 0, "borders", new=[1.0, 0.0]),
    "borders of text": at(*FLOATS, 0, "borders", new=["1"]),
    "missing values otherwise": at(*FLOATS, 0, "nan_value_treatment", new="Random"),
    "missing values of a kind": at(*FLOATS, 0, "has_nans", new=1),
    "a feature less": lambda value: value["features_info"]["float_features"].pop(),
    "features of texts": lambda value: value["features_info"].update(text_features=[]),
    "a category twice": at("features_info", "categorical_features", 1, "values", new=[1, 1]),
    "a statistic of an unknown kind": at(*CTRS, 0, "ctr_type", new="FloatTargetMeanValue"),
    "a statistic of no feature": at(*CTRS, 0, "elements", new=[]),
    "a statistic of an unknown feature": at(*CTRS, 0, "elements", 0, "cat_feature_index", new=9),
    "a statistic of an unknown part": at(
        *CTRS, 0, "elements", 0, "combination_element", new="embedding"
    ),
    "a statistic by another name": at(*CTRS, 0, "identifier", new="{}"),
    "a statistic of no name": at(*CTRS, 0, "identifier", new=None),
    "a class of a statistic": at(*CTRS, 0, "target_border_idx", new=2),
    "a prior of text": at(*CTRS, 0, "prior_numerator", new="1"),
    "tables less": lambda value: value["ctr_data"].clear(),
    "a table more": lambda value: value["ctr_data"].update(x={}),
    "a stride of nothing": table("hash_stride", 0),
    "a huge stride": table("hash_stride", 2**31 - 1),
    "an empty table": table("hash_map", []),
    "a table that ends early": lambda value: first_table(value)["hash_map"].pop(),
    "a category of 65 bits": lambda value: first_table(value)["hash_map"].__setitem__(0, "9" * 20),
    "a category of text": lambda value: first_table(value)["hash_map"].__setitem__(0, "-1"),
    "a category in a table twice": lambda value: first_table(value)["hash_map"].__setitem__(
        0, first_table(value)["hash_map"][first_table(value)["hash_stride"]]
    ),
    "a count of text": lambda value: first_table(value)["hash_map"].__setitem__(1, "1"),
    "a count below 0": lambda value: first_table(value)["hash_map"].__setitem__(1, -1),
    "a denominator below 0": table("counter_denominator", -1),
    "no trees": at(TREES, new=[]),
    "trees of another kind": lambda value: value.update(trees=value.pop(TREES)),
    "leaves less": lambda value: value[TREES][0]["leaf_values"].pop(),
    "leaves without end": at(TREES, 0, "leaf_values", 0, new=10**400),
    "leaves of text": at(TREES, 0, "leaf_values", 0, new="1"),
    "weights more": lambda value: value[TREES][0]["leaf_weights"].append(1),
    "many levels": lambda value: value[TREES][0].update(splits=value[TREES][0]["splits"] * 20),
    "a split of nothing": at(TREES, 0, "splits", 0, new=None),
    "a split on no part": at(TREES, 0, "splits", 0, "split_index", new=2**31 - 1),
    "a split on a part below": at(TREES, 0, "splits", 0, "split_index", new=-1),
    "a split on another border": split_of("FloatFeature", "border", 0.123),
    "a split on another number": split_of("FloatFeature", "float_feature_index", 7),
    "a split on another category": split_of("OneHotFeature", "value", 5),
    "a split on another class": split_of("OnlineCtr", "ctr_target_border_idx", 9),
    "a split of another kind": split_of("OnlineCtr", "split_type", "FloatFeature"),
    "a scale of text": at("scale_and_bias", 0, new="1"),
    "a bias less": at("scale_and_bias", 1, new=[0.0]),
    "no bias": at("scale_and_bias", new=[1]),
    "classes out of order": at(*CLASSES, "class_to_label", new=[2, 1, 0]),
    "classes of text": at(*CLASSES, "class_to_label", new=["a", "b", "c"]),
    "classes that differ": at(*CLASSES, "class_names", new=[0, 1, 3]),
    "classes of another type": at(*CLASSES, "class_label_type", new="String"),
    "an unknown loss": at("model_info", "params", "loss_function", "type", new="Custom"),
    "a version of numbers": at("model_info", "catboost_version_info", new=1),
}


def test_the_model_of_these_tests_splits_by_every_kind() -> None:
    value = json.loads(MODEL)
    kinds = {split["split_type"] for tree in value[TREES] for split in tree["splits"]}
    assert kinds == {"FloatFeature", "OneHotFeature", "OnlineCtr"}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_is_not_as_it_is_written_here_never_reaches_the_library(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = json.loads(MODEL)
    HOSTILE[name](value)
    content = json.dumps(value).encode()
    monkeypatch.setattr(catboost.CatBoost, "load_model", _unreachable)

    for use in (FORMAT.digest, LIBRARY.estimator(5).predictor):
        with pytest.raises(InputError, match="not in the CatBoost format"):
            use(content)


def _unreachable(*_arguments: Any, **_more: Any) -> None:
    raise AssertionError("the library was given a hostile file")


@pytest.mark.parametrize(
    "content", [b"", b"\x00", b"CBM1", b"null", b"[]", b"{}", b"[" * 10**6, b"\xff\xfe"], ids=repr
)
def test_what_is_no_model_is_refused(content: bytes) -> None:
    with pytest.raises(InputError, match="not in the CatBoost format"):
        FORMAT.digest(content)


def test_a_model_for_other_columns_or_classes_is_refused() -> None:
    with pytest.raises(InputError, match="of 5 columns, not 4"):
        LIBRARY.estimator(4).predictor(MODEL)
    with pytest.raises(InputError, match="more than 2 classes"):
        LIBRARY.estimator(5, classes=2).predictor(MODEL)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Return a file in which one value is another, or that ends early."""
    content = MODEL if draw(st.booleans()) else OF_TWO
    if draw(st.integers(0, 4)) == 0:
        return content[: draw(st.integers(0, len(content)))]
    value = place = json.loads(content)
    while True:
        keys = sorted(place) if isinstance(place, dict) else range(len(place))
        key = draw(st.sampled_from(list(keys)))
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or draw(st.integers(0, 9)) == 0:
            break
        place = inner
    place[key] = draw(
        st.sampled_from([0, 1, 2, 3, -1, 2**31 - 1, 2**63, 1e308, "", "0", "9" * 12, [], {}, None])
        | st.floats(-10, 10)
    )
    return json.dumps(value).encode()


@settings(max_examples=300, deadline=None)
@given(damaged())
def test_a_damaged_file_is_refused_or_answers_with_probabilities(content: bytes) -> None:
    try:
        predictor = LIBRARY.estimator(5).predictor(content)
    except InputError:
        return
    inputs = np.array([[0, 1, np.nan, 2, 0], [-5, 1e30, 1, np.nan, 3]], dtype=np.float32)
    with np.errstate(all="ignore"):
        found = predictor.probabilities(inputs)
    assert found.shape == (2, 3)
    assert ((found >= 0) & (found <= 1)).all() or not np.isfinite(found).all()


def test_the_digest_is_of_the_content_and_not_of_the_version() -> None:
    digest = FORMAT.digest(MODEL)
    value = json.loads(MODEL)
    value["model_info"]["catboost_version_info"] = "9.9"
    assert FORMAT.digest(json.dumps(dict(reversed(value.items())), indent=2).encode()) == digest

    changes = (
        at(*FLOATS, 0, "nan_value_treatment", new="AsTrue"),
        at(*CTRS, 0, "shift", new=1),
        lambda value: first_table(value)["hash_map"].__setitem__(1, 77),
        at("scale_and_bias", 1, 0, new=0.5),
    )
    found = {digest}
    for change in changes:
        value = json.loads(MODEL)
        change(value)
        found.add(FORMAT.digest(json.dumps(value).encode()))
    assert len(found) == 1 + len(changes)


def test_no_setting_no_time_and_no_text_of_a_category_is_in_a_file() -> None:
    value = json.loads(MODEL)
    assert value["model_info"].keys() == {"catboost_version_info", "class_params", "params"}
    assert "cat_features_hash" not in value["features_info"]
    assert b"seed" not in MODEL


def test_the_library_itself_reads_a_file_and_answers_the_same(tmp_path: Any) -> None:
    """The columns of features are in the order of the table there, and of kinds here."""
    path = tmp_path / "model.json"
    path.write_bytes(read_file(MODEL).for_library())
    model = catboost.CatBoost()
    model.load_model(str(path), format="json")
    words = np.array([str(code).encode() for code in range(9)], dtype=object)
    rows = catboost.FeaturesData(
        np.ascontiguousarray(_INPUTS[:, :3]), words[_INPUTS[:, 3:].astype(int)]
    )

    found = LIBRARY.estimator(5).predictor(MODEL).probabilities(_INPUTS)

    expected = model.predict(rows, prediction_type="Probability")
    assert np.allclose(found, expected, atol=1e-12)


def test_the_answers_are_those_of_the_librarys_own_class() -> None:
    frame = ROWS.select(["age", "income", "member", "city"]).to_pandas()
    frame["member"] = frame["member"].astype("float32")
    numbers = frame[["age", "income", "member"]].astype("float32")
    rows = numbers.assign(city=frame["city"])
    truth = targets(ROWS, LAYOUT)
    model = catboost.CatBoostClassifier(
        **LIBRARY.options,
        thread_count=1,
        random_seed=0,
        random_strength=0,
        bootstrap_type="No",
        max_ctr_complexity=0,
        one_hot_max_size=9,
        allow_writing_files=False,
        logging_level="Silent",
        cat_features=["city"],
    ).fit(rows, truth)

    options = {"random_strength": 0, "bootstrap_type": "No", "one_hot_max_size": 9}
    found = LIBRARY.fit(**options, max_ctr_complexity=0).predictor().probabilities(ROWS)

    assert np.allclose(found, model.predict_proba(rows), atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"boosting_type": "Ordered"},
        {"max_ctr_complexity": 3, "depth": 6, "iterations": 30},
        {"bootstrap_type": "Bernoulli", "subsample": 0.5, "rsm": 0.5},
        {"nan_mode": "Max", "leaf_estimation_method": "Gradient"},
        {"auto_class_weights": "Balanced", "border_count": 4},
    ],
    ids=str,
)
def test_models_of_other_options_are_read_and_made_again(options: dict[str, Any]) -> None:
    estimator = LIBRARY.estimator(5, **options)
    for data in (replace(DATA, targets=_CODES % 3), replace(DATA, targets=_CODES % 2)):
        state = estimator.fit_slice(None, data, 7)

        assert estimator.fit_slice(None, data, 7) == state
        found = estimator.predictor(state).probabilities(data.inputs)
        assert np.allclose(found.sum(axis=1), 1)


def test_tables_of_numbers_or_of_categories_alone_are_learned() -> None:
    truth = _CODES % 2
    for columns, counts in (([0, 1, 2], (0, 0, 0)), ([3, 4], (6, 4))):
        data = replace(DATA, inputs=_INPUTS[:, columns], categories=counts, targets=truth)
        estimator = LIBRARY.estimator(len(columns))
        found = estimator.predictor(estimator.fit_slice(None, data, 1)).probabilities(data.inputs)
        assert found.shape == (300, 3)


def test_rows_that_are_all_alike_are_refused() -> None:
    same = LIBRARY.fit(ROWS).kind
    assert same == "catboost"
    data = replace(DATA, inputs=np.ones_like(_INPUTS), targets=_CODES % 2)
    with pytest.raises(InputError, match="cannot be trained: All features are either constant"):
        LIBRARY.estimator(5).fit_slice(None, data, 1)
