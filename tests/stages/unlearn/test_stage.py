"""What one method makes of a model, a forget set and a retain set, in its folder."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from unlearn.stages.config.methods import METHODS as ALL_METHODS
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.project.files import json_bytes
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.shard_file import read_shard, write_shard
from unlearn.stages.training import method_record
from unlearn.stages.training.method_record import (
    WHOLE,
    Record,
    is_genuine,
    other_models,
    read_record,
    remove_other_models,
    seal,
)
from unlearn.stages.unlearn import stage
from unlearn.stages.unlearn.stage import NOTHING, TRAINED, Done

from tests.conftest import make_frame
from tests.stages.conftest import KEY, make_context, put_on_list, token_of
from tests.stages.posthoc import (
    METHODS,
    TRAIN,
    apply_list,
    changed_params,
    copied,
    files_in,
    forget,
    made,
    posthoc_params,
    tokens_of,
    train_original,
)

FRAME = make_frame(90)
LINEAR = {"model": "sklearn.linear_model.LogisticRegression", "options": {"max_iter": 500}}
FOREST = {"model": "sklearn.ensemble.RandomForestClassifier", "options": {"n_estimators": 3}}
OWN = "my.py:forget_it"

#: A method of one's own: it scales all weights, and says in the record what it was given.
HALVES = """
import torch

def forget_it(model, forget, retain, settings, run):
    run.facts["given"] = [len(forget), len(retain), settings.get("factor")]
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(settings.get("factor", 0.5))
    return model
