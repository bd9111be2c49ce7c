"""The engine `command`: the same bytes through any command, whatever becomes of its processes."""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import psutil
import pytest
from unlearn.stages.engines.command import CommandEngine
from unlearn.stages.engines.job_files import Order
from unlearn.stages.engines.node import find_order
from unlearn.stages.engines.remote import Job
from unlearn.stages.engines.template import Template
from unlearn.stages.errors import InputError, ToolError
from unlearn.stages.train.stage import Trained

from tests.conftest import Repo
from tests.stages.conftest import KEY
from tests.stages.engines.cluster import Cluster, start_cluster
from tests.stages.engines.conftest import SHARDS, Trainable

#: How many processes are killed at random.
KILLS = 20

#: A real process of the command itself.
UNLEARN = f"{sys.executable} -m unlearn.cli stage train@{{shard}}"


@pytest.fixture
def cluster(plain: Trainable, tmp_path: Path) -> Iterator[Cluster]:
    with start_cluster(tmp_path / "cluster", plain.root) as cluster:
        yield cluster


def engine(template: str, *, jobs: int = 2, patience: float = 5.0) -> CommandEngine:
    return CommandEngine(Template.parse(template), jobs, SAID.append, patience=patience)


#: What the engines of a test noted.
SAID: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_said() -> None:
    SAID.clear()


def train(
    project: Trainable, template: str, shards: list[str] | None = None, *, patience: float = 5.0
) -> list[Trained]:
    with engine(template, patience=patience) as made:
        return list(made.train(project.context, SHARDS if shards is None else shards))


def job_files(project: Trainable) -> list[str]:
    return sorted(path.name for path in (project.root / ".unlearn/jobs").iterdir())


def wait_for(what: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "what the test waited for never came"
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 4])
def test_bytes_are_those_of_this_machine_and_only_logs_stay(
    plain: Trainable, cluster: Cluster, jobs: int
) -> None:
    with engine(cluster.template, jobs=jobs) as made:
        trained = list(made.train(plain.context, SHARDS))

    assert sorted(done.shard for done in trained) == SHARDS
    assert {done.first_slice for done in trained} == {1}
    assert plain.found() == plain.models
    assert job_files(plain) == [f"{shard}.log" for shard in SHARDS]
    assert sorted(shard for shard, _ in cluster.jobs()) == SHARDS
    assert SAID == []


@pytest.mark.slow
def test_no_command_is_started_for_what_is_as_it_has_to_be(
    plain: Trainable, cluster: Cluster
) -> None:
    train(plain, cluster.template)
    before = len(cluster.jobs())
    (plain.root / "models/shard_models/s004/model.json").unlink()

    again = train(plain, cluster.template)

    assert [shard for shard, _ in cluster.jobs()[before:]] == ["s004"]
    assert sorted(done.shard for done in again) == SHARDS
    assert plain.found() == plain.models


@pytest.mark.slow
def test_no_more_commands_run_at_a_time_than_jobs(plain: Trainable, tmp_path: Path) -> None:
    script = tmp_path / "count.sh"
    script.write_text(
        f"#!/bin/sh\ntouch {tmp_path}/run-$1\nls {tmp_path} | grep -c run- >> {tmp_path}/counts\n"
        f"sleep 0.3\nrm {tmp_path}/run-$1\nexit 9\n",
        encoding="ascii",
    )
    with pytest.raises(ToolError):
        train(plain, f"sh {script} {{shard}}", patience=0)

    counts = {int(line) for line in (tmp_path / "counts").read_text("ascii").split()}
    assert max(counts) == 2


@pytest.mark.slow
def test_a_real_process_of_the_command_trains_and_writes_its_log(plain: Trainable) -> None:
    train(plain, UNLEARN, ["s002"])

    expected = {name: data for name, data in plain.models.items() if name.startswith("s002/")}
    assert plain.found() == expected
    log = (plain.root / ".unlearn/jobs/s002.log").read_text("utf-8")
    assert "train@s002" in log
    assert (plain.root / ".unlearn/jobs/s002.log").stat().st_mode & 0o077 == 0


def test_what_a_training_raises_comes_through_and_is_not_tried_again(
    plain: Trainable, cluster: Cluster
) -> None:
    plain.context.project.recipe.write_bytes(b"{}")  # which the node looks at

    with pytest.raises(InputError, match="recipe.json does not have the current") as caught:
        train(plain, cluster.template)

    assert caught.value.hints == ("`unlearn repro` writes it before it trains",)
    tried = [shard for shard, _ in cluster.jobs()]
    assert sorted(tried) == sorted({*tried} & {"s000", "s001", "s002"})
    assert not any(name.endswith((".json", ".alive")) for name in job_files(plain))


