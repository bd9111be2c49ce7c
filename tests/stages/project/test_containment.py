"""Links in the place of a project's folders and files."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unlearn.cli.app import COMMANDS, run
from unlearn.stages.errors import InputError
from unlearn.stages.project.containment import (
    FILES,
    FOLDERS,
    check_contained,
    check_dataset_place,
)
from unlearn.stages.project.paths import Project, find_project

#: Arguments with which a command would begin its work.
ARGUMENTS = {
    "answer": ["params.yaml", "--to", "../reply.json"],
    "audit": ["HEAD~1..HEAD"],
    "canary": ["--count", "5"],
    "export": ["../out", "--as", "adapter"],
    "forget": ["--id", "r0001"],
    "import-model": ["model.safetensors"],
    "predict": ["--input", "params.yaml", "--output", "out.csv"],
    "receipt create": ["--signer", "command:true"],
    "receipt keygen": ["--private", "../key.pem"],
    "restore": ["--ticket", "T-1"],
    "serve": ["--port", "0"],
    "stage": ["forget"],
    "tune": ["finetune", "--budget", "1"],
}

OBJECT = "files/md5/ab/0123456789abcdef0123456789abcd"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a folder that has all of a project's folders and files, each empty."""
    root = tmp_path / "project"
    for name in (*FOLDERS, ".unlearn/locks", ".unlearn/scratch", ".dvc"):
        (root / name).mkdir(parents=True)
    for name in FILES:
        (root / name).touch()
    return Project(root.resolve())


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Return a folder with files that nothing in the project may reach."""
    folder = tmp_path / "outside"
    (folder / "s000").mkdir(parents=True)
    (folder / "s000/model.json").write_text("mine", encoding="utf-8")
    (folder / "s000.parquet").write_text("mine", encoding="utf-8")
    return folder


def replace_by_link(path: Path, target: Path) -> None:
    """Put a link where a folder or file is."""
    if path.is_dir() and not path.is_symlink():
        path.rename(path.with_name(f"{path.name}-before"))
    else:
        path.unlink(missing_ok=True)
    path.symlink_to(target)


@pytest.fixture(autouse=True)
def _same_environment() -> Iterator[None]:
    """Undo what commands set for the libraries that they load."""
    with mock.patch.dict(os.environ):
        yield


def content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_folders_of_its_own_are_accepted(project: Project) -> None:
    check_contained(project.root)
    assert find_project(project.root / "data/shards") == project


@pytest.mark.parametrize("name", [*FOLDERS, "data", "models", ".unlearn", ".unlearn/locks"])
def test_a_folder_that_is_a_link_is_refused(project: Project, outside: Path, name: str) -> None:
    replace_by_link(project.root / name, outside)

    with pytest.raises(
        InputError, match=rf"^{name} is a symbolic link: .*nothing was changed"
    ) as caught:
        check_contained(project.root)

    assert caught.value.exit_code == 2
    assert str(outside) not in caught.value.message


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("below", ["s000", "s000/checkpoints", "s000.parquet"])
def test_a_link_anywhere_below_a_folder_is_refused(
    project: Project, outside: Path, folder: str, below: str
) -> None:
    path = project.root / folder / below
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(outside / "s000.parquet" if below.endswith(".parquet") else outside)

    with pytest.raises(InputError, match=f"^{folder}/{below} is a symbolic link"):
        check_contained(project.root)


@pytest.mark.parametrize("name", FILES)
def test_a_file_may_be_a_link_only_within_the_project(
    project: Project, outside: Path, name: str
) -> None:
    (project.root / "settings").mkdir()
    (project.root / "settings/own").touch()
    replace_by_link(project.root / name, project.root / "settings/own")
    check_contained(project.root)

    replace_by_link(project.root / name, outside / "s000.parquet")
    with pytest.raises(InputError, match=f"^{name} is a symbolic link"):
        check_contained(project.root)


def test_a_lock_that_is_a_link_is_refused(project: Project) -> None:
    """To open a lock truncates it."""
    (project.root / ".unlearn/locks/forget-list").symlink_to(project.forget_list)

    with pytest.raises(InputError, match="^.unlearn/locks/forget-list is a symbolic link"):
        check_contained(project.root)


def in_the_project(project: Project) -> Path:
    return project.root / ".dvc/cache"


def by_relative_setting(project: Project) -> Path:
    (project.root / ".dvc/config").write_text("[cache]\n    dir = ../../shared\n", encoding="utf-8")
    return project.root.parent / "shared"


def by_local_setting(project: Project) -> Path:
    folder = project.root.parent / "local"
    (project.root / ".dvc/config.local").write_text(f"[cache]\ndir = {folder}\n", encoding="utf-8")
    return folder


def by_a_link_of_the_cache(project: Project) -> Path:
    (project.root.parent / "disk").mkdir()
    (project.root / ".dvc/cache").symlink_to(project.root.parent / "disk")
    return project.root / ".dvc/cache"


@pytest.mark.parametrize(
    "cache", [in_the_project, by_relative_setting, by_local_setting, by_a_link_of_the_cache]
)
def test_links_to_objects_of_the_cache_are_accepted_and_no_others_in_it(
    project: Project, cache: Callable[[Project], Path]
) -> None:
    folder = cache(project)
    held = folder / OBJECT
    held.parent.mkdir(parents=True)
    held.touch()
    path = project.shards / "s000.parquet"
    path.symlink_to(held)
    check_contained(project.root)

    (held.parent / "mine").touch()
    for target in (held.parent, held.parent / "mine", folder / "files/md5/../../../x"):
        replace_by_link(path, target)
        with pytest.raises(InputError, match=r"^data/shards/s000.parquet is a symbolic link"):
            check_contained(project.root)


def test_a_cached_object_that_is_itself_a_link_is_refused(project: Project, outside: Path) -> None:
    held = in_the_project(project) / OBJECT
    held.parent.mkdir(parents=True)
    held.symlink_to(outside / "s000.parquet")
    (project.shards / "s000.parquet").symlink_to(held)

    with pytest.raises(InputError, match=r"^data/shards/s000.parquet is a symbolic link"):
        check_contained(project.root)


def test_settings_of_dvc_that_cannot_be_read_accept_no_link(project: Project) -> None:
    held = in_the_project(project) / OBJECT
    held.parent.mkdir(parents=True)
    held.touch()
    (project.shards / "s000.parquet").symlink_to(held)
    (project.root / ".dvc/config").write_text("[cache\n", encoding="utf-8")

    with pytest.raises(InputError, match="is a symbolic link"):
        check_contained(project.root)


#: They read the files that they are given, and no project.
WITHOUT_PROJECT = {"receipt export", "receipt verify"}


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - WITHOUT_PROJECT))
def test_every_command_refuses_before_it_does_anything(
    project: Project,
    outside: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if name == "init":
        (project.root / "params.yaml").unlink()
        arguments = [".", "--example", "digits"]
    else:
        arguments = ARGUMENTS.get(name, [])
    replace_by_link(project.shard_models, outside)
    monkeypatch.chdir(project.root)
    before = content(project.root), content(outside)

    assert run([*name.split(), *arguments]) == 2

    assert "models/shard_models is a symbolic link" in capsys.readouterr().err
    assert (content(project.root), content(outside)) == before


@pytest.mark.parametrize(
    "stage",
    ["recipe", "shard", "forget", "train", "train@s000", "unlearn@x", "aggregate", "verify"],
)
@pytest.mark.parametrize("folder", FOLDERS)
def test_every_stage_refuses_before_it_does_anything(
    project: Project,
    outside: Path,
    stage: str,
    folder: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    replace_by_link(project.root / folder, outside)
    monkeypatch.chdir(project.root)
    before = content(project.root), content(outside)

    assert run(["stage", stage]) == 2

    assert f"{folder} is a symbolic link" in capsys.readouterr().err
    assert (content(project.root), content(outside)) == before


@settings(deadline=None, max_examples=60)
@given(
    parts=st.lists(st.sampled_from(["s000", "checkpoints", "members", "x"]), max_size=4),
    folder=st.sampled_from(FOLDERS),
    target=st.sampled_from(["..", "/", "../../..", "missing", "/etc/passwd", "../shards"]),
)
def test_no_link_at_any_depth_is_overlooked(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str], folder: str, target: str
) -> None:
    root = tmp_path_factory.mktemp("links").resolve()
    path = root.joinpath(folder, *parts, "link")
    path.parent.mkdir(parents=True)
    path.symlink_to(target)

    with pytest.raises(InputError, match="is a symbolic link"):
        check_contained(root)


@pytest.fixture
def subfolder(tmp_path: Path) -> Path:
    """Return a project's folder in a git repository that has data beside it, and a cache."""
    top = (tmp_path / "top").resolve()
    for name in (".git", ".dvc/cache", "data", "unlearn"):
        (top / name).mkdir(parents=True)
    (top / "data/rows.csv").write_text("mine", encoding="utf-8")
    return top / "unlearn"


