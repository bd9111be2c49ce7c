"""`unlearn repro --engine command`: the lock and the bytes of any other run."""

import os
from pathlib import Path

import pytest

from tests.conftest import Repo, fresh_models, take_log
from tests.pipeline.conftest import FORGOTTEN, ids_at, stages_run

#: What Slurm's command does with these options, on one machine.
SBATCH = """\
#!/bin/sh
while [ $# -gt 0 ]; do
    case $1 in
        -o) output=$2; shift ;;
        --wrap) text=$2; shift ;;
    esac
    shift
done
echo "$text" >> {jobs}
exec sh -c "$text" > "$output" 2>&1
"""

#: A node that changes a model after its job.
TAMPERING = """\
#!/bin/sh
unlearn stage train@$1 || exit
echo >> models/shard_models/$1/model.json
"""

#: A node with another numpy, as far as anybody can tell.
OTHER = """\
#!/bin/sh
PYTHONPATH={folder} exec unlearn stage train@$1
"""
OTHER_NUMPY = """\
from importlib import metadata
real = metadata.version
metadata.version = lambda name: "0.0.7" if name == "numpy" else real(name)
"""


def program(folder: Path, name: str, text: str) -> dict[str, str]:
    """Write a program, and return the environment in which it is found."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="ascii")
    (folder / name).chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def run(repo: Repo, command: str, env: dict[str, str]) -> tuple[int, str]:
    done = repo.unlearn("repro", "-j", "2", "--engine", "command", "--command", command, env=env)
    return done.code, done.err


@pytest.mark.slow
def test_a_request_through_sbatch_ends_with_the_files_of_any_other_run(
    mlp: Repo, forgotten: Repo, workspace: Path
) -> None:
    mlp.forget(FORGOTTEN)
    take_log(mlp, forgotten)
    jobs = workspace / "jobs"
    env = program(workspace / "bin", "sbatch", SBATCH.format(jobs=jobs))

    code, said = run(
        mlp,
        "sbatch --wait -o .unlearn/{shard}.slurm --wrap 'unlearn stage train@{shard}'",
        env,
    )

    assert code == 0, said
    asked = sorted(jobs.read_text(encoding="ascii").splitlines())
    assert asked == ["unlearn stage train@s001", "unlearn stage train@s003"]
    assert "train@s001" in (mlp.root / ".unlearn/s001.slurm").read_text(encoding="utf-8")
    assert mlp.snapshot() == forgotten.snapshot()
    assert stages_run(mlp.dvc("repro").out) == []
    assert ".unlearn" not in mlp.git("status", "--short")


@pytest.mark.slow
def test_a_first_run_ends_with_the_lock_of_plain_dvc(new_mlp: Repo, workspace: Path) -> None:
    other = new_mlp.copy(workspace / "other")

    code, said = run(new_mlp, "unlearn stage train@{shard}", {})
    other.dvc("repro")

    assert code == 0, said
    assert (new_mlp.root / "dvc.lock").read_bytes() == (other.root / "dvc.lock").read_bytes()
    assert new_mlp.snapshot() == other.snapshot()


@pytest.mark.slow
def test_a_changed_result_and_a_node_of_another_environment_record_nothing(
    mlp: Repo, workspace: Path
) -> None:
    gone = ids_at(mlp, "s001")[-1:]
    mlp.forget(gone)
    before = {name: entry for name, entry in mlp.lock().items() if name.startswith("train@")}
    folder = workspace / "bin"
    env = program(folder, "tamper", TAMPERING)
    env = program(folder, "other", OTHER.format(folder=folder))
    (folder / "sitecustomize.py").write_text(OTHER_NUMPY, encoding="ascii")

    for command, message in (
        ("other {shard}", "has another environment than the driver: numpy is 0.0.7 instead of"),
        ("tamper {shard}", "has changed since it was trained; nothing was recorded"),
    ):
        code, said = run(mlp, command, env)

        assert (code, message in said) == (3, True), said
        now = {name: entry for name, entry in mlp.lock().items() if name.startswith("train@")}
        assert now == before
    code, said = run(mlp, "unlearn stage train@{shard}", {})
    assert code == 0, said
    assert mlp.files("models") == fresh_models(mlp, workspace / "room", gone)
