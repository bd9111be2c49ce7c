"""What the page is made from: the tracked files, and what more is at hand on this machine.

A clone without data, models and key has a report, a lock, a forget list and a request log: that is
enough for the page. Plots, timings and lineages make it fuller where they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from unlearn.stages.audit.compare import Snapshot, compare
from unlearn.stages.audit.reports import read_found
from unlearn.stages.audit.snapshot import take_snapshot
from unlearn.stages.audit.status import stale_reasons
from unlearn.stages.config.params import Params
from unlearn.stages.context import load_params
from unlearn.stages.errors import InputError, ToolError
from unlearn.stages.ledger.log import read_log
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
        The log: time, ticket and count of each.
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


def gather(project: Project, made: datetime | None = None, *, public: bool = False) -> Contents:
    """Read everything that the page shows.

    Parameters
    ----------
    project
        The project; a clone without data, models and key will do.
    made
        The time to put on the page; now by default.
    public
        Leave out all figures, also where they are at hand.

    Raises
    ------
    InputError
        If there is no report yet, or it is none of this tool.
    """
    found_report = read_found(project)
    if public:
        found_report = found_report.without_figures()
    has_figures = found_report.has_figures
    missing: list[str] = []
    if not public and not has_figures:
        missing.append(
            "The figures are not on this machine; `dvc pull reports/verify.json` fetches them, "
            "with access to the DVC remote."
        )
    params = _params(project)
    new = _snapshot(project, None, missing)
    old = None if new is None else _older(project, missing)
    found = None if old is None or new is None else compare(old, new)
    shards = () if new is None else shard_states(project, params, old, new, found)
    return Contents(
        name=project.root.name,
        made=made or datetime.now(UTC),
        report=found_report.report,
        stale=tuple(reason.removeprefix("stale: ") for reason in stale_reasons(project)),
        min_rows=None if params is None else params.verify.min_rows,
        roc=tuple(read_roc(project.roc)) if has_figures else (),
        scores=tuple(read_scores(project.scores)) if has_figures else (),
        requests=tuple(_requests(project, missing)),
        shards=shards,
        holdout_named=new is not None and HOLDOUT in named_slices(new),
        run=(
            None
            if old is None or found is None
            else last_run_of(project, old, found, shards, count_rows=has_figures)
        ),
        before=None if old is None or not has_figures else _older_report(project, old.name),
        seconds=read_method_seconds(project) if has_figures else {},
        missing=tuple(missing),
        has_figures=has_figures,
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


def _requests(project: Project, missing: list[str]) -> list[dict[str, Any]]:
    try:
        return [entry.model_dump() for entry in read_log(project).entries]
    except (InputError, UnicodeDecodeError) as error:
        reason = error.message if isinstance(error, InputError) else "not UTF-8 text"
        missing.append(f"The timeline of requests cannot be read: {reason}.")
        return []
