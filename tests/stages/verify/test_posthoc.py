"""What is said of models that post-hoc methods made: never more than was found."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from unlearn.stages.aggregate import stage as aggregate_stage
from unlearn.stages.context import Context
from unlearn.stages.project.files import json_bytes
from unlearn.stages.project.paths import HOLDOUT
from unlearn.stages.rows.shard_file import read_shard, write_shard
from unlearn.stages.training.method_record import WHOLE, read_record, remove_other_models, sealed
from unlearn.stages.unlearn import stage as unlearn_stage

from tests.conftest import make_frame
from tests.stages.conftest import KEY, MLP, make_context, put_on_list, read_json
from tests.stages.posthoc import (
    apply_list,
    changed_params,
    copied,
    files_in,
    forget,
    posthoc_params,
    tokens_of,
    train_original,
)
from tests.stages.verify.reports import run

AS_IT_WAS = "my.py:as_it_was"
FROM_SCRATCH = "my.py:trained_anew"

#: Two anchors for any verifier, as methods of one's own: one that does nothing, and one that is
#: training from scratch by other means.
MY = """
import torch

def as_it_was(model, forget, retain, settings, run):
    return model

def trained_anew(model, forget, retain, settings, run):
    fresh = run.fresh().train()
    optimizer = torch.optim.Adam(fresh.parameters(), lr=0.01)
    for epoch in range(run.epochs):
        for batch in run.batches(retain, epoch, "retain"):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(fresh(batch.inputs), batch.targets).backward()
            optimizer.step()
    return fresh
"""

#: Learns every row by heart.
OVERFIT = MLP | {
    "options": {"hidden": [256]},
    "epochs": 100,
    "batch": 16,
    "optimizer": {"name": "adam", "rate": 0.01},
}


def by_chance(rows: int) -> pd.DataFrame:
    """Return a table whose labels follow from nothing: what a model knows of them, it memorised."""
    frame = make_frame(rows)
    return frame.assign(label=np.random.default_rng(5).permutation(frame["label"]))


def make(root: Path, frame: pd.DataFrame, params: Any, rows: int) -> Context:
    """Return a project whose methods forgot so many rows."""
    context = make_context(root, frame, params)
    (root / "my.py").write_text(MY, encoding="utf-8")
    train_original(context)
    forget(context, *tokens_of(context)[:rows])
    return context


@pytest.fixture(scope="session")
def _mild(tmp_path_factory: pytest.TempPathFactory) -> Context:
    params = posthoc_params("retrain", "finetune", "ssd", AS_IT_WAS)
    context = make(tmp_path_factory.mktemp("mild") / "p", make_frame(160), params, 20)
    run(context)
    return context


@pytest.fixture
def mild(_mild: Context, tmp_path: Path) -> Context:
    """Return a project whose model memorised little, verified, for the test to change."""
    return copied(_mild, tmp_path / "mild")


@pytest.fixture(scope="session")
def _overfit(tmp_path_factory: pytest.TempPathFactory) -> Context:
    params = posthoc_params("retrain", AS_IT_WAS, FROM_SCRATCH, train=OVERFIT, holdout=0.6)
    context = make(tmp_path_factory.mktemp("overfit") / "p", by_chance(260), params, 30)
    run(context)
    return context


@pytest.fixture
def overfit(_overfit: Context, tmp_path: Path) -> Context:
    """Return a project whose model knows its rows by heart, verified, for the test to change."""
    return copied(_overfit, tmp_path / "overfit")


def quick(context: Context) -> Context:
    """Return the project with no attack made: for what does not rest on any."""
    return changed_params(context, "verify", min_rows=10**6)


def said_of(context: Context, method: str) -> dict[str, Any]:
    """Verify, and return what the report says of a method."""
    found = run(context)["methods"][method]
    assert isinstance(found, dict)
    return found


def numbers(value: Any) -> Iterator[float]:
    """Yield all numbers in a JSON value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from numbers(each)
    elif isinstance(value, float):
        yield value


def check_reports(context: Context) -> dict[str, Any]:
    """Verify, and check the reports."""
    report = run(context)
    assert report == checked(context)
    return report


def checked(context: Context) -> dict[str, Any]:
    """Return the report; insist that no file holds a token, nor what is no number."""
    for name, content in files_in(context.project.root / "reports").items():
        text = content.decode()
        assert "NaN" not in text, name
        assert "Infinity" not in text, name
        assert "u1_" not in text, name
        if name.endswith(".json"):
            assert all(np.isfinite(number) for number in numbers(json.loads(text))), name
    return read_json(context.project.report)


