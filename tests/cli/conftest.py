"""Projects that the command is run in, made once and copied."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import Done, Repo, make_frame, make_project, places, start_repositories
from tests.forked_python import _forks_of_python  # noqa: F401 - a fixture of this package

NAIVE_BAYES = {"model": "sklearn.naive_bayes.GaussianNB", "options": {}}

FRAME = make_frame(90)
IDS: list[str] = FRAME["id"].tolist()
PEOPLE = make_frame(90, subjects=25)

#: Stands in cells, ids and names that no message may repeat.
SECRET = "jane.roe"


def everything(root: Path) -> dict[str, bytes | str]:
    """Return all files and folders below a folder, but locks and what DVC keeps for a moment."""
    found: dict[str, bytes | str] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if not name.startswith((".unlearn", ".dvc/tmp", ".dvc/site")):
            found[name] = path.read_bytes() if path.is_file() else "folder"
    return found


#: What a command may leave that did nothing: it is faster with them, and says the same.
_CACHES = {"timings.json", "digests.json", "history.json", "file_marks.json", "contacts.sqlite"}


def only_locks(root: Path) -> None:
    """Insist that a command that did nothing left nothing of its own but locks."""
    private = root / ".unlearn"
    files = [path for path in private.rglob("*") if path.is_file()] if private.is_dir() else []
    assert all(path.parent.name == "locks" or path.name in _CACHES for path in files), files


def refused(done: Done, code: int = 2) -> str:
    """Insist that a command ended with one error line, hints below it, and no traceback."""
    lines = done.err.splitlines()
    assert done.code == code, (done.code, done.out, done.err)
    assert done.out == ""
    assert lines[0].startswith("error: ")
    assert all(line.startswith("hint: ") for line in lines[1:]), done.err
    return lines[0].removeprefix("error: ")


@contextmanager
def unchanged(root: Path) -> Iterator[None]:
    """Insist that what runs in the block changes nothing on disk."""
    before = everything(root)
    yield
    after = everything(root)
    assert not {name for name in after.keys() | before if after.get(name) != before.get(name)}
    only_locks(root)


def init(repo: Repo, *arguments: str) -> Done:
    """Run `unlearn init` in this process."""
    return repo.inline("init", *arguments)


def run_all(repo: Repo) -> None:
    """Do what `dvc repro` does, in this process, and let DVC record it."""
    repo.stages()
    repo.dvc("commit", "--force", "--quiet")
    repo.commit("run")


#: The methods of the project that the fixture `compared` returns; the last does not apply.
METHODS = ["retrain", "ssd", "negative_gradient_plus", "certified_removal"]


def run_methods(repo: Repo, *stages: str) -> None:
    """Do what `dvc repro` does in a project without shards: all stages, or those that are named."""
    methods = [f"unlearn@{method}" for method in METHODS]
    repo.stages(*(stages or ("shard", "train", "forget", "young", *methods, "aggregate", "verify")))
    repo.dvc("commit", "--force", "--quiet")
    repo.commit("run")


@pytest.fixture(scope="session")
def _fresh(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    root = tmp_path_factory.mktemp("cli") / "fresh"
    return make_project(root, FRAME, "--shards", "3", "--slices", "1", train=NAIVE_BAYES)


@pytest.fixture(scope="session")
def _done(_fresh: Repo, tmp_path_factory: pytest.TempPathFactory) -> Repo:
    repo = _fresh.copy(tmp_path_factory.mktemp("cli") / "done")
    run_all(repo)
    return repo


@pytest.fixture(scope="session")
def _compared(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    root = tmp_path_factory.mktemp("cli") / "compared"
    small = {"model": "mlp", "options": {"hidden": [8]}, "epochs": 5}
    repo = make_project(root, make_frame(240), "--template", "posthoc", train=small)
    repo.set_params(unlearn={"methods": METHODS, "deploy": "retrain"})
    where = places(repo)
    ids = [raw for raw in where if not where[raw].is_holdout][:40]
    (repo.root / "ids.txt").write_text("\n".join(ids) + "\n", encoding="ascii")
    assert repo.inline("forget", "--ids", "ids.txt").code == 0
    (repo.root / "ids.txt").unlink()
    run_methods(repo)
    return repo


@pytest.fixture(scope="session")
def _people(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    root = tmp_path_factory.mktemp("cli") / "people"
    return make_project(root, PEOPLE, "--shards", "2", "--slices", "1", train=NAIVE_BAYES)


@pytest.fixture(scope="session")
def _repositories(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    return start_repositories(tmp_path_factory.mktemp("cli") / "repositories")


@pytest.fixture
def fresh(_fresh: Repo, tmp_path: Path) -> Iterator[Repo]:
    """Yield a project before its first run, for the test to change."""
    yield from _copied(_fresh, tmp_path)


@pytest.fixture
def done(_done: Repo, tmp_path: Path) -> Iterator[Repo]:
    """Yield a project after a run, committed, for the test to change."""
    yield from _copied(_done, tmp_path)


@pytest.fixture
def compared(_compared: Repo, tmp_path: Path) -> Iterator[Repo]:
    """Yield a project without shards after a request and a run of all methods, committed."""
    yield from _copied(_compared, tmp_path)


@pytest.fixture
def people(_people: Repo, tmp_path: Path) -> Iterator[Repo]:
    """Yield a project with subjects, before its first run."""
    yield from _copied(_people, tmp_path)


@pytest.fixture
def repositories(_repositories: Repo, tmp_path: Path) -> Iterator[Repo]:
    """Yield a git and DVC repository that is no project yet."""
    yield from _copied(_repositories, tmp_path)


def _copied(repo: Repo, folder: Path) -> Iterator[Repo]:
    copy = repo.copy(folder / repo.root.name)
    yield copy
    shutil.rmtree(copy.root, ignore_errors=True)


def is_token_line(line: str) -> bool:
    """Tell whether a line of the forget list is what a command writes."""
    return re.fullmatch(r"u1_[0-9a-f]{64}(\.u1_[0-9a-f]{64})?", line) is not None
