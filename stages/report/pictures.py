"""Pictures as inline SVG text: arrays in, markup out.

They hold no colour and no script. Colours are the style sheet's, so that one picture serves light,
dark and paper; kinds of data differ in dash or shape as well, for readers who do not see colours
apart. Each is drawn 360 units wide, which a phone shows at about its own size.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup, escape
from unlearn.stages.report.formatting import day

_WIDTH = 360.0
_LEFT, _RIGHT = 46.0, 350.0

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


@dataclass(frozen=True)
class Point:
    """A model in a picture of two shares; `kind` names its look, the target has a ring as well."""

    name: str
    kind: str
    across: float
    up: float
    is_target: bool = False


def _svg(label: str, height: float, body: Iterable[str], css: str = "plot") -> Markup:
    """Return a drawing that says in words, to a reader who cannot see it, what it shows."""
    return Markup(  # noqa: S704 - the label is escaped, and the body is made here, of numbers
        f'<svg class="{css}" viewBox="0 0 {_WIDTH:g} {height:g}" role="img" '
        f'aria-label="{escape(label)}">{"".join(body)}</svg>'
    )


def _n(value: float) -> str:
    """Return a coordinate: one digit is below what anyone sees."""
    return f"{value:.1f}".removesuffix(".0")


def _path(points: Iterable[tuple[float, float]]) -> str:
    steps = [f"{_n(x)} {_n(y)}" for x, y in points]
    return f"M{'L'.join(steps)}" if steps else ""


def _text(x: float, y: float, said: str, css: str = "", anchor: str = "middle") -> str:
    return (
        f'<text x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}" class="{css}">{escape(said)}</text>'
    )


def _axis_titles(across: str, up: str, bottom: float) -> list[str]:
    middle = (_LEFT + _RIGHT) / 2
    return [
        _text(middle, bottom + 33, across, "axis"),
        _text(0, 12, up, "axis", "start"),
    ]


def swatch(kind: str) -> Markup:
    """Return the sample of a line that stands in a legend."""
    return Markup(  # noqa: S704 - the kind is escaped
        '<svg class="swatch" viewBox="0 0 26 10" aria-hidden="true">'
        f'<path class="line {escape(kind)}" d="M1 5H25"/></svg>'
    )


def dot(kind: str, *, is_target: bool = False) -> Markup:
    """Return the sample of a point that stands in a legend."""
    ring = '<circle class="aim" cx="13" cy="8" r="7"/>' if is_target else ""
    return Markup(  # noqa: S704 - the kind is escaped
        '<svg class="swatch dot" viewBox="0 0 26 16" aria-hidden="true">'
        f'{ring}<circle class="model {escape(kind)}" cx="13" cy="8" r="3.6"/></svg>'
    )


def on_a_scale(
    point: float, ends: tuple[float, float] | None, reference: float | None, kind: str
) -> Markup:
    """Draw a number from 0 to 1 with its interval, as one line of a table.

    Parameters
    ----------
    point, ends
        The number, and its interval where there is one.
    reference
        What it is to be held against: drawn as an upright line.
    kind
        Its look.
    """

    def across(value: float) -> float:
        return 6 + 148 * min(1.0, max(0.0, value))

    body = [f'<path class="rail" d="M{_n(across(0))} 9H{_n(across(1))}"/>']
    if reference is not None:
        body.append(f'<path class="reference" d="M{_n(across(reference))} 1V17"/>')
    if ends is not None:
        low, high = across(ends[0]), across(ends[1])
        body.append(f'<path class="whisker {escape(kind)}" d="M{_n(low)} 9H{_n(high)}"/>')
    body.append(f'<circle class="dot {escape(kind)}" cx="{_n(across(point))}" cy="9" r="3.2"/>')
    return Markup(  # noqa: S704 - made of numbers
        f'<svg class="scale" viewBox="0 0 160 18" aria-hidden="true">{"".join(body)}</svg>'
    )


def roc(curves: Sequence[Curve], non_members: int | None, label: str) -> Markup:
    """Draw ROC curves with both axes logarithmic (Carlini et al., "LiRA", S&P 2022, section III).

    What matters is how many members an attack finds while it hardly ever accuses a non-member; a
    linear axis hides that corner.

    Parameters
    ----------
    curves
        Drawn in this order, the last on top.
    non_members
        Their number: rates below one in so many were not observed, and are shaded.
    label
        What the picture says, in words.
    """
    top, bottom = 22.0, 286.0
    decades = round(-math.log10(RATE_FLOOR))

    def along(rate: float) -> float:
        return 1 + math.log10(max(rate, RATE_FLOOR)) / decades

    def across(rate: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * along(rate)

    def up(rate: float) -> float:
        return bottom - (bottom - top) * along(rate)

    body = []
    if non_members and 1 / non_members > RATE_FLOOR:
        width = across(min(1.0, 1 / non_members)) - _LEFT
        body.append(
            f'<rect class="unseen" x="{_n(_LEFT)}" y="{_n(top)}" width="{_n(width)}" '
            f'height="{_n(bottom - top)}"/>'
        )
    for decade in range(decades + 1):
        rate = 10.0 ** (decade - decades)
        said = f"{rate:.{max(0, decades - decade - 2)}%}"
        x, y = across(rate), up(rate)
        body.append(f'<path class="grid" d="M{_n(x)} {_n(top)}V{_n(bottom)}"/>')
        body.append(f'<path class="grid" d="M{_n(_LEFT)} {_n(y)}H{_n(_RIGHT)}"/>')
        body.append(_text(x, bottom + 16, said, "tick", "end" if decade == decades else "middle"))
        body.append(_text(_LEFT - 6, y + 4, said, "tick", "end"))
    body.append(f'<path class="chance" d="M{_n(_LEFT)} {_n(bottom)}L{_n(_RIGHT)} {_n(top)}"/>')
    for curve in curves:
        # Zero has no place on a logarithmic axis: a curve begins where it finds its first record.
        drawn = [(across(x), up(y)) for x, y in sorted(curve.points) if x > 0 and y > 0]
        if drawn:
            body.append(f'<path class="line {escape(curve.kind)}" d="{_path(drawn)}"/>')
    body += _axis_titles("false positive rate", "true positive rate", bottom)
    return _svg(label, bottom + 40, body)


def histograms(samples: Sequence[Histogram], label: str) -> Markup:
    """Draw the scores of several samples over each other, as steps on one axis."""
    top, bottom = 22.0, 206.0
    bins = [one for sample in samples for one in sample.bins]
    low, high = min(one[0] for one in bins), max(one[1] for one in bins)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    tallest = max((one[2] for one in bins), default=0.0) or 1.0

    def across(score: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * (score - low) / (high - low)

    def up(share: float) -> float:
        return bottom - (bottom - top) * share / tallest

    body = []
    for share in nice_ticks(0.0, tallest, 4):
        said = f"{share:.0%}" if tallest >= 0.05 else f"{share:.1%}"  # noqa: PLR2004 - digits of a tick
        body.append(f'<path class="grid" d="M{_n(_LEFT)} {_n(up(share))}H{_n(_RIGHT)}"/>')
        body.append(_text(_LEFT - 6, up(share) + 4, said, "tick", "end"))
    body += [
        _text(across(score), bottom + 16, f"{score:g}", "tick")
        for score in nice_ticks(low, high, 6)
    ]
    for sample in samples:
        ordered = sorted(sample.bins)
        steps = [(across(ordered[0][0]), bottom)] if ordered else []
        for left, right, share in ordered:
            steps += [(across(left), up(share)), (across(right), up(share))]
        if steps:
            steps.append((steps[-1][0], bottom))
            kind = escape(sample.kind)
            body.append(f'<path class="area {kind}" d="{_path(steps)}Z"/>')
            body.append(f'<path class="line {kind}" d="{_path(steps)}"/>')
    body.append(f'<path class="base" d="M{_n(_LEFT)} {_n(bottom)}H{_n(_RIGHT)}"/>')
    body += _axis_titles("score of the attack", "share of the records", bottom)
    return _svg(label, bottom + 40, body)


def nice_ticks(low: float, high: float, most: int) -> list[float]:
    """Return round numbers from `low` to `high`, at most `most` of them."""
    span = high - low
    # Too narrow to tell its ends apart in print: one mark says all.
    if not 1e-9 * max(abs(low), abs(high)) < span < math.inf:
        return [low]
    step = 10.0 ** math.floor(math.log10(span / most))
    while span / step > most - 1:
        # 1, 2, 5, 10: what people count in.
        step *= 2.5 if f"{step:e}".startswith("2") else 2
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(place * step, 12) for place in range(first, last + 1)]


def trade_off(points: Sequence[Point], across: str, up: str, label: str) -> Markup:
    """Draw models between two shares, each named beside the picture, with a line to its place.

    Many models fall on one place, where names would cover each other: they stand in a column of
    their own, in the order of the places. Lines through the target lead to it.

    Parameters
    ----------
    points
        The models; at least one.
    across, up
        What the axes measure.
    label
        What the picture says, in words.
    """
    top, right, names = 22.0, 186.0, 204.0
    bottom = max(232.0, top + _NAME_HEIGHT * (len(points) + 1))
    wide, high = (_domain([getattr(p, axis) for p in points]) for axis in ("across", "up"))

    def place(point: Point) -> tuple[float, float]:
        return (
            _LEFT + (right - _LEFT) * (point.across - wide[0]) / (wide[1] - wide[0]),
            bottom - (bottom - top) * (point.up - high[0]) / (high[1] - high[0]),
        )

    body = []
    for share in nice_ticks(*wide, 4):
        x = _LEFT + (right - _LEFT) * (share - wide[0]) / (wide[1] - wide[0])
        body.append(f'<path class="grid" d="M{_n(x)} {_n(top)}V{_n(bottom)}"/>')
        body.append(_text(x, bottom + 16, f"{share:.0%}", "tick"))
    for share in nice_ticks(*high, 6):
        y = bottom - (bottom - top) * (share - high[0]) / (high[1] - high[0])
        body.append(f'<path class="grid" d="M{_n(_LEFT)} {_n(y)}H{_n(right)}"/>')
        body.append(_text(_LEFT - 6, y + 4, f"{share:.0%}", "tick", "end"))
    # From the top down; on one height those to the left come first, so that lines do not cross.
    ordered = sorted(points, key=lambda point: (-point.up, point.across, point.name))
    heights = _spread([place(point)[1] for point in ordered], top + 4, bottom - 4, _NAME_HEIGHT)
    marks: list[str] = []
    for point, height in zip(ordered, heights, strict=True):
        x, y = place(point)
        kind = escape(point.kind)
        if point.is_target:
            aim = f"M{_n(_LEFT)} {_n(y)}H{_n(right)}M{_n(x)} {_n(top)}V{_n(bottom)}"
            body.append(f'<path class="chance" d="{aim}"/>')
            marks.insert(0, f'<circle class="aim" cx="{_n(x)}" cy="{_n(y)}" r="7.5"/>')
        leader = f"M{_n(x)} {_n(y)}L{_n(right + 6)} {_n(height)}H{_n(names - 4)}"
        body.append(f'<path class="leader" d="{leader}"/>')
        marks.append(f'<circle class="model {kind}" cx="{_n(x)}" cy="{_n(y)}" r="3.6"/>')
        marks.append(_text(names, height + 4, _shortened(point.name), f"name {kind}", "start"))
    body += marks
    body.append(_text((_LEFT + right) / 2, bottom + 33, across, "axis"))
    body.append(_text(0, 12, up, "axis", "start"))
    return _svg(label, bottom + 40, body)


#: Room for one name of the column, and the letters that fit into its width.
_NAME_HEIGHT, _NAME_LETTERS = 15.0, 22


def _shortened(name: str) -> str:
    """Return what fits beside the picture: of a long name the end, which tells functions apart."""
    return name if len(name) <= _NAME_LETTERS else f"…{name[1 - _NAME_LETTERS :]}"


def _domain(shares: Sequence[float]) -> tuple[float, float]:
    """Return the ends of an axis: room around the shares, never narrower than a tenth."""
    low, high = min(shares), max(shares)
    room = max(0.08 * (high - low), (0.1 - (high - low)) / 2, 0.01)
    return max(0.0, min(low - room, 0.9)), min(1.0, max(high + room, 0.1))


def _spread(heights: Sequence[float], top: float, bottom: float, apart: float) -> list[float]:
    """Return heights in the same order, near the given ones, and at least so far apart."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + apart) if placed else max(height, top))
    limit = bottom
    for number in range(len(placed) - 1, -1, -1):
        placed[number] = min(placed[number], limit)
        limit = placed[number] - apart
    return placed