KEYS = {
    "label",
    "verdict",
    "reasons",
    "forget_accuracy",
    "retain_accuracy",
    "holdout_accuracy",
    "membership",
    "disagreement_with_retrain",
    "stopped_by",
}


def test_the_report_has_all_that_it_promises_of_every_method(mild: Context) -> None:
    report = checked(mild)

    assert set(report["methods"]) == {"retrain", "finetune", "ssd", AS_IT_WAS}
    for name, found in report["methods"].items():
        assert found.keys() >= KEYS, name
        assert all(0 <= found[f"{side}_accuracy"] <= 1 for side in ("forget", "retain", "holdout"))
        assert found["membership"]["attack"] == "loss"
        assert found["membership"]["forget_rows"] == 20
        low, high = found["membership"]["ci"]
        assert 0 <= low <= found["membership"]["auc"] <= high <= 1
        assert found["label"] == ("exact" if name == "retrain" else "approximate")
        assert found["reasons"]
        distance = found["disagreement_with_retrain"]
        assert distance is None if name == "retrain" else 0 <= distance <= 1
    assert report["deploy"] == "retrain"
    assert (report["label"], report["verdict"]) == ("exact", "pass")
    assert report["exactness"] == {
        "touched": 1,
        "reran": 1,
        "matched": 1,
        "lineage_clean": True,
        "problems": 0,
    }


def test_every_method_has_a_file_of_numbers(mild: Context) -> None:
    report = read_json(mild.project.report)
    folder = mild.project.method_metrics
    found = {
        path.relative_to(folder).as_posix(): read_json(path) for path in folder.rglob("*.json")
    }

    assert set(found) == {"retrain.json", "finetune.json", "ssd.json", f"{AS_IT_WAS}.json"}
    for name in ("retrain", AS_IT_WAS):
        assert found[f"{name}.json"]["label"] == report["methods"][name]["label"]
        assert found[f"{name}.json"]["forget"] == report["methods"][name]["forget_accuracy"]
    table = (mild.project.plots / "methods.csv").read_text(encoding="ascii").split()
    assert [line.partition(",")[0] for line in table] == [
        "method",
        "retrain",
        "finetune",
        "ssd",
        AS_IT_WAS,
    ]


@pytest.mark.slow
def test_two_runs_give_the_same_bytes(mild: Context) -> None:
    before = files_in(mild.project.root / "reports")
    shutil.rmtree(mild.project.root / "reports")
    mild.project.method_metrics.mkdir(parents=True)
    (mild.project.method_metrics / "gone.json").write_bytes(b"{}")
    run(mild)

    assert files_in(mild.project.root / "reports") == before
    assert len(before) >= 10


def test_retraining_is_exact_and_is_checked_by_training_again(mild: Context) -> None:
    found = said_of(quick(mild), "retrain")
    unchecked = run(changed_params(quick(mild), "verify", rerun=0))

    assert (found["label"], found["verdict"]) == ("exact", "pass")
    assert any("retrained from these rows: the same numbers" in said for said in found["reasons"])
    assert unchecked["exactness"]["reran"] == 0
    assert not any("retrained" in said for said in unchecked["methods"]["retrain"]["reasons"])


def relabelled(
    context: Context, folder_name: str, label: str, *, with_key: bool, **more: Any
) -> None:
    """Write another label into a method's record; with the key, sealed as if it were true."""
    folder = context.project.unlearned / folder_name
    record = replace(read_record(folder, folder_name), label=label, **more)
    if with_key:
        files = {n: c for n, c in files_in(folder).items() if n != "record.json"}
        record = sealed(KEY, record, files)
    (folder / "record.json").write_bytes(json_bytes(record.as_json()))


def labels_in_reports(context: Context, method: str) -> set[str]:
    """Return all that the reports call a method."""
    stem = method.replace(":", "-")
    rows = (context.project.plots / "methods.csv").read_text(encoding="ascii").splitlines()
    found = {row.split(",")[1] for row in rows if row.startswith(f"{method},")}
    return found | {
        read_json(context.project.report)["methods"][method]["label"],
        read_json(context.project.method_metrics / f"{stem}.json")["label"],
    }


LABELS = ("exact", "exact(by my word)", "Exact", "certified(epsilon=1, delta=1e-05)")


