"""The final model: three rules by hand, and a folder that is whole or refused."""

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from unlearn.stages.aggregate import stage as aggregate_stage
from unlearn.stages.config.params import AggregationRule
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.final_model.combination import (
    Combination,
    combine,
    majority_vote,
    mean,
    size_weighted,
)
from unlearn.stages.final_model.ensemble import Ensemble, load_ensemble
from unlearn.stages.reading.records import read_batches

from tests.conftest import make_frame
from tests.stages.conftest import CLASSES, MLP, make_context, make_params, read_json, run_stages

Floats = npt.NDArray[np.float64]

#: Two rows, three classes, three members.
ANSWERS: list[Floats] = [
    np.array([[0.6, 0.4, 0.0], [0.1, 0.2, 0.7]]),
    np.array([[0.5, 0.5, 0.0], [0.4, 0.3, 0.3]]),
    np.array([[0.0, 0.9, 0.1], [0.2, 0.5, 0.3]]),
]


def test_the_mean_by_hand() -> None:
    expected = [[1.1 / 3, 1.8 / 3, 0.1 / 3], [0.7 / 3, 1.0 / 3, 1.3 / 3]]

    assert np.allclose(mean(ANSWERS), expected, rtol=1e-15)


def test_the_vote_by_hand() -> None:
    # The second member's tie between the first two classes goes to the first.
    expected = [[2 / 3, 1 / 3, 0], [1 / 3, 1 / 3, 1 / 3]]

    assert np.allclose(majority_vote(ANSWERS), expected, rtol=1e-15)
    assert majority_vote(ANSWERS).argmax(axis=1).tolist() == [0, 0], "and so does the ensemble's"


def test_the_weighted_mean_by_hand() -> None:
    # Shards of 10, 30 and 60 rows.
    expected = [
        [0.06 + 0.15, 0.04 + 0.15 + 0.54, 0.06],
        [0.01 + 0.12 + 0.12, 0.02 + 0.09 + 0.3, 0.07 + 0.09 + 0.18],
    ]

    assert np.allclose(size_weighted(ANSWERS, [10, 30, 60]), expected, rtol=1e-14)


probabilities = hnp.arrays(np.float64, (4, 3), elements=st.floats(0.01, 1)).map(
    lambda values: values / values.sum(axis=1, keepdims=True)
)
rules = st.sampled_from(["mean_probability", "majority_vote", "size_weighted"])


@given(st.lists(probabilities, min_size=1, max_size=5), rules, st.data())
def test_every_rule_answers_with_a_distribution(
    answers: list[Floats], rule: AggregationRule, data: st.DataObject
) -> None:
    rows = data.draw(st.lists(st.integers(1, 100), min_size=len(answers), max_size=len(answers)))
    found = combine(rule, answers, rows)

    assert found.shape == (4, 3)
    assert (found >= 0).all()
    assert np.allclose(found.sum(axis=1), 1)
    if len(answers) == 1 and rule != "majority_vote":
        assert np.allclose(found, answers[0], rtol=1e-15)


@given(st.lists(probabilities, min_size=1, max_size=12), rules, st.data())
def test_adding_one_answer_at_a_time_gives_the_same_bytes(
    answers: list[Floats], rule: AggregationRule, data: st.DataObject
) -> None:
    rows = data.draw(st.lists(st.integers(1, 100), min_size=len(answers), max_size=len(answers)))
    together = Combination(rule)
    for answer, count in zip(answers, rows, strict=True):
        together.add(answer, count)

    assert together.result().tobytes() == combine(rule, answers, rows).tobytes()


@given(st.lists(probabilities, min_size=1, max_size=5))
def test_shards_of_one_size_weigh_the_same(answers: list[Floats]) -> None:
    weighted = combine("size_weighted", answers, [7] * len(answers))

    assert np.allclose(weighted, combine("mean_probability", answers, [7] * len(answers)))


@pytest.mark.parametrize("rule", ["mean_probability", "majority_vote", "size_weighted"])
def test_a_loaded_model_combines_its_members_by_its_rule(built: Context, rule: str) -> None:
    params = make_params(rule=rule)
    context = replace(built, params=params)
    aggregate_stage.run(context)
    model = load_ensemble(context.project.final_model)

    rows = pa.Table.from_pandas(make_frame(20, seed=1))
    frame = make_frame(20, seed=1)
    alone = [replace(model, members=(member,), rule="mean_probability") for member in model.members]
    answers = [each.predict_proba(frame) for each in alone]
    expected = combine(model.rule, answers, [member.rows for member in model.members])
    assert model.rule == rule
    assert model.has_probabilities == (rule != "majority_vote")
    assert np.array_equal(model.predict_proba(frame), expected)
    assert np.array_equal(model.predict_proba(rows), expected)
    assert model.predict(frame) == [CLASSES[index] for index in expected.argmax(axis=1)]


