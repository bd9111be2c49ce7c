"""What allows a model to be served: its verdict, and how long requests to forget are pending."""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from unlearn.stages.audit.git_files import read_tracked
from unlearn.stages.audit.models import check_models
from unlearn.stages.audit.present import PresentVerdict, find_verdict
from unlearn.stages.context import load_params
from unlearn.stages.dvc.lockfile import load_lock, md5_of
from unlearn.stages.errors import InputError, UnlearnError
from unlearn.stages.ledger.log import read_log
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.forget_list import LEFT_OUT, parse_without_key, refuse_conflict

#: The part of a model's digest that names its generation (characters).
_NAME_LENGTH = 12

_FINAL_MODEL = "models/final_model"


@dataclass(frozen=True)
class Admitted:
    """A state of the project whose final model may be served.

    Parameters
    ----------
    generation
        Names the model: a part of its digest in dvc.lock.
    verdict, label
        `pass` or `inconclusive`, and `exact`, `certified` or `approximate`.
    lock
        SHA-256 of dvc.lock.
    lines
        Lines of the forget list that the model honours, without marks.
    """

    generation: str
    verdict: str
    label: str
    lock: str
    lines: frozenset[str] = field(repr=False)


def check_text(project: Project) -> None:
    """Raise an InputError if a project's final model is no language model, or is not here."""
    params = load_params(project.params)
    if params.dataset.modality != "text":
        raise InputError(
            "`unlearn serve` is for language models, and this project has none",
            "`unlearn predict` applies the final model to a file",
        )
    if not project.final_model.is_dir() or not any(project.final_model.iterdir()):
        raise InputError(
            f"there is no {_FINAL_MODEL} on this machine",
            "`unlearn repro` trains it, and `dvc pull` fetches one that was trained elsewhere",
        )


def admit(project: Project, *, allow_inconclusive: bool) -> Admitted:
    """Verify a project as `unlearn verify --full` does.

    Parameters
    ----------
    project
        The project.
    allow_inconclusive
        Whether `inconclusive` is enough for an approximate model.

    Raises
    ------
    InputError
        If the verdict is another one, or the model is not the one that dvc.lock names.
    """
    check_text(project)
    lock, lines = lock_digest(project), read_lines(project)
    present = find_verdict(project, full=True)
    check_verdict(present, allow_inconclusive=allow_inconclusive)
    if _FINAL_MODEL not in present.models.same:
        raise InputError(f"{_FINAL_MODEL} is not the one in dvc.lock")
    model = md5_of(load_lock(project).get("aggregate", {}).get("outs", []), _FINAL_MODEL) or ""
    report = present.found.report
    admitted = Admitted(
        model[:_NAME_LENGTH], present.verdict, report.label or "exact", lock, frozenset(lines)
    )
    check_unchanged(project, admitted)
    return admitted


def check_unchanged(project: Project, admitted: Admitted) -> None:
    """Raise an InputError if the model on disk is no longer the one that was verified."""
    if lock_digest(project) != admitted.lock:
        raise InputError("dvc.lock has changed since the model was verified")
    if _FINAL_MODEL not in check_models(project, load_lock(project)).same:
        raise InputError(f"{_FINAL_MODEL} has changed since it was verified")


def check_verdict(present: PresentVerdict, *, allow_inconclusive: bool) -> None:
    """Raise an InputError if a verdict does not allow to serve the model; see `admit`."""
    verdict, label = present.verdict, present.found.report.label
    if verdict == "pass":
        return
    is_approximate = label == "approximate"
    if verdict == "inconclusive" and is_approximate and allow_inconclusive:
        return
    hints = list(present.reasons)
    if verdict == "inconclusive" and is_approximate:
        hints.append("--allow-inconclusive serves an approximate model with this verdict")
    elif verdict == "inconclusive" and allow_inconclusive:
        hints.append("--allow-inconclusive is for approximate models, and this one is not")
    raise InputError(f"the verdict of `unlearn verify --full` is {verdict}, not pass", *hints)


