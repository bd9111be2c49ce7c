"""Which slices to switch off, so that requests are honoured without training."""

from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.registry import text_options
from unlearn.stages.rows.off_slices import first_named_slice
from unlearn.stages.rows.shard_file import RECORD, SUBJECT, read_shard
from unlearn.stages.training.recipe import Recipe


def check_has_layers(context: Context) -> None:
    """Make sure that the slices of a project can be switched off.

    Raises
    ------
    InputError
        If they have no layers of their own.
    """
    if not Recipe.of_project(context).skips_empty_slices:
        has_option = context.params.modality == "text" and hasattr(
            text_options(context.params.train), "layers_by_slice"
        )
        raise InputError(
            "only slices that have layers of their own can be switched off",
            "set train.options.layers_by_slice: true, which trains every shard again"
            if has_option
            else "it is for adapters of language models (train.model: lora)",
        )


def switched_off(context: Context) -> dict[str, int]:
    """Return `sharding.switched_off` by which the pending requests need no training.

    Of each shard with forgotten rows in data/retain_set, the slices are off from the first one on
    that holds such a row. A shard that has no rows in slices before it has to be trained again,
    and is trained with all of its slices.

    Parameters
    ----------
    context
        The project; nothing in it is changed.

    Returns
    -------
    dict of str to int
        The first slice that is off, from 2, by shard.

    Raises
    ------
    InputError
        If a file of data/retain_set is not as it must be.
    """
    sharding, forget_list = context.params.sharding, context.read_list()
    off = dict(sharding.switched_off)
    for shard in sharding.shards:
        path = context.project.retain_file(shard)
        if not path.is_file():
            continue  # nothing was trained on this shard yet
        columns = [RECORD, SUBJECT] if context.has_subjects else [RECORD]
        rows = read_shard(path, f"data/retain_set/{path.name}", columns).rows
        first = first_named_slice(rows, forget_list, sharding)
        if first is None:
            continue
        if first.has_earlier:
            # Rows that are off are not in the retain set, so this is an earlier slice.
            off[shard] = first.number
        else:
            off.pop(shard, None)
    return {shard: off[shard] for shard in sharding.shards if shard in off}
