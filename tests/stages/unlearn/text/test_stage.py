"""What one method makes of a tuned language model, in its folder."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.rows.shard_file import record_tokens, subject_tokens
from unlearn.stages.training.method_record import is_genuine, read_record
from unlearn.stages.training.shard_model import read_shard_model
from unlearn.stages.unlearn import stage
from unlearn.stages.unlearn.stage import NOTHING, TRAINED

from tests.stages.conftest import KEY
from tests.stages.posthoc import copied, files_in, made
from tests.stages.unlearn.text.projects import (
    TEXT_METHODS,
    changed,
    forget_authors,
    guarded,
    mean_loss,
    opened,
    read_model,
    record_of,
)

ALL = ("retrain", *TEXT_METHODS)


@pytest.mark.slow
@pytest.mark.trained
def test_every_method_makes_a_model_that_can_be_deployed(project: Context) -> None:
    project = changed(project, epochs=3)
    rows = stage.read_rows(project)
    original = read_shard_model(project.project.original, "original")
    weights = set()
    for name in ALL:
        done = stage.run(project, name)
        folder = project.project.unlearned / name
        model = read_model(project, name)
        assert is_genuine(KEY, folder, read_record(folder, name)), name
        assert done.record.why_not is None
        assert done.record.label == ("exact" if name == "retrain" else "approximate")
        assert (done.forgotten, done.retained) == (10, rows.retain.num_rows)
        assert model.kind == "lora"
        assert model.description["rows"] == rows.retain.num_rows
        assert (model.description["adapter"]["rank"] == 16 + 8) == (name != "retrain")
        assert mean_loss(opened(project, model), rows.retain) < 1
        weights.add(model.weights)

    assert len(weights) == len(ALL)
    assert original.weights not in weights


@pytest.mark.slow
@pytest.mark.trained
def test_npo_lies_between_the_original_and_retraining(project: Context) -> None:
    context = guarded(changed(project, rate=2e-3, epochs=30), budget=0.05)
    for name in ("retrain", "npo"):
        stage.run(context, name)
    rows = stage.read_rows(context)
    original = opened(context, read_shard_model(context.project.original, "original"))
    npo, retrained = (opened(context, read_model(context, name)) for name in ("npo", "retrain"))
    of_forget = [mean_loss(model, rows.forget) for model in (original, npo, retrained)]
    of_retain = [mean_loss(model, rows.retain) for model in (original, npo)]

    assert of_forget[0] < 0.3
    # 7 seeds: 0.01 of the retrained model's loss before, 0.9 to 3 times after.
    assert of_forget[1] > 0.4 * of_forget[2]
    # The budget is kept on the probes, which are a sample of these rows: 0.02 to 0.05.
    assert of_retain[1] < of_retain[0] + 0.1
    facts = record_of(context, "npo")["facts"]
    assert facts["collapsed"] is False
    assert facts["forget_loss"] == pytest.approx(of_forget[1], rel=1e-3)


def test_the_record_says_how_it_came_about(project: Context) -> None:
    done = stage.run(project, "npo")
    found = record_of(project, "npo")
    facts = found["facts"]

    assert found["passes"]["forget"] == 1 + facts["epochs"]
    assert found["stopped_by"] in ("epochs", "forget_target", "retain_budget", "perplexity")
    assert set(facts) == {
        "collapsed",
        "past_limit",
        "target",
        "forget_loss",
        "forget_loss_before",
        "retain_probability",
        "retain_probability_before",
        "perplexity_ratio",
        "repetition",
        "steps",
        "paused",
        "epochs",
    }
    assert done.record.facts == facts


@pytest.mark.slow
def test_finished_work_is_left_alone(project: Context) -> None:
    first = stage.run(project, "npo")
    before = made(project, "npo")
    again = stage.run(project, "npo")

    assert first.seconds is not None
    assert again.seconds is None
    assert again.record == first.record
    shutil.rmtree(project.project.unlearned)
    assert stage.run(project, "npo").seconds is not None
    assert made(project, "npo") == before


QUICK_METHODS = ("npo", "finetune")


@pytest.fixture(scope="module")
def _worked(lora: Context, tmp_path_factory: pytest.TempPathFactory) -> Context:
    context = changed(copied(lora, tmp_path_factory.mktemp("worked") / "p"), epochs=1)
    for name in QUICK_METHODS:
        stage.run(context, name)
    return context


@pytest.fixture
def worked(_worked: Context, tmp_path: Path) -> Context:
    """Return a project in which two methods ran, of one epoch each, for the test to change."""
    return copied(_worked, tmp_path / "worked")


def generic_text(context: Context) -> Context:
    path = context.project.root / "data/generic.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    return context


CHANGES: dict[str, tuple[Any, set[str]]] = {
    "nothing": (lambda c: c, set()),
    "a setting of npo": (lambda c: changed(c, npo={"beta": 0.2}), {"npo"}),
    "a setting of another method": (lambda c: changed(c, simnpo={"beta": 3.0}), set()),
    "the rate": (lambda c: changed(c, rate=2e-3), {"npo", "finetune"}),
    "the adapter": (lambda c: changed(c, adapter={"rank": 4}), {"npo", "finetune"}),
    "the guard": (lambda c: guarded(c, budget=0.5), {"npo", "finetune"}),
    "the generic text": (generic_text, {"npo", "finetune"}),
}


@pytest.mark.slow
@pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=CHANGES)
def test_what_is_other_work(worked: Context, change: Any, expected: set[str]) -> None:
    other = change(worked)

    ran = {name for name in QUICK_METHODS if stage.run(other, name).seconds is not None}
    assert ran == expected


@pytest.mark.slow
def test_retraining_reads_no_settings_of_other_methods(project: Context) -> None:
    assert stage.run(project, "retrain").record.stopped_by == TRAINED
    generic_text(project)
    other = guarded(changed(project, rate=2e-3, epochs=1), budget=0.5)

    assert stage.run(other, "retrain").seconds is None


def test_generic_text_that_is_missing(project: Context) -> None:
    (project.project.root / "data/generic.jsonl").unlink()
    with pytest.raises(InputError, match="data/generic.jsonl does not exist"):
        stage.run(project, "npo")


def test_without_generic_text_the_brake_is_off(project: Context) -> None:
    stage.run(changed(project, generic=None, epochs=1), "npo")

    assert record_of(project, "npo")["facts"]["perplexity_ratio"] is None


def test_nothing_to_forget_leaves_the_original(project: Context) -> None:
    project.project.forget_list.write_bytes(b"")
    forget_stage.run(project)
    done = stage.run(project, "npo")
    original = files_in(project.project.original)

    assert done.record.stopped_by == NOTHING
    for file in ("adapter_model.safetensors", "model.json"):
        assert made(project, "npo")[file] == original[file]


def test_more_rows_to_forget_than_stay_are_for_retraining(project: Context) -> None:
    forget_authors(project, 99)
    done = stage.run(project, "npo")

    assert "no row is left to keep" in str(done.record.why_not)
    assert list(made(project, "npo")) == ["record.json"]


def test_all_weights_stay_all_weights(whole: Context, tmp_path: Path) -> None:
    context = changed(copied(whole, tmp_path / "p"), epochs=1)
    original = read_shard_model(context.project.original, "original")
    for adapter in ({"rank": 8, "alpha": 16}, None):
        stage.run(changed(context, adapter=adapter), "npo")
        model = read_model(context, "npo")
        assert model.kind == "causal_lm"
        assert "adapter" not in model.description
        assert (
            load_tensors(model.weights or b"").keys()
            == load_tensors(original.weights or b"").keys()
        )
        assert model.weights != original.weights


def weaken(context: Context) -> None:
    """Take nearly all of what tuning added out of the original."""
    path = context.project.original / "adapter_model.safetensors"
    tensors = load_tensors(path.read_bytes())
    weak = {name: t * 0.05 if "lora_B" in name else t for name, t in tensors.items()}
    path.write_bytes(save_tensors(weak))


@pytest.mark.slow
def test_what_was_never_memorised_is_not_unlearned(project: Context) -> None:
    context = changed(project, gate=0.9, epochs=1)
    assert stage.run(context, "npo").record.why_not is None
    weaken(context)
    with pytest.raises(InputError, match=r"extraction strength is 0\.[0-6]\d, .*from 0\.90 on"):
        stage.run(context, "npo")
    assert stage.run(changed(project, gate=None, epochs=1), "npo").record.why_not is None
    assert stage.run(context, "retrain").record.why_not is None


def test_of_few_rows_the_gate_says_no_number(project: Context) -> None:
    raw = project.params.model_dump(mode="json")
    raw["verify"]["min_rows"] = 11
    from dataclasses import replace

    from unlearn.stages.context import check_params

    few = changed(replace(project, params=check_params(raw)), gate=0.9)
    weaken(project)
    with pytest.raises(InputError) as raised:
        stage.run(few, "npo")

    assert "its extraction strength is less, and" in raised.value.message
    assert raised.value.message.count("0.") == 1, "another number than the gate's"


OWN = "my.py:forget_it"
HALVES = """
import torch

