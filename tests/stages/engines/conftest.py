"""Projects on disk whose shards are to be trained, as a node finds them."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from unlearn.stages.context import Context, open_project
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.tokens import Key

from tests.conftest import make_frame, write_settings
from tests.stages.conftest import KEY, make_context, make_params, run_stages

SHARDS = [f"s{number:03d}" for number in range(6)]

#: A user's own module of one weight per class, quick to import beside torch; it notes the process
#: that trains, and does what files beside it ask for.
NET = """\
import os
import signal
import time
from pathlib import Path

from torch import nn

_HERE = Path(__file__).resolve().parent


def build(inputs, classes):
    with (_HERE / "pids").open("a") as notes:
        notes.write(f"{os.getpid()}\\n")
    if (_HERE / "fail").exists():
        raise RuntimeError("zq-value-of-a-row")
    if (_HERE / "die").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    while (_HERE / "hold").exists():
        time.sleep(0.01)
    return nn.Linear(inputs, classes)
"""


OWN = {"model": "net.py:build", "epochs": 1, "batch": 8, "device": "cpu"}


@dataclass(frozen=True)
class Trainable:
    """A project before its shards are trained, and the models that it is to have."""

    context: Context
    models: dict[str, bytes]

    @property
    def root(self) -> Path:
        """The project's folder."""
        return self.context.project.root

    def found(self) -> dict[str, bytes]:
        """Return the files of all shard models, as they are now."""
        return read_models(self.root)


def read_models(root: Path) -> dict[str, bytes]:
    folder = root / "models/shard_models"
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def make(
    root: Path, train: dict[str, object], frame: pd.DataFrame | None = None, key: Key = KEY
) -> dict[str, bytes]:
    """Make a project with every shard trained, and return the models; then take these away."""
    params = make_params(shards=len(SHARDS), slices=2, train=train, key=key)
    context = make_context(root, make_frame(90) if frame is None else frame, params)
    write_settings(root, params.model_dump(mode="json", exclude_none=True))
    (root / "dvc.yaml").write_text("stages: {}\n", encoding="ascii")
    (root / "unlearn.key").write_text(f"{key.text}\n", encoding="ascii")
    if context.code is not None:
        context.code.write_text(NET, encoding="ascii")
    context = open_project(Project(root))
    run_stages(context)
    models = read_models(root)
    shutil.rmtree(root / "models")
    (root / "pids").unlink(missing_ok=True)
    return models


@pytest.fixture(scope="session")
def _plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    root = tmp_path_factory.mktemp("plain") / "project"
    return root, make(root, {"model": "sklearn.naive_bayes.GaussianNB"})


@pytest.fixture(scope="session")
def _own(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    root = tmp_path_factory.mktemp("own") / "project"
    return root, make(root, OWN)


def _copy(made: tuple[Path, dict[str, bytes]], target: Path) -> Trainable:
    root, models = made
    shutil.copytree(root, target)
    return Trainable(open_project(Project(target)), models)


@pytest.fixture
def plain(_plain: tuple[Path, dict[str, bytes]], tmp_path: Path) -> Trainable:
    """Return a scikit-learn project."""
    return _copy(_plain, tmp_path / "project")


@pytest.fixture
def own(_own: tuple[Path, dict[str, bytes]], tmp_path: Path) -> Trainable:
    """Return a project of a user's own torch module, `NET`."""
    return _copy(_own, tmp_path / "project")
