"""Whether every model is what training without the forgotten rows would have made.

Each shard's rows are derived from data/shards and the forget list, every lineage is recomputed
from them, and some of the touched shards are trained again, from those rows and from nothing. Of
models of trees that are changed in place of being trained, some trees are fitted again. For
the shards that are retrained, nothing that `forget` or `train` wrote is believed; for the others,
that whoever wrote their lineage had the project key.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.final_model.files import final_model_files
from unlearn.stages.project.files import digest_file
from unlearn.stages.project.paths import HOLDOUT
from unlearn.stages.rows.applied import read_applied
from unlearn.stages.rows.forget_list import ForgetList, place_of_line
from unlearn.stages.rows.off_slices import retained_mask
from unlearn.stages.rows.shard_file import forget_mask, nonce, read_shard
from unlearn.stages.training.lineage import FILE_NAME as LINEAGE_FILE
from unlearn.stages.training.lineage import Lineage, read_lineage, seal
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.shard_model import read_shard_model
from unlearn.stages.training.sliced_rows import by_slice
from unlearn.stages.training.slices import expected_links, plan_shard, train_shard
from unlearn.stages.training.unplanned import unplanned_problems
from unlearn.stages.verify.exactness.again import refit_and_compare, retrain_and_compare
from unlearn.stages.verify.exactness.choosing import choose_shards
from unlearn.stages.verify.exactness.found import Exactness, Retrain, ShardRows
from unlearn.stages.verify.exactness.trees import Refit, check_trees


def derive_rows(context: Context, name: str, forget_list: ForgetList) -> ShardRows:
    """Split a shard, or the holdout, by the list, from data/shards alone.

    Rows of slices that are off are in neither part.
    """
    rows = read_shard(context.project.shard_file(name), f"data/shards/{name}.parquet").rows
    stays = retained_mask(rows, forget_list, context.params.sharding, name)
    return ShardRows(rows.filter(stays), rows.filter(forget_mask(rows, forget_list)))


def retrain_shard(context: Context, forget_list: ForgetList, shard: str) -> Lineage:
    """Train a shard from its rows in data/shards without the listed ones; return its lineage.

    Parameters
    ----------
    context
        The project; nothing in it is written.
    forget_list
        Whose rows are left out.
    shard
        The shard's name.
    """
    recipe = Recipe.of_project(context)
    rows = derive_rows(context, shard, forget_list).retain
    return train_shard(recipe, plan_shard(recipe, shard, rows, folder=None), folder=None).lineage


def retrain_shards(
    context: Context, forget_list: ForgetList, shards: Sequence[str]
) -> Iterator[Lineage]:
    """Retrain shards one after another, in this process; see `Retrain`."""
    for shard in shards:
        yield retrain_shard(context, forget_list, shard)


def check_exactness(
    context: Context,
    forget_list: ForgetList,
    rows_of: Callable[[str], ShardRows],
    *,
    retrain: Retrain = retrain_shards,
    refit: Refit = check_trees,
) -> Exactness:
    """Run all checks.

    Parameters
    ----------
    context
        The project.
    forget_list
        The list as it stands.
    rows_of
        Returns by shard name, or `holdout`, what `derive_rows` does: of one at a time, since all
        of them may be more than memory holds.
    retrain
        Trains the chosen shards again; one after another by default.
    refit
        Fits trees of a shard model again, where models are of trees.
    """
    found = Exactness()
    recipe = Recipe.of_project(context)
    check_applied(context, forget_list, found)
    check_retained(context, HOLDOUT, rows_of(HOLDOUT).retain, found)
    sharding = context.params.sharding
    # Named by the list, whether or not the rows are still there; a raw id names no shard.
    named = {place_of_line(line, sharding).shard for line in forget_list.tokens}
    lineages = {}
    for shard in sharding.shards:
        rows = rows_of(shard)
        if rows.forget.num_rows:
            named.add(shard)
        expected = rows.retain
        check_retained(context, shard, expected, found)
        folder = context.project.shard_models / shard
        lineage = check_lineage(folder, recipe, shard, expected, found, shard)
        if lineage is not None:
            if shard in named:
                lineages[shard] = lineage
            if lineage.constant is not None:
                found.constant[shard] = lineage.constant
            check_files(folder, lineage, found, shard, states=False)
    _check_final_model(context, found)
    touched = [shard for shard in sharding.shards if shard in named]
    found.touched = len(touched)
    standing = {shard: lineages[shard] for shard in touched if shard in lineages}
    of_trees = refit_and_compare(context, forget_list, standing, rows_of, found, refit)
    others = [shard for shard in touched if shard not in of_trees]
    chosen = choose_shards(others, forget_list.digest, context.params.verify.rerun)
    retrained = {shard: standing[shard] for shard in chosen if shard in standing}
    for shard, lineage in retrained.items():
        _check_states(context.project.shard_models / shard, lineage, found, shard)
    retrain_and_compare(context, forget_list, retrained, retrain, found)
    return found


def check_shards(
    context: Context,
    forget_list: ForgetList,
    shards: Sequence[str],
    *,
    retrain: Retrain = retrain_shards,
) -> Exactness:
    """Check some shards by data/shards, the list and their models alone, and retrain all of them.

    Parameters
    ----------
    context
        The project: of all that `forget`, `train` and `aggregate` make, only the folders of these
        shard models need be there.
    forget_list
        The list that the models are to honour.
    shards
        Which ones.
    retrain
        Trains them again; one after another by default.

    Returns
    -------
    Exactness
        With `touched` left at 0: nothing was looked for on the list.
    """
    found = Exactness()
    recipe = Recipe.of_project(context)
    standing = {}
    for shard in shards:
        expected = derive_rows(context, shard, forget_list).retain
        folder = context.project.shard_models / shard
        lineage = check_lineage(folder, recipe, shard, expected, found, shard)
        if lineage is not None:
            standing[shard] = lineage
            check_files(folder, lineage, found, shard)
    retrain_and_compare(context, forget_list, standing, retrain, found)
    return found


def check_applied(context: Context, forget_list: ForgetList, found: Exactness) -> None:
    """Make sure that `forget` applied the list as it stands."""
    applied = read_applied(context.project)
    if applied is None:
        found.add("data/forget_set does not say which forget list was applied")
    elif applied.digest != forget_list.digest:
        found.add(
            "the forget list has changed since it was applied: a request is pending, "
            "and `unlearn repro` applies it"
        )


def check_retained(context: Context, name: str, expected: pa.Table, found: Exactness) -> None:
    """Make sure that a retain file has the rows that it should have."""
    path = context.project.retain_file(name)
    label = f"data/retain_set/{path.name}"
    try:
        kept = read_shard(path, label).rows
    except InputError as error:
        found.add(error.message)
        return
    if not kept.equals(expected):
        found.add(f"{label} is not data/shards/{path.name} without the forgotten rows")


def check_lineage(
    folder: Path, recipe: Recipe, shard: str, expected: pa.Table, found: Exactness, name: str
) -> Lineage | None:
    """Recompute every link from the rows; return the lineage if it can be read.

    Parameters
    ----------
    folder
        Of the model.
    recipe, shard, expected
        What it should have been made from.
    found
        Is told of any mismatch.
    name
        What to call the model there.
    """
    try:
        lineage = read_lineage(folder)
    except InputError as error:
        lineage = None
        found.add(error.message)
    if lineage is None:
        found.lineage_clean = False
        found.add(f"{name} has no lineage")
        return None
    sliced = by_slice(expected, recipe.slices, skips_empty=recipe.skips_empty_slices)
    chain = expected_links(recipe, shard, sliced, lineage.environment)
    same = (
        tuple(link.link for link in lineage.slices) == chain
        and tuple(link.rows for link in lineage.slices) == sliced.sizes
        and lineage.recipe == recipe.digest(shard)
        and lineage.retain == nonce(recipe.key, shard, expected, recipe.layout)
        and lineage.shard == shard
        and lineage.seal == seal(recipe.key, lineage)
    )
    if not same:
        found.lineage_clean = False
        found.add(f"{name}: its lineage is not that of its rows without the forgotten ones")
    return lineage


def check_files(
    folder: Path,
    lineage: Lineage,
    found: Exactness,
    name: str,
    beside: Collection[str] = (),
    *,
    states: bool = True,
) -> None:
    """Compare a model's files with its lineage, by their numbers and to the byte.

    Parameters
    ----------
    folder
        Of the model.
    lineage
        The lineage in it.
    found
        Is told of any mismatch.
    name
        What to call the model there.
    beside
        Files that are no part of the model.
    states
        Whether the numbers of checkpoints are compared too. Where the model is not retrained, who
        wrote the lineage is believed, and so the SHA-256 of these files is enough.
    """
    present = {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    } - {LINEAGE_FILE, ".gitignore", *beside}
    if present != lineage.files.keys():
        found.add(f"{name}: its folder does not hold the files that its lineage names")
        return
    try:
        changed = [
            file for file, digest in lineage.files.items() if digest_file(folder / file) != digest
        ]
        model = read_shard_model(folder, name)
        other_numbers = model.digest != lineage.model
    except InputError as error:
        found.add(f"{name}: {error.message}")
        return
    if changed or other_numbers:
        found.add(f"{name}: its files are not what its lineage says")
    elif states:
        _check_states(folder, lineage, found, name)


def _check_states(folder: Path, lineage: Lineage, found: Exactness, name: str) -> None:
    """Compare the numbers in a model's checkpoints with its lineage."""
    try:
        model = read_shard_model(folder, name)
        other_numbers = any(
            model.state_digest((folder / link.checkpoint).read_bytes()) != link.state
            for link in lineage.slices
            if link.checkpoint is not None
        )
    except InputError as error:
        found.add(f"{name}: {error.message}")
    except OSError:
        found.add(f"{name}: a checkpoint that its lineage names is missing")
    else:
        if other_numbers:
            found.add(f"{name}: its checkpoints are not what its lineage says")


def _check_final_model(context: Context, found: Exactness) -> None:
    """Compare the final model, to the byte, with what the shard models as they stand make."""
    params, project = context.params, context.project
    named = params.sharding.shards
    others = {path.name for path in project.shard_models.glob("*")} - {*named, ".gitignore"}
    if others:
        found.add("models/shard_models holds models that shards.yaml does not name")
    for problem in unplanned_problems(project, params, "models/shard_models"):
        found.add(problem)
    try:
        models = ((name, read_shard_model(project.shard_models / name, name)) for name in named)
        same = holds_exactly(project.final_model, final_model_files(params, project.root, models))
    except InputError as error:
        found.add(f"models/final_model cannot be checked: {error.message}")
        return
    if not same:
        found.add("models/final_model is not made of the shard models as they stand")


def holds_exactly(folder: Path, files: Iterable[tuple[str, bytes]]) -> bool:
    """Tell whether a folder has these files, by relative path, and no others, to the byte.

    No more than one is held at a time.
    """
    others = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    same = True
    for name, content in files:
        same = same and name in others and (folder / name).read_bytes() == content
        others.discard(name)
    return same and not others
