"""The frozen base: a Hugging Face checkpoint whose files params.yaml pins.

Weights are read from safetensors alone, and no code of a checkpoint is ever run.
"""

import copy
import json
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn.stages.config.text import LanguageOptions
from unlearn.stages.errors import InputError
from unlearn.stages.project.files import digest_file
from unlearn.stages.text.context_length import longest, longest_of

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

#: What loading a checkpoint may read. Everything that is there of these is pinned.
_READ = (".json", ".safetensors", ".model", ".jinja", ".txt", ".tiktoken")

#: Not part of the model: files that other tools leave in the folder.
_NOT_READ = ("trainer_state.json", "training_args.json", "all_results.json", "LICENSE.txt")

#: Explicit: by default transformers asks at the terminal, and runs the code if the answer is yes.
_NO_CODE = False

#: Where transformers looks for chat templates that go before the pinned one.
_TEMPLATES = "additional_chat_templates"

_WEIGHTS = "model.safetensors"

#: Settings by which a configuration can name kernels on the hub, which are code; and what they may
#: say, which is part of the libraries.
_KERNELS = ("attn_implementation", "experts_implementation")
_BUILT_IN = (None, "sdpa", "eager")

#: What libraries raise on files that are not as they should be.
_REFUSED = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    ImportError,
)

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
        If it is no checkpoint, is an adapter, has no weights in safetensors, or would be loaded
        from other files than these too.
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
    # transformers loads either of the two; it ignores any other name.
    if not found.keys() & {_WEIGHTS, f"{_WEIGHTS}.index.json"}:
        raise InputError(
            f"{name} has no weights in safetensors; others can run code and are never loaded",
            "save_pretrained(folder, safe_serialization=True) writes them",
        )
    if (folder / _TEMPLATES).exists():
        raise InputError(
            f"{name} has a folder {_TEMPLATES}, which nothing pins",
            "save the template to use as chat_template.jinja, and delete the folder",
        )
    for file, path in found.items():
        if file.endswith(".index.json"):
            _check_index(path, name, found.keys())
        elif file.startswith("config."):
            _check_config(path, name)
    return {file: _digest(path) for file, path in found.items()}


def _check_index(path: Path, name: str, pinned: Collection[str]) -> None:
    """Refuse an index of weights in files that are not pinned."""
    try:
        named = set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values())
    except _REFUSED:
        raise InputError(f"{name}: {path.name} is no index of weights") from None
    for file in sorted(named, key=str):
        if file not in pinned or not file.endswith(".safetensors"):
            raise InputError(
                f"{name}: {path.name} names weights in {file!r}, which is no .safetensors file "
                "beside it"
            )


def _check_config(path: Path, name: str) -> None:
    """Refuse a configuration that asks for code from the hub, or for weights of another name."""
    try:
        todo = [json.loads(path.read_text(encoding="utf-8"))]
    except _REFUSED:
        return  # loading says so
    if isinstance(todo[0], dict) and todo[0].get("transformers_weights") is not None:
        raise InputError(f"{name}: {path.name} names weights by transformers_weights")
    while todo:
        value = todo.pop()
        if isinstance(value, list):
            todo.extend(value)
        elif isinstance(value, dict):
            todo.extend(value.values())
            for key, said in value.items():
                if key.removeprefix("_").removesuffix("_internal") in _KERNELS and (
                    said not in _BUILT_IN
                ):
                    raise InputError(
                        f"{name}: {path.name} sets {key}, which can fetch code and run it",
                        "remove it, or set it to null, sdpa or eager",
                    )


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
                "model is then retrained",
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
            f"the base {name} is neither a folder nor available from the hub"
        ) from None


def commit_of(folder: Path) -> str | None:
    """Return the commit of a hub's checkpoint by its folder, as `locate` returned it."""
    return folder.name if folder.parent.name == "snapshots" else None


def _digest(path: Path) -> str:
    facts = path.stat()
    return _digest_of(path, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=256)
