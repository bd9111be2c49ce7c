"""LightGBM: what its models are of, and its files, which are read here before the library does."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.boosted.lightgbm_file import read_file
from unlearn.stages.rows.shard_file import targets

from tests.stages.conftest import LAYOUT
from tests.stages.estimators.boosted.libraries import LIBRARIES, ROWS, slice_of

lightgbm = pytest.importorskip("lightgbm")

LIBRARY = LIBRARIES["lightgbm"]
FORMAT = LIBRARY.spec.format
SMALL = {"n_estimators": 2, "num_leaves": 4, "max_cat_to_onehot": 1}

#: The class follows from the category, and missing values say nothing about it.
DATA = slice_of(300)
THREE = replace(DATA, targets=(DATA.inputs[:, 3] % 3).astype(np.int64))
TWO = replace(DATA, targets=(DATA.inputs[:, 3] % 2).astype(np.int64) * 2)
MODEL = LIBRARY.estimator(**SMALL).fit_slice(None, THREE, 3)
OF_TWO = LIBRARY.estimator(**SMALL).fit_slice(None, TWO, 3)
TEXT = MODEL.decode()


def line(name: str, new: str, tree: int | None = None) -> Callable[[str], str]:
    """Return what replaces a line before the trees, or of one of them."""

    def apply(text: str) -> str:
        start = 0 if tree is None else text.index(f"Tree={tree}\n")
        head, rest = text[:start], text[start:]
        found, count = re.subn(rf"(?m)^{name}=.*$", f"{name}={new}", rest, count=1)
        assert count == 1
        return head + found

    return apply


def value(name: str, place: int, new: str, tree: int = 0) -> Callable[[str], str]:
    """Return what replaces one value of a line of a tree."""

    def apply(text: str) -> str:
        start = text.index(f"Tree={tree}\n")
        old = re.search(rf"(?m)^{name}=(.*)$", text[start:])
        assert old is not None
        values = old.group(1).split(" ")
        values[place] = new
        return line(name, " ".join(values), tree)(text)

    return apply


def of_sets(text: str = TEXT) -> int:
    """Return the first tree that splits by a set of categories."""
    found = re.search(r"Tree=(\d+)\nnum_leaves=\d+\nnum_cat=[1-9]", text)
    assert found is not None
    return int(found.group(1))


SETS = of_sets()

HOSTILE: dict[str, Callable[[str], str]] = {
    "no end": lambda text: text.replace("end of trees\n", ""),
    "more after the end": lambda text: text + "parameters:\n",
    "not a model": lambda text: text.replace("tree\n", "leaf\n", 1),
    "an unknown line": lambda text: text.replace("tree\n", "tree\nparser=a\n", 1),
    "a line twice": lambda text: text.replace("label_index=0", "label_index=0\nlabel_index=0"),
    "a line less": lambda text: text.replace("label_index=0\n", ""),
    "an unknown version": line("version", "../etc"),
    "many classes": line("num_class", "2000000000"),
    "no class": line("num_class", "0"),
    "many trees at once": line("num_tree_per_iteration", "2147483647"),
    "the target elsewhere": line("label_index", "1"),
    "more features": line("max_feature_idx", "2147483646"),
    "features of text": line("max_feature_idx", "x"),
    "names of features": line("feature_names", "a b c d"),
    "ranges of features": line("feature_infos", "[0:1] none none none"),
    "unknown objective": line("objective", "custom"),
    "another objective": line("objective", "binary sigmoid:1"),
    "classes out of order": line("classes", "2 1 0"),
    "classes of text": line("classes", "a b c"),
    "one class more": line("classes", "0 1 2 3"),
    "trees out of order": lambda text: text.replace("Tree=1\n", "Tree=7\n"),
    "one tree less": lambda text: text[: text.index("Tree=5\n")] + "end of trees\n",
    "many leaves": line("num_leaves", "2147483647", 0),
    "more leaves than an int holds": line("num_leaves", "99999999999999999999999", 0),
    "no leaves": line("num_leaves", "0", 0),
    "leaves below 0": line("num_leaves", "-3", 0),
    "many sets": line("num_cat", "2147483647", SETS),
    "sets of nothing": line("num_cat", "0", SETS),
    "linear leaves": line("is_linear", "1", 0),
    "one value less": line("leaf_value", "0.5", 0),
    "a leaf without end": value("leaf_value", 0, "inf"),
    "a leaf that is no number": value("leaf_value", 0, "nan"),
    "a leaf that becomes infinite": value("leaf_value", 0, "1e999"),
    "a leaf of text": value("leaf_value", 0, "abc"),
    "a leaf with a bar": value("leaf_value", 0, "1_0"),
    "a leaf of many digits": value("leaf_value", 0, "1" * 1000),
    "an empty leaf": value("leaf_value", 0, ""),
    "child out of the tree": value("left_child", 0, "2147483647"),
    "leaf out of the tree": value("left_child", 0, "-2147483648"),
    "child before its parent": value("left_child", -1, "0"),
    "two parents": value("right_child", 0, "-1"),
    "child of text": value("left_child", 0, "--1"),
    "feature that there is not": value("split_feature", 0, "4"),
    "feature below all": value("split_feature", 0, "-1"),
    "unknown decision": value("decision_type", 0, "16"),
    "decision below all": value("decision_type", 0, "-1"),
    "no shrinkage": line("shrinkage", "", 0),
    "sets that end early": value("cat_boundaries", -1, "0", SETS),
    "sets that end late": value("cat_boundaries", -1, "2147483647", SETS),
    "sets from below": value("cat_boundaries", 0, "-1", SETS),
    "a set of too many bits": value("cat_threshold", 0, "4294967296", SETS),
    "a set below 0": value("cat_threshold", 0, "-1", SETS),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_is_not_as_it_is_written_here_never_reaches_the_library(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = HOSTILE[name](TEXT).encode()
    assert content != MODEL
    monkeypatch.setattr(lightgbm, "Booster", _unreachable)

    for use in (FORMAT.digest, LIBRARY.estimator().predictor):
        with pytest.raises(InputError, match="not in the LightGBM format"):
            use(content)


def _unreachable(*_arguments: Any, **_more: Any) -> None:
    raise AssertionError("the library was given a hostile file")


def test_a_split_by_a_set_that_is_not_there_is_refused() -> None:
    start = TEXT.index(f"Tree={SETS}\n")
    found = re.search(r"(?m)^decision_type=(.*)$", TEXT[start:])
    assert found is not None
    kinds = [int(text) for text in found.group(1).split()]
    at = next(place for place, kind in enumerate(kinds) if kind & 1)
    for text in ("99", "-1", "0.5", "1e300", "inf"):
        with pytest.raises(InputError, match="not in the LightGBM format: a split by categories"):
            FORMAT.digest(value("threshold", at, text, SETS)(TEXT).encode())


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00", b"tree", b"tree\n\n", b"{}", b"\xff\xfe", "tree\n\nä".encode()],
    ids=repr,
)
def test_what_is_no_model_is_refused(content: bytes) -> None:
    with pytest.raises(InputError, match="not in the LightGBM format"):
        FORMAT.digest(content)


def test_a_model_for_other_columns_or_classes_is_refused() -> None:
    weights = MODEL
    with pytest.raises(InputError, match="of 4 columns, not 5"):
        LIBRARY.estimator(inputs=5).predictor(weights)
    with pytest.raises(InputError, match="more than 2 classes"):
        LIBRARY.estimator(classes=2).predictor(weights)
    without = TEXT[: TEXT.index("Tree=0\n")] + "end of trees\n"
    with pytest.raises(InputError, match="has no trees"):
        LIBRARY.estimator().predictor(without.encode())


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Return a file in which one value is another, or that ends early."""
    content = MODEL if draw(st.booleans()) else OF_TWO
    if draw(st.integers(0, 4)) == 0:
        return content[: draw(st.integers(0, len(content)))]
    lines = content.decode().split("\n")
    at = draw(st.integers(0, len(lines) - 1))
    name, equals, values = lines[at].partition("=")
    tokens = values.split(" ")
    tokens[draw(st.integers(0, len(tokens) - 1))] = draw(
        st.sampled_from(["0", "1", "2", "-1", "-2", "2147483647", "1e300", "", "inf", "9" * 12])
        | st.floats(-10, 10).map(str)
    )
    lines[at] = f"{name}{equals}{' '.join(tokens)}"
    return "\n".join(lines).encode()


