"""The verdict on the models that are here now, as `unlearn verify` states it."""

from dataclasses import dataclass
from typing import Literal

from unlearn.stages.audit.models import ModelsFound, check_models, nobodys_models, sentences
from unlearn.stages.audit.reports import FoundReport, read_found
from unlearn.stages.audit.status import stale_reasons
from unlearn.stages.dvc.lockfile import LockStages, load_lock
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import Project
from unlearn.stages.verify_report.membership import Outcome


@dataclass(frozen=True)
class PresentVerdict:
    """The last report, and whether it is about the models that are here.

    Parameters
    ----------
    found
        The report.
    stale
        Why it does not belong to the present state; empty if it does.
    models
        How the models on disk compare with dvc.lock.
    """

    found: FoundReport
    stale: tuple[str, ...]
    models: ModelsFound

    @property
    def verdict(self) -> Outcome | Literal["stale"]:
        """The report's verdict, or `stale` if it is about another state."""
        return "stale" if self.stale else self.found.report.verdict

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the verdict is what it is."""
        return self.stale or self.found.report.reasons


def find_verdict(project: Project, *, full: bool = False) -> PresentVerdict:
    """Compare the last report with the present state.

    Parameters
    ----------
    project
        The project.
    full
        Read every byte of the models, also of files that look unchanged.

    Raises
    ------
    InputError
        If there is no report.
    """
    found = read_found(project)
    reasons = stale_reasons(project)
    models = check_models(project, _lock_or_nothing(project), full=full)
    reasons += [*sentences(models), *nobodys_models(project)]
    return PresentVerdict(found, tuple(reasons), models)


def _lock_or_nothing(project: Project) -> LockStages:
    """Return the lock; a damaged one is among the reasons why the report is stale."""
    try:
        return load_lock(project)
    except InputError:
        return {}
