"""Merged weights: transformers reads them, and answers as the adapter on its base does."""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from unlearn.stages.config.params import Params
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.registry import text_options
from unlearn.stages.export.whole_model import Precision, merge_into_base, write_whole_model
from unlearn.stages.final_model.files import final_model_files
from unlearn.stages.final_model.one_adapter import adapter_files, merge_members
from unlearn.stages.final_model.text_loading import load_language_model
from unlearn.stages.text.base import pin_files
from unlearn.stages.training.shard_model import ShardModel

from tests.language_models import (
    CONTEXT,
    author_rows,
    drawn_adapters,
    language_params,
    language_train,
)
from tests.stages.conftest import put

NAMES = ("s000", "s001", "s002")


@pytest.fixture(scope="module")
def base(blank_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a base whose files name a path of the machine that made it."""
    folder = tmp_path_factory.mktemp("named") / "base"
    shutil.copytree(blank_base, folder)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["_name_or_path"] = "/home/ada/base"
    path.write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def models(base: Path) -> list[tuple[str, ShardModel]]:
    return drawn_adapters(base, NAMES)


@pytest.fixture(scope="module")
def params(base: Path) -> Params:
    return language_params(language_train(base), shards=3, rule="merged")


def written(
    models: list[tuple[str, ShardModel]],
    params: Params,
    base: Path,
    folder: Path,
    precision: Precision | None = None,
) -> Path:
    one = merge_members(models)
    whole = merge_into_base(one, text_options(params.train), base.parent, precision)
    folder.mkdir()
    write_whole_model(whole, folder, most_bytes=100_000)
    return folder


def test_transformers_gives_the_tokens_of_the_final_model(
    models: list[tuple[str, ShardModel]], params: Params, base: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = written(models, params, base, tmp_path / "out")
    put(tmp_path / "final_model", dict(final_model_files(params, base.parent, models)))
    final = load_language_model(tmp_path / "final_model", base.parent)
    plain: Any = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    rows = author_rows(1).slice(0, 4)

    answers = []
    for prompt in final.encoder.prompts(rows):
        tokens = plain.generate(
            input_ids=torch.tensor([prompt]), max_new_tokens=8, do_sample=False, pad_token_id=0
        )
        answers.append(final.encoder.decode(tokens[0, len(prompt) :].tolist()))

    assert final.generate(rows, 8) == answers
    assert any(answers)
    assert tokenizer.get_vocab()
    # As transformers splits larger models, with an index.
    assert (folder / "model.safetensors.index.json").is_file()
    assert len(list(folder.glob("model-*.safetensors"))) > 1


def test_the_other_files_are_the_bases_without_paths_of_its_machine(
    models: list[tuple[str, ShardModel]], params: Params, base: Path, tmp_path: Path
) -> None:
    folder = written(models, params, base, tmp_path / "out")

    kept = {name for name in pin_files(base, "base") if not name.endswith(".safetensors")}
    assert kept <= {path.name for path in folder.iterdir()}
    for name in kept - {"config.json"}:
        assert (folder / name).read_bytes() == (base / name).read_bytes()
    assert all(b"/home/ada" not in path.read_bytes() for path in folder.iterdir())
    assert not [path for path in folder.iterdir() if path.is_dir()]


def test_the_same_models_have_the_same_bytes(
    models: list[tuple[str, ShardModel]], params: Params, base: Path, tmp_path: Path
) -> None:
    one, two = (written(models, params, base, tmp_path / name) for name in ("one", "two"))

    files = {path.name: path.read_bytes() for path in one.iterdir()}
    assert files == {path.name: path.read_bytes() for path in two.iterdir()}


def test_weights_are_rounded_once_to_the_precision_asked_for(
    models: list[tuple[str, ShardModel]], params: Params, base: Path
) -> None:
    one, options = merge_members(models), text_options(params.train)

    exact = merge_into_base(one, options, base.parent, None).module.state_dict()
    rounded = merge_into_base(one, options, base.parent, "bfloat16").module.state_dict()

    assert all(value.dtype == torch.bfloat16 for value in rounded.values())
    assert all(torch.equal(value.bfloat16(), rounded[name]) for name, value in exact.items())


def test_a_quantised_base_is_refused(
    models: list[tuple[str, ShardModel]], base: Path, tmp_path: Path
) -> None:
    shutil.copytree(base, tmp_path / "base")
    path = tmp_path / "base/config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(config | {"quantization_config": {"bits": 4}}), encoding="utf-8")
    options = text_options(language_params(language_train(tmp_path / "base")).train)

    with pytest.raises(InputError, match="the base is quantised"):
        merge_into_base(models[0][1], options, tmp_path, None)


def make_other_base(folder: Path, kind: str) -> None:
    """Write a base of another architecture than others here, drawn at random."""
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaForCausalLM
    from unlearn.cli.examples import tiny_base as tiny

    tokenizer = tiny.make_tokenizer(["Where was Ada Holm born? In Oslo."] * 9)
    torch.manual_seed(3)
    model: Any
    if kind == "gpt2":  # Conv1D keeps weights the other way round
        shape: Any = GPT2Config(
            n_embd=16, n_layer=2, n_head=2, n_positions=CONTEXT, vocab_size=len(tokenizer)
        )
        model = GPT2LMHeadModel(shape)
    else:
        shape = tiny.make_config("tiny")
        shape.update({"num_hidden_layers": 2, "hidden_size": 16, "intermediate_size": 32})
        shape.update({"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8})
        shape.update({"vocab_size": len(tokenizer), "tie_word_embeddings": kind == "tied"})
        shape.update({"attention_bias": True, "mlp_bias": True})
        model = LlamaForCausalLM(shape)
    for name, weight in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(weight, std=0.1)  # zeros would show nothing
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize("kind", ["gpt2", "tied", "untied"])
def test_peft_merges_the_adapter_to_the_same_model(kind: str, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    make_other_base(tmp_path / "base", kind)
    models = drawn_adapters(tmp_path / "base", NAMES, strength=0.3)
    params = language_params(language_train(tmp_path / "base"), shards=3, rule="merged")
    folder = written(models, params, tmp_path / "base", tmp_path / "out")
    put(tmp_path / "adapter", dict(adapter_files(merge_members(models))))
    tokens = torch.arange(2, 32).reshape(2, 15)

    def log_probabilities(module: Any) -> torch.Tensor:
        with torch.inference_mode():
            found: torch.Tensor = module.double()(input_ids=tokens).logits.log_softmax(-1)
        return found

    def read(path: Path) -> Any:
        return AutoModelForCausalLM.from_pretrained(path, local_files_only=True)

    with warnings.catch_warnings(action="ignore"):  # of PEFT, about Conv1D
        adapted: Any = PeftModel.from_pretrained(read(tmp_path / "base"), tmp_path / "adapter")
    by_peft = log_probabilities(adapted.merge_and_unload())
    merged = read(folder)

    torch.testing.assert_close(log_probabilities(merged), by_peft, atol=1e-5, rtol=0)
    assert float((log_probabilities(read(tmp_path / "base")) - by_peft).abs().max()) > 0.1
    embeddings, head = merged.get_input_embeddings(), merged.get_output_embeddings()
    assert (embeddings.weight is head.weight) == (kind != "untied")
    assert sum("bias" in name for name in merged.state_dict()) > 0
