"""The stage `young` on a language model: the base, tuned on the retained rows for few epochs."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from unlearn.cli.examples.authors import jsonl, make_authors
from unlearn.stages.context import Context, check_params
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import Project
from unlearn.stages.recipe import stage as recipe_stage
from unlearn.stages.rows.shard_file import record_tokens
from unlearn.stages.shard import stage as shard_stage
from unlearn.stages.train import stage as train_stage
from unlearn.stages.training.method_record import WHOLE, is_genuine, read_record
from unlearn.stages.training.shard_model import read_shard_model
from unlearn.stages.unlearn import stage
from unlearn.stages.unlearn.stage import TRAINED

from tests.stages.conftest import KEY, token_of
from tests.stages.posthoc import files_in, made
from tests.stages.unlearn.text.projects import (
    AUTHORS,
    changed,
    forget_authors,
    guarded,
    mean_loss,
    opened,
    read_model,
    record_of,
)

pytestmark = pytest.mark.slow

YOUNG = "young"
WEIGHTS = ("adapter_model.safetensors", "model.json")


def with_young(context: Context, target: str = "young") -> Context:
    """Return the project with the stage, and with its loss as the target of guards."""
    raw = context.params.model_dump(mode="json")
    raw["unlearn"] |= {"young": True}
    return guarded(replace(context, params=check_params(raw)), target=target)


def never_held(context: Context, root: Path) -> Context:
    """Return a project whose dataset has none of the forgotten rows, and has trained on it."""
    room = replace(context, project=Project(root))
    (root / "data").mkdir(parents=True)
    listed = {*record_tokens(stage.read_rows(context).forget)}
    lines = jsonl(make_authors(AUTHORS, 1)).splitlines(keepends=True)
    kept = [line for line in lines if token_of(json.loads(line)["id"]) not in listed]
    assert len(kept) == len(lines) - len(listed)
    (root / "data/dataset.jsonl").write_bytes(b"".join(kept))
    shutil.copy(context.project.root / "data/generic.jsonl", root / "data/generic.jsonl")
    room.project.forget_list.write_bytes(b"")
    recipe_stage.run(room)
    shard_stage.run(room)
    train_stage.run_whole(room)
    return room


def test_it_is_the_base_tuned_on_the_retained_rows_for_a_fifth_of_the_epochs(
    project: Context, tmp_path: Path
) -> None:
    """To the byte: the original of a project that never held the rows, with fewer epochs."""
    context = with_young(project)
    done = stage.run_young(context)
    epochs = max(1, project.params.train.epochs // 5)
    record = read_record(project.project.unlearned / YOUNG, YOUNG)

    assert is_genuine(KEY, project.project.unlearned / YOUNG, record)
    assert (record.label, record.stopped_by) == ("exact", TRAINED)
    assert record.passes == {"forget": 0.0, "retain": float(epochs)}
    assert done.seconds is not None
    assert stage.run_young(context).seconds is None, "finished work is left alone"
    room = never_held(changed(context, train={"epochs": epochs}), tmp_path / "room")
    expected, young = files_in(room.project.original), made(context, YOUNG)
    for name in WEIGHTS:
        assert young[name] == expected[name]


def test_its_bytes_do_not_depend_on_the_forgotten_rows_or_the_original(project: Context) -> None:
    """Whatever is in their place, and where nothing is."""
    context = with_young(changed(project, train={"epochs": 5}))
    stage.run_young(context)
    expected = made(context, YOUNG)
    places = context.project
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
        assert stage.run_young(context).seconds is not None
        assert made(context, YOUNG) == expected


@pytest.mark.trained
def test_its_loss_on_the_forgotten_rows_is_where_a_method_stops(project: Context) -> None:
    context = with_young(project)
    with pytest.raises(InputError, match="models/unlearned/young is missing"):
        stage.run(context, "npo")
    stage.run_young(context)
    rows = stage.read_rows(context)
    original = opened(context, read_shard_model(context.project.original, "original"))
    of_young = mean_loss(opened(context, read_model(context, YOUNG)), rows.forget)
    stage.run(context, "npo")
    facts = record_of(context, "npo")["facts"]

    # Tuning began: the base alone is worse. The original knows these rows, and `young` does not.
    assert mean_loss(original, rows.forget) < of_young < math.log(2000)
    assert facts["target"] == pytest.approx(of_young, rel=1e-3)


def test_with_no_rows_left_there_is_none(project: Context) -> None:
    forget_authors(project, 99)
    record = stage.run_young(with_young(project)).record

    assert "no row is left to keep" in str(record.why_not)
    assert list(made(project, YOUNG)) == ["record.json"]
