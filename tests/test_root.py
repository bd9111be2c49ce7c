"""The repository is itself a project: what `unlearn init --example digits` writes."""

from pathlib import Path

import pytest

from tests.conftest import Repo

#: The files of settings.
SETTINGS = ("params.yaml", "schema.yaml", "shards.yaml")
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the example as the command writes it; only to be read."""
    folder = tmp_path_factory.mktemp("root")
    repo = Repo(folder / "example")
    repo.root.mkdir()
    # The branch's name is pinned; that of a new repository depends on the machine.
    repo.git("init", "--quiet", "--initial-branch", "main")
    repo.ok("init", ".", "--example", "digits")
    return repo.root


@pytest.mark.parametrize(
    "name",
    [
        *SETTINGS,
        "dvc.yaml",
        "data/digits.csv",
        "models/README.md",
        ".gitattributes",
        ".dockerignore",
    ],
)
def test_the_root_is_what_the_example_writes(example: Path, name: str) -> None:
    assert (ROOT / name).read_bytes() == (example / name).read_bytes()


def test_the_roots_gitignore_keeps_every_line_of_the_example(example: Path) -> None:
    written = (example / ".gitignore").read_text(encoding="utf-8")
    assert (ROOT / ".gitignore").read_text(encoding="utf-8").endswith(written)
