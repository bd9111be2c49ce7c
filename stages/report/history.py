"""Which shards were touched, what the last run retrained and cost, and the requests."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from unlearn.stages.report import charts, formatting, pictures
from unlearn.stages.report.contents import Contents
from unlearn.stages.report.last_run import LastRun, ShardState

#: How many requests a picture over time takes.
_FEWEST = 2


@dataclass(frozen=True)
class ShardMapView:
    """The map of shards, or why there is none."""

    headline: str
    tiles: tuple[tuple[str, Markup], ...]
    slices: int
    holdout: bool


def shard_map(contents: Contents) -> ShardMapView | None:
    """Return every shard with the slices that were touched and retrained; None without shards."""
    if contents.report.kind == "posthoc":
        return None
    shards = contents.shards
    if not shards:
        return ShardMapView("The shards are not known: the settings cannot be read.", (), 0, False)
    touched = sum(bool(shard.named) for shard in shards)
    headline = f"{_of(touched, len(shards))} {_hold(touched)} records on the forget list"
    if contents.run is not None:
        retrained = sum(shard.first is not None for shard in shards)
        headline += f"; the last run retrained {'none' if not retrained else f'{retrained:,}'}"
    tiles = tuple(
        (shard.name, pictures.slices_of(shard.name, shard.slices, shard.first, shard.named))
        for shard in shards
    )
    return ShardMapView(f"{headline}.", tiles, shards[0].slices, contents.holdout_named)


def _of(some: int, total: int) -> str:
    return f"{'None' if not some else f'{some:,}'} of {formatting.plural(total, 'shard')}"


def _hold(count: int) -> str:
    return "holds" if count == 1 else "hold"


@dataclass(frozen=True)
class RunView:
    """What the last run retrained and what it cost; `why_not` if that is not known."""

    headline: str
    why_not: str | None
    old: str
    unexplained: tuple[str, ...]
    notes: tuple[str, ...]
    retrained: tuple[tuple[str, str, str], ...]
    applied: tuple[tuple[str, str], ...]
    bars: tuple[tuple[str, Markup, str], ...]
    basis: str


def last_run(contents: Contents) -> RunView:
    """Return what the last run retrained, why, and its cost compared with a full training."""
    run = contents.run
    if run is None:
        return RunView(
            "The changes of the last run are not known.", _NO_COMPARISON, "", (), (), (), (), (), ""
        )
    if contents.report.kind == "posthoc":
        return _applied(run)
    retrained = [shard for shard in contents.shards if shard.first is not None]
    if not retrained:
        headline = "The last run retrained no shard."
    elif run.first_training:
        headline = (
            f"This was the first training: all of {formatting.plural(len(retrained), 'shard')}."
        )
    elif run.share is None:
        headline = f"The last run retrained {formatting.plural(len(retrained), 'shard')}."
    else:
        about = "" if run.by_rows else "about "
        headline = (
            f"The last run retrained {formatting.plural(len(retrained), 'shard')}, and read "
            f"{about}{formatting.percent(run.share)} of the rows that a full training reads."
        )
    return RunView(
        headline=headline,
        why_not=None,
        old=formatting.plain(run.old, 20),
        unexplained=run.unexplained,
        notes=run.notes,
        retrained=_grouped(retrained),
        applied=(),
        bars=_bars(contents),
        basis="" if run.share is None else _EXACT_BASIS if run.by_rows else _EVEN_BASIS,
    )


def _applied(run: LastRun) -> RunView:
    """Return which methods the last run applied, and whether it touched the original."""
    methods = [stage for stage, _ in run.stages if stage != "train"]
    if not run.stages:
        headline = "The last run made no model."
    else:
        headline = f"The last run applied {formatting.plural(len(methods), 'method')}"
        trained = len(methods) < len(run.stages)
        headline += ", and trained the original." if trained else "; the original did not change."
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for stage, reasons in run.stages:
        name = stage.removeprefix("unlearn@")
        groups[reasons].append("the original" if name == "train" else formatting.plain(name, 40))
    return RunView(
        headline=headline,
        why_not=None,
        old=formatting.plain(run.old, 20),
        unexplained=run.unexplained,
        notes=run.notes,
        retrained=(),
        applied=tuple(
            (
                ", ".join(names),
                ", ".join(formatting.plain(reason, 120) for reason in reasons) or "no cause found",
            )
            for reasons, names in groups.items()
        ),
        bars=(),
        basis="",
    )


_NO_COMPARISON = (
    "They are found by comparing dvc.lock with an earlier one in git, and there is none."
)
_EXACT_BASIS = "A row counts once for each slice that reads it, by the models' current lineages."
_EVEN_BASIS = "Rows were not counted for this page: it is estimated with slices of equal size."


def _grouped(retrained: Sequence[ShardState]) -> tuple[tuple[str, str, str], ...]:
    """Return shards with the same start and cause on one line."""
    groups: dict[tuple[int, tuple[str, ...]], list[str]] = defaultdict(list)
    for shard in retrained:
        groups[shard.first or 1, shard.reasons].append(shard.name)
    slices = retrained[0].slices if retrained else 0
    return tuple(
        (
            formatting.ranges(names),
            f"slice {first} of {slices}" if slices > 1 else "the start",
            ", ".join(formatting.plain(reason, 120) for reason in reasons) or "no cause found",
        )
        for (first, reasons), names in sorted(groups.items(), key=lambda group: group[1])
    )


def _bars(contents: Contents) -> tuple[tuple[str, Markup, str], ...]:
    """Return the cost of the last run, of a full training, and of one plain model."""
    run = contents.run
    if run is None or run.share is None:
        return ()
    costs = run.costs
    if costs is None or costs.whole_pipeline is None:
        return (
            (
                "The last run",
                pictures.bar(run.share, "forgotten"),
                f"{formatting.percent(run.share)} of the rows",
            ),
            ("A full training", pictures.bar(1.0, "non_members"), "100% of the rows"),
        )
    seconds = (
        ("The last run", costs.this_request, "forgotten"),
        ("A full training of all shards", costs.whole_pipeline, "non_members"),
        ("One plain model, without shards", costs.one_plain_model, "non_members"),
    )
    longest = max(value or 0.0 for _, value, _ in seconds) or 1.0
    return tuple(
        (name, pictures.bar((value or 0.0) / longest, kind), formatting.duration(value))
        for name, value, kind in seconds
    )


def timeline(contents: Contents) -> Markup | None:
    """Return a picture of all requests over time; None where there are fewer than two."""
    dated = sorted(
        (time, int(lines))
        for request in contents.requests
        if (time := formatting.moment(request.get("time")))
        and (lines := formatting.number(request.get("count"))) is not None
        and lines >= 0
    )
    if len(dated) < _FEWEST:
        return None
    together = formatting.plural(sum(count for _, count in dated), "line")
    entries = formatting.plural(len(dated), "entry", "entries")
    title = f"{entries} of the request log put {together} on the forget list."
    return charts.timeline(dated, title)
