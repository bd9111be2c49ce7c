"""The Ray engine with a cluster of its own, and what it answers without one."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from unlearn.stages.engines import ray_engine
from unlearn.stages.engines.ray_engine import RayEngine
from unlearn.stages.errors import InputError, ToolError
from unlearn.stages.rows.tokens import KEY_VARIABLE

from tests.pipeline.conftest import wait_for
from tests.stages.engines.conftest import SHARDS, Trainable
from tests.stages.engines.ray_cluster import HEAD
from tests.stages.engines.ray_nodes import (
    PLANTED,
    PLANTED_KEY,
    Cluster,
    make_planted,
    own_cluster,
    train,
    while_held,
)


@pytest.mark.slow
def test_a_cluster_of_its_own_gives_the_same_bytes_and_leaves_nothing(plain: Trainable) -> None:
    notes: list[str] = []
    with RayEngine(None, 2, notes.append) as engine:
        trained = list(engine.train(plain.context, SHARDS))
        cluster = own_cluster()
        again = list(engine.train(plain.context, SHARDS))
        found = plain.found()
        shutil.rmtree(plain.root / "models")
        left = engine.train(plain.context, SHARDS)
        next(left)
    left.close()  # type: ignore[attr-defined]  # as when an error ends the loop over it
    assert {done.shard for done in trained} == set(SHARDS)
    assert found == plain.models
    assert all(done.first_slice > done.slices for done in again)
    assert notes == []
    assert cluster.is_gone


#: Trains the shards of a project on a cluster of its own.
RUN = """
import sys
from pathlib import Path
from unlearn.stages.context import open_project
from unlearn.stages.engines.ray_engine import RayEngine
from unlearn.stages.project.paths import Project

context = open_project(Project(Path(sys.argv[1])))
with RayEngine(None, 1, print) as engine:
    list(engine.train(context, context.params.sharding.shards))
"""


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_a_cluster_ends_with_the_run_that_started_it(
    own: Trainable, ending: signal.Signals
) -> None:
    (own.root / "hold").touch()
    run = subprocess.Popen([sys.executable, "-c", RUN, str(own.root)], stderr=subprocess.DEVNULL)
    wait_for((own.root / "pids").is_file, 120)
    cluster = own_cluster(run.pid)
    run.send_signal(ending)
    run.wait()
    wait_for(lambda: cluster.is_gone, 30)


@pytest.mark.slow
def test_the_end_of_ray_is_one_error_and_leaves_nothing(own: Trainable) -> None:
    def end(_: list[int]) -> None:
        found.append(own_cluster())
        os.kill(found[0].leader, signal.SIGKILL)

    found: list[Cluster] = []
    while_held(own, 1, end)
    with pytest.raises(ToolError, match="the connection to the Ray cluster ended"):
        train(own)
    assert found[0].is_gone


@pytest.mark.slow
def test_the_key_may_be_in_the_environment_and_is_not_in_ray(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = make_planted(tmp_path / "project")
    (planted.root / "unlearn.key").unlink()
    monkeypatch.setenv(KEY_VARIABLE, PLANTED_KEY.text)
    found: list[dict[str, list[str]]] = []
    while_held(planted, 1, lambda _: found.append(own_cluster().where(PLANTED)))
    train(planted)
    assert planted.found() == planted.models
    assert found == [{}]


@pytest.mark.parametrize("address", ["nowhere", "ray://127.0.0.2:10001", "http://127.0.0.2:1", ""])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InputError, match="HOST:PORT or auto"):
        RayEngine(address or "127.0.0.2:", None, print)


def test_an_address_that_nothing_answers_at_is_an_error_at_once() -> None:
    started = time.monotonic()
    with pytest.raises(ToolError, match="no Ray cluster answers at 127.0.0.2:1 ") as error:
        RayEngine("127.0.0.2:1", None, print)
    assert error.value.exit_code == 3
    assert time.monotonic() - started < 15


@pytest.mark.slow
def test_a_server_that_is_no_ray_is_an_error_in_time(
    plain: Trainable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_engine, "CONNECT_SECONDS", 6.0)
    started = time.monotonic()
    with socket.create_server((HEAD, 0)) as server:
        address = f"{HEAD}:{server.getsockname()[1]}"
        with pytest.raises(ToolError, match=f"no Ray cluster answered at {address} within 6 s"):
            train(plain, address)
    assert time.monotonic() - started < 30


def test_without_ray_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="--engine ray needs Ray") as error:
        RayEngine(None, None, print)
    assert error.value.hints == ("pip install 'dvc-unlearn[ray]'",)


@pytest.mark.slow
@pytest.mark.parametrize(("least", "ending"), [(1, signal.SIGKILL), (3, signal.SIGINT)])
def test_a_cluster_that_is_starting_ends_too(
    plain: Trainable, ending: signal.Signals, least: int
) -> None:
    run = subprocess.Popen([sys.executable, "-c", RUN, str(plain.root)], stderr=subprocess.DEVNULL)
    cluster = own_cluster(run.pid, least=least)  # the one that starts the others, and these
    run.send_signal(ending)
    run.wait()
    wait_for(lambda: cluster.is_gone, 15)


@pytest.mark.slow
def test_a_cluster_answers_only_those_who_have_its_token(plain: Trainable) -> None:
    with RayEngine(None, 1, print) as engine:
        list(engine.train(plain.context, SHARDS[:1]))
        folder = own_cluster().folder
        (port,) = (path.read_text() for path in folder.glob("session_2*/gcs_server_port*"))
        token = folder / "token"
        assert token.stat().st_mode & 0o077 == 0
        assert connects(folder, port, {"RAY_AUTH_TOKEN_PATH": str(token)})
        assert not connects(folder, port, {"RAY_AUTH_TOKEN": "0" * 64})


def connects(folder: Path, port: str, token: dict[str, str]) -> bool:
    """Return whether a process with a token may use a cluster."""
    script = "import ray, sys; ray.init(sys.argv[1], _node_ip_address=sys.argv[2]); ray.nodes()"
    done = subprocess.run(
        [sys.executable, "-c", script, f"{HEAD}:{port}", HEAD],
        env=os.environ | {"RAY_TMPDIR": str(folder), "RAY_AUTH_MODE": "token"} | token,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0 or b"ConnectionError" in done.stderr
    return done.returncode == 0
