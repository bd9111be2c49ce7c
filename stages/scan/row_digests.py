"""Digests of forgotten rows, as states of exact models may still have them.

They follow from the rows. An erasure removes the rows, so it remembers the digests until nothing is
pending any more: else nobody could find an old state that was overlooked.
"""

import json

from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.registry import find_spec
from unlearn.stages.estimators.spec import RowSetTraining
from unlearn.stages.project.files import json_bytes, write_bytes
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.forget_list import ForgetList
from unlearn.stages.rows.shard_file import forget_mask, read_shard
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.row_sets import ShardRows


def forgotten_digests(context: Context, forget_list: ForgetList) -> tuple[str, ...]:
    """Return the digests of the rows that a list names, as far as they are known.

    Parameters
    ----------
    context
        The project.
    forget_list
        The list.

    Returns
    -------
    tuple of str
        In hex, sorted: those that states have under the present key and settings, of the rows that
        data/shards still has; and those that an erasure remembers. Empty where models are not
        functions of a set of rows.

    Raises
    ------
    InputError
        If the file of an erasure is damaged.
    """
    return tuple(sorted({*_remembered(context.project), *_present(context, forget_list)}))


def remember_digests(context: Context, forget_list: ForgetList) -> None:
    """Write the digests of the rows that a list names, before the rows are erased."""
    if digests := forgotten_digests(context, forget_list):
        write_bytes(context.project.row_digests, json_bytes({"digests": list(digests)}), 0o600)


def drop_digests(project: Project) -> None:
    """Delete what `remember_digests` wrote: the erasure is complete."""
    project.row_digests.unlink(missing_ok=True)


def _remembered(project: Project) -> list[str]:
    try:
        found = json.loads(project.row_digests.read_bytes())["digests"]
        return [bytes.fromhex(digest).hex() for digest in found]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError):
        raise InputError(
            f".unlearn/{project.row_digests.name} is damaged: it has the digests of rows that an "
            "erasure removes",
            "delete it: copies of older models are then found by their objects in DVC only",
        ) from None


def _present(context: Context, forget_list: ForgetList) -> list[str]:
    params = context.params
    training = find_spec(params.train.model).training
    if params.kind != "exact" or not isinstance(training, RowSetTraining) or not forget_list.known:
        return []
    recipe, found = Recipe.of_project(context), []
    for shard in params.sharding.shards:
        try:
            shard_file = read_shard(context.project.shard_file(shard), shard)
        except InputError:
            continue  # other commands say what is wrong with it
        rows = shard_file.rows.filter(forget_mask(shard_file.rows, forget_list))
        if shard_file.layout == context.layout and rows.num_rows:
            found += [bytes(digest).hex() for digest in ShardRows(recipe, shard).of(rows).digests]
    return found
