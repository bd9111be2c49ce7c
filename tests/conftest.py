"""Projects for tests: real git, real DVC, in temporary folders of their own."""

import contextlib
import gc
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, settings
from unlearn.stages.config.settings_files import FILES, merged, split
from unlearn.stages.dvc import command, session, storage
from unlearn.stages.rows.tokens import (
    KEY_VARIABLE,
    Key,
    Kind,
    Place,
    Tokenizer,
    key_of_text,
    place,
)

from tests.compiled import pytest_configure  # noqa: F401 - a hook
from tests.forked_dvc import Forking, call_dvc
from tests.properties import USUAL, pytest_collection_modifyitems  # noqa: F401 - a hook

# No law fails by the clock: other processes slow a test down.
settings.register_profile(
    "tests",
    deadline=None,
    max_examples=USUAL,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tests")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Leave tests and modules, which stay, out of every collection of garbage.

    The process that starts workers collects no tests, and is to collect garbage all the same.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True, scope="session")
def _apart_from_this_machine() -> None:
    """Keep DVC from calling home, and a developer's own project key out of the tests."""
    os.environ["DVC_NO_ANALYTICS"] = "1"
    os.environ.pop(KEY_VARIABLE, None)
    # A shell ignores Ctrl-C in what it starts in the background, and processes inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # dvc.yaml says `unlearn`; it stands beside this interpreter.
    here = str(Path(sys.executable).parent)
    if here not in os.environ["PATH"].split(os.pathsep):
        os.environ["PATH"] = here + os.pathsep + os.environ["PATH"]


@pytest.fixture(autouse=True, scope="session")
def _quick_dvc(_apart_from_this_machine: None) -> Iterator[None]:
    """Let what runs in this process call DVC as the tests do; see `forked_dvc`."""

    def call(root: Path, arguments: Sequence[str], *, capture: bool) -> tuple[int, str, str]:
        code, out, err = call_dvc(arguments, root, command.dvc_environment())
        if capture:
            return code, out, err
        return code, "", command.pass_on(err.splitlines(keepends=True))

    with (
        mock.patch.object(command, "_call", call),
        mock.patch.object(command, "subprocess", Forking),
        mock.patch.object(session, "subprocess", Forking),
        mock.patch.object(storage, "subprocess", Forking),
    ):
        yield


@dataclass(frozen=True)
class Done:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object that the command printed."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


