"""The Python interface: what the commands answer, from any folder, without printing."""

import inspect
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import unlearn
from unlearn import InputError, Project, run
from unlearn.cli.plan import rows_of_shards
from unlearn.stages.context import open_project
from unlearn.stages.project.paths import find_project

from tests.cli.conftest import FRAME, IDS, SECRET, everything, unchanged
from tests.conftest import Repo

#: All of the public interface. Who changes it changes what people's programs call.
NAMES = {
    "AuditAnswer",
    "BusyError",
    "ExactBoostingClassifier",
    "ExactBoostingRegressor",
    "ExactForestClassifier",
    "ExactForestRegressor",
    "ExactLinearClassifier",
    "ExactLinearRegressor",
    "ExactNaiveBayesClassifier",
    "ForgetAnswer",
    "InputError",
    "LanguageModel",
    "MethodsPlanAnswer",
    "PlanAnswer",
    "Project",
    "Report",
    "ReproAnswer",
    "Sampling",
    "TableClassifier",
    "TableRegressor",
    "ToolError",
    "UnlearnError",
    "__version__",
    "load_model",
}

#: Public attributes of classes; those of scikit-learn's own base classes are scikit-learn's.
ATTRIBUTES = {
    "Project": {"audit", "category_key", "forget", "load_model", "open", "plan", "repro", "verify"},
    "TableClassifier": {"feature_importances_", "fit", "predict", "predict_proba", "score"},
    "TableRegressor": {"feature_importances_", "fit", "predict", "score"},
    "LanguageModel": {"generate", "logprobs", "perplexity", "stream", "tokens"},
    "UnlearnError": {"exit_code"},
}

PARAMETERS = {
    "forget": "ids subjects ticket received regime unknown strict dry_run",
    "plan": "ids subjects jobs",
    "repro": "jobs engine command address now switch_off switch_on",
    "verify": "full before",
    "audit": "old new rerun",
    "load_model": "trust_code",
    "open": "path",
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))


