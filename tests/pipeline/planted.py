"""A project with copies of rows in every place that DVC and git have."""

import shutil
from pathlib import Path

import pandas as pd

from tests.conftest import Repo, make_frame, make_project
from tests.pipeline.conftest import BAYES, KEY

#: The records to erase, and a text that only one of them has.
GONE = ("zqrec-0017", "zqrec-0020", "zqrec-0042")
RARE = "Zanzibar-qx-7"
REMOTES = ("one", "two")

#: Everything but the working tree that uses objects of its own.
EVERYWHERE = ("--branch", "side", "--stash", "--experiments", "--reflog")


def _add_row(repo: Repo, raw: str) -> None:
    """Add a row to the dataset, as a new version of it."""
    path = repo.root / "data/dataset.csv"
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    row = frame.iloc[[0]].assign(id=raw)
    pd.concat([frame, row]).to_csv(path, index=False)
    repo.dvc("add", "--quiet", "data/dataset.csv")


def plant(root: Path) -> Repo:
    """Make a project with copies of rows in every place that DVC and git have.

    Two remotes with the run cache, older versions of the dataset and of the models, another branch,
    an experiment and a stash with versions of their own.
    """
    frame = make_frame(90)
    frame["id"] = frame["id"].str.replace("r", "zqrec-")
    frame.loc[frame["id"] == GONE[0], "city"] = RARE
    repo = make_project(root, frame, "--shards", "3", "--slices", "1", key=KEY, train=BAYES)
    for name in REMOTES:
        folder = root.parent / f"{root.name}-{name}"
        repo.dvc("remote", "add", "--quiet", "--local", name, str(folder))
    repo.dvc("config", "--local", "core.remote", REMOTES[0])
    _run(repo, "first run")
    _add_row(repo, "zqrec-9001")
    _run(repo, "more rows")
    default = default_branch(repo)

    repo.git("checkout", "--quiet", "-b", "side")
    _add_row(repo, "zqnew-side")
    _push(repo, "side")
    repo.git("checkout", "--quiet", "-b", "try")
    _add_row(repo, "zqnew-try")
    _push(repo, "try")
    repo.git("update-ref", "refs/exps/ab/cdef/one", "try")
    repo.git("checkout", "--quiet", default)
    repo.git("branch", "--quiet", "-D", "try")
    repo.dvc("checkout", "--quiet")
    _add_row(repo, "zqnew-stash")
    repo.dvc("push", "--quiet")
    repo.git("stash")
    repo.dvc("checkout", "--quiet")

    repo.forget(GONE, "--ticket", "T-1")
    _run(repo, "request")
    return repo


def default_branch(repo: Repo) -> str:
    """Return the name of the default branch, which depends on the machine."""
    name = repo.params()["ledger"]["branch"]
    assert isinstance(name, str)
    return name


def _run(repo: Repo, message: str) -> None:
    repo.inline("repro")
    _push(repo, message)


def _push(repo: Repo, message: str) -> None:
    repo.commit(message)
    for name in REMOTES:
        repo.dvc("push", "--quiet", "--run-cache", "--remote", name)


def stores(repo: Repo) -> list[Path]:
    """Return DVC's cache and the remotes."""
    remotes = [repo.root.parent / f"{repo.root.name}-{name}" for name in REMOTES]
    return [repo.root / ".dvc/cache", *remotes]


def copy_planted(source: Repo, root: Path) -> Repo:
    """Return a copy of the project with remotes of its own; what is there is removed."""
    shutil.rmtree(root, ignore_errors=True)
    repo = source.copy(root)
    for name in REMOTES:
        folder = root.parent / f"{root.name}-{name}"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source.root.parent / f"{source.root.name}-{name}", folder)
        repo.dvc("remote", "add", "--quiet", "--local", name, str(folder))
    repo.dvc("config", "--local", "core.remote", REMOTES[0])
    return repo