"""


def record_of(context: Context, method: str) -> Record:
    folder = context.project.unlearned / method
    found = read_record(folder, method)
    assert is_genuine(KEY, folder, found)
    return found


def with_methods(context: Context, *methods: str, **unlearn: Any) -> Context:
    return changed_params(context, "unlearn", methods=list(methods), deploy=methods[0], **unlearn)


def with_own(context: Context, code: str = HALVES, **settings: Any) -> Context:
    (context.project.root / "my.py").write_text(code, encoding="utf-8")
    return with_methods(context, OWN, own={OWN: settings})


def run_own(context: Context) -> Done:
    return stage.run(context, OWN)


@pytest.fixture(scope="session")
def _posthoc(tmp_path_factory: pytest.TempPathFactory) -> Context:
    context = make_context(tmp_path_factory.mktemp("posthoc") / "p", FRAME, posthoc_params())
    train_original(context)
    forget_stage.run(context)
    return context


@pytest.fixture
def project(_posthoc: Context, tmp_path: Path) -> Context:
    """Return a project whose original is trained, with an empty list, for the test to change."""
    return copied(_posthoc, tmp_path / "project")


def listed(context: Context, *tokens: str) -> Context:
    """Put tokens on the list and have `forget` apply it, but no method."""
    put_on_list(context, *tokens)
    forget_stage.run(context)
    return context


ITERATIVE = tuple(
    name for name in ALL_METHODS["tabular"] if name not in ("retrain", "certified_removal")
)


def test_no_two_methods_make_the_same_model(project: Context) -> None:
    """Of every method that works on a network."""
    listed(project, *tokens_of(project)[:12])
    # With its default, ssd finds no weight here that the forget set alone needs.
    settings = {"ssd": {"selection": 1.5}}
    context = with_methods(project, "retrain", *ITERATIVE, settings=settings)
    first = {}
    for name in ("retrain", *ITERATIVE):
        assert stage.run(context, name).seconds is not None
        first[name] = made(context, name)
    weights = {files.get("model.safetensors") for files in first.values()}
    original = (project.project.original / "model.safetensors").read_bytes()

    assert len(weights) == len(first), "two methods made the same model"
    assert weights.isdisjoint({None, original})


def test_two_requests_give_the_bytes_of_both_at_once(project: Context, tmp_path: Path) -> None:
    tokens = tokens_of(project)[:14]
    at_once = copied(project, tmp_path / "at-once")
    forget(project, *tokens[:5])
    after_one = made(project, "ssd")
    forget(project, *tokens[5:])
    forget(at_once, *tokens)

    assert made(project, "ssd") != after_one
    assert files_in(project.project.unlearned) == files_in(at_once.project.unlearned)
    assert files_in(project.project.final_model) == files_in(at_once.project.final_model)


def test_finished_work_is_left_alone(project: Context) -> None:
    listed(project, *tokens_of(project)[:6])
    first = stage.run(project, "ssd")
    folder = project.project.unlearned / "ssd"
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = stage.run(project, "ssd")

    assert first.seconds is not None
    assert again.seconds is None
    assert again.record == first.record
    assert (again.forgotten, again.retained) == (6, len(tokens_of(project)) - 6)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def flip_a_weight(folder: Path) -> None:
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


def edit_the_record(folder: Path, **fields: Any) -> None:
    content = json.loads((folder / "record.json").read_text(encoding="utf-8")) | fields
    (folder / "record.json").write_bytes(json_bytes(content))


DAMAGE = {
    "a weight": flip_a_weight,
    "a file that is missing": lambda folder: (folder / "model.json").unlink(),
    "a file too many": lambda folder: (folder / "notes.txt").write_bytes(b"x"),
    "another model.json": lambda folder: (folder / "model.json").write_bytes(b"{}"),
    "a label": lambda folder: edit_the_record(folder, label="exact"),
    "no record": lambda folder: (folder / "record.json").unlink(),
    "a record cut short": lambda folder: (folder / "record.json").write_bytes(b'{"method": "s'),
    "a record of an unknown kind": lambda folder: edit_the_record(folder, schema_version=2),
    "a record that is a list": lambda folder: (folder / "record.json").write_bytes(b"[]"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_folder_that_was_damaged_or_edited_is_made_again(project: Context, damage: Any) -> None:
    listed(project, *tokens_of(project)[:6])
    stage.run(project, "ssd")
    whole = made(project, "ssd")
    damage(project.project.unlearned / "ssd")
    assert made(project, "ssd") != whole

    assert stage.run(project, "ssd").seconds is not None
    assert made(project, "ssd") == whole


def test_a_record_of_another_key_is_none(project: Context) -> None:
    listed(project, *tokens_of(project)[:6])
    done = stage.run(project, "ssd")
    folder = project.project.unlearned / "ssd"
    forged = replace(done.record, label="exact")

    assert is_genuine(KEY, folder, done.record)
    assert not is_genuine(KEY, folder, forged)
    assert is_genuine(KEY, folder, replace(forged, seal=seal(KEY, forged)))


def test_nothing_to_forget_leaves_the_original(project: Context) -> None:
    """Of every method, `retrain` too; a held-out row is nothing to forget either."""
    listed(project, tokens_of(project, shard="holdout")[0], token_of("nobody"))
    original = files_in(project.project.original)
    for name in ("ssd", "finetune"):
        done = stage.run(project, name)
        assert (done.forgotten, done.record.stopped_by) == (0, NOTHING)
        files = made(project, name)
        assert files["model.safetensors"] == original["model.safetensors"]
        assert files["model.json"] == original["model.json"]
    trained = stage.run(project, "retrain")

    assert trained.record.stopped_by == TRAINED
    assert made(project, "retrain")["model.safetensors"] == original["model.safetensors"]


def test_retraining_on_the_same_rows_is_the_original(project: Context) -> None:
    """Nothing is trained then, and the folder is what training would have made, byte for byte."""
    listed(project)
    assert stage.run(project, "retrain").is_original
    taken = made(project, "retrain")

    shutil.rmtree(project.project.unlearned / "retrain")
    (project.project.original / "lineage.json").unlink()
    assert not stage.run(project, "retrain").is_original
    assert made(project, "retrain") == taken


def test_another_original_is_not_taken_for_a_retrained_model(project: Context) -> None:
    """One of other rows, of other settings, or of other weights than its lineage says."""
    weights = project.project.original / "model.safetensors"
    content = weights.read_bytes()
    listed(project)
    for context in (
        changed_params(project, "train", epochs=project.params.train.epochs + 1),
        changed_params(project, "unlearn", original="imported"),
    ):
        assert not stage.run(context, "retrain").is_original
    shutil.rmtree(project.project.unlearned / "retrain")
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert not stage.run(project, "retrain").is_original
    listed(project, tokens_of(project)[0])
    assert not stage.run(project, "retrain").is_original


def test_a_whole_class_can_go(project: Context) -> None:
    gone = tokens_of(project, label="c2")
    listed(project, *gone)
    context = with_methods(project, "retrain", *ITERATIVE)
    for name in ("retrain", *ITERATIVE):
        done = stage.run(context, name)
        assert done.forgotten == len(gone)
        assert done.record.why_not is None, name
        described = json.loads(made(context, name)["model.json"])
        assert described["rows"] == len(tokens_of(project)) - len(gone)
        assert described["layout"]["classes"] == ["c0", "c1", "c2"]


def test_a_forget_set_larger_than_the_retain_set_is_for_retraining(project: Context) -> None:
    tokens = tokens_of(project)
    listed(project, *tokens[: len(tokens) // 2 + 1])
    done = stage.run(project, "ssd")

    assert done.record.why_not is not None
    assert "more rows are to be forgotten" in done.record.why_not
    assert list(made(project, "ssd")) == ["record.json"]
    assert stage.run(project, "retrain").record.why_not is None
    assert stage.run(project, "ssd").seconds is None, "that it does not apply is finished work"


def test_half_of_the_rows_are_not_yet_too_many(project: Context) -> None:
    tokens = tokens_of(project)
    listed(project, *tokens[: len(tokens) // 2])

    assert stage.run(project, "ssd").record.why_not is None


def test_without_any_row_there_is_no_model(project: Context) -> None:
    listed(project, *tokens_of(project))
    done = stage.run(project, "finetune")

    assert done.record.why_not == "no row is left to keep: there is no model without them"
    assert stage.run(project, "retrain").record.passes == {"forget": 0.0, "retain": 0.0}
    assert json.loads(made(project, "retrain")["model.json"])["kind"] == "empty"


def test_a_random_forest_can_only_be_retrained(tmp_path: Path) -> None:
    params = posthoc_params("retrain", *ITERATIVE, "certified_removal", train=FOREST)
    context = make_context(tmp_path / "forest", FRAME, params)
    train_original(context)
    forget(context, *tokens_of(context)[:8])

    for name in (*ITERATIVE, "certified_removal"):
        record = record_of(context, name)
        assert record.why_not is not None, name
        assert list(made(context, name)) == ["record.json"]
    assert record_of(context, "influence").why_not is not None
    assert "RandomForestClassifier" in str(record_of(context, "influence").why_not)
    assert record_of(context, "retrain").label == "exact"
    assert "model.skops" in made(context, "retrain")


def test_a_linear_model_of_scikit_learn_is_changed_as_well(tmp_path: Path) -> None:
    params = posthoc_params("retrain", *ITERATIVE, train=LINEAR)
    context = make_context(tmp_path / "linear", FRAME, params)
    train_original(context)
    forget(context, *tokens_of(context)[:8])
    original = (context.project.original / "model.skops").read_bytes()

    for name in ("retrain", *ITERATIVE):
        record = record_of(context, name)
        assert record.why_not is None, name
        assert made(context, name)["model.skops"] != original, name
        assert record.label == ("exact" if name == "retrain" else "approximate")


def test_a_certificate_is_refused_to_a_network(project: Context) -> None:
    listed(project, *tokens_of(project)[:6])
    done = stage.run(with_methods(project, "certified_removal"), "certified_removal")

    assert done.record.why_not is not None
    assert not done.record.label.startswith("certified(")


def test_a_method_of_ones_own(project: Context) -> None:
    from safetensors.numpy import load

    listed(project, *tokens_of(project)[:6])
    context = with_own(project, factor=0.25)
    done = run_own(context)
    before = load((project.project.original / "model.safetensors").read_bytes())
    after = load(made(context, OWN)["model.safetensors"])

    assert done.record.label == "approximate"
    assert done.record.facts == {"given": [6, len(tokens_of(project)) - 6, 0.25]}
    assert after.keys() == before.keys()
    assert all((after[name] == before[name] * 0.25).all() for name in before)


def test_another_setting_or_another_text_of_ones_own_method_is_other_work(
    project: Context,
) -> None:
    listed(project, *tokens_of(project)[:6])
    context = with_own(project, factor=0.25)
    run_own(context)

    assert run_own(context).seconds is None
    assert run_own(with_own(project, factor=0.5)).seconds is not None
    assert run_own(with_own(project, HALVES + "\n# other\n", factor=0.5)).seconds is not None


DRAWS = """
import torch