def test_members_that_are_not_kept_answer_the_same_while_their_files_stay(shipped: Path) -> None:
    frame = make_frame(20, seed=1)
    model = load_ensemble(shipped, keep=False)

    expected = load_ensemble(shipped).predict_proba(frame)
    assert model.predict_proba(frame).tobytes() == expected.tobytes()

    member = shipped / "members" / model.members[0].shard / "model.json"
    described = json.loads(member.read_text(encoding="utf-8"))
    member.write_text(json.dumps(described | {"rows": 1}), encoding="utf-8")
    with pytest.raises(InputError, match="changed while it was read"):
        model.predict_proba(frame)


@pytest.fixture(scope="session")
def _shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    context = make_context(tmp_path_factory.mktemp("shipped") / "project", make_frame(90))
    run_stages(context)
    return context.project.final_model


@pytest.fixture
def shipped(_shipped: Path, tmp_path: Path) -> Path:
    """Return a copy of a final model, away from its project."""
    return shutil.copytree(_shipped, tmp_path / "shipped")


@pytest.mark.trained
def test_the_folder_alone_is_enough(shipped: Path) -> None:
    model = load_ensemble(str(shipped))

    assert model.classes == CLASSES
    assert len(model.members) == 3
    frame = make_frame(200, seed=2)
    right = sum(
        one == other for one, other in zip(model.predict(frame), frame["label"], strict=True)
    )
    assert right > 100, "a third would be chance"


def test_a_table_of_any_origin_gets_the_same_answers(shipped: Path, tmp_path: Path) -> None:
    frame = make_frame(50, seed=4)
    frame.to_csv(tmp_path / "a.csv", index=False)
    model = load_ensemble(shipped)
    (as_text,) = read_batches(tmp_path / "a.csv", "a.csv")
    no_label = frame.drop(columns=["label", "id"])[["city", "member", "income", "age"]]
    by_pandas = pd.read_csv(tmp_path / "a.csv", converters={"age": float})
    odd_index = frame.set_index(pd.Index(range(100, 150), name="age2"))

    expected = model.predict_proba(as_text)
    for other in (frame, by_pandas, no_label, odd_index, frame.convert_dtypes()):
        assert np.array_equal(model.predict_proba(other), expected)
    assert model.predict_proba(frame[:0]).shape == (0, 3)
    assert model.predict(frame[:0]) == []


def test_a_category_that_was_never_seen_is_no_error(shipped: Path) -> None:
    frame = make_frame(5).assign(city="Atlantis", income=None)

    with pytest.warns(UserWarning, match="'city': 5 rows have a category that the model does not"):
        assert np.isfinite(load_ensemble(shipped).predict_proba(frame)).all()


def test_a_value_of_another_kind_is_named_by_its_row(shipped: Path) -> None:
    frame = make_frame(5).astype({"age": object})
    frame.loc[3, "age"] = "jane.roe"
    model = load_ensemble(shipped)

    with pytest.raises(InputError, match=r"'age' is numeric.*\(data row 4\)") as caught:
        model.predict(frame.astype(str))
    assert "jane" not in caught.value.message
    with pytest.raises(InputError, match="the input has no column 'city'"):
        model.predict(make_frame(5).drop(columns="city"))


def change_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    value = read_json(path)
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")


def swap(folder: Path) -> None:
    one, other = folder / "members/s000/model.skops", folder / "members/s001/model.skops"
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


