"""A final model as ONNX answers as `predict_proba` and `predict` do, whatever family it is of."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unlearn.stages.config.dataset import DatasetParams
from unlearn.stages.config.params import AggregationRule
from unlearn.stages.config.train import TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.export.made_up_rows import made_up_rows
from unlearn.stages.export.onnx_model import onnx_file, onnx_inputs
from unlearn.stages.final_model.ensemble import Ensemble
from unlearn.stages.final_model.members import Member
from unlearn.stages.rows.shard_file import RECORD, TARGET, Layout, in_order, with_digests
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.shard_model import ShardModel

from tests.stages.conftest import KEY, token_of, train_at_once

_FEATURES = {
    "age": "numeric",
    "income": "numeric",
    "nothing": "numeric",
    "member": "boolean",
    "city": "categorical",
    "size": "ordinal",
    "seen": "calendar",
}
_PINNED = {"city": ["Lima", "Oslo", "Rome"], "size": ["small", "large", "huge"]}
_RANGES = {"age": [-3, 8], "income": [-3000, 3000], "nothing": [6, 8], "seen": [0, 2e9]}
_GRIDS: dict[str, Any] = {"preprocessing": {"scale": "none", "impute": "zero"}}


def _dataset(classes: int, rule_of: str = "classification") -> DatasetParams:
    task: dict[str, Any] = {"classes": [f"c{at}" for at in range(classes)]}
    if rule_of == "regression":
        task = {"task": "regression", "target_scale": {"centre": 40.0, "scale": 12.0}}
    return DatasetParams.model_validate(
        {
            "path": "data/x.csv",
            "id": "id",
            "target": "label",
            "features": _FEATURES,
            "categories": _PINNED,
            "rare_categories": "bucket",
            **task,
        }
    )


def _rows(layout: Layout, count: int, seed: int, classes: int) -> pa.Table:
    draw = np.random.default_rng(seed)
    label = draw.integers(0, max(classes, 2), count)

    def some() -> npt.NDArray[np.bool_]:
        return draw.random(count) < 0.1

    target = (
        [f"c{value}" for value in label] if classes else label * 9.0 + 5.0 + draw.normal(size=count)
    )
    table = pa.table(
        {
            RECORD: pa.array([token_of(f"r{seed}-{n}") for n in range(count)]),
            "age": pa.array(np.round(label * 2.0 + draw.normal(size=count), 1), mask=some()),
            # Without missing values, which rows to predict have.
            "income": pa.array(draw.normal(size=count) * 1000),
            "nothing": pa.array(np.full(count, 7.0)),
            "member": pa.array(draw.random(count) < 0.5, mask=some()),
            "city": pa.array(draw.choice(_PINNED["city"], count), pa.string(), mask=some()),
            "size": pa.array(draw.choice(_PINNED["size"], count), pa.string(), mask=some()),
            "seen": pa.array(draw.integers(0, 2 * 10**9, count).astype(float), mask=some()),
            TARGET: pa.array(target),
        }
    )
    return in_order(with_digests(table).cast(layout.schema))


def make_ensemble(
    train: Mapping[str, Any],
    *,
    classes: int = 3,
    members: int = 2,
    rule: AggregationRule | None = None,
    code: Path | None = None,
) -> Ensemble:
    """Return a final model of small shards; no classes make it a regression."""
    dataset = _dataset(classes, "classification" if classes else "regression")
    layout = Layout.of(dataset)
    recipe = Recipe(TrainParams.model_validate(dict(train)), 1, layout, 0, KEY, code)
    found = []
    for seed in range(members):
        files = train_at_once(recipe, _rows(layout, 40 + 10 * seed, seed, classes))
        model = ShardModel.of_files(files)
        rows = int(model.description["rows"])
        found.append(Member(f"s{seed:03d}", rows, model.predictor(code), model.has_probabilities))
    rule = rule or ("mean_probability" if classes else "mean")
    return Ensemble(dataset, rule, tuple(found), all(each.has_probabilities for each in found))


def answers_of(content: bytes, ensemble: Ensemble, rows: pa.Table) -> list[Any]:
    """Return what a file answers on typed rows."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return list(session.run(None, onnx_inputs(ensemble, rows)))


