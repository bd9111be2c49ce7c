"""What has to hold before a model is exported, and which state it is."""

from dataclasses import dataclass
from pathlib import Path

from unlearn.stages.audit.exports import models_digest
from unlearn.stages.audit.models import check_models, nobodys_models, sentences
from unlearn.stages.audit.reports import read_found
from unlearn.stages.audit.status import applied_tokens, list_is_applied, stale_reasons, standing
from unlearn.stages.context import Context
from unlearn.stages.dvc.lockfile import load_lock
from unlearn.stages.errors import InputError
from unlearn.stages.export.record import Generation, Outcome
from unlearn.stages.ledger.log import read_log
from unlearn.stages.project.files import digest_file
from unlearn.stages.project.git import commit_of, git
from unlearn.stages.project.paths import Project
from unlearn.stages.requests.filed import filed_requests

#: Folders of the pipeline, of DVC, git and this tool: what is in them is theirs.
_TAKEN = ("models", "data", "reports", ".unlearn", ".dvc", ".git")


@dataclass(frozen=True)
class Ready:
    """A state that may be exported.

    Parameters
    ----------
    label, verdict
        The deployed model's label, and the verdict of the project's report.
    generation
        Which state it is.
    """

    label: str
    verdict: Outcome
    generation: Generation


def check_output(project: Project, output: Path) -> Path:
    """Return the whole path of an export's file or folder.

    Raises
    ------
    InputError
        If it exists, its parent does not, or it is in a folder of the project that is taken.
    """
    whole = output.expanduser().absolute()
    if whole.exists() or whole.is_symlink():
        raise InputError(f"{output} already exists: an export is a new file or folder")
    if not whole.parent.is_dir():
        raise InputError(f"there is no folder {output.parent}")
    whole = whole.parent.resolve() / whole.name
    for name in _TAKEN:
        folder = project.root / name
        if whole == folder or whole.is_relative_to(folder):
            raise InputError(
                f"{output} is in {name}/, which belongs to the project",
                "name a folder outside it",
            )
    if whole == project.root:
        raise InputError(f"{output} is the project's folder")
    return whole


def check_ready(context: Context, *, allow_pending: bool, allow_fail: bool) -> Ready:
    """Check that the models are those of a report that passes, and honour all requests.

    Parameters
    ----------
    context
        The project.
    allow_pending
        Whether requests may be pending.
    allow_fail
        Whether the verdict may be `fail`.

    Raises
    ------
    InputError
        If the state may not be exported.
    """
    project, params = context.project, context.params
    lock = load_lock(project)
    found = read_found(project)
    listed = context.read_list()
    # A run that was interrupted is no pending request, but a stale state.
    pending = 0 if list_is_applied(project) else standing(project, params, listed).pending
    if pending and not allow_pending:
        lines = "1 line" if pending == 1 else f"{pending:,} lines"
        raise InputError(
            f"requests are pending: the models may hold rows of {lines} of the forget list",
            "`unlearn repro` carries them out; --allow-pending exports the models all the same",
        )
    reasons = [
        reason
        for reason in stale_reasons(project)
        if not (allow_pending and "forget list has changed" in reason)
    ]
    models = check_models(project, lock)
    reasons += [*sentences(models), *nobodys_models(project)]
    reasons += [f"stale: {name} is not on this machine" for name in models.absent]
    if reasons:
        raise InputError(
            f"the models are not those of the last report: {reasons[0].removeprefix('stale: ')}",
            "`unlearn repro` brings them up to date, and `unlearn verify` lists all reasons",
        )
    verdict = found.public.verdict
    if verdict == "fail" and not allow_fail:
        raise InputError(
            "the verdict on these models is fail: `unlearn verify` says why",
            "--allow-fail exports them all the same",
        )
    digest = models_digest(project)
    if digest is None:
        raise InputError("there is no final model", "`unlearn repro` makes it")
    generation = Generation(
        commit=_commit(project),
        lock=digest_file(project.lock),
        models=digest,
        members=len(found.public.models) if params.kind == "exact" else 1,
        requests=_honoured(context),
        pending=pending,
        honours_all=pending == 0,
    )
    return Ready(found.public.label or params.kind, verdict, generation)


def _commit(project: Project) -> str | None:
    """Return the commit that has this state; None if git does not."""
    names = ("dvc.lock", "params.yaml", "data/forget_list.txt")
    changed = git(project.root, "status", "--porcelain", "--untracked-files=all", "--", *names)
    return commit_of(project.root, "HEAD") if changed == b"" else None


def _honoured(context: Context) -> int:
    """Return how many requests stand whose lines were all applied."""
    applied = applied_tokens(context.project)
    log = read_log(context.project, context.key)
    return sum(
        bool(request.live) and (request.current is None or request.current <= applied)
        for request in filed_requests(log, context.params.requests.regime)
    )
