"""What the page is made from: the tracked files, and what more is at hand on this machine.

A clone without data, models and key has a report, a lock, a forget list and a request log: that is
enough for the page. Plots, timings and lineages make it fuller where they are.
"""

import csv
import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unlearn.stages.audit.compare import Audit, Snapshot, compare
from unlearn.stages.audit.snapshot import take_snapshot
from unlearn.stages.audit.status import read_report, stale_reasons
from unlearn.stages.config.params import Params, load_params
from unlearn.stages.errors import InputError, ToolError
from unlearn.stages.project.paths import HOLDOUT, Project
from unlearn.stages.project.timings import read_method_seconds, read_timings
from unlearn.stages.report.formatting import number
from unlearn.stages.requests.plan import Costs, ShardPlan, estimate
from unlearn.stages.requests.request import read_requests
from unlearn.stages.rows.forget_list import place_of_line
from unlearn.stages.training.lineage import read_lineage


@dataclass(frozen=True)
class RocPoint:
    """A line of reports/roc.csv."""

    model: str
    attack: str
    sample: str
    fpr: float
    tpr: float


@dataclass(frozen=True)
class ScoreBin:
    """A line of reports/scores.csv."""

    model: str
    attack: str
    sample: str
    low: float
    high: float
    share: float


@dataclass(frozen=True)
class ShardState:
    """What happened to a shard.

    Parameters
    ----------
    name, slices
        The shard, and how many slices it has.
    named
        Slices, from 1, that the forget list names.
    first
        The slice from which the last run retrained it; None if it did not.
    reasons
        Why it was retrained.
    """

    name: str
    slices: int
    named: frozenset[int]
    first: int | None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class LastRun:
    """What the last run changed.

    Parameters
    ----------
    old
        The revision that it is compared with.
    first_training
        Whether nothing had been trained before.
    unexplained, notes
        Sentences of the audit.
    share
        Rows read, as a share of what training everything reads; None where nothing was retrained.
    by_rows
        Whether the share was counted from the models' lineages, not reckoned from equal slices.
    costs
        Seconds by the pace recorded on this machine.
    stages
        Of one model without shards: the stages that trained it or made one of it, and why they ran.
    """

    old: str
    first_training: bool
    unexplained: tuple[str, ...]
    notes: tuple[str, ...]
    share: float | None
    by_rows: bool
    costs: Costs | None
    stages: tuple[tuple[str, tuple[str, ...]], ...] = ()


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
        reports/verify.json.
    stale
        Why the report does not belong to the project as it stands, if so.
    min_rows
        Fewer forgotten rows than this get no numbers of their own; None if params.yaml is broken.
    roc, scores
        The plots' data; empty where they are not at hand.
    requests
        The log: time, ticket and count of each.
    shards
        Every shard that params.yaml names; empty where it cannot be read.
    holdout_named
        Whether the forget list names records of the holdout.
    run
        What the last run changed; None where there is nothing to compare with.
    before
        The report of the older state; empty where there is none.
    seconds
        How long each post-hoc method last took; empty where that is not known.
    missing
        A sentence for each part that could not be made.
    """

    name: str
    made: datetime
    report: Mapping[str, Any]
    stale: tuple[str, ...] = ()
    min_rows: int | None = None
    roc: tuple[RocPoint, ...] = ()
    scores: tuple[ScoreBin, ...] = ()
    requests: tuple[Mapping[str, Any], ...] = ()
    shards: tuple[ShardState, ...] = ()
    holdout_named: bool = False
    run: LastRun | None = None
    before: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


def gather(project: Project, made: datetime | None = None) -> Contents:
    """Read everything that the page shows.

    Parameters
    ----------
    project
        The project; a clone without data, models and key will do.
    made
        The time to put on the page; now by default.

    Raises
    ------
    InputError
        If there is no report yet, or it is none of this tool.
    """
    report = read_report(project)
    missing: list[str] = []
    params = _params(project)
    new = _snapshot(project, None, missing)
    old = None if new is None else _older(project, missing)
    found = None if old is None or new is None else compare(old, new)
    shards = () if new is None else _shards(project, params, old, new, found)
    return Contents(
        name=project.root.name,
        made=made or datetime.now(UTC),
        report=report,
        stale=tuple(reason.removeprefix("stale: ") for reason in stale_reasons(project)),
        min_rows=None if params is None else params.verify.min_rows,
        roc=tuple(_roc(project.roc)),
        scores=tuple(_scores(project.scores)),
        requests=tuple(_requests(project, missing)),
        shards=shards,
        holdout_named=new is not None and HOLDOUT in _named(new),
        run=None if old is None or found is None else _last_run(project, old, found, shards),
        before={} if old is None else _older_report(project, old.name),
        seconds=read_method_seconds(project),
        missing=tuple(missing),
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
        missing.append(f"What the last run changed is not known: {error.message}.")
        return None


def _git(project: Project, *arguments: str) -> str | None:
    """Return what git prints; None where it fails, or there is no git."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=project.root, capture_output=True, check=False
        )
    except FileNotFoundError:
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


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
            "What the last run changed is not known: git has no earlier state to compare with."
        )
        return None
    return _snapshot(project, name, missing)