def test_a_dataset_beside_the_project_is_one_of_the_repository(
    subfolder: Path, outside: Path
) -> None:
    check_dataset_place(subfolder, "../data/rows.csv")
    check_dataset_place(subfolder, "data/rows.csv")
    with pytest.raises(InputError, match="is outside the git repository"):
        check_dataset_place(subfolder, "../../outside/s000.parquet")
    # A repository of its own ends where it ends, whatever is around it.
    (subfolder / ".git").mkdir()
    with pytest.raises(InputError, match="is outside the git repository"):
        check_dataset_place(subfolder, "../data/rows.csv")
    # In a folder that is no repository, nothing around it is the project's affair.
    with pytest.raises(InputError, match="is outside the git repository"):
        check_dataset_place(outside, "../top/data/rows.csv")


def test_a_dataset_may_be_a_link_only_to_the_cache(subfolder: Path, outside: Path) -> None:
    rows = subfolder.parent / "data/rows.csv"
    held = subfolder.parent / ".dvc/cache" / OBJECT
    held.parent.mkdir(parents=True)
    held.touch()
    replace_by_link(rows, held)
    check_dataset_place(subfolder, "../data/rows.csv")

    replace_by_link(rows, outside / "s000.parquet")
    with pytest.raises(InputError, match="is, or is below, a symbolic link"):
        check_dataset_place(subfolder, "../data/rows.csv")
    replace_by_link(subfolder.parent / "data", outside)
    with pytest.raises(InputError, match="is, or is below, a symbolic link"):
        check_dataset_place(subfolder, "../data/s000.parquet")
