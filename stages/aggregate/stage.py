"""Entry of the `aggregate` stage."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.final_model.files import check_rule, final_model_files
from unlearn.stages.project.files import write_files
from unlearn.stages.training.lineage import read_lineage, seal
from unlearn.stages.training.method_record import WHOLE, is_genuine, read_record
from unlearn.stages.training.refusals import check_refusals, refused_shards
from unlearn.stages.training.shard_model import ShardModel, read_shard_model

_REPAIR = "`unlearn repro` retrains it"


@dataclass(frozen=True)
class Aggregated:
    """Shards that became members, and shards that had no row left."""

    members: list[str]
    empty: list[str]


def run(context: Context) -> Aggregated:
    """Write `models/final_model` from the shard models that shards.yaml names, and no others.

    Raises
    ------
    InputError
        If a shard model is missing, is not what its lineage says, or cannot be combined by the
        chosen rule, or if more than half of the shards could not be trained. The old final model is
        left as it was.
    """
    project, params = context.project, context.params
    names = [WHOLE] if params.kind == "posthoc" else params.sharding.shards
    checked = {}
    empty = []
    for name in names:
        model = _model(context, name)
        check_rule(params, model)
        checked[name] = model.digest
        empty += [name] if model.kind == "empty" else []
    if params.kind == "exact":
        check_refusals(context, refused_shards(context))
    # Read again, one at a time: nothing is written before all are checked.
    files = final_model_files(params, project.root, _as_checked(context, checked))
    write_files(project.final_model, files)
    return Aggregated([name for name in names if name not in empty], empty)


def _as_checked(context: Context, digests: Mapping[str, str]) -> Iterator[tuple[str, ShardModel]]:
    """Yield name and model of each shard, in the order of these digests.

    Raises
    ------
    InputError
        If one has changed since its digest was taken.
    """
    for name, digest in digests.items():
        model = _model(context, name)
        if model.digest != digest:
            raise InputError(f"the model of {name} changed while it was read", _REPAIR)
        yield name, model


def _model(context: Context, name: str) -> ShardModel:
    """Return a model of the ensemble that is what is written of it."""
    if context.params.kind == "posthoc":
        return _deployed_model(context, context.params.posthoc.deploy)
    return _checked_model(context, name)


def _deployed_model(context: Context, method: str) -> ShardModel:
    """Return the model that a post-hoc method made, if it is what its own record says."""
    name = f"models/unlearned/{method}"
    folder = context.project.unlearned / method
    record = read_record(folder, name)
    if not is_genuine(context.key, folder, record):
        raise InputError(f"{name} is not what its record says", "`unlearn repro` makes it again")
    if record.why_not is not None:
        raise InputError(
            f"unlearn.deploy names {method}, which does not apply: {record.why_not}",
            "choose another method; `retrain` always applies",
        )
    return read_shard_model(folder, name)


def _checked_model(context: Context, shard: str) -> ShardModel:
    """Return a shard model that is what its own lineage says."""
    name = f"models/shard_models/{shard}"
    folder = context.project.shard_models / shard
    model = read_shard_model(folder, name)
    lineage = read_lineage(folder)
    try:
        digest = model.digest
    except InputError as error:
        raise InputError(f"{name}: {error.message}", _REPAIR) from None
    if lineage is None:
        raise InputError(f"{name} has no lineage", _REPAIR)
    genuine = lineage.shard == shard and lineage.seal == seal(context.key, lineage)
    if not genuine or digest != lineage.model:
        raise InputError(f"{name} is not the model that its lineage names", _REPAIR)
    if model.layout != context.layout:
        raise InputError(f"{name} was made for other features or classes", _REPAIR)
    return model
