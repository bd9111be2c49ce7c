"""Picture files that only listed rows name: they are deleted with the rows.

They are deleted before the rows leave the tables. After a kill the rows are still there to say
which pictures go, so nothing else has to remember it.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from unlearn.stages.config.dataset import DatasetParams
from unlearn.stages.erasure.dataset.listed_rows import RowSearch
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.project.containment import check_folder, check_row_file
from unlearn.stages.reading.column_types import is_text
from unlearn.stages.reading.dataset_files import find_files, is_picture
from unlearn.stages.reading.records import place_of_row

#: A picture in the table itself, as text.
_DATA_URI = "data:"

#: What macOS and Hadoop write beside a file, and what is in it follows from the file.
_SIBLINGS = ("._{0}", ".{0}.crc")


def picture_columns(dataset: DatasetParams) -> list[str]:
    """Return the features that are pictures."""
    return [name for name, kind in dataset.features.items() if kind == "image"]


def picture_folder(path: Path) -> Path:
    """Return the folder that names of pictures in a dataset are relative to."""
    return path if path.is_dir() else path.parent


@dataclass(frozen=True)
class PictureNames:
    """The names of pictures in the tables of a project.

    Parameters
    ----------
    root
        The project's folder.
    search
        What finds listed rows.
    tables
        For each file or folder of rows: what errors call it, and how it is read.
    advance
        Called with numbers of rows that were read.
    """

    root: Path
    search: RowSearch
    tables: list[tuple[str, DatasetParams]] = field(default_factory=list)
    advance: Callable[[int], None] = lambda _rows: None

    def of_listed_rows_alone(self) -> list[Path]:
        """Return the paths that listed rows name, and no other row of any table, in order.

        Raises
        ------
        InputError
            If a listed row names something outside of the folder, or through a link.
        """
        going = {path: name for path, name, is_listed in self._named() if is_listed}
        if going:
            checked = cache(self._check_folder)
            for path, _, is_listed in self._named():
                checked(path.parent)
                if not is_listed:
                    going.pop(path, None)
        for path, name in going.items():
            self._check(path, name)
        return sorted(going)

    def _check(self, path: Path, table: str) -> None:
        """Refuse what cannot be deleted, or would come back."""
        check_row_file(self.root, path)
        if path.exists() and not (path.is_file() and is_picture(path.name)):
            raise InputError(
                f"{self._name(path)} is no PNG or JPEG by its name, and a row names it as one",
                "correct the table: only pictures are deleted",
            )
        if path.parent.is_dir() and not os.access(path.parent, os.W_OK):
            folder = self._name(path.parent)
            raise InputError(f"{folder} is read-only: pictures in it cannot be deleted")
        around = [PurePosixPath(table), *PurePosixPath(table).parents][:-1]
        tracked = (above for above in around if (self.root / f"{above}.dvc").is_file())
        whole = next(tracked, None)
        if whole is not None and not path.is_relative_to(self.root / whole):
            raise InputError(
                f"{table} has pictures in other folders, which DVC does not track together with it",
                "move the table into the folder of its pictures, and name the folder in "
                "`dataset.path` of params.yaml",
                facts=Facts(file=table),
            )

    def _named(self) -> Iterator[tuple[Path, str, bool]]:
        """Yield each path that a row names, the dataset, and whether the row is listed."""
        for name, dataset in self.tables:
            columns, path = picture_columns(dataset), self.root / name
            if not columns or not path.exists():
                continue
            if path.is_dir() and not find_files(path, name).pictures:
                continue  # the tables have the pictures themselves
            folder = picture_folder(path)
            batches = self.search.listed_batches(path, dataset, name, columns)
            for batch, mask in batches:
                for column in columns:
                    if column in batch.column_names:
                        for found, is_listed in _paths(batch, column, mask, folder, name):
                            yield found, name, is_listed
                self.advance(batch.num_rows)

    def _check_folder(self, folder: Path) -> None:
        check_folder(self.root, folder.relative_to(self.root).as_posix())

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def _paths(
    batch: pa.Table, column: str, mask: npt.NDArray[np.bool_], folder: Path, name: str
) -> Iterator[tuple[Path, bool]]:
    texts = _texts(batch[column])
    for row, (value, is_listed) in enumerate(zip(texts, mask.tolist(), strict=False)):
        if not value or value[: len(_DATA_URI)].lower() == _DATA_URI:
            continue
        relative = PurePosixPath(value)
        if not relative.is_absolute() and ".." not in relative.parts and "\0" not in value:
            yield folder / relative, is_listed
        elif is_listed:
            where = place_of_row(batch, row, name, 1).facts(column)
            raise InputError(
                f"{where}: the picture is outside of the dataset's folder, where nothing is "
                "deleted",
                "write its name relative to the folder, without `..`",
                facts=where,
            )


def _texts(values: pa.ChunkedArray) -> list[str | None]:
    """Return the names in a column; none where it has the pictures themselves."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if is_text(kind):
        return list(values.to_pylist())
    if pa.types.is_struct(kind) and "path" in (fields := {field.name for field in kind}):
        # As the library `datasets` writes pictures: the path counts where there are no bytes.
        paths = pc.struct_field(values, "path")
        if "bytes" in fields:
            has_bytes = pc.is_valid(pc.struct_field(values, "bytes"))
            paths = pc.if_else(has_bytes, pa.scalar(None, paths.type), paths)
        return list(paths.to_pylist())
    return []


def delete_pictures(root: Path, folders: Iterable[Path], pictures: Iterable[Path]) -> int:
    """Delete pictures, and folders that had nothing else; return how many pictures there were.

    A second call finds nothing to do; after a kill, it does the rest.

    Parameters
    ----------
    root
        The project's folder.
    folders
        The folders of datasets, which stay.
    pictures
        As `PictureNames` found them.
    """
    kept = {root, *folders}
    count = 0
    for folder, inside in groupby(sorted(pictures, key=_folder_and_name), lambda path: path.parent):
        # On file systems that ignore case, another row may name a file in another way.
        names = _names_in(folder)
        for path in inside:
            count += path.name in names
            for name in (path.name, *(sibling.format(path.name) for sibling in _SIBLINGS)):
                if name in names:
                    path.with_name(name).unlink(missing_ok=True)
        # A folder's name may be a person's id.
        for above in (folder, *folder.parents):
            if above in kept or not above.is_dir() or _names_in(above):
                break
            above.rmdir()
    return count


def _folder_and_name(path: Path) -> tuple[str, str]:
    return str(path.parent), path.name


def _names_in(folder: Path) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))  # noqa: PTH208 - names alone
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
