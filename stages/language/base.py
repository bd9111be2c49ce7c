"""The frozen base: a Hugging Face checkpoint whose files params.yaml pins.

Weights are read from safetensors alone, and no code of a checkpoint is ever run.
"""

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn.stages.errors import InputError
from unlearn.stages.language_params import LanguageOptions

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

#: What loading a checkpoint may read. Everything that is there of these is pinned.
_READ = (".json", ".safetensors", ".model", ".jinja", ".txt", ".tiktoken")

#: Not of the model: what other tools leave beside it.
_NOT_READ = ("trainer_state.json", "training_args.json", "all_results.json", "LICENSE.txt")

#: Said outright: where nothing is said, transformers asks at the terminal, and runs it on a yes.
_NO_CODE = False

_INSTALL = "pip install 'dvc-unlearn[llm]'"


def require_libraries() -> None:
    """Raise an InputError if the extra for language models is not installed."""
    from importlib.util import find_spec

    if missing := [name for name in ("transformers", "peft") if find_spec(name) is None]:
        raise InputError(f"language models need {' and '.join(missing)}", _INSTALL)


def pin_files(folder: Path, name: str) -> dict[str, str]:
    """Return the SHA-256 of every file that a base is loaded from, by name.

    Parameters
    ----------
    folder
        Where the checkpoint is.
    name
        What errors call it.

    Raises
    ------
    InputError
        If it is no checkpoint, is an adapter, or has no weights in safetensors.
    """
    if not folder.is_dir():
        raise InputError(f"{name} is no folder with a checkpoint")
    found = {
        path.name: path
        for path in sorted(folder.iterdir())
        if path.is_file()
        and path.suffix in _READ
        and path.name not in _NOT_READ
        and not path.name.startswith(".")
    }
    if "adapter_config.json" in found:
        raise InputError(f"{name} is an adapter, not a whole model")
    if "config.json" not in found:
        raise InputError(f"{name} has no config.json")
    if not any(file.endswith(".safetensors") for file in found):
        raise InputError(
            f"{name} has no weights in safetensors; others can run code and are never loaded",
            "save_pretrained(folder, safe_serialization=True) writes them",
        )
    return {file: _digest(path) for file, path in found.items()}


def find_base(options: LanguageOptions, root: Path) -> Path:
    """Return the folder of the base that params.yaml pins, checked file by file.

    Parameters
    ----------
    options
        Name, revision and files.
    root
        The project's folder, which a relative path starts from.

    Raises
    ------
    InputError
        If it is not there, or any file is another than the pinned one.
    """
    folder = locate(options.base, root, options.revision)
    found = pin_files(folder, f"the base {options.base}")
    for file in sorted(found.keys() | options.files.keys()):
        if found.get(file) != options.files.get(file):
            raise InputError(
                f"the base {options.base} is not the one that params.yaml pins: {file} differs",
                "put the pinned files back, or pin the new ones in train.options.files: every "
                "model is then trained anew",
            )
    return folder


def locate(name: str, root: Path, revision: str | None) -> Path:
    """Return the folder of a checkpoint: one on this machine, else one of the hub's."""
    folder = root / name
    if folder.is_dir():
        return folder
    if name.startswith(("/", ".", "models/", "data/")) or name.count("/") > 1:
        raise InputError(f"the base {name} is not there", "`dvc pull` fetches what DVC tracks")
    require_libraries()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        patterns = [f"*{suffix}" for suffix in _READ]
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError):
        raise InputError(
            f"the base {name} is neither a folder here nor to be had from the hub"
        ) from None


def longest(folder: Path) -> int | None:
    """Return how many tokens a checkpoint reads at most, where its config.json says so."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    found = config.get("max_position_embeddings") if isinstance(config, dict) else None
    return found if isinstance(found, int) and found > 1 else None


def _digest(path: Path) -> str:
    facts = path.stat()
    return _digest_of(path, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=256)
def _digest_of(path: Path, size: int, changed: int) -> str:
    del size, changed  # they tell a file from what it was before
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def load_tokenizer(folder: Path) -> "PreTrainedTokenizerBase":
    """Return the tokenizer of a checkpoint.

    Raises
    ------
    InputError
        If it has none that can be loaded without running its code.
    """
    _quiet()
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=_NO_CODE
        )
    except (OSError, ValueError, KeyError, TypeError, ImportError, StrictDataclassError) as error:
        raise InputError(f"{folder.name} has no tokenizer that can be loaded") from error
    return tokenizer


def load_module(
    folder: Path, options: LanguageOptions, device: "torch.device", *, half: bool
) -> "PreTrainedModel":
    """Return the model of a checkpoint, in evaluation mode.

    Parameters
    ----------
    folder
        As `find_base` returned it.
    options
        Says what context it is to read.
    device
        Where it is to be.
    half
        Whether its weights are to be bfloat16 rather than float32.

    Raises
    ------
    InputError
        If the files do not make up a causal language model, or its context is too short.
    """
    _quiet()
    import torch
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    # A configuration's own checks have an error class apart from Python's.
    refused = (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError)
    try:
        module, told = AutoModelForCausalLM.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=_NO_CODE,
            use_safetensors=True,
            dtype=torch.bfloat16 if half else torch.float32,
            output_loading_info=True,
        )
    except (*refused, SafetensorError, StrictDataclassError) as error:
        raise InputError(f"{folder.name} is no causal language model that can be loaded") from error
    if lacking := sorted(told["missing_keys"]) or sorted(map(str, told.get("mismatched_keys", []))):
        # They would be drawn at random, with no more than a warning.
        raise InputError(f"{folder.name} lacks weights of its model, such as {lacking[0]}")
    longest = getattr(module.config, "max_position_embeddings", None)
    if isinstance(longest, int) and options.context > longest:
        raise InputError(
            f"train.options.context is {options.context}, and the base reads {longest} tokens"
        )
    loaded: PreTrainedModel = module.to(device).eval()
    return loaded


def check_fit(tokenizer: "PreTrainedTokenizerBase", module: Any) -> None:
    """Raise an InputError if the tokenizer has tokens that the model has no place for."""
    places = module.get_input_embeddings().weight.shape[0]
    largest = max(tokenizer.get_vocab().values(), default=-1)
    if largest >= places:
        raise InputError(
            f"the base's tokenizer does not fit: it has a token {largest:,}, and the model has "
            f"places for {places:,}"
        )


def _quiet() -> None:
    """Keep the library's bars and remarks off a terminal that is ours."""
    require_libraries()
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
