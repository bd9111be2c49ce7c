"""`unlearn repro` in a terminal: one bar for the run, and nothing left of it however it ends."""

import json
import os
import re
import sys
from pathlib import Path

import pytest

from tests.conftest import Repo, make_frame, make_project
from tests.terminals import Session, in_terminal


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    root = tmp_path_factory.mktemp("terminal") / "project"
    train = {"model": "sklearn.naive_bayes.GaussianNB", "options": {}}
    return make_project(root, make_frame(60), "--shards", "3", "--slices", "1", train=train)


def repro(
    repo: Repo,
    *arguments: str,
    columns: int = 80,
    press: bytes = b"",
    redirect: str = "",
) -> Session:
    def on_output(terminal: int, _process: int, raw: bytes) -> None:
        if press and b"train@" in raw and not pressed:
            pressed.append(os.write(terminal, press))

    pressed: list[int] = []
    command = f'exec "$0" -m unlearn.cli repro "$@" {redirect}'
    return in_terminal(
        ["bash", "-c", command, sys.executable, *arguments],
        repo.root,
        columns,
        on_output=on_output,
    )


def is_bar(line: str) -> bool:
    return bool(re.search(r"of \d+ stages|looking for|━|╌|train@s\d+  \d", line))


@pytest.mark.slow
def test_a_stage_that_fails_is_the_last_thing_that_is_said(ready: Repo, tmp_path: Path) -> None:
    repo = ready.copy(tmp_path / "project")
    (repo.root / repo.params()["dataset"]["path"]).write_text("id,label\nr1,c0\n")

    done = repro(repo, columns=40)

    assert done.code == 2
    assert any(line.startswith("error: ") for line in done.screen)
    assert not [line for line in done.screen if is_bar(line)]
    assert done.widest() <= 40


@pytest.mark.slow
def test_a_run_in_a_terminal_leaves_its_lines_and_no_bar(ready: Repo, tmp_path: Path) -> None:
    repo = ready.copy(tmp_path / "project")

    stopped = repro(repo, "-j", "2", columns=40, press=b"\x03")
    done = repro(repo, "-j", "2", "--json", redirect=">answer.json")

    assert stopped.code == 130
    assert [line for line in stopped.screen if line][-1] == "error: interrupted"
    assert not [line for line in stopped.screen if is_bar(line)]
    assert "Traceback" not in stopped.text
    assert done.code == 0
    assert re.search(r"\d of 8 stages", done.text)
    assert re.search(r"train@s00\d  0:0\d", done.text)
    assert not [line for line in done.screen if is_bar(line)]
    assert json.loads((repo.root / "answer.json").read_text())["verdict"] == "pass"
    trained = sorted(line[:10] for line in done.screen if line.startswith("train@"))
    assert trained == ["train@s000", "train@s001", "train@s002"]
