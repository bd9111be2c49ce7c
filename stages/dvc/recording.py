"""Having DVC record shards that were trained outside it, and nothing else."""

from unlearn.stages.context import Context, open_project
from unlearn.stages.dvc.command import dvc_status, mend_rwlock, run_dvc
from unlearn.stages.dvc.lockfile import load_lock, read_lock
from unlearn.stages.errors import InputError, ToolError
from unlearn.stages.project.files import write_bytes
from unlearn.stages.project.git import git
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.shard_file import read_nonce
from unlearn.stages.training.recipe import Recipe, is_outdated


def stale_shards(context: Context) -> list[str]:
    """Return the shards to train: those that DVC names, and those that only seem up to date."""
    return sorted(_named_by_dvc(context.project) | _outdated(context))


def _named_by_dvc(project: Project) -> set[str]:
    changed = dvc_status(project.root, "train")
    return {name.partition("@")[2] for name in changed if name.startswith("train@")}


def _outdated(context: Context) -> set[str]:
    """Return the shards whose lineage does not match the current settings and retain file."""
    project = context.project
    recipe = Recipe.of_project(context)
    found = set()
    for shard in context.params.sharding.shards:
        retained = read_nonce(project.retain_file(shard), f"data/retain_set/{shard}.parquet")
        if is_outdated(recipe, shard, project.shard_models / shard, retained):
            found.add(shard)
    return found


def record_trained(context: Context, trained: set[str]) -> None:
    """Have DVC record the trained shards.

    `dvc commit` accepts any file, also a model that someone edited. So before it,
    DVC may find changes only in the shards just trained, and every shard must have the lineage of
    its retain file and of params.yaml as they are now.

    Raises
    ------
    ToolError
        If anything else has changed; nothing is recorded.
    """
    project = context.project
    changed = _named_by_dvc(project)
    if foreign := sorted(changed - trained):
        raise ToolError(
            f"{', '.join(foreign)} changed while other shards were trained; nothing was recorded",
            "run `unlearn repro` again: it retrains them",
        )
    # Read again: params.yaml may have been edited while the shards were trained.
    if outdated := sorted(_outdated(open_project(project))):
        raise ToolError(
            f"{', '.join(outdated)} were not trained with the current settings and rows; nothing "
            "was recorded",
            "run `unlearn repro` again",
        )
    if changed:
        run_dvc(project.root, "commit", "--force", "train")


def mend_lock(project: Project) -> str | None:
    """Replace a dvc.lock that a kill cut short by the last committed one, or by none.

    DVC then reruns what that lock does not know, and finds the finished work in place.

    Returns
    -------
    str or None
        What was wrong; None if nothing was.
    """
    mend_rwlock(project)
    try:
        load_lock(project)
    except InputError as error:
        damage = error.message
    else:
        return None
    committed = git(project.root, "show", "HEAD:./dvc.lock") or b""
    try:
        read_lock(committed.decode())
    except (InputError, UnicodeDecodeError):
        project.lock.unlink()
    else:
        write_bytes(project.lock, committed)
    return damage
