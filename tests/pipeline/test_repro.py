"""`unlearn repro`: DVC records what it ran, and nothing else, with one command."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Repo, fresh_models, take_log
from tests.pipeline.conftest import FORGOTTEN, ids_at, stages_run, wait_for

#: Notes every start of DVC, from inside the new process; takes out a part of DVC where it is to be
#: used as a library.
_NOTES = """
import importlib, os, sys
library = "unlearn.stages.dvc.child" in sys.orig_argv
if (library or "dvc" in sys.orig_argv) and os.environ.get("STARTS"):
    with open(os.environ["STARTS"], "a") as notes:
        notes.write(" ".join(sys.orig_argv[2:]) + "\\n")
if library and os.environ.get("WITHOUT"):
    module, _, name = os.environ["WITHOUT"].partition(":")
    delattr(importlib.import_module(module), name)
"""

OWN_STAGES = """
  prepare:
    cmd: python -c "import shutil; shutil.copy('raw.csv', 'data/dataset.csv')"
    deps:
      - raw.csv
    outs:
      - data/dataset.csv
  publish:
    cmd: python -c "import shutil; shutil.copy('models/final_model/ensemble.json', 'published.txt')"
    deps:
      - models/final_model
    outs:
      - published.txt
  count:
    cmd: python -c "open('count.txt', 'w').write(str(len(open('published.txt').read())))"
    deps:
      - published.txt
    outs:
      - count.txt:
          cache: false
