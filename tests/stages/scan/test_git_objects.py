"""All objects of a repository, whatever git's variables say and however they are stored."""

import subprocess
from pathlib import Path

import pytest
from unlearn.stages.errors import ToolError
from unlearn.stages.scan import git_objects as module
from unlearn.stages.scan.git_objects import git_objects


def git(root: Path, *arguments: str, stdin: bytes = b"") -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=root, input=stdin, capture_output=True, check=True
    )
    return done.stdout.decode().strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    root.mkdir()
    git(root, "init", "--quiet")
    return root


def contents(root: Path, scratch: Path) -> dict[str, bytes]:
    return {name: source.read() for name, source in git_objects(root, scratch)}


def test_loose_and_packed_objects_that_nothing_refers_to(repository: Path, tmp_path: Path) -> None:
    texts = [b"", b"\n", b"one\ntwo", bytes(range(256)) * 300]
    names = [git(repository, "hash-object", "-w", "--stdin", stdin=text) for text in texts]
    packed = "".join(f"{name}\n" for name in names[:2]).encode()
    git(repository, "pack-objects", "--quiet", ".git/objects/pack/pack", stdin=packed)
    git(repository, "prune-packed", "--quiet")

    found = contents(repository, tmp_path)
    assert found == {f"blob {name}": text for name, text in zip(names, texts, strict=True)}


def test_large_objects_are_kept_on_the_disk(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_IN_MEMORY", 1000)
    monkeypatch.setattr(module, "_CHUNK_BYTES", 300)
    texts = [bytes(range(250)) * 8, b"small"]
    for text in texts:
        git(repository, "hash-object", "-w", "--stdin", stdin=text)
    assert sorted(contents(repository, tmp_path).values()) == sorted(texts)


def test_variables_of_a_hook_name_no_other_repository(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = git(repository, "hash-object", "-w", "--stdin", stdin=b"here")
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "--quiet")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert contents(repository, tmp_path) == {f"blob {name}": b"here"}


def test_a_damaged_object_is_an_error(repository: Path, tmp_path: Path) -> None:
    name = git(repository, "hash-object", "-w", "--stdin", stdin=b"here")
    path = repository / ".git/objects" / name[:2] / name[2:]
    path.chmod(0o600)
    path.write_bytes(b"not compressed")
    with pytest.raises(ToolError, match="git cannot read all of its objects"):
        contents(repository, tmp_path)


def test_a_folder_without_a_repository_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ToolError):
        contents(tmp_path, tmp_path)