def test_an_unknown_error_names_its_kind_and_no_row(own: Trainable, tmp_path: Path) -> None:
    (own.root / "fail").touch()

    with (
        start_cluster(tmp_path / "cluster", own.root) as cluster,
        pytest.raises((ToolError, InputError)) as caught,
    ):
        train(own, cluster.template, ["s001"])

    assert len((own.root / "pids").read_text("ascii").split()) == 1  # it was not tried again
    logs = (own.root / ".unlearn/jobs/s001.log").read_text("utf-8")
    assert "zq-value-of-a-row" not in f"{caught.value.message} {caught.value.hints} {logs}"
    assert own.found() == {}


def test_a_command_that_fails_is_tried_three_times_and_named_with_its_log(
    plain: Trainable, tmp_path: Path
) -> None:
    template = f"sh -c 'echo {{shard}} >> {tmp_path}/tries; echo why; exit 9'"

    with pytest.raises(ToolError, match="s001 was lost 3 times, .*: exit code 9") as caught:
        train(plain, template, ["s001"], patience=0)

    assert (tmp_path / "tries").read_text("ascii").split() == ["s001"] * 3
    assert ".unlearn/jobs/s001.log" in " ".join(caught.value.hints)
    assert (plain.root / ".unlearn/jobs/s001.log").read_text("ascii") == "why\n" * 3
    assert len(SAID) == 2


def test_a_command_that_does_not_wait_is_named(plain: Trainable) -> None:
    with pytest.raises(ToolError, match="the command ended, and no result came") as caught:
        train(plain, "true {shard}", ["s001"], patience=0.1)

    assert "sbatch --wait" in caught.value.hints[0]


def test_a_result_that_is_seen_late_is_waited_for(
    plain: Trainable, cluster: Cluster, tmp_path: Path
) -> None:
    jobs = plain.root / ".unlearn/jobs"
    script = tmp_path / "late.sh"
    # The command ends at once, and its result appears a while after, as on a slow file system.
    script.write_text(f"#!/bin/sh\n{cluster.template.replace('{shard}', '$1')}\n", encoding="ascii")
    hidden = tmp_path / "hidden.sh"
    hidden.write_text(
        f"sh {script} $1; mv {jobs}/$1.result.json {jobs}/$1.late\n"
        f"(sleep 0.3; mv {jobs}/$1.late {jobs}/$1.result.json) >/dev/null 2>&1 &\n",
        encoding="ascii",
    )

    trained = train(plain, f"sh {hidden} {{shard}}", ["s001"], patience=30)

    assert [done.shard for done in trained] == ["s001"]
    assert SAID == []


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["node", "client"])
def test_a_lost_worker_is_replaced_and_said_so(
    plain: Trainable, cluster: Cluster, victim: str
) -> None:
    cluster.hold.touch()
    kill = threading.Thread(target=_kill_first, args=(cluster, victim))
    kill.start()
    with engine(cluster.template, jobs=1) as made:
        trained = list(made.train(plain.context, SHARDS))
    kill.join()

    assert len(trained) == len(SHARDS)
    assert plain.found() == plain.models
    assert len(SAID) == 1
    assert SAID[0].startswith("the training of s000 was lost")
    assert "trying again" in SAID[0]


