"""A revision of history, brought back into a folder of its own for as long as it is looked at.

Its tracked files come from git, its shards and models from DVC's cache or, where that lacks them,
from the remote. The working tree, git's index and DVC's cache stay as they are: what a purge took
out of the cache does not come back into it.
"""

import io
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path

from unlearn.stages.dvc.command import cache_folder, run_dvc
from unlearn.stages.errors import InputError, ToolError
from unlearn.stages.project.files import scratch_folder, write_bytes
from unlearn.stages.project.locks import exclusive
from unlearn.stages.project.paths import Project

#: How long to keep removing what a process that was interrupted may still write (seconds).
_PATIENCE = 5.0

#: Further options of git: a link in a revision could lead out of the folder, and the user's
#: own hooks have no business with it.
_GIT_SETTINGS = ("-c", "core.symlinks=false", "-c", f"core.hooksPath={os.devnull}")


@contextmanager
def check_out(project: Project, revision: str) -> Iterator[Project]:
    """Bring the tracked files of a revision back, and remove everything at the end of the block.

    Parameters
    ----------
    project
        The user's own; it may be a subfolder of a git repository.
    revision
        Any name that git knows for a commit.

    Yields
    ------
    Project
        The same project as it was, without data, models and key.

    Raises
    ------
    InputError
        If the revision does not hold the project.
    ToolError
        If git failed.
    BusyError
        If another audit has the folder.
    """
    # One folder for all: what a kill leaves, the next one clears.
    with exclusive(project.lock_file("audit"), "another command that reads an older revision"):
        scratch = project.scratch("audit")
        try:
            with scratch_folder(scratch):
                yield _check_out(project, revision, scratch)
        finally:
            _remove(scratch)


def _check_out(project: Project, revision: str, scratch: Path) -> Project:
    root = project.root
    commit = _git(root, "rev-parse", "--verify", f"{revision}^{{commit}}")
    top = Path(_git(root, "rev-parse", "--show-toplevel").removesuffix("\n"))
    below = _git(root, "rev-parse", "--show-prefix").removesuffix("\n")
    # An index of its own, so that the user's is not touched.
    index = {"GIT_INDEX_FILE": str(scratch / "index")}
    tree = scratch / "tree"
    _git(root, "read-tree", commit.strip(), env=index)
    listed = _git(root, "ls-files", "-z", "--full-name", "--", ".", env=index)
    _git(top, "checkout-index", "-z", "--stdin", f"--prefix={tree}/", stdin=listed, env=index)
    found = Project(tree / below)
    if not found.pipeline.is_file():
        raise InputError(f"{revision} does not hold this project: there is no dvc.yaml")
    return found


def _remove(folder: Path) -> None:
    """Remove a folder, also one that a process in its last moments writes to."""
    deadline = time.monotonic() + _PATIENCE
    while folder.exists() and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.05)


def _git(root: Path, *arguments: str, stdin: str = "", env: Mapping[str, str] | None = None) -> str:
    try:
        done = subprocess.run(
            ["git", *_GIT_SETTINGS, *arguments],
            cwd=root,
            env={**os.environ, **(env or {})},
            input=stdin,
            capture_output=True,
            text=True,
            # File names are bytes to git.
            errors="surrogateescape",
            check=False,
        )
    except FileNotFoundError:
        raise ToolError("git is not installed") from None
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise ToolError(f"`git {arguments[0]}` failed", *said[:1])
    return done.stdout


def restore(project: Project, there: Project, shards: Sequence[str]) -> None:
    """Bring data/shards and models of some shards back into a revision that was checked out.

    Parameters
    ----------
    project
        The user's own: its DVC cache and remote are used.
    there
        What `check_out` yielded.
    shards
        Which ones; dvc.lock has to know their models.

    Raises
    ------
    InputError
        If something can be had neither from the cache nor from the remote; the message names it.
    ToolError
        If DVC failed.
    """
    fetch_outs(
        project,
        there,
        needed(shards),
        "files that were purged cannot be checked by retraining; without --rerun only the "
        "locks are compared",
    )


