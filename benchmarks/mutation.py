"""Mutation testing of the modules that a wrong answer would hurt most.

    pip install mutmut
    python benchmarks/mutation.py [--jobs 1] [--minutes 20] [verdict lineage log ...]

mutmut changes one expression at a time and runs the module's own tests. A mutant that no test
notices survives, and is printed as a diff: either a test is missing, or the change makes no
difference that a user could see. Takes minutes for each module, so it is no part of CI.

Mutants that make no difference, each for the reason given:

lineage      `zip(..., strict=False)` without `strict`, or with None: False is the default.
             `read_text` without an encoding: the same where the locale is UTF-8.
log          a depth that is doubled, or counted from 2: the order by depth stays.
slices       `zip(..., strict=True)` without `strict`: all three have an item for each slice.
             The words of an AssertionError.
sliced_rows  other arguments of `place` than the token and the slices: a row's slice follows from
             these two alone.
"""

import argparse
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent

_TRAINING = [
    "tests/stages/training/test_shard_contents.py",
    "tests/stages/training/test_slices.py",
    "tests/stages/training/test_refusals.py",
    "tests/stages/training/test_generic_text.py",
]

#: By name: the module below the package, and the tests that have to notice.
MODULES = {
    "verdict": ("stages/verify/verdict.py", ["tests/stages/verify/test_verdict.py"]),
    "forget_list": ("stages/rows/forget_list.py", ["tests/stages/rows/test_forget_list.py"]),
    "lineage": ("stages/training/lineage.py", ["tests/stages/training/test_lineage.py"]),
    "slices": ("stages/training/slices.py", _TRAINING),
    "sliced_rows": (
        "stages/training/sliced_rows.py",
        ["tests/stages/training/test_sliced_rows.py"],
    ),
    "fitting": ("stages/training/fitting.py", _TRAINING),
    "transaction": (
        "stages/ledger/transaction.py",
        ["tests/stages/ledger/test_transaction.py"],
    ),
    "log": ("stages/ledger/log.py", ["tests/stages/ledger/test_log.py"]),
    "check": ("stages/ledger/check.py", ["tests/stages/ledger/test_check.py"]),
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


def mutmut(folder: Path, *arguments: str, minutes: float | None = None) -> str:
    """Run mutmut in a folder; return what it printed. After so many minutes it is ended."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "mutmut", *arguments],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=None if minutes is None else 60 * minutes,
        )
    except subprocess.TimeoutExpired as ended:
        return (ended.stdout or b"").decode(errors="replace")
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


def survey(name: str, jobs: int, minutes: float | None) -> None:
    """Mutate one module, and print how many mutants survived and which.

    Parameters
    ----------
    name
        One of `MODULES`.
    jobs
        Processes at a time.
    minutes
        After so many, what is not tested yet is left out; None for no limit.
    """
    module, tests = MODULES[name]
    started = time.perf_counter()
    with TemporaryDirectory() as place:
        folder = Path(place)
        lay_out(folder, module, tests)
        ran = mutmut(folder, "run", "--max-children", str(jobs), minutes=minutes)
        listed = mutmut(folder, "results", "--all=true")
        outcomes = dict(re.findall(r"^\s*(\S+): (\w[\w ]*)$", listed, re.MULTILINE))
        if not outcomes:
            sys.exit(ran)
        untested = [mutant for mutant, outcome in outcomes.items() if outcome == "not checked"]
        diffs = {
            mutant: mutmut(folder, "show", mutant)
            for mutant, outcome in sorted(outcomes.items())
            if outcome not in ("killed", "not checked")
        }
    alive = {mutant: diff for mutant, diff in diffs.items() if not only_text(diff)}
    print(
        f"{name}: {len(outcomes)} mutants; {len(alive)} survived; {len(diffs) - len(alive)} more "
        f"changed the words of a message only; {len(untested)} were not tested; "
        f"{time.perf_counter() - started:.0f} s"
    )
    for mutant, diff in alive.items():
        print(f"\n{mutant}: {outcomes[mutant]}\n{diff}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=", ".join(MODULES))
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--minutes", type=float, help="the most for each module")
    options = parser.parse_args()
    for chosen in options.modules or MODULES:
        survey(chosen, options.jobs, options.minutes)
