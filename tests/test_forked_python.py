"""A fork answers as a new Python does, and ends when its caller does."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import Done, Repo
from tests.forked_python import _server, call_python, forks_of_python


@pytest.fixture(autouse=True, scope="module")
def _forks(_apart_from_this_machine: None) -> Iterator[None]:
    with forks_of_python():
        yield


@pytest.mark.slow
def test_errors_and_exit_codes_are_those_of_a_new_process(tmp_path: Path) -> None:
    words = ["forget", "--ids", "-"]
    command = [sys.executable, "-m", "unlearn.cli", *words]
    new = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, input="r1\n"
    )

    fork = Repo(tmp_path).unlearn(*words, stdin="r1\n")

    assert fork == Done(new.returncode, new.stdout, new.stderr)
    assert fork.code == 2


def test_a_command_by_name_is_a_fork_too(tmp_path: Path) -> None:
    done = Repo(tmp_path).run("unlearn", "--version")

    assert done == Repo(tmp_path).unlearn("--version")
    assert done.out.startswith("unlearn ")


def test_a_module_gets_its_folder_environment_and_words(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import os, sys\nprint(os.getcwd(), os.environ['WHO'], sys.argv[1:])\nsys.exit(7)\n",
        encoding="ascii",
    )

    found = call_python("own", ["a"], tmp_path, os.environ | {"WHO": "me"})

    assert found == (7, f"{tmp_path} me ['a']\n", "")


def test_a_module_that_is_imported_already_runs_without_a_warning(tmp_path: Path) -> None:
    assert call_python("unlearn.cli.app", [], tmp_path, os.environ) == (0, "", "")
    code, out, err = call_python("dvc", ["--version"], tmp_path, os.environ)
    assert (code, err) == (0, "")
    assert out[0].isdigit()


_POOL = """\
import os, sys
from unlearn.stages.engines.pool import Pool


def worker(number):
    return number, "torch" in sys.modules, sys.flags.isolated, os.getppid()


if __name__ == "__main__":
    with Pool() as pool:
        pool.start(2, [])
        found = dict(pool.run(worker, [(1,), (2,), (3,)]))
        pool.finish()
    assert found == {n - 1: (n, True, 0, os.getpid()) for n in (1, 2, 3)}, found
"""


def test_the_processes_that_a_fork_trains_in_are_forks(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(_POOL, encoding="ascii")

    assert call_python("own", [], tmp_path, os.environ) == (0, "", "")


def test_a_fork_that_was_killed_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("import os\nos.kill(os.getpid(), 9)\n", encoding="ascii")

    assert call_python("own", [], tmp_path, os.environ)[0] == -signal.SIGKILL


def write_sleeper(folder: Path) -> Path:
    """Write the module `own`, which sleeps; return the file that it writes its process id to."""
    body = "import os, pathlib, time\npathlib.Path('pid').write_text(str(os.getpid()))\n"
    (folder / "own.py").write_text(f"{body}time.sleep(300)\n", encoding="ascii")
    return folder / "pid"


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 200  # a server of its own may start before
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def is_written(note: Path) -> bool:
    return note.is_file() and note.read_text(encoding="ascii") != ""


def has_ended(note: Path) -> bool:
    stat = Path("/proc") / note.read_text(encoding="ascii") / "stat"
    try:
        return stat.read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_fork_ends_when_its_caller_is_killed(tmp_path: Path) -> None:
    note = write_sleeper(tmp_path)
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException):
            call_python("own", [], tmp_path, os.environ)
        os._exit(0)
    wait_for(lambda: is_written(note))

    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

    wait_for(lambda: has_ended(note))


_WORKER = """\
import os, sys
from pathlib import Path
from tests.forked_python import call_python
call_python("own", [], Path(sys.argv[1]), os.environ)
"""

_SESSION = """\
import os, subprocess, sys
environment = os.environ | {"PYTEST_XDIST_WORKER": "gw0"}
subprocess.run([sys.executable, "-c", *sys.argv[1:]], env=environment)
"""


@pytest.mark.slow
def test_a_fork_ends_when_the_session_is_killed_and_no_worker_is(tmp_path: Path) -> None:
    note = write_sleeper(tmp_path)
    session = subprocess.Popen(
        [sys.executable, "-c", _SESSION, _WORKER, str(tmp_path)],
        cwd=Path(__file__).parents[1],
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: is_written(note))

    session.kill()
    session.wait()

    wait_for(lambda: has_ended(note))


def test_a_caller_that_is_killed_while_it_asks_ends_no_server(tmp_path: Path) -> None:
    address = str(Path(_server()) / "python.socket")
    for parts in ([], [(100).to_bytes(4, "big")], [(100).to_bytes(4, "big"), b"half"]):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(address)
            for part in parts:
                connection.sendall(part)

    assert call_python("unlearn.cli.app", [], tmp_path, os.environ) == (0, "", "")
