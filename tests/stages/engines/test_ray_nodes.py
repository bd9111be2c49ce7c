"""The Ray engine on a cluster of two nodes: the same bytes, and nothing of the rows in Ray."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
from unlearn.stages.config.train import TrainParams
from unlearn.stages.context import Context
from unlearn.stages.engines import ray_engine, remote
from unlearn.stages.engines.local import LocalEngine
from unlearn.stages.engines.pool import Pool
from unlearn.stages.engines.ray_engine import RayEngine
from unlearn.stages.engines.remote import Job
from unlearn.stages.errors import InputError, ToolError
from unlearn.stages.recipe import stage as recipe_stage
from unlearn.stages.training.environment import environment

from tests.pipeline.conftest import wait_for
from tests.stages.engines.conftest import NET, SHARDS, Trainable
from tests.stages.engines.ray_cluster import HEAD, SECOND
from tests.stages.engines.ray_nodes import (
    PLANTED,
    SETTINGS,
    Nodes,
    make_planted,
    train,
    trained_by,
    two_nodes,
    while_held,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with two_nodes() as found:
        yield found


def test_two_nodes_give_the_same_bytes(own: Trainable, nodes: Nodes) -> None:
    _, notes = train(own, nodes.address)
    assert own.found() == own.models
    assert notes == []


def test_a_killed_worker_changes_no_byte(own: Trainable, nodes: Nodes) -> None:
    while_held(own, 2, lambda pids: os.kill(pids[0], signal.SIGKILL))
    trained, notes = train(own, nodes.address)
    assert own.found() == own.models
    assert len(trained) == len(SHARDS)
    (note,) = notes
    assert "its process died" in note


def test_a_node_that_goes_away_changes_no_byte(own: Trainable, nodes: Nodes) -> None:
    while_held(own, 2, lambda _: nodes.order("remove"))
    try:
        trained, notes = train(own, nodes.address)
    finally:
        nodes.order("add")
    assert own.found() == own.models
    assert len(trained) == len(SHARDS)
    assert len(notes) == 1


def test_workers_that_are_killed_at_random_change_no_byte(
    own: Trainable, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "MOST_TRIES", 100)
    draw = random.Random(20)  # noqa: S311  # which worker dies is no secret

    def kill(_running: list[int]) -> None:
        killed: set[int] = set()
        for _ in range(5):
            wait_for(lambda: bool(set(trained_by(own)) - killed), 60)
            time.sleep(draw.random())
            pid = draw.choice(sorted(set(trained_by(own)) - killed))
            killed.add(pid)
            os.kill(pid, signal.SIGKILL)

    while_held(own, 2, kill)
    trained, notes = train(own, nodes.address)
    assert own.found() == own.models
    assert len(trained) == len(SHARDS)
    assert len(notes) == 5


def test_a_training_that_is_always_lost_is_an_error(own: Trainable, nodes: Nodes) -> None:
    (own.root / "die").touch()
    with pytest.raises(ToolError, match=r"the training of s\d+ was lost 3 times.*process died"):
        train(own, nodes.address, jobs=1)
    assert len((own.root / "pids").read_text("ascii").split()) == 3


def test_an_error_of_a_training_is_the_same_as_on_this_machine(
    own: Trainable, nodes: Nodes
) -> None:
    (own.root / "net.py").write_text("raise RuntimeError('zq-value-of-a-row')\n", "ascii")
    recipe_stage.run(own.context)
    with Pool() as pool, pytest.raises(InputError) as here:
        list(LocalEngine(pool, 1, print).train(own.context, SHARDS))
    with pytest.raises(InputError) as there:
        train(own, nodes.address)
    assert "net.py does not load" in there.value.message
    assert (there.value.message, there.value.hints) == (here.value.message, here.value.hints)
    assert not own.found()


def test_what_a_training_prints_and_raises_is_not_in_ray(own: Trainable, nodes: Nodes) -> None:
    print_row = "print('zq-value-of-a-row', flush=True)"
    (own.root / "net.py").write_text(f"{print_row}\n{NET}", "ascii")
    recipe_stage.run(own.context)
    (own.root / "fail").touch()
    with pytest.raises(ToolError, match=r"the training of s\d+ failed on .*RuntimeError") as error:
        train(own, nodes.address)
    assert "zq-value" not in str((error.value.message, error.value.hints))
    assert nodes.where([b"zq-value-of-a-row"]) == {}
    assert not own.found()


def test_no_row_and_no_key_is_anywhere_in_ray(tmp_path: Path, nodes: Nodes) -> None:
    planted = make_planted(tmp_path / "project")
    found: list[dict[str, list[str]]] = []
    while_held(planted, 2, lambda _: found.append(nodes.where(PLANTED)))
    train(planted, nodes.address)
    assert found == [{}]
    assert nodes.where(PLANTED) == {}


def test_what_is_looked_for_in_ray_would_be_found(nodes: Nodes) -> None:
    script = """