def clients() -> list[int]:
    """Return the processes of the clients that this one started."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if any(word.endswith("client.py") for word in child.cmdline()):
                found.append(child.pid)
    return found


def _kill_first(cluster: Cluster, victim: str) -> None:
    wait_for(lambda: bool(cluster.jobs()))
    os.kill(cluster.jobs()[0][1] if victim == "node" else clients()[0], signal.SIGKILL)
    wait_for(lambda: bool(SAID))
    cluster.hold.unlink()


@pytest.mark.slow
def test_a_node_that_was_given_up_ends_and_leaves_the_shard_to_the_next(
    own: Trainable, tmp_path: Path
) -> None:
    hold, notes = own.root / "hold", own.root / "pids"
    hold.touch()

    def training() -> list[int]:
        pids = map(int, notes.read_text("ascii").split() if notes.exists() else ())
        return [*dict.fromkeys(pids)]  # one for each slice that a process trains

    def interfere() -> None:
        wait_for(lambda: len(training()) == 1)
        os.kill(clients()[0], signal.SIGKILL)
        wait_for(lambda: len(training()) == 2)  # so the first one has freed its lock
        hold.unlink()

    thread = threading.Thread(target=interfere)
    with start_cluster(tmp_path / "cluster", own.root) as cluster:
        thread.start()
        trained = train(own, cluster.template, ["s001"])
        thread.join()
        first, second = training()

        assert [done.shard for done in trained] == ["s001"]
        assert [pid for _, pid in cluster.jobs()] == [first, second]
        assert len(SAID) == 1
    expected = {name: data for name, data in own.models.items() if name.startswith("s001/")}
    assert own.found() == expected


_OTHER_VERSION = """\
from importlib import metadata
_real = metadata.version
metadata.version = lambda name: "0.0.7" if name == "scikit-learn" else _real(name)
"""


@pytest.mark.slow
def test_a_node_of_another_environment_is_refused_before_it_trains_and_named(
    plain: Trainable, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/sitecustomize.py").write_text(_OTHER_VERSION, encoding="ascii")
    script = tmp_path / "ssh.sh"
    script.write_text(
        f"echo $1 >> {tmp_path}/tries\nexport PYTHONPATH={tmp_path}/other\n"
        f"exec {sys.executable} -m unlearn.cli stage train@$1\n",
        encoding="ascii",
    )

    with pytest.raises(ToolError, match="has another environment than the driver") as caught:
        train(plain, f"sh {script} {{shard}}", ["s001"])

    assert "scikit-learn is 0.0.7 instead of" in caught.value.message
    assert "node " in caught.value.message
    assert (tmp_path / "tries").read_text("ascii").split() == ["s001"]  # it was not tried again
    assert plain.found() == {}


def test_a_model_that_was_changed_after_its_job_is_refused(
    plain: Trainable, cluster: Cluster, tmp_path: Path
) -> None:
    script = tmp_path / "ssh.sh"
    script.write_text(
        f"{cluster.template.replace('{shard}', '$1')}\necho >> models/shard_models/$1/model.json\n",
        encoding="ascii",
    )

    with pytest.raises(ToolError, match="the model of s001 from node .* has changed since"):
        train(plain, f"sh {script} {{shard}}", ["s001"], patience=0.2)


def test_a_node_without_the_key_says_so_once(plain: Trainable, cluster: Cluster) -> None:
    (plain.root / "unlearn.key").unlink()

    with pytest.raises(InputError, match="there is no project key"):
        train(plain, cluster.template, ["s001"])

    assert len(cluster.jobs()) == 1


@pytest.mark.slow
def test_the_key_is_in_no_command_line_and_in_no_file(
    plain: Trainable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNLEARN_KEY", KEY.text)  # nodes inherit it
    (plain.root / "unlearn.key").unlink()
    seen: set[str] = set()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.05):
            for child in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    seen.add(" ".join(child.cmdline()))
            for path in (plain.root / ".unlearn").rglob("*"):
                with suppress(OSError):
                    seen.add(path.read_bytes().hex() if path.is_file() else "")

    thread = threading.Thread(target=look)
    thread.start()
    train(plain, f"sh -c '{UNLEARN}'", ["s001"])
    ended.set()
    thread.join()

    assert any("train@s001" in line for line in seen)
    # The job's own file was looked at while it was there.
    assert any(b'"environment"'.hex() in line for line in seen)
    assert not [line for line in seen if KEY.text in line or KEY.text.encode().hex() in line]
    assert not [
        path
        for path in plain.root.rglob("*")
        if path.is_file() and KEY.text.encode() in path.read_bytes()
    ]


_DRIVER = """\
import sys
from pathlib import Path
from unlearn.stages.context import open_project
from unlearn.stages.engines.command import CommandEngine
from unlearn.stages.engines.template import Template
from unlearn.stages.project.paths import Project
with CommandEngine(Template.parse(sys.argv[2]), 2, print) as engine:
    list(engine.train(open_project(Project(Path(sys.argv[1]))), ["s000", "s001"]))
