"""The folder of a new project."""

from pathlib import Path

from unlearn.stages.errors import InputError


def project_folder(directory: Path, into: Path | None) -> Path:
    """Return the folder of the new project.

    Raises
    ------
    InputError
        If `--into` leads out of the first folder.
    """
    top = directory.resolve()
    if into is None:
        return top
    root = (top / into).resolve()
    if into.is_absolute() or root == top or not root.is_relative_to(top):
        raise InputError(
            f"--into {into} is not a folder below {directory}",
            "name a folder that is relative to the first argument, such as --into unlearn",
        )
    return root


def there(folder: Path) -> Path:
    """Return the folder itself, or the first one above it that is there."""
    return next(path for path in (folder, *folder.parents) if path.is_dir())