@pytest.mark.parametrize("with_key", [False, True], ids=["by hand", "with the key"])
@pytest.mark.parametrize("label", LABELS)
def test_no_record_makes_an_approximate_method_more_than_that(
    mild: Context, label: str, with_key: bool
) -> None:
    relabelled(mild, "ssd", label, with_key=with_key)
    # With attacks once: a table for plots holds only what has numbers.
    found = said_of(mild if label == "exact" and with_key else quick(mild), "ssd")

    assert labels_in_reports(mild, "ssd") == {"approximate"}
    assert found["verdict"] != "pass"
    if not with_key or label == "exact":
        assert found["verdict"] == "fail"


@pytest.mark.parametrize("with_key", [False, True], ids=["by hand", "with the key"])
def test_nor_does_one_that_says_the_method_did_not_apply(mild: Context, with_key: bool) -> None:
    relabelled(mild, "ssd", "exact", with_key=with_key, why_not="because")
    found = said_of(quick(mild), "ssd")

    assert labels_in_reports(mild, "ssd") == {"approximate"}
    assert found["verdict"] == ("not applicable" if with_key else "fail")


@pytest.mark.parametrize("method", ["retrain", "certified_removal", "influence"])
def test_the_deployed_label_is_that_of_the_deployed_model(mild: Context, method: str) -> None:
    """A record of `exact` in any method's place, its model the untouched original."""
    context = changed_params(mild, "unlearn", methods=[method, AS_IT_WAS], deploy=method)
    folder = context.project.unlearned / method
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(context.project.unlearned / AS_IT_WAS, folder)
    shutil.copy(context.project.original / "lineage.json", folder)
    relabelled(context, method, "exact", with_key=True, method=method)
    aggregate_stage.run(context)
    report = run(quick(context))

    assert report["verdict"] == "fail"
    assert report["label"] == report["methods"][method]["label"] == "approximate"


@pytest.mark.trained
def test_an_attack_with_power_tells_the_original_from_retraining(overfit: Context) -> None:
    report = checked(overfit)
    untouched, retrained = report["methods"][AS_IT_WAS], report["methods"][FROM_SCRATCH]

    assert untouched["verdict"] == "fail"
    assert any("still knows the forgotten rows" in said for said in untouched["reasons"])
    assert retrained["verdict"] in ("pass", "inconclusive")
    assert retrained["label"] == untouched["label"] == "approximate"
    assert untouched["forget_accuracy"] > 0.8 > retrained["forget_accuracy"]
    assert untouched["relearning_ratio"] == 0
    assert retrained["relearning_ratio"] > 0.3
    assert untouched["disagreement_on_forgotten"] > retrained["disagreement_on_forgotten"] - 0.2
    assert report["methods"]["retrain"]["relearning_ratio"] is None


@pytest.mark.trained
@pytest.mark.parametrize(
    ("attack", "references", "methods"),
    [
        ("loss", 0, (AS_IT_WAS,)),
        pytest.param("entropy", 0, ("retrain", AS_IT_WAS), marks=pytest.mark.slow),
        pytest.param("lira", 5, (AS_IT_WAS,), marks=pytest.mark.slow),
        ("lira", 5, ("retrain", AS_IT_WAS)),
    ],
)
def test_the_original_never_passes(
    overfit: Context, attack: str, references: int, methods: tuple[str, ...]
) -> None:
    """By no attack, and not either where there is no retrained model to compare it with."""
    context = changed_params(overfit, "unlearn", methods=list(methods), deploy=AS_IT_WAS)
    context = changed_params(context, "verify", attack=attack, reference_models=references)
    aggregate_stage.run(context)
    report = check_reports(context)
    asked = report["methods"][AS_IT_WAS]["membership"]

    assert asked["attack"] == attack
    assert asked["auc"] is not None
    assert report["methods"][AS_IT_WAS]["verdict"] in ("fail", "inconclusive")
    assert report["verdict"] in ("fail", "inconclusive")
    assert report["label"] == "approximate"


