"""Projects that were run once and are copied for every test: a run costs many seconds."""

import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.chat_templates import make_chat_base
from tests.conftest import Repo, make_frame, make_project, places
from tests.forked_dvc import call_dvc
from tests.forked_python import _forks_of_python  # noqa: F401 - a fixture of this package
from tests.language_models import made_once
from tests.pipeline.chat_projects import make_chat_project

MLP: dict[str, Any] = {"model": "mlp", "options": {"hidden": [8], "dropout": 0.1}}
SGD: dict[str, Any] = {
    "model": "sklearn.linear_model.SGDClassifier",
    "options": {"loss": "log_loss"},
}
BAYES: dict[str, Any] = {"model": "sklearn.naive_bayes.GaussianNB", "options": {}}
FOREST: dict[str, Any] = {
    "model": "sklearn.ensemble.RandomForestClassifier",
    "options": {"n_estimators": 3, "max_depth": 3},
}

#: Rows of the project that the fixture `small` returns.
SMALL_ROWS = 60

#: One key for all of them, so that every record has its place in every session.
KEY = hashlib.sha256(b"the key of the tests").hexdigest()

#: What the project `forgotten` was asked for: two records of s001, one of s003, one held out.
FORGOTTEN = ("r0017", "r0020", "r0042", "r0011")

#: A user's own torch module that training can be stopped in: the tests' own hook, made of
#: nothing but the promise that a user's code is run.
NET = '''\
"""A small network; waits while .unlearn/hold exists, and fails while .unlearn/fail does."""

import time
from pathlib import Path

from torch import nn

_PRIVATE = Path(__file__).resolve().parent / ".unlearn"


def build(inputs: int, classes: int, hidden: int = 8) -> nn.Module:
    if (_PRIVATE / "fail").exists():
        raise RuntimeError("as the test asked")
    if (_PRIVATE / "hold").exists():
        (_PRIVATE / "held").touch()
        while (_PRIVATE / "hold").exists():
            time.sleep(0.01)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, classes))
'''


def ids_at(repo: Repo, shard: str, slices: range | None = None) -> list[str]:
    """Return the records of a shard, or of some of its slices, in the dataset's order."""
    return [
        raw
        for raw, place in places(repo).items()
        if place.shard == shard and (slices is None or place.slice in slices)
    ]


def stages_run(output: str) -> list[str]:
    """Return the stages that DVC says it ran, in order."""
    return re.findall(r"^Running stage '([^']+)'", output, flags=re.MULTILINE)


def changed(before: dict[str, bytes], after: dict[str, bytes]) -> set[str]:
    """Return the files that came, went or have other bytes."""
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def run_repro(repo: Repo, module: str) -> tuple[int, str]:
    """Run the pipeline with `unlearn.cli` or `dvc`; return exit code and standard error."""
    if module == "dvc":
        code, _, said = call_dvc(["repro"], repo.root, os.environ)
        return code, said
    done = repo.unlearn("repro", "-j", "1")
    return done.code, done.err


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock that the workers of one test session share."""
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def wait_for(what: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until something holds; fail if it never does."""
    deadline = time.monotonic() + seconds
    asked = time.monotonic()
    while not what():
        answered = time.monotonic()
        assert answered < deadline, "what the test waited for never came"
        # What is dear to ask for, as a list of all processes is, is asked for less often.
        time.sleep(max(0.005, 4 * (answered - asked)))
        asked = time.monotonic()


def running(repo: Repo, *words: str) -> list[int]:
    """Return the processes in a project whose command line ends with these words."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            here = (entry / "cwd").readlink()
        except OSError:
            continue  # it has ended; of a zombie nothing can be read
        if here == repo.root and command[-len(words) :] == [word.encode() for word in words]:
            found.append(int(entry.name))
    return found


def kill_group(process: subprocess.Popen[str]) -> None:
    """Kill a process that leads a group, and all that it started, as a power cut would."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def change_a_weight(path: Path) -> None:
    """Change one number in a safetensors file, which stays well-formed."""
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


@dataclass(frozen=True)
class Shape:
    """A model, and how many shards and slices."""

    train: dict[str, Any]
    shards: int
    slices: int


def without_dvc(small: Repo, target: Path, shape: Shape, *, by: str = "record") -> Repo:
    """Return a copy of a project, without git and DVC, to run its stages in this process.

    Parameters
    ----------
    small
        The project.
    target
        Where; what stands there is removed.
    shape
        The model and the plan to give it.
    by
        What decides a row's place: its `record`, or its `subject`.
    """
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(small.root, target, ignore=shutil.ignore_patterns(".git", ".dvc"))
    repo = Repo(target)
    repo.set_params(
        train=shape.train | {"epochs": 2},
        sharding={
            "shards": [f"s{number:03d}" for number in range(shape.shards)],
            "slices": shape.slices,
        },
        dataset={"subject": "person", "subject_type": "text"}
        if by == "subject"
        else {"subject": None, "subject_type": None},
    )
    return repo


Making = Callable[[Path], Repo]


