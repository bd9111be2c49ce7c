"""Entry of the `aggregate` stage."""

from dataclasses import dataclass

from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.final_model.ensemble import FILE_NAME, final_model_files
from unlearn.stages.project.files import write_folder
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
    """Write `models/final_model` from the shard models that params.yaml names, and no others.

    Raises
    ------
    InputError
        If a shard model is missing, is not what its lineage says, or cannot be combined by the
        chosen rule, or if more than half of the shards could not be trained. The old final model is
        left as it was.
    """
    project, params = context.project, context.params
    if params.kind == "posthoc":
        models = {WHOLE: _deployed_model(context, params.posthoc.deploy)}
    else:
        models = {shard: _checked_model(context, shard) for shard in params.sharding.shards}
        check_refusals(context, refused_shards(context))
    files = final_model_files(params, project.root, models)
    write_folder(project.final_model, files, last=FILE_NAME)
    empty = [shard for shard, model in models.items() if model.kind == "empty"]
    return Aggregated([shard for shard in models if shard not in empty], empty)


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
