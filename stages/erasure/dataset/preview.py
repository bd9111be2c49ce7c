"""What an erasure finds in the dataset's own files, without a change."""

from collections.abc import Callable

from unlearn.stages.context import Context
from unlearn.stages.erasure.dataset.listed_rows import RowSearch
from unlearn.stages.erasure.dataset.rewrite import row_files


def listed_rows(context: Context, advance: Callable[[int], None]) -> dict[str, int]:
    """Return how many listed rows each file has; files without one are left out.

    Parameters
    ----------
    context
        The project.
    advance
        Called with numbers of rows that were read.
    """
    search = RowSearch.of(context)
    found: dict[str, int] = {}
    for rows in row_files(context):
        path = context.project.root / rows.name
        files = search.rows_by_file(path, rows.dataset, rows.name, advance)
        found |= {name: file.listed.size for name, file in files.items() if file.listed.size}
    return found


def tracked_rows(context: Context) -> list[str]:
    """Return the files and folders of rows that DVC tracks, relative to the project."""
    root = context.project.root
    return [rows.name for rows in row_files(context) if (root / f"{rows.name}.dvc").is_file()]
