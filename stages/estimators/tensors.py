"""Digests of named tensors, independent of the container that holds them."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from safetensors import SafetensorError, deserialize
from unlearn.stages.errors import InputError


@dataclass(frozen=True)
class NamedTensor:
    """A tensor's name, element type, shape and little-endian bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: bytes


def digest_tensors(tensors: Iterable[NamedTensor]) -> str:
    """SHA-256 over tensors sorted by name, in hex."""
    digest = hashlib.sha256()
    for tensor in sorted(tensors, key=lambda tensor: tensor.name):
        head = json.dumps([tensor.name, tensor.dtype, list(tensor.shape), len(tensor.data)])
        digest.update(head.encode() + b"\0" + tensor.data)
    return digest.hexdigest()


def read_safetensors(content: bytes) -> list[NamedTensor]:
    """Return the tensors of a safetensors file.

    Raises
    ------
    InputError
        If `content` is something else, such as a pickle.
    """
    try:
        tensors = deserialize(content)  # type: ignore[no-untyped-call]  # it ships no types
    except SafetensorError:
        raise InputError("a model file is not in the safetensors format") from None
    return [
        NamedTensor(name, str(info["dtype"]), tuple(info["shape"]), bytes(info["data"]))
        for name, info in tensors
    ]
