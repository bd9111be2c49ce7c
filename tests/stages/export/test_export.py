"""What is exported of which project, and what its card says."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unlearn.stages.context import Context, check_params
from unlearn.stages.errors import InputError
from unlearn.stages.export.card import model_card
from unlearn.stages.export.export import Wanted, make_model
from unlearn.stages.export.hub_card import table_card, text_card
from unlearn.stages.export.readiness import check_output
from unlearn.stages.export.record import (
    AttackFacts,
    BaseFacts,
    ExportRecord,
    Generation,
    Kind,
    Measurement,
    Quality,
)
from unlearn.stages.final_model.files import final_model_files
from unlearn.stages.final_model.published import published_digest
from unlearn.stages.project.paths import Project
from unlearn.stages.training.shard_model import ShardModel
from unlearn.stages.verify_report.public import PublicReport

from tests.language_models import drawn_adapters, language_params, language_train
from tests.stages.conftest import KEY, make_params, put

Models = list[tuple[str, ShardModel]]


@pytest.fixture(scope="module")
def models(blank_base: Path) -> Models:
    return drawn_adapters(blank_base, ["s000", "s001", "s002"])


def project(root: Path, base: Path, models: Models, **changes: Any) -> Context:
    """Return a project of which only the final model is there."""
    params = language_params(language_train(base), shards=3)
    if changes:
        params = check_params(params.model_dump(mode="json", exclude_none=True) | changes)
    put(root / "models/final_model", dict(final_model_files(params, root, models)))
    return Context(Project(root), params, KEY)


def test_one_model_is_exported_as_it_is(models: Models, blank_base: Path, tmp_path: Path) -> None:
    changes = {
        "sharding": {"shards": ["s000"], "slices": 1, "holdout": 0.2},
        "unlearn": {"methods": ["retrain", "npo"], "deploy": "npo"},
    }
    context = project(tmp_path, blank_base, models[:1], **changes)

    made = make_model(context, Wanted("adapter"))

    assert made.one is not None
    assert made.one.weights == models[0][1].weights
    more = replace(models[0][1], description={**models[0][1].description, "rows": 1_009})
    assert more.digest != models[0][1].digest
    assert published_digest([("s000", more)]) == published_digest(models[:1])
    for wanted in (Wanted("shards"), Wanted("adapter", rank=2)):
        with pytest.raises(InputError, match="one model|one adapter"):
            make_model(context, wanted)


def test_a_lower_rank_is_noted_with_its_error(
    models: Models, blank_base: Path, tmp_path: Path
) -> None:
    context = project(tmp_path, blank_base, models)

    made = make_model(context, Wanted("adapter", rank=5))

    assert made.one is not None
    assert made.one.description["adapter"]["rank"] == 5
    assert made.compression is not None
    assert made.compression.before == 12
    assert 0 < made.compression.error < 1
    with pytest.raises(InputError, match="rank 12 is not below"):
        make_model(context, Wanted("adapter", rank=12))


@pytest.mark.parametrize("name", ["models/x", "data/x", ".unlearn/x", "there", "no/folder"])
def test_an_output_that_is_taken_is_refused(name: str, tmp_path: Path) -> None:
    for folder in ("models", "data", ".unlearn", "there"):
        (tmp_path / folder).mkdir()

    with pytest.raises(InputError, match="belongs to the project|already exists|no folder"):
        check_output(Project(tmp_path), tmp_path / name)

    assert check_output(Project(tmp_path), tmp_path / "new") == tmp_path / "new"


def make_record(kind: Kind, measurement: Measurement | None) -> ExportRecord:
    return ExportRecord(
        kind=kind,
        label="exact",
        verdict="pass",
        base=BaseFacts(name="org/base", revision="c0ffee", digest="1" * 64),
        generation=Generation(
            commit="abc",
            lock="2" * 64,
            models="3" * 64,
            members=3,
            requests=7,
            pending=0,
            honours_all=True,
        ),
        precision=None,
        rank=12,
        compression=None,
        measurement=measurement,
        files={"adapter_model.safetensors": "4" * 64},
    )


def test_the_card_says_what_is_claimed_and_what_is_not() -> None:
    quality = Quality(perplexity=2.1, accuracy=0.8, extraction=None, unseen_extraction=0.2)
    measured = Measurement(
        exported=quality,
        deployed=quality,
        perplexity_ratio=1.0,
        membership=AttackFacts(
            attack="lira", auc=0.5, low=0.4, high=0.6, verdict="pass", reasons=["as chance"]
        ),
        missing=[],
    )
    record = make_record("adapter", measured)

    card = model_card(record, one_model=False)

    for said in (
        "base_model: org/base",
        "| requests honoured | 7 |",
        "own pre-training",
        "another model than the ensemble",
        "AUC 0.5 (95 % interval 0.4 to 0.6); verdict pass.",
        f"| `adapter_model.safetensors` | `{'4' * 64}` |",
        "| generation: commit of git | `abc` |",
    ):
        assert said in card
    few = AttackFacts(
        attack="lira", auc=None, low=None, high=None, verdict="inconclusive", reasons=["few rows"]
    )
    unmeasured = Measurement(
        exported=None, deployed=None, perplexity_ratio=None, membership=few, missing=["few rows"]
    )
    merged = record.model_copy(update={"kind": "merged", "measurement": unmeasured})
    card = model_card(merged, one_model=True)
    assert "the base with the low-rank adapter of one tuned model merged in" in card
    assert "Membership attack `lira` on this model: no figure; verdict inconclusive." in card
    assert "Note: few rows." in card
    changed = record.model_copy(update={"label": "approximate"})
    assert "It is not a deletion" in model_card(changed, one_model=True)


@pytest.mark.parametrize("verdict", ["pass", "inconclusive", "fail"])
@pytest.mark.parametrize("pending", [0, 2])
def test_a_card_claims_no_more_than_the_verdict(verdict: str, pending: int) -> None:
    record = make_record("adapter", None)
    known = record.generation.model_copy(update={"pending": pending, "honours_all": not pending})
    state = known.published("5" * 64)
    record = record.model_copy(update={"verdict": verdict, "generation": state})
    public = PublicReport.model_validate({"kind": "exact", "modality": "text", "verdict": verdict})
    dataset = make_params().dataset

    for card in (
        model_card(record, one_model=False),
        text_card(record, public, one_model=False),
        table_card(record, public, dataset, weighs_rows=bool(pending), stored=["x stores rows"]),
    ):
        assert ("\n- It was not confirmed that" in card) is (verdict != "pass")
        assert (f": the verdict is {verdict}." in card) is (verdict != "pass")
        assert ("the model may hold their rows" in card) is bool(pending)
        assert card.count("byte for byte") == 1
        assert "requests honoured" not in card
    assert ("the number of rows of each part" in card) is bool(pending)
    assert "\n- x stores rows.\n" in card


@pytest.mark.parametrize("kind", ["adapter", "merged", "shards"])
def test_a_card_for_the_hub_is_valid_and_has_no_figure(kind: Kind) -> None:
    from huggingface_hub import ModelCard

    record = make_record(kind, None)
    public = PublicReport.model_validate(
        {
            "kind": "exact",
            "modality": "text",
            "verdict": "pass",
            "exactness": {"touched": 1, "reran": 2, "matched": 2, "lineage_clean": True},
            "membership": {"attack": "loss", "verdict": "pass", "reasons": ["no advantage"]},
        }
    )

    card = ModelCard(text_card(record, public, one_model=False))

    assert card.data.base_model == "org/base"
    assert card.data.library_name == ("transformers" if kind == "merged" else "peft")
    assert "license" not in card.data.to_dict()
    for line in ("| verdict | pass |", "trained again, and the same | 2, 2 |", "loss: pass"):
        assert line in card.text
    assert ("from_pretrained(base" in card.text) is (kind != "merged")
    assert "AUC" not in card.text
    assert "figures below" not in card.text
    assert "perplexity" not in card.text
