"""One adapter in place of many: its weight update is the mean of theirs.

With B_s A_s alpha_s / r_s as the update of member s, this one is their sum divided by the number of
members. The ranks are concatenated, so nothing is rounded away. It is another model than the mean
of the members' log-probabilities, since a network is not linear in its weights; but it is a
function of the members alone, so it is exact where they are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from unlearn.stages.errors import InputError
from unlearn.stages.project.files import json_bytes
from unlearn.stages.training.shard_model import FILE_NAME as MODEL_FILE
from unlearn.stages.training.shard_model import ShardModel

if TYPE_CHECKING:
    from unlearn.stages.text.adapters import Shape, Tensors

#: What PEFT reads beside an adapter's weights.
PEFT_CONFIG = "adapter_config.json"

#: What the one adapter is called among models, where a member has the name of its shard.
NAME = "merged"


def mean_update(parts: "Sequence[tuple[Shape, Tensors]]") -> "tuple[Shape, Tensors]":
    """Return one adapter whose weight update is the mean of several on the same model.

    Parameters
    ----------
    parts
        Shape and weights of each; at least one. Their ranks add up.
    """
    # Torch, for language models alone: seconds.
    from unlearn.stages.text.adapters import together

    return together([(replace(shape, alpha=shape.alpha / len(parts)), of) for shape, of in parts])


def merge_members(members: Sequence[tuple[str, ShardModel]]) -> ShardModel:
    """Return the one adapter of several shard models.

    Parameters
    ----------
    members
        Shard and model of each; at least one, and all have rows.

    Raises
    ------
    InputError
        If one of them is no adapter, or they are not of the same base and settings.
    """
    from safetensors.torch import load, save
    from unlearn.stages.text.adapters import Shape

    first = members[0][1].description
    for shard, model in members:
        if "adapter" not in model.description:
            raise InputError(f"the model of {shard} is no adapter: only adapters become one")
        if any(model.description[name] != first[name] for name in ("train", "layout")):
            raise InputError(f"the model of {shard} was made with other settings than the others")
    shape, tensors = mean_update(
        [
            (Shape.from_json(model.description["adapter"]), load(model.weights or b""))
            for _, model in members
        ]
    )
    rows = sum(int(model.description["rows"]) for _, model in members)
    description = first | {"adapter": shape.as_json(), "rows": rows}
    return ShardModel(description, save(tensors))


def adapter_files(model: ShardModel) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each file of the one adapter's folder, which PEFT reads, too."""
    yield MODEL_FILE, json_bytes(model.description)
    yield str(model.description["file"]), model.weights or b""
    yield PEFT_CONFIG, json_bytes(config_for_peft(model, with_revision=True))


def config_for_peft(model: ShardModel, *, with_revision: bool = False) -> dict[str, Any]:
    """Return what PEFT reads beside an adapter's weights, as JSON values.

    Parameters
    ----------
    model
        The adapter.
    with_revision
        Whether the commit of a base from the hub is named.
    """
    from unlearn.stages.text.adapters import Shape, peft_config

    options = model.description["train"]["options"]
    revision = options.get("revision") if with_revision else None
    shape = Shape.from_json(model.description["adapter"])
    return peft_config(shape, public_name(options["base"]), revision)


def public_name(base: str) -> str:
    """Return what a base is called where others read it: never a path of this machine.

    >>> public_name("models/base"), public_name("org/model")
    ('models/base', 'org/model')
    >>> public_name("/home/ada/llama")
    './llama'
    """
    path = PurePath(base)
    return f"./{path.name}" if path.is_absolute() else base