def slices_of(shard: str, slices: int, first: int | None, touched: Collection[int]) -> Markup:
    """Draw a shard as a row of slices.

    Parameters
    ----------
    shard, slices
        Its name, and how many slices it has.
    first
        The slice from which the last run retrained it; None if it did not.
    touched
        Slices, from 1, that the forget list names.
    """
    wide = 100 / slices
    body = ['<rect class="kept" width="100" height="16"/>']
    said = [shard, "not retrained" if first is None else f"retrained from slice {first}"]
    if first is not None:
        start = (first - 1) * wide
        body.append(
            f'<rect class="retrained" x="{_n(start)}" width="{_n(100 - start)}" height="16"/>'
        )
    for number in sorted(touched):
        left = (number - 1) * wide + wide * 0.2
        body.append(
            f'<rect class="named" x="{_n(left)}" y="10" width="{_n(wide * 0.6)}" height="4"/>'
        )
    if 1 < slices <= _MOST_SEPARATED:
        lines = "".join(f"M{_n(number * wide)} 0V16" for number in range(1, slices))
        body.append(f'<path class="separator" d="{lines}"/>')
    if touched:
        slice_word = "slice" if len(touched) == 1 else "slices"
        said.append(f"forgotten records in {slice_word} {', '.join(map(str, sorted(touched)))}")
    return Markup(  # noqa: S704 - the words are escaped, the rest is numbers
        f'<svg class="shard" viewBox="0 0 100 16" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape("; ".join(said))}"><title>{escape("; ".join(said))}</title>'
        f"{''.join(body)}</svg>"
    )


