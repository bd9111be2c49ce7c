"""Pictures: well-formed SVG that shows the numbers it was given."""

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.report import charts, pictures, svg, trade_off

from tests.stages.report.samples import curves, scores


def parsed(picture: str) -> ET.Element:
    """Return a picture's root; raises where it is not well-formed."""
    return ET.fromstring(picture)  # noqa: S314 - our own text


def line(picture: str, kind: str) -> list[tuple[float, float]]:
    """Return the corners of the line of a kind."""
    (path,) = (
        element.attrib["d"]
        for element in parsed(picture).iter("path")
        if element.attrib.get("class") == f"line {kind}"
    )
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([-\d.]+) ([-\d.]+)", path)]


def test_equal_factors_of_a_rate_are_equal_steps_on_both_axes() -> None:
    rates = [10.0**-power for power in (4, 3, 2, 1, 0)]
    picture = charts.roc([charts.Curve("forgotten", [(r, r) for r in rates])], None, "x")
    corners = line(picture, "forgotten")

    across = [x for x, _ in corners]
    up = [y for _, y in corners]
    steps = [b - a for a, b in pairwise(across)]
    rises = [a - b for a, b in pairwise(up)]
    assert steps == pytest.approx([steps[0]] * 4, abs=0.11)
    assert rises == pytest.approx([rises[0]] * 4, abs=0.11)
    assert min(steps) > 0
    assert min(rises) > 0


def test_rates_of_zero_stay_inside_the_picture() -> None:
    curve = charts.Curve("forgotten", [(0.0, 0.0), (1e-4, 0.0), (1.0, 1.0)])
    picture = charts.roc([curve], 100, "x")

    assert line(picture, "forgotten") == [(350, 22)], "it begins with the first record found"
    assert 'class="unseen"' in picture
    assert 'class="unseen"' not in charts.roc([curve], 10**6, "x")


def test_the_axes_of_a_roc_are_named_and_marked_by_decades() -> None:
    said = [element.text for element in parsed(charts.roc([], 10, "x")).iter("text")]

    assert {"false positive rate", "true positive rate"} <= set(said)
    assert [text for text in said if text and text.endswith("%")][::2] == [
        "0.01%",
        "0.1%",
        "1%",
        "10%",
        "100%",
    ]


def test_a_histogram_is_as_high_as_its_share_of_the_tallest() -> None:
    one = charts.Histogram("members", [(0, 1, 0.2), (1, 2, 0.8)])
    corners = line(charts.histograms([one], "x"), "members")

    base = max(y for _, y in corners)
    heights = sorted({base - y for _, y in corners})
    assert heights[1] / heights[2] == pytest.approx(0.25, abs=0.01)


def test_one_bin_of_no_width_is_drawn() -> None:
    one = charts.Histogram("members", [(2.0, 2.0, 1.0)])

    parsed(charts.histograms([one], "x"))


@given(
    st.floats(-1e6, 1e6),
    st.floats(1e-6, 1e6),
    st.integers(2, 8),
)
def test_ticks_are_few_even_and_inside(low: float, span: float, most: int) -> None:
    high = low + span
    ticks = svg.nice_ticks(low, high, most)

    assert len(ticks) <= most
    slack = 1e-6 * max(abs(low), abs(high), span)
    assert all(low - slack <= tick <= high + slack for tick in ticks)
    assert ticks == sorted(ticks)


def test_ticks_are_round() -> None:
    assert svg.nice_ticks(0, 0.2, 4) == [0, 0.1, 0.2]
    assert svg.nice_ticks(0, 42, 4) == [0, 20, 40]
    assert svg.nice_ticks(3, 3, 4) == [3]


def test_a_shard_shows_where_retraining_began_and_which_slices_are_named() -> None:
    picture = parsed(pictures.slices_of("s007", 4, 3, {3, 4}))
    kinds = {element.attrib.get("class"): element.attrib for element in picture.iter("rect")}

    assert (kinds["retrained"]["x"], kinds["retrained"]["width"]) == ("50", "50")
    assert sum(element.attrib.get("class") == "named" for element in picture.iter("rect")) == 2
    title = picture.find("title")
    assert title is not None
    assert title.text == "s007; retrained from slice 3; forgotten records in slices 3, 4"


def test_a_shard_of_many_slices_has_no_lines_between_them() -> None:
    assert "separator" in pictures.slices_of("s000", 25, None, ())
    assert "separator" not in pictures.slices_of("s000", 26, None, ())
    assert "separator" not in pictures.slices_of("s000", 1, 1, {1})


def test_the_timeline_climbs_by_the_counts() -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    requests = [(begin, 1), (begin + timedelta(days=10), 3)]
    corners = line(charts.timeline(requests, "x"), "forgotten")

    base, top = corners[0][1], corners[-1][1]
    assert {round((base - y) / (base - top), 2) for _, y in corners} == {0, 0.25, 1}
    one_moment = charts.timeline([(begin, 2), (begin, 0)], "x")
    assert [e.text for e in parsed(one_moment).iter("text")].count("1 Jan 2026") == 1
    parsed(charts.timeline([(begin, 0)], "x"))


def models(count: int) -> list[trade_off.Point]:
    """Return models of which most fall on one place, as they do where nothing was forgotten."""
    return [
        trade_off.Point("retrain", "deployed", 0.9, 0.95, is_target=True),
        *(trade_off.Point(f"method{number:02d}", "other", 1.0, 0.94) for number in range(count)),
    ]


