"""The base of adapters is read once in a process, and no adapter changes what others have."""

from pathlib import Path

import pyarrow as pa
import pytest
import torch
import transformers
from safetensors.torch import load_file
from unlearn.stages.config.text import AdapterOptions
from unlearn.stages.estimators.registry import make_text_estimator
from unlearn.stages.final_model.text_loading import open_language_models
from unlearn.stages.text import base as bases
from unlearn.stages.training.shard_model import ShardModel
from unlearn.stages.unlearn.text.tuned import Tuned

from tests.language_models import LAYOUT, author_rows, language_params, language_recipe
from tests.stages.conftest import train_at_once

ROWS = author_rows(2)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Count the reading of checkpoints, from none that was read before."""
    monkeypatch.setattr(bases._Shared, "key", None)  # noqa: SLF001
    found: list[str] = []
    read = transformers.AutoModelForCausalLM.from_pretrained

    def counted(folder: Path, **more: object) -> object:
        found.append(folder.name)
        return read(folder, **more)

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", counted)
    return found


def test_shards_and_the_final_model_read_the_base_once(blank_base: Path, reads: list[str]) -> None:
    recipe = language_recipe(blank_base)
    members = [
        (name, ShardModel.of_files(train_at_once(recipe, ROWS.slice(10 * at, 10), name)))
        for at, name in enumerate(("s000", "s001"))
    ]
    dataset = language_params(recipe.train, shards=2).dataset
    ensemble = open_language_models(members, dataset, "mean_log_probability", blank_base.parent)
    again = open_language_models(members[:1], dataset, "mean_log_probability", blank_base.parent)
    assert reads == ["blank"]
    # One set of weights in memory.
    places = [
        {weight.data_ptr() for name, weight in of.module.named_parameters() if "lora" not in name}
        for of in (ensemble, again)
    ]
    assert places[0] == places[1]


def test_another_base_or_precision_is_read(blank_base: Path, reads: list[str]) -> None:
    for options in ({}, {"precision": "bfloat16"}, {"context": 40}, {}):
        recipe = language_recipe(blank_base, options=options)
        found = make_text_estimator(recipe.train, LAYOUT, blank_base.parent).base
        half = options.get("precision") == "bfloat16"
        assert next(found.parameters()).dtype == (torch.bfloat16 if half else torch.float32)
    assert len(reads) == 4


def test_a_method_that_merges_an_adapter_changes_no_other_model(blank_base: Path) -> None:
    rows: pa.Table = ROWS.slice(0, 10)
    recipe = language_recipe(blank_base, optimizer={"name": "adamw", "rate": 0.1})
    model = ShardModel.of_files(train_at_once(recipe, rows))
    Tuned(model, AdapterOptions(rank=2, alpha=4), blank_base.parent, seed=3)

    base = make_text_estimator(recipe.train, LAYOUT, blank_base.parent).base
    expected = load_file(blank_base / "model.safetensors")
    for name, weight in base.named_parameters():
        assert torch.equal(weight, expected[name]), name
