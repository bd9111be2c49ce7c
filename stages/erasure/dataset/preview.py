"""What an erasure finds in the dataset's own files, without a change."""

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

from unlearn.stages.context import Context
from unlearn.stages.erasure.dataset.listed_rows import RowSearch
from unlearn.stages.erasure.dataset.rewrite import picture_names, row_files, rows_of_others
from unlearn.stages.ledger.erasure import ErasedPlace
from unlearn.stages.rows.forget_list import ForgetList


def listed_rows(
    context: Context, forget_list: ForgetList, advance: Callable[[int], None]
) -> dict[str, int]:
    """Return how many listed rows each file has; files without one are left out.

    Parameters
    ----------
    context, forget_list
        The project, and the list.
    advance
        Called with numbers of rows that were read.
    """
    search = RowSearch(context.tokenizer, forget_list)
    found: dict[str, int] = {}
    for rows in row_files(context):
        path = context.project.root / rows.name
        files = search.rows_by_file(path, rows.dataset, rows.name, advance)
        found |= {name: file.listed.size for name, file in files.items() if file.listed.size}
    return found


def places_of_others(context: Context, listed: Mapping[str, int]) -> list[ErasedPlace]:
    """Return the place of each file or folder of rows that something else makes.

    It is pending as long as there are listed rows in it.

    Parameters
    ----------
    context
        The project.
    listed
        How many listed rows each file has; see `listed_rows`.
    """
    places = []
    for name, error in rows_of_others(context).items():
        count = sum(
            rows for file, rows in listed.items() if file == name or file.startswith(f"{name}/")
        )
        if count:
            rest = "1 listed row is in it" if count == 1 else f"{count:,} listed rows are in it"
            why = f"{error.message.removeprefix(f'{name} ')}; {rest}: {error.hints[0]}"
            place = ErasedPlace(name=name, state="pending", why=why, residual=count)
        else:
            place = ErasedPlace(name=name, state="purged", method="none of the rows is in it")
        places.append(place)
    return places


def listed_pictures(context: Context, forget_list: ForgetList) -> int:
    """Return how many files of pictures only listed rows name.

    Parameters
    ----------
    context, forget_list
        The project, and the list.
    """
    search = RowSearch(context.tokenizer, forget_list)
    going = picture_names(context, search).of_listed_rows_alone()
    return sum(path.is_file() for path in going)


def tracked_rows(context: Context) -> list[str]:
    """Return what `dvc add` takes of the files of rows, relative to the project.

    That is the file or folder itself, or the folder around it that DVC tracks as a whole.
    """
    root = context.project.root
    found = []
    for rows in row_files(context):
        path = PurePosixPath(rows.name)
        around = [path, *path.parents][:-1]  # not the project's folder itself
        found += [str(name) for name in around if (root / f"{name}.dvc").is_file()][:1]
    return list(dict.fromkeys(found))