@pytest.fixture
def _silent(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    yield
    assert capfd.readouterr() == ("", "")


def public(kind: type) -> set[str]:
    """Return the public attributes that classes of this package define."""
    own = [base for base in kind.__mro__ if base.__module__.startswith("unlearn")]
    # Scikit-learn adds methods that begin with set_.
    return {name for base in own for name in vars(base) if not name.startswith(("_", "set_"))}


def test_the_public_names_are_these() -> None:
    assert set(unlearn.__all__) == set(dir(unlearn)) == NAMES
    for name in NAMES:
        assert getattr(unlearn, name) is not None
    for name, expected in ATTRIBUTES.items():
        assert public(getattr(unlearn, name)) == expected, name
    for name, parameters in PARAMETERS.items():
        signature = inspect.signature(getattr(Project, name))
        assert " ".join(each for each in signature.parameters if each != "self") == parameters
    found = inspect.signature(unlearn.load_model).parameters
    assert list(found) == ["path", "root", "base", "trust_code", "as_written", "category_key"]


def test_errors_have_codes_and_hints() -> None:
    codes = {"InputError": 2, "ToolError": 3, "BusyError": 4}
    for name, code in codes.items():
        kind = getattr(unlearn, name)
        assert issubclass(kind, unlearn.UnlearnError)
        error = kind("no", "do this")
        assert (error.exit_code, error.hints, error.message, str(error)) == (
            (code, ("do this",), "no", "no")
        )


def test_a_project_is_found_from_any_path_in_it(done: Repo, tmp_path: Path) -> None:
    for path in (done.root, str(done.root), done.root / "data/shards", done.root / "dvc.yaml"):
        assert Project.open(path).root == done.root
    assert repr(Project.open(done.root)) == f"Project({str(done.root)!r})"
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(InputError, match="^other is not in an unlearn project") as raised:
        Project.open(other)
    assert "unlearn init --help" in raised.value.hints[0]
    with pytest.raises(InputError, match="there is no folder nothing"):
        Project.open(done.root / "nothing")


@pytest.mark.usefixtures("_silent")
def test_answers_are_those_of_the_commands(done: Repo) -> None:
    project = Project.open(done.root)
    ids = IDS[:2]
    options = [word for raw in ids for word in ("--id", raw)]

    with unchanged(done.root):
        found = project.forget(ids=ids, ticket="T-1", received=date(2026, 1, 31), dry_run=True)
    command = done.inline(
        "forget", *options, "--ticket", "T-1", "--received", "2026-01-31", "--dry-run", "--json"
    )
    assert isinstance(found, unlearn.ForgetAnswer)
    assert found.as_json() == command.json
    (done.root / "ids.txt").write_text("\n".join(ids), encoding="ascii")
    assert project.plan(ids, jobs=2).as_json() == (
        done.inline("plan", "--ids", "ids.txt", "--jobs", "2", "--json").json
    )
    (done.root / "ids.txt").unlink()
    report = project.verify(full=True)
    assert report.as_json() == done.inline("verify", "--full", "--json").json
    assert isinstance(report, unlearn.Report)
    assert report.passed == (report.verdict == "pass")
    assert report.exactness.matched == report.exactness.reran
    assert repr(report).startswith("Report(verdict=")
    assert project.audit().as_json() == done.inline("audit", "--json").json

    assert project.forget(ids=ids, ticket="T-1").added == 2
    assert project.plan(jobs=1).as_json() == done.inline("plan", "--json").json
    assert project.verify().verdict == "stale"
    assert project.load_model().predict(FRAME[["age", "income", "member", "city"]]).shape == (90,)


@pytest.mark.usefixtures("_silent")
def test_ids_may_come_from_anywhere_but_from_one_text(people: Repo) -> None:
    project = Project.open(people.root)
    file = people.root / "ids.txt"
    file.write_text(f"id\n{IDS[0]}\n{IDS[1]}\n", encoding="ascii")
    same: list[Any] = [
        IDS[:2],
        (raw for raw in IDS[:2]),
        FRAME["id"][:2],
        np.array(IDS[:2]),
        pa.array(IDS[:2]),
        file,
    ]

    for ids in same:
        assert project.forget(ids=ids, dry_run=True).added == 2
    assert project.forget(subjects=["p003"], dry_run=True).added == 1
    with unchanged(people.root):
        for wrong, message in (
            ("r0001", "ids: one text can be an id or the name of a file"),
            (b"r0001", "ids: one text can be"),
            ([], "ids holds no ids"),
            (7, "ids: give a list of ids"),
            (["r0001", None], "ids, item 2 is neither a text nor a number"),
            ([float("nan")], "item 1 is neither"),
            ([["r0001"]], "item 1 is neither"),
            ([True], "item 1 is neither"),
            ([""], "ids, item 1: an id is missing"),
            ([SECRET], "not in the dataset|no row"),
            (Path("missing.txt"), "missing.txt does not exist"),
            (Path("-"), "- does not exist"),
        ):
            values: Any = wrong
            with pytest.raises(InputError, match=message) as raised:
                project.forget(ids=values)
            assert SECRET not in "".join((str(raised.value), *raised.value.hints))
        with pytest.raises(InputError) as raised:
            project.forget(ids=[SECRET])
        assert any(hint.startswith('unknown="skip" skips') for hint in raised.value.hints)
        assert 'unknown="suppress" lists them' in "".join(raised.value.hints)
        with pytest.raises(InputError, match="no records to forget: give ids or subjects"):
            project.forget()
        with pytest.raises(InputError, match="unknown: is one of"):
            project.forget(ids=["r0001"], unknown="drop")  # type: ignore[arg-type]
    assert project.forget(ids=[IDS[0], SECRET], unknown="skip", dry_run=True).unknown == 1


def test_numbers_are_ids_as_files_write_them(tmp_path: Path) -> None:
    from tests.conftest import make_project

    frame = FRAME.assign(id=range(90))
    repo = make_project(tmp_path / "numbers", frame, "--shards", "1", "--slices", "1")
    project = Project.open(repo.root)

    for ids in ([3, 4], frame["id"][3:5], np.array([3.0, 4.0]), ["3", 4]):
        values: Any = ids
        assert project.forget(ids=values, dry_run=True).added == 2


def test_messages_are_logged(done: Repo, caplog: pytest.LogCaptureFixture) -> None:
    file = done.root / "ids.txt"
    file.write_text(f"id\n{IDS[0]}\n", encoding="ascii")
    with caplog.at_level(logging.INFO, "unlearn"):
        Project.open(done.root).forget(ids=file, dry_run=True)

    assert [(each.name, each.message) for each in caplog.records] == [
        ("unlearn", "line 1 is the name of the column of ids, and was skipped")
    ]


def test_a_run_says_notes_without_colours_and_may_leave_a_process_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # As a notebook sets it; and as a shared connection of ssh keeps standard error open.
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-color")
    monkeypatch.setattr(run, "_LAST_WORDS", 1)
    python = tmp_path / "python"
    code = "from unlearn.cli.output import say; say('note: a note')"
    python.write_text(
        f'#!/bin/sh\nread line\n{sys.executable} -c "{code}"\nsleep 60 > left &\n'
        "echo $! > pid\necho '{\"found\": 1}'\n"
    )
    python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))

    started = time.monotonic()
    with caplog.at_level(logging.INFO, "unlearn"):
        found = run.call("repro", tmp_path)

    assert found == {"found": 1}
    assert [(each.levelname, each.message) for each in caplog.records] == [
        ("WARNING", "note: a note")
    ]
    assert time.monotonic() - started < 50
    os.kill(int((tmp_path / "pid").read_text(encoding="ascii")), signal.SIGKILL)
    python.write_text("#!/bin/sh\nexit 9\n", encoding="ascii")
    with pytest.raises(unlearn.ToolError, match=r"without an answer \(exit code 9\)"):
        run.call("repro", tmp_path)