def _older_report(project: Project, revision: str) -> dict[str, Any]:
    try:
        value = json.loads(_git(project, "show", f"{revision}:./reports/verify.json") or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _named(snapshot: Snapshot, lines: Iterable[str] | None = None) -> dict[str, set[int]]:
    """Return the slices that lines of the list name, by shard; all lines by default."""
    named: dict[str, set[int]] = {}
    if snapshot.sharding is not None:
        for line in snapshot.listed.tokens if lines is None else lines:
            place = place_of_line(line, snapshot.sharding)
            named.setdefault(place.shard, set()).add(place.slice)
    return named


def _shards(
    project: Project,
    params: Params | None,
    old: Snapshot | None,
    new: Snapshot,
    found: Audit | None,
) -> tuple[ShardState, ...]:
    sharding = new.sharding or (None if params is None else params.sharding)
    if sharding is None:
        return ()
    named = _named(new)
    carried_out = frozenset[str]() if old is None else old.carried_out.tokens
    fresh = _named(new, new.listed.tokens - carried_out)
    why = {} if found is None else {item.stage: item.reasons for item in found.retrained}
    timings = read_timings(project)
    states = []
    for shard in sharding.shards:
        stage = f"train@{shard}"
        first = None
        reasons = tuple(_uncounted(reason) for reason in why.get(stage, ()))
        if stage in why:
            if reasons == (_NEW_LINES,) and shard in fresh:
                # By construction: a state from before a forgotten row's slice never saw it.
                first = min(fresh[shard])
            else:
                timing = timings.get(stage)
                first = 1 if timing is None else min(timing.first_slice or 1, sharding.slices)
        states.append(
            ShardState(shard, sharding.slices, frozenset(named.get(shard, ())), first, reasons)
        )
    return tuple(states)


_NEW_LINES = "new lines on the forget list"


def _uncounted(reason: str) -> str:
    """Return a reason without the number of new lines: by shard, a few of them are a person."""
    count, _, rest = reason.partition(" ")
    return _NEW_LINES if count.replace(",", "").isdigit() and "new line" in rest else reason


def _last_run(
    project: Project, old: Snapshot, found: Audit, shards: tuple[ShardState, ...]
) -> LastRun:
    retrained = [shard for shard in shards if shard.first is not None]
    plans, by_rows = _plans(project, shards)
    in_full = sum(plan.rows_in_full for plan in plans)
    timings = read_timings(project)
    costs = None
    if by_rows and retrained:
        slices = shards[0].slices
        costs = estimate(plans, timings, slices=slices, checked=0, jobs=1)
    share = sum(plan.rows_to_train for plan in plans) / in_full if in_full else 0.0
    return LastRun(
        old=old.name,
        first_training=not any(name.startswith(("train@", "unlearn@")) for name in old.lock),
        unexplained=found.unexplained,
        notes=found.notes,
        share=share if retrained else None,
        by_rows=by_rows,
        costs=costs,
        stages=tuple(
            (item.stage, tuple(_uncounted(reason) for reason in item.reasons))
            for item in found.retrained
        ),
    )


def _plans(project: Project, shards: tuple[ShardState, ...]) -> tuple[list[ShardPlan], bool]:
    """Return what each shard's retraining read, by its lineage or, without models, evenly."""
    sizes: dict[str, list[int]] = {}
    for shard in shards:
        try:
            lineage = read_lineage(project.shard_models / shard.name)
        except (InputError, OSError):
            lineage = None
        if lineage is not None and len(lineage.slices) == shard.slices:
            sizes[shard.name] = [link.rows for link in lineage.slices]
    by_rows = len(sizes) == len(shards) and bool(shards)
    plans = []
    for shard in shards:
        rows = sizes[shard.name] if by_rows else [1] * shard.slices
        reads = [sum(rows[: end + 1]) for end in range(len(rows))]
        first = shard.slices + 1 if shard.first is None else shard.first
        plans.append(
            ShardPlan(shard.name, 0, sum(rows), sum(reads[first - 1 :]), sum(reads), first)
        )
    return plans, by_rows


def _requests(project: Project, missing: list[str]) -> list[dict[str, Any]]:
    try:
        return read_requests(project.requests)
    except (InputError, UnicodeDecodeError) as error:
        reason = error.message if isinstance(error, InputError) else "not UTF-8 text"
        missing.append(f"The timeline of requests cannot be read: {reason}.")
        return []


def _rows(path: Path, columns: tuple[str, ...]) -> Iterable[dict[str, str]]:
    """Yield the lines of a plot that have all columns; none where it is missing or damaged."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return
    for row in csv.DictReader(text.splitlines()):
        if all(row.get(column) is not None for column in columns):
            yield row


def _roc(path: Path) -> Iterable[RocPoint]:
    for row in _rows(path, ("model", "attack", "sample", "fpr", "tpr")):
        fpr, tpr = _share(row["fpr"]), _share(row["tpr"])
        if fpr is not None and tpr is not None:
            yield RocPoint(row["model"], row["attack"], row["sample"], fpr, tpr)


def _scores(path: Path) -> Iterable[ScoreBin]:
    for row in _rows(path, ("model", "attack", "sample", "low", "high", "share")):
        low, high, share = _float(row["low"]), _float(row["high"]), _share(row["share"])
        if low is not None and high is not None and share is not None and low <= high:
            yield ScoreBin(row["model"], row["attack"], row["sample"], low, high, share)


def _float(text: str) -> float | None:
    try:
        return number(float(text))
    except ValueError:
        return None


def _share(text: str) -> float | None:
    value = _float(text)
    return value if value is not None and 0 <= value <= 1 else None