def named(picture: str) -> dict[str, float]:
    """Return the height of every name beside the points."""
    return {
        element.text or "": float(element.attrib["y"])
        for element in parsed(picture).iter("text")
        if "name" in element.attrib["class"].split()
    }


SHARES = st.floats(0, 1) | st.sampled_from([0.0, 0.5, 1.0])


@given(st.lists(st.tuples(SHARES, SHARES), min_size=1, max_size=30))
def test_names_of_models_never_cover_each_other_and_stay_inside(
    places: list[tuple[float, float]],
) -> None:
    points = [
        trade_off.Point(f"m{number}", "other", across, up)
        for number, (across, up) in enumerate(places)
    ]
    picture = trade_off.trade_off(points, "x", "y", "z")
    heights = sorted(named(picture).values())
    height = float(parsed(picture).attrib["viewBox"].split()[3])

    assert len(heights) == len(points)
    assert all(after - before >= 14.9 for before, after in pairwise(heights))
    assert heights[0] > 22
    assert heights[-1] <= height - 40
    for circle in parsed(picture).iter("circle"):
        assert 46 <= float(circle.attrib["cx"]) <= 186
        assert 22 <= float(circle.attrib["cy"]) <= height - 40


def test_models_stand_where_their_shares_are_and_names_in_their_order() -> None:
    points = [
        trade_off.Point("low", "other", 0.2, 0.1),
        trade_off.Point("high", "deployed", 0.8, 0.9),
        trade_off.Point("middle", "other", 0.5, 0.5),
    ]
    picture = trade_off.trade_off(points, "x", "y", "z")
    circles = [e for e in parsed(picture).iter("circle") if "model" in e.attrib["class"]]
    high, middle, low = ((float(c.attrib["cx"]), float(c.attrib["cy"])) for c in circles)

    assert sorted(named(picture), key=named(picture).__getitem__) == ["high", "middle", "low"]
    assert circles[0].attrib["class"] == "model deployed"
    assert high[0] - middle[0] == pytest.approx(middle[0] - low[0], abs=0.2)
    assert middle[1] - high[1] == pytest.approx(low[1] - middle[1], abs=0.2)
    assert high[0] > low[0]
    assert high[1] < low[1]


def test_the_target_has_a_ring_and_lines_that_cross_in_it() -> None:
    picture = parsed(trade_off.trade_off(models(9), "x", "y", "z"))
    (ring,) = (e for e in picture.iter("circle") if e.attrib["class"] == "aim")
    (lines,) = (e.attrib["d"] for e in picture.iter("path") if e.attrib["class"] == "chance")

    assert f" {ring.attrib['cy']}H" in lines
    assert f"M{ring.attrib['cx']} " in lines
    assert not list(
        parsed(trade_off.trade_off(models(2)[1:], "x", "y", "z")).iterfind("./circle[@class='aim']")
    )


def test_a_difference_of_one_row_is_not_stretched_over_the_picture() -> None:
    points = [trade_off.Point("a", "other", 1.0, 0.98), trade_off.Point("b", "other", 1.0, 0.97)]
    circles = list(parsed(trade_off.trade_off(points, "x", "y", "z")).iter("circle"))
    one, other = (float(circle.attrib["cy"]) for circle in circles)

    assert 0 < other - one < 30


def test_of_a_long_name_the_end_is_kept() -> None:
    name = "some/folder/of/methods.py:forget_it"
    picture = trade_off.trade_off([trade_off.Point(name, "other", 1, 1)], "x", "y", "z")

    (shown,) = named(picture)
    assert shown.startswith("…")
    assert shown.endswith("methods.py:forget_it"[-20:])


def test_a_number_outside_the_scale_stays_on_it() -> None:
    for point, ends in ((-3.0, (-5.0, 9.0)), (7.0, None)):
        picture = parsed(pictures.on_a_scale(point, ends, 0.5, "forgotten"))
        (dot,) = picture.iter("circle")
        assert 0 <= float(dot.attrib["cx"]) <= 160


def test_labels_and_kinds_are_escaped() -> None:
    hostile = '"><script>alert(1)</script>'
    drawn = (
        charts.roc([charts.Curve(hostile, [(0.1, 0.1)])], 10, hostile),
        charts.histograms([charts.Histogram(hostile, [(0, 1, 1)])], hostile),
        pictures.slices_of(hostile, 2, 1, {1}),
        pictures.on_a_scale(0.5, (0.4, 0.6), 0.5, hostile),
        pictures.swatch(hostile),
        pictures.bar(0.5, hostile),
        pictures.dot(hostile, is_target=True),
        trade_off.trade_off(
            [trade_off.Point(hostile, hostile, 0.5, 0.5)], hostile, hostile, hostile
        ),
    )
    for picture in drawn:
        assert "<script" not in picture
        assert not list(parsed(picture).iter("script"))


def test_every_picture_of_a_sample_is_whole() -> None:
    curve = [(point.fpr, point.tpr) for point in curves() if point.sample == "forgotten"]
    bins = [(one.low, one.high, one.share) for one in scores() if one.sample == "members"]

    for picture in (
        charts.roc([charts.Curve("forgotten", curve)], 356, "roc"),
        charts.histograms([charts.Histogram("members", bins)], "scores"),
    ):
        assert parsed(picture).attrib["role"] == "img"
        assert parsed(picture).attrib["aria-label"] in {"roc", "scores"}
        assert "nan" not in picture
        assert "inf" not in picture
