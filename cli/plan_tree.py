"""The tree of what the next run would do, which `unlearn plan` shows."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from unlearn.cli.output import plural
from unlearn.cli.plan_answer import PlanAnswer

#: How many shards, or reasons, are named; the rest is summed up.
_SHARDS, _REASONS = 8, 3


@dataclass
class _Branch:
    """A line of the tree, and the lines below it."""

    text: str
    below: list["_Branch"] = field(default_factory=list)


def describe_tree(answer: PlanAnswer) -> list[str]:
    """Return the lines of the tree: stages, below them shards or methods, and what stays.

    Parameters
    ----------
    answer
        The plan, with at least one stage to run.
    """
    branches: list[_Branch] = []
    for group in dict.fromkeys(name.partition("@")[0] for name in answer.stages):
        items = [name for name in answer.stages if name.partition("@")[0] == group]
        if items == [group]:
            branches.append(_Branch(_stage(answer, group)))
        elif group == "train":
            branches.append(_shards(answer, [name.partition("@")[2] for name in items]))
        else:
            below = [_Branch(_stage(answer, name)) for name in items]
            branches.append(_Branch(f"{group}: {plural(len(items), 'method')}", below))
    lines = ["what will run:", *_drawn(branches)]
    return [*lines, f"unchanged: {_unchanged(answer)}"]


def _stage(answer: PlanAnswer, name: str) -> str:
    """Return a stage with what it takes, and why it runs where DVC has a reason."""
    shown = name.partition("@")[2] or name
    parts = [_why(answer.causes.get(name, []))]
    if name == "verify" and answer.costs.check:
        parts.append(f"the retraining check {_seconds(answer.costs.check)}")
    elif (seconds := answer.seconds_by_stage.get(name)) is not None:
        parts.append(_seconds(seconds))
    text = ", ".join(part for part in parts if part)
    return f"{shown}: {text}" if text else shown


def _why(causes: Sequence[str]) -> str:
    if not causes:
        return ""
    more = len(causes) - _REASONS
    return f"changed {', '.join(causes[:_REASONS])}" + (f" and {more:,} more" if more > 0 else "")


def _shards(answer: PlanAnswer, shards: list[str]) -> _Branch:
    """Return the trainings of shards: the longest are named."""
    found = answer.rows_by_shard
    # DVC may run a stage that finds its model as it has to be.
    order = sorted(shards, key=lambda name: -found.get(name, 0))
    named = set(order if len(order) <= _SHARDS else order[: _SHARDS - 1])
    rest = [name for name in shards if name not in named]
    below = [_Branch(f"{name} {_how(answer, name)}") for name in shards if name in named]
    if rest:
        rows = sum(found.get(name, 0) for name in rest)
        below.append(
            _Branch(f"and {len(rest):,} more: {_amount(rows, _sum(answer.seconds_by_shard, rest))}")
        )
    rows = sum(found.get(name, 0) for name in shards)
    amount = _amount(rows, answer.costs.training)
    of = f"{len(shards):,} of {plural(answer.shards_in_all, 'shard')}"
    return _Branch(f"train: {of}, {amount}", below)


def _how(answer: PlanAnswer, shard: str) -> str:
    """Return where a training begins or that a model is changed, with the rows and seconds."""
    amount = _amount(answer.rows_by_shard.get(shard, 0), answer.seconds_by_shard.get(shard))
    why = _why(answer.causes.get(f"train@{shard}", []))
    if shard in answer.changed:
        how = "by changing its model"
    elif shard in answer.slices:
        how = f"from slice {answer.slices[shard]} of {answer.slices_in_all}"
    else:
        return f"up to date{f', {why}' if why else ''}"
    return f"{how}: {amount}{f'; {why}' if why else ''}"


def _amount(rows: int, seconds: float | None) -> str:
    return plural(rows, "row") + ("" if seconds is None else f", {_seconds(seconds)}")


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s"


def _sum(seconds: Mapping[str, float], names: Sequence[str]) -> float | None:
    found = [seconds[name] for name in names if name in seconds]
    return sum(found) if len(found) == len(names) else None


def _unchanged(answer: PlanAnswer) -> str:
    """Count what stays as it is."""
    trained = sum(name.startswith("train@") for name in answer.stages)
    left = answer.shards_in_all - trained
    parts = [plural(left, "shard")] if left > 0 else []
    stages = [name for name in answer.unchanged if not name.startswith("train@")]
    parts += [f"the stage {stages[0]}"] if len(stages) == 1 else []
    parts += [f"the stages {', '.join(stages)}"] if len(stages) > 1 else []
    return "; ".join(parts) or "nothing"


def _drawn(branches: Sequence[_Branch], before: str = "") -> list[str]:
    """Return branches as lines, in letters where the stream has no others."""
    fork, last, line = ("├─ ", "└─ ", "│  ") if _has_lines() else ("|- ", "`- ", "|  ")
    lines = []
    for number, branch in enumerate(branches, 1):
        is_last = number == len(branches)
        lines.append(f"{before}{last if is_last else fork}{branch.text}")
        lines += _drawn(branch.below, before + ("   " if is_last else line))
    return lines


def _has_lines() -> bool:
    try:
        "├─└│".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
