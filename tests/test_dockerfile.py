"""The Docker image: what its file says, and the image itself where Docker runs."""

import os
import re
import shlex
import shutil
import subprocess
import threading
import tomllib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import typer
from typer.main import get_command
from unlearn.cli.serve import serve
from unlearn.stages.serving.settings import PORT_VARIABLE

ROOT = Path(__file__).resolve().parents[1]


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile with their arguments."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    found = [line.strip().partition(" ") for line in joined.splitlines() if line.strip()]
    return [(name, rest.strip()) for name, _, rest in found]


def of(name: str) -> list[str]:
    """Return the arguments of all instructions of a name."""
    return [rest for each, rest in instructions() if each == name]


def test_it_copies_what_is_there_and_all_that_a_wheel_is_built_from() -> None:
    sources = {word for copy in of("COPY") for word in shlex.split(copy)[:-1]}

    assert all((ROOT / source).exists() for source in sources)
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    folders = set(setuptools["setuptools"]["package-dir"].values())
    assert sources == folders | {"constraints.txt", "pyproject.toml", "README.md", "LICENSE"}
    # Nothing else reaches the builder: no rows, no models, no key.
    lines = (ROOT / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {line.removeprefix("!") for line in rules if line.startswith("!")} == sources


def test_it_is_slim_pinned_and_runs_as_nobody_special() -> None:
    (base,) = of("FROM")
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", base)
    assert of("USER")[-1] == "unlearn"
    last_run = max(at for at, (name, _) in enumerate(instructions()) if name == "RUN")
    assert ("USER", "unlearn") in instructions()[last_run:]
    (health,) = of("HEALTHCHECK")
    assert "/health" in health
    installs = [run for run in of("RUN") if "pip install" in run]
    assert len(installs) == 2
    assert all("--constraint constraints.txt" in run for run in installs)
    assert "whl/cpu" in installs[0]
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (wanted,) = re.findall(r"\.\[([\w,]+)\]", installs[1])
    assert set(wanted.split(",")) <= set(extras["project"]["optional-dependencies"])


@pytest.fixture
def health(tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Yield what runs the health check for a command line, and returns its exit code.

    The check is a line of shell, in which `/proc/1/cmdline` is replaced by a file. A server listens
    at the port SERVED of that line.
    """

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    (arguments,) = of("HEALTHCHECK")
    command = tmp_path / "cmdline"
    script = arguments.partition("CMD ")[2].replace("/proc/1/cmdline", str(command))
    with HTTPServer(("127.0.0.1", 0), Health) as server:
        served = str(server.server_port)
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def check(line: str, **variables: str) -> int:
            words = line.replace("SERVED", served).split()
            command.write_bytes("\0".join(words).encode() + b"\0")
            given = {name: value.replace("SERVED", served) for name, value in variables.items()}
            environment = {**os.environ, **given}
            done = subprocess.run(["sh", "-c", script], env=environment, check=False)
            return done.returncode

        yield check
        server.shutdown()


def test_its_health_check_asks_the_server_at_its_port(health: Callable[..., int]) -> None:
    serve = "python /usr/local/bin/unlearn serve --host 0.0.0.0"
    assert health(f"{serve} --port SERVED") == 0
    assert health(f"{serve} --port=SERVED --slots 2", UNLEARN_LISTEN_PORT="9") == 0
    assert health(serve, UNLEARN_LISTEN_PORT="SERVED") == 0
    # Nothing listens at port 9.
    assert health(f"{serve} --port 9", UNLEARN_LISTEN_PORT="SERVED") == 1
    assert health(serve, UNLEARN_LISTEN_PORT="9") == 1


def test_its_health_check_asks_other_commands_for_nothing_but_their_version(
    health: Callable[..., int],
) -> None:
    assert health("unlearn repro --port 9") == 0


def test_the_port_of_the_health_check_is_the_one_that_the_command_reads() -> None:
    (arguments,) = of("HEALTHCHECK")
    app = typer.Typer()
    app.command()(serve)
    (option,) = [each for each in get_command(app).params if each.name == "port"]
    assert option.envvar == PORT_VARIABLE
    assert f"${{{PORT_VARIABLE}:-{option.default}}}" in arguments


@pytest.mark.slow
def test_the_image_can_be_built_and_runs_the_command() -> None:
    docker = shutil.which("docker")
    if docker is None:
        pytest.skip("Docker is not installed")
    if subprocess.run([docker, "info"], capture_output=True, check=False).returncode:
        pytest.skip("no Docker daemon can be reached")
    tag = "unlearn-test-of-the-image"
    subprocess.run([docker, "build", "--tag", tag, str(ROOT)], check=True)
    done = subprocess.run(
        [docker, "run", "--rm", tag, "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip()
