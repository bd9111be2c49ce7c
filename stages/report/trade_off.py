"""The chart of forgetting against utility, as inline SVG."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape
from unlearn.stages.report.svg import LEFT, drawing, nice_ticks, px, text


@dataclass(frozen=True)
class Point:
    """A model in a picture of two shares; `kind` names its look, the target has a ring as well."""

    name: str
    kind: str
    across: float
    up: float
    is_target: bool = False


def trade_off(points: Sequence[Point], across: str, up: str, label: str) -> Markup:
    """Draw models between two shares, with names at the side and a line to each point.

    Many models fall on one point, where names would overlap: the names are in a separate column, in
    the order of the points. Two lines cross at the target.

    Parameters
    ----------
    points
        The models; at least one.
    across, up
        What the axes measure.
    label
        What the picture says, in formatting.
    """
    top, right, names = 22.0, 186.0, 204.0
    bottom = max(232.0, top + _NAME_HEIGHT * (len(points) + 1))
    wide, high = (_domain([getattr(p, axis) for p in points]) for axis in ("across", "up"))

    def place(point: Point) -> tuple[float, float]:
        return (
            LEFT + (right - LEFT) * (point.across - wide[0]) / (wide[1] - wide[0]),
            bottom - (bottom - top) * (point.up - high[0]) / (high[1] - high[0]),
        )

    body = []
    for share in nice_ticks(*wide, 4):
        x = LEFT + (right - LEFT) * (share - wide[0]) / (wide[1] - wide[0])
        body.append(f'<path class="grid" d="M{px(x)} {px(top)}V{px(bottom)}"/>')
        body.append(text(x, bottom + 16, f"{share:.0%}", "tick"))
    for share in nice_ticks(*high, 6):
        y = bottom - (bottom - top) * (share - high[0]) / (high[1] - high[0])
        body.append(f'<path class="grid" d="M{px(LEFT)} {px(y)}H{px(right)}"/>')
        body.append(text(LEFT - 6, y + 4, f"{share:.0%}", "tick", "end"))
    # From the top down; on one height those to the left come first, so that lines do not cross.
    ordered = sorted(points, key=lambda point: (-point.up, point.across, point.name))
    heights = _spread([place(point)[1] for point in ordered], top + 4, bottom - 4, _NAME_HEIGHT)
    marks: list[str] = []
    for point, height in zip(ordered, heights, strict=True):
        x, y = place(point)
        kind = escape(point.kind)
        if point.is_target:
            aim = f"M{px(LEFT)} {px(y)}H{px(right)}M{px(x)} {px(top)}V{px(bottom)}"
            body.append(f'<path class="chance" d="{aim}"/>')
            marks.insert(0, f'<circle class="aim" cx="{px(x)}" cy="{px(y)}" r="7.5"/>')
        leader = f"M{px(x)} {px(y)}L{px(right + 6)} {px(height)}H{px(names - 4)}"
        body.append(f'<path class="leader" d="{leader}"/>')
        marks.append(f'<circle class="model {kind}" cx="{px(x)}" cy="{px(y)}" r="3.6"/>')
        marks.append(text(names, height + 4, _shortened(point.name), f"name {kind}", "start"))
    body += marks
    body.append(text((LEFT + right) / 2, bottom + 33, across, "axis"))
    body.append(text(0, 12, up, "axis", "start"))
    return drawing(label, bottom + 40, body)


#: Room for one name of the column, and the letters that fit into its width.
_NAME_HEIGHT, _NAME_LETTERS = 15.0, 22


def _shortened(name: str) -> str:
    """Return what fits beside the picture: the end of a long name, which differs most."""
    return name if len(name) <= _NAME_LETTERS else f"…{name[1 - _NAME_LETTERS :]}"


def _domain(shares: Sequence[float]) -> tuple[float, float]:
    """Return the ends of an axis: room around the shares, never narrower than a tenth."""
    low, high = min(shares), max(shares)
    room = max(0.08 * (high - low), (0.1 - (high - low)) / 2, 0.01)
    return max(0.0, min(low - room, 0.9)), min(1.0, max(high + room, 0.1))


def _spread(heights: Sequence[float], top: float, bottom: float, apart: float) -> list[float]:
    """Return heights in the same order, near the given ones, with a minimum distance."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + apart) if placed else max(height, top))
    limit = bottom
    for number in range(len(placed) - 1, -1, -1):
        placed[number] = min(placed[number], limit)
        limit = placed[number] - apart
    return placed
