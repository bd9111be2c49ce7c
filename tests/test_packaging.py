"""What is installed: a wheel that claims `unlearn` alone, and imports that run one way."""

import re
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import unlearn

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the names in a wheel built from a copy of the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("api", "cli", "stages"):
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    for path in ROOT.iterdir():
        if path.is_file() and path.name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(path, source / path.name)
    command = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [sys.executable, *command, "--wheel-dir", str(folder), str(source)],
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    assert built.name.startswith("dvc_unlearn-")
    with zipfile.ZipFile(built) as archive:
        return archive.namelist()


def test_the_wheel_claims_unlearn_and_nothing_else(wheel: list[str]) -> None:
    tops = {name.partition("/")[0] for name in wheel}

    assert {top for top in tops if not top.startswith("dvc_unlearn-")} == {"unlearn"}
    inner = {name.split("/")[1] for name in wheel if name.startswith("unlearn/")}
    modules = {"__init__.py", "exact_base.py", "exact_models.py", "exact_regressors.py"}
    modules |= {"project.py", "requests.py", "run.py", "wording.py"}
    assert inner == modules | {"py.typed", "cli", "stages"}


def test_every_module_and_template_is_in_the_wheel(wheel: list[str]) -> None:
    wanted = set()
    for folder, package in (
        ("api", "unlearn"),
        ("cli", "unlearn/cli"),
        ("stages", "unlearn/stages"),
    ):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                wanted.add(f"{package}/{path.relative_to(ROOT / folder).as_posix()}")

    assert wanted <= set(wheel)
    assert any("templates/sisa/dvc.yaml" in name for name in wheel)
    assert sum("templates/ci/" in name for name in wheel) == 2


def test_the_wheel_installs_the_command(wheel: list[str]) -> None:
    assert any(name.endswith(".dist-info/entry_points.txt") for name in wheel)
    assert not any(name.endswith((".pyc", ".key", ".csv")) for name in wheel)


def test_the_package_knows_its_version_and_loads_nothing_to_be_imported() -> None:
    script = (
        "import sys, unlearn; "
        "print(unlearn.__version__, [name for name in sys.modules if name.startswith('unlearn.')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], text=True, capture_output=True, check=True
    )

    assert done.stdout.split() == [metadata.version("dvc-unlearn"), "[]"]
    with pytest.raises(AttributeError, match="no attribute 'forgett'"):
        unlearn.forgett  # noqa: B018 - reading it is what fails


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Return a copy of the package and its contracts, to be changed."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "api", tmp_path / "unlearn", ignore=ignore)
    for name in ("cli", "stages"):
        shutil.copytree(ROOT / name, tmp_path / "unlearn" / name, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def broken_contracts(root: Path) -> set[str]:
    """Return the names of the import contracts that do not hold in a folder."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=root,
        text=True,
        capture_output=True,
        check=False,
    )
    verdicts = re.findall(r"^(.+) (KEPT|BROKEN)", done.stdout, re.MULTILINE)
    assert len(verdicts) == 6, done.stdout + done.stderr
    broken = {name for name, verdict in verdicts if verdict == "BROKEN"}
    assert done.returncode == bool(broken)
    return broken


def test_the_contracts_hold(sources: Path) -> None:
    assert broken_contracts(sources) == set()


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        (
            "stages/rows/tokens.py",
            "from unlearn.stages.training import lineage",
            {"Within stages, imports point downwards", "No cycles between modules or packages"},
        ),
        (
            "stages/project/files.py",
            "from unlearn.cli import output",
            {"Commands call stages, never the other way round"},
        ),
        (
            "cli/init/files/templates.py",
            "from unlearn.cli.init.checks import taken",
            {"Within init, imports point downwards", "No cycles between modules or packages"},
        ),
        (
            "stages/shard/stage.py",
            "from unlearn.stages.train import stage",
            {"Stages do not import each other"},
        ),
        (
            "stages/rows/schema.py",
            "import unlearn",
            {
                "Nothing inside imports the public package",
                # It names all that is above.
                "Commands call stages, never the other way round",
                "Within stages, imports point downwards",
                "Stages do not import each other",
            },
        ),
    ],
)
def test_an_import_that_points_upward_is_found(
    sources: Path, module: str, line: str, broken: set[str]
) -> None:
    path = sources / "unlearn" / module
    path.write_text(f"{path.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")

    assert broken_contracts(sources) == broken


@pytest.mark.parametrize("folder", ["stages/rows", "cli"])
def test_a_cycle_of_two_modules_is_found(sources: Path, folder: str) -> None:
    package = f"unlearn.{folder.replace('/', '.')}"
    for name, other in (("tick", "tock"), ("tock", "tick")):
        path = sources / "unlearn" / folder / f"{name}.py"
        path.write_text(f"from {package} import {other}\n", encoding="utf-8")

    assert broken_contracts(sources) == {"No cycles between modules or packages"}


def test_a_new_package_needs_a_layer(sources: Path) -> None:
    folder = sources / "unlearn/stages/exports"
    folder.mkdir()
    (folder / "__init__.py").touch()

    assert broken_contracts(sources) == {"Within stages, imports point downwards"}
