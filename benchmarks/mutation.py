"""Mutation testing of the modules that a wrong answer would hurt most.

    pip install mutmut
    python benchmarks/mutation.py [verdict forget_list lineage slices sliced_rows fitting]

mutmut changes one expression at a time and runs the module's own tests. A mutant that no test
notices survives, and is printed as a diff: either a test is missing, or the change makes no
difference that a user could see. Takes minutes for each module, so it is no part of CI.
"""

import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent

#: By name: the module below the package, and the tests that have to notice.
MODULES = {
    "verdict": ("stages/verify/verdict.py", ["tests/stages/verify/test_verdict.py"]),
    "forget_list": ("stages/rows/forget_list.py", ["tests/stages/rows/test_forget_list.py"]),
    "lineage": (
        "stages/training/lineage.py",
        ["tests/stages/training/test_slices.py", "tests/stages/verify/exactness/test_checks.py"],
    ),
    "slices": ("stages/training/slices.py", ["tests/stages/training/test_slices.py"]),
    "sliced_rows": ("stages/training/sliced_rows.py", ["tests/stages/training/test_slices.py"]),
    "fitting": (
        "stages/training/fitting.py",
        ["tests/stages/training/test_slices.py", "tests/stages/training/test_generic_text.py"],
    ),
}

_PROJECT = """\
[tool.mutmut]
source_paths = ["unlearn"]
only_mutate = ["unlearn/{module}"]
pytest_add_cli_args_test_selection = {tests}
pytest_add_cli_args = ["-p", "no:cacheprovider", "-m", "not slow"]
also_copy = ["tests", "cli", "data"]
process_isolation = "forkserver"

[tool.pytest.ini_options]
markers = {markers}
"""


def lay_out(folder: Path, module: str, tests: list[str]) -> None:
    """Write the package as it is installed, its tests and mutmut's settings into a folder."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "api", folder / "unlearn", ignore=ignore)
    for name in ("cli", "stages"):
        shutil.copytree(ROOT / name, folder / "unlearn" / name, ignore=ignore)
    for name in ("cli", "data", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    markers = settings["tool"]["pytest"]["ini_options"]["markers"]
    text = _PROJECT.format(module=module, tests=tests, markers=markers)
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")


def mutmut(folder: Path, *arguments: str) -> str:
    """Run mutmut in a folder; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "mutmut", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        sys.exit(done.stdout)
    return done.stdout


def only_text(diff: str) -> bool:
    """Tell whether a mutant changes nothing but the letters of a string, as of a message."""
    before, after = (
        [
            re.sub(r"XX", "", line[1:]).lower()
            for line in diff.splitlines()
            if line.startswith(sign)
        ][1:]
        for sign in ("-", "+")
    )
    return before == after


def survey(name: str) -> None:
    """Mutate one module, and print how many mutants survived and which."""
    module, tests = MODULES[name]
    started = time.perf_counter()
    with TemporaryDirectory() as place:
        folder = Path(place)
        lay_out(folder, module, tests)
        ran = mutmut(folder, "run")
        listed = mutmut(folder, "results", "--all=true")
        outcomes = dict(re.findall(r"^\s*(\S+): (\w[\w ]*)$", listed, re.MULTILINE))
        if not outcomes:
            sys.exit(ran)
        diffs = {
            mutant: mutmut(folder, "show", mutant)
            for mutant, outcome in sorted(outcomes.items())
            if outcome != "killed"
        }
    alive = {mutant: diff for mutant, diff in diffs.items() if not only_text(diff)}
    print(
        f"{name}: {len(outcomes)} mutants; {len(alive)} survived; {len(diffs) - len(alive)} more "
        f"changed the words of a message only; {time.perf_counter() - started:.0f} s"
    )
    for mutant, diff in alive.items():
        print(f"\n{mutant}: {outcomes[mutant]}\n{diff}")


if __name__ == "__main__":
    for chosen in sys.argv[1:] or MODULES:
        survey(chosen)
