"""Charts of the attacks and of the requests, as inline SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup, escape
from unlearn.stages.report.formatting import day
from unlearn.stages.report.svg import (
    LEFT,
    RIGHT,
    axis_titles,
    drawing,
    nice_ticks,
    path,
    px,
    text,
)

#: The lowest rate of either axis of a ROC curve (Carlini et al. 2022 draw from 1e-5).
RATE_FLOOR = 1e-4


@dataclass(frozen=True)
class Curve:
    """A ROC curve: pairs of false and true positive rate; `kind` names its look."""

    kind: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Histogram:
    """Shares of a sample by bin, each (low, high, share); `kind` names its look."""

    kind: str
    bins: Sequence[tuple[float, float, float]]


def roc(curves: Sequence[Curve], non_members: int | None, label: str) -> Markup:
    """Draw ROC curves with both axes logarithmic (Carlini et al., "LiRA", S&P 2022, section III).

    What matters is the true positive rate at very low false positive rates; a linear axis hides
    that corner.

    Parameters
    ----------
    curves
        Drawn in this order, the last on top.
    non_members
        Their number: rates below one divided by it were not observed, and are shaded.
    label
        What the picture says, in formatting.
    """
    top, bottom = 22.0, 286.0
    decades = round(-math.log10(RATE_FLOOR))

    def along(rate: float) -> float:
        return 1 + math.log10(max(rate, RATE_FLOOR)) / decades

    def across(rate: float) -> float:
        return LEFT + (RIGHT - LEFT) * along(rate)

    def up(rate: float) -> float:
        return bottom - (bottom - top) * along(rate)

    body = []
    if non_members and 1 / non_members > RATE_FLOOR:
        width = across(min(1.0, 1 / non_members)) - LEFT
        body.append(
            f'<rect class="unseen" x="{px(LEFT)}" y="{px(top)}" width="{px(width)}" '
            f'height="{px(bottom - top)}"/>'
        )
    for decade in range(decades + 1):
        rate = 10.0 ** (decade - decades)
        said = f"{rate:.{max(0, decades - decade - 2)}%}"
        x, y = across(rate), up(rate)
        body.append(f'<path class="grid" d="M{px(x)} {px(top)}V{px(bottom)}"/>')
        body.append(f'<path class="grid" d="M{px(LEFT)} {px(y)}H{px(RIGHT)}"/>')
        body.append(text(x, bottom + 16, said, "tick", "end" if decade == decades else "middle"))
        body.append(text(LEFT - 6, y + 4, said, "tick", "end"))
    body.append(f'<path class="chance" d="M{px(LEFT)} {px(bottom)}L{px(RIGHT)} {px(top)}"/>')
    for curve in curves:
        # Zero has no place on a logarithmic axis: a curve begins where it finds its first record.
        drawn = [(across(x), up(y)) for x, y in sorted(curve.points) if x > 0 and y > 0]
        if drawn:
            body.append(f'<path class="line {escape(curve.kind)}" d="{path(drawn)}"/>')
    body += axis_titles("false positive rate", "true positive rate", bottom)
    return drawing(label, bottom + 40, body)


def histograms(samples: Sequence[Histogram], label: str) -> Markup:
    """Draw the scores of several samples over each other, as steps on one axis."""
    top, bottom = 22.0, 206.0
    bins = [one for sample in samples for one in sample.bins]
    low, high = min(one[0] for one in bins), max(one[1] for one in bins)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    tallest = max((one[2] for one in bins), default=0.0) or 1.0

    def across(score: float) -> float:
        return LEFT + (RIGHT - LEFT) * (score - low) / (high - low)

    def up(share: float) -> float:
        return bottom - (bottom - top) * share / tallest

    body = []
    for share in nice_ticks(0.0, tallest, 4):
        said = f"{share:.0%}" if tallest >= 0.05 else f"{share:.1%}"  # noqa: PLR2004 - digits of a tick
        body.append(f'<path class="grid" d="M{px(LEFT)} {px(up(share))}H{px(RIGHT)}"/>')
        body.append(text(LEFT - 6, up(share) + 4, said, "tick", "end"))
    body += [
        text(across(score), bottom + 16, f"{score:g}", "tick") for score in nice_ticks(low, high, 6)
    ]
    for sample in samples:
        ordered = sorted(sample.bins)
        steps = [(across(ordered[0][0]), bottom)] if ordered else []
        for left, right, share in ordered:
            steps += [(across(left), up(share)), (across(right), up(share))]
        if steps:
            steps.append((steps[-1][0], bottom))
            kind = escape(sample.kind)
            body.append(f'<path class="area {kind}" d="{path(steps)}Z"/>')
            body.append(f'<path class="line {kind}" d="{path(steps)}"/>')
    body.append(f'<path class="base" d="M{px(LEFT)} {px(bottom)}H{px(RIGHT)}"/>')
    body += axis_titles("score of the attack", "share of the records", bottom)
    return drawing(label, bottom + 40, body)


def timeline(requests: Sequence[tuple[datetime, int]], label: str) -> Markup:
    """Draw how many lines requests put on the forget list, over time.

    Parameters
    ----------
    requests
        Time and count of each, in order of time; at least one.
    label
        What the picture says, in formatting.
    """
    top, bottom = 22.0, 186.0
    begin, end = requests[0][0], requests[-1][0]
    span = (end - begin).total_seconds()
    total = sum(count for _, count in requests) or 1

    def across(time: datetime) -> float:
        place = (time - begin).total_seconds() / span if span else 0.5
        return LEFT + 8 + (RIGHT - LEFT - 16) * place

    def up(lines: float) -> float:
        return bottom - (bottom - top) * lines / total

    body = []
    for lines in nice_ticks(0, total, 4):
        if lines == int(lines):
            body.append(f'<path class="grid" d="M{px(LEFT)} {px(up(lines))}H{px(RIGHT)}"/>')
            body.append(text(LEFT - 6, up(lines) + 4, f"{lines:,.0f}", "tick", "end"))
    steps, dots, so_far = [(LEFT, bottom)], [], 0
    for time, count in requests:
        steps.append((across(time), up(so_far)))
        so_far += count
        steps.append((across(time), up(so_far)))
        dots.append(
            f'<circle class="dot forgotten" cx="{px(across(time))}" cy="{px(up(so_far))}" r="3"/>'
        )
    steps.append((RIGHT, up(so_far)))
    body.append(f'<path class="line forgotten" d="{path(steps)}"/>')
    # Beyond a few dozen they cover the line.
    body += dots if len(dots) <= _MOST_DOTS else []
    body.append(f'<path class="base" d="M{px(LEFT)} {px(bottom)}H{px(RIGHT)}"/>')
    if day(begin) == day(end):
        body.append(text((LEFT + RIGHT) / 2, bottom + 16, day(begin), "tick"))
    else:
        body.append(text(LEFT, bottom + 16, day(begin), "tick", "start"))
        body.append(text(RIGHT, bottom + 16, day(end), "tick", "end"))
    body.append(text(0, 12, "lines on the forget list", "axis", "start"))
    return drawing(label, bottom + 24, body)


_MOST_DOTS = 60
