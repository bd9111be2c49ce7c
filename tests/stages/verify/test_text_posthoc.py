"""What `verify` says of tuned language models that methods changed: never more than was found."""

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from unlearn.cli.examples.authors import jsonl
from unlearn.cli.examples.tiny_base import public_authors
from unlearn.stages.aggregate import stage as aggregate_stage
from unlearn.stages.context import Context
from unlearn.stages.final_model.text_ensemble import LanguageEnsemble
from unlearn.stages.final_model.text_loading import open_language_models
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.project.files import json_bytes
from unlearn.stages.project.paths import HOLDOUT
from unlearn.stages.rows.holdout import calibration_half, fewest, record_halves
from unlearn.stages.rows.holdout import tested_half as unseen_half
from unlearn.stages.rows.shard_file import governing_tokens, record_tokens
from unlearn.stages.text import metrics
from unlearn.stages.training.method_record import (
    FILE_NAME,
    WHOLE,
    MethodRows,
    inputs_digest,
    read_record,
    sealed,
)
from unlearn.stages.training.shard_model import read_shard_model
from unlearn.stages.unlearn import stage as unlearn_stage
from unlearn.stages.verify import comparison
from unlearn.stages.verify.exactness.checks import derive_rows
from unlearn.stages.verify.exactness.methods import ORIGINAL
from unlearn.stages.verify.measures.base import Setting
from unlearn.stages.verify.measures.memorisation import (
    knowledge_of,
    measure_knowledge,
    rouge_recall,
    truth_ratios,
    utility_of,
)
from unlearn.stages.verify.measures.text import LanguageMeasures
from unlearn.stages.verify.measures.text_relearning import relearned, relearning_budget
from unlearn.stages.verify.membership.references import train_online_references, train_references
from unlearn.stages.verify.verdict import Verdict
from unlearn.stages.verify_report.quality import Knowledge

from tests.language_models import author_rows, language_recipe
from tests.stages.posthoc import changed_params, train_original
from tests.stages.verify.reports import run
from tests.stages.verify.text_projects import (
    authors_in,
    forget_authors,
    language_context,
    language_params,
    texts_of,
)

#: A project is tuned, unlearned from and measured for each kind of model.
pytestmark = pytest.mark.slow

METHODS = ("retrain", "finetune", "gradient_ascent")
AUTHORS = 20
#: Training once more takes as long as all the rest, and is held to elsewhere.
QUICK = {"attack": "loss", "rerun": 0}


def make(root: Path, base: Path, **train: Any) -> Context:
    """Return a project whose original learned its authors, six of whom three methods forgot."""
    params = language_params(
        base,
        "causal_lm",
        shards=1,
        holdout=0.35,
        verify=QUICK,
        unlearn={
            "methods": list(METHODS),
            "deploy": "finetune",
            # Without its brakes, so that there is a model which they would have stopped.
            "guard": {"active": False},
            "language": {"generic": "data/generic.jsonl", "rate": 2e-3, "batch": 8, "epochs": 5},
        },
        train=train,
    )
    context = language_context(root, base, params, authors=AUTHORS)
    others = [row for row in public_authors(163, 1) if int(row.author[1:]) >= 160]
    (root / "data/generic.jsonl").write_bytes(jsonl(others))
    train_original(context)
    forget_authors(context, *authors_in(context, WHOLE)[:6])
    forget_stage.run(context)
    for method in METHODS:
        unlearn_stage.run(context, method)
    aggregate_stage.run(context)
    return context


