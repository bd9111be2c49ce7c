"""How long a request will take, by recorded timings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.project.timings import (
    CHECK,
    EVERYTHING_ELSE,
    MOST_FILES,
    PROCESSES,
    Timing,
    side_by_side,
)
from unlearn.stages.requests.costs import Costs, Work, estimate
from unlearn.stages.requests.plan import ShardPlan

WORK = Work(stages=("forget", "train@s000", "aggregate", "verify"), rewritten=2, checked=1)


def shard_plan(shard: str, to_train: int, in_full: int = 100, remaining: int = 50) -> ShardPlan:
    return ShardPlan(shard, 1 if to_train else 0, remaining, to_train, in_full, 1)


def test_nothing_is_known_before_a_first_training() -> None:
    costs = estimate([shard_plan("s000", 30)], {}, WORK, slices=3, jobs=2)

    assert costs == Costs(None, None, None, None, None)
    assert costs.cheapest is None


def test_seconds_follow_from_recorded_rows() -> None:
    plans = [shard_plan("s000", 60), shard_plan("s001", 0), shard_plan("s002", 40)]
    timings = {
        "train@s000": Timing(seconds=2.0, rows=100, first_slice=1),
        "train@s001": Timing(seconds=2.0, rows=100, first_slice=2),
        "train@s002": Timing(seconds=90.0, rows=100, first_slice=1),  # shared its processor
        "forget": Timing(seconds=7.0, files=1),
        MOST_FILES: Timing(seconds=8.0, files=4),
        "shard": Timing(seconds=70.0, rows=7),
        "verify": Timing(seconds=50.0),
        PROCESSES: Timing(seconds=2.5),
        EVERYTHING_ELSE: Timing(seconds=1.0),
    }

    costs = estimate(plans, timings, WORK, slices=3, jobs=2)

    # 2 s for 100 rows read. Two shards: a process has 60 rows to read and another one 40.
    assert costs.training == pytest.approx(2.5 + 60 * 0.02)
    assert costs.check == pytest.approx(100 * 0.02)
    # Everything else, `forget` of two files, training and check.
    assert costs.this_request == pytest.approx(1 + 4 + 3.7 + 2)
    # 300 rows on two processes.
    assert costs.whole_pipeline == pytest.approx(1 + 4 + (2.5 + 300 * 0.02 / 2) + 2)
    # 150 rows, each read twice.
    assert costs.one_plain_model == pytest.approx(150 * 0.02 * 2)
    assert costs.cheapest == "one_plain_model"


def test_one_shard_needs_no_processes_but_this_one() -> None:
    timings = {"train@s000": Timing(1.0, rows=100), PROCESSES: Timing(9.0)}
    plans = [shard_plan("s000", 60), shard_plan("s001", 0)]

    costs = estimate(plans, timings, Work(("train@s000", "verify")), slices=1, jobs=8)

    assert costs.training == pytest.approx(0.6)
    assert costs.whole_pipeline == pytest.approx(9 + 1)
    one_job = estimate(plans, timings, Work(("train@s000", "verify")), slices=1, jobs=1)
    assert one_job.whole_pipeline == pytest.approx(2)


def test_the_dataset_is_read_where_the_shard_stage_will_run() -> None:
    timings = {"train@s000": Timing(1.0, rows=100), "shard": Timing(5.0, rows=9)}

    def expected(*stages: str) -> float | None:
        plans = [shard_plan("s000", 100)]
        return estimate(plans, timings, Work(stages), slices=1, jobs=1).this_request

    assert expected("train@s000", "verify") == pytest.approx(1)
    assert expected("shard", "train@s000", "verify") == pytest.approx(6)


def test_attacks_that_the_last_run_did_not_make_come_on_top() -> None:
    def expected(rows: int, *, attacked: bool) -> float | None:
        timings = {
            "train@s000": Timing(1.0, rows=100),
            EVERYTHING_ELSE: Timing(5.0),
            "verify": Timing(4.0, rows=rows),
            CHECK: Timing(1.0),
        }
        work = Work(("train@s000", "verify"), attacked=attacked)
        return estimate([shard_plan("s000", 100)], timings, work, slices=1, jobs=1).this_request

    assert expected(0, attacked=False) == pytest.approx(6)
    assert expected(0, attacked=True) == pytest.approx(6 + 0.5 + 0.02 + 0.5 * 3)
    assert expected(12, attacked=True) == pytest.approx(6)


def test_a_check_of_some_trees_takes_a_share_of_a_training() -> None:
    timings = {"train@s000": Timing(1.0, rows=100)}
    work = Work(("train@s000", "verify"), checked=1, check_share=0.05)
    costs = estimate([shard_plan("s000", 100)], timings, work, slices=1, jobs=1)
    assert costs.check == pytest.approx(0.05)


def test_nothing_to_do_takes_nothing() -> None:
    timings = {"train@s000": Timing(1.0, rows=100), EVERYTHING_ELSE: Timing(5.0)}

    assert estimate([shard_plan("s000", 0)], timings, Work(), slices=1, jobs=2).this_request == 0


def test_timings_of_an_older_version_are_used_as_far_as_they_go() -> None:
    timings = {"train@s000": Timing(1.0, rows=100), "forget": Timing(0.5)}

    costs = estimate([shard_plan("s000", 100)], timings, WORK, slices=1, jobs=2)

    assert costs.this_request == pytest.approx(1 + 1)


def test_it_says_when_sharding_does_not_pay() -> None:
    timings = {"train@s000": Timing(seconds=1.0, rows=100), EVERYTHING_ELSE: Timing(seconds=20.0)}
    plans = [shard_plan("s000", 100), shard_plan("s001", 100)]

    assert estimate(plans, timings, WORK, slices=1, jobs=2).cheapest == "one_plain_model"


@given(st.lists(st.floats(0, 1e6), max_size=9), st.integers(1, 9))
def test_processes_share_the_work_but_not_a_piece_of_it(seconds: list[float], jobs: int) -> None:
    found = side_by_side(seconds, jobs)

    assert found >= max(seconds, default=0)
    assert found * jobs >= sum(seconds) * (1 - 1e-9)
    assert found <= sum(seconds) * (1 + 1e-9)
    assert side_by_side(seconds, jobs + 1) <= found


def changed_plan(reads: int, in_full: int = 1000) -> ShardPlan:
    return ShardPlan("s000", 1, in_full, reads, in_full, 1, is_change=True)


def test_a_change_takes_its_files_and_the_rows_that_it_reads() -> None:
    timings = {
        "train@s000": Timing(seconds=12.0, rows=1000, first_slice=1),
        "files@s000": Timing(seconds=2.0),
    }

    first = estimate([changed_plan(30)], timings, WORK, slices=1, jobs=1)
    timings["change@s000"] = Timing(seconds=3.0, rows=50, first_slice=1)
    second = estimate([changed_plan(30)], timings, WORK, slices=1, jobs=1)
    dear = estimate([changed_plan(1000)], timings, WORK, slices=1, jobs=1)

    # 10 s for 1000 rows.
    assert first.training == pytest.approx(2 + 30 * 0.01)
    assert second.training == pytest.approx(3 - 20 * 0.01)
    # Never more than a training.
    assert dear.training == pytest.approx(12)


def test_a_change_without_a_timing_of_its_files_takes_a_training_at_most() -> None:
    timings = {"train@s000": Timing(seconds=12.0, rows=1000, first_slice=1)}
    costs = estimate([changed_plan(30)], timings, WORK, slices=1, jobs=1)
    assert costs.training == pytest.approx(12)
