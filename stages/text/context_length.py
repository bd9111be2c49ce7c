"""How many tokens a base reads, whatever its configuration calls that."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

#: Names of the number of positions, in the order in which they are looked for.
_NAMES = (
    "max_position_embeddings",
    "n_positions",
    "max_sequence_length",
    "max_seq_len",
    "seq_length",
    "n_ctx",
    "max_target_positions",
    "model_max_length",
)

#: Parts of a configuration that have the language model of a model for text and pictures.
_PARTS = ("text_config", "language_config", "llm_config")

#: Where a configuration says that positions are stretched.
_STRETCHED = ("rope_scaling", "rope_parameters")

#: Ways to stretch after which `max_position_embeddings` is still the number before.
_FACTORS = ("linear", "dynamic", "yarn")

#: Tokenizers without a limit have a number with thirty digits.
_MOST = 1 << 30


def longest_of(config: Mapping[str, Any]) -> int | None:
    """Return how many tokens a model reads at most, by its configuration; None if it does not say.

    Positions that are stretched (`rope_scaling`) count with their factor, where the configuration
    has the number before stretching.
    """
    for part in _parts(config):
        for name in _NAMES:
            if (found := _number(part.get(name))) is not None:
                return max(found, _stretched(part, found))
    return None


def longest(folder: Path) -> int | None:
    """Return how many tokens a checkpoint reads at most, by its files; None if they do not say.

    What config.json says counts; only where it says nothing, what the tokenizer's file says.
    """
    for name in ("config.json", "tokenizer_config.json"):
        try:
            config = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(config, dict) and (found := longest_of(config)) is not None:
            return found
    return None


def _parts(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield config
    for name in _PARTS:
        if isinstance(part := config.get(name), Mapping):
            yield part


def _number(value: object) -> int | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return int(value) if 1 < value < _MOST else None


def _stretched(config: Mapping[str, Any], positions: int) -> int:
    for name in _STRETCHED:
        scaling = config.get(name)
        if not isinstance(scaling, Mapping):
            continue
        factor = scaling.get("factor")
        if scaling.get("rope_type", scaling.get("type")) not in _FACTORS:
            continue
        if isinstance(factor, int | float) and 1 <= factor < _MOST:
            before = _number(scaling.get("original_max_position_embeddings")) or positions
            return int(before * factor)
    return positions
