"""What the scripts share: projects to measure in, whole processes on the clock, tables."""

import hashlib
import importlib.metadata
import json
import os
import platform
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from unlearn.stages.config.params import read_settings
from unlearn.stages.config.settings_files import split
from unlearn.stages.context import Context, open_project
from unlearn.stages.project.paths import Project
from unlearn.stages.project.timings import Timing, read_timings
from unlearn.stages.rows.tokens import KEY_VARIABLE, Key

#: A published key, so that a table can be made again: which rows share a shard follows from it.
BENCHMARK_KEY = hashlib.sha256(b"unlearn benchmark key: public, for measurements only").hexdigest()

#: The console script of the environment that this Python belongs to.
UNLEARN = str(Path(sys.executable).with_name("unlearn"))


@dataclass(frozen=True)
class Done:
    """A process that ended well.

    Parameters
    ----------
    seconds
        How long it took from start to end.
    out
        What it printed.
    processor
        Processor time of it and of the processes that it started, in seconds.
    """

    seconds: float
    out: str
    processor: float = 0.0

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object that the command printed."""
        return dict(json.loads(self.out))


def run(
    command: Sequence[str], folder: Path, stdin: str | None = None, *, codes: Collection[int] = (0,)
) -> Done:
    """Run a command as a user would, on the clock; stop the benchmark if it fails.

    Parameters
    ----------
    command
        The command.
    folder
        Where it is run.
    stdin
        What it reads.
    codes
        Exit codes that are no failure.
    """
    environment = dict(os.environ)
    environment.pop(KEY_VARIABLE, None)
    environment["DVC_NO_ANALYTICS"] = "1"
    # dvc.yaml says `unlearn`: the one beside this Python, whatever else is installed.
    folders = [str(Path(sys.executable).parent), environment.get("PATH", "")]
    environment["PATH"] = os.pathsep.join(folder for folder in folders if folder)
    before, started = processor_time(), time.perf_counter()
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        input=stdin,
        text=True,
        capture_output=True,
        check=False,
    )
    seconds = time.perf_counter() - started
    if done.returncode not in codes:
        sys.exit(f"{Path(command[0]).name} {command[1:]} failed\n{done.stdout}{done.stderr}")
    return Done(seconds, done.stdout, processor_time() - before)


def processor_time() -> float:
    """Return the processor time of all processes below this one that have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass(frozen=True)
class Bench:
    """A project in a temporary folder, driven by the commands that a user types."""

    root: Path

    def unlearn(
        self, *arguments: str, stdin: str | None = None, codes: Collection[int] = (0,)
    ) -> Done:
        """Run `unlearn`; see `run`."""
        return run([UNLEARN, *arguments], self.root, stdin, codes=codes)

    def dvc(self, *arguments: str) -> Done:
        """Run `dvc`."""
        return run([sys.executable, "-m", "dvc", *arguments], self.root)

    def set_params(self, **sections: dict[str, Any]) -> None:
        """Change settings in their files: a section's keys are replaced one by one."""
        settings = read_settings(self.root / "params.yaml")
        for name, values in sections.items():
            settings[name] |= values
        for name, content in split(settings).items():
            text = yaml.safe_dump(content, sort_keys=False)
            (self.root / name).write_text(text, encoding="utf-8")

    def context(self) -> Context:
        """Return the project as the stages see it."""
        return open_project(Project(self.root))

    def report(self) -> dict[str, Any]:
        """Return reports/verify.json."""
        return dict(json.loads((self.root / "reports/verify.json").read_text(encoding="utf-8")))

    def timings(self) -> dict[str, Timing]:
        """Return what the stages noted of their own durations."""
        return read_timings(Project(self.root))

    def copy(self, target: Path) -> "Bench":
        """Return a copy of the whole project, DVC's cache included."""
        shutil.copytree(self.root, target, symlinks=True)
        copied = Bench(target)
        copied.keep_to_itself()
        return copied

    def keep_to_itself(self) -> None:
        """Keep DVC from calling home, and from sharing anything with other projects."""
        self.dvc("config", "core.analytics", "false")
        self.dvc("config", "--local", "core.site_cache_dir", str(self.root / ".dvc" / "site"))


def new_project(root: Path, source: Path, *options: str) -> Bench:
    """Return a project that `unlearn init` made, with the benchmarks' key in place of its own.

    Parameters
    ----------
    root
        Where; must not exist.
    source
        The dataset, with columns `id` and `label`.
    *options
        More options of `unlearn init`.
    """
    root.mkdir(parents=True)
    bench = Bench(root)
    run(["git", "init", "--quiet"], root)
    run(["git", "config", "user.email", "benchmarks@example.org"], root)
    run(["git", "config", "user.name", "Benchmarks"], root)
    bench.dvc("init", "--quiet")
    bench.keep_to_itself()
    columns = ("--id", "id", "--target", "label")
    bench.unlearn("init", ".", "--dataset", str(source), *columns, *options)
    use_benchmark_key(root)
    return bench


def use_benchmark_key(root: Path) -> None:
    """Replace a project's key by the benchmarks' published one, before its first run."""
    path = root / "params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    params["key_check"] = Key(BENCHMARK_KEY).check
    path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    key = Project(root).key
    key.write_text(f"{BENCHMARK_KEY}\n", encoding="ascii")
    key.chmod(0o600)


@contextmanager
def workplace(keep: Path | None) -> Iterator[Path]:
    """Yield an empty folder for the projects; remove it afterwards unless `keep` names it."""
    # As Ctrl-C does: a script that is ended leaves no projects behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=False)
        yield keep.resolve()
        return
    with TemporaryDirectory(prefix="unlearn-benchmark-") as folder:
        yield Path(folder).resolve()


def machine() -> str:
    """Return one line on what the numbers were measured with, and how busy it was."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    libraries = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("torch", "dvc", "pyarrow")
    )
    return (
        f"{cores} cores ({torch.backends.cpu.get_cpu_capability()}), {gpu}, "
        f"{platform.system()}, Python {platform.python_version()}, {libraries}; "
        f"load average {os.getloadavg()[0]:.1f} at the start"
    )


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table; the first column is text, the others are numbers."""
    marks = ["---", *("---:" for _ in header[1:])]
    lines = [header, marks, *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def say(message: str) -> None:
    """Tell how far a script has got, on standard error: standard output is for its tables."""
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()


def show(name: str, header: Sequence[str], rows: Sequence[Sequence[object]], *notes: str) -> None:
    """Print a table with the name that docs/benchmarks.md knows it by, and notes below it."""
    print(f"\n<!-- table: {name} -->\n")
    print(table(header, rows))
    for note in notes:
        print(f"\n{note}")
    sys.stdout.flush()


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Return the median of some repetitions, with the least and the largest beside it."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    if len(ordered) == 1:
        return f"{median:.{digits}f}"
    return f"{median:.{digits}f} ({ordered[0]:.{digits}f} to {ordered[-1]:.{digits}f})"