class Bases:
    """Projects by name, made by whichever worker first asks for one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)

    def get(self, name: str, make: Making) -> Repo:
        """Return the project; nobody may change it."""
        root = self._folder / name
        done = self._folder / f"{name}.done"
        with _alone(self._folder / f"{name}.lock"):
            if not done.exists():
                make(root)
                done.touch()
        return Repo(root)


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Bases:
    """Return the projects that all workers of this session share."""
    own = tmp_path_factory.getbasetemp()
    return Bases((own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "bases")


def _ran(repo: Repo) -> Repo:
    repo.ok("repro", "-j", "1")
    repo.commit("run")
    return repo


def _make_mlp(root: Path) -> Repo:
    return make_project(root, make_frame(), "--shards", "4", "--slices", "5", train=MLP, key=KEY)


def _make_people(root: Path) -> Repo:
    frame = make_frame(subjects=40)
    # Ids that cannot stand anywhere by chance, to be looked for.
    frame["id"] = frame["id"].str.replace("r", "zqrec-")
    frame["person"] = frame["person"].str.replace("p", "zqman-")
    repo = make_project(root, frame, "--shards", "3", "--slices", "3", key=KEY)
    _use_net(repo)
    # Its first run is not what is tested: its stages, and what DVC records of them.
    repo.stages()
    repo.dvc("commit", "--force", "--quiet")
    repo.commit("run")
    return repo


def _use_net(repo: Repo) -> None:
    """Give a project the model of `NET`."""
    (repo.root / "net.py").write_text(NET, encoding="utf-8")
    pipeline = repo.root / "dvc.yaml"
    schema = "      - schema.yaml\n"
    text = pipeline.read_text(encoding="utf-8").replace(schema, f"{schema}      - net.py\n", 1)
    pipeline.write_text(text, encoding="utf-8")
    repo.set_params(train={"model": "net.py:build", "options": {"hidden": 6}})
    repo.commit("net")


def _make_posthoc_people(root: Path) -> Repo:
    options = ("--template", "posthoc", "--holdout", "0.3")
    repo = make_project(root, make_frame(120, subjects=40), *options, key=KEY)
    repo.set_params(unlearn={"methods": ["retrain", "finetune"], "deploy": "retrain"})
    _use_net(repo)
    return repo


@pytest.fixture(scope="session")
def small(bases: Bases) -> Repo:
    """Return a project that was never run, with persons; for `without_dvc`."""

    def make(root: Path) -> Repo:
        options = ("--shards", "2", "--slices", "1")
        return make_project(root, make_frame(SMALL_ROWS, subjects=25), *options, key=KEY)

    return bases.get("small", make)


@pytest.fixture
def new_mlp(bases: Bases, workspace: Path) -> Repo:
    """Return a torch project, 4 shards of 5 slices, that has never run."""
    return bases.get("new", _make_mlp).copy(workspace / "new")


def _mlp(bases: Bases) -> Repo:
    def make(root: Path) -> Repo:
        return _ran(bases.get("new", _make_mlp).copy(root))

    return bases.get("mlp", make)


@pytest.fixture
def mlp(bases: Bases, workspace: Path) -> Repo:
    """Return a torch project, 4 shards of 5 slices, that is up to date."""
    return _mlp(bases).copy(workspace / "mlp")


@pytest.fixture
def forgotten(bases: Bases, workspace: Path) -> Repo:
    """Return the torch project after a request that was carried out."""

    def make(root: Path) -> Repo:
        repo = _mlp(bases).copy(root)
        repo.forget(FORGOTTEN)
        return _ran(repo)

    return bases.get("forgotten", make).copy(workspace / "forgotten")


@pytest.fixture
def people(bases: Bases, workspace: Path) -> Repo:
    """Return a project that is up to date, 3 shards of 3 slices.

    Its dataset names persons, and its model is a user's own torch module, which can be held and
    made to fail.
    """
    return bases.get("people", _make_people).copy(workspace / "people")


@pytest.fixture
def new_posthoc_people(bases: Bases, workspace: Path) -> Repo:
    """Return a project without shards, with the model of `people`, that has never run."""
    return bases.get("new-posthoc-people", _make_posthoc_people).copy(workspace / "new-posthoc")


@pytest.fixture
def posthoc_people(bases: Bases, workspace: Path) -> Repo:
    """Return the project without shards after its first run."""

    def make(root: Path) -> Repo:
        return _ran(bases.get("new-posthoc-people", _make_posthoc_people).copy(root))

    return bases.get("posthoc-people", make).copy(workspace / "posthoc-people")


@pytest.fixture(scope="session")
def chat_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a base that has learned nothing, whose tokenizer has a chat template."""
    return made_once(tmp_path_factory, "chat-base", make_chat_base)


@pytest.fixture
def chats(bases: Bases, chat_base: Path, workspace: Path) -> Repo:
    """Return a project of chats with two adapters that is up to date."""

    def make(root: Path) -> Repo:
        return _ran(make_chat_project(root, chat_base, "--shards", "2", "--slices", "1"))

    return bases.get("chats", make).copy(workspace / "chats")
