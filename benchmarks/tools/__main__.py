"""Put unlearning tools through ten checks, and print a table.

    python -m benchmarks.tools --install tools-under-test
    python -m benchmarks.tools Erasus --clone path/to/its/clone

Digits of scikit-learn; in the first request are rows whose label was changed before training,
which a model can only know by heart, in the second one rows at random. Each tool is used as its own
documentation shows first. A tool that is not installed, or that fails, says so in the table.
"""

import argparse
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

from benchmarks.harness import machine, say, workplace
from benchmarks.tools.adapter import Rows, Tool
from benchmarks.tools.checks import QUESTIONS, Case, Checks, Finding
from benchmarks.tools.erasus import Erasus
from benchmarks.tools.ours import Forest, PostHoc, Shards
from benchmarks.tools.torchunlearn import TorchUnlearn

TOOLS: Mapping[str, Callable[[Path], Tool]] = {
    "unlearn, 4 shards": Shards,
    "unlearn, exact_forest": Forest,
    "unlearn, SCRUB without shards": PostHoc,
    "Erasus": Erasus,
    "torchunlearn": TorchUnlearn,
}

#: What `--install` installs, without what it depends on: torch is there already.
PACKAGES = ("erasus==0.2.0", "torchunlearn==0.1.0", "torchvision==0.28.0")

MISLABELLED, AT_RANDOM, OTHERS, SEED = 45, 20, 300, 0


def main() -> None:
    """Try the tools that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Plain)
    parser.add_argument("tools", nargs="*", metavar="TOOL", help=f"of {', '.join(TOOLS)}")
    parser.add_argument("--install", type=Path, help="install the other tools into this folder")
    parser.add_argument("--clone", type=Path, action="append", default=[], help="a tool's clone")
    parser.add_argument("--keep", type=Path, help="keep the projects in this new folder")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.tools if name not in TOOLS]:
        parser.error(f"no tool is called {unknown[0]}; there are {', '.join(TOOLS)}")
    torch.set_num_threads(1)
    if arguments.install is not None:
        _install(arguments.install)
        sys.path.insert(0, str(arguments.install.resolve()))
    sys.path[:0] = [str(folder.resolve()) for folder in arguments.clone]
    print(machine())
    findings: dict[str, dict[str, Finding] | str] = {}
    with workplace(arguments.keep) as folder:
        for name in arguments.tools or TOOLS:
            say(name)
            place = folder / name.replace(" ", "-")
            findings[name] = _findings(TOOLS[name], place)
            if arguments.keep is None:
                shutil.rmtree(place, ignore_errors=True)
    _show(findings)


def _install(folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    subprocess.run([*pip, "--upgrade", *PACKAGES], check=True)


def _findings(make: Callable[[Path], Tool], folder: Path) -> dict[str, Finding] | str:
    """Return the findings for a tool; a sentence if it does not run."""
    try:
        return Checks(make, folder, _case()).run()
    # Whatever another tool raises is a result, and must not keep the others from being tried.
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and not isinstance(error.code, str):
            raise
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"


def _case() -> Case:
    """Return digits without repeated images, some of them with a wrong label."""
    digits = load_digits()
    features, places = np.unique(digits.data, axis=0, return_index=True)
    labels = digits.target[places].astype(np.int64)
    order = np.random.default_rng(SEED).permutation(len(labels))
    features, labels = features[order], labels[order]
    others, features, labels = features[:OTHERS], features[OTHERS:], labels[OTHERS:]
    labels[:MISLABELLED] = (labels[:MISLABELLED] + 1 + np.arange(MISLABELLED) % 9) % 10
    shuffled = np.random.default_rng(SEED + 1).permutation(len(labels))
    ids = np.array([f"row-{number:05d}" for number in range(len(labels))])
    first, second = ids[:MISLABELLED], ids[MISLABELLED : MISLABELLED + AT_RANDOM]
    rows = Rows(tuple(ids[shuffled].tolist()), features[shuffled], labels[shuffled])
    return Case(rows, tuple(first.tolist()), tuple(second.tolist()), others)


def _show(findings: Mapping[str, dict[str, Finding] | str]) -> None:
    for name, found in findings.items():
        print(f"\n### {name}\n")
        if isinstance(found, str):
            print(f"It does not run: {found}")
            continue
        print("| check | result |\n|---|---|")
        for check in QUESTIONS:
            print(f"| {check} | {found[check]} |")


class _Plain(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of the description."""


if __name__ == "__main__":
    main()
