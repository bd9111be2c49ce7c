"""What a receipt says of the evidence, of what made the models, and of its limits."""

import hashlib
from collections.abc import Iterable
from importlib.metadata import version

from unlearn.stages.audit.reports import key_at_hand, read_found
from unlearn.stages.audit.status import stale_reasons
from unlearn.stages.config.params import ALGORITHM, Params
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.erasure import Erasure
from unlearn.stages.project.files import digest_file
from unlearn.stages.project.git import git_line
from unlearn.stages.project.paths import Project
from unlearn.stages.receipts.statement import (
    Outcome,
    Place,
    Process,
    ReportFile,
    Scope,
    Tool,
    Verification,
)
from unlearn.stages.verify_report.public import PublicReport
from unlearn.stages.verify_report.reading import VERDICT, parse_public
from unlearn.stages.verify_report.words import has_figures, without_figures

#: Where an erasure keeps reports.
_EVIDENCE = "reports/evidence"

_COVERS = (
    "the rows of the request in the dataset, the shards and the files that the pipeline made",
    "the models of the pipeline that were trained on these rows",
    "the places that are listed under purge",
)
_NOT_COVERED = (
    "copies that nobody told this project about: backups, downloads, clones, data given to others",
    "other models that were trained or distilled with these rows or with the models' answers",
    "the request's own record: its tokens stay on the forget list, so that the rows stay out",
)
_WITHHELD = "withheld, since it has figures"
_ROWS_AGAIN = "the dataset has rows of erased or suppressed people again"
_UNKNOWN_ROWS = (
    "the shards are not here: whether the dataset has rows of erased people again is unknown"
)
_APPROXIMATE = "the deployed model was changed by an approximate method, which is no deletion"


def find_verification(project: Project) -> tuple[Verification, dict[str, str]]:
    """Return the verdict on the models as they are now, in words, and where they were made.

    Returns
    -------
    Verification
        The verdict.
    environment : dict
        Libraries and machine, by topic.

    Raises
    ------
    InputError
        If there is no report.
    """
    found = read_found(project)
    public = found.public
    stale = stale_reasons(project)
    verification = Verification(
        verdict="stale" if stale else public.verdict,
        label=public.label,
        rests_on=without_figures((*stale, *_rests_on(public))),
        reports=(_report_file(VERDICT, found.content, public),),
    )
    return verification, dict(public.environment)


def _rests_on(report: PublicReport) -> Iterable[str]:
    """Yield what was checked. Public reports have no counts: one person's rows are in one shard."""
    yield from report.reasons
    if report.membership is not None and report.membership.verdict is not None:
        yield f"the membership attack: {report.membership.verdict}"


def with_evidence(
    project: Project, verification: Verification, list_digest: str | None
) -> Verification:
    """Return a verdict with the reports that an erasure kept: the rows that they rest on are gone.

    Parameters
    ----------
    project, verification
        The project, and the verdict of now.
    list_digest
        SHA-256 of the forget list at the erasure, which the reports name too.
    """
    words, reports = [], []
    for path in sorted((project.root / _EVIDENCE).glob("*/verdict.json")):
        name = path.relative_to(project.root).as_posix()
        content = path.read_bytes()
        try:
            public = parse_public(content, name)
        except InputError:
            continue
        if public.forget_list == list_digest:
            words += [f"before the erasure: {text}" for text in _rests_on(public)]
            reports.append(_report_file(name, content, public))
    return verification.model_copy(
        update={
            "rests_on": without_figures((*verification.rests_on, *words)),
            "reports": (*verification.reports, *reports),
        }
    )


def _report_file(name: str, content: bytes, public: PublicReport) -> ReportFile:
    return ReportFile(name=name, sha256=hashlib.sha256(content).hexdigest(), seal=public.seal)


def find_process(project: Project, params: Params, environment: dict[str, str]) -> Process:
    """Return what made the models.

    Parameters
    ----------
    project, params
        The project and its settings.
    environment
        What the report names.
    """
    code = params.train.code_path
    key = key_at_hand(project)
    return Process(
        tool=Tool(name="dvc-unlearn", version=version("dvc-unlearn"), algorithm=ALGORITHM),
        commit=git_line(project.root, "rev-parse", "--verify", "--quiet", "HEAD"),
        code=None if code is None else digest_file(project.root / code),
        environment=environment,
        seed=None if key is None else key.digest("receipt", b"seed").hex(),
    )


def public_places(erasure: Erasure, min_rows: int) -> tuple[Place, ...]:
    """Return the places of an erasure, without counts that could be those of one person.

    Parameters
    ----------
    erasure
        What the request log says.
    min_rows
        `verify.min_rows`.
    """
    return tuple(
        Place(
            name=place.name,
            state=place.state,
            method=_in_words(place.method),
            why=_in_words(place.why),
            residual=public_count(place.residual, min_rows),
        )
        for place in erasure.places
    )


def _in_words(text: str | None) -> str | None:
    """Return a text, but for one with a figure, which could count the rows of one person."""
    return _WITHHELD if text is not None and has_figures(text) else text


def public_count(count: int, min_rows: int) -> int | None:
    """Return 0, or a multiple of `min_rows` that is not above a count; None below `min_rows`."""
    return count // min_rows * min_rows or (None if count else 0)


def find_outcome(
    erasure: Erasure, verification: Verification, dropped: int | None
) -> tuple[Outcome, tuple[str, ...]]:
    """Return what came of a request: `partial` while anything is pending or not shown.

    Parameters
    ----------
    erasure
        The newest erasure that had seen the request.
    verification
        The verdict on the models.
    dropped
        Rows of erased or suppressed people that the dataset has again; None if nobody knows.
    """
    reasons = [
        f"{place.name} is pending: {_in_words(place.why) or 'unknown'}" for place in erasure.pending
    ]
    if verification.verdict != "pass":
        reasons.append(f"the verdict on the models is {verification.verdict}")
    if verification.label == "approximate":
        reasons.append(_APPROXIMATE)
    if dropped is None:
        reasons.append(_UNKNOWN_ROWS)
    elif dropped:
        reasons.append(_ROWS_AGAIN)
    return ("partial" if reasons else "complete"), tuple(reasons)


def find_scope(erasure: Erasure, verification: Verification, dropped: int | None) -> Scope:
    """Return what a receipt covers and what it does not; see `find_outcome`."""
    pending = (f"{place.name}, which is pending" for place in erasure.pending)
    more = [_APPROXIMATE] if verification.label == "approximate" else []
    if dropped != 0:
        more.append(_UNKNOWN_ROWS if dropped is None else _ROWS_AGAIN)
    return Scope(covers=_COVERS, not_covered=(*_NOT_COVERED, *pending, *more))