@settings(max_examples=300, deadline=None)
@given(damaged())
def test_a_damaged_file_is_refused_or_answers_with_probabilities(content: bytes) -> None:
    try:
        predictor = LIBRARY.estimator().predictor(content)
    except InputError:
        return
    inputs = np.array([[0, 1, np.nan, 2], [-5, 1e300, 1, np.nan]], dtype=np.float64)
    with np.errstate(all="ignore"):
        found = predictor.probabilities(inputs)
    assert found.shape == (2, 3)
    assert ((found >= 0) & (found <= 1)).all() or not np.isfinite(found).all()


def test_the_digest_is_of_the_content_and_not_of_the_version() -> None:
    weights = MODEL
    digest = FORMAT.digest(weights)

    assert FORMAT.digest(line("version", "v12")(TEXT).encode()) == digest
    first = re.search(r"(?m)^split_feature=(\d)", TEXT)
    assert first is not None
    changes = [
        line("classes", "0 1 3"),
        value("split_feature", 0, "1" if first.group(1) == "0" else "0"),
        value("cat_threshold", 0, "1", SETS),
    ]
    assert len({FORMAT.digest(change(TEXT).encode()) for change in changes} | {digest}) == 4


def test_what_the_library_is_given_is_what_was_read() -> None:
    for model in (MODEL, OF_TWO):
        file = read_file(model)

        assert file.dump() == model
        assert file.inputs == 4