def check(
    ensemble: Ensemble, content: bytes, rows: pa.Table, counts: Sequence[int] = (0, 1)
) -> None:
    """Compare a file with the model, on these rows and on so many of them."""
    found, wanted = answers_of(content, ensemble, rows), ensemble.answers(rows)
    scale = 1.0 if ensemble.classes else np.maximum(1, np.abs(wanted))
    assert np.abs(found[-1] - wanted).max() <= 1e-5 * np.max(scale)
    for count in counts:
        few = answers_of(content, ensemble, rows.slice(0, count))[-1]
        assert few.shape == wanted[:count].shape
        # Sums of a batch of another size may round differently.
        assert np.abs(few - wanted[:count]).max(initial=0.0) <= 1e-5 * np.max(scale)
    if ensemble.classes:
        ordered = np.sort(wanted, axis=1)
        sure = ordered[:, -1] - ordered[:, -2] > 1e-5
        labels = np.array(ensemble.labels(wanted))
        assert sure.mean() > 0.3
        assert (found[0][sure] == labels[sure]).all()


_SKLEARN: Mapping[str, dict[str, Any]] = {
    "sklearn.linear_model.LogisticRegression": {"max_iter": 30},
    "sklearn.naive_bayes.GaussianNB": {},
    "sklearn.tree.DecisionTreeClassifier": {"max_depth": 4},
    "sklearn.ensemble.RandomForestClassifier": {"n_estimators": 3, "max_depth": 4},
    "sklearn.ensemble.HistGradientBoostingClassifier": {"max_iter": 3, "min_samples_leaf": 4},
    "sklearn.ensemble.GradientBoostingClassifier": {"n_estimators": 3},
}
_CLASSIFIERS: Sequence[tuple[dict[str, Any], int]] = [
    ({"model": "mlp", "options": {"hidden": [5], "activation": activation}, "epochs": 2}, classes)
    for activation, classes in (("relu", 2), ("gelu", 3), ("tanh", 3))
]
_EXACT: Mapping[str, dict[str, Any]] = {
    "exact_forest": {"trees": 4},
    "exact_boosting": {"trees": 4},
    "exact_linear": {"rule": "discriminant"},
    "exact_naive_bayes": {},
}


def _families() -> list[Any]:
    found = [pytest.param(train, count, id=f"mlp-{count}") for train, count in _CLASSIFIERS]
    for at, (name, options) in enumerate(_SKLEARN.items()):
        train = {"model": name, "options": options}
        # Those of two classes and of more are written by other lines.
        counts = (2, 3) if "Boosting" in name or "Logistic" in name else (2 + at % 2,)
        label = name.rpartition(".")[2]
        found += [pytest.param(train, count, id=f"{label}-{count}") for count in counts]
    for name, options in _EXACT.items():
        for count in (2, 3):
            train = {"model": name, "options": {"range": _RANGES, **options}, **_GRIDS}
            found.append(pytest.param(train, count, id=f"{name}-{count}"))
    return found


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_a_model_of_xgboost_answers_as_its_onnx_file(classes: int) -> None:
    name = "xgboost.XGBClassifier" if classes else "xgboost.XGBRegressor"
    options = {"n_estimators": 6} | ({} if classes else {"objective": "count:poisson"})
    as_it_is = {"preprocessing": {"scale": "none", "impute": "none"}}
    ensemble = make_ensemble({"model": name, "options": options, **as_it_is}, classes=classes)

    content = onnx_file(ensemble, name, {})

    check(ensemble, content, made_up_rows(ensemble, [each.predictor for each in ensemble.members]))


