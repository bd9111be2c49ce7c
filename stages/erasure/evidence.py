"""The report of the pass that an erasure follows. It is kept: the rows that it rests on go."""

import hashlib
from pathlib import Path

from unlearn.stages.context import Context
from unlearn.stages.dvc.command import run_dvc
from unlearn.stages.project.files import write_bytes
from unlearn.stages.project.git import ignored
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.applied import read_applied

#: Below reports: a folder for each report that is kept.
FOLDER = "reports/evidence"
_NAME_LENGTH = 16


def keep_evidence(project: Project) -> Path:
    """Copy the report that stands now to a folder of its own; do nothing if it is there.

    The verdicts are for git. The figures are added to DVC.

    Parameters
    ----------
    project
        The project, with a report that passes.

    Returns
    -------
    pathlib.Path
        The folder: its name is a part of the SHA-256 of `verdict.json`.
    """
    verdict = project.verdict.read_bytes()
    name = hashlib.sha256(verdict).hexdigest()[:_NAME_LENGTH]
    folder = project.root / FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / project.verdict.name, verdict)
    figures, kept = project.report, folder / project.report.name
    # Figures that are published are in git's history anyway.
    if not figures.is_file() or not _is_private(project, figures) or _is_added(kept):
        return folder
    write_bytes(kept, figures.read_bytes())
    run_dvc(project.root, "add", kept.relative_to(project.root).as_posix())
    return folder


def rests_on_rows(context: Context) -> bool:
    """Return whether the report that stands now is about rows that an erasure removes."""
    applied = read_applied(context.project)
    return applied is not None and applied.without_rows < len(applied.tokens)


def _is_added(path: Path) -> bool:
    return path.with_name(f"{path.name}.dvc").is_file()


def _is_private(project: Project, path: Path) -> bool:
    """Return whether git must not have a file: figures, unless they are published."""
    return bool(ignored(project.root, path.relative_to(project.root).as_posix()))
