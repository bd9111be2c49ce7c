"""How many tokens a base reads, by all the names that configurations have for it."""

import json
from pathlib import Path
from typing import Any

import pytest
from unlearn.stages.errors import InputError
from unlearn.stages.text.context_length import longest, longest_of


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"max_position_embeddings": 4096}, 4096),
        ({"n_positions": 1024, "n_ctx": 512}, 1024),
        ({"n_ctx": 512}, 512),
        ({"max_seq_len": 2048}, 2048),
        ({"seq_length": 8192}, 8192),
        ({"text_config": {"max_position_embeddings": 131072}}, 131072),
        ({"max_position_embeddings": None, "text_config": {"n_positions": 77}}, 77),
        ({"model_max_length": 2048.0}, 2048),
        ({"model_max_length": 1e30}, None),
        ({"max_position_embeddings": True}, None),
        ({"max_position_embeddings": "4096"}, None),
        ({"max_position_embeddings": 0}, None),
        ({}, None),
        # Before stretching, as the documentation of these kinds says.
        (
            {"max_position_embeddings": 4096, "rope_scaling": {"type": "linear", "factor": 4.0}},
            16384,
        ),
        (
            {
                "max_position_embeddings": 32768,
                "rope_scaling": {
                    "rope_type": "yarn",
                    "factor": 4.0,
                    "original_max_position_embeddings": 32768,
                },
            },
            131072,
        ),
        # After it: Llama 3.
        (
            {
                "max_position_embeddings": 131072,
                "rope_parameters": {
                    "rope_type": "llama3",
                    "factor": 8.0,
                    "original_max_position_embeddings": 8192,
                },
            },
            131072,
        ),
        (
            {
                "max_position_embeddings": 131072,
                "rope_scaling": {
                    "type": "yarn",
                    "factor": 4.0,
                    "original_max_position_embeddings": 32768,
                },
            },
            131072,
        ),
        ({"max_position_embeddings": 64, "rope_scaling": {"rope_type": "default"}}, 64),
        ({"max_position_embeddings": 64, "rope_scaling": "linear"}, 64),
    ],
)
def test_a_configuration_says_it_by_many_names(
    config: dict[str, Any], expected: int | None
) -> None:
    assert longest_of(config) == expected


def test_the_tokenizer_says_it_where_the_configuration_does_not(tmp_path: Path) -> None:
    assert longest(tmp_path) is None
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 2048}))
    (tmp_path / "config.json").write_text("[]")
    assert longest(tmp_path) == 2048
    (tmp_path / "config.json").write_text(json.dumps({"n_positions": 64}))
    assert longest(tmp_path) == 64


def test_a_model_is_not_loaded_for_more_than_it_reads(tmp_path: Path) -> None:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel
    from unlearn.stages.config.text import CausalOptions
    from unlearn.stages.text.base import load_module, pin_files

    shape = GPT2Config(n_positions=32, n_embd=8, n_layer=1, n_head=1, vocab_size=16)
    GPT2LMHeadModel(shape).save_pretrained(tmp_path)
    files = pin_files(tmp_path, "base")
    options = CausalOptions(base="base", files=files, context=33)
    cpu = torch.device("cpu")
    with pytest.raises(InputError, match=r"context is 33, and the base reads 32 tokens"):
        load_module(tmp_path, options, cpu, half=False)
    load_module(tmp_path, options.model_copy(update={"context": 32}), cpu, half=False)