@pytest.mark.parametrize(
    ("classes", "options"),
    [
        (0, {}),
        (0, {"objective": "poisson"}),
        (2, {}),
        (3, {"boosting_type": "dart"}),
    ],
)
def test_a_model_of_lightgbm_answers_as_its_onnx_file(
    classes: int, options: dict[str, Any]
) -> None:
    name = "lightgbm.LGBMClassifier" if classes else "lightgbm.LGBMRegressor"
    small = {"n_estimators": 6, "min_child_samples": 2, "min_data_per_group": 2, "cat_smooth": 0.1}
    as_it_is = {"preprocessing": {"scale": "none", "impute": "none"}}
    train = {"model": name, "options": small | options, **as_it_is}
    ensemble = make_ensemble(train, classes=classes)
    model: Any = ensemble.members[0].predictor.model
    kinds = {each["decision_type"] for each in splits_of(model.raw.func.__self__.dump_model())}
    assert kinds == ({"<="} if classes == 2 else {"<=", "=="})

    content = onnx_file(ensemble, name, {})

    rows = made_up_rows(ensemble, [each.predictor for each in ensemble.members])
    check(ensemble, content, rows)
    splits = [
        split
        for each in ensemble.members
        for split in splits_of(cast("Any", each.predictor.model).raw.func.__self__.dump_model())
    ]
    for place, feature in ((0, "age"), (1, "income")):
        ends = [
            float(split["threshold"])
            for split in splits
            if split["split_feature"] == place and split["decision_type"] == "<="
        ]
        near = [1.1e300, 1e-36, -float(np.float32(1e-35))]
        near += [found for end in ends for found in (end, np.nextafter(end, np.inf))]
        column = pa.chunked_array([pa.array(np.resize(near, rows.num_rows))])
        check(ensemble, content, rows.set_column(rows.column_names.index(feature), feature, column))


