"""Having DVC record stages that ran outside it, and nothing else."""

from collections.abc import Collection

from unlearn.stages.config.params import Params
from unlearn.stages.context import Context
from unlearn.stages.dvc.command import mend_rwlock, run_dvc
from unlearn.stages.dvc.lockfile import load_entries, read_entries
from unlearn.stages.dvc.pipeline import read_pipeline, stage_names
from unlearn.stages.errors import InputError, ToolError
from unlearn.stages.project.files import write_bytes
from unlearn.stages.project.git import git
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.shard_file import read_nonce
from unlearn.stages.training.recipe import Recipe, is_outdated


def outdated_shards(context: Context) -> list[str]:
    """Return the shards whose lineage does not match the current settings and retain file."""
    project = context.project
    recipe = Recipe.of_project(context)
    found = []
    for shard in context.params.sharding.shards:
        retained = read_nonce(project.retain_file(shard), f"data/retain_set/{shard}.parquet")
        if is_outdated(recipe, shard, project.shard_models / shard, retained):
            found.append(shard)
    return found


def commit(project: Project, params: Params, ran: Collection[str]) -> None:
    """Have DVC record the stages that ran, with its own commands.

    `dvc commit` accepts any file, also a model that someone edited. So the entries of all other
    stages must stay as they were.

    Parameters
    ----------
    project, params
        The project.
    ran
        Names of the stages that ran, in the order in which their entries are written.

    Raises
    ------
    ToolError
        If DVC found anything else changed; nothing is recorded.
    """
    own = stage_names(params)
    if own[-1] not in ran:
        # A stage has failed, and what follows it is out of date. Each target takes DVC as long as
        # a whole `dvc commit`.
        targets = list(ran)
    elif set(read_pipeline(project)) - {name.partition("@")[0] for name in own}:
        # Stages that are not of this tool are not for it to record, and may have still to run.
        targets = list(dict.fromkeys(name.partition("@")[0] for name in own))
    else:
        targets = ["dvc.yaml"]
    before = project.lock.read_bytes() if project.lock.is_file() else None
    entries = load_entries(project)
    run_dvc(project.root, "commit", "--force", *targets)
    foreign = [
        name
        for name, entry in load_entries(project).items()
        if name not in ran and entries.get(name) != entry
    ]
    if foreign:
        if before is None:
            project.lock.unlink()
        else:
            write_bytes(project.lock, before)
        raise changed_meanwhile(foreign)


def changed_meanwhile(stages: Collection[str]) -> ToolError:
    """Return the error that files of stages which did not run are not as they were recorded."""
    return ToolError(
        f"{', '.join(sorted(stages))} changed while other stages ran; nothing was recorded",
        "run `unlearn repro` again",
    )


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
        load_entries(project)
    except InputError as error:
        damage = error.message
    else:
        return None
    committed = git(project.root, "show", "HEAD:./dvc.lock") or b""
    try:
        read_entries(committed.decode())
    except (InputError, UnicodeDecodeError):
        project.lock.unlink()
    else:
        write_bytes(project.lock, committed)
    return damage
