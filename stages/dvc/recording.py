"""Having DVC record stages that ran outside it, and nothing else."""

from collections.abc import Collection

from unlearn.stages.config.params import Params
from unlearn.stages.context import Context
from unlearn.stages.dvc.command import mend_rwlock, run_dvc
from unlearn.stages.dvc.lockfile import load_lock, read_lock
from unlearn.stages.dvc.pipeline import stage_names
from unlearn.stages.dvc.stage_files import later_stages
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


def record(project: Project, params: Params, ran: Collection[str]) -> None:
    """Have DVC record the stages that ran, with one command for all of them.

    `dvc commit` accepts any file, also a model that someone edited. So the entries of all other
    stages must stay as they were.

    Parameters
    ----------
    project, params
        The project; all of its stages are up to date.
    ran
        Names of the stages that ran.

    Raises
    ------
    ToolError
        If DVC found anything else changed; nothing is recorded.
    """
    # All of dvc.yaml, for which DVC reads and writes dvc.lock once. A stage of the user's own that
    # reads what ours write has still to run: then it is one target after another, in the order
    # in which `dvc repro` would write their entries.
    groups = dict.fromkeys(name.partition("@")[0] for name in stage_names(params))
    _commit(project, ran, list(groups) if later_stages(project, params) else ["dvc.yaml"])


def record_finished(project: Project, params: Params, ran: Collection[str]) -> None:
    """Have DVC record stages that ran before one failed, except trainings of shards.

    Each is recorded by its own name, which takes DVC as long as a whole `dvc commit`. A training of
    a shard is known by its lineage, and is recorded by the run that succeeds.
    """
    names = [name for name in ran if not name.startswith("train@")]
    if names:
        _commit(project, names, [name for name in stage_names(params) if name in names])


def _commit(project: Project, ran: Collection[str], targets: list[str]) -> None:
    before = project.lock.read_bytes() if project.lock.is_file() else None
    entries = load_lock(project)
    run_dvc(project.root, "commit", "--force", *targets)
    foreign = [
        name
        for name, entry in load_lock(project).items()
        if name not in ran and entries.get(name) != entry
    ]
    if foreign:
        if before is None:
            project.lock.unlink()
        else:
            write_bytes(project.lock, before)
        raise ToolError(
            f"{', '.join(sorted(foreign))} changed while other stages ran; nothing was recorded",
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
