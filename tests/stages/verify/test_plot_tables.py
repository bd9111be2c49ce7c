"""Histograms of scores show no single row: neither by the size of a bin nor by its edges."""

import csv
import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.verify.membership.attacks import Attacked, Weighted
from unlearn.stages.verify.membership.statistics import Interval, Scored
from unlearn.stages.verify.plot_tables import score_plot, score_table
from unlearn.stages.verify_report.membership import AttackResult

_UNKNOWN = Interval(0.5, (0.4, 0.6), (0.42, 0.58))
SCORES = st.lists(
    st.floats(-1e3, 1e3, allow_nan=False).map(lambda value: round(value, 5)),
    min_size=10,
    max_size=80,
)


def sample(scores: list[float]) -> Scored:
    return Scored(np.array(scores), np.ones(len(scores)), np.arange(len(scores)))


def attacked(*samples: list[float]) -> Attacked:
    return Attacked(AttackResult(), _UNKNOWN, _UNKNOWN, Weighted(*map(sample, samples)))


def shares_of(attack: Attacked, min_rows: int) -> dict[str, list[tuple[float, float, float]]]:
    """Return lower edge, upper edge and share of each bin, by sample."""
    table = score_table({"shard_models": {"loss": attack}}, min_rows).decode()
    found: dict[str, list[tuple[float, float, float]]] = {}
    for row in csv.DictReader(io.StringIO(table)):
        cells = (float(row["low"]), float(row["high"]), float(row["share"]))
        found.setdefault(row["sample"], []).append(cells)
    return found


@given(SCORES, SCORES, SCORES, st.integers(2, 12))
def test_every_share_is_of_many_rows(
    forgotten: list[float], members: list[float], others: list[float], min_rows: int
) -> None:
    attack = attacked(forgotten, members, others)
    for name, rows in (("forgotten", forgotten), ("members", members), ("non_members", others)):
        bins = shares_of(attack, min_rows)[name]
        assert abs(sum(share for _, _, share in bins) - 1) < 1e-3
        # Neighbours with one value are one group; each group holds enough rows, or all of them.
        groups: list[list[float]] = []
        for _, _, share in bins:
            if groups and groups[-1][0] == share:
                groups[-1].append(share)
            else:
                groups.append([share])
        for group in groups:
            assert sum(group) * len(rows) > min(min_rows, len(rows)) - 0.01


def test_edges_are_round_and_no_scores() -> None:
    drawn = np.random.default_rng(0).normal(size=(3, 200))
    bins = shares_of(attacked(*drawn.tolist()), 10)["forgotten"]
    edges = sorted({edge for low, high, _ in bins for edge in (low, high)})

    width = edges[1] - edges[0]
    assert any(np.isclose(width, step) for step in (0.1, 0.2, 0.5))
    assert np.allclose(np.array(edges) / width, np.round(np.array(edges) / width))
    assert not set(edges) & set(drawn.ravel())


def test_one_score_for_all_is_a_histogram_too() -> None:
    bins = shares_of(attacked([2.0] * 12, [2.0] * 12, [2.0] * 12), 10)["forgotten"]

    assert sum(share for _, _, share in bins) > 0.99


def test_the_table_for_plots_has_the_same_shares() -> None:
    attack = attacked(*np.random.default_rng(1).normal(size=(3, 50)).tolist())
    rows = list(csv.DictReader(io.StringIO(score_plot(attack, 10).decode())))

    assert [float(row["forgotten"]) for row in rows] == [
        round(share, 6) for _, _, share in shares_of(attack, 10)["forgotten"]
    ]