def forget_it(model, forget, retain, settings, run):
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight))
    return model
"""


def test_what_a_method_draws_follows_from_the_project(project: Context) -> None:
    """Dropout, and a method of one's own, draw from torch's own generator."""
    import torch

    listed(project, *tokens_of(project)[:6])
    context = with_own(project, DRAWS)
    run_own(context)
    first = made(context, OWN)
    shutil.rmtree(context.project.unlearned)
    torch.rand(1)
    run_own(context)

    assert made(context, OWN) == first


def test_other_forget_rows_beside_the_same_retain_set_are_other_work(project: Context) -> None:
    """As where rows are gone that an imported original honours already."""
    listed(project, *tokens_of(project)[:6])
    for name in ("retrain", "ssd"):
        stage.run(project, name)
    path = project.project.forget_file(WHOLE)
    write_shard(path, KEY, read_shard(path, "forgotten").rows[1:], project.layout)

    assert stage.run(project, "ssd").seconds is not None
    assert stage.run(project, "retrain").seconds is None


def test_another_original_of_the_same_rows_is_other_work(project: Context) -> None:
    """Though not for retraining, which reads no original."""
    listed(project, *tokens_of(project)[:6])
    for name in ("retrain", "ssd"):
        stage.run(project, name)
    flip_a_weight(project.project.original)

    assert stage.run(project, "ssd").seconds is not None
    assert stage.run(project, "retrain").seconds is None


SECRET = "jane.roe"
FAILING = {
    "does not load (ZeroDivisionError)": "1 / 0",
    "does not load (SyntaxError)": "def forget_it(:",
    "has no function 'forget_it'": "def forget(model, forget, retain, settings, run): pass",
    "the method failed (ValueError)": (
        f"def forget_it(model, forget, retain, settings, run): raise ValueError('{SECRET}')"
    ),
    "the method failed (TypeError)": "def forget_it(model): return model",
    "the method leaves facts that are no JSON values": (
        "def forget_it(model, forget, retain, settings, run):\n"
        "    run.facts['loss'] = forget.inputs.sum()\n"
        "    return model"
    ),
    "leaves facts that are no JSON": (
        "def forget_it(model, forget, retain, settings, run):\n"
        "    run.facts['loss'] = float('nan')\n"
        "    return model"
    ),
    "the method does not return a torch module": (
        "def forget_it(model, forget, retain, settings, run): return model.state_dict()"
    ),
}


@pytest.mark.parametrize(("said", "code"), FAILING.items(), ids=FAILING)
def test_a_method_of_ones_own_that_fails(project: Context, said: str, code: str) -> None:
    listed(project, *tokens_of(project)[:6])
    before = files_in(project.project.root / "models")
    with pytest.raises(InputError) as raised:
        run_own(with_own(project, code))

    assert said in raised.value.message
    assert SECRET not in str(raised.value)
    assert files_in(project.project.root / "models") == before


def test_a_file_of_ones_own_that_is_missing(project: Context) -> None:
    listed(project, *tokens_of(project)[:6])
    context = with_methods(project, OWN)
    with pytest.raises(InputError, match="my.py does not exist") as raised:
        run_own(context)

    assert "train.model" not in raised.value.message


def test_a_method_that_breaks_the_numbers_makes_no_model(project: Context) -> None:
    listed(project, *tokens_of(project)[:6])
    done = run_own(with_own(project, factor=float("1e39")))

    assert done.record.why_not == "the method left weights that are no longer finite"
    assert list(made(project, OWN)) == ["record.json"]


def test_a_setting_reruns_its_own_method_and_no_other(project: Context) -> None:
    forget(project, *tokens_of(project)[:6])
    before = {name: made(project, name) for name in METHODS}
    other = changed_params(project, "unlearn", settings={"ssd": {"selection": 1.5}})
    ran = {name: stage.run(other, name).seconds is not None for name in METHODS}

    assert ran == {"retrain": False, "finetune": False, "ssd": True}
    assert made(project, "ssd") != before["ssd"]
    assert all(made(project, name) == before[name] for name in ("retrain", "finetune"))


def test_methods_with_a_guard_run_again_where_guards_look_elsewhere(
    project: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(project, *tokens_of(project)[:6])
    monkeypatch.setattr(method_record, "GUARD_LOOKS", method_record.GUARD_LOOKS + 1)
    ran = {name: stage.run(project, name).seconds is not None for name in METHODS}

    assert ran == {"retrain": False, "finetune": True, "ssd": True}


CHANGES: dict[str, tuple[str, dict[str, Any], set[str]]] = {
    "the guard": ("unlearn", {"guard": {"budget": 0.5}}, {"finetune", "ssd"}),
    "training": ("train", {"epochs": 16}, {"retrain", "finetune", "ssd"}),
    "verification": ("verify", {"rerun": 0}, set()),
    "what is deployed": ("unlearn", {"deploy": "ssd"}, set()),
}


@pytest.mark.parametrize(("section", "change", "expected"), CHANGES.values(), ids=CHANGES)
def test_what_else_is_other_work(
    project: Context, section: str, change: dict[str, Any], expected: set[str]
) -> None:
    forget(project, *tokens_of(project)[:6])
    other = changed_params(project, section, **change)

    assert {name for name in METHODS if stage.run(other, name).seconds is not None} == expected


def test_an_unknown_method_in_params_is_told_the_nearest() -> None:
    with pytest.raises(InputError, match="unlearn.*did you mean ssd?"):
        posthoc_params("sdd")
    with pytest.raises(InputError, match="did you mean negative_gradient_plus?"):
        posthoc_params("retrain", "negative_gradient")


BAD_PARAMS: dict[str, tuple[tuple[str, ...], dict[str, Any], str]] = {
    "twice": (("ssd", "ssd"), {}, "stands twice"),
    "deployed but not made": (("ssd",), {"deploy": "retrain"}, "is not among unlearn.methods"),
    "settings of another": (("ssd",), {"own": {OWN: {}}}, "is not among unlearn.methods"),
    "outside": (("../my.py:forget_it",), {}, "neither path/to/file.py:function nor a method"),
    "absolute": (("/tmp/my.py:forget_it",), {}, "neither path/to/file.py:function"),  # noqa: S108 - refused
}


@pytest.mark.parametrize(("methods", "more", "said"), BAD_PARAMS.values(), ids=BAD_PARAMS)
def test_params_that_cannot_be_meant(
    methods: tuple[str, ...], more: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        posthoc_params(*methods, **more)


def test_a_typo_in_a_setting_is_told_the_nearest() -> None:
    with pytest.raises(InputError) as raised:
        posthoc_params(settings={"ssd": {"selektion": 2.0}})

    assert raised.value.message.endswith("unlearn.settings.ssd.selektion: is not a known setting")
    assert raised.value.hints == ("did you mean `selection`?",)


def test_a_method_that_params_do_not_name_is_not_run(project: Context) -> None:
    with pytest.raises(InputError, match="names no method 'scrub'"):
        stage.run(project, "scrub")


def without(tokens: list[str]) -> pd.DataFrame:
    """Return the dataset without the rows of these tokens."""
    return FRAME[[token_of(raw) not in tokens for raw in FRAME["id"]]]


@pytest.mark.parametrize("train", [TRAIN, LINEAR], ids=["mlp", "scikit-learn"])
def test_retraining_is_a_clean_room(tmp_path: Path, train: dict[str, Any]) -> None:
    """Byte for byte, its record too: nothing in the folder depends on what was forgotten."""
    params = posthoc_params("retrain", "ssd", train=train)
    context = make_context(tmp_path / "project", FRAME, params)
    train_original(context)
    gone = [*tokens_of(context)[3:20:2], tokens_of(context, shard="holdout")[0]]
    forget(context, *gone)
    room = make_context(tmp_path / "room", without(gone), params)
    train_original(room)
    apply_list(room)

    found = files_in(context.project.unlearned)
    expected = files_in(room.project.unlearned)
    assert len(tokens_of(room)) == len(tokens_of(context)) - 9
    for name in ("record.json", "lineage.json", "model.json"):
        assert found[f"retrain/{name}"] == expected[f"retrain/{name}"], name
    assert made(context, "retrain") == made(room, "retrain")
    assert found["ssd/record.json"] != expected["ssd/record.json"]
    assert files_in(context.project.final_model) == files_in(room.project.final_model)


def test_without_a_forget_file_nothing_is_forgotten(project: Context) -> None:
    """`forget` writes none where nobody of the model is on the list."""
    assert not project.project.forget_file(WHOLE).is_file()
    assert stage.run(project, "ssd").record.stopped_by == NOTHING


def test_a_shard_pipeline_has_no_methods(built: Context) -> None:
    with pytest.raises(InputError, match="this is a pipeline of shards"):
        stage.run(built, "ssd")


def test_the_original_must_be_of_these_features(project: Context) -> None:
    features = {"age": "numeric", "income": "numeric"}
    context = replace(project, params=posthoc_params(features=features))
    with pytest.raises(InputError, match="models/original was made for other features"):
        stage.run(context, "ssd")


def test_before_training_there_is_nothing_to_start_from(tmp_path: Path) -> None:
    context = make_context(tmp_path / "new", FRAME, posthoc_params())
    with pytest.raises(InputError, match="models/original is missing"):
        stage.run(context, "ssd")
    assert context.project == Project(tmp_path / "new")
    assert not context.project.unlearned.exists()


def test_the_model_of_a_method_that_was_taken_out_goes(project: Context) -> None:
    """Later requests would not reach it, and it still knows whom they name."""
    named = project.params.unlearn
    assert named is not None
    first, *left = named.methods
    own = "methods/my.py:forget_it"
    for name in (first, own):
        folder = project.project.unlearned / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.json").write_text("{}", encoding="utf-8")
    without = changed_params(project, "unlearn", methods=[*left, own], deploy=left[0])

    assert {Path(name).parent.name for name in other_models(without)} == {first}
    remove_other_models(without)

    assert other_models(without) == []
    assert not (project.project.unlearned / first).exists()
    assert (project.project.unlearned / own / "model.json").is_file()
