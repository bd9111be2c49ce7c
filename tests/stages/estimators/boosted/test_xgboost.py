"""XGBoost: what its models are of, and its files, which are read here before the library does."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.boosted.refusal import refusal
from unlearn.stages.estimators.boosted.xgboost_file import read_file
from unlearn.stages.rows.shard_file import TARGET, Layout, targets
from unlearn.stages.training.shard_model import ShardModel

from tests.stages.conftest import LAYOUT, make_params, train_at_once
from tests.stages.estimators.boosted.libraries import LIBRARIES, ROWS, of_classes

xgboost = pytest.importorskip("xgboost")

LIBRARY = LIBRARIES["xgboost"]
FORMAT = LIBRARY.spec.format
TWO = of_classes("c0", "c2")

MODEL = LIBRARY.fit(n_estimators=3, max_cat_to_onehot=1)
OF_TWO = LIBRARY.fit(TWO, n_estimators=3, max_cat_to_onehot=1)


def value_of(content: bytes | None = MODEL.weights) -> Any:
    return json.loads(content or b"")


def file_of(value: Any) -> bytes:
    return json.dumps(value).encode()


def trees(value: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = value["learner"]["gradient_booster"]["model"]["trees"]
    return found


def set_tree(name: str, change: Callable[[list[Any]], object]) -> Callable[[Any], None]:
    """Return what changes a list of the first tree."""

    def apply(value: Any) -> None:
        change(trees(value)[0][name])

    return apply


def put_at(place: int, new: Any) -> Callable[[list[Any]], None]:
    def apply(values: list[Any]) -> None:
        values[place] = new

    return apply


def of_tree(name: str, new: str) -> Callable[[Any], None]:
    def apply(value: Any) -> None:
        trees(value)[0]["tree_param"][name] = new

    return apply


def of_learner(*path: str, new: Any) -> Callable[[Any], None]:
    def apply(value: Any) -> None:
        at = value["learner"]
        for name in path[:-1]:
            at = at[name]
        at[path[-1]] = new

    return apply


def cycle(value: Any) -> None:
    """Let the first child of the root be the root's parent."""
    tree = trees(value)[0]
    child = tree["left_children"][0]
    tree["left_children"][child], tree["right_children"][child] = 0, 0


def two_parents(value: Any) -> None:
    tree = trees(value)[0]
    tree["left_children"][0] = tree["right_children"][0]