"""


def times(repo: Repo) -> dict[str, int]:
    """Return when each file of the project last changed, by its path."""
    skipped = (".git/", ".dvc/tmp/", ".unlearn/")
    found = {}
    for path in sorted(repo.root.rglob("*")):
        name = path.relative_to(repo.root).as_posix()
        if path.is_file() and not name.startswith(skipped):
            found[name] = path.stat().st_mtime_ns
    return found


def starts_of_dvc(repo: Repo, *arguments: str, without: str = "") -> list[str]:
    """Run `unlearn`, and return the commands of every DVC that it started.

    Parameters
    ----------
    repo, *arguments
        The project, and the command.
    without
        Module and name of what the DVC that is used as a library does not have.
    """
    folder = repo.root.parent / "notes"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(_NOTES, encoding="utf-8")
    notes = folder / "starts"
    notes.write_text("", encoding="utf-8")
    env = {"PYTHONPATH": str(folder), "STARTS": str(notes), "WITHOUT": without}
    done = repo.unlearn(*arguments, env=env)
    assert done.code == 0, done.err
    assert ("note: DVC is run by its commands" in done.err) == bool(without)
    return notes.read_text(encoding="utf-8").splitlines()


#: How `unlearn repro` starts DVC, and the commands that do the same in the place of that.
_LIBRARY = "unlearn.stages.dvc.child"
_STATUS, _COMMIT = "dvc status --json --with-deps verify", "dvc commit --force dvc.yaml"


@pytest.mark.slow
def test_dvc_is_started_once_and_a_run_with_nothing_to_do_changes_no_file(mlp: Repo) -> None:
    mlp.forget(FORGOTTEN)

    assert starts_of_dvc(mlp, "repro", "-j", "1") == [_LIBRARY]
    before = times(mlp)
    assert starts_of_dvc(mlp, "repro", "-j", "1") == [_LIBRARY]
    assert times(mlp) == before
    assert stages_run(mlp.dvc("repro").out) == []
    assert times(mlp) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("without", "commands"),
    [("dvc.rwlock:rwlock", [_STATUS, _COMMIT]), ("dvc.stage.serialize:to_lockfile", [_COMMIT])],
)
def test_a_dvc_that_is_another_inside_is_run_by_its_commands(
    mlp: Repo, forgotten: Repo, without: str, commands: list[str]
) -> None:
    mlp.forget(FORGOTTEN)
    take_log(mlp, forgotten)

    assert starts_of_dvc(mlp, "repro", "-j", "1", without=without) == [_LIBRARY, *commands]
    assert mlp.snapshot() == forgotten.snapshot()


def test_an_entry_of_a_training_is_short(mlp: Repo) -> None:
    lock = (mlp.root / "dvc.lock").read_text(encoding="utf-8")
    entry = lock[lock.index("  train@s001:") : lock.index("  train@s002:")]

    assert len(entry.splitlines()) == 17
    assert "params" not in entry


@pytest.mark.slow
def test_stages_of_the_users_own_run_before_and_after(mlp: Repo, workspace: Path) -> None:
    (mlp.root / "data/dataset.csv").rename(mlp.root / "raw.csv")
    (mlp.root / "data/dataset.csv.dvc").unlink()
    pipeline = mlp.root / "dvc.yaml"
    text = pipeline.read_text(encoding="utf-8")
    pipeline.write_text(text.replace("\n# Plots", f"{OWN_STAGES}\n# Plots", 1), encoding="utf-8")
    (mlp.root / ".gitignore").open("a", encoding="utf-8").write("published.txt\n")
    raw = (mlp.root / "raw.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (mlp.root / "raw.csv").write_text("".join(raw[:-1]), encoding="utf-8")
    mlp.forget(FORGOTTEN)
    other = mlp.copy(workspace / "other")

    mlp.ok("repro", "-j", "1")
    other.dvc("repro")

    assert mlp.lock() == other.lock()
    assert list(mlp.lock())[-2:] == ["publish", "count"]
    assert mlp.snapshot() == other.snapshot()
    assert (mlp.root / "count.txt").is_file()
    assert stages_run(mlp.dvc("repro").out) == stages_run(other.dvc("repro").out) == []
    before = times(mlp)
    mlp.ok("repro")
    assert times(mlp) == before


@pytest.mark.slow
def test_a_line_that_comes_while_stages_run_is_applied_by_the_same_run(
    people: Repo, workspace: Path
) -> None:
    first = [raw for raw in ids_at(people, "s001") if raw.endswith("7")]
    late = ids_at(people, "s000")[0]
    people.forget(first)
    private = people.root / ".unlearn"
    (private / "hold").touch()
    run = people.start("repro", "-j", "1")
    wait_for((private / "held").exists)
    people.forget([late])
    (private / "hold").unlink()
    _, said = run.communicate()

    assert run.returncode == 0, said
    assert people.files("models") == fresh_models(people, workspace / "room", [*first, late])
    assert people.inline("status", "--json").json["pending"] == 0
    assert stages_run(people.dvc("repro").out) == []


def _settings(repo: Repo) -> None:
    repo.set_params(train={"epochs": 2})


def _fewer(repo: Repo) -> None:
    repo.set_params(sharding={"shards": ["s000", "s001"]})


def _request(repo: Repo) -> None:
    repo.forget(ids_at(repo, "s000")[:1])


def _nothing(_: Repo) -> None:
    """Leave it as it is: a project that never ran."""


#: A project of either template, and what changes in it.
CHANGES: list[tuple[str, Callable[[Repo], None]]] = [
    ("people", _request),
    ("people", _fewer),
    ("posthoc_people", _request),
    ("new_posthoc_people", _nothing),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("project", "change"), CHANGES, ids=[f"{name}{change.__name__}" for name, change in CHANGES]
)
def test_dvc_lock_is_that_of_plain_dvc(
    request: pytest.FixtureRequest, workspace: Path, project: str, change: Callable[[Repo], None]
) -> None:
    repo: Repo = request.getfixturevalue(project)
    other = repo.copy(workspace / "other")
    for each in (repo, other):
        change(each)
    if change is _request:  # the time of a request is the one thing that differs
        take_log(other, repo)

    repo.ok("repro", "-j", "1")
    other.dvc("repro")

    assert (repo.root / "dvc.lock").read_bytes() == (other.root / "dvc.lock").read_bytes()
    assert _snapshot(repo) == _snapshot(other)


def _snapshot(repo: Repo) -> dict[str, bytes]:
    """Return all that a run could change, but how long post-hoc methods took."""
    found = repo.snapshot()
    found.pop("reports/timings.json", None)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("project", ["people", "posthoc_people"])
def test_after_a_failed_training_and_a_kill_dvc_lock_is_that_of_plain_dvc(
    request: pytest.FixtureRequest, workspace: Path, project: str
) -> None:
    repo: Repo = request.getfixturevalue(project)
    _settings(repo)
    other = repo.copy(workspace / "other")
    fail, hold = repo.root / ".unlearn/fail", repo.root / ".unlearn/hold"
    fail.touch()
    failed = repo.unlearn("repro", "-j", "1")
    assert failed.code not in (0, None)
    assert "recipe" in repo.lock()
    recorded = repo.lock()["recipe"]
    fail.unlink()
    hold.touch()
    run = repo.start("repro", "-j", "2")
    wait_for((repo.root / ".unlearn/held").exists)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    hold.unlink()

    # Shards that are trained side by side are recorded in their order all the same.
    repo.ok("repro", "-j", "2")
    other.dvc("repro")

    assert repo.lock()["recipe"] == recorded
    assert (repo.root / "dvc.lock").read_bytes() == (other.root / "dvc.lock").read_bytes()
    assert _snapshot(repo) == _snapshot(other)
    shutil.rmtree(other.root)


#: A network whose code changes a file of settings whenever it runs.
_RESTLESS = """
from torch import nn


def build(inputs, classes, hidden):
    with open({schema!r}, "a") as schema:
        schema.write("# again\\n")
    return nn.Linear(inputs, classes)
"""


@pytest.mark.slow
def test_files_that_go_on_changing_end_the_run(people: Repo) -> None:
    net = _RESTLESS.format(schema=str(people.root / "schema.yaml"))
    (people.root / "net.py").write_text(net, encoding="utf-8")
    before = people.lock()["verify"]

    done = people.unlearn("repro", "-j", "1")

    assert (done.code, "files that the stages read go on changing" in done.err) == (3, True)
    assert people.lock()["verify"] == before
