"""Where a dataset comes from: only rows that are this project's own can be dropped from it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from unlearn.stages.config.params import parse_yaml, read_yaml
from unlearn.stages.dvc.stage_files import resolved
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.project.containment import check_row_file
from unlearn.stages.project.git import git
from unlearn.stages.project.paths import Project
from unlearn.stages.reading.dataset_files import dataset_files

_PIPELINE = "dvc.yaml"
_OUTS = ("outs", "metrics", "plots")


@dataclass(frozen=True)
class Pipelines:
    """The files of DVC in the repository around a project.

    Parameters
    ----------
    project
        The project.
    names
        Pipelines and files that track data, relative to the project.
    """

    project: Project
    names: tuple[str, ...]

    @classmethod
    def of(cls, project: Project) -> "Pipelines":
        """Return the files that git tracks or would track, and those of the project itself."""
        patterns = (f":(top,glob)**/{_PIPELINE}", ":(top,glob)**/*.dvc")
        listed = git(project.root, "ls-files", "-coz", "--exclude-standard", "--", *patterns)
        names = (listed or b"").decode("utf-8", "surrogateescape").split("\0")
        found = [name for name in names if name and not _is_inside_dvc(name)]
        return cls(project, tuple(dict.fromkeys([_PIPELINE, *found])))

    def stage_of(self, path: Path) -> tuple[str, str] | None:
        """Return a stage that writes a file or folder, a part of it, or what it is in.

        Returns
        -------
        tuple or None
            The name of the stage, and of the pipeline that describes it.
        """
        for name in self.names:
            if Path(name).name == _PIPELINE:
                for stage, out in self._outs(name):
                    if _overlap(out, path):
                        return stage, name
        return None

    def output_of(self, path: Path) -> str | None:
        """Return the stage, or the .dvc file, with an output that a path is, or is in.

        Returns
        -------
        str or None
            In words that name it; None if DVC does not keep the path.
        """
        return next((words for words, out in self.outputs() if _is_in(path, out)), None)

    def outputs(self) -> Iterator[tuple[str, Path]]:
        """Yield all outputs, each with the stage or the .dvc file of it, in words that name it.

        Raises
        ------
        InputError
            If a file of DVC is not readable.
        """
        for name in self.names:
            if Path(name).name == _PIPELINE:
                for stage, out in self._outs(name):
                    yield f"the stage {stage} in {name}", out
                continue
            content = self._content(name)
            folder = _folder(self.project.root / name, content)
            for entry in _entries(content, "outs"):
                if "path" in entry:
                    yield name, folder / str(entry["path"])

    def import_of(self, path: Path) -> tuple[str, str] | None:
        """Return what brought a file or folder into the project, if it is from elsewhere.

        Returns
        -------
        tuple or None
            The command of DVC, and the file that tracks the data.
        """
        for name in self.names:
            if name.endswith(".dvc"):
                content = self._content(name)
                folder = _folder(self.project.root / name, content)
                outs = (folder / str(entry["path"]) for entry in _entries(content, "outs"))
                sources = _entries(content, "deps")
                if sources and any(_overlap(out, path) for out in outs):
                    kinds = {"repo": "dvc import", "db": "dvc import-db"}
                    found = [kind for field, kind in kinds.items() if field in sources[0]]
                    return next(iter(found), "dvc import-url"), name
        return None

    def _outs(self, name: str) -> Iterator[tuple[str, Path]]:
        """Yield the outs of a pipeline's stages, as it names them and as they ran."""
        stages = self._content(name).get("stages")
        for stage, described in stages.items() if isinstance(stages, dict) else ():
            # A `foreach` has its stage below `do`.
            settings = described.get("do", described) if isinstance(described, dict) else {}
            for entry in _all_outs(settings):
                out = next(iter(entry)) if isinstance(entry, dict) else entry
                # With what only DVC knows, such as an item of a matrix, dvc.lock has it.
                file = self.project.root / name
                folder = _folder(file, settings)
                values = {**self._settings(file.parent), **self._settings(folder)}
                if "${" not in (known := resolved(str(out), values)):
                    yield str(stage), folder / known
        lock = Path(name).with_suffix(".lock").as_posix()
        ran = self._content(lock).get("stages")
        for stage, entry in ran.items() if isinstance(ran, dict) else ():
            wdir = stages.get(stage) if isinstance(stages, dict) else None
            folder = _folder(self.project.root / name, wdir if isinstance(wdir, dict) else {})
            if isinstance(entry, dict) and str(stage).partition("@")[0] in (stages or {}):
                for out in _entries(entry, "outs"):
                    yield str(stage), folder / str(out.get("path"))

    def _settings(self, folder: Path) -> Mapping[str, Any]:
        """Return the settings that stages of a folder can name; of an older version as well."""
        path = folder.resolve() / "params.yaml"
        if path not in self._read:
            try:
                self._read[path] = read_yaml(path)
            except (InputError, OSError):
                self._read[path] = {}
        return self._read[path]

    @cached_property
    def _read(self) -> dict[Path, Mapping[str, Any]]:
        return {}

    def _content(self, name: str) -> dict[str, Any]:
        try:
            content = parse_yaml((self.project.root / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}  # deleted, and git still has it
        except (OSError, ValueError, yaml.YAMLError):
            raise InputError(f"{name} is not readable", facts=Facts(file=name)) from None
        return content if isinstance(content, dict) else {}


def _is_inside_dvc(name: str) -> bool:
    return ".dvc" in Path(name).parts[:-1] or Path(name).name == ".dvc"


def _folder(file: Path, content: Mapping[str, Any]) -> Path:
    """Return the folder that paths of a pipeline, a stage or a .dvc file are relative to."""
    return file.parent / str(content.get("wdir") or ".")


def _entries(content: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    found = content.get(name)
    entries = found if isinstance(found, list) else []
    return [entry for entry in entries if isinstance(entry, dict)]


def _all_outs(stage: Any) -> list[Any]:
    found = [stage.get(kind) for kind in _OUTS] if isinstance(stage, dict) else []
    return [entry for entries in found if isinstance(entries, list) for entry in entries]


def _is_in(path: Path, out: Path) -> bool:
    return path.resolve().is_relative_to(out.resolve())


def _overlap(one: Path, other: Path) -> bool:
    first, second = one.resolve(), other.resolve()
    return first.is_relative_to(second) or second.is_relative_to(first)


def check_origin(pipelines: Pipelines, name: str) -> None:
    """Refuse rows that something else than this project would bring back.

    Parameters
    ----------
    pipelines
        The files of DVC.
    name
        A file or folder of rows, relative to the project.

    Raises
    ------
    InputError
        If a stage writes them, or DVC imported them. It says what to do.
    """
    path = pipelines.project.root / name
    if (written := pipelines.stage_of(path)) is not None:
        stage, pipeline = written
        target = stage if pipeline == _PIPELINE else f"{pipeline}:{stage}"
        raise InputError(
            f"{name} is an out of the stage {stage} in {pipeline}, which would bring its rows back",
            f"drop the rows from what {stage} reads, or in its code; then `dvc repro {target}`, "
            "and this command again",
            facts=Facts(file=name),
        )
    if (imported := pipelines.import_of(path)) is not None:
        command, pointer = imported
        raise InputError(
            f"{name} was brought in by `{command}`, and `dvc update` would bring its rows back",
            f"drop the rows where they come from; then `dvc update {pointer}`, and this command "
            "again",
            f"if the project is to have rows of its own: `dvc remove {pointer}`, then `dvc add "
            f"{name}`",
            facts=Facts(file=name),
        )


def check_files(project: Project, name: str) -> list[Path]:
    """Return the files of a dataset, which can all be replaced.

    Parameters
    ----------
    project, name
        A file or folder of rows, relative to the project.

    Raises
    ------
    InputError
        If they are not here, a file has no format with rows, or is a link to anything but DVC's
        cache.
    """
    path = project.root / name
    check_present(project, name)
    check_row_file(project.root, path)
    files = dataset_files(path, name)
    for file in files:
        check_row_file(project.root, file)
    return files


def check_present(project: Project, name: str) -> None:
    """Raise an InputError if a file or folder of rows is not here."""
    path = project.root / name
    if not path.exists() and not path.is_symlink():
        raise InputError(
            f"{name} is not here", "`dvc pull` or `dvc checkout` fetches it", facts=Facts(file=name)
        )


def has_been_in_git(project: Project, name: str) -> bool:
    """Return whether git tracks a file, or a file below a folder, or has it in its history.

    Parameters
    ----------
    project
        The project.
    name
        The file or folder, relative to the project; or a pathspec of git.
    """
    literal = name if name.startswith(":(") else f":(literal){name}"
    if git(project.root, "ls-files", "-z", "--", literal):
        return True
    return bool(git(project.root, "log", "--all", "--format=%H", "-1", "--", literal))
