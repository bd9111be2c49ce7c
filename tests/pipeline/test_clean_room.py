"""The promise: after any requests, every model is what training without those rows gives."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from unlearn.cli.init.files.pipeline import render_pipeline

from tests.conftest import Repo, clean_room, fresh_models, make_frame, make_project
from tests.pipeline.conftest import FORGOTTEN, KEY, SGD, ids_at
from tests.stages.estimators.own_models import PIPELINE


def test_two_requests_leave_the_bytes_of_a_clean_room_with_torch(
    forgotten: Repo, workspace: Path
) -> None:
    # Of a shard that was trained again already, and of one that was not; one is known already.
    second = ["r0020", "r0002", *ids_at(forgotten, "s000", range(3, 4))[:2]]
    forgotten.forget(second)
    forgotten.dvc("repro", "--quiet")

    room = clean_room(forgotten, workspace / "room", [*FORGOTTEN, *second])
    room.dvc("repro", "--quiet", "aggregate")

    made = forgotten.files("models")
    assert made == room.files("models")
    assert sum("/checkpoints/" in name for name in made) == 4 * 4


@pytest.mark.slow
def test_two_requests_leave_the_bytes_of_a_clean_room_with_scikit_learn(
    workspace: Path,
) -> None:
    options = ("--shards", "2", "--slices", "3")
    sgd = make_project(workspace / "sgd", make_frame(100), *options, train=SGD, key=KEY)
    sgd.dvc("repro", "--quiet", "train")
    first = ids_at(sgd, "s000", range(2, 3))[:2]
    second = [*ids_at(sgd, "s000", range(3, 4))[:1], *ids_at(sgd, "s001", range(1, 2))[:1]]
    sgd.forget(first)
    sgd.dvc("repro", "--quiet", "train")
    sgd.forget(second)
    sgd.ok("repro", "-j", "1")

    room = clean_room(sgd, workspace / "room", [*first, *second])
    room.dvc("repro", "--quiet", "aggregate")

    made = sgd.files("models")
    assert made == room.files("models")
    assert sum("/checkpoints/" in name for name in made) == 2 * 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "task"),
    [
        ("exact_forest", "classification"),
        ("exact_linear", "classification"),
        ("exact_naive_bayes", "classification"),
        ("exact_boosting", "regression"),
        ("exact_linear", "regression"),
    ],
)
def test_two_requests_leave_the_bytes_of_a_clean_room_with_a_changed_model(
    model: str, task: str, workspace: Path
) -> None:
    has_trees = model in {"exact_forest", "exact_boosting"}
    frame = make_frame(300, subjects=200)
    if task == "regression":
        frame["label"] = (frame["age"] * 3_000 + (frame["city"] == "Rome") * 2_000).round(2)
    options = ("--model", model, "--task", task)
    project = make_project(workspace / "project", frame, *options, key=KEY)
    project.ok("repro", "-j", "1")
    inside = ids_at(project, "s000")
    person = next(iter(frame.loc[frame["id"].isin(inside), "person"]))
    one = next(raw for raw in inside if frame.set_index("id").loc[raw, "person"] != person)

    project.ok("forget", "--subjects", "-", stdin=person)
    plan = project.ok("plan", "--json").json
    assert plan["changed"] == ["s000"]
    # Sums change by the rows that go. Trees also read the rows of new subtrees.
    gone = (frame["person"] == person).sum()
    assert plan["rows_to_retrain"] == gone or (has_trees and plan["rows_to_retrain"] < len(frame))
    first = project.ok("repro", "-j", "1", "--json")
    assert first.json["rows_trained"] == plan["rows_to_retrain"]
    project.forget([one])
    second = project.ok("repro", "-j", "1")

    assert "changed by" in first.err
    assert "changed by 1 row" in second.err
    room = workspace / "room"
    assert project.files("models") == fresh_models(project, room, [one], [person])
    again = "5 of 5 refitted trees" if has_trees else "1 of 1 retrained shards"
    assert f"exactness: {again} matched, lineage clean" in project.ok("verify").out
    assert project.report()["verdict"] == "pass"


@pytest.mark.slow
def test_two_requests_leave_the_bytes_of_a_clean_room_with_a_pipeline_of_ones_own(
    workspace: Path,
) -> None:
    train = {"model": "sklearn:model.py:build", "raw": True, "options": {"features": 2}}
    project = make_project(
        workspace / "own", make_frame(120, subjects=80), "--shards", "2", train=train, key=KEY
    )
    (project.root / "model.py").write_text(PIPELINE, encoding="utf-8")
    (project.root / "dvc.yaml").write_bytes(render_pipeline(made_with="model.py"))
    project.ok("repro", "-j", "1")
    first = ids_at(project, "s000")[:2]
    second = [*ids_at(project, "s000")[4:5], *ids_at(project, "s001")[:1]]
    project.forget(first)
    project.dvc("repro", "--quiet", "train")
    project.forget(second)
    project.ok("repro", "-j", "1")

    room = clean_room(project, workspace / "room", [*first, *second])
    room.dvc("repro", "--quiet", "aggregate")

    made = project.files("models")
    assert made == room.files("models")
    assert "final_model/model.py" in made
    assert project.ok("verify", "--json").json["verdict"] == "pass"


@pytest.mark.slow
@pytest.mark.parametrize("model", ["mlp", "exact_forest", "exact_linear"])
def test_two_requests_leave_the_bytes_of_a_clean_room_with_features_of_all_kinds(
    model: str, workspace: Path
) -> None:
    frame = make_frame(240)
    draw = np.random.default_rng(2)
    frame["visit"] = [f"2024-{n % 12 + 1:02d}-{n % 28 + 1:02d}" for n in range(len(frame))]
    frame["size"] = draw.choice(["small", "medium", "large", ""], len(frame))
    frame["counts"] = draw.exponential(size=len(frame)).round(3)
    frame["note"] = [f"{a} pain, {b}" for a, b in draw.choice(["knee", "hip", "no"], (240, 2))]
    kinds = ("visit=calendar", "size=ordinal:small,medium,large", "note=hashed_text:8")
    options = [part for kind in kinds for part in ("--kind", kind)]
    if model == "mlp":
        options += ["--shards", "2", "--slices", "2", "--weight", "counts"]
    project = make_project(workspace / "project", frame, "--model", model, *options, key=KEY)
    project.ok("repro", "-j", "1")
    first, second = ids_at(project, "s000")[:2], ids_at(project, "s000")[-2:]
    project.forget(first)
    project.ok("repro", "-j", "1")
    project.forget(second)
    project.ok("repro", "-j", "1")

    room = workspace / "room"
    assert project.files("models") == fresh_models(project, room, [*first, *second])
    assert project.ok("verify", "--json").json["verdict"] == "pass"
    # The final model's folder is all that it takes to read new rows.
    frame.drop(columns=["label", *(["counts"] if model == "mlp" else [])]).to_csv(
        workspace / "new.csv", index=False
    )
    frame.assign(size="huge").to_csv(workspace / "odd.csv", index=False)
    output = workspace / "answers.csv"
    odd = project.unlearn("predict", "--input", str(workspace / "odd.csv"), "--output", str(output))
    assert odd.code == 2
    assert "column 'size' is ordinal: a value is not listed under categories" in odd.err
    assert not output.exists()
    project.ok("predict", "--input", str(workspace / "new.csv"), "--output", str(output))
    assert len(pd.read_csv(output)) == len(frame)


@pytest.mark.slow
def test_persons_and_records_of_persons_leave_the_bytes_of_a_clean_room(
    people: Repo, workspace: Path
) -> None:
    persons = ["zqman-003", "zqman-011"]
    people.ok("forget", "--subjects", "-", stdin="\n".join(persons))
    people.dvc("repro", "--quiet", "train")
    rest = [raw for raw in ids_at(people, "s001") if raw.endswith(("1", "4"))]
    people.forget(rest)
    people.ok("repro", "-j", "1")

    assert len(rest) > 2
    assert people.files("models") == fresh_models(people, workspace / "room", rest, persons)
    assert people.ok("verify", "--json").json["verdict"] == "pass"
