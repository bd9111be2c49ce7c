"""`unlearn repro --engine ray`: what a run leaves is what a run of this machine leaves."""

import importlib.util
import signal

import pytest

from tests.conftest import Repo
from tests.pipeline.conftest import FORGOTTEN, ids_at, wait_for
from tests.stages.engines.ray_nodes import SETTINGS, own_cluster, two_nodes


@pytest.mark.slow
def test_a_cluster_leaves_the_bytes_of_this_machine(
    new_mlp: Repo, mlp: Repo, forgotten: Repo
) -> None:
    with two_nodes() as nodes:
        options = ("repro", "--engine", "ray", "--address", nodes.address, "--json")
        first = new_mlp.unlearn(*options, env=SETTINGS)
        assert first.code == 0, first.err
        models, lock = new_mlp.files("models"), new_mlp.files(".")["dvc.lock"]
        new_mlp.forget(FORGOTTEN)
        second = new_mlp.unlearn(*options, env=SETTINGS)
    assert second.code == 0, second.err
    assert models == mlp.files("models")
    assert lock == (mlp.root / "dvc.lock").read_bytes()
    assert new_mlp.files("models") == forgotten.files("models")
    assert (new_mlp.root / "dvc.lock").read_bytes() == (forgotten.root / "dvc.lock").read_bytes()
    assert first.json["trained"] == ["s000", "s001", "s002", "s003"]
    assert second.json["trained"] == ["s001", "s003"]
    # Only our own lines: Ray's would be in the JSON, or among these.
    ours = ("recipe", "shard", "forget", "train", "aggregate", "verify", "note:", "training shards")
    assert all(line.startswith(ours) for line in second.err.splitlines()), second.err


@pytest.mark.slow
def test_an_interrupted_run_leaves_nothing_of_ray(people: Repo) -> None:
    people.forget(ids_at(people, "s001")[:1])
    private = people.root / ".unlearn"
    (private / "hold").touch()
    run = people.start("repro", "--engine", "ray")
    try:
        wait_for((private / "held").is_file, 120)
        cluster = own_cluster(run.pid)
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=60)
    finally:
        run.kill()
        (private / "hold").unlink()
    assert run.returncode == 130
    assert err.splitlines()[-1] == "error: interrupted"
    assert cluster.is_gone


def test_without_ray_nothing_is_changed(small: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name == "ray" else find(name, *more),
    )
    before = small.snapshot()
    done = small.inline("repro", "--engine", "ray")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "error: --engine ray needs Ray, which is not installed\n"
        "hint: pip install 'dvc-unlearn[ray]'\n"
    )
    assert small.snapshot() == before


def test_an_address_is_of_the_engine_ray(small: Repo) -> None:
    done = small.inline("repro", "--address", "127.0.0.2:6379")
    assert done.code == 2
    assert "--address belongs to --engine ray" in done.err
