"""What would be published: an sdist that can be built and tested, and a wheel that works alone."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

#: Made when an sdist is built.
GENERATED = ("PKG-INFO", "setup.cfg", "dvc_unlearn.egg-info/")


def run(*command: str | Path, cwd: Path | None = None, **more: str) -> str:
    """Return what a command printed; fail with its errors."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **more},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def tracked() -> list[str]:
    """Return the files that git has, as they stand here."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone: only git knows which files belong to the project")
    names = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    return [name for name in names.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an sdist, a wheel that was made from it, and `tree/` with another."""
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    for name in tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    # What a developer has besides must not be taken.
    (source / "unlearn.key").write_text("private", encoding="ascii")
    (source / "data/people.csv").write_text("private", encoding="ascii")
    (source / "stages/rows/people.csv").write_text("private", encoding="ascii")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, source)
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "-o", folder / "tree", source)
    return folder


def members(path: Path) -> dict[str, bytes]:
    """Return the files of a wheel."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.slow
def test_the_sdist_holds_what_git_has_and_nothing_else(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        files = [member.name for member in archive.getmembers() if member.isfile()]
    names = {name.partition("/")[2] for name in files}

    assert {name for name in names if not name.startswith(GENERATED)} == set(tracked())


@pytest.mark.slow
def test_a_wheel_from_the_sdist_is_the_one_from_the_tree(built: Path) -> None:
    (path,) = built.glob("*.whl")
    (other,) = (built / "tree").glob("*.whl")

    assert path.name == other.name
    assert members(path) == members(other)
    assert not [name for name in members(path) if name.endswith((".csv", ".key"))]


@pytest.mark.slow
def test_the_packages_pass_the_checks_of_the_index(built: Path) -> None:
    paths = [*built.glob("*.tar.gz"), *built.glob("*.whl")]
    said = run(sys.executable, "-m", "twine", "check", "--strict", *paths, NO_COLOR="1")
    assert said.count("PASSED") == 2
    said = run(sys.executable, "-m", "check_wheel_contents", *built.glob("*.whl"), cwd=ROOT)
    assert "OK" in said


def test_the_wheel_says_which_pythons_the_workflow_tests() -> None:
    from tests.ci_jobs import read_yaml

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    start = "Programming Language :: Python :: 3."
    named = [line.rpartition(" ")[2] for line in project["classifiers"] if line.startswith(start)]
    jobs = read_yaml(ROOT / ".github/workflows/test.yml")["jobs"]
    assert jobs["fast"]["strategy"]["matrix"]["python"] == named
    assert project["requires-python"] == f">={named[0]}"


@pytest.mark.slow
def test_the_wheel_alone_runs_the_exact_example(built: Path, tmp_path: Path) -> None:
    home = tmp_path / "venv"
    venv.create(home, symlinks=True)
    packages = Path(
        run(home / "bin/python", "-c", "import site; print(*site.getsitepackages())").strip()
    )
    # What it needs is there; the `.pth` of this checkout is not read in a folder that one names.
    (packages / "needs.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    (wheel,) = built.glob("*.whl")
    pip = (sys.executable, "-m", "pip", "--python", home / "bin/python", "install", "--quiet")
    run(*pip, "--no-deps", "--no-index", "--disable-pip-version-check", wheel)
    where = "import unlearn, unlearn.cli, unlearn.stages; print(unlearn.__file__, unlearn.__path__)"
    found = run(home / "bin/python", "-c", where, cwd=tmp_path)
    assert str(ROOT) not in found
    assert str(packages) in found

    path = f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}"
    git = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "init.defaultBranch",
        "GIT_CONFIG_VALUE_0": "main",
    }
    run("unlearn", "init", "x", "--example", "digits", cwd=tmp_path, PATH=path, **git)
    said = run("unlearn", "repro", cwd=tmp_path / "x", PATH=path)

    assert "verdict: pass" in said
    assert (tmp_path / "x/models/final_model/ensemble.json").is_file()
