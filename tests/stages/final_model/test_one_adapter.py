"""One adapter in place of many: its update is the mean of theirs, and plain PEFT reads it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load as load_tensors
from unlearn.stages.config.params import Params
from unlearn.stages.errors import InputError
from unlearn.stages.final_model.files import final_model_files, read_final_model
from unlearn.stages.final_model.one_adapter import (
    config_for_peft,
    mean_update,
    merge_members,
    public_name,
)
from unlearn.stages.final_model.text_ensemble import LanguageEnsemble
from unlearn.stages.final_model.text_loading import load_language_model, open_language_models
from unlearn.stages.text.adapters import Shape
from unlearn.stages.training.shard_model import ShardModel
from unlearn.stages.verify.membership.row_scores import logit_of_logs
from unlearn.stages.verify.membership.text_answers import ask_merged

from tests.language_models import author_rows, drawn_adapters, language_params, language_train
from tests.pipeline.conftest import change_a_weight
from tests.stages.conftest import put

NAMES = ("s000", "s001", "s002")
ROWS = author_rows(3)

Models = list[tuple[str, ShardModel]]


@pytest.fixture(scope="module")
def models(blank_base: Path) -> Models:
    """Return adapters whose weights were drawn."""
    return drawn_adapters(blank_base, NAMES)


@pytest.fixture(scope="module")
def params(blank_base: Path) -> Params:
    return language_params(language_train(blank_base), shards=3, rule="merged")


@pytest.fixture(scope="module")
def folder(
    models: Models, params: Params, blank_base: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("merged") / "final_model"
    put(folder, dict(final_model_files(params, blank_base.parent, models)))
    return folder


@pytest.fixture(scope="module")
def opened(folder: Path, blank_base: Path) -> LanguageEnsemble:
    return load_language_model(folder, blank_base.parent)


def update(shape: Shape, tensors: dict[str, torch.Tensor], target: str) -> torch.Tensor:
    key = f"base_model.model.{target}"
    down, up = tensors[f"{key}.lora_A.weight"], tensors[f"{key}.lora_B.weight"]
    return up.double() @ down.double() * (shape.alpha / shape.rank)


@given(st.lists(st.tuples(st.integers(1, 5), st.floats(0.5, 64)), min_size=1, max_size=4))
@settings(max_examples=20, deadline=None)
def test_its_update_is_the_mean_of_the_members_updates(ranks: list[tuple[int, float]]) -> None:
    generator = torch.Generator().manual_seed(len(ranks))
    parts = []
    for rank, alpha in ranks:
        weights = {
            "base_model.model.q.lora_A.weight": torch.randn(rank, 7, generator=generator),
            "base_model.model.q.lora_B.weight": torch.randn(6, rank, generator=generator),
        }
        parts.append((Shape(rank, alpha, ("q",)), weights))

    shape, tensors = mean_update(parts)

    expected = torch.stack([update(*part, "q") for part in parts]).mean(dim=0)
    assert shape.rank == sum(rank for rank, _ in ranks)
    torch.testing.assert_close(update(shape, tensors, "q"), expected, rtol=1e-5, atol=1e-5)


def test_the_final_model_is_one_adapter_that_names_its_members(folder: Path) -> None:
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    described = json.loads((folder / "ensemble.json").read_text(encoding="utf-8"))
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))

    weights = "adapter_model.safetensors"
    assert names == {"ensemble.json", "model.json", weights, "adapter_config.json"}
    assert [member["shard"] for member in described["members"]] == list(NAMES)
    assert (config["r"], config["lora_alpha"]) == (12, 12.0)
    assert config["base_model_name_or_path"] == "blank"


def test_plain_peft_gives_the_same_greedy_tokens(
    folder: Path, opened: LanguageEnsemble, blank_base: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(blank_base, dtype=torch.float32)
    model = PeftModel.from_pretrained(plain, str(folder)).eval()
    rows = ROWS.slice(0, 4)
    answers = []
    for prompt in opened.encoder.prompts(rows):
        tokens = model.generate(
            input_ids=torch.tensor([prompt]), max_new_tokens=8, do_sample=False, pad_token_id=0
        )
        answers.append(opened.encoder.decode(tokens[0, len(prompt) :].tolist()))

    assert opened.generate(rows, 8) == answers


def test_it_is_the_model_whose_layers_have_the_mean_update(
    models: Models, opened: LanguageEnsemble, params: Params, blank_base: Path
) -> None:
    parts = open_language_models(models, params.dataset, "mean_log_probability", blank_base.parent)
    tokens = torch.tensor([opened.encoder.prompts(ROWS.slice(0, 1))[0]])

    with torch.inference_mode():
        at_once = opened.forward(tokens)
        part_by_part = parts.forward_of_one([0, 1, 2])(tokens)
        ensemble = parts.forward(tokens)

    torch.testing.assert_close(part_by_part, at_once, rtol=0, atol=1e-5)
    assert not torch.allclose(ensemble, torch.log_softmax(at_once, dim=-1), atol=1e-3)


def test_references_are_adapters_made_without_the_rows_own_member_and_one_more(
    models: Models, params: Params, blank_base: Path
) -> None:
    root, rows = blank_base.parent, ROWS.slice(8, 4)
    home = np.array([0, 2, 1, 0])
    one = merge_members(models)
    whole = open_language_models([*models, ("merged", one)], params.dataset, "merged", root)
    *members, merged = whole.members
    model, parts = whole.with_members([merged]), whole.with_members(members)

    found = ask_merged(model, parts, rows, home)

    def logit(left: list[int], row: int) -> Any:
        alone = [models[number] for number in left]
        named = [("merged", merge_members(alone))]
        opened = open_language_models(named, params.dataset, "merged", root)
        return logit_of_logs(opened.row_scores(rows.slice(row, 1)).mean_logprobs)[0]

    references = found.final_references
    assert references is not None
    assert references.usable.all()
    expected = [
        [logit([n for n in range(3) if n not in (own, other)], row) for other in range(3)]
        for row, own in enumerate(home)
    ]
    np.testing.assert_allclose(references.logits, expected, atol=1e-4)
    np.testing.assert_allclose(
        found.of_final.logits, [logit([0, 1, 2], row) for row in range(4)], atol=1e-4
    )
    np.testing.assert_allclose(found.logits[1], [logit([n], 1) for n in range(3)], atol=1e-4)


def test_members_without_rows_do_not_count(
    models: Models, params: Params, blank_base: Path
) -> None:
    empty = ShardModel(models[1][1].description | {"kind": "empty", "file": None}, None)
    files = dict(final_model_files(params, blank_base.parent, [models[0], ("s001", empty)]))

    described = json.loads(files["ensemble.json"])
    assert described["empty"] == ["s001"]
    alone = merge_members([models[0]])
    found = load_tensors(files["adapter_model.safetensors"])
    assert all(
        torch.equal(value, found[key]) for key, value in load_tensors(alone.weights or b"").items()
    )


@pytest.mark.parametrize("change", ["weight", "config", "rows"])
def test_a_changed_adapter_is_refused(
    change: str, models: Models, params: Params, blank_base: Path, tmp_path: Path
) -> None:
    put(tmp_path, dict(final_model_files(params, blank_base.parent, models)))
    if change == "weight":
        change_a_weight(tmp_path / "adapter_model.safetensors")
    else:
        path = tmp_path / ("model.json" if change == "config" else "ensemble.json")
        content = json.loads(path.read_text(encoding="utf-8"))
        if change == "config":
            content["adapter"]["alpha"] += 1
        else:
            content["members"][0]["rows"] += 1
        path.write_text(json.dumps(content), encoding="utf-8")

    with pytest.raises(InputError, match="the adapter of the final model was changed"):
        read_final_model(tmp_path)


def test_no_member_no_adapter(params: Params, blank_base: Path, tmp_path: Path) -> None:
    put(tmp_path, dict(final_model_files(params, blank_base.parent, [])))

    assert [path.name for path in tmp_path.iterdir()] == ["ensemble.json"]
    with pytest.raises(InputError, match="no members"):
        load_language_model(tmp_path, blank_base.parent)


def test_a_path_of_this_machine_is_never_written(models: Models) -> None:
    model = models[0][1]
    train = model.description["train"]
    options = train["options"] | {"base": "/home/ada/llama"}
    moved = ShardModel(model.description | {"train": train | {"options": options}}, model.weights)

    assert config_for_peft(moved)["base_model_name_or_path"] == "./llama"
    assert public_name("org/model") == "org/model"


def test_other_models_have_no_such_rule(blank_base: Path) -> None:
    with pytest.raises(InputError, match="merged makes one adapter.*not for causal_lm"):
        language_params(language_train(blank_base, "causal_lm"), rule="merged")
