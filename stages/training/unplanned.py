"""Files below models/ that no stage writes: an older model there would outlive every request."""

import os
from collections.abc import Iterator
from pathlib import Path

from unlearn.stages.context import Context


def unplanned_files(context: Context) -> list[str]:
    """Return the files below models/ that are in no folder of a stage, relative to the project.

    Files within these folders are compared with lineages and records. A folder of a shard, or of a
    method, that params.yaml does not name counts as nobody's.

    Parameters
    ----------
    context
        The project.
    """
    project = context.project
    folders = {project.final_model}
    if context.params.kind == "posthoc":
        folders |= {
            project.original,
            *(project.unlearned / name for name in context.params.methods),
        }
    else:
        folders |= {project.shard_models / name for name in context.params.sharding.shards}
    # DVC writes these, the last one for an original that was imported.
    own = {folder.parent / ".gitignore" for folder in folders}
    own.add(project.final_model.parent / ".gitignore")
    if project.original in folders:
        own.add(project.original.with_suffix(".dvc"))
    return sorted(
        path.relative_to(project.root).as_posix()
        for path in _files(project.final_model.parent, folders)
        if path not in own
    )


def unplanned_problems(context: Context, named_before: str) -> list[str]:
    """Return a sentence on such files, for the report; none where there are no files.

    Parameters
    ----------
    context
        The project.
    named_before
        The folder whose unknown models have a sentence of their own.
    """
    # Their number alone: the report is in git, and a file's name may say whose it is.
    count = sum(not name.startswith(f"{named_before}/") for name in unplanned_files(context))
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
