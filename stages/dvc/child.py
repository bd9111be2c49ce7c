"""DVC in a process of its own, which `unlearn repro` starts once for all that it asks of DVC.

It reads the pipeline once, where `dvc status` reads dvc.lock twice and `dvc commit` a third time
before it writes it. It reads a request from each line of its standard input, writes the answer in
a line to its standard output, and ends with its input.

It uses parts of DVC that its documentation does not promise. Whatever fails here has changed
nothing in dvc.lock, and `session` has DVC's own commands do it then.
"""

import json
import logging
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_IMODE
from typing import Any

from unlearn.stages.dvc.listing import listing_md5
from unlearn.stages.dvc.lock_text import with_entries
from unlearn.stages.project.files import write_bytes

_LOCK = Path("dvc.lock")

#: Files that dvc.yaml may take variables from, and those of data that DVC tracks.
_KINDS = ("*.yaml", "*.yml", "*.json", "*.toml", "*.py", "*.dvc")


class _Pipeline:
    """The stages of a repository, as they were when they were read last."""

    def __init__(self) -> None:
        from dvc.repo import Repo

        self._repo = Repo()
        self._read: object = None
        self._stages: list[Any] = []

    def stale(self, target: str) -> list[str]:
        """Return a stage, and those before it, as far as `dvc status` would name them."""
        with self._locked():
            self._load()
            stages = _with_earlier(self._own()[target], self._repo.index.graph)
            with self._reading(stages):
                return [stage.addressing for stage in stages if _is_stale(stage)]

    def record(self, names: Sequence[str]) -> list[str]:
        """Record stages as `dvc commit --force` does.

        Parameters
        ----------
        names
            The stages, in the order in which their entries are written.

        Returns
        -------
        list of str
            Stages that are not among these, and whose files these stages have read or written, but
            not as they were recorded. Then nothing is recorded.
        """
        from dvc.stage.serialize import to_lockfile
        from dvc.utils.serialize import dumps_yaml

        with self._locked():
            if self._read != _sources():
                self._load()
            self._read = None  # these objects are of no use if it fails
            ran = [self._own()[name] for name in names]
            for stage in ran:
                stage.save()
                stage.commit()
            if found := _foreign(self._stages, ran):
                return found
            written = {}
            for stage in ran:
                written[stage.name] = dumps_yaml({"stages": to_lockfile(stage)})
            own_file = _LOCK.is_file() and not _LOCK.is_symlink()
            content = with_entries(_LOCK.read_bytes().decode(), written) if own_file else None
            if content is None:
                ran[0].dvcfile.dump_stages(ran, update_pipeline=False)
            else:
                write_bytes(_LOCK, content.encode(), S_IMODE(_LOCK.stat().st_mode))
            self._read = _sources()
        return []

    def _load(self) -> None:
        self._read = _sources()
        self._stages = list(self._repo.index.stages)

    def _own(self) -> dict[str, Any]:
        """Return the stages of this folder's dvc.yaml by name."""
        pipeline = str(Path("dvc.yaml").absolute())
        return {stage.name: stage for stage in self._stages if stage.path == pipeline}

    @contextmanager
    def _locked(self) -> Iterator[None]:
        from dvc.repo import lock_repo

        with lock_repo(self._repo):
            yield

    @contextmanager
    def _reading(self, stages: Iterable[Any]) -> Iterator[None]:
        """Wait for no one: another DVC that runs one of these stages is an error.

        `dvc status` does so for each stage by itself, which takes longer.
        """
        from dvc.dependency.db import AbstractDependency
        from dvc.dependency.repo import RepoDependency
        from dvc.rwlock import rwlock

        repo = self._repo
        paths = [
            entry.fs_path
            for stage in stages
            for entry in (*stage.deps, *stage.outs)
            if not isinstance(entry, RepoDependency | AbstractDependency)
        ]
        hardlink = repo.config["core"].get("hardlink_lock", False)
        with rwlock(repo.tmp_dir, repo.fs, " ".join(sys.argv), paths, [], hardlink):
            yield