def lock_digest(project: Project) -> str:
    """Return the SHA-256 of dvc.lock; empty if there is none."""
    content = read_tracked(project, None, "dvc.lock")
    return "" if content is None else hashlib.sha256(content).hexdigest()


def committed_lock(project: Project) -> str | None:
    """Return the SHA-256 of dvc.lock if the last commit has it as it is here; else None."""
    here, last = (read_tracked(project, revision, "dvc.lock") for revision in (None, "HEAD"))
    return hashlib.sha256(here).hexdigest() if here is not None and here == last else None


def read_lines(project: Project) -> set[str]:
    """Return the lines of the forget list, without those of canaries that no model was trained on.

    A line that a person wrote is a digest.

    Raises
    ------
    InputError
        If the list holds conflict markers of git.
    """
    content = read_tracked(project, None, "data/forget_list.txt") or b""
    refuse_conflict(content)
    found, others = parse_without_key(content, read_log(project).epochs)
    lines = set(found.tokens)
    if others:
        words = {line.strip() for line in content.decode("utf-8", "replace").split("\n")} - {""}
        tokens = {*found.tokens, *(token + LEFT_OUT for token in found.left_out)}
        lines |= {hashlib.sha256(word.encode()).hexdigest() for word in words - tokens}
    return lines


@dataclass(frozen=True)
class Pending:
    """Requests to forget that the model does not honour yet.

    Parameters
    ----------
    count
        How many lines of the forget list.
    since
        When the oldest was made (seconds since 1970); None if there is none.
    problem
        Why the list cannot be read; None if it can.
    """

    count: int = 0
    since: float | None = None
    problem: str | None = None

    def age(self) -> float:
        """Return the age of the oldest one (seconds)."""
        return 0.0 if self.since is None else max(0.0, time.time() - self.since)


@dataclass
class PendingRequests:
    """Finds the requests that a model does not honour.

    Parameters
    ----------
    project
        The project.
    seen
        When a line was first seen that the request log does not name (seconds since 1970).
    """

    project: Project
    seen: dict[str, float] = field(default_factory=dict)

    def find(self, honoured: frozenset[str]) -> Pending:
        """Return the lines of the forget list that are not among those that a model honours.

        A record that the dataset did not have when it was suppressed is not among them: no model
        was trained on it. A list that cannot be read counts as a request that is pending since
        then: nobody can tell what is in it.

        Parameters
        ----------
        honoured
            Lines that the model honours.
        """
        try:
            lines = read_lines(self.project) - honoured
            times = _times(self.project) if lines else {}
        except (UnlearnError, OSError, ValueError) as error:
            since = self.seen.setdefault("", time.time())
            is_known = isinstance(error, UnlearnError)
            return Pending(1, since, str(error) if is_known else "the forget list is not readable")
        lines -= {line for line, moment in times.items() if moment is None}
        self.seen = {line: moment for line, moment in self.seen.items() if line in lines}
        if not lines:
            return Pending()
        return Pending(len(lines), min(self._since(line, times) for line in lines))

    def _since(self, line: str, times: Mapping[str, float | None]) -> float:
        moment = times.get(line)
        # A line that a person wrote is in no log.
        return self.seen.setdefault(line, time.time()) if moment is None else moment


def _times(project: Project) -> dict[str, float | None]:
    """Return when each line was first requested, since it was last taken back.

    None for those that only requests name which found no row.
    """
    log = read_log(project)
    found: dict[str, float | None] = {}
    for line, entries in log.claims().items():
        named = line.removesuffix(LEFT_OUT)
        requests = [entry for entry in entries if entry.is_request]
        moments = [
            datetime.fromisoformat(entry.time).timestamp()
            for entry in requests
            if named not in log.absent_in(entry)
        ]
        if requests:
            found[named] = min(moments, default=None)
    return found
