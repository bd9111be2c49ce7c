"""A copy of a final model for publication: all that prediction reads, and no number of rows.

A person with two copies could subtract such numbers, and learn how many rows of which shard were
deleted between them. The project's own folder keeps them, and its digests cover them: a copy has
digests of its own, because a digest over a number that is left out confirms a guess of that number.

With the rule `size_weighted` the numbers stay: they are the weights of the answers, and any factor
of them gives the same numbers away.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.formats import SAFETENSORS, SKOPS
from unlearn.stages.final_model.description import FILE_NAME, read_description
from unlearn.stages.final_model.files import checked_members
from unlearn.stages.project.files import digest_json, json_bytes
from unlearn.stages.training.shard_model import FILE_NAME as MODEL_FILE
from unlearn.stages.training.shard_model import PUBLIC_VERSION, ShardModel, spec_of

#: What BatchNorm counts in training and does not read to answer: steps, which follow from rows.
_COUNTER = "num_batches_tracked"


def published_model(model: ShardModel, *, weighs_rows: bool = False) -> ShardModel:
    """Return a member as a copy for publication has it; it answers the same.

    Parameters
    ----------
    model
        The member.
    weighs_rows
        Whether answers are weighted by the rows of each shard. The number stays then, so that the
        digest covers it.
    """
    description = {**model.description, "schema_version": PUBLIC_VERSION}
    if not weighs_rows:
        description.pop("rows", None)
    return ShardModel(description, _without_counters(model))


def published_digest(models: Iterable[tuple[str, ShardModel]], *, weighs_rows: bool = False) -> str:
    """Return the digest of models as copies for publication have them.

    Parameters
    ----------
    models
        Shard and model of each member.
    weighs_rows
        As `published_model` takes it.
    """
    copies = ((shard, published_model(model, weighs_rows=weighs_rows)) for shard, model in models)
    return digest_json([[shard, copy.digest] for shard, copy in copies])


def published_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of each file of a copy for publication; ensemble.json is the last.

    No more than one member is held at a time.

    Parameters
    ----------
    folder
        The folder of the final model of a table.

    Raises
    ------
    InputError
        If the folder is not a whole final model, or was changed after it was made.
    """
    description = read_description(folder)
    if description.code is not None:
        yield description.code.name, (folder / description.code.name).read_bytes()
    members: list[dict[str, Any]] = []
    weighs_rows = description.rule == "size_weighted"
    for entry, model in checked_members(folder, description):
        copy = published_model(model, weighs_rows=weighs_rows)
        name = f"members/{entry.shard}"
        yield f"{name}/{MODEL_FILE}", json_bytes(copy.description)
        if copy.weights is not None:
            yield f"{name}/{copy.description['file']}", copy.weights
        weight = {"rows": entry.rows} if weighs_rows else {}
        members.append({"shard": entry.shard, "digest": copy.digest, **weight})
    whole: dict[str, Any] = json.loads((folder / FILE_NAME).read_bytes())
    # Which shards lost all their rows is of no use to answer.
    public = {"schema_version": PUBLIC_VERSION, "members": members, "empty": []}
    yield FILE_NAME, json_bytes(whole | public)


def _without_counters(model: ShardModel) -> bytes | None:
    """Return the weights of a member, with 0 for numbers of steps and rows."""
    content = model.weights
    if content is None:
        return None
    form = spec_of(model.description).format
    if form is SKOPS:
        from unlearn.stages.estimators.skops_file import without_counts

        return without_counts(content)
    if form is not SAFETENSORS or _COUNTER.encode() not in content:
        return content
    # Torch, for networks alone.
    import torch
    from safetensors.torch import load, save

    try:
        tensors = load(content)
    except SafetensorError:
        raise InputError("a model's weights are not readable") from None
    return save(
        {
            name: torch.zeros_like(value) if name.endswith(_COUNTER) else value
            for name, value in tensors.items()
        }
    )