def _digest_of(path: Path, size: int, changed: int) -> str:
    del size, changed  # they distinguish a file from its earlier versions
    return digest_file(path)


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
    except (*_REFUSED, StrictDataclassError) as error:
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
    import torch

    module = _read_module(folder, torch.bfloat16 if half else torch.float32)
    # What its file says, or the library where that leaves the number out.
    most = longest(folder) or longest_of(module.config.to_dict())
    if most is not None and options.context > most:
        raise InputError(
            f"train.options.context is {options.context}, and the base reads {most} tokens"
        )
    loaded: PreTrainedModel = module.to(device).eval()
    return loaded


class _Shared:
    """The base that this process has read last."""

    key: tuple[object, ...] | None = None
    module: "PreTrainedModel | None" = None


def shared_module(
    folder: Path, options: LanguageOptions, device: "torch.device", *, half: bool
) -> "PreTrainedModel":
    """Return a frozen base: a model of its own, with the weights of all others in this process.

    Files are read once for many adapters. Copy the weights before you change them: merging an
    adapter changes them in place.

    Parameters and errors are those of `load_module`.
    """
    key = (str(folder), *sorted(options.files.items()), options.context, str(device), half)
    if _Shared.key != key or _Shared.module is None:
        _Shared.key = _Shared.module = None  # two at a time may be more than there is room for
        _Shared.module = load_module(folder, options, device, half=half)
        _Shared.module.requires_grad_(False)
        _Shared.key = key
    # Layers are replaced when an adapter is put on; weights are what takes memory.
    weights = {id(weight): weight for weight in _Shared.module.parameters()}
    return copy.deepcopy(_Shared.module, weights)


def load_exact_module(folder: Path) -> "PreTrainedModel":
    """Return the model of a checkpoint in the precision of its files, on the CPU.

    Parameters
    ----------
    folder
        As `find_base` returned it.

    Raises
    ------
    InputError
        If the files do not make up a causal language model.
    """
    return _read_module(folder, "auto")


def _read_module(folder: Path, dtype: "torch.dtype | str") -> "PreTrainedModel":
    """Return the model of a checkpoint with weights of a type; see `load_module` for errors."""
    _quiet()
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    try:
        module, told = AutoModelForCausalLM.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=_NO_CODE,
            use_safetensors=True,
            dtype=dtype,
            output_loading_info=True,
        )
    # A configuration's own checks have an error class that is not Python's.
    except (*_REFUSED, SafetensorError, StrictDataclassError) as error:
        raise InputError(f"{folder.name} is no causal language model that can be loaded") from error
    if lacking := sorted(told["missing_keys"]) or sorted(map(str, told.get("mismatched_keys", []))):
        # They would be drawn at random, with no more than a warning.
        raise InputError(f"{folder.name} lacks weights of its model, such as {lacking[0]}")
    loaded: PreTrainedModel = module
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


def check_causal(module: Any) -> None:
    """Raise an InputError if what a model says at a token depends on the tokens after it.

    For two short sequences that differ only in the last token, a causal model gives equal outputs
    before it. Scores, perplexities and generation all rest on that.
    """
    import torch

    weight = module.get_input_embeddings().weight
    places, length = weight.shape[0], 6
    tokens = torch.arange(length, device=weight.device).repeat(2, 1)
    tokens[1, -1] += 1
    try:
        with torch.no_grad():
            logits = module(input_ids=tokens % places, use_cache=False).logits.float()
    except _REFUSED as error:
        raise InputError("the base cannot predict the next token") from error
    moved = float((logits[0, :-1] - logits[1, :-1]).abs().max())
    # Experts see the two sequences in other groups, and round otherwise.
    rounding = 1e-3 if weight.dtype == torch.float32 else 0.03
    if moved > rounding * max(1.0, float(logits.abs().max())):
        raise InputError(
            "the base is not causal: its output at a token depends on later tokens",
            "use a model that generates text, like GPT-2 or Llama, not one like BERT",
        )


def _quiet() -> None:
    """Keep the library's bars and remarks off a terminal that is ours."""
    require_libraries()
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