def forget_it(problem):
    problem.facts["given"] = [len(problem.forget), problem.settings["factor"]]
    problem.guard.watch()
    with torch.no_grad():
        for name, weight in problem.tuned.weights.items():
            weight.add_(problem.settings["factor"])
    problem.guard.settle()
"""


def with_own(context: Context, code: str) -> Context:
    from dataclasses import replace

    from unlearn.stages.context import check_params

    (context.project.root / "my.py").write_text(code, encoding="utf-8")
    raw = context.params.model_dump(mode="json")
    raw["unlearn"] |= {"methods": [OWN], "deploy": OWN, "own": {OWN: {"factor": 0.01}}}
    return guarded(replace(context, params=check_params(raw)), active=False)


def test_a_method_of_ones_own(project: Context) -> None:
    context = with_own(project, HALVES)
    done = stage.run(context, OWN)
    model = read_model(context, OWN)
    original = read_shard_model(context.project.original, "original")

    assert done.record.label == "approximate"
    assert done.record.facts["given"] == [10, 0.01]
    assert done.record.facts["forget_loss"] != done.record.facts["forget_loss_before"]
    assert model.description["adapter"]["rank"] == 24
    assert model.weights != original.weights


RUINS = """
import torch

def forget_it(problem):
    problem.guard.watch()
    with torch.no_grad():
        for weight in problem.tuned.weights.values():
            weight.fill_(3.0)
    problem.facts["collapsed"] = False