def splits_of(value: Any) -> list[dict[str, Any]]:
    """Return the splits in what LightGBM dumps."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    found = [split for part in parts for split in splits_of(part)]
    return [value, *found] if isinstance(value, dict) and "split_index" in value else found


@pytest.mark.parametrize(("train", "classes"), _families())
def test_a_classifier_answers_as_its_onnx_file(train: dict[str, Any], classes: int) -> None:
    ensemble = make_ensemble(train, classes=classes)

    content = onnx_file(ensemble, train["model"], {"a": "b"})

    rows = made_up_rows(ensemble, [each.predictor for each in ensemble.members])
    check(ensemble, content, rows)
    assert content == onnx_file(ensemble, train["model"], {"a": "b"})


_REGRESSORS: Mapping[str, dict[str, Any]] = {
    "mlp": {"options": {"hidden": [5]}, "epochs": 2},
    "sklearn.linear_model.Ridge": {},
    "sklearn.ensemble.ExtraTreesRegressor": {"options": {"n_estimators": 3}},
    "sklearn.ensemble.HistGradientBoostingRegressor": {
        "options": {"max_iter": 3, "loss": "poisson", "min_samples_leaf": 4}
    },
    "exact_forest": {"options": {"range": _RANGES, "trees": 4}, **_GRIDS},
    "exact_boosting": {"options": {"range": _RANGES, "trees": 4}, **_GRIDS},
    "exact_linear": {"options": {"range": _RANGES, "fourier": 8}, **_GRIDS},
}


@pytest.mark.parametrize("model", _REGRESSORS)
def test_a_regressor_answers_as_its_onnx_file(model: str) -> None:
    rule: AggregationRule = "median" if "Ridge" in model else "size_weighted"
    ensemble = make_ensemble(
        {"model": model, **_REGRESSORS[model]}, classes=0, members=3, rule=rule
    )

    content = onnx_file(ensemble, model, {})

    check(ensemble, content, made_up_rows(ensemble, [each.predictor for each in ensemble.members]))


@pytest.mark.parametrize("model", ["sklearn.svm.LinearSVC", "exact_linear"])
def test_votes_are_votes_in_the_file_too(model: str) -> None:
    grids = {"options": {"range": _RANGES, "rule": "ridge"}, **_GRIDS}
    train = {"model": model, **(grids if model == "exact_linear" else {})}
    ensemble = make_ensemble(train, members=3, rule="majority_vote")

    content = onnx_file(ensemble, model, {})

    check(ensemble, content, made_up_rows(ensemble, [each.predictor for each in ensemble.members]))


@pytest.fixture(scope="module")
def tree() -> tuple[Ensemble, bytes]:
    """A tree of scikit-learn, which compares numbers that were rounded to float32."""
    return _tree({"model": "sklearn.tree.DecisionTreeClassifier"})


@pytest.fixture(scope="module")
def bag() -> tuple[Ensemble, bytes]:
    """Such a tree in an ensemble that does not round itself."""
    options = {"n_estimators": 1}
    return _tree({"model": "sklearn.ensemble.BaggingClassifier", "options": options})


def _tree(train: Mapping[str, Any]) -> tuple[Ensemble, bytes]:
    as_it_is = {"preprocessing": {"scale": "none", "impute": "zero"}}
    ensemble = make_ensemble({**train, **as_it_is}, members=1)
    return ensemble, onnx_file(ensemble, "a tree", {})


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=8, deadline=None)
@pytest.mark.parametrize("kind", ["tree", "bag"])
def test_values_at_thresholds_go_the_same_way(
    request: pytest.FixtureRequest, kind: str, seed: int
) -> None:
    ensemble, content = request.getfixturevalue(kind)
    model: Any = ensemble.members[0].predictor.model
    of_tree = (model.model.estimators_[0] if kind == "bag" else model.model).tree_
    draw = np.random.default_rng(seed)
    rows = made_up_rows(ensemble, [each.predictor for each in ensemble.members])
    for place, name in enumerate(("age", "income")):
        cuts = of_tree.threshold[of_tree.feature == place]
        values = draw.choice(cuts if len(cuts) else [0.0], rows.num_rows)
        steps = draw.integers(-1, 2, rows.num_rows)
        near = np.float32(values) if seed % 2 else values
        values = np.nextafter(near, np.where(steps < 0, -np.inf, np.inf))
        values = np.where(steps == 0, near, values).astype(np.float64)
        at = rows.schema.get_field_index(name)
        rows = rows.set_column(at, name, pa.chunked_array([pa.array(values)]))

    assert np.abs(answers_of(content, ensemble, rows)[1] - ensemble.answers(rows)).max() < 1e-6


def test_texts_for_missing_values_are_missing_in_the_file_too(
    tree: tuple[Ensemble, bytes],
) -> None:
    ensemble, content = tree
    rows = made_up_rows(ensemble, [each.predictor for each in ensemble.members])
    given_rows = onnx_inputs(ensemble, rows)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    before = session.run(None, given_rows)[1]

    city = given_rows["city"]
    given_rows["city"] = np.where(city == "", "N/A", city).astype(object)

    assert (session.run(None, given_rows)[1] == before).all()


def test_a_shard_without_choice_is_a_constant_member() -> None:
    ensemble = make_ensemble({"model": "sklearn.naive_bayes.GaussianNB"}, classes=3)
    constant = ShardModel(
        {
            "kind": "constant",
            "rows": 4,
            "file": None,
            "frequencies": [0.5, 0.25, 0.25],
            "has_probabilities": True,
            "layout": Layout.of(ensemble.dataset).as_json(),
        },
        None,
    )
    more = (*ensemble.members, Member("s002", 4, constant.predictor(), True))
    ensemble = Ensemble(ensemble.dataset, "size_weighted", more, True)

    content = onnx_file(ensemble, "GaussianNB", {})

    check(ensemble, content, made_up_rows(ensemble, [each.predictor for each in more]))


def test_the_file_has_its_metadata_and_nothing_of_a_converter(tree: tuple[Ensemble, bytes]) -> None:
    ensemble, _ = tree

    model = onnx.load_from_string(onnx_file(ensemble, "a tree", {"unlearn.verdict": "pass"}))

    assert {each.key: each.value for each in model.metadata_props} == {"unlearn.verdict": "pass"}
    assert [each.name for each in model.graph.input] == list(_FEATURES)
    assert [each.name for each in model.graph.output] == ["label", "probabilities"]
    assert not any(node.doc_string or node.metadata_props for node in model.graph.node)


def test_keyed_categories_are_refused(tree: tuple[Ensemble, bytes]) -> None:
    ensemble, _ = tree
    keyed = ensemble.dataset.model_copy(update={"category_texts": "keyed"})

    with pytest.raises(InputError, match="the categories of 'city' are keyed digests"):
        onnx_file(replace(ensemble, dataset=keyed), "a tree", {})


def test_what_no_operation_of_onnx_does_is_refused() -> None:
    options = {"kernel": "knn", "n_neighbors": 3}
    train = {"model": "sklearn.semi_supervised.LabelPropagation", "options": options}
    ensemble = make_ensemble(train)

    with pytest.raises(InputError, match="cannot write a sklearn.*LabelPropagation"):
        onnx_file(ensemble, "a model", {})
