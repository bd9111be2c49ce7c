"""Files below models/ that no stage writes: an older model there would outlive every request."""

import os
from collections.abc import Iterator
from pathlib import Path

import yaml
from unlearn.stages.config.params import Params, parse_yaml
from unlearn.stages.estimators.registry import text_options
from unlearn.stages.project.paths import Project


def unplanned_files(project: Project, params: Params) -> list[str]:
    """Return the files below models/ that are in no folder of a stage, relative to the project.

    Files within these folders are compared with lineages and records. A folder of a shard, or of a
    method, that params.yaml does not name counts as nobody's. The base of a language model is the
    user's own.

    Parameters
    ----------
    project, params
        The project.
    """
    folders = {project.final_model}
    if params.kind == "posthoc":
        folders |= {
            project.original,
            *(project.unlearned / name for name in params.methods),
        }
    else:
        folders |= {project.shard_models / name for name in params.sharding.shards}
    # DVC writes these, the last one for an original that was imported.
    own = {folder.parent / ".gitignore" for folder in folders}
    # The second one says in git what comes there: `init` writes it.
    own |= {project.final_model.parent / name for name in (".gitignore", "README.md")}
    if project.original in folders:
        own.add(project.original.with_suffix(".dvc"))
    if params.modality == "text":
        base = project.root / text_options(params.train).base
        folders.add(base)
        own.add(base.with_name(f"{base.name}.dvc"))
    top = project.final_model.parent
    # What stages that are not of this tool write is known to be theirs.
    others = _outs_of_others(project)
    folders |= others
    own |= {path.parent / ".gitignore" for path in others}
    return sorted(
        path.relative_to(project.root).as_posix()
        for path in _files(top, folders)
        if path not in others and (path not in own or path.is_symlink())
    )


def _outs_of_others(project: Project) -> set[Path]:
    """Return what the stages in dvc.yaml write that are not of this tool."""
    try:
        content = parse_yaml(project.pipeline.read_text(encoding="utf-8"))
        stages = dict(content["stages"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return set()  # a finding of its own
    found = set()
    for stage in stages.values():
        if not isinstance(stage, dict) or str(stage.get("cmd")).startswith("unlearn stage "):
            continue
        entries = [
            entry for kind in ("outs", "metrics", "plots") for entry in stage.get(kind) or ()
        ]
        names = [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]
        folder = project.root / str(stage.get("wdir") or ".")
        found |= {Path(os.path.normpath(folder / str(name))) for name in names}
    # One that is above the models of this tool would hide them; DVC refuses it.
    return {path for path in found if project.final_model.parent in path.parents}


def unplanned_problems(project: Project, params: Params, named_before: str = "") -> list[str]:
    """Return a sentence on such files, for the report; none where there are no files.

    Parameters
    ----------
    project, params
        The project.
    named_before
        A folder whose unknown models have a sentence of their own.
    """
    # Their number alone: the report is in git, and a file's name may say whose it is.
    found = unplanned_files(project, params)
    count = sum(not (named_before and name.startswith(f"{named_before}/")) for name in found)
    if count == 0:
        return []
    files = "1 file" if count == 1 else f"{count:,} files"
    return [f"models/ holds {files} that no stage wrote; `unlearn doctor` names them"]


def _files(folder: Path, skipped: set[Path]) -> Iterator[Path]:
    """Yield everything below a folder that is no folder itself, symbolic links too."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        path = Path(entry.path)
        if not entry.is_dir(follow_symlinks=False):
            yield path
        elif path not in skipped:
            yield from _files(path, skipped)
