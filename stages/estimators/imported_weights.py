"""Weights files from elsewhere, turned into a family's own format; pickles are never loaded."""

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from unlearn.stages.errors import InputError
from unlearn.stages.estimators.archive import check_sizes
from unlearn.stages.estimators.spec import Importer
from unlearn.stages.rows.shard_file import Layout

if TYPE_CHECKING:
    import torch


def _from_safetensors(name: str, content: bytes, _layout: Layout) -> bytes:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return _saved(load(content))
    except SafetensorError:
        raise InputError(f"{name} is not in the safetensors format") from None


def _from_state_dict(name: str, content: bytes, _layout: Layout) -> bytes:
    """Convert what `torch.save` wrote, tensors only: anything else in it could run code."""
    import pickle

    import torch

    check_sizes(content, name)
    try:
        found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise InputError(
            f"{name} holds more than tensors, and reading it could run code",
            "save only the state dict: torch.save(model.state_dict(), path)",
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError):
        raise InputError(f"{name} is not what torch.save writes") from None
    if not isinstance(found, dict) or not all(isinstance(v, torch.Tensor) for v in found.values()):
        raise InputError(
            f"{name} is not a state dict", "torch.save(model.state_dict(), path) writes one"
        )
    return _saved(found)


def _saved(tensors: "dict[str, torch.Tensor]") -> bytes:
    from safetensors.torch import save

    return save({name: value.contiguous().clone() for name, value in tensors.items()})


def _from_skops(name: str, content: bytes, layout: Layout) -> bytes:
    """Convert a linear classifier: its classes become indices into the pinned list."""
    import numpy as np
    from unlearn.stages.estimators import skops_file
    from unlearn.stages.estimators.linear import unsupported

    estimator: Any = skops_file.load(content)
    if why := unsupported(estimator):
        raise InputError(f"{name}: {why}")
    labels = [str(label) for label in estimator.classes_]
    pinned = list(layout.classes)
    if labels != pinned:
        if sorted(labels) != sorted(pinned):
            raise InputError(f"{name} was trained on other classes than schema.yaml pins")
        raise InputError(
            f"{name} has the classes in another order than schema.yaml",
            f"write classes in schema.yaml in the model's order: {', '.join(labels)}",
        )
    if estimator.n_features_in_ != len(layout.features):
        raise InputError(
            f"{name} reads {estimator.n_features_in_} columns, and schema.yaml names "
            f"{len(layout.features)}"
        )
    estimator.classes_ = np.arange(len(labels))
    return skops_file.dump(estimator)


#: Files that hold the tensors of a torch module.
TENSOR_FILES: Mapping[str, Importer] = {
    ".safetensors": _from_safetensors,
    ".pt": _from_state_dict,
    ".pth": _from_state_dict,
    ".bin": _from_state_dict,
}
#: Files that hold a scikit-learn classifier.
SKOPS_FILES: Mapping[str, Importer] = {".skops": _from_skops}
