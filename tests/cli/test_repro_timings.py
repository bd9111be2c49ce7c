"""What `repro` records of how long it took, which `plan` reads."""

import time
from pathlib import Path

import pytest
from unlearn.stages.project.paths import Project
from unlearn.stages.project.timings import (
    CHECK,
    EVERYTHING_ELSE,
    MOST_FILES,
    Timing,
    forget_seconds,
    read_timings,
    record_timings,
)

from tests.cli.conftest import IDS
from tests.conftest import Repo, make_frame, make_project, places
from tests.pipeline.conftest import KEY


@pytest.mark.slow
def test_the_recorded_parts_of_a_run_are_the_whole_of_it(fresh: Repo) -> None:
    began = time.perf_counter()
    done = fresh.inline("repro", "-j", "1", "--json")
    took = time.perf_counter() - began

    assert done.code == 0
    found = read_timings(Project(fresh.root))
    trained = [name for name in found if name.startswith("train@")]
    assert len(trained) == 3
    assert found[CHECK].seconds == 0  # nothing is forgotten
    parts = ("shard", "forget", CHECK, EVERYTHING_ELSE, *trained)
    assert 0.9 * took <= sum(found[name].seconds for name in parts) <= took


@pytest.mark.slow
def test_a_plan_shows_the_parts_of_what_it_expects(done: Repo) -> None:
    timings = {EVERYTHING_ELSE: Timing(10.0), MOST_FILES: Timing(2.0, files=4)}
    training = {f"train@s00{number}": Timing(3.0, rows=1) for number in range(3)}
    record_timings(Project(done.root), timings | training)
    row = next(raw for raw, place in places(done).items() if not place.is_holdout)
    assert row in IDS

    asked = ("plan", "--ids", "-", "-j", "1")
    planned = done.inline(*asked, "--json", stdin=f"{row}\n").json
    said = done.inline(*asked, stdin=f"{row}\n").out

    costs = planned["costs"]
    assert costs["training"] == pytest.approx(3 * planned["rows_to_retrain"])
    assert costs["check"] > 0
    assert costs["this_request"] == pytest.approx(10 + 2 / 4 + costs["training"] + costs["check"])
    assert planned["seconds_expected"] == costs["this_request"]
    assert f"{costs['this_request']:8.1f}  this request\n" in said
    assert f"of this request: {costs['training']:.1f} s training, {costs['check']:.1f} s" in said


@pytest.mark.slow
def test_the_check_of_trees_is_no_part_of_everything_else(tmp_path: Path) -> None:
    """A plan adds the next check to it."""
    repo = make_project(tmp_path / "project", make_frame(300), "--model", "exact_forest", key=KEY)
    repo.set_params(verify={"rerun": "all"})
    repo.inline("repro")
    repo.commit("first run")
    repo.forget([next(raw for raw, place in places(repo).items() if not place.is_holdout)])
    began = time.perf_counter()
    done = repo.inline("repro", "--json")
    took = time.perf_counter() - began

    assert done.code == 0
    found = read_timings(Project(repo.root))
    assert found[CHECK].seconds > 0
    parts = sum(found[name].seconds for name in (CHECK, EVERYTHING_ELSE, "change@s000"))
    assert 0.9 * took <= parts + forget_seconds(found, found["forget"].files) <= took