HOSTILE: dict[str, Callable[[Any], object]] = {
    "more trees than there are": of_learner(
        "gradient_booster", "model", "gbtree_model_param", "num_trees", new="2147483647"
    ),
    "trees at once": of_learner(
        "gradient_booster", "model", "gbtree_model_param", "num_parallel_tree", new="99999"
    ),
    "no trees at once": of_learner(
        "gradient_booster", "model", "gbtree_model_param", "num_parallel_tree", new="0"
    ),
    "a count that is no text": of_learner("learner_model_param", "num_feature", new=4),
    "a count of other digits": of_learner("learner_model_param", "num_feature", new="٤"),
    "more features": of_learner("learner_model_param", "num_feature", new="4000000000"),
    "more classes": of_learner("learner_model_param", "num_class", new="2000000000"),
    "more targets": of_learner("learner_model_param", "num_target", new="2000000000"),
    "base score of text": of_learner("learner_model_param", "base_score", new="[x]"),
    "base score without end": of_learner("learner_model_param", "base_score", new="[1e999,0,0]"),
    "base score of one class": of_learner("learner_model_param", "base_score", new="[0.5]"),
    "unknown objective": of_learner("objective", new={"name": "custom"}),
    "objective of two": of_learner("objective", "name", new="binary:logistic"),
    "classes of the objective": of_learner(
        "objective", "softmax_multiclass_param", "num_class", new="4"
    ),
    "unknown booster": of_learner("gradient_booster", "name", new="gblinear"),
    "unknown attribute": of_learner("attributes", "best_iteration", new="1"),
    "names of features": of_learner("feature_names", new=["a", "b", "c", "d"]),
    "unknown type of feature": of_learner("feature_types", new=["q", "q", "q", "i"]),
    "categories of numbers": of_learner("feature_types", new=["q", "q", "q", "q"]),
    "names of categories": of_learner("gradient_booster", "model", "cats", "enc", new=[{}]),
    "classes out of order": of_learner("attributes", "classes", new="[2,1,0]"),
    "classes of text": of_learner("attributes", "classes", new='["a","b","c"]'),
    "classes deep": of_learner("attributes", "classes", new="[" * 100_000),
    "ends of rounds": of_learner(
        "gradient_booster", "model", "iteration_indptr", new=[0, 3, 6, 10**9]
    ),
    "class of a tree": of_learner("gradient_booster", "model", "tree_info", new=[0, 1, 99] * 3),
    "trees are no list": of_learner("gradient_booster", "model", "trees", new={}),
    "a tree is no object": of_learner("gradient_booster", "model", "trees", new=[1] * 9),
    "version of text": lambda value: value.update(version="3"),
    "version of one number": lambda value: value.update(version=[3]),
    "unknown part": lambda value: value.update(config={}),
    "more nodes": of_tree("num_nodes", "2147483647"),
    "deleted nodes": of_tree("num_deleted", "1"),
    "features of a tree": of_tree("num_feature", "9"),
    "leaves of vectors": of_tree("size_leaf_vector", "1000000000"),
    "one value more": set_tree("split_conditions", lambda values: values.append(0.0)),
    "one value less": set_tree("base_weights", list.pop),
    "no nodes": lambda value: trees(value)[0].update(left_children=[]),
    "child out of the tree": set_tree("left_children", put_at(0, 2**31 - 1)),
    "child far below": set_tree("left_children", put_at(0, -(2**31))),
    "child of 64 bits": set_tree("left_children", put_at(0, 2**40)),
    "child beyond all": set_tree("left_children", put_at(0, 10**30)),
    "one child": set_tree("left_children", put_at(0, -1)),
    "a way round": cycle,
    "two parents": two_parents,
    "a parent elsewhere": set_tree("parents", put_at(1, 2)),
    "a parent of the root": set_tree("parents", put_at(0, 0)),
    "feature that there is not": set_tree("split_indices", put_at(0, 4)),
    "feature below all": set_tree("split_indices", put_at(0, -1)),
    "unknown kind of split": set_tree("split_type", put_at(0, 2)),
    "split by a set that is not there": set_tree("split_type", put_at(0, 1)),
    "neither left nor right": set_tree("default_left", put_at(0, 7)),
    "a leaf without end": set_tree("split_conditions", put_at(0, 1e39)),
    "a leaf of text": set_tree("split_conditions", put_at(0, "1")),
    "a leaf that is a list": set_tree("split_conditions", put_at(0, [1.0])),
    "all leaves are true": lambda value: trees(value)[0].update(
        base_weights=[True] * len(trees(value)[0]["base_weights"])
    ),
    "a tree of another number": lambda value: trees(value)[0].update(id=7),
    "an unknown list": lambda value: trees(value)[0].update(more=[1]),
    "a list less": lambda value: trees(value)[0].pop("parents"),
}


