"""Small pictures in tables, legends and lists, as inline SVG."""

from collections.abc import Collection

from markupsafe import Markup, escape
from unlearn.stages.report.svg import px


def swatch(kind: str) -> Markup:
    """Return the sample of a line for a legend."""
    return Markup(  # noqa: S704 - the kind is escaped
        '<svg class="swatch" viewBox="0 0 26 10" aria-hidden="true">'
        f'<path class="line {escape(kind)}" d="M1 5H25"/></svg>'
    )


def dot(kind: str, *, is_target: bool = False) -> Markup:
    """Return the sample of a point for a legend."""
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
        The value to compare with, drawn as a vertical line.
    kind
        Its look.
    """

    def across(value: float) -> float:
        return 6 + 148 * min(1.0, max(0.0, value))

    body = [f'<path class="rail" d="M{px(across(0))} 9H{px(across(1))}"/>']
    if reference is not None:
        body.append(f'<path class="reference" d="M{px(across(reference))} 1V17"/>')
    if ends is not None:
        low, high = across(ends[0]), across(ends[1])
        body.append(f'<path class="whisker {escape(kind)}" d="M{px(low)} 9H{px(high)}"/>')
    body.append(f'<circle class="dot {escape(kind)}" cx="{px(across(point))}" cy="9" r="3.2"/>')
    return Markup(  # noqa: S704 - made of numbers
        f'<svg class="scale" viewBox="0 0 160 18" aria-hidden="true">{"".join(body)}</svg>'
    )


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
            f'<rect class="retrained" x="{px(start)}" width="{px(100 - start)}" height="16"/>'
        )
    for number in sorted(touched):
        left = (number - 1) * wide + wide * 0.2
        body.append(
            f'<rect class="named" x="{px(left)}" y="10" width="{px(wide * 0.6)}" height="4"/>'
        )
    if 1 < slices <= _MOST_SEPARATED:
        lines = "".join(f"M{px(number * wide)} 0V16" for number in range(1, slices))
        body.append(f'<path class="separator" d="{lines}"/>')
    if touched:
        slice_word = "slice" if len(touched) == 1 else "slices"
        said.append(f"forgotten records in {slice_word} {', '.join(map(str, sorted(touched)))}")
    return Markup(  # noqa: S704 - the words are escaped, the rest is numbers
        f'<svg class="shard" viewBox="0 0 100 16" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape("; ".join(said))}"><title>{escape("; ".join(said))}</title>'
        f"{''.join(body)}</svg>"
    )


#: More slices than this are too close for lines between them.
_MOST_SEPARATED = 25


def bar(share: float, kind: str) -> Markup:
    """Draw a share of 1 as a bar."""
    width = 100 * min(1.0, max(0.0, share))
    return Markup(  # noqa: S704 - made of numbers
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="kept" width="100" height="10"/>'
        f'<rect class="{escape(kind)}" width="{px(max(width, 0.4) if share else 0)}" height="10"/>'
        "</svg>"
    )