def test_no_range_of_a_feature_and_no_seed_is_in_a_file() -> None:
    assert "feature_infos=none none none none\n" in TEXT
    assert "seed" not in TEXT


def test_the_answers_are_those_of_the_library_itself() -> None:
    """Trained by LightGBM's own class, from a table of pandas with categories."""
    frame = ROWS.select(["age", "income", "member", "city"]).to_pandas()
    frame["member"] = frame["member"].astype("float64")
    frame["city"] = frame["city"].astype("category")
    truth = targets(ROWS, LAYOUT)
    model = lightgbm.LGBMClassifier(
        **LIBRARY.options, n_jobs=1, random_state=0, verbosity=-1, force_row_wise=True
    ).fit(frame, truth)

    found = LIBRARY.fit().predictor().probabilities(ROWS)

    assert np.allclose(found, model.predict_proba(frame), atol=1e-9)


@pytest.mark.parametrize(
    "options",
    [
        {"boosting_type": "dart", "drop_rate": 0.5},
        {"data_sample_strategy": "goss"},
        {"subsample": 0.5, "subsample_freq": 1, "extra_trees": True, "colsample_bytree": 0.5},
        {"learning_rate": 1e-9, "min_child_samples": 80},
    ],
    ids=str,
)
def test_models_of_other_options_are_read_and_made_again(options: dict[str, Any]) -> None:
    estimator = LIBRARY.estimator(**options)
    state = estimator.fit_slice(None, slice_of(200), 7)

    assert estimator.fit_slice(None, slice_of(200), 7) == state
    found = estimator.predictor(state).probabilities(slice_of(200).inputs)
    assert np.allclose(found.sum(axis=1), 1)


def test_columns_without_any_split_give_the_shares_of_the_classes() -> None:
    """The library then writes trees of one leaf, with some of their lines empty."""
    same = replace(TWO, inputs=np.zeros_like(TWO.inputs), categories=())
    estimator = LIBRARY.estimator(**SMALL)

    found = estimator.predictor(estimator.fit_slice(None, same, 3)).probabilities(same.inputs)

    assert np.allclose(found[:, 2], (TWO.targets == 2).mean(), atol=1e-6)
