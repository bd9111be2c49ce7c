"""Weights from elsewhere that training does not change: a backbone, from a pinned file.

The tensors of the file become buffers of the network that no state_dict has. So an optimizer, a
checkpoint, a model file and every method get the rest of the network alone, and nothing that is
written holds the backbone.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import nn
from unlearn.stages.config.networks import FreezeParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.torch_state import Tensors

_SETTING = "train.freeze"


class _StaysInEvaluation(nn.Module):
    """A module that dropout and batch statistics of training do not reach."""

    def train(self, mode: bool = True) -> "_StaysInEvaluation":
        del mode
        return super().train(mode=False)

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: Mapping[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Load nothing: it has no weights of its own. BatchNorm's would ask for its counter."""
        del local_metadata, strict, missing_keys, error_msgs
        unexpected_keys += [name for name in state_dict if name.startswith(prefix)]


def read_backbone(settings: FreezeParams, root: Path) -> Tensors:
    """Return the tensors of the pinned file, by the names that they have in the network.

    Parameters
    ----------
    settings
        The file and its digest.
    root
        The folder that its path starts from: the project's.

    Raises
    ------
    InputError
        If it is missing, has another digest, or is no safetensors file.
    """
    name = settings.weights
    try:
        content = (root / name).read_bytes()
    except OSError:
        raise InputError(
            f"{_SETTING}.weights: {name} does not exist",
            "copy the file there; a model file holds only what was trained on top of it",
        ) from None
    if (found := hashlib.sha256(content).hexdigest()) != settings.sha256:
        raise InputError(
            f"{_SETTING}.weights: {name} is another file than params.yaml pins",
            f"its sha256 is {found}, and {_SETTING}.sha256 is {settings.sha256}",
        )
    try:
        tensors = load_tensors(content)
    except SafetensorError:
        raise InputError(f"{_SETTING}.weights: {name} is no safetensors file") from None
    return {f"{settings.prefix}{own}": value for own, value in tensors.items()}


def freeze(module: nn.Module, tensors: Tensors, name: str) -> None:
    """Give a network weights that it keeps, in place.

    Its submodules whose weights are all frozen stay in evaluation mode: dropout does nothing
    there, and running statistics do not move.

    Parameters
    ----------
    module
        The network. What `tensors` does not name is trained.
    tensors
        Weights by their names in the network; see `read_backbone`.
    name
        What errors call the file.

    Raises
    ------
    InputError
        If the network has no such weight, or one of another shape; if a layer would be frozen in
        part; or if nothing is left to train.
    """
    own = module.state_dict(keep_vars=True)
    _check_names(own, tensors, name)
    shared = {value.data_ptr() for key, value in own.items() if key not in tensors}
    for key, value in tensors.items():
        if own[key].data_ptr() in shared and own[key].numel():
            raise InputError(f"{_SETTING}: {key} of {name} is also a weight that is trained")
        owner, last = _owner(module, key)
        buffer = value.to(own[key].dtype).clone()
        delattr(owner, last)
        owner.register_buffer(last, buffer, persistent=False)
    if not any(weight.requires_grad for weight in module.parameters()):
        raise InputError(f"{_SETTING}: {name} has all weights of the network: none is trained")
    for part in _frozen_parts(module, set(tensors)):
        _keep_in_evaluation(part)


def _check_names(own: Tensors, tensors: Tensors, name: str) -> None:
    for key, value in tensors.items():
        if key not in own:
            known = next(iter(own), "none")
            raise InputError(
                f"{_SETTING}: {name} has {key}, which the network does not have",
                f"names in the network are such as {known}; {_SETTING}.prefix is put before those "
                "of the file",
            )
        if own[key].shape != value.shape:
            raise InputError(
                f"{_SETTING}: {key} has the shape {tuple(value.shape)} in {name}, and "
                f"{tuple(own[key].shape)} in the network"
            )
    layers = {key.rpartition(".")[0] for key in tensors}
    for key in own:
        if key.rpartition(".")[0] in layers and key not in tensors:
            raise InputError(
                f"{_SETTING}: {name} lacks {key}, which belongs to a layer that it freezes"
            )


def _owner(module: nn.Module, key: str) -> tuple[nn.Module, str]:
    path, _, last = key.rpartition(".")
    return (module.get_submodule(path), last)


def _frozen_parts(module: nn.Module, frozen: set[str]) -> Iterator[nn.Module]:
    """Yield the submodules, however deep, that have frozen weights and no others."""
    trained = set(module.state_dict())
    for path, part in module.named_modules():
        begin = f"{path}." if path else ""
        has_frozen = any(key.startswith(begin) for key in frozen)
        if path and has_frozen and not any(key.startswith(begin) for key in trained):
            # With what is below it, such as dropout.
            yield from part.modules()


def _keep_in_evaluation(part: nn.Module) -> None:
    part.eval()
    kind = type(part)
    if not issubclass(kind, _StaysInEvaluation):
        # Of the class and not of the instance, so that copies have it, too.
        part.__class__ = type(kind.__name__, (_StaysInEvaluation, kind), {})


def is_frozen(layer: nn.Module) -> bool:
    """Tell whether a layer stays as the backbone's file has it."""
    return isinstance(layer, _StaysInEvaluation)
