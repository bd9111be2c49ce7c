"""The Docker image: what its file says, and the image itself where Docker runs."""

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

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


def test_its_health_check_asks_the_server_or_the_command(tmp_path: Path) -> None:
    """The check is a line of shell; `/proc/1/cmdline` is replaced by a file."""
    (health,) = of("HEALTHCHECK")
    script = health.partition("CMD ")[2]
    command = tmp_path / "cmdline"
    script = script.replace("/proc/1/cmdline", str(command))
    for words, outcome in (((b"unlearn", b"repro"), 0), ((b"unlearn", b"serve"), 1)):
        command.write_bytes(b"\0".join(words) + b"\0")
        # No server listens there.
        quiet = script.replace(":8000/", ":9/")
        done = subprocess.run(["sh", "-c", quiet], capture_output=True, check=False)
        assert done.returncode == outcome, done.stderr


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
