"""DVC, called as a command from this one module."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import psutil
from unlearn.stages.errors import BusyError, ToolError
from unlearn.stages.project.locks import PATIENCE, exclusive
from unlearn.stages.project.paths import Project

_BUSY_WORDS = ("Unable to acquire lock", "is busy, it is being blocked")
#: Warnings without cause: these files are empty before the first request and the first erasure.
_EMPTY_LISTS = ("'data/forget_list.txt' is empty", "'data/suppressed.txt' is empty")
#: How long to wait before a DVC that was busy is asked again.
RETRY_SECONDS = 0.5


def run_dvc(root: Path, *arguments: str, capture: bool = False) -> str:
    """Run a dvc command in a project.

    Parameters
    ----------
    root
        Where to run it.
    *arguments
        The command's words.
    capture
        Return its standard output instead of dropping it.

    Raises
    ------
    BusyError
        If another dvc held its lock all the time that we were ready to wait.
    ToolError
        If the command failed.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        code, out, err = _call(root, arguments, capture=capture)
        if code == 0:
            return out
        if not any(word in err for word in _BUSY_WORDS):
            break
        if time.monotonic() > deadline:
            raise busy()
        time.sleep(RETRY_SECONDS)
    if capture:
        sys.stderr.write(err)
    raise ToolError(f"`dvc {' '.join(arguments)}` failed with exit code {code}")


def busy() -> BusyError:
    """Return the error that another DVC ran for longer than we were ready to wait."""
    return BusyError(f"dvc is still running after {PATIENCE:.0f} s; nothing was changed")


def dvc_environment() -> dict[str, str]:
    """Return the environment that DVC is run in.

    dvc.yaml calls `unlearn`, which is in this interpreter's folder even if no virtual environment
    is active.
    """
    environment = dict(os.environ)
    folders = [str(Path(sys.executable).parent), environment.get("PATH", "")]
    environment["PATH"] = os.pathsep.join(folder for folder in folders if folder)
    return environment


def _call(root: Path, arguments: Sequence[str], *, capture: bool) -> tuple[int, str, str]:
    """Run dvc once; return exit code, standard output and standard error."""
    environment = dvc_environment()
    command = [sys.executable, "-m", "dvc", *arguments]
    if capture:
        done = subprocess.run(
            command, cwd=root, env=environment, text=True, capture_output=True, check=False
        )
        return done.returncode, done.stdout, done.stderr
    with subprocess.Popen(
        command,
        cwd=root,
        env=environment,
        text=True,
        # DVC's account of every stage; its `--quiet` would keep errors back, too.
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        err = pass_on(process.stderr or ())
        process.wait()
    return process.returncode, "", err


def pass_on(lines: Iterable[str]) -> str:
    """Print what DVC writes to standard error, without what says nothing to a user; return all."""
    said = []
    for line in lines:
        said.append(line)
        if not any(word in line for word in (*_BUSY_WORDS, *_EMPTY_LISTS)):
            sys.stderr.write(line)
    return "".join(said)


def dvc_status(root: Path, *targets: str) -> dict[str, Any]:
    """Return `dvc status --json`: what changed, by stage; empty where all is up to date."""
    out = run_dvc(root, "status", "--json", *targets, capture=True)
    try:
        found = json.loads(out or "{}")
    except json.JSONDecodeError:
        raise ToolError("`dvc status --json` did not answer with JSON") from None
    return dict(found)


def pipeline_status(root: Path) -> dict[str, Any]:
    """Return `dvc status --json` of this tool's stages, and of what they read.

    Stages that `verify` does not need are not asked for: they are not of this tool.
    """
    return dvc_status(root, "--with-deps", "verify")


def running_reader(project: Project, path: Path) -> int | None:
    """Return the process id of a live dvc stage that reads or writes `path`, if there is one.

    DVC notes in `.dvc/tmp/rwlock` what running stages use, until it has hashed it.
    """
    held = _running(project)
    owners = list(held["read"].get(str(path), []))
    if writer := held["write"].get(str(path)):
        owners.append(writer)
    return _living(owners)


def running_process(project: Project) -> int | None:
    """Return the process id of a live dvc stage, if there is one."""
    held = _running(project)
    owners = [owner for some in held["read"].values() for owner in some]
    return _living([*owners, *held["write"].values()])


def _running(project: Project) -> dict[str, dict[str, Any]]:
    """Return DVC's note of what running stages use; empty if there is none or it is cut short."""
    rwlock = dvc_folder(project.root) / "tmp" / "rwlock"
    try:
        held = json.loads(rwlock.read_text(encoding="utf-8"))
        return {kind: dict(held.get(kind, {})) for kind in ("read", "write")}
    except (OSError, ValueError, TypeError, AttributeError):
        return {"read": {}, "write": {}}


def _living(owners: Iterable[Any]) -> int | None:
    """Return the first process among owners that DVC noted that lives."""
    try:
        pids = [int(owner["pid"]) for owner in owners]
    except (ValueError, KeyError, TypeError):
        return None
    return next((pid for pid in pids if _alive(pid)), None)


def mend_rwlock(project: Project) -> None:
    """Clear DVC's note of running stages of what a kill left in it: DVC would refuse to start.

    That is a note cut short, and owners that died and were never waited for: in a container
    without an init process they stay as zombies, which DVC takes for alive.
    """
    folder = dvc_folder(project.root) / "tmp"
    rwlock = folder / "rwlock"
    if not rwlock.is_file():
        return
    # The lock that DVC itself holds while it edits the note.
    with exclusive(folder / "rwlock.lock", "dvc"):
        try:
            held = json.loads(rwlock.read_text(encoding="utf-8"))
            living = {
                "read": {
                    path: [owner for owner in owners if _alive(owner["pid"])]
                    for path, owners in held.get("read", {}).items()
                },
                "write": {
                    path: owner
                    for path, owner in held.get("write", {}).items()
                    if _alive(owner["pid"])
                },
            }
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError, AttributeError):
            rwlock.unlink()
            return
        living["read"] = {path: owners for path, owners in living["read"].items() if owners}
        if living != {"read": {}, "write": {}} | held:
            rwlock.write_text(json.dumps(living), encoding="utf-8")


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def dvc_folder(root: Path) -> Path:
    """Return the `.dvc` folder of the repository that a folder is in."""
    for folder in (root, *root.parents):
        if (folder / ".dvc").is_dir():
            return folder / ".dvc"
    return root / ".dvc"


def state_folder(project: Project) -> Path | None:
    """Return the folder where DVC keeps digests and names of files; None if it has none yet.

    No command of DVC says it reliably: `dvc doctor` fails if the library of a remote is missing.

    Raises
    ------
    ToolError
        If DVC does not say where it is.
    """
    code = "from dvc.repo import Repo; print(Repo().site_cache_dir)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project.root,
        env=dvc_environment(),
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0 or not done.stdout.strip():
        raise ToolError("DVC does not say where its state is")
    folder = Path(done.stdout.strip())
    return folder if folder.is_dir() else None


def cache_folder(project: Project) -> Path:
    """Return the folder of DVC's local cache."""
    out = run_dvc(project.root, "cache", "dir", capture=True).strip()
    return (project.root / out).resolve()
