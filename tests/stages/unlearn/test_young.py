"""A fresh model for few epochs: what it is, what it never reads, and the target it gives guards."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from unlearn.cli.init.files.pipeline import render_pipeline
from unlearn.cli.init.request.choices import Template
from unlearn.stages.aggregate import stage as aggregate_stage
from unlearn.stages.context import Context, check_params
from unlearn.stages.errors import InputError
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.training.method_record import (
    WHOLE,
    Record,
    is_genuine,
    other_models,
    read_record,
    read_young,
)
from unlearn.stages.training.shard_model import ShardModel, read_shard_model
from unlearn.stages.unlearn import stage
from unlearn.stages.unlearn.stage import TRAINED
from unlearn.stages.unlearn.tabular.apply import make_problem
from unlearn.stages.unlearn.tabular.bridge import open_model
from unlearn.stages.unlearn.tabular.problem import TabularProblem

from tests.conftest import make_frame
from tests.stages.conftest import KEY, make_context, put_on_list, token_of
from tests.stages.posthoc import (
    TRAIN,
    changed_params,
    copied,
    files_in,
    made,
    posthoc_params,
    tokens_of,
    train_original,
)

FRAME = make_frame(90)
YOUNG = "young"
LINEAR = {"model": "sklearn.linear_model.LogisticRegression", "options": {"max_iter": 500}}


def young_params(*methods: str, **more: Any) -> Any:
    return posthoc_params(*(methods or ("retrain", "gradient_ascent")), young=True, **more)


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Context:
    context = make_context(tmp_path_factory.mktemp("young") / "p", FRAME, young_params())
    train_original(context)
    put_on_list(context, *tokens_of(context)[:10])
    forget_stage.run(context)
    return context


@pytest.fixture
def project(original: Context, tmp_path: Path) -> Context:
    """Return a project with a list of ten rows, applied, and no method run."""
    return copied(original, tmp_path / "project")


def record_of(context: Context, method: str) -> Record:
    folder = context.project.unlearned / method
    found = read_record(folder, method)
    assert is_genuine(KEY, folder, found)
    return found


def never_held(context: Context) -> pd.DataFrame:
    """Return the dataset without the listed rows."""
    listed = context.read_list().tokens
    names = FRAME["id"].astype(str)
    return FRAME[[token_of(name) not in listed for name in names]].reset_index(drop=True)


def problem_of(context: Context, young: ShardModel | None) -> TabularProblem:
    posthoc = context.posthoc()
    original = read_shard_model(posthoc.project.original, "original")
    seed = posthoc.key.seed(posthoc.params.seed, WHOLE, "init")
    opened = open_model(original, None, init_seed=seed)
    return make_problem(posthoc, "gradient_ascent", opened, stage.read_rows(posthoc), young)


def test_it_is_exact_and_costs_a_fifth(project: Context) -> None:
    done = stage.run_young(project)
    record = record_of(project, YOUNG)

    assert (record.label, record.stopped_by) == ("exact", TRAINED)
    assert record.passes == {"forget": 0.0, "retain": 3.0}
    assert done.seconds is not None
    assert (done.forgotten, done.retained) == (0, len(tokens_of(project)) - 10)
    assert stage.run_young(project).seconds is None, "finished work is left alone"
    assert other_models(project) == []


def test_it_is_what_training_makes_of_the_retained_rows_in_fewer_epochs(
    project: Context, tmp_path: Path
) -> None:
    """To the byte: the original of a project that never held the rows, with `train.epochs: 3`."""
    params = young_params(train=TRAIN | {"epochs": 3})
    room = make_context(tmp_path / "room", never_held(project), params)
    train_original(room)
    stage.run_young(project)
    expected, young = files_in(room.project.original), made(project, YOUNG)

    for name in ("model.safetensors", "model.json"):
        assert young[name] == expected[name]


@pytest.mark.slow
@settings(max_examples=5, deadline=None)
@given(chosen=st.sets(st.integers(0, 62), min_size=1, max_size=50))
def test_young_and_retrain_are_those_of_a_project_that_never_held_the_rows(
    tmp_path_factory: pytest.TempPathFactory, original: Context, chosen: set[int]
) -> None:
    root = tmp_path_factory.mktemp("law")
    context = copied(original, root / "project")
    context.project.forget_list.write_bytes(b"")
    tokens = tokens_of(context)
    put_on_list(context, *(tokens[number] for number in chosen if number < len(tokens)))
    forget_stage.run(context)
    room = make_context(root / "room", never_held(context), context.params)
    train_original(room)
    forget_stage.run(room)
    for one in (context, room):
        stage.run_young(one)
        stage.run(one, "retrain")

    for name in (YOUNG, "retrain"):
        assert made(context, name) == made(room, name)
    assert (
        made(context, YOUNG)["model.safetensors"] != made(context, "retrain")["model.safetensors"]
    )


def test_it_reads_neither_forgotten_rows_nor_the_original(project: Context) -> None:
    """Whatever is in their place, and where nothing is."""
    stage.run_young(project)
    expected = made(project, YOUNG)
    places = project.project
    others = [
        places.forget_file(WHOLE),
        places.forget_set / "holdout.parquet",
        places.retain_set / "holdout.parquet",
        *(path for path in places.shards.iterdir() if path.is_file()),
        *(path for path in places.original.iterdir() if path.is_file()),
        places.forget_list,
    ]
    for content in (b"not a table", None):
        shutil.rmtree(places.unlearned)
        for path in others:
            if content is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(content)
        assert stage.run_young(project).seconds is not None
        assert made(project, YOUNG) == expected


def test_it_is_a_stage_of_its_own_that_depends_on_no_forgotten_row() -> None:
    stages = yaml.safe_load(render_pipeline(Template.POSTHOC))["stages"]

    assert stages[YOUNG] == {
        "cmd": "unlearn stage young",
        "deps": ["data/recipe.json", "data/retain_set/s000.parquet"],
        "outs": [{"models/unlearned/young": {"persist": True}}],
    }
    assert "models/unlearned/young" in stages["unlearn"]["deps"]
    assert stages["unlearn"]["matrix"] == {"method": "${unlearn.methods}"}
    without = yaml.safe_load(render_pipeline(Template.POSTHOC, young=False))["stages"]
    assert YOUNG not in without
    assert "models/unlearned/young" not in without["unlearn"]["deps"]


@pytest.mark.parametrize(("epochs", "expected"), [(1, 1), (4, 1), (9, 1), (10, 2), (26, 5)])
def test_it_gets_a_fifth_of_the_epochs_and_at_least_one(
    project: Context, epochs: int, expected: int
) -> None:
    context = changed_params(project, "train", epochs=epochs)
    done = stage.run_young(context)

    assert done.record.passes["retain"] == expected
    described = json.loads(made(context, YOUNG)["model.json"])
    assert described["train"]["epochs"] == expected


def test_a_model_that_counts_no_epochs_has_no_young_one(tmp_path: Path) -> None:
    """Guards then stop at the loss of unseen rows, and the record says so."""
    context = make_context(tmp_path / "linear", FRAME, young_params(train=LINEAR))
    train_original(context)
    put_on_list(context, *tokens_of(context)[:8])
    forget_stage.run(context)
    record = stage.run_young(context).record
    stage.run(context, "gradient_ascent")

    assert record.why_not is not None
    assert "no epochs" in record.why_not
    assert list(made(context, YOUNG)) == ["record.json"]
    assert read_young(context) is None
    assert record_of(context, "gradient_ascent").why_not is None
    assert record_of(context, "gradient_ascent").stopped_by != "young_target"


def test_without_any_row_there_is_none(project: Context) -> None:
    put_on_list(project, *tokens_of(project))
    forget_stage.run(project)

    assert stage.run_young(project).record.why_not is not None


def test_its_loss_on_the_forgotten_rows_is_the_target(project: Context) -> None:
    stage.run_young(project)
    young = read_young(project)
    assert young is not None
    problem = problem_of(project, young)
    opened = open_model(young, None, init_seed=0)
    rows = opened.rows(stage.read_rows(project).forget)
    with torch.no_grad():
        outputs = opened.module(rows.inputs).double()
    expected = float(nn.functional.cross_entropy(outputs, rows.targets))
    by_class = problem_of(project, None).guard

    assert problem.guard.target == pytest.approx(expected, abs=1e-12)
    assert by_class.target != problem.guard.target
    # Far enough for the first step to reach the target, whichever it is.
    for guard, reason in ((problem.guard, "young_target"), (by_class, "forget_target")):
        guard.target = -1.0
        guard.watch(problem.model)
        assert guard.stopped_by == reason


def test_the_target_of_the_class_stays_as_it_was(project: Context) -> None:
    """With it, a method makes what it makes in a project without the stage, record included."""
    by_class = changed_params(project, "unlearn", guard={"target": "class"})
    stage.run_young(by_class)
    stage.run(by_class, "gradient_ascent")
    chosen = made(by_class, "gradient_ascent")
    stage.run(project, "gradient_ascent")
    by_young = made(project, "gradient_ascent")
    before = changed_params(project, "unlearn", young=False)
    shutil.rmtree(project.project.unlearned)
    stage.run(before, "gradient_ascent")

    assert made(before, "gradient_ascent") == chosen
    assert by_young != chosen


def test_a_method_that_reads_its_loss_needs_it_as_it_was_made(project: Context) -> None:
    with pytest.raises(InputError, match="models/unlearned/young is missing"):
        stage.run(project, "gradient_ascent")
    stage.run_young(project)
    stage.run(project, "gradient_ascent")
    weights = project.project.unlearned / YOUNG / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-2] ^= 1
    weights.write_bytes(content)

    with pytest.raises(InputError, match="models/unlearned/young is not what its record says"):
        stage.run(project, "gradient_ascent")


def test_it_can_be_deployed(project: Context) -> None:
    context = changed_params(project, "unlearn", deploy=YOUNG)
    stage.run_young(context)
    aggregate_stage.run(context)

    weights = made(context, YOUNG)["model.safetensors"]
    assert weights in files_in(context.project.final_model).values()


@pytest.mark.parametrize(
    ("unlearn", "message"),
    [
        ({"methods": ["retrain", "young"], "deploy": "retrain"}, "young is a stage of its own"),
        ({"methods": ["retrain"], "deploy": "young"}, "deploy: young needs `young: true`"),
        (
            {"methods": ["retrain"], "deploy": "retrain", "guard": {"target": "young"}},
            "guard.target: young needs `young: true`",
        ),
    ],
)
def test_settings_that_contradict_each_other(
    project: Context, unlearn: dict[str, Any], message: str
) -> None:
    raw = project.params.model_dump(mode="json")
    raw["unlearn"] = unlearn

    with pytest.raises(InputError, match=message):
        check_params(raw)


def test_without_the_setting_there_is_no_stage(project: Context) -> None:
    context = changed_params(project, "unlearn", young=False)

    with pytest.raises(InputError, match=r"unlearn\.young is false"):
        stage.run_young(context)
    stage.run_young(project)
    assert other_models(context) == [
        "young/lineage.json",
        "young/model.json",
        *sorted(["young/model.safetensors", "young/record.json"]),
    ]
