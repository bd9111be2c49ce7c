"""Matched evidence is right about models whose history is known, by simulation."""

import pytest

from benchmarks.evidence_simulation import KINDS, SMALL, Kind, simulate

DRAWS = 20


@pytest.mark.slow
@pytest.mark.trained
@pytest.mark.parametrize("kind", KINDS)
def test_retraining_does_not_fail_and_the_original_does_not_pass(kind: Kind) -> None:
    found = simulate(kind, SMALL, DRAWS)
    original, again = found["original"], found["another retraining"]

    assert len(original) == len(again) == DRAWS
    assert [one.matched for one in original].count("pass") == 0
    assert [one.matched for one in again].count("fail") <= 0.05 * DRAWS
    if kind in ("mislabelled", "outliers"):
        assert [one.matched for one in original].count("fail") >= 0.9 * DRAWS
        assert [one.matched for one in again].count("pass") >= 0.5 * DRAWS