def _with_earlier(stage: Any, graph: Any) -> list[Any]:
    """Return a stage, and those whose outs it reads, directly or not."""
    found = {stage: None}
    left = [stage]
    while left:
        new = [earlier for earlier in graph.successors(left.pop()) if earlier not in found]
        found |= dict.fromkeys(new)
        left += new
    return list(found)


def _is_stale(stage: Any) -> bool:
    """Return whether `dvc status` has something to say of a stage."""
    from dvc.stage import PipelineStage

    if not isinstance(stage, PipelineStage):
        return bool(stage.status(check_updates=True))
    if stage.is_callback or stage.always_changed or stage.changed_stage():
        return True
    read = () if stage.frozen else stage.deps
    return any(entry.status() for entry in (*read, *stage.outs))


def _foreign(stages: Iterable[Any], ran: Collection[Any]) -> list[str]:
    """Return stages that did not run, but whose files are others than those that they recorded."""
    others = {
        entry.fs_path: (stage.addressing, entry.hash_info)
        for stage in stages
        if stage not in ran
        for entry in stage.outs
    }
    found: set[str] = set()
    for stage in ran:
        for entry in stage.deps:
            for path, md5 in _digests(entry).items():
                name, recorded = others.get(path, ("", None))
                if recorded is None or recorded.value == md5:
                    continue
                # DVC 2 hashed text in another way, which has a name of its own.
                if recorded.name in (None, entry.hash_info.name):
                    found.add(name)
    return sorted(found)


def _digests(entry: Any) -> dict[str, str]:
    """Return the MD5 of what a stage has read: of the file; or of the folder, and all below it."""
    md5 = entry.hash_info.value
    if not isinstance(md5, str):
        return {}  # settings of a file of parameters
    found = {entry.fs_path: md5}
    if not entry.hash_info.isdir:
        return found
    below: dict[str, dict[str, str]] = {}
    for listed in entry.obj.as_list():
        path = listed["relpath"]
        found[os.path.join(entry.fs_path, path)] = listed["md5"]  # noqa: PTH118 - as DVC has paths
        parts = path.split("/")
        for depth in range(1, len(parts)):
            inside = below.setdefault("/".join(parts[:depth]), {})
            inside["/".join(parts[depth:])] = listed["md5"]
    return found | {
        os.path.join(entry.fs_path, folder): listing_md5(files)  # noqa: PTH118 - as above
        for folder, files in below.items()
    }


def _sources() -> object:
    """Return the state of the files that say what the stages are, and what they were."""
    found = {}
    for path in (
        _LOCK,
        Path(".dvcignore"),
        *(path for kind in _KINDS for path in Path().glob(kind)),
    ):
        with suppress(OSError):
            stat = path.stat()
            found[path] = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
    return found


def main() -> None:
    """Answer requests until there are no more."""
    # What DVC prints is no answer.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    pipeline: _Pipeline | None = None
    try:
        import dvc.repo
        from dvc.lock import LockError

        logging.getLogger(dvc.__name__).setLevel(logging.WARNING)
        for line in sys.stdin:
            request: Mapping[str, Any] = json.loads(line)
            answer: dict[str, Any]
            try:
                if pipeline is None:
                    pipeline = _Pipeline()
                if request["do"] == "status":
                    answer = {"stale": pipeline.stale(request["target"])}
                else:
                    answer = {"foreign": pipeline.record(request["names"])}
            except LockError:
                answer = {"busy": True}
            answers.write(f"{json.dumps(answer)}\n")
            answers.flush()
    except Exception as error:  # noqa: BLE001 - whatever it is, DVC's own commands are run then
        answers.write(f"{json.dumps({'failed': f'{type(error).__name__}: {error}'})}\n")
        answers.flush()


if __name__ == "__main__":
    main()
