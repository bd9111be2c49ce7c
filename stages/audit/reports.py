"""Reports as all commands read them: verdicts from git, figures where they are at hand.

reports/verdict.json is in git. The figures, reports/verify.json, are an out that DVC caches: they
are in the working tree or in DVC's cache, for people with access to the rows. A project of an older
version has reports/verify.json alone, in git.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from unlearn.stages.audit.git_files import check_revision, read_tracked
from unlearn.stages.context import load_params
from unlearn.stages.dvc.cache import read_cached
from unlearn.stages.dvc.lockfile import LockStages, md5_of, read_lock
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import Project
from unlearn.stages.rows import seals
from unlearn.stages.rows.tokens import Key, load_key
from unlearn.stages.verify_report.public import PublicReport, public_part
from unlearn.stages.verify_report.reading import (
    NAME,
    VERDICT,
    parse_public,
    parse_report,
    raw_content,
)
from unlearn.stages.verify_report.report import Report


@dataclass(frozen=True)
class FoundReport:
    """A report, as much of it as is at hand.

    Parameters
    ----------
    public
        The verdicts.
    report
        With its figures where `has_figures`; else what the verdicts say, and nothing measured.
    has_figures
        Whether the figures are at hand and belong to the verdicts.
    content, figures
        The bytes of the file that the verdicts are from, and of that with the figures.
    is_old
        Whether the project is of an older version, which wrote no file of verdicts.
    """

    public: PublicReport
    report: Report
    has_figures: bool
    content: bytes
    figures: bytes | None = None
    is_old: bool = False

    def without_figures(self) -> "FoundReport":
        """Return what everybody may know of it."""
        return FoundReport(
            self.public, self.public.as_report(), has_figures=False, content=self.content
        )

    def seal_state(self, key: Key | None) -> seals.SealState:
        """Return whether the file of verdicts carries its seal.

        Parameters
        ----------
        key
            The project key; None where it is not at hand.
        """
        if self.is_old:
            return "missing"
        return seals.seal_state(key, seals.VERDICT, raw_content(self.content))


def read_found(project: Project, revision: str | None = None) -> FoundReport:
    """Return a project's report.

    Parameters
    ----------
    project
        The project.
    revision
        A git revision; None for the working tree.

    Raises
    ------
    InputError
        If there is no such revision, no report in it, or none that this version can read.
    """
    prefix = ""
    if revision is not None:
        check_revision(project.root, revision)
        prefix = f"{revision}:"
    verdict = read_tracked(project, revision, VERDICT)
    if verdict is None:
        older = read_tracked(project, revision, NAME)
        if older is None:
            raise _no_report(revision)
        whole = parse_report(older, prefix + NAME)
        return FoundReport(public_part(whole), whole, has_figures=True, content=older, is_old=True)
    public = parse_public(verdict, prefix + VERDICT)
    for content in _figures(project, revision):
        try:
            report = parse_report(content, prefix + NAME)
        except InputError:
            continue
        if report.seal is not None and report.seal == public.figures:
            return FoundReport(public, report, has_figures=True, content=verdict, figures=content)
    return FoundReport(public, public.as_report(), has_figures=False, content=verdict)


def _no_report(revision: str | None) -> InputError:
    if revision is None:
        return InputError(f"there is no {VERDICT} yet", "`unlearn repro` makes it")
    return InputError(f"{revision} has no {VERDICT} to compare with")


def _figures(project: Project, revision: str | None) -> Iterable[bytes]:
    """Yield the files that may hold the figures: of the working tree, and of DVC's cache."""
    tracked = read_tracked(project, revision, NAME)
    if tracked is not None:
        yield tracked
    lock = _lock(read_tracked(project, revision, "dvc.lock"))
    wanted = md5_of(lock.get("verify", {}).get("outs", []), NAME)
    if wanted is None:
        return
    if tracked is None or md5_bytes(tracked) != wanted:
        cached = read_cached(project, wanted)
        if cached is not None:
            yield cached


def _lock(content: bytes | None) -> LockStages:
    try:
        return {} if content is None else read_lock(content.decode())
    except (InputError, UnicodeDecodeError):
        return {}


def md5_bytes(content: bytes) -> str:
    """Return the MD5 of a file's content, as DVC notes it."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def verdict_out(lock: LockStages) -> str:
    """Return the file of `verify` that git holds: in an older version, that with the figures."""
    outs = lock.get("verify", {}).get("outs", [])
    return VERDICT if md5_of(outs, VERDICT) is not None or not md5_of(outs, NAME) else NAME


def seal_reasons(found: FoundReport, key: Key | None) -> list[str]:
    """Return why a report cannot be trusted, by its seals.

    Parameters
    ----------
    found
        The report.
    key
        The project key; without it, a seal that is there is not checked.
    """
    states = {VERDICT: found.seal_state(key)}
    if found.figures is not None:
        states[NAME] = seals.seal_state(key, seals.REPORT, raw_content(found.figures))
    phrases = {
        "missing": "has no seal: `unlearn repro` makes a report that has one",
        "wrong": "was not made with the project key, or was changed since: its seal is wrong",
    }
    return [
        f"unsealed: {name} {phrases[state]}" for name, state in states.items() if state in phrases
    ]


def key_at_hand(project: Project) -> Key | None:
    """Return the project key; None where it is not here, or is that of another project."""
    try:
        return load_key(project, load_params(project.params).key_check)
    except InputError:
        return None