@pytest.mark.slow
@pytest.mark.trained
def test_online_attacks_ask_models_of_halves_of_all_rows(overfit: Context) -> None:
    assert "lira_online" not in read_json(overfit.project.report)["membership"]["attacks"]
    context = changed_params(
        overfit, "verify", attack="lira_online", reference_models=6, online=True
    )
    aggregate_stage.run(context)
    before = files_in(context.project.root)
    report = check_reports(context)
    after = files_in(context.project.root)

    untouched, retrained = (
        report["methods"][name]["membership"] for name in (AS_IT_WAS, "retrain")
    )
    for name in ("lira_online", "rmia_online"):
        found, reference = (of["attacks"][name] for of in (untouched, retrained))
        assert found["auc"] > reference["auc"] + 0.3
        assert found["control"]["auc"] > 0.7, "the original knows the retained rows"
        assert 0.2 < reference["auc"] < 0.8, "labels by chance are hard for every model"
    assert untouched["attack"] == "lira_online"
    assert report["methods"][AS_IT_WAS]["verdict"] == "fail"
    # Models that were trained on forgotten rows leave nothing behind.
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert all(name.startswith("reports/") for name in changed), changed


def test_the_original_does_not_pass_where_it_memorised_nothing(mild: Context) -> None:
    assert read_json(mild.project.report)["methods"][AS_IT_WAS]["verdict"] == "inconclusive"


def other_seed(context: Context) -> None:
    """Train again with another seed, and leave the result where the project's own should be."""
    params = context.params.model_copy(update={"seed": 1})
    unlearn_stage.run(replace(context, params=params), "retrain")


def other_numbers(context: Context) -> None:
    """Exchange the retrained numbers and, with the key, all that is sealed about them."""
    from unlearn.stages.training.lineage import read_lineage, seal

    folder = context.project.unlearned / "retrain"
    lineage = read_lineage(folder)
    other_seed(context)
    other = read_lineage(folder)
    assert lineage is not None
    assert other is not None
    forged = replace(lineage, model=other.model, files=other.files)
    forged = replace(forged, seal=seal(KEY, forged))
    (folder / "lineage.json").write_bytes(json_bytes(forged.as_json()))
    expected = read_record(mild_retrain(context), "retrain").inputs
    relabelled(context, "retrain", "exact", with_key=True, inputs=expected)


def mild_retrain(context: Context) -> Path:
    """Make the genuine result of `retrain` beside the project, and return its folder."""
    room = copied(context, context.project.root.parent / "genuine")
    shutil.rmtree(room.project.unlearned / "retrain")
    unlearn_stage.run(room, "retrain")
    return room.project.unlearned / "retrain"


def kept_rows(context: Context) -> None:
    """Leave the forgotten rows in the retain set, and let every method work on that."""
    rows = read_shard(context.project.shard_file(WHOLE), WHOLE).rows
    write_shard(context.project.retain_file(WHOLE), context.key, rows, context.layout)
    for method in ("retrain", "finetune", "ssd", AS_IT_WAS):
        unlearn_stage.run(context, method)


def kept_holdout(context: Context) -> None:
    rows = read_shard(context.project.shard_file(HOLDOUT), HOLDOUT).rows
    write_shard(context.project.retain_file(HOLDOUT), context.key, rows[1:], context.layout)


def of_another_method(context: Context) -> None:
    aggregate_stage.run(changed_params(context, "unlearn", deploy="ssd"))


def another_original(context: Context) -> None:
    flip_a_weight(context.project.original)


def flip_a_weight(folder: Path) -> None:
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


def one_more_request(context: Context) -> None:
    put_on_list(context, tokens_of(context)[-1])


