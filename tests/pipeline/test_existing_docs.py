"""The console blocks of docs/existing-repositories.md print what it shows, in a repository."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.forked_python import forks_of_python
from tests.pipeline.team_repository import PARAMS, PIPELINE, make_team_repository, runs_of
from website.console import ROOT, Terminal, console_commands, matches, settle_key

PAGE = ROOT / "docs" / "existing-repositories.md"


@pytest.fixture
def _forks(_apart_from_this_machine: None) -> Iterator[None]:
    with forks_of_python():
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("_forks")
def test_the_page_prints_what_it_shows_and_leaves_the_team_as_it_was(tmp_path: Path) -> None:
    team = make_team_repository(tmp_path / "team", train="fit")
    lock = (team.root / "dvc.lock").read_text(encoding="utf-8")
    terminal = Terminal(tmp_path)
    terminal.run("cd team")
    commands = console_commands(PAGE.read_text(encoding="utf-8"))
    assert len(commands) > 20

    for shown in commands:
        if shown.command == "cd forgetting":
            # Beside the stages, everything is gone: what is there is the team's, byte for byte.
            assert (team.root / "dvc.lock").read_text(encoding="utf-8") == lock
            text = PIPELINE.format(train="fit", key="fit")
            assert (team.root / "dvc.yaml").read_text(encoding="utf-8") == text
            params = (team.root / "params.yaml").read_text(encoding="utf-8")
            assert params == PARAMS.format(key="fit")
        printed = terminal.run(shown.command)
        settle_key(terminal, shown.command)
        lines = [line.rstrip() for line in printed]
        assert matches([line.rstrip() for line in shown.lines], lines) or _ends(shown.lines, lines)

    assert runs_of(team) == ["prepare", "train"]
    assert (team.root / "dvc.lock").read_text(encoding="utf-8") == lock
    for folder in (team.root, team.root / "forgetting"):
        assert (folder / "data/forget_list.txt").is_file()


def _ends(shown: tuple[str, ...], printed: list[str]) -> bool:
    """Return whether lines of a graph, or the end of a line, are what is shown."""
    wanted = [line.strip() for line in shown if line != "..."]
    found = iter(printed)
    return all(any(want in line for line in found) for want in wanted)
