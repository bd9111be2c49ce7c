"""Chat templates as models have them, each with the marks of what the assistant says."""

from pathlib import Path
from typing import Any

from unlearn.cli.examples import tiny_base as tiny

#: Special tokens of the templates.
MARKS = (
    "<|im_start|>",
    "<|im_end|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "[INST]",
    "[/INST]",
)

#: Of Qwen and many others.
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' }}"
    "{% endgeneration %}{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

#: Of Llama 3: a date, and texts without spaces around them.
LLAMA = (
    "{{ bos_token }}{{ '<|start_header_id|>system<|end_header_id|>\\n\\nToday: ' }}"
    "{{ strftime_now('%d %b %Y') }}{{ '<|eot_id|>' }}"
    "{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}"
    "{{ message['content'] | trim + '<|eot_id|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] | trim + '<|eot_id|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)

#: Of Mistral: no generation prompt, and an error where roles do not alternate.
MISTRAL = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}"
    "{% set system = messages[0]['content'] + '\\n\\n' %}{% else %}{% set rest = messages %}"
    "{% set system = '' %}{% endif %}{% for message in rest %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}"
    "{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + (system if loop.first else '') + message['content'] + '[/INST]' }}"
    "{% else %}{% generation %}{{ ' ' + message['content'] + eos_token }}{% endgeneration %}"
    "{% endif %}{% endfor %}"
)

#: With calls of tools, which end with another mark than answers do.
TOOLS = (
    "{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] }}"
    "{% if message['tool_calls'] %}{% for call in message['tool_calls'] %}"
    "{{ '<call>' + (call['function'] | tojson) }}{% endfor %}{{ '<|eom_id|>' }}"
    "{% else %}{{ '<|eot_id|>' }}{% endif %}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|eot_id|>' }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n' }}{% endif %}"
)

#: Headers of all turns, and none for an answer alone.
UNPROMPTED = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' }}"
    "{% endgeneration %}{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\\n' }}"
    "{% endfor %}"
)

#: Of Qwen 3: an empty reasoning before the last answer, and none before the others.
REASONING = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}"
    "{% if loop.last %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}"
    "{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

#: By name.
TEMPLATES = {
    "chatml": CHATML,
    "llama": LLAMA,
    "mistral": MISTRAL,
    "tools": TOOLS,
    "unprompted": UNPROMPTED,
    "reasoning": REASONING,
}


def make_chat_base(folder: Path, template: str | None = CHATML) -> None:
    """Write a base that has learned nothing, of 16 wide, whose tokenizer has a chat template."""
    import torch
    from transformers import LlamaForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = chat_tokenizer(template)
    tokenizer.save_pretrained(folder)
    shape = tiny.make_config("tiny")
    shape.update(
        {
            "vocab_size": len(tokenizer),
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "num_hidden_layers": 2,
        }
    )
    torch.manual_seed(1)
    LlamaForCausalLM(shape).save_pretrained(folder)


def chat_tokenizer(template: str | None = CHATML) -> Any:
    """Return a tokenizer with the marks of all templates."""
    tokenizer = tiny.make_tokenizer(["hello there, how are you? I am fine.", "user assistant"] * 9)
    tokenizer.add_special_tokens({"additional_special_tokens": list(MARKS)})
    tokenizer.chat_template = template
    return tokenizer


def chat(*contents: str, system: str | None = None) -> list[dict[str, Any]]:
    """Return a chat of these turns, of which the first is the user's."""
    roles = ["user", "assistant"]
    found = [
        {"role": roles[number % 2], "content": content} for number, content in enumerate(contents)
    ]
    return ([] if system is None else [{"role": "system", "content": system}]) + found