"""


@pytest.mark.slow
def test_after_ctrl_c_nothing_goes_on(own: Trainable) -> None:
    (own.root / "hold").touch()
    notes = own.root / "pids"
    driver = subprocess.Popen([sys.executable, "-c", _DRIVER, str(own.root), UNLEARN])
    wait_for(lambda: notes.exists() and len(notes.read_text("ascii").split()) == 2)

    driver.send_signal(signal.SIGINT)

    assert driver.wait(60) != 0
    pids = [int(line) for line in notes.read_text("ascii").split()]
    wait_for(lambda: not any(map(psutil.pid_exists, pids)), 20)
    assert job_files(own) == ["s000.log", "s001.log"]


@pytest.mark.slow
def test_commands_end_with_a_driver_that_is_killed_and_the_next_run_clears_up(
    plain: Trainable, cluster: Cluster, tmp_path: Path
) -> None:
    script = tmp_path / "sleep.sh"
    script.write_text(f"echo $$ >> {tmp_path}/pids\nexec sleep 1000\n", encoding="ascii")
    command = [sys.executable, "-c", _DRIVER, str(plain.root), f"sh {script} {{shard}}"]
    driver = subprocess.Popen(command)
    pids = tmp_path / "pids"
    wait_for(lambda: pids.exists() and len(pids.read_text("ascii").split()) == 2)

    driver.kill()
    driver.wait()

    started = [int(line) for line in pids.read_text("ascii").split()]
    if sys.platform == "linux":
        wait_for(lambda: not any(map(psutil.pid_exists, started)), 20)
    left = [name for name in job_files(plain) if name.endswith(".alive")]
    assert len(left) == 2
    with engine(cluster.template, jobs=1) as made:
        training = made.train(plain.context, SHARDS)
        next(training)
        # Nodes of the killed driver see that it does not wait any more.
        assert not {*left} & {*job_files(plain)}
        assert len(list(training)) == len(SHARDS) - 1
    assert plain.found() == plain.models
    assert job_files(plain) == [f"{shard}.log" for shard in SHARDS]


_WATCH = """\
import sys, time
from pathlib import Path
from unlearn.stages.engines import node
node.LOOK, node.SILENCE = 0.1, float(sys.argv[2])
node._end_with_driver(Path(sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("there", "silence"), [(True, "0.5"), (False, "1000")])
def test_a_node_ends_when_nobody_waits_for_it(tmp_path: Path, there: bool, silence: str) -> None:
    if there:
        (tmp_path / "alive").touch()
    command = [sys.executable, "-c", _WATCH, str(tmp_path / "alive"), silence]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 3
    assert ("no sign of life" if there else "nobody waits") in done.stderr


@pytest.mark.slow
def test_a_node_goes_on_while_its_driver_gives_signs_of_life(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    alive.touch()
    node = subprocess.Popen([sys.executable, "-c", _WATCH, str(alive), "3"])
    for _ in range(20):
        time.sleep(0.25)
        os.utime(alive)
    assert node.poll() is None
    alive.unlink()
    assert node.wait(20) == 3


def test_a_stage_that_dvc_runs_is_nobodys_job(
    plain: Trainable, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = plain.context.project
    (plain.root / ".unlearn/jobs").mkdir(parents=True)
    order = Order(Job.of(plain.context, "s001"), plain.root / ".unlearn/jobs/s001-0.alive")
    order.write(project)

    assert find_order(project, "train@s001") == order
    assert find_order(project, "train@s002") is None
    assert find_order(project, "train") is None
    assert find_order(project, "verify") is None
    monkeypatch.setenv("DVC_STAGE", "train@s001")
    assert find_order(project, "train@s001") is None


@pytest.mark.parametrize("given_on", [True, False])
def test_a_job_that_begins_when_nobody_waits_for_it_ends_at_once(
    plain: Trainable, monkeypatch: pytest.MonkeyPatch, given_on: bool
) -> None:
    project = plain.context.project
    if given_on:
        (plain.root / ".unlearn/jobs").mkdir(parents=True)
        job = Job.of(plain.context, "s001")
        Order(job, plain.root / ".unlearn/jobs/s001-1.alive").write(project)
    monkeypatch.setenv("UNLEARN_JOB", "s001-0.alive")

    done = Repo(plain.root).inline("stage", "train@s001")

    assert (done.code, "nobody waits for this training of s001" in done.err) == (3, True)
    assert plain.found() == {}


@contextmanager
def killer(cluster: Cluster, seed: str, kills: list[int]) -> Iterator[None]:
    """Kill a job, or the client that waits for one, every now and then."""
    ended = threading.Event()
    draw = random.Random(seed)  # noqa: S311 - moments, not secrets

    def run() -> None:
        while kills[0] < KILLS and not ended.wait(draw.uniform(0, 0.8)):
            victims = cluster.running() + clients()
            if victims:
                with suppress(ProcessLookupError):
                    os.kill(draw.choice(victims), signal.SIGKILL)
                    kills[0] += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.slow
def test_jobs_and_clients_killed_at_random_change_no_byte(
    plain: Trainable, cluster: Cluster
) -> None:
    kills, finished = [0], 0
    while kills[0] < KILLS:
        shutil.rmtree(plain.root / "models", ignore_errors=True)
        # Until it ends: after three losses of the same shard, the user runs it again.
        for attempt in count():
            with killer(cluster, f"{finished} {attempt}", kills), suppress(ToolError):
                train(plain, cluster.template, patience=0.2)
                break
        finished += 1
        assert plain.found() == plain.models
