"""What all SVG drawings of the page share: arrays in, markup out.

Drawings hold no colour and no script. Colours are the style sheet's, so that one picture serves
light, dark and paper; kinds of data differ in dash or shape as well, for readers who cannot
distinguish colours. Charts are 360 units wide, which a phone shows at about its own size.
"""

import math
from collections.abc import Iterable

from markupsafe import Markup, escape

WIDTH = 360.0
#: The left and right ends of a chart's axis.
LEFT, RIGHT = 46.0, 350.0


def drawing(label: str, height: float, body: Iterable[str], css: str = "plot") -> Markup:
    """Return a drawing with a text for readers who cannot see it."""
    return Markup(  # noqa: S704 - the label is escaped, and the body is made here, of numbers
        f'<svg class="{css}" viewBox="0 0 {WIDTH:g} {height:g}" role="img" '
        f'aria-label="{escape(label)}">{"".join(body)}</svg>'
    )


def px(value: float) -> str:
    """Return a coordinate as text: more than one digit is below what anyone sees."""
    return f"{value:.1f}".removesuffix(".0")


def path(points: Iterable[tuple[float, float]]) -> str:
    """Return the data of a path through points; empty without points."""
    steps = [f"{px(x)} {px(y)}" for x, y in points]
    return f"M{'L'.join(steps)}" if steps else ""


def text(x: float, y: float, said: str, css: str = "", anchor: str = "middle") -> str:
    """Return a text element; `anchor` is the end of the text that is at `x`."""
    return (
        f'<text x="{px(x)}" y="{px(y)}" text-anchor="{anchor}" class="{css}">{escape(said)}</text>'
    )


def axis_titles(across: str, up: str, bottom: float) -> list[str]:
    """Return the titles of both axes of a chart whose plot ends at `bottom`."""
    middle = (LEFT + RIGHT) / 2
    return [
        text(middle, bottom + 33, across, "axis"),
        text(0, 12, up, "axis", "start"),
    ]


def nice_ticks(low: float, high: float, most: int) -> list[float]:
    """Return round numbers from `low` to `high`, at most `most` of them."""
    span = high - low
    # Too narrow to distinguish its ends in print: one mark is enough.
    if not 1e-9 * max(abs(low), abs(high)) < span < math.inf:
        return [low]
    step = 10.0 ** math.floor(math.log10(span / most))
    while span / step > most - 1:
        # 1, 2, 5, 10: what people count in.
        step *= 2.5 if f"{step:e}".startswith("2") else 2
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(place * step, 12) for place in range(first, last + 1)]
