"""A project in git, built once and copied for each test."""

from pathlib import Path

import pytest

from tests.stages.ledger.repositories import GitProject, make_git_project


@pytest.fixture(scope="session")
def built_repository(tmp_path_factory: pytest.TempPathFactory) -> GitProject:
    """Return a project that tests only copy."""
    return make_git_project(tmp_path_factory.mktemp("ledger") / "project")


@pytest.fixture
def repository(built_repository: GitProject, tmp_path: Path) -> GitProject:
    """Return a project without requests, for the test to change."""
    return built_repository.copy(tmp_path / "project")