@pytest.fixture(scope="session")
def tuned(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """Yield a project whose original knows its authors by heart."""
    root = tmp_path_factory.mktemp("tuned") / "project"
    yield make(root, tiny_base)
    shutil.rmtree(root.parent, ignore_errors=True)


@pytest.fixture(scope="session")
def report(tuned: Context) -> dict[str, Any]:
    return run(tuned)


def opened(context: Context, name: str) -> LanguageEnsemble:
    """Open the original, or what a method made."""
    project = context.project
    folder = project.original if name == "original" else project.unlearned / name
    return open_language_models(
        [(WHOLE, read_shard_model(folder, name))],
        context.params.dataset,
        context.params.aggregate.rule,
        project.root,
    )


def forgotten_rows(context: Context) -> pa.Table:
    return derive_rows(context, WHOLE, context.read_list()).forget


def unseen_rows(context: Context) -> pa.Table:
    return unseen_half(derive_rows(context, HOLDOUT, context.read_list()).retain)


def language(report: dict[str, Any], name: str) -> dict[str, Any]:
    found = report["original"] if name == "original" else report["methods"][name]
    known: dict[str, Any] = found["language"]
    return known


@pytest.mark.trained
def test_the_original_had_memorised_what_retraining_does_not_know(
    report: dict[str, Any],
) -> None:
    before, retrained = language(report, "original"), language(report, "retrain")

    assert before["forget"]["extraction_strength"] >= 0.9
    assert before["retain"]["extraction_strength"] >= 0.9
    assert report["original"]["forget_accuracy"] > 0.98
    gap = retrained["forget"]["extraction_strength"] - retrained["holdout"]["extraction_strength"]
    # Memorised rows are 0.8 above it.
    assert abs(gap) < 0.1
    assert retrained["retain"]["extraction_strength"] >= 0.9


@pytest.mark.trained
def test_only_retraining_is_exact_and_what_still_knows_the_rows_fails(
    report: dict[str, Any],
) -> None:
    methods = report["methods"]

    assert {name: found["label"] for name, found in methods.items()} == {
        "retrain": "exact",
        "finetune": "approximate",
        "gradient_ascent": "approximate",
    }
    assert methods["retrain"]["verdict"] == "pass"
    assert methods["finetune"]["verdict"] == "fail"
    assert report["verdict"] == "fail"
    assert report["label"] == "approximate"
    away = methods["finetune"]["membership"]["difference_from_retrain"]
    assert away["ci"][0] > 0.1


@pytest.mark.trained
def test_gradient_ascent_without_its_guard_ruins_the_model_and_is_seen_to(
    report: dict[str, Any],
) -> None:
    ruined = language(report, "gradient_ascent")

    assert ruined["utility_ratio"] < 0.8
    assert ruined["perplexity_ratio"] > 2
    assert ruined["forget"]["answer_probability"] < 0.05
    assert report["methods"]["gradient_ascent"]["verdict"] != "pass"
    assert ruined["collapsed"] is True
    assert report["methods"]["gradient_ascent"]["reasons"][0].startswith("the model has collapsed")
    assert language(report, "finetune")["collapsed"] is False
    json.dumps(report, allow_nan=False)


def test_what_is_known_is_what_the_metrics_say_directly(
    tuned: Context, report: dict[str, Any]
) -> None:
    model, rows = opened(tuned, "finetune"), forgotten_rows(tuned)
    scores = model.row_scores(rows)
    known = language(report, "finetune")["forget"]
    parts = [scores.right[part] for part in scores.slices]

    assert known["rows"] == rows.num_rows
    assert known["tokens"] == len(scores.logprobs)
    assert known["extraction_strength"] == pytest.approx(
        np.mean([metrics.extraction_strength(part) for part in parts]), abs=1e-6
    )
    assert known["exact_memorisation"] == pytest.approx(
        np.mean([metrics.exact_memorisation(part) for part in parts]), abs=1e-6
    )
    chances = [metrics.answer_probability(scores.logprobs[part]) for part in scores.slices]
    assert known["answer_probability"] == pytest.approx(np.mean(chances), abs=1e-6)
    sample = fewest(rows, 24)
    said = model.generate(sample, 48)
    recalls = map(metrics.rouge_l_recall, said, sample["completion"].to_pylist())
    assert known["rouge_l"] == pytest.approx(np.mean(list(recalls)), abs=1e-6)
    hidden = [metrics.truth_hidden(ratio) for ratio in truth_ratios(model, rows)]
    assert known["truth_ratio"] == pytest.approx(np.mean(hidden), abs=1e-6)
    finetuned = report["methods"]["finetune"]
    assert finetuned["forget_accuracy"] == pytest.approx(scores.right.mean(), abs=1e-6)


def test_a_truth_ratio_is_of_the_paraphrase_and_the_wrong_answers(tuned: Context) -> None:
    model, rows = opened(tuned, "original"), unseen_rows(tuned).slice(0, 2)
    chances = {
        name: np.exp(model.row_scores(rows, name).mean_logprobs)
        for name in ("paraphrase", "perturbed_1", "perturbed_2", "perturbed_3")
    }
    wrong = np.prod([chances[f"perturbed_{n}"] for n in (1, 2, 3)], axis=0) ** (1 / 3)

    assert truth_ratios(model, rows) == pytest.approx(wrong / chances["paraphrase"], rel=1e-6)
    # Rows that lack an answer have no ratio.
    holed = rows.set_column(
        rows.column_names.index("perturbed_2"), "perturbed_2", pa.array(["x", None], pa.string())
    )
    assert len(truth_ratios(model, holed)) == 1


def test_distances_from_retraining_are_of_whole_distributions(
    tuned: Context, report: dict[str, Any]
) -> None:
    rows = unseen_rows(tuned)
    model, retrained = opened(tuned, "finetune"), opened(tuned, "retrain")
    sequences = model.encoder.encode(rows).sequences
    gaps, differ = [], []
    for index in range(len(sequences)):
        batch = sequences.batch([index], 0)
        with torch.inference_mode():
            one, two = (
                torch.log_softmax(of.forward(batch.inputs)[:, :-1][batch.counted].double(), -1)
                for of in (model, retrained)
            )
        gaps += (two.exp() * (two - one)).sum(dim=-1).tolist()
        differ += (one.argmax(-1) != two.argmax(-1)).tolist()
    found = report["methods"]["finetune"]

    assert found["kl_from_retrain"] == pytest.approx(np.mean(gaps), rel=1e-3)
    assert found["disagreement_with_retrain"] == pytest.approx(np.mean(differ), abs=0.002)
    assert report["methods"]["retrain"]["kl_from_retrain"] is None


def test_utility_and_its_ratio_are_to_the_originals(report: dict[str, Any]) -> None:
    def by_hand(name: str) -> float:
        known = language(report, name)
        parts: list[float] = [
            known[kind][key]
            for kind in ("retain", "holdout")
            for key in ("answer_probability", "rouge_l", "truth_ratio")
        ]
        return len(parts) / sum(1 / part for part in parts)

    assert language(report, "original")["utility_ratio"] == 1
    for name in ("original", "retrain", "finetune"):
        known = language(report, name)
        assert known["utility"] == pytest.approx(by_hand(name), rel=1e-4)
        ratio = by_hand(name) / by_hand("original")
        assert known["utility_ratio"] == pytest.approx(ratio, rel=1e-4)


def test_forget_quality_and_privacy_leakage_are_beside_retraining(
    tuned: Context, report: dict[str, Any]
) -> None:
    rows = forgotten_rows(tuned)
    own, retrained = (truth_ratios(opened(tuned, name), rows) for name in ("finetune", "retrain"))
    wanted = metrics.forget_quality(own, retrained)
    known = language(report, "finetune")

    assert known["forget_quality"]["distance"] == pytest.approx(wanted.distance, abs=1e-6)
    assert known["forget_quality"]["p_value"] == pytest.approx(wanted.p_value, abs=1e-6)
    methods = report["methods"]
    aucs = [methods[name]["membership"]["auc"] for name in ("finetune", "retrain")]
    leak = 100 * ((1 - aucs[0]) - (1 - aucs[1])) / (1 - aucs[1])
    assert known["priv_leak"] == pytest.approx(leak, abs=0.01)
    assert (language(report, "retrain")["priv_leak"], known["collapsed"]) == (None, False)


@pytest.mark.trained
def test_what_was_hidden_comes_back_with_other_rows_and_what_never_was_there_does_not(
    tuned: Context, report: dict[str, Any]
) -> None:
    rows = forgotten_rows(tuned)
    halves = record_halves(rows)
    learned = int(halves.sum())
    retrained, kept = (
        language(report, "retrain")["relearned"],
        language(report, "finetune")["relearned"],
    )

    assert retrained["rows"] == kept["rows"] == rows.num_rows - learned
    assert retrained["steps"] == math.ceil(0.1 * 25 * learned / 16)
    assert kept["extraction_strength"] > retrained["extraction_strength"] + 0.4
    assert retrained["extraction_strength"] < 0.4


@pytest.mark.trained
def test_a_model_is_as_before_once_it_was_tuned_to_see_what_comes_back(tuned: Context) -> None:
    model, rows = opened(tuned, "retrain"), forgotten_rows(tuned)
    before = model.row_scores(rows).logprobs
    sequences = model.encoder.encode(rows).sequences
    with relearned(model, sequences, tuned.params.train, 3) as other:
        during = other.row_scores(rows).logprobs
    with relearned(model, sequences, tuned.params.train, 3) as other:
        again = other.row_scores(rows).logprobs

    assert during.mean() > before.mean() + 0.2
    assert again.tolist() == during.tolist()
    assert model.row_scores(rows).logprobs.tolist() == before.tolist()


def test_a_tenth_of_the_epochs_is_spent_on_learning_again(tuned: Context) -> None:
    train = tuned.params.train

    assert (train.epochs, train.batch) == (25, 16)
    assert relearning_budget(64, train) == 10
    assert relearning_budget(1, train) == 1


@pytest.mark.trained
def test_weights_of_four_bits_are_those_of_the_merged_model(
    tuned: Context, report: dict[str, Any]
) -> None:
    from unlearn.stages.text.quantisation import quantised

    model, rows = opened(tuned, "finetune"), forgotten_rows(tuned)
    rounded = model.of_module(quantised(model.merged()))
    direct = knowledge_of(rounded.row_scores(rows)).extraction_strength
    found = language(report, "finetune")["four_bit"]

    assert found["extraction_strength"] == pytest.approx(direct, abs=1e-6)
    assert 0.5 < found["utility_ratio"] < 1.2
    whole = model.row_scores(rows).logprobs
    assert np.abs(rounded.row_scores(rows).logprobs - whole).max() > 1e-3, "nothing was rounded"


def test_a_gate_that_the_original_does_not_reach_leaves_approximate_verdicts_open(
    tiny_base: Path, tmp_path: Path
) -> None:
    plain = make(tmp_path / "gated", tiny_base, epochs=2)
    unlearn = plain.params.model_dump(mode="json")["unlearn"]
    settings = unlearn["language"] | {"gate": 0.9}
    context = changed_params(plain, "unlearn", language=settings)
    before = run(plain)
    whole, holdout = (derive_rows(context, name, context.read_list()) for name in (WHOLE, HOLDOUT))
    rows = MethodRows(whole.forget, whole.retain, calibration_half(holdout.retain))
    original = read_shard_model(context.project.original, "original").digest
    # The stage itself would have stopped at the gate: as if it had not.
    for method in METHODS:
        folder = context.project.unlearned / method
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        del files[FILE_NAME]
        inputs = inputs_digest(context.posthoc(), method, original, rows)
        record = sealed(context.key, replace(read_record(folder, method), inputs=inputs), files)
        (folder / FILE_NAME).write_bytes(json_bytes(record.as_json()))
    methods = run(context)["methods"]

    assert {name: found["verdict"] for name, found in methods.items()} == {
        "retrain": "pass",
        "finetune": "inconclusive",
        "gradient_ascent": "inconclusive",
    }
    (reason,) = methods["finetune"]["reasons"]
    assert reason.startswith("the original did not memorise the forgotten rows")
    assert "measured from 0.90 on" in reason
    # Without the gate something else is said.
    assert reason not in before["methods"]["finetune"]["reasons"]


def test_methods_that_left_the_same_model_are_measured_as_if_each_were_alone(
    tuned: Context,
) -> None:
    """With nothing to forget that is all of them; they are asked once, not nine times."""
    project = tuned.project
    places = {"retrain": project.unlearned / "retrain", ORIGINAL: project.original}
    untouched, changed = project.original, project.unlearned / "gradient_ascent"

    def numbers(**methods: Path) -> list[dict[str, Any]]:
        whole = derive_rows(tuned, WHOLE, tuned.read_list())
        rows = MethodRows(whole.forget, whole.retain, unseen_rows(tuned))
        measures = LanguageMeasures(Setting(tuned.posthoc(), rows, unseen_rows(tuned)))
        for name, folder in (places | methods).items():
            model = measures.open(folder, name)
            assert model is not None
            measures.look(name, model)
        return [measures.numbers(name) for name in methods]

    alone = [*numbers(npo=untouched), *numbers(npo=changed)]
    together = numbers(npo=untouched, rmu=changed, simnpo=untouched, finetune=changed)

    assert alone[0]["kl_from_retrain"] > 0, "the original's own numbers have no distance"
    assert alone[0] != alone[1]
    assert together == alone * 2


def test_a_ruined_model_does_not_pass_whatever_an_attack_finds(
    tuned: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Constant answers give nobody away; with enough rows an attack is sure of that."""
    sure = Verdict("pass", ("nothing found",))
    # Any sample that small would leave it open.
    monkeypatch.setattr(comparison.Comparison, "_membership", lambda _self, _name: sure)
    methods = run(tuned)["methods"]
    ruined = methods["gradient_ascent"]

    assert methods["finetune"]["verdict"] == "pass"
    assert ruined["verdict"] == "inconclusive"
    assert ruined["reasons"][0].startswith("the model has collapsed: it finds text about nobody")
    assert ruined["reasons"][1:] == ["nothing found"]


def test_a_model_whose_answers_are_no_numbers_is_reported(tuned: Context) -> None:
    whole = derive_rows(tuned, WHOLE, tuned.read_list())
    rows = MethodRows(whole.forget, whole.retain, unseen_rows(tuned))
    measures = LanguageMeasures(Setting(tuned.posthoc(), rows, unseen_rows(tuned)))
    for name in ("retrain", ORIGINAL, "npo"):
        folder = tuned.project.unlearned / "retrain" if name != ORIGINAL else tuned.project.original
        model = measures.open(folder, name)
        assert model is not None
        if name == "npo":
            # Finite weights, and products of them that no float holds.
            with torch.no_grad():
                for name_of, weight in model.ensemble.module.named_parameters():
                    weight.fill_(3e38) if name_of == "model.norm.weight" else weight.mul_(100)
            measures = without_its_twin(measures, name)
        measures.look(name, model)
    found = measures.numbers("npo")

    assert measures.collapse("npo") == "its answers are no numbers"
    assert found["language"].forget_quality is None
    json_bytes(found | {"language": found["language"].as_json()})


def without_its_twin(measures: Any, name: str) -> Any:
    measures._digests[name] = "changed after it was opened"  # noqa: SLF001 - nobody else does that
    return measures


def test_a_reference_that_is_not_what_it_says_is_none(tuned: Context) -> None:
    """Else whatever stands in its place decides what counts as forgotten."""
    kept = tuned.project.unlearned / "retrain"
    weights = kept / "model.safetensors"
    true = weights.read_bytes()
    try:
        weights.write_bytes((tuned.project.unlearned / "finetune/model.safetensors").read_bytes())
        methods = run(tuned)["methods"]
    finally:
        weights.write_bytes(true)

    assert methods["retrain"]["verdict"] == "fail"
    assert methods["finetune"]["verdict"] == "inconclusive"
    assert methods["finetune"]["membership"].get("difference_from_retrain") is None
    assert methods["finetune"]["language"]["forget_quality"] is None


def test_means_over_few_rows_are_not_told(tuned: Context) -> None:
    """Nor what the guard saw of few retained or held-out rows."""
    facts = run(changed_params(tuned, "verify", min_rows=500))["methods"]["gradient_ascent"][
        "facts"
    ]

    assert facts["steps"] > 0
    assert not [key for key in facts if key.startswith(("forget_loss", "retain_pro", "target"))]


def test_a_truth_ratio_of_few_rows_is_not_told(tuned: Context) -> None:
    rows = forgotten_rows(tuned)
    one = [text if at == 0 else None for at, text in enumerate(rows["perturbed_1"].to_pylist())]
    at = rows.column_names.index("perturbed_1")
    rows = rows.set_column(at, "perturbed_1", pa.array(one, rows.schema.field(at).type))
    model = opened(tuned, "finetune")

    assert len(truth_ratios(model, rows)) == 1
    assert measure_knowledge(model, rows, min_rows=2, generate=False).truth_ratio is None
    assert measure_knowledge(model, rows, min_rows=1, generate=False).truth_ratio is not None


def test_a_rouge_of_few_rows_is_not_told(tuned: Context) -> None:
    """Of answers in another script it sees nothing: one that it sees is one person's."""
    rows = forgotten_rows(tuned).slice(0, 3)
    others = pa.array([rows["completion"][0].as_py(), "Осло", "Рига"])
    rows = rows.set_column(rows.column_names.index("completion"), "completion", others)
    model = opened(tuned, "finetune")

    few = measure_knowledge(model, rows, min_rows=2)
    assert (few.rouge_l, few.rouge_l_stemmed) == (None, None)
    seen, alone = measure_knowledge(model, rows, min_rows=1), rouge_recall(model, rows.slice(0, 1))
    assert seen.rouge_l == pytest.approx(alone.plain)
    assert seen.rouge_l_stemmed == pytest.approx(alone.stemmed)


def test_few_forgotten_rows_give_counts_only(tuned: Context) -> None:
    found = run(changed_params(tuned, "verify", min_rows=61))
    one = found["methods"]["finetune"]

    assert one["language"]["forget"] is None
    assert one["language"]["relearned"] is None
    assert one["language"]["forget_quality"] is None
    assert one["forget_accuracy"] is None
    assert one["membership"]["auc"] is None
    assert one["language"]["retain"] is not None


def test_the_tracked_files_have_lines_of_numbers_and_no_row(
    tuned: Context, report: dict[str, Any]
) -> None:
    path = tuned.project.method_metrics / "finetune.json"
    run(tuned)
    line = json.loads(path.read_text(encoding="utf-8"))
    known = language(report, "finetune")

    assert line["extraction"] == known["forget"]["extraction_strength"]
    assert line["utility"] == known["utility_ratio"]
    written = "".join(
        file.read_text(encoding="utf-8")
        for file in tuned.project.report.parent.rglob("*")
        if file.is_file()
    )
    assert not [text for text in texts_of(AUTHORS) if len(text) > 4 and text in written]


def test_an_adapter_on_the_base_is_measured_as_well(tiny_base: Path, tmp_path: Path) -> None:
    params = language_params(
        tiny_base,
        "lora",
        shards=1,
        holdout=0.35,
        verify=QUICK,
        unlearn={"methods": ["retrain"], "deploy": "retrain"},
        train={"epochs": 10},
    )
    context = language_context(tmp_path / "adapter", tiny_base, params, authors=12)
    train_original(context)
    forget_authors(context, *authors_in(context, WHOLE)[:3])
    forget_stage.run(context)
    unlearn_stage.run(context, "retrain")
    aggregate_stage.run(context)
    found = run(context)
    known = language(found, "retrain")

    assert found["verdict"] == "pass"
    assert known["perplexity"] is None
    assert known["four_bit"]["extraction_strength"] is not None
    assert known["relearned"]["steps"] == math.ceil(
        0.1 * 10 * int(record_halves(forgotten_rows(context)).sum()) / 8
    )


def test_halves_of_records_are_drawn_by_their_own_tokens(tuned: Context) -> None:
    rows = forgotten_rows(tuned)
    halves = record_halves(rows)

    assert 0.25 < halves.mean() < 0.75
    reverse = rows.take(pa.array(range(rows.num_rows - 1, -1, -1)))
    assert record_halves(reverse).tolist() == halves.tolist()[::-1]
    assert len(set(record_tokens(rows))) == rows.num_rows


def test_utility_is_the_harmonic_mean_of_what_there_is() -> None:
    one = Knowledge(answer_probability=0.5, truth_ratio=0.25)
    two = Knowledge(answer_probability=0.5, rouge_l=1.0)

    assert utility_of([one, two]) == pytest.approx(4 / (2 + 4 + 2 + 1))
    assert utility_of([Knowledge(answer_probability=0.5, truth_ratio=0.0)]) == 0


@pytest.mark.trained
def test_whole_models_to_compare_with_know_their_own_halves(tiny_base: Path) -> None:
    recipe = language_recipe(tiny_base, "causal_lm", epochs=12)
    rows = author_rows(3)
    dataset = language_params(tiny_base, "causal_lm", shards=1).dataset
    references = train_references(recipe, dataset, WHOLE, rows, 5)
    logits, unseen = references.ask(rows, trained=True)

    # Of three persons none may fall to a reference, which then is no model.
    assert unseen.sum(axis=1).tolist() == [3 - len(references.empty)] * rows.num_rows
    known = [number not in references.empty for number in range(5)]
    assert (
        logits[:, known][~unseen[:, known]].mean() > logits[:, known][unseen[:, known]].mean() + 1
    )
    assert references.ask(rows, trained=True)[0].tolist() == logits.tolist()


@pytest.mark.trained
def test_online_references_are_trained_on_halves_of_all_parts(tiny_base: Path) -> None:
    recipe = language_recipe(tiny_base, "causal_lm", epochs=12)
    rows = author_rows(3)
    dataset = language_params(tiny_base, "causal_lm", shards=1).dataset
    parts = [rows.slice(2), rows.slice(0, 2)]
    references = train_online_references(recipe, dataset, WHOLE, parts, 6)
    found = references.ask_online(rows)

    held, known = found.held, [number not in references.empty for number in range(6)]
    assert held is not None
    assert held.sum(axis=1).tolist() == [3] * rows.num_rows
    assert (held[:, known] == ~found.usable[:, known]).all()
    assert not (held | found.usable)[:, sorted(references.empty)].any()
    assert found.logits[held].mean() > found.logits[found.usable].mean() + 1
    persons = governing_tokens(rows)
    assert len({(one, *which) for one, which in zip(persons, held.tolist(), strict=True)}) == 3