#: What is done, what is said, and of which method.
SABOTAGE: dict[str, tuple[Callable[[Context], object], str, str]] = {
    "another seed": (other_seed, "retrain", "its lineage is not that of its rows"),
    "other numbers": (other_numbers, "retrain", "retraining from its rows gives another model"),
    "rows left in the retain set": (
        kept_rows,
        "ssd",
        "data/retain_set/s000.parquet is not data/shards/s000.parquet without",
    ),
    "another holdout": (kept_holdout, "ssd", "data/retain_set/holdout.parquet is not"),
    "the final model of another method": (
        of_another_method,
        "retrain",
        "models/final_model is not models/unlearned/retrain as it stands",
    ),
    "another original": (another_original, "ssd", "models/original"),
    "a request that waits": (one_more_request, "ssd", "a request is pending"),
    "an edited weight": (
        lambda context: flip_a_weight(context.project.unlearned / "ssd"),
        "ssd",
        "models/unlearned/ssd is not what its record says",
    ),
    "a method that is missing": (
        lambda context: shutil.rmtree(context.project.unlearned / "ssd"),
        "ssd",
        "models/unlearned/ssd is missing or incomplete",
    ),
    "one method's model in another's place": (
        lambda context: shutil.copytree(
            context.project.unlearned / AS_IT_WAS,
            context.project.unlearned / "ssd",
            dirs_exist_ok=True,
        ),
        "ssd",
        "models/unlearned/ssd is not what its record says",
    ),
    "a record that cannot be read": (
        lambda context: (context.project.unlearned / "ssd/record.json").write_bytes(b"{"),
        "ssd",
        "record.json is not readable",
    ),
    "the model of a method that was taken out": (
        lambda context: shutil.copytree(
            context.project.unlearned / "ssd", context.project.unlearned / "scrub"
        ),
        "retrain",
        "models/unlearned holds models that params.yaml does not name",
    ),
    "an older model beside the others": (
        lambda context: shutil.copytree(
            context.project.unlearned / "ssd", context.project.shard_models / "s000"
        ),
        "retrain",
        "files that no stage wrote",
    ),
    "no final model": (
        lambda context: shutil.rmtree(context.project.final_model),
        "retrain",
        "models/final_model",
    ),
    "no original": (
        lambda context: shutil.rmtree(context.project.original),
        "ssd",
        "models/original",
    ),
}


@pytest.mark.parametrize(("spoil", "method", "said"), SABOTAGE.values(), ids=SABOTAGE)
def test_sabotage_is_caught_and_named(
    mild: Context, spoil: Callable[[Context], object], method: str, said: str
) -> None:
    spoil(mild)
    report = check_reports(quick(mild))
    found = report["methods"][method]

    assert found["verdict"] == "fail"
    assert any(said in reason for reason in found["reasons"]), found["reasons"]
    # What is wrong with one method that is not deployed says nothing of the deployed one.
    alone = method == "ssd" and ("models/unlearned/ssd" in said or "record.json" in said)
    assert report["verdict"] == ("pass" if alone else "fail")


@pytest.mark.parametrize("change", [{"epochs": 16}, {"batch": 9}], ids=["epochs", "batch"])
def test_other_settings_than_the_models_were_made_with_are_caught(
    mild: Context, change: dict[str, Any]
) -> None:
    report = run(quick(changed_params(mild, "train", **change)))

    assert {found["verdict"] for found in report["methods"].values()} == {"fail"}


def test_a_methods_own_settings_are_part_of_what_it_read(mild: Context) -> None:
    context = changed_params(mild, "unlearn", settings={"ssd": {"selection": 2.0}})
    methods = run(quick(context))["methods"]

    assert methods["ssd"]["verdict"] == "fail"
    assert any("other settings than these" in said for said in methods["ssd"]["reasons"])
    assert methods["finetune"]["verdict"] != "fail"
    assert methods["retrain"]["verdict"] == "pass"


def test_an_imported_original_that_was_exchanged_is_caught(mild: Context) -> None:
    """It has no lineage: what the methods read is all that tells."""
    context = quick(changed_params(mild, "unlearn", original="imported"))
    (context.project.original / "lineage.json").unlink()
    assert run(context)["methods"]["ssd"]["verdict"] == "inconclusive"
    (context.project.original / "before.safetensors").write_bytes(b"")
    report = run(context)
    assert report["methods"]["ssd"]["verdict"] == "fail"
    assert "holds files that `unlearn import-model` did not write" in json.dumps(report)
    (context.project.original / "before.safetensors").unlink()
    flip_a_weight(context.project.original)
    methods = run(context)["methods"]

    assert methods["retrain"]["verdict"] == "pass"
    for name in ("finetune", "ssd", AS_IT_WAS):
        assert methods[name]["verdict"] == "fail"
        assert any("another original" in said for said in methods[name]["reasons"])


@pytest.mark.parametrize("rows", [1, 9, pytest.param(10, marks=pytest.mark.slow)])
def test_few_rows_are_a_person(tmp_path: Path, rows: int) -> None:
    params = posthoc_params("retrain", "ssd", AS_IT_WAS)
    context = make(tmp_path / "few", make_frame(160), params, rows)
    report = check_reports(context)

    for name, found in report["methods"].items():
        assert found["membership"]["forget_rows"] == rows
        for value in (found["membership"]["auc"], found["forget_accuracy"]):
            assert (value is None) == (rows < 10), name
        assert found["holdout_accuracy"] is not None
        if name != "retrain" and rows < 10:
            assert found["verdict"] == "inconclusive"
            assert found["disagreement_on_forgotten"] is None
            assert found["relearning_ratio"] is None
            assert any("fewer than verify.min_rows" in said for said in found["reasons"])
    assert report["methods"]["retrain"]["verdict"] == "pass"


