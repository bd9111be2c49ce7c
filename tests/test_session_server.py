"""Workers of a session share a server, and nothing of it is left when the session ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

_SERVER = """\
import os, select, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
if os.environ["LACKS"]:
    del os.pidfd_open
import session_server
with Path(os.environ["TMPDIR"], "starts").open("a") as file:
    file.write("one\\n")
end = session_server.end_of_session()
os.write(1, b"ready\\n")
select.select([end], [], [])
session_server.remove_folder()
"""

_WORKER = """\
import os, sys
from tests.session_server import share
share(sys.argv[1], os.environ, lambda folder: None)
"""

_SESSION = """\
import os, subprocess, sys, time
environment = os.environ | {"PYTEST_XDIST_WORKER": "gw0"}
command = [sys.executable, "-c", sys.argv[1], sys.argv[2]]
try:
    workers = [subprocess.Popen(command, env=environment) for _ in range(2)]
    print([worker.wait() for worker in workers], flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    pass
"""


@pytest.mark.parametrize(
    ("number", "lacks"),
    [(signal.SIGKILL, ""), (signal.SIGINT, ""), (signal.SIGKILL, "pidfd_open")],
    ids=["killed", "ctrl-c", "killed-without-pidfd"],
)
def test_one_server_for_all_workers_ends_with_the_session(
    tmp_path: Path, number: signal.Signals, lacks: str
) -> None:
    program = tmp_path / "toy.py"
    program.write_text(_SERVER.format(tests=str(ROOT / "tests")), encoding="utf-8")
    session = subprocess.Popen(
        [sys.executable, "-c", _SESSION, _WORKER, str(program)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path), "LACKS": lacks},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert session.stdout is not None
    assert session.stdout.readline() == "[0, 0]\n"
    assert (tmp_path / "starts").read_text(encoding="ascii") == "one\n"
    (folder,) = tmp_path.glob(f"forks-{os.getuid()}-{session.pid}-*")

    # Ctrl-C reaches all processes of a terminal.
    (os.kill if number == signal.SIGKILL else os.killpg)(session.pid, number)
    session.wait(timeout=60)

    # The server has the same streams: they end when it does.
    assert session.communicate(timeout=60) == ("", "")
    deadline = time.monotonic() + 60
    while folder.exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)


_FAILING = """\
import os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
Path(sys.argv[1], "socket").touch(exist_ok=False)
start = Path({start!r})
if not start.exists():
    start.touch()
    sys.exit("an import failed")
import select, session_server
end = session_server.end_of_session()
os.write(1, b"ready\\n")
select.select([end], [], [])
session_server.remove_folder()
"""

_TWICE = """\
import os, sys
from tests.session_server import share
os.environ.pop("PYTEST_XDIST_WORKER", None)
for _ in range(2):
    try:
        share(sys.argv[1], os.environ, lambda folder: None)
        print("ready")
    except RuntimeError as error:
        print(error)
"""


def test_a_server_that_failed_says_so_and_can_be_started_again(tmp_path: Path) -> None:
    program = tmp_path / "toy.py"
    text = _FAILING.format(tests=str(ROOT / "tests"), start=str(tmp_path / "start"))
    program.write_text(text, encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-c", _TWICE, str(program)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        text=True,
        capture_output=True,
        check=True,
    )

    assert done.stdout == "toy.py did not start; it says why on its stderr\nready\n"
    assert done.stderr == "an import failed\n"
