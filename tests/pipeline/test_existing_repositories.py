"""A project in a repository that has git, DVC and stages of its own."""

from pathlib import Path

from tests.pipeline.team_repository import add_remotes, clone_of, make_team_repository, runs_of


def test_a_clone_of_a_team_s_repository_has_all_that_it_needs(tmp_path: Path) -> None:
    team = make_team_repository(tmp_path / "team")
    assert runs_of(team) == ["prepare", "train"]
    add_remotes(team, tmp_path / "remotes")

    clone = clone_of(team, tmp_path / "clone")

    clone.dvc("repro", "--quiet")
    assert runs_of(clone) == []
    assert clone.git("status", "--porcelain") == ""