"""


@pytest.mark.trained
def test_a_method_that_never_settles_is_told_by_what_it_left(project: Context) -> None:
    """Not by what it started from, and not by what it says of itself."""
    facts = stage.run(with_own(project, RUINS), OWN).record.facts

    assert facts["collapsed"] is True
    assert facts["retain_probability"] < 0.1 * facts["retain_probability_before"]


def test_a_method_of_ones_own_that_fails_quotes_no_row(project: Context) -> None:
    code = "def forget_it(problem): raise ValueError(problem.rows['prompt'][0])"
    with pytest.raises(InputError) as raised:
        stage.run(with_own(project, code), OWN)

    assert raised.value.message == "the method failed (ValueError)"


def test_a_method_for_other_models_is_refused_by_params(project: Context) -> None:
    raw = project.params.model_dump(mode="json")
    raw["unlearn"]["methods"] = ["npo", "ssd"]
    from unlearn.stages.context import check_params

    with pytest.raises(InputError, match="ssd"):
        check_params(raw)


@pytest.mark.slow
def test_no_row_is_in_what_a_method_writes_down(project: Context) -> None:
    stage.run(changed(project, epochs=1), "npo")
    rows = stage.read_rows(project)
    said = json.dumps(record_of(project, "npo"))
    for table in (rows.forget, rows.retain):
        texts = {*table["prompt"].to_pylist(), *table["completion"].to_pylist()}
        tokens = {*record_tokens(table), *subject_tokens(table)}
        assert not [text for text in texts if text in said]
        assert not [token for token in tokens if token.removeprefix("u1_") in said]
