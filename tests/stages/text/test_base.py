"""The base: pinned file by file, safetensors alone, and no code of its own."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from unlearn.stages.config.train import TrainParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.causal import CausalEstimator
from unlearn.stages.estimators.registry import text_options
from unlearn.stages.text.base import (
    check_causal,
    check_fit,
    find_base,
    load_module,
    load_tokenizer,
    locate,
    pin_files,
)

from tests.language_models import LAYOUT, language_train

WEIGHTS = "model.safetensors"


@pytest.fixture
def base(blank_base: Path, tmp_path: Path) -> Path:
    """Return a copy of a base, to be changed."""
    folder = tmp_path / "base"
    shutil.copytree(blank_base, folder)
    return folder


def edit(path: Path, **changes: Any) -> None:
    value = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps(value), encoding="utf-8")


def refused(call: Callable[[], object]) -> InputError:
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in caught.value.message
    return caught.value


def loaded(folder: Path, **options: Any) -> Any:
    settings = text_options(language_train(folder, "causal_lm", options=options))
    return load_module(folder, settings, torch.device("cpu"), half=False)


def opened(folder: Path) -> CausalEstimator:
    return CausalEstimator(language_train(folder, "causal_lm"), LAYOUT, folder.parent)


def test_every_file_that_is_read_is_pinned(base: Path) -> None:
    for name in ("README.md", "trainer_state.json", "model.bin", ".hidden.json", "LICENSE.txt"):
        (base / name).write_text("{}", encoding="utf-8")
    (base / "chat_template.jinja").write_text("{{ messages }}", encoding="utf-8")
    (base / "merges.txt").write_text("", encoding="utf-8")
    found = pin_files(base, "the base")

    assert set(found) == {
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "merges.txt",
        WEIGHTS,
        "tokenizer.json",
        "tokenizer_config.json",
    }
    for name, digest in found.items():
        assert digest == hashlib.sha256((base / name).read_bytes()).hexdigest()


def test_a_pinned_base_is_found_below_the_project(base: Path) -> None:
    settings = text_options(language_train(base))

    assert find_base(settings, base.parent) == base
    absolute = settings.model_copy(update={"base": str(base)})
    assert find_base(absolute, Path("elsewhere")) == base


@pytest.mark.parametrize("name", [WEIGHTS, "config.json", "tokenizer.json"])
def test_a_changed_file_is_refused_by_its_name(base: Path, name: str) -> None:
    settings = text_options(language_train(base))
    before = (base / name).stat()
    content = bytearray((base / name).read_bytes())
    content[-2] ^= 1
    (base / name).write_bytes(content)
    assert (base / name).stat().st_size == before.st_size

    error = refused(lambda: find_base(settings, base.parent))
    assert error.message == (f"the base base is not the one that params.yaml pins: {name} differs")
    assert error.hints[0].startswith("put the pinned files back, or pin the new ones")


def test_a_file_that_came_or_went_is_refused(base: Path) -> None:
    settings = text_options(language_train(base))
    (base / "added_tokens.json").write_text("{}", encoding="utf-8")
    error = refused(lambda: find_base(settings, base.parent))
    assert error.message.endswith("added_tokens.json differs")

    (base / "added_tokens.json").unlink()
    (base / "generation_config.json").unlink()
    error = refused(lambda: find_base(settings, base.parent))
    assert error.message.endswith("generation_config.json differs")


def test_weights_that_can_run_code_are_refused(base: Path) -> None:
    torch.save(load_file(base / WEIGHTS), base / "pytorch_model.bin")
    (base / WEIGHTS).unlink()

    error = refused(lambda: pin_files(base, "the base b"))
    assert error.message == (
        "the base b has no weights in safetensors; others can run code and are never loaded"
    )
    assert error.hints == ("save_pretrained(folder, safe_serialization=True) writes them",)


def test_an_adapter_is_no_base(base: Path) -> None:
    (base / "adapter_config.json").write_text("{}", encoding="utf-8")

    assert refused(lambda: pin_files(base, "b")).message == "b is an adapter, not a whole model"


def test_weights_of_a_name_that_is_not_loaded_are_no_weights(base: Path) -> None:
    (base / WEIGHTS).rename(base / "decoy.safetensors")

    assert "has no weights in safetensors" in refused(lambda: pin_files(base, "b")).message


@pytest.mark.parametrize("file", ["parts/a.safetensors", "../a.safetensors", "gone.safetensors"])
def test_weights_in_a_file_that_is_not_pinned_are_refused(base: Path, file: str) -> None:
    for place in ("parts", ".."):
        (base / place).mkdir(exist_ok=True)
        shutil.copy(base / WEIGHTS, base / place / "a.safetensors")
    weights = dict.fromkeys(load_file(base / WEIGHTS), file)
    (base / WEIGHTS).unlink()
    write_index(base, {"metadata": {}, "weight_map": weights})

    assert refused(lambda: pin_files(base, "b")).message == (
        f"b: {WEIGHTS}.index.json names weights in {file!r}, which is no .safetensors file beside "
        "it"
    )


@pytest.mark.parametrize("index", [[], {}, {"weight_map": None}, {"weight_map": {"a": ["b"]}}])
def test_what_is_no_index_is_refused(base: Path, index: object) -> None:
    write_index(base, index)

    assert refused(lambda: pin_files(base, "b")).message == (
        f"b: {WEIGHTS}.index.json is no index of weights"
    )


def write_index(base: Path, index: object) -> None:
    (base / f"{WEIGHTS}.index.json").write_text(json.dumps(index), encoding="utf-8")


def test_chat_templates_that_are_not_pinned_are_refused(base: Path) -> None:
    (base / "additional_chat_templates").mkdir()

    error = refused(lambda: pin_files(base, "b"))
    assert error.message == "b has a folder additional_chat_templates, which nothing pins"
    assert error.hints[0].startswith("save the template to use")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("attn_implementation", "someone/kernels"),
        ("_attn_implementation", "flash_attention_2"),
        ("_attn_implementation_internal", "someone/kernels"),
        ("experts_implementation", {"": "someone/kernels"}),
        ("_experts_implementation", ["sdpa"]),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_a_configuration_that_asks_for_kernels_is_refused(
    base: Path, key: str, value: object, *, nested: bool
) -> None:
    edit(base / "config.json", **({"parts": [{"text": {key: value}}]} if nested else {key: value}))

    assert refused(lambda: pin_files(base, "b")).message == (
        f"b: config.json sets {key}, which can fetch code and run it"
    )


@pytest.mark.parametrize("value", [None, "sdpa", "eager"])
def test_attention_that_is_part_of_the_library_is_taken(base: Path, value: str | None) -> None:
    edit(base / "config.json", _attn_implementation=value, _attn_implementation_autoset=True)

    assert loaded(base).config.model_type == "llama"


def test_a_configuration_that_names_other_weights_is_refused(base: Path) -> None:
    edit(base / "config.json", transformers_weights="parts/a.safetensors")

    assert refused(lambda: pin_files(base, "b")).message == (
        "b: config.json names weights by transformers_weights"
    )


def test_what_is_no_checkpoint_is_refused(base: Path) -> None:
    assert (
        refused(lambda: pin_files(base / "no", "b")).message == "b is no folder with a checkpoint"
    )
    (base / "config.json").unlink()
    assert refused(lambda: pin_files(base, "b")).message == "b has no config.json"


@pytest.mark.parametrize("name", ["models/base", "./base", "/nowhere/base", "a/b/c", "data/base"])
def test_a_missing_folder_is_not_looked_for_on_the_hub(name: str, tmp_path: Path) -> None:
    error = refused(lambda: locate(name, tmp_path, None))

    assert error.message == f"the base {name} is not there"
    assert error.hints == ("`dvc pull` fetches what DVC tracks",)


def test_a_name_that_the_hub_cannot_have_is_an_error(tmp_path: Path) -> None:
    error = refused(lambda: locate("no such name", tmp_path, None))

    assert error.message == ("the base no such name is neither a folder nor available from the hub")


def test_a_checkpoint_without_a_tokenizer_is_refused(base: Path) -> None:
    (base / "tokenizer.json").unlink()
    (base / "tokenizer_config.json").unlink()

    assert refused(lambda: load_tokenizer(base)).message == (
        "base has no tokenizer that can be loaded"
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *(("tokenizer_config.json", content) for content in ("[1]", "3", "null", "{")),
        *(("tokenizer.json", content) for content in ("[1]", "3", "{}", '{"model": 3}', "{")),
    ],
)
def test_a_tokenizer_of_another_form_is_refused(base: Path, name: str, content: str) -> None:
    (base / name).write_text(content, encoding="utf-8")

    assert refused(lambda: load_tokenizer(base)).message == (
        "base has no tokenizer that can be loaded"
    )


def test_a_model_that_reads_ahead_is_refused(base: Path, tmp_path: Path) -> None:
    from transformers import BertConfig, BertLMHeadModel

    check_causal(loaded(base))
    torch.manual_seed(0)
    shape = {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "vocab_size": 9}
    config = BertConfig(**shape, intermediate_size=16, initializer_range=1.0)
    BertLMHeadModel(config).save_pretrained(tmp_path / "bert")

    module = loaded(tmp_path / "bert")
    assert refused(lambda: check_causal(module)).message == (
        "the base is not causal: its output at a token depends on later tokens"
    )


@pytest.mark.parametrize("places", [2, 7])
def test_a_base_of_few_words_is_asked_too(places: int) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=places, hidden_size=8, num_hidden_layers=1, num_attention_heads=1
    )
    for kind in (torch.float32, torch.bfloat16):
        check_causal(LlamaForCausalLM(config).to(kind).eval())


def test_a_tokenizer_with_tokens_that_the_model_lacks_is_refused(base: Path) -> None:
    tokenizer = load_tokenizer(base)
    check_fit(tokenizer, loaded(base))
    tokenizer.add_tokens(["<one more>"])
    tokenizer.save_pretrained(base)

    assert refused(lambda: opened(base)).message == (
        "the base's tokenizer does not fit: it has a token 512, and the model has places for 512"
    )


def test_missing_weights_are_not_drawn_at_random(base: Path) -> None:
    tensors = load_file(base / WEIGHTS)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, base / WEIGHTS, metadata={"format": "pt"})

    assert refused(lambda: opened(base)).message == (
        "base lacks weights of its model, such as model.layers.1.mlp.up_proj.weight"
    )


def test_a_context_longer_than_the_base_reads_is_refused(base: Path) -> None:
    assert loaded(base, context=128).config.max_position_embeddings == 128
    assert refused(lambda: loaded(base, context=129)).message == (
        "train.options.context is 129, and the base reads 128 tokens"
    )


def wrong_size(base: Path) -> None:
    edit(base / "config.json", hidden_size=32)


def no_number(base: Path) -> None:
    edit(base / "config.json", hidden_size="many")


def heads_that_do_not_divide(base: Path) -> None:
    edit(base / "config.json", num_attention_heads=5)


def no_heads(base: Path) -> None:
    edit(base / "config.json", num_attention_heads=0)


def no_settings(base: Path) -> None:
    (base / "config.json").write_text("[1]", encoding="utf-8")


def unknown_kind(base: Path) -> None:
    edit(base / "config.json", model_type="nothing")


def no_json(base: Path) -> None:
    (base / "config.json").write_text("{", encoding="utf-8")


def broken_weights(base: Path) -> None:
    (base / WEIGHTS).write_bytes(b"not safetensors")


@pytest.mark.parametrize(
    "spoil",
    [
        wrong_size,
        no_number,
        heads_that_do_not_divide,
        no_heads,
        no_settings,
        unknown_kind,
        no_json,
        broken_weights,
    ],
)
def test_files_that_do_not_make_up_a_model_are_refused(
    base: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(base)

    assert refused(lambda: loaded(base)).message == (
        "base is no causal language model that can be loaded"
    )


def test_code_of_a_checkpoint_is_never_run_nor_asked_for(
    base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # A yes stands ready for whoever asks.
    reading, writing = os.pipe()
    os.write(writing, b"y\ny\ny\n")
    os.close(writing)
    monkeypatch.setattr("sys.stdin", os.fdopen(reading))
    marker = base.parent / "ran"
    (base / "code.py").write_text(f"open({str(marker)!r}, 'w')\n", encoding="utf-8")
    edit(base / "config.json", model_type="odd", auto_map={"AutoConfig": "code.C"})
    edit(
        base / "tokenizer_config.json",
        tokenizer_class="T",
        auto_map={"AutoTokenizer": ["code.T", "code.T"]},
    )

    refused(lambda: loaded(base))
    refused(lambda: load_tokenizer(base))
    assert not marker.exists()
    assert "custom code" not in capsys.readouterr().out


def test_a_base_is_loaded_in_the_precision_that_is_asked_for(base: Path) -> None:
    settings = text_options(language_train(base))
    for half, kind in ((False, torch.float32), (True, torch.bfloat16)):
        module = load_module(base, settings, torch.device("cpu"), half=half)
        assert {weight.dtype for weight in module.parameters()} == {kind}
        assert not module.training


def test_settings_of_a_base_survive_their_json(base: Path) -> None:
    train = language_train(base)

    assert TrainParams.model_validate(train.model_dump(mode="json")) == train


def test_weights_in_several_files_are_loaded_and_pinned_whole(base: Path, tmp_path: Path) -> None:
    module = loaded(base)
    module.save_pretrained(tmp_path / "parts", max_shard_size="200KB")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy2(base / name, tmp_path / "parts" / name)
    pinned = pin_files(tmp_path / "parts", "parts")

    assert sum(name.endswith(".safetensors") for name in pinned) > 1
    assert "model.safetensors.index.json" in pinned
    again = opened(tmp_path / "parts").base
    for name, weight in module.named_parameters():
        assert torch.equal(weight, again.get_parameter(name)), name
    last = max(name for name in pinned if name.endswith(".safetensors"))
    (tmp_path / "parts" / last).unlink()
    error = refused(lambda: opened(tmp_path / "parts"))
    assert f"names weights in {last!r}, which is no .safetensors file beside it" in error.message
