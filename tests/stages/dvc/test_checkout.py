"""A revision brought back: its own files, data from cache or remote, and no trace afterwards."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from unlearn.cli.init.files.patterns import render_gitignore
from unlearn.cli.init.files.pipeline import render_pipeline
from unlearn.stages.context import Context
from unlearn.stages.dvc.checkout import Remotes, absent, check_out, needed, restore
from unlearn.stages.errors import BusyError, InputError
from unlearn.stages.project.locks import exclusive
from unlearn.stages.project.paths import Project

from tests.conftest import Repo, keep_apart, write_settings


@pytest.fixture(scope="module")
def _recorded(_built: Context, tmp_path_factory: pytest.TempPathFactory) -> Repo:
    root = tmp_path_factory.mktemp("checkout") / "recorded"
    shutil.copytree(_built.project.root, root)
    return _record(replace(_built, project=Project(root)))


@pytest.fixture
def recorded(_recorded: Repo, tmp_path: Path) -> Repo:
    """Return a project whose stages ran, as a revision that git and DVC have recorded."""
    return _recorded.copy(tmp_path / "recorded")


def _record(built: Context) -> Repo:
    repo = Repo(built.project.root)
    (repo.root / "dvc.yaml").write_bytes(render_pipeline())
    (repo.root / ".gitignore").write_bytes(render_gitignore("", []))
    write_settings(repo.root, built.params.model_dump(mode="json", exclude_none=True))
    (repo.root / "unlearn.key").write_text(built.key.text, encoding="ascii")
    (repo.root / "data/suppressed.txt").touch()
    repo.git("init", "--quiet")
    repo.git("config", "user.email", "tests@example.org")
    repo.git("config", "user.name", "Tests")
    repo.dvc("init", "--quiet")
    keep_apart(repo.root)
    for stage in ("recipe", "shard", "forget", "train"):
        repo.dvc("commit", "--force", "--quiet", stage)
    repo.commit("run")
    return repo


def files_below(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def test_tracked_files_come_back_as_they_were_and_go_at_the_end(recorded: Repo) -> None:
    was = (recorded.root / "params.yaml").read_bytes()
    tracked = recorded.git("ls-files").split()
    recorded.set_params(seed=5)
    recorded.git("add", "params.yaml")
    (recorded.root / "data/forget_list.txt").unlink()
    index = (recorded.root / ".git/index").read_bytes()

    with check_out(Project(recorded.root), "HEAD") as there:
        assert there.root != recorded.root
        assert there.params.read_bytes() == was
        assert files_below(there.root) == sorted(tracked)
        assert not there.key.exists()

    assert not there.root.exists()
    assert files_below(recorded.root / ".unlearn/scratch") == []
    assert (recorded.root / ".git/index").read_bytes() == index
    assert recorded.git("worktree", "list").count("\n") == 1


def test_an_error_inside_takes_everything_away_too(recorded: Repo) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        check_out(Project(recorded.root), "HEAD"),
    ):
        raise KeyboardInterrupt

    assert not (recorded.root / ".unlearn/scratch/audit").exists()


def test_a_link_in_a_revision_leads_nowhere(recorded: Repo, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.rmtree(recorded.root / ".dvc/tmp", ignore_errors=True)
    (recorded.root / "link").symlink_to(outside, target_is_directory=True)
    recorded.commit("link")

    with check_out(Project(recorded.root), "HEAD") as there:
        assert not (there.root / "link").is_symlink()
        assert (there.root / "link").read_text() == str(outside)


def test_a_revision_without_the_project_is_refused(recorded: Repo) -> None:
    recorded.git("rm", "--quiet", "--cached", "dvc.yaml")
    recorded.git("commit", "--quiet", "-m", "no pipeline")

    with (
        pytest.raises(InputError, match="HEAD does not hold this project"),
        check_out(Project(recorded.root), "HEAD"),
    ):
        pass


def test_two_do_not_share_the_folder(recorded: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(recorded.root)
    # Not half a minute of waiting.
    monkeypatch.setattr(exclusive.__wrapped__, "__defaults__", (0.1,))  # type: ignore[attr-defined]  # what contextmanager keeps
    with (
        exclusive(project.lock_file("audit"), "the test"),
        pytest.raises(BusyError, match="another command that reads an older revision"),
        check_out(project, "HEAD"),
    ):
        pass


def test_shards_and_models_come_from_the_cache_and_no_others(recorded: Repo) -> None:
    project = Project(recorded.root)
    kept = {name: recorded.files(name) for name in ("data/shards", "models/shard_models")}
    shutil.rmtree(recorded.root / "data/shards")
    shutil.rmtree(recorded.root / "models")

    with check_out(project, "HEAD") as there:
        restore(project, there, ["s000", "s002"])
        assert absent(there, needed(["s000", "s002"])) == []
        back = Repo(there.root)
        rows, models = back.files("data/shards"), back.files("models/shard_models")
        assert rows == {
            name: kept["data/shards"][name] for name in ("s000.parquet", "s002.parquet")
        }
        models.pop(".gitignore", None)
        assert models == {
            name: content
            for name, content in kept["models/shard_models"].items()
            if name.startswith(("s000/", "s002/"))
        }

    assert not (recorded.root / "data/shards").exists()


def test_what_neither_cache_nor_remote_has_is_named(recorded: Repo) -> None:
    project = Project(recorded.root)
    shutil.rmtree(recorded.root / ".dvc/cache")

    with (
        check_out(project, "HEAD") as there,
        pytest.raises(InputError) as caught,
    ):
        restore(project, there, ["s001"])

    assert caught.value.message == (
        "data/shards/s001.parquet, models/shard_models/s001: not in DVC's cache on this machine, "
        "and no remote is set"
    )


@pytest.mark.slow
def test_what_the_remote_has_does_not_come_back_into_the_cache(recorded: Repo) -> None:
    project = Project(recorded.root)
    recorded.dvc("remote", "add", "--local", "--default", "--quiet", "my.store", "../my store")
    recorded.dvc("push", "--quiet", "shard", "train")
    shutil.rmtree(recorded.root / ".dvc/cache")

    with check_out(project, "HEAD") as there:
        restore(project, there, ["s001"])
        assert absent(there, needed(["s001"])) == []
        assert (there.root / ".dvc/config").stat().st_mode & 0o077 == 0

    assert not (recorded.root / ".dvc/cache").exists()


def test_the_listing_of_settings_is_read_level_by_level() -> None:
    found = Remotes.parse(
        "core.remote=one\nremote.one.url=s3://bucket/a=b\nremote.my.own.url=/x y/z\n"
        "core.analytics=false\ncache.dir=/cache\nremote.one.url=/later\ncore.remote=my.own\n"
    )

    assert found == Remotes("my.own", {"one": {"url": "/later"}, "my.own": {"url": "/x y/z"}})