def test_the_models_of_these_tests_split_by_sets() -> None:
    assert any(tree["categories"] for tree in trees(value_of()))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_is_not_as_xgboost_writes_it_never_reaches_the_library(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = value_of()
    HOSTILE[name](value)
    monkeypatch.setattr(xgboost, "Booster", _unreachable)
    estimator = LIBRARY.estimator()

    for use in (FORMAT.digest, estimator.predictor):
        with pytest.raises(InputError, match="not in the XGBoost format"):
            use(file_of(value))


def _unreachable(*_arguments: Any) -> None:
    raise AssertionError("the library was given a hostile file")


SETS: dict[str, Callable[[dict[str, Any]], object]] = {
    "a huge category": lambda tree: tree["categories"].__setitem__(-1, 2**31 - 1),
    "a category below 0": lambda tree: tree["categories"].__setitem__(0, -1),
    "one category more": lambda tree: tree["categories"].append(0),
    "a set without end": lambda tree: tree["categories_sizes"].__setitem__(0, 2**31 - 1),
    "an empty set": lambda tree: tree["categories_sizes"].__setitem__(0, 0),
    "a set from elsewhere": lambda tree: tree["categories_segments"].__setitem__(0, 2**31 - 1),
    "a set of another node": lambda tree: tree["categories_nodes"].__setitem__(0, 0),
    "a set more": lambda tree: tree["categories_nodes"].append(1),
}


@pytest.mark.parametrize("name", SETS)
def test_sets_of_categories_are_those_of_the_splits_and_take_bounded_memory(name: str) -> None:
    value = value_of()
    tree = next(
        tree for tree in trees(value) if tree["categories"] and tree["categories_nodes"] != [0]
    )
    SETS[name](tree)

    with pytest.raises(InputError, match="not in the XGBoost format"):
        FORMAT.digest(file_of(value))


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00", b"null", b"[]", b"NaN", b"{}", b"[" * 10**6, b'{"learner":{}}', b"\xff\xfe"],
    ids=repr,
)
def test_what_is_no_model_is_refused(content: bytes) -> None:
    with pytest.raises(InputError, match="not in the XGBoost format"):
        FORMAT.digest(content)


def test_a_file_of_xgboosts_other_formats_is_refused() -> None:
    booster = xgboost.Booster()
    booster.load_model(bytearray(MODEL.weights or b""))
    with pytest.raises(InputError, match="not in the XGBoost format"):
        FORMAT.digest(bytes(booster.save_raw("ubj")))


def test_a_model_for_other_columns_or_classes_is_refused() -> None:
    with pytest.raises(InputError, match="of 4 columns, not 5"):
        LIBRARY.estimator(inputs=5).predictor(MODEL.weights or b"")
    with pytest.raises(InputError, match="more than 2 classes"):
        LIBRARY.estimator(classes=2).predictor(MODEL.weights or b"")


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Return a file in which one value is another, or that ends early."""
    content = (MODEL if draw(st.booleans()) else OF_TWO).weights or b""
    if draw(st.integers(0, 4)) == 0:
        return content[: draw(st.integers(0, len(content)))]
    value = at = json.loads(content)
    while True:
        keys = sorted(at) if isinstance(at, dict) else range(len(at))
        key = draw(st.sampled_from(list(keys)))
        inner = at[key]
        if not isinstance(inner, dict | list) or not inner or draw(st.integers(0, 9)) == 0:
            break
        at = inner
    at[key] = draw(
        st.sampled_from([0, 1, 2, 3, -1, 2**31 - 1, 2**63, 1e308, "", "0", "9" * 12, [], {}, None])
        | st.floats(-10, 10)
    )
    return file_of(value)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(damaged())
def test_a_damaged_file_is_refused_or_answers_with_probabilities(content: bytes) -> None:
    try:
        predictor = LIBRARY.estimator().predictor(content)
    except InputError:
        return
    inputs = np.array([[0, 1, np.nan, 2], [-5, 1e30, 1, np.nan]], dtype=np.float32)
    found = predictor.probabilities(inputs)
    assert found.shape == (2, 3)
    assert ((found >= 0) & (found <= 1)).all() or not np.isfinite(found).all()


def test_the_digest_is_of_the_content_and_not_of_the_version() -> None:
    value = value_of()
    value["version"] = [4, 1, 7]
    again = json.dumps(dict(reversed(value.items())), indent=2).encode()

    assert FORMAT.digest(again) == FORMAT.digest(MODEL.weights or b"")
    for name in ("split_indices", "default_left"):
        value = value_of()
        found = trees(value)[0][name]
        at = next(
            place for place, child in enumerate(trees(value)[0]["left_children"]) if child > 0
        )
        found[at] = 1 - found[at] if found[at] in (0, 1) else 0
        assert FORMAT.digest(file_of(value)) != FORMAT.digest(MODEL.weights or b"")
    value = value_of()
    value["learner"]["learner_model_param"]["base_score"] = "[0,0,1]"
    assert FORMAT.digest(file_of(value)) != FORMAT.digest(MODEL.weights or b"")


def test_what_the_library_is_given_is_what_was_read() -> None:
    """A key that stands twice has one meaning here, whatever it has in the library."""
    content = MODEL.weights or b""
    twice = content.replace(b'"num_trees":"9"', b'"num_trees":"9999","num_trees":"9"')
    assert twice != content

    assert read_file(twice).dump() == read_file(content).dump()
    expected = LIBRARY.estimator().predictor(content).probabilities(np.zeros((1, 4), np.float32))
    found = LIBRARY.estimator().predictor(twice).probabilities(np.zeros((1, 4), np.float32))
    assert np.array_equal(found, expected)


def test_the_answers_are_those_of_the_library_itself() -> None:
    """Trained by XGBoost's own class, from a table of pandas with categories."""
    frame = ROWS.select(["age", "income", "member", "city"]).to_pandas()
    frame["member"] = frame["member"].astype("float64")
    frame["city"] = frame["city"].astype("category")
    truth = targets(ROWS, LAYOUT)
    model = xgboost.XGBClassifier(
        n_estimators=5, n_jobs=1, enable_categorical=True, random_state=0
    ).fit(frame.astype({"age": "float32", "income": "float32"}), truth)

    found = LIBRARY.fit().predictor().probabilities(ROWS)

    assert np.allclose(found, model.predict_proba(frame), atol=1e-6)


def test_the_base_score_is_of_the_rows_of_the_shard() -> None:
    share = np.mean([value == "c2" for value in TWO[TARGET].to_pylist()])

    written = value_of(OF_TWO.weights)["learner"]["learner_model_param"]["base_score"]

    assert json.loads(written) == pytest.approx([share], abs=1e-6)


@pytest.mark.parametrize("method", ["hist", "approx", "exact"])
def test_every_tree_method_makes_a_file_that_is_read(method: str) -> None:
    recipe = LIBRARY.recipe(tree_method=method, gamma=0.5, subsample=0.5, n_estimators=4)
    numbers = [[name, kind] for name, kind in LAYOUT.features.items() if kind != "categorical"]
    layout = Layout.from_json(LAYOUT.as_json() | {"features": numbers})
    recipe, rows = replace(recipe, layout=layout), ROWS.drop(["city"])
    files = train_at_once(recipe, rows)
    assert files == train_at_once(recipe, rows)

    found = ShardModel.of_files(files).predictor().probabilities(rows)

    assert found.shape == (ROWS.num_rows, 3)
    gone = [
        int(tree["tree_param"]["num_deleted"])
        for tree in trees(value_of(files["model.xgboost.json"]))
    ]
    assert any(gone) == (method == "exact")


def test_exact_splits_take_no_categories() -> None:
    with pytest.raises(InputError, match="exact takes no categorical feature, and 'city' is one"):
        make_params(train=LIBRARY.train(tree_method="exact"))


@pytest.mark.parametrize(
    "raw",
    [
        "[22:39:51] /workspace/src/tree/hist.cc:204: Check failed: it is so\nStack trace:\n",
        "/workspace/src/objective/regression_obj.cu:114: Check failed: it is so",
        "Check failed: it is so at /w/LightGBM/src/io/dataset.cpp, line 44 .\n",
        "catboost/libs/data/quantization.cpp:2419: Check failed: it is so",
    ],
)
def test_messages_of_libraries_have_no_places_in_their_code(raw: str) -> None:
    assert refusal("m", ValueError(raw)).message == "m cannot be trained: Check failed: it is so"