def test_plans_of_two_threads_take_turns_with_their_folder(done: Repo) -> None:
    context = open_project(find_project(done.root))
    inside, most = [], []

    def rows() -> int:
        with rows_of_shards(context, from_dataset=True) as rows_of:
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.2)
            count: int = rows_of("s000").num_rows
            inside.pop()
        return count

    with ThreadPoolExecutor(2) as pool:
        found = [pool.submit(rows) for _ in range(2)]

    assert found[0].result() == found[1].result() > 0
    assert most == [1, 1]


def test_wrong_arguments_change_nothing(done: Repo) -> None:
    project: Any = Project.open(done.root)
    wrong: list[tuple[Callable[[], object], str]]
    with unchanged(done.root):
        wrong = [
            (lambda: project.repro(jobs=0), "jobs: is a whole number"),
            (lambda: project.repro(engine="slurm"), "engine: is one of"),
            (lambda: project.repro(command="x"), 'command belongs to engine="command"'),
            (lambda: project.plan(jobs=True), "jobs: is a whole number"),
            (lambda: project.audit("--all"), "old: is no git revision"),
            (lambda: project.audit("HEAD", ""), "new: is no git revision"),
            (lambda: project.audit(rerun=0), "rerun: is a number"),
            (lambda: project.audit("nowhere"), "nowhere"),
        ]
        for call, message in wrong:
            with pytest.raises(InputError, match=message) as raised:
                call()
            assert "--" not in "".join(raised.value.hints)


@pytest.mark.slow
def test_a_run_has_a_process_of_its_own_and_the_bytes_of_the_command(
    done: Repo, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    room = done.copy(tmp_path / "room")
    project = Project.open(done.root)
    with caplog.at_level(logging.INFO, "unlearn"):
        request = project.forget(ids=IDS[:12])  # some of them are not held out
        answer = project.repro(jobs=1)
    options = [word for raw in IDS[:12] for word in ("--id", raw)]
    assert room.inline("forget", *options).code == 0
    expected = room.inline("repro", "--jobs", "1", "--json").json

    assert answer.as_json() == expected
    assert answer.trained == request.shards
    assert any(each.message.startswith("train@") for each in caplog.records)
    found, wanted = everything(done.root / "models"), everything(room.root / "models")
    assert found == wanted
    assert project.verify().verdict == answer.verdict
    done.commit("forget")
    audit = project.audit("HEAD~1", "HEAD", rerun="all")
    assert audit.verdict == "consistent"
    assert audit.rerun is not None
    assert audit.rerun.matched == audit.rerun.reran == 3
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_errors_of_a_run_are_raised_and_it_ends_with_the_caller(done: Repo) -> None:
    project = Project.open(done.root)
    text = (done.root / "params.yaml").read_text(encoding="utf-8")
    (done.root / "params.yaml").write_text(text + "epoch: 1\n", encoding="utf-8")
    with pytest.raises(InputError, match="epoch: is not a known setting") as raised:
        project.repro()
    assert raised.value.exit_code == 2
    (done.root / "params.yaml").write_text(text, encoding="utf-8")

    script = f"import unlearn; unlearn.Project.open({str(done.root)!r}).repro()"
    for end in (signal.SIGINT, signal.SIGKILL):
        caller = subprocess.Popen(
            [sys.executable, "-c", script], start_new_session=True, stderr=subprocess.DEVNULL
        )
        child = _child_of(caller.pid)
        caller.send_signal(end)
        caller.wait()
        for _ in range(600):
            if not Path(f"/proc/{child}").exists():
                break
            time.sleep(0.05)
        assert not Path(f"/proc/{child}").exists()
    assert project.repro().trained == []


def _child_of(pid: int) -> int:
    """Return the process that runs the pipeline for another, once it has begun."""
    for _ in range(1200):
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
        for child in map(int, text.split()):
            if b"own_process" in Path(f"/proc/{child}/cmdline").read_bytes():
                time.sleep(0.5)  # until it has read its call
                return child
        time.sleep(0.05)
    raise AssertionError("no run was started")