def test_nothing_to_forget(mild: Context) -> None:
    mild.project.forget_list.write_bytes(b"")
    apply_list(mild)
    report = check_reports(mild)

    assert report["membership"] is None
    assert (report["verdict"], report["label"]) == ("pass", "exact")
    # As of shards: nothing was touched, so that only `all` trains it again.
    assert (report["exactness"]["touched"], report["exactness"]["reran"]) == (0, 0)
    everything = run(changed_params(quick(mild), "verify", rerun="all"))
    assert (everything["exactness"]["reran"], everything["exactness"]["matched"]) == (1, 1)
    for name in ("finetune", "ssd", AS_IT_WAS):
        found = report["methods"][name]
        assert (found["verdict"], found["stopped_by"]) == ("inconclusive", "nothing_to_forget")
        assert found["disagreement_with_retrain"] == 0


def test_a_method_that_does_not_apply_says_why(mild: Context) -> None:
    context = changed_params(mild, "unlearn", methods=["retrain", "certified_removal"])
    remove_other_models(context)
    unlearn_stage.run(context, "certified_removal")
    report = check_reports(context)
    found = report["methods"]["certified_removal"]

    assert found["verdict"] == "not applicable"
    assert found["reasons"] == [
        read_record(context.project.unlearned / "certified_removal", "").why_not
    ]
    assert not found["label"].startswith("certified(")
    assert {found[key] for key in ("membership", "forget_accuracy", "stopped_by")} == {None}
    assert report["verdict"] == "pass"


ODD: dict[str, Callable[[Path], Context]] = {
    "one class": lambda root: make(
        root, make_frame(80, classes=1), posthoc_params("retrain", "ssd", classes=["c0"]), 12
    ),
    "no holdout": lambda root: make(
        root, make_frame(80), posthoc_params("retrain", "finetune", "ssd", holdout=0.0), 12
    ),
    "lira without models to compare with": lambda root: make(
        root, make_frame(80), posthoc_params("retrain", "ssd", verify={"attack": "lira"}), 12
    ),
    "votes": lambda root: make(
        root,
        make_frame(120),
        posthoc_params(
            "retrain",
            "ssd",
            "influence",
            train={"model": "sklearn.svm.LinearSVC"},
            rule="majority_vote",
        ),
        12,
    ),
    "a class that is not held out": lambda root: make(
        root,
        make_frame(100).replace({"label": {"c2": "c1"}}),
        posthoc_params("retrain", "finetune", "ssd"),
        12,
    ),
    "more rows than stay": lambda root: make(
        root, make_frame(80), posthoc_params("retrain", "ssd", AS_IT_WAS), 40
    ),
    "all rows": lambda root: make(
        root, make_frame(60), posthoc_params("retrain", "ssd", AS_IT_WAS), 60
    ),
}


@pytest.mark.parametrize("build", ODD.values(), ids=ODD)
def test_odd_projects_have_an_answer(
    build: Callable[[Path], Context], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    report = check_reports(build(tmp_path / "odd"))
    methods = report["methods"]

    assert (report["verdict"], report["label"]) == ("pass", "exact")
    for name, found in methods.items():
        if name != "retrain":
            assert found["verdict"] in ("inconclusive", "not applicable", "fail"), name
            assert found["label"] == "approximate"
            assert found["reasons"]
    case = request.node.callspec.id
    if case == "lira without models to compare with":
        assert any("verify.reference_models: 16" in said for said in methods["ssd"]["reasons"])
    if case in ("more rows than stay", "all rows"):
        assert methods["ssd"]["verdict"] == "not applicable"
    if case == "no holdout":
        assert methods["ssd"]["holdout_accuracy"] is None


def test_no_more_is_read_of_the_forget_set_than_the_list_allows(mild: Context) -> None:
    """What `forget` wrote is not believed: a forget set that is empty makes no difference."""
    before = run(quick(mild))
    mild.project.forget_file(WHOLE).unlink()
    after = run(quick(mild))

    assert after["methods"] == before["methods"]
    assert "20" in before["methods"]["ssd"]["reasons"][0]