CHANGES: dict[str, Callable[[Path], object]] = {
    "weights of another member": swap,
    "weights cut": lambda folder: (folder / "members/s000/model.skops").write_bytes(b"PK"),
    "weights gone": lambda folder: (folder / "members/s000/model.skops").unlink(),
    "weights a pickle": lambda folder: (folder / "members/s000/model.skops").write_bytes(
        pickle.dumps([1])
    ),
    "settings": lambda folder: change_json(
        folder / "members/s000/model.json", lambda value: value.update(rows=1)
    ),
    "preprocessing": lambda folder: change_json(
        folder / "members/s000/model.json",
        lambda value: value["preprocessing"][0][1].update(mean=5.0),
    ),
    "a file of another kind": lambda folder: change_json(
        folder / "members/s000/model.json", lambda value: value.update(file="model.pkl")
    ),
    "a file outside": lambda folder: change_json(
        folder / "members/s000/model.json", lambda value: value.update(file="../s001/model.skops")
    ),
    "settings no JSON": lambda folder: (folder / "members/s000/model.json").write_bytes(b"{"),
    "settings a list": lambda folder: (folder / "members/s000/model.json").write_bytes(b"[]"),
    "member gone": lambda folder: shutil.rmtree(folder / "members/s000"),
    "digest": lambda folder: change_json(
        folder / "ensemble.json", lambda value: value["members"][0].update(digest="0" * 64)
    ),
    "no digest": lambda folder: change_json(
        folder / "ensemble.json", lambda value: value["members"][0].pop("digest")
    ),
    "members no list": lambda folder: change_json(
        folder / "ensemble.json", lambda value: value.update(members={})
    ),
    "members no entries": lambda folder: change_json(
        folder / "ensemble.json", lambda value: value.update(members=[3])
    ),
    "rows no number": lambda folder: change_json(
        folder / "ensemble.json", lambda value: value["members"][0].update(rows="many")
    ),
    "no dataset": lambda folder: change_json(
        folder / "ensemble.json", lambda value: value.pop("dataset")
    ),
    "dataset no section": lambda folder: change_json(
        folder / "ensemble.json", lambda value: value["dataset"].update(classes=3)
    ),
    "classes in another order": lambda folder: change_json(
        folder / "ensemble.json", lambda value: value["dataset"]["classes"].reverse()
    ),
    "features of other kinds": lambda folder: change_json(
        folder / "ensemble.json", lambda value: value["dataset"]["features"].update(city="numeric")
    ),
    "no rule": lambda folder: change_json(
        folder / "ensemble.json", lambda value: value.pop("rule")
    ),
    "an unknown rule": lambda folder: change_json(
        folder / "ensemble.json", lambda value: value.update(rule="the best")
    ),
    "code no entry": lambda folder: change_json(
        folder / "ensemble.json", lambda value: value.update(code=3)
    ),
    "ensemble no JSON": lambda folder: (folder / "ensemble.json").write_bytes(b"{"),
    "ensemble no text": lambda folder: (folder / "ensemble.json").write_bytes(b"\xff"),
    "ensemble a list": lambda folder: (folder / "ensemble.json").write_bytes(b"[]"),
    "ensemble gone": lambda folder: (folder / "ensemble.json").unlink(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_folder_is_refused(shipped: Path, change: Callable[[Path], object]) -> None:
    change(shipped)

    with pytest.raises(InputError) as caught:
        load_ensemble(shipped)
    assert "\n" not in caught.value.message


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no final model in nothing"):
        load_ensemble(tmp_path / "nothing")


def test_an_ensemble_without_members_has_no_answer(shipped: Path) -> None:
    empty = replace(load_ensemble(shipped), members=())

    with pytest.raises(InputError, match="every shard lost all its rows"):
        empty.predict(make_frame(3))


NET = """
import pathlib
import torch

pathlib.Path(__file__).with_name("was-run").touch()

def build(inputs, classes):
    return torch.nn.Linear(inputs, classes)
"""


@pytest.fixture(scope="session")
def code_context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    root = tmp_path_factory.mktemp("code") / "project"
    params = make_params(train=MLP | {"model": "net.py:build", "options": {}, "epochs": 1})
    context = make_context(root, make_frame(90), params)
    (root / "net.py").write_text(NET, encoding="utf-8")
    run_stages(context)
    return context


@pytest.fixture
def with_code(code_context: Context, tmp_path: Path) -> Path:
    """Return a copy of a final model that carries a user's module."""
    return shutil.copytree(code_context.project.final_model, tmp_path / "shipped")


def test_code_in_a_model_is_not_run_without_leave(with_code: Path) -> None:
    with pytest.raises(InputError, match="contains Python code") as caught:
        load_ensemble(with_code)

    assert any("--trust-code" in hint for hint in caught.value.hints)
    assert not (with_code / "was-run").exists()


def test_code_in_a_model_is_run_where_it_is_trusted(with_code: Path) -> None:
    model = load_ensemble(with_code, trust_code=True)

    assert (with_code / "was-run").exists()
    assert model.predict_proba(make_frame(4)).shape == (4, 3)


def test_code_that_is_ones_own_needs_no_leave(with_code: Path, code_context: Context) -> None:
    own = code_context.project.root / "net.py"

    assert load_ensemble(with_code, own_code=own).members
    other = with_code.parent / "net.py"
    other.write_text(NET + "\n", encoding="utf-8")
    with pytest.raises(InputError, match="contains Python code"):
        load_ensemble(with_code, own_code=other)
    with pytest.raises(InputError, match="contains Python code"):
        load_ensemble(with_code, own_code=with_code.parent / "missing.py")


@pytest.mark.parametrize("change", ["edited", "gone", "another path"])
def test_code_that_was_changed_is_refused_even_where_it_is_trusted(
    with_code: Path, change: str
) -> None:
    if change == "edited":
        (with_code / "net.py").write_text("raise SystemExit", encoding="utf-8")
    elif change == "gone":
        (with_code / "net.py").unlink()
    else:
        (with_code.parent / "evil.py").write_text("raise SystemExit", encoding="utf-8")
        change_json(
            with_code / "ensemble.json", lambda value: value["code"].update(name="../evil.py")
        )

    with pytest.raises(
        InputError, match="was changed after it was made|is not readable as a final model"
    ):
        load_ensemble(with_code, trust_code=True)


def test_members_stand_in_the_order_of_the_shards(shipped: Path) -> None:
    model: Ensemble = load_ensemble(shipped)

    assert [member.shard for member in model.members] == ["s000", "s001", "s002"]
    assert [path.name for path in sorted((shipped / "members").iterdir())] == [
        "s000",
        "s001",
        "s002",
    ]