@dataclass(frozen=True)
class Repo:
    """A project in a temporary folder, driven as a user would."""

    root: Path

    def run(
        self, *command: str, stdin: str | None = None, env: dict[str, str] | None = None
    ) -> Done:
        """Run any command in the project; never raises."""
        done = subprocess.run(
            command,
            cwd=self.root,
            input=stdin,
            text=True,
            capture_output=True,
            check=False,
            env=None if env is None else {**os.environ, **env},
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def unlearn(
        self, *arguments: str, stdin: str | None = None, env: dict[str, str] | None = None
    ) -> Done:
        """Run `unlearn` whatever it answers."""
        return self.run(sys.executable, "-m", "unlearn.cli", *arguments, stdin=stdin, env=env)

    def ok(self, *arguments: str, stdin: str | None = None) -> Done:
        """Run `unlearn` and insist that it succeeds."""
        done = self.unlearn(*arguments, stdin=stdin)
        assert done.code == 0, f"unlearn {arguments}: {done.code}\n{done.out}\n{done.err}"
        return done

    def start(
        self, *arguments: str, module: str = "unlearn.cli", env: dict[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start a command, `unlearn` or another module, as the leader of a group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=self.root,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=None if env is None else {**os.environ, **env},
        )

    def inline(self, *arguments: str, stdin: str = "") -> Done:
        """Run `unlearn` in this process: the same code, without the seconds of importing torch.

        For what serves as the reference, or is to be tried many times; what is under test runs
        as the processes that a user starts. Shards are trained here too, one after another, as on
        a machine with one processor.
        """
        from unlearn.cli.app import run

        before = dict(os.environ)
        out, err = io.StringIO(), io.StringIO()
        try:
            with (
                mock.patch("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()))),
                mock.patch("os.cpu_count", return_value=1),
                contextlib.chdir(self.root),
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
            ):
                code = run(list(arguments))
        finally:
            os.environ.clear()
            os.environ.update(before)
        return Done(code, out.getvalue(), err.getvalue())

    def stages(self, *names: str) -> str:
        """Run stages in this process, all of them by default; return what they said."""
        if not names:
            names = (*self.stages_of_models(), "verify")
        if any(name.startswith("train") for name in names) and "recipe" not in names:
            names = ("recipe", *names)  # as DVC does
        said = ""
        for name in names:
            done = self.inline("stage", name)
            assert done.code == 0, f"{name}: {done.code}\n{done.out}\n{done.err}"
            said += done.err
        return said

    def stages_of_models(self) -> tuple[str, ...]:
        """Return the stages that make what stands below models/, in order."""
        training = (f"train@{shard}" for shard in self.params()["sharding"]["shards"])
        return ("recipe", "shard", "forget", *training, "aggregate")

    def dvc(self, *arguments: str, env: dict[str, str] | None = None) -> Done:
        """Run `dvc` and insist that it succeeds."""
        done = Done(*call_dvc(arguments, self.root, {**os.environ, **(env or {})}))
        assert done.code == 0, f"dvc {arguments}: {done.code}\n{done.out}\n{done.err}"
        return done

    def git(self, *arguments: str) -> str:
        """Run `git`, insist that it succeeds, and return what it printed."""
        done = self.run("git", *arguments)
        assert done.code == 0, f"git {arguments}: {done.code}\n{done.out}\n{done.err}"
        return done.out

    def commit(self, message: str) -> None:
        """Commit everything that git may have."""
        self.git("add", "-A")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)

    def params(self) -> dict[str, Any]:
        """Return all settings."""
        found = {
            name: yaml.safe_load((self.root / name).read_text(encoding="utf-8"))
            for name in ("params.yaml", *FILES)
            if (self.root / name).is_file()
        }
        return merged(found.pop("params.yaml"), found)

    def set_params(self, **sections: dict[str, Any] | str | int) -> None:
        """Change settings: a section's keys are replaced one by one."""
        params = self.params()
        for name, value in sections.items():
            if isinstance(value, dict):
                params[name] = params.get(name, {}) | value
            else:
                params[name] = value
        write_settings(self.root, params)

    def files(self, folder: str) -> dict[str, bytes]:
        """Return the content of every file below a folder, by relative path.

        models/README.md, which `init` writes and no stage does, is left out.
        """
        top = self.root / folder
        return {
            path.relative_to(top).as_posix(): path.read_bytes()
            for path in sorted(top.rglob("*"))
            if path.is_file() and path != self.root / "models/README.md"
        }

    def snapshot(self) -> dict[str, bytes]:
        """Return all that a run could change, by path: every file but caches and histories."""
        own = (f".dvc/{name}" for name in ("cache/", "tmp/", "config.local"))
        apart = (".git/", ".unlearn/", *own)
        found = {}
        for path in sorted(self.root.rglob("*")):
            name = path.relative_to(self.root).as_posix()
            if path.is_file() and not name.startswith(apart):
                found[name] = path.read_bytes()
        return found

    def report(self) -> dict[str, Any]:
        """Return reports/verify.json."""
        value = json.loads((self.root / "reports/verify.json").read_text(encoding="utf-8"))
        assert isinstance(value, dict)
        return value

    def lock(self) -> dict[str, Any]:
        """Return the stages of dvc.lock."""
        value = yaml.safe_load((self.root / "dvc.lock").read_text(encoding="utf-8"))
        stages = value["stages"]
        assert isinstance(stages, dict)
        return stages

    def forget(self, ids: Sequence[str], *more: str) -> Done:
        """Put record ids on the forget list; the command's own tests run it as a process."""
        done = self.inline("forget", "--ids", "-", *more, stdin="\n".join(ids) + "\n")
        assert done.code == 0, f"{done.code}\n{done.out}\n{done.err}"
        return done

    def copy_files(self, target: Path) -> "Repo":
        """Return a copy of all files; what is at the target is removed."""
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.root, target)
        return Repo(target)

    def copy(self, target: Path) -> "Repo":
        """Return a copy of the whole project, DVC's cache included."""
        shutil.copytree(self.root, target, symlinks=True)
        keep_apart(target)
        return Repo(target)


def readable(path: Path) -> Iterator[bytes]:
    """Yield a file's bytes, and what its compression hides."""
    content = path.read_bytes()
    yield content
    if content.startswith(b"PAR1"):
        rows = pq.read_table(path)
        yield repr(rows.schema.metadata).encode()
        for name in rows.column_names:
            values = rows[name].to_pylist()
            texts = (value.hex() if isinstance(value, bytes) else str(value) for value in values)
            yield "\n".join(texts).encode()
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            yield from (archive.read(name) for name in archive.namelist())


def write_settings(root: Path, settings: dict[str, Any]) -> None:
    """Write all settings into the files that they belong in."""
    for name, content in split(settings).items():
        text = yaml.safe_dump(content, sort_keys=False)
        (root / name).write_text(text, encoding="utf-8")


def keep_apart(root: Path) -> None:
    """Give a project a site cache of its own, which two runs at once may not share."""
    text = f"[core]\n    analytics = false\n    site_cache_dir = {root / '.dvc/tmp/site'}\n"
    (root / ".dvc" / "config.local").write_text(text, encoding="utf-8")


def start_repositories(root: Path) -> Repo:
    """Return a new folder that is a git and a DVC repository, and no project yet."""
    shutil.copytree(Path(_new_repositories().name) / "new", root, symlinks=True)
    keep_apart(root)
    return Repo(root)


@cache
def _new_repositories() -> "tempfile.TemporaryDirectory[str]":
    """Return a folder that git and DVC were initialised in, to copy; removed at the end."""
    folder = tempfile.TemporaryDirectory()
    repo = Repo(Path(folder.name) / "new")
    repo.root.mkdir()
    repo.git("init", "--quiet")
    repo.git("config", "user.email", "tests@example.org")
    repo.git("config", "user.name", "Tests")
    # Examples that git never runs; every copy of a project would have them.
    for hook in (repo.root / ".git/hooks").glob("*.sample"):
        hook.unlink()
    repo.dvc("init", "--quiet")
    return folder


def make_frame(
    rows: int = 160, *, seed: int = 7, classes: int = 3, subjects: int = 0
) -> pd.DataFrame:
    """Return a small table with every kind of feature, missing values, and classes to learn."""
    draw = np.random.default_rng(seed)
    label = draw.integers(0, classes, rows)
    frame = pd.DataFrame(
        {
            "id": [f"r{number:04d}" for number in range(rows)],
            "age": (label * 2.0 + draw.normal(size=rows)).round(4),
            "income": (draw.normal(size=rows) * 1000).round(2),
            "member": np.where(draw.random(rows) < 0.3 + 0.2 * label, "true", "false"),
            "city": draw.choice(["Rome", "Oslo", "Lima", ""], rows),
            "label": [f"c{value}" for value in label],
        }
    )
    frame.loc[draw.random(rows) < 0.05, "income"] = np.nan
    if subjects:
        frame.insert(1, "person", [f"p{value:03d}" for value in draw.integers(0, subjects, rows)])
    return frame


def make_project(
    root: Path,
    frame: pd.DataFrame,
    *options: str,
    key: str | None = None,
    train: dict[str, Any] | None = None,
) -> Repo:
    """Return a new project on a table, with quick settings.

    Parameters
    ----------
    root
        Where; must not exist.
    frame
        The dataset: columns `id` and `label`, and `person` where subjects are named.
    *options
        More options of `unlearn init`.
    key
        The project key to take instead of a fresh one.
    train
        Settings below `train` that replace the defaults.
    """
    source = root.parent / f"{root.name}-source.csv"
    frame.to_csv(source, index=False)
    repo = start_repositories(root)
    subject = ("--subject", "person") if "person" in frame.columns else ()
    columns = ("--id", "id", "--target", "label", *subject)
    done = repo.inline("init", ".", "--dataset", str(source), *columns, *options)
    assert done.code == 0, f"{done.code}\n{done.out}\n{done.err}"
    if key is not None:
        use_key(repo, key)
    repo.set_params(train={"epochs": 3, "batch": 16, "device": "cpu"} | (train or {}))
    repo.commit("start")
    return repo


def use_key(repo: Repo, key: str) -> None:
    """Give a project a key, as a clean room needs the key of the project it is compared with."""
    (repo.root / "unlearn.key").write_text(f"{key}\n", encoding="ascii")
    repo.set_params(key_check=Key(key).check)


def drop_rows(repo: Repo, ids: Sequence[str]) -> None:
    """Take rows out of the dataset itself, as someone would who deletes for good."""
    path = repo.root / repo.params()["dataset"]["path"]
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame[~frame["id"].isin(ids)].to_csv(path, index=False)
    repo.dvc("add", "--quiet", repo.params()["dataset"]["path"])


def clean_room(repo: Repo, target: Path, ids: Sequence[str], subjects: Sequence[str] = ()) -> Repo:
    """Return a new project that never held these rows: same key and params.yaml, nothing else.

    Parameters
    ----------
    repo
        The project to compare with.
    target
        Where; must not exist.
    ids, subjects
        Records, and persons with all their records, that the dataset is not to hold.
    """
    room = start_repositories(target)
    _furnish(repo, room, ids, subjects)
    return room


def fresh_models(
    repo: Repo,
    target: Path,
    ids: Sequence[str],
    subjects: Sequence[str] = (),
    stages: Sequence[str] = (),
) -> dict[str, bytes]:
    """Return what stands below models/ in a clean room, made by the stages without DVC.

    All stages but `verify`, which makes none of it, are run if none is named.
    """
    room = Repo(target)
    target.mkdir(parents=True)
    _furnish(repo, room, ids, subjects)
    room.stages(*(stages or room.stages_of_models()))
    return room.files("models")


def _furnish(repo: Repo, room: Repo, ids: Sequence[str], subjects: Sequence[str]) -> None:
    path = repo.root / repo.params()["dataset"]["path"]
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    kept = frame[~frame["id"].isin(ids)]
    if subjects:
        kept = kept[~kept["person"].isin(subjects)]
    for name in ("params.yaml", *FILES, "dvc.yaml", ".gitignore", "unlearn.key"):
        if (repo.root / name).is_file():
            shutil.copy2(repo.root / name, room.root / name)
    for extra in (*repo.root.glob("*.py"), *repo.root.glob("*.safetensors")):
        shutil.copy2(extra, room.root / extra.name)
    (room.root / "data").mkdir()
    kept.to_csv(room.root / path.relative_to(repo.root), index=False)
    (room.root / "data/forget_list.txt").write_bytes(b"")
    (room.root / "data/suppressed.txt").write_bytes(b"")


def take_log(repo: Repo, other: Repo) -> None:
    """Give a project the request log of another: the times of requests differ, nothing else."""
    shutil.rmtree(repo.root / "data/requests", ignore_errors=True)
    shutil.copytree(other.root / "data/requests", repo.root / "data/requests")


def without_log(names: Iterable[str]) -> set[str]:
    """Return the names of files that are neither of the request log nor follow from it."""
    return {
        name for name in names if not name.startswith(("data/requests/", "data/suppressed.txt"))
    }


def token_of(repo: Repo, raw: str, kind: Kind = "record") -> str:
    """Return the token that stands for an id in a project."""
    return Tokenizer(key_of(repo)).token(kind, raw)


def key_of(repo: Repo) -> Key:
    """Return the key of a project, with the older ones."""
    return key_of_text((repo.root / "unlearn.key").read_text(encoding="ascii"))


def places(repo: Repo) -> dict[str, Place]:
    """Return where every record of the dataset goes, by its raw id."""
    params = repo.params()
    sharding, dataset = params["sharding"], params["dataset"]
    tokenizer = Tokenizer(key_of(repo))
    frame = pd.read_csv(repo.root / dataset["path"], dtype=str, keep_default_na=False)
    kind: Kind = "record" if dataset["subject"] is None else "subject"
    return {
        raw: place(
            tokenizer.token(kind, governing),
            len(sharding["shards"]),
            sharding["slices"],
            sharding["holdout"],
        )
        for raw, governing in zip(frame["id"], frame[dataset["subject"] or "id"], strict=True)
    }


def at_chance(interval: Sequence[float]) -> bool:
    """Tell whether an attack's interval says that it finds nothing.

    One of 95 % misses the half once in twenty, by a little; what is in a model lies from 0.6 on.

    Parameters
    ----------
    interval
        Both ends of the interval of an AUC.
    """
    low, high = interval
    return low < 0.55 and high > 0.45


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Path]:
    """Yield an empty folder, and remove it afterwards: projects carry DVC caches."""
    yield tmp_path
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the offline base of .13 M parameters, as the example makes it."""
    from unlearn.cli.examples.tiny_base import make_base

    from tests.language_models import made_once

    return made_once(tmp_path_factory, "tiny", lambda folder: make_base(folder, "tiny", 1))


@pytest.fixture(scope="session")
def blank_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a base of the same shape that has learned nothing: quickly made."""
    from tests.language_models import made_once, make_blank_base

    return made_once(tmp_path_factory, "blank", make_blank_base)
