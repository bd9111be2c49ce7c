"""What the page is made from: the tracked files, and what more is at hand on this machine.

A clone without data, models and key has a report, a lock, a forget list and a request log: that is
enough for the page. Plots, timings and lineages make it fuller where they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from unlearn.stages.audit.compare import Snapshot, compare
from unlearn.stages.audit.places import Place
from unlearn.stages.audit.reports import read_found
from unlearn.stages.audit.snapshot import take_snapshot
from unlearn.stages.audit.status import stale_reasons
from unlearn.stages.config.params import Params
from unlearn.stages.context import load_params
from unlearn.stages.errors import InputError, ToolError
from unlearn.stages.ledger.log import Log, read_log
from unlearn.stages.project.git import git
from unlearn.stages.project.paths import HOLDOUT, Project
from unlearn.stages.project.timings import read_method_seconds
from unlearn.stages.report.last_run import (
    LastRun,
    ShardState,
    last_run_of,
    named_slices,
    shard_states,
)
from unlearn.stages.report.plot_files import RocPoint, ScoreBin, read_roc, read_scores
from unlearn.stages.report.request_states import (
    Copies,
    RequestState,
    held_out_lines,
    past_erasures,
    request_states,
)
from unlearn.stages.requests.deadlines import today
from unlearn.stages.verify_report.report import Report


@dataclass(frozen=True)
class Contents:
    """All that the page says, as plain data.

    Parameters
    ----------
    name
        Of the project.
    made
        When the page was made, in UTC.
    report
        reports/verify.json; where `has_figures` is False, what reports/verdict.json says.
    stale
        Why the report does not belong to the project as it stands, if so.
    min_rows
        Fewer forgotten rows than this get no numbers of their own; None if the settings are broken.
    roc, scores
        The plots' data; empty where they are not at hand.
    requests
        The log: time and count of each entry that put lines on the forget list.
    shards
        Every shard that shards.yaml names; empty where it cannot be read.
    holdout_named
        Whether the forget list names records of the holdout.
    run
        What the last run changed; None where there is nothing to compare with.
    before
        The report of the older state; None where there is none that can be read.
    seconds
        How long each post-hoc method last took; empty where that is not known.
    missing
        A sentence for each part that could not be made.
    has_figures
        Whether the page shows figures, which only people with access to the rows may see.
    public
        Whether the page is for everybody.
    officer
        Whether the page is about requests and copies, and leaves the technical evidence out.
    day
        The day that due dates are compared with; that of `made` by default.
    request_states
        How far each request is, the oldest first.
    copies
        Where copies of forgotten rows were and are.
    held_out_lines
        How many lines of the forget list name held-out rows; None if that is not known.
    """

    name: str
    made: datetime
    report: Report
    stale: tuple[str, ...] = ()
    min_rows: int | None = None
    roc: tuple[RocPoint, ...] = ()
    scores: tuple[ScoreBin, ...] = ()
    requests: tuple[Mapping[str, Any], ...] = ()
    shards: tuple[ShardState, ...] = ()
    holdout_named: bool = False
    run: LastRun | None = None
    before: Report | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    has_figures: bool = True
    public: bool = False
    officer: bool = False
    day: date | None = None
    request_states: tuple[RequestState, ...] = ()
    copies: Copies = field(default_factory=Copies)
    held_out_lines: int | None = None


def gather(
    project: Project,
    made: datetime | None = None,
    *,
    public: bool = False,
    officer: bool = False,
    found: tuple[Place, ...] | None = None,
) -> Contents:
    """Read everything that the page shows.

    Parameters
    ----------
    project
        The project; a clone without data, models and key will do.
    made
        The time to put on the page; now by default.
    public
        Leave out all figures, also where they are at hand.
    officer
        Whether the page is about requests and copies. It has no figures either.
    found
        What a search for copies found; None if nobody searched.

    Raises
    ------
    InputError
        If there is no report yet, or it is none of this tool.
    """
    found_report = read_found(project)
    if public or officer:
        found_report = found_report.without_figures()
    has_figures = found_report.has_figures
    missing: list[str] = []
    if not (public or officer or has_figures):
        missing.append(
            "The figures are not on this machine; `dvc pull reports/verify.json` fetches them, "
            "with access to the DVC remote."
        )
    params = _params(project)
    new = _snapshot(project, None, missing)
    old = None if new is None else _older(project, missing)
    compared = None if old is None or new is None else compare(old, new)
    shards = () if new is None else shard_states(project, params, old, new, compared)
    log = _log(project, missing)
    return Contents(
        name=project.root.name,
        made=made or datetime.now(UTC),
        report=found_report.report,
        stale=tuple(reason.removeprefix("stale: ") for reason in stale_reasons(project)),
        min_rows=None if params is None else params.verify.min_rows,
        roc=tuple(read_roc(project.roc)) if has_figures else (),
        scores=tuple(read_scores(project.scores)) if has_figures else (),
        requests=tuple(
            entry.model_dump(include={"time", "count"}) for entry in log.entries if entry.is_request
        ),
        shards=shards,
        holdout_named=new is not None and HOLDOUT in named_slices(new),
        run=(
            None
            if old is None or compared is None
            else last_run_of(project, old, compared, shards, count_rows=has_figures)
        ),
        before=None if old is None or not has_figures else _older_report(project, old.name),
        seconds=read_method_seconds(project) if has_figures else {},
        missing=tuple(missing),
        has_figures=has_figures,
        public=public,
        officer=officer,
        day=today() if made is None else made.date(),
        request_states=_states(project, params, log, missing),
        copies=Copies(past_erasures(log), found),
        held_out_lines=None if new is None else held_out_lines(new, params),
    )


def _params(project: Project) -> Params | None:
    try:
        return load_params(project.params)
    except InputError:
        return None


def _snapshot(project: Project, revision: str | None, missing: list[str]) -> Snapshot | None:
    try:
        return take_snapshot(project, revision)
    except (InputError, ToolError) as error:
        missing.append(f"The changes of the last run are not known: {error.message}.")
        return None


def _git(project: Project, *arguments: str) -> str | None:
    """Return what git prints; None where it fails, or there is no git."""
    try:
        out = git(project.root, *arguments)
    except ToolError:
        return None
    return None if out is None else out.decode("utf-8", "replace")


def _older(project: Project, missing: list[str]) -> Snapshot | None:
    """Return the state that the last run began from.

    That is HEAD, or, where HEAD has the same dvc.lock already, the commit before the one that
    brought it.
    """
    revision = "HEAD"
    committed = _git(project, "show", "HEAD:./dvc.lock")
    if committed is not None and project.lock.is_file():
        here = project.lock.read_bytes().decode("utf-8", "replace")
        if committed == here:
            brought = (_git(project, "log", "-1", "--format=%H", "--", "dvc.lock") or "").strip()
            revision = f"{brought}^"
    name = (_git(project, "rev-parse", "--verify", "--quiet", "--short", revision) or "").strip()
    if not name:
        missing.append(
            "The changes of the last run are not known: git has no earlier state to compare with."
        )
        return None
    return _snapshot(project, name, missing)


def _older_report(project: Project, revision: str) -> Report | None:
    try:
        older = read_found(project, revision)
    except (InputError, ToolError):
        return None
    return older.report if older.has_figures else None


def _log(project: Project, missing: list[str]) -> Log:
    try:
        return read_log(project)
    except (InputError, UnicodeDecodeError) as error:
        reason = error.message if isinstance(error, InputError) else "not UTF-8 text"
        missing.append(f"The requests cannot be read: {reason}.")
        return Log()


def _states(
    project: Project, params: Params | None, log: Log, missing: list[str]
) -> tuple[RequestState, ...]:
    """Return how far the requests are; none if the settings cannot be read."""
    if params is None:
        missing.append("How far the requests are is not known: the settings cannot be read.")
        return ()
    try:
        return request_states(project, params, log)
    except InputError as error:
        missing.append(f"How far the requests are is not known: {error.message}.")
        return ()
