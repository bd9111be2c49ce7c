"""What has to hold before an erasure may begin."""

from unlearn.stages.audit.status import standing
from unlearn.stages.config.settings_files import FILES
from unlearn.stages.context import Context
from unlearn.stages.dvc.command import dvc_status
from unlearn.stages.erasure.dataset.preview import tracked_rows
from unlearn.stages.erasure.objects.find import original_saw_rows
from unlearn.stages.errors import InputError, ToolError
from unlearn.stages.project.git import git, has_repository

#: What git has to have before old objects go: the history says which these are.
_COMMITTED = (
    "params.yaml",
    *FILES,
    "dvc.yaml",
    "dvc.lock",
    "data/forget_list.txt",
    "data/requests",
    "reports/verdict.json",
    ":(glob)**/*.dvc",
)


def check_ready(context: Context) -> None:
    """Check that a report passes for the whole forget list, and that git has everything.

    Parameters
    ----------
    context
        The project.

    Raises
    ------
    InputError
        If there is nothing to erase, models may still hold rows of the list, no report passes, or
        the state is not committed.
    """
    project = context.project
    if not has_repository(project.root):
        raise InputError(
            "an erasure needs git: the history says which objects are old",
            "`git init`, and commit the project",
        )
    forget_list = context.read_list()
    if not forget_list.known:
        raise InputError("the forget list is empty: there is nothing to erase")
    state = standing(project, context.params, forget_list)
    if state.pending or not state.verified:
        raise InputError(
            "rows are erased after a report that passes: no report does for this forget list and "
            "these models",
            "run `unlearn repro`, and see `unlearn verify`",
        )
    _check_original(context)
    _check_committed(context)
    _check_rows(context)


def _check_original(context: Context) -> None:
    """Refuse an imported original that was trained on listed rows: nothing can retrain it."""
    if original_saw_rows(context):
        raise InputError(
            "models/original was imported and saw rows of the forget list: it cannot be retrained "
            "without them",
            "import the model that forgot them: `unlearn import-model models/unlearned/"
            f"{context.params.posthoc.deploy}`, then `unlearn repro`",
        )


def _check_committed(context: Context) -> None:
    listed = git(
        context.project.root, "status", "--porcelain", "-z", "--untracked-files=all", "--",
        *_COMMITTED,
    )  # fmt: skip
    if listed is None:
        raise ToolError("`git status` failed, so nobody knows whether the state is committed")
    changed = [entry[3:] for entry in listed.decode("utf-8", "replace").split("\0")]
    changed = [name for name in changed if name]
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise InputError(
            f"git does not have the state to erase from: {changed[0]}{more} is not committed",
            "commit it first: afterwards the old state cannot be brought back",
        )


def _check_rows(context: Context) -> None:
    """Refuse a dataset that was changed: its new version would be added with the rows dropped."""
    project = context.project
    pointers = [f"{name}.dvc" for name in tracked_rows(context)]
    if pointers and (changed := dvc_status(project.root, *pointers)):
        name = next(iter(changed)).removesuffix(".dvc")
        raise InputError(
            f"{name} is not the version that the models were trained on",
            f"`dvc checkout {name}` takes that version, and `dvc add {name}` the new one; then "
            "`unlearn repro`",
        )