import sys, ray
ray.init(address=sys.argv[1], _node_ip_address=sys.argv[2], log_to_driver=False)
kept = ray.put(b"zq-in-the-object-store" + bytes(10**6))

@ray.remote
def say():
    print("zq-" + "in-a-log", flush=True)

ray.get(say.remote())
print("ready", flush=True)
sys.stdin.read()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script, nodes.address, HEAD, "zq-in-the-argv"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | SETTINGS,
    )
    assert process.stdout is not None
    try:
        while b"ready" not in process.stdout.readline():
            pass
        words = [b"zq-in-the-object-store", b"zq-in-a-log", b"zq-in-the-argv"]
        found = nodes.where(words)
    finally:
        process.kill()
        process.communicate()
    assert set(found) == {word.decode() for word in words}


def test_the_end_of_a_cluster_is_one_error_and_the_next_run_goes_on(
    own: Trainable, monkeypatch: pytest.MonkeyPatch
) -> None:
    # How long Ray waits for a head node to come back, a minute by default.
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "3")
    with two_nodes() as nodes:

        def end(_: list[int]) -> None:
            for pid in nodes.processes:
                os.kill(pid, signal.SIGKILL)

        while_held(own, 2, end)
        with pytest.raises(ToolError, match="the connection to the Ray cluster ended"):
            train(own, nodes.address)
    train(own)
    assert own.found() == own.models


@pytest.fixture
def mixed(tmp_path: Path) -> Iterator[Nodes]:
    """Yield a cluster whose second node has other versions of two packages than this one."""
    for package in ("numpy", "scikit_learn"):
        facts = tmp_path / "other" / f"{package}-0.0.1.dist-info" / "METADATA"
        facts.parent.mkdir(parents=True)
        facts.write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.0.1\n", "ascii")
    with two_nodes(str(tmp_path / "other")) as found:
        yield found


def test_a_node_of_another_environment_trains_nothing_and_is_named(
    plain: Trainable, mixed: Nodes
) -> None:
    trained, notes = train(plain, mixed.address)
    assert len(trained) == len(SHARDS)
    assert plain.found() == plain.models
    (note,) = notes
    assert f"({SECOND}) has another environment" in note
    assert "numpy is 0.0.1 instead of" in note
    assert "scikit-learn is 0.0.1 instead of" in note
    assert "python" not in note


def test_no_node_of_the_same_environment_is_an_error(
    plain: Trainable, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(train: TrainParams) -> dict[str, str]:
        return environment(train) | {"numpy": "0.0.1"}

    monkeypatch.setattr(ray_engine, "environment", other)
    with pytest.raises(ToolError, match="numpy is .* instead of 0.0.1") as error:
        train(plain, nodes.address)
    assert error.value.exit_code == 3
    assert plain.found() == {}


def test_a_cluster_without_a_gpu_is_named_where_one_is_needed(
    plain: Trainable, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_gpu(train: TrainParams) -> dict[str, str]:
        return environment(train) | {"gpu": "one that no node has"}

    monkeypatch.setattr(ray_engine, "environment", with_gpu)
    monkeypatch.setattr(ray_engine, "WAIT_FOR_NODES", 3.0)
    notes: list[str] = []
    with (
        RayEngine(nodes.address, None, notes.append) as engine,
        pytest.raises(ToolError, match="no node of the cluster has a GPU for a shard"),
    ):
        list(engine.train(plain.context, SHARDS))
    assert notes == ["no node of the cluster has a GPU for a shard; waiting for one"]


def test_a_node_that_does_not_see_the_project_is_named(
    plain: Trainable, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = Job.of

    def elsewhere(context: Context, shard: str, facts: dict[str, str]) -> Job:
        return replace(of(context, shard, facts), root="/mnt/not/there")

    monkeypatch.setattr(Job, "of", elsewhere)
    with pytest.raises(
        ToolError, match=rf"node .* \(({HEAD}|{SECOND})\) does not see /mnt/not/there"
    ):
        train(plain, nodes.address)


def test_a_cluster_of_another_version_of_ray_is_one_error(plain: Trainable, nodes: Nodes) -> None:
    nodes.order("version 1.2.3")
    try:
        with pytest.raises(ToolError, match="another version of Ray") as error:
            train(plain, nodes.address)
    finally:
        nodes.order(f"version {version('ray')}")
    assert "1.2.3" in error.value.message
    assert "\n" not in error.value.message