def fetch_outs(project: Project, there: Project, wanted: Sequence[str], hint: str) -> None:
    """Fetch some outs of a revision that was checked out; see `restore`.

    Parameters
    ----------
    project, there
        See `restore`.
    wanted
        Paths in the project; the revision's dvc.lock has to know them.
    hint
        What to say of files that can be had from nowhere.
    """
    settings = run_dvc(project.root, "config", "--list", capture=True)
    remotes = Remotes.parse(settings)
    _configure(there, Remotes(None, {}), cache_folder(project))
    _from_cache(there, wanted)
    missing = absent(there, wanted)
    if missing and remotes.default is not None:
        # Into a cache of its own, which goes with the folder.
        _configure(there, remotes, there.root / ".dvc" / "cache")
        run_dvc(there.root, "pull", "--allow-missing", "--force", *missing)
        missing = absent(there, missing)
    if missing:
        remote = "no remote is set" if remotes.default is None else "the remote did not give it"
        raise InputError(
            f"{', '.join(missing)}: not in DVC's cache on this machine, and {remote}",
            hint,
        )


def _from_cache(there: Project, wanted: Sequence[str]) -> None:
    try:
        with redirect_stderr(io.StringIO()):
            run_dvc(there.root, "checkout", "--allow-missing", "--force", *wanted)
    except ToolError:
        # Where the listing of a folder is missing, too, DVC takes one file of it for a failure of
        # its own. Asked for the whole folder, it takes it for missing, or says what went wrong.
        whole = dict.fromkeys("data/shards" if "data/shards" in path else path for path in wanted)
        run_dvc(there.root, "checkout", "--allow-missing", "--force", *whole)


def needed(shards: Sequence[str]) -> list[str]:
    """Return the paths, relative to a project, that retraining these shards to check reads."""
    return [f"data/shards/{shard}.parquet" for shard in shards] + [
        f"models/shard_models/{shard}" for shard in shards
    ]


def absent(project: Project, paths: Sequence[str]) -> list[str]:
    """Return those of the paths that are not there."""
    return [path for path in paths if not (project.root / path).exists()]


@dataclass(frozen=True)
class Remotes:
    """DVC's remotes as a project's settings name them, on all levels.

    Parameters
    ----------
    default
        Name of the default remote, if there is one.
    options
        Settings by remote.
    """

    default: str | None
    options: Mapping[str, Mapping[str, str]]

    @classmethod
    def parse(cls, listing: str) -> "Remotes":
        """Return the remotes in the output of `dvc config --list`, whose paths are absolute."""
        default = None
        options: dict[str, dict[str, str]] = {}
        for line in listing.splitlines():
            name, _, value = line.partition("=")
            if name == "core.remote":
                default = value
            elif name.startswith("remote."):
                remote, _, option = name.removeprefix("remote.").rpartition(".")
                options.setdefault(remote, {})[option] = value
        return cls(default, options)


def _configure(there: Project, remotes: Remotes, cache: Path) -> None:
    """Make the folder a DVC repository without git that leaves nothing anywhere else."""
    folder = there.root / ".dvc"
    shutil.rmtree(folder, ignore_errors=True)
    core = {
        "no_scm": "true",
        "analytics": "false",
        "check_update": "false",
        "site_cache_dir": str(folder / "tmp" / "site"),
    }
    if remotes.default is not None:
        core["remote"] = remotes.default
    sections = {"core": core, "cache": {"dir": str(cache)}}
    sections |= {f'remote "{name}"': dict(found) for name, found in remotes.options.items()}
    lines = []
    for section, options in sections.items():
        lines.append(f"['{section}']" if '"' in section else f"[{section}]")
        lines += [f"{option} = {_quoted(value)}" for option, value in options.items()]
    # There may be credentials among them.
    write_bytes(folder / "config", "".join(f"{line}\n" for line in lines).encode(), mode=0o600)


def _quoted(value: str) -> str:
    """Return a value as DVC's configuration files have it: there is no way to escape a quote."""
    quote = "'" if '"' in value else '"'
    return f"{quote}{value}{quote}"
