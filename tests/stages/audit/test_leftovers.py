"""What killed runs leave behind is deleted, and nothing else."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from unlearn.stages.audit.leftovers import clean_leftovers
from unlearn.stages.project.files import TEMPORARY_PREFIX, scratch_folder
from unlearn.stages.project.paths import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return an empty folder."""
    return Project(tmp_path)


def dead_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        return process.pid


def put(project: Project, name: str) -> Path:
    path = project.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half")
    return path


def test_half_written_files_of_dead_processes_are_deleted(project: Project) -> None:
    dead = dead_process()
    folders = ("data/shards", "models/shard_models/s000/checkpoints", "reports", ".unlearn", ".")
    names = [f"{folder}/{TEMPORARY_PREFIX}{dead}-x" for folder in folders]
    for name in names:
        put(project, name)
    whole = [put(project, "data/shards/s000.parquet"), put(project, "models/x")]
    own = put(project, f"data/{TEMPORARY_PREFIX}{os.getpid()}-x")

    found = clean_leftovers(project)

    assert set(found.cleaned) == {name.removeprefix("./") for name in names}
    assert found.in_use == (f"data/{own.name}",)
    assert not any((project.root / name).exists() for name in names)
    assert all(path.exists() for path in (*whole, own))


def test_a_folder_that_a_dead_process_was_filling_is_deleted(project: Project) -> None:
    name = f"data/{TEMPORARY_PREFIX}{dead_process()}-dataset"
    put(project, f"{name}/a/b.csv")
    own = put(project, f"data/{TEMPORARY_PREFIX}{os.getpid()}-dataset/b.csv")

    assert clean_leftovers(project).cleaned == (name,)
    assert not (project.root / name).exists()
    assert own.exists()


def test_a_number_that_another_process_has_now_protects_no_file(project: Project) -> None:
    path = put(project, f"data/{TEMPORARY_PREFIX}{os.getpid()}-x")
    long_ago = time.time() - 10 * 365 * 86_400
    os.utime(path, (long_ago, long_ago))

    assert clean_leftovers(project).cleaned == (f"data/{path.name}",)


_USE = """
import sys, time
from pathlib import Path
from unlearn.stages.project.files import scratch_folder

with scratch_folder(Path(sys.argv[1])) as folder:
    (folder / "rows").write_text("rows")
    print("used", flush=True)
    time.sleep(60)
"""


def test_a_scratch_folder_is_deleted_once_its_process_has_ended(project: Project) -> None:
    folder = project.scratch("shard")
    with subprocess.Popen(
        [sys.executable, "-c", _USE, str(folder)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "used\n"
        found = clean_leftovers(project)
        assert (found.cleaned, found.in_use) == ((), (".unlearn/scratch/shard",))
        assert (folder / "rows").is_file()
        process.kill()

    assert clean_leftovers(project).cleaned == (".unlearn/scratch/shard",)
    assert not folder.exists()
    assert clean_leftovers(project).cleaned == ()
    with scratch_folder(folder):
        assert clean_leftovers(project).in_use == (".unlearn/scratch/shard",)
