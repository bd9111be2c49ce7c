"""What a request will retrain: the formula, its figures, and a plan on real shards."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.context import Context
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.project.paths import HOLDOUT
from unlearn.stages.requests.plan import (
    ShardPlan,
    expected_fraction,
    fraction_of_full_training,
    plan_shards,
    rows_to_forget,
)
from unlearn.stages.rows.shard_file import read_shard, record_tokens
from unlearn.stages.rows.tokens import place
from unlearn.stages.shard import stage as shard_stage

from tests.conftest import make_frame
from tests.stages.conftest import (
    NAIVE_BAYES,
    make_context,
    make_params,
    put_on_list,
    run_stages,
    token_of,
)


@pytest.mark.parametrize(
    ("requests", "times"), [(1, "29.7"), (8, "4.23"), (18, "2.24"), (39, "1.42"), (80, "1.12")]
)
def test_the_figures_of_the_design(requests: int, times: str) -> None:
    digits = len(times.partition(".")[2])

    assert f"{1 / expected_fraction(20, 50, 0.0, requests):.{digits}f}" == times


@given(st.integers(1, 100), st.integers(1, 60), st.floats(0, 0.9))
def test_one_request_takes_two_thirds_and_a_bit_of_a_shard(
    shards: int, slices: int, holdout: float
) -> None:
    expected = (1 - holdout) / shards * (2 / 3 + 1 / (3 * slices))

    assert expected_fraction(shards, slices, holdout, 1) == pytest.approx(expected)


@given(st.integers(1, 40), st.floats(0, 0.9), st.integers(0, 60))
def test_without_slices_it_is_the_share_of_shards_hit(
    shards: int, holdout: float, requests: int
) -> None:
    expected = 1 - (1 - (1 - holdout) / shards) ** requests

    assert expected_fraction(shards, 1, holdout, requests) == pytest.approx(expected)


@given(st.integers(1, 40), st.integers(1, 20), st.floats(0, 0.9), st.integers(0, 60))
def test_more_requests_cost_more_and_never_more_than_all(
    shards: int, slices: int, holdout: float, requests: int
) -> None:
    one = expected_fraction(shards, slices, holdout, requests)
    more = expected_fraction(shards, slices, holdout, requests + 1)

    assert 0 <= one <= more + 1e-12 <= 1 + 1e-9


def test_a_request_for_everyone_costs_everything() -> None:
    assert expected_fraction(20, 5, 0.2, 5000) == pytest.approx(1)


def test_the_formula_is_what_draws_come_to() -> None:
    shards, slices, holdout, requests = 6, 4, 0.25, 9
    draw = np.random.default_rng(0)
    costs = []
    for _ in range(4000):
        out = draw.random(requests) < holdout
        where = draw.integers(0, shards, requests)[~out]
        which = draw.integers(0, slices, requests)[~out]
        cost = 0.0
        for shard in set(where):
            first = which[where == shard].min()
            cost += sum(range(first + 1, slices + 1)) / sum(range(1, slices + 1))
        costs.append(cost / shards)

    error = np.std(costs) / len(costs) ** 0.5
    assert abs(np.mean(costs) - expected_fraction(shards, slices, holdout, requests)) < 4 * error


def shard_plan(shard: str, to_train: int, in_full: int = 100, remaining: int = 50) -> ShardPlan:
    return ShardPlan(shard, 1 if to_train else 0, remaining, to_train, in_full, 1)


def test_the_share_of_a_full_training() -> None:
    plans = [shard_plan("s000", 30), shard_plan("s001", 0), shard_plan("s002", 0)]

    assert fraction_of_full_training(plans) == 0.1
    assert fraction_of_full_training([]) == 0.0
    assert fraction_of_full_training([shard_plan("s000", 0, in_full=0)]) == 0.0


@pytest.fixture(scope="module")
def sliced(tmp_path_factory: pytest.TempPathFactory) -> Context:
    params = make_params(slices=4, train=NAIVE_BAYES)
    context = make_context(tmp_path_factory.mktemp("sliced") / "p", make_frame(120), params)
    run_stages(context)
    return context


def plans_of(context: Context) -> dict[str, ShardPlan]:
    def rows_of(name: str) -> object:
        return read_shard(context.project.shard_file(name), name).rows

    plans = plan_shards(context, rows_of, context.read_list())
    return {plan.shard: plan for plan in plans}


def test_a_plan_names_the_shard_the_slice_and_the_rows(sliced: Context) -> None:
    assert all(plan.first_slice == 5 for plan in plans_of(sliced).values())
    assert fraction_of_full_training(plans_of(sliced).values()) == 0
    token = next(
        token
        for token in (token_of(f"r{number:04d}") for number in range(120))
        if place(token, 3, 4, 0.2).shard == "s001" and place(token, 3, 4, 0.2).slice == 3
    )

    put_on_list(sliced, token)
    try:
        plans = plans_of(sliced)
        planned = plans["s001"]
        assert (planned.forgotten, planned.first_slice, planned.listed) == (1, 3, 1)
        rows = read_shard(sliced.project.shard_file("s001"), "s001").rows.num_rows
        assert planned.remaining == rows - 1
        sizes = [0] * 5
        for other in record_tokens(read_shard(sliced.project.shard_file("s001"), "s001").rows):
            if other != token:
                sizes[place(other, 1, 4, 0.0).slice] += 1
        unions = [sum(sizes[: number + 1]) for number in range(1, 5)]
        assert planned.rows_to_train == unions[2] + unions[3]
        assert planned.rows_in_full == sum(unions)
        for shard in ("s000", "s002"):
            assert (plans[shard].forgotten, plans[shard].rows_to_train) == (0, 0)
    finally:
        sliced.project.forget_list.write_bytes(b"")


def test_rows_that_went_before_are_not_counted_again(tmp_path: Path) -> None:
    context = make_context(tmp_path / "p", make_frame(60))
    put_on_list(context, *(token_of(f"r{number:04d}") for number in range(20)))

    def counted() -> int:
        names = [*context.params.sharding.shards, HOLDOUT]
        return sum(
            rows_to_forget(
                context,
                name,
                read_shard(context.project.shard_file(name), name).rows,
                context.read_list(),
            )
            for name in names
        )

    shard_stage.run(context)
    assert counted() == 20
    forget_stage.run(context)
    assert counted() == 0
    put_on_list(context, token_of("r0030"))
    assert counted() == 1