#: More slices than this stand too close for lines between them.
_MOST_SEPARATED = 25


def timeline(requests: Sequence[tuple[datetime, int]], label: str) -> Markup:
    """Draw how many lines requests put on the forget list, over time.

    Parameters
    ----------
    requests
        Time and count of each, in order of time; at least one.
    label
        What the picture says, in words.
    """
    top, bottom = 22.0, 186.0
    begin, end = requests[0][0], requests[-1][0]
    span = (end - begin).total_seconds()
    total = sum(count for _, count in requests) or 1

    def across(time: datetime) -> float:
        place = (time - begin).total_seconds() / span if span else 0.5
        return _LEFT + 8 + (_RIGHT - _LEFT - 16) * place

    def up(lines: float) -> float:
        return bottom - (bottom - top) * lines / total

    body = []
    for lines in nice_ticks(0, total, 4):
        if lines == int(lines):
            body.append(f'<path class="grid" d="M{_n(_LEFT)} {_n(up(lines))}H{_n(_RIGHT)}"/>')
            body.append(_text(_LEFT - 6, up(lines) + 4, f"{lines:,.0f}", "tick", "end"))
    steps, dots, so_far = [(_LEFT, bottom)], [], 0
    for time, count in requests:
        steps.append((across(time), up(so_far)))
        so_far += count
        steps.append((across(time), up(so_far)))
        dots.append(
            f'<circle class="dot forgotten" cx="{_n(across(time))}" cy="{_n(up(so_far))}" r="3"/>'
        )
    steps.append((_RIGHT, up(so_far)))
    body.append(f'<path class="line forgotten" d="{_path(steps)}"/>')
    # Beyond a few dozen they cover the line.
    body += dots if len(dots) <= _MOST_DOTS else []
    body.append(f'<path class="base" d="M{_n(_LEFT)} {_n(bottom)}H{_n(_RIGHT)}"/>')
    if day(begin) == day(end):
        body.append(_text((_LEFT + _RIGHT) / 2, bottom + 16, day(begin), "tick"))
    else:
        body.append(_text(_LEFT, bottom + 16, day(begin), "tick", "start"))
        body.append(_text(_RIGHT, bottom + 16, day(end), "tick", "end"))
    body.append(_text(0, 12, "lines on the forget list", "axis", "start"))
    return _svg(label, bottom + 24, body)


_MOST_DOTS = 60


def bar(share: float, kind: str) -> Markup:
    """Draw a share of 1 as a bar."""
    width = 100 * min(1.0, max(0.0, share))
    return Markup(  # noqa: S704 - made of numbers
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="kept" width="100" height="10"/>'
        f'<rect class="{escape(kind)}" width="{_n(max(width, 0.4) if share else 0)}" height="10"/>'
        "</svg>"
    )
