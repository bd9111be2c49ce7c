"""Links in a project's files: refused where they could lead out of it.

A repository or an archive from elsewhere can hold a link in the place of a folder. Every stage
writes and deletes below its folders, so it would write and delete wherever the link leads.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from unlearn.stages.errors import InputError

#: Folders that stages and commands write to and delete from.
FOLDERS = (
    "data/shards",
    "data/retain_set",
    "data/forget_set",
    "data/requests",
    "data/receipts",
    "models/shard_models",
    "models/original",
    "models/unlearned",
    "models/final_model",
    "reports",
)

#: The folder of this machine's own files. Below a scratch folder there may be a whole checkout.
_PRIVATE, _PRIVATE_DEPTH = ".unlearn", 2

#: Files that commands read and replace.
FILES = (
    "params.yaml",
    "schema.yaml",
    "shards.yaml",
    "dvc.yaml",
    "dvc.lock",
    "data/forget_list.txt",
    "data/suppressed.txt",
    "data/requests.jsonl",
)

#: Where DVC keeps an object below its cache; the second form is that of DVC 2.
_OBJECT = re.compile(r"(files/md5/)?[0-9a-f]{2}/[0-9a-f]{30}(\.dir)?")


def check_contained(root: Path) -> None:
    """Refuse a project whose folders or files are links that lead elsewhere.

    Folders of the pipeline, and the folders above them, may not be links at all. A file in them may
    be a link to an object of DVC's cache, as DVC makes it with `cache.type symlink`. The other
    files that commands replace, such as params.yaml, may be links within the project.

    Parameters
    ----------
    root
        The project's folder, with no link in its own path.

    Raises
    ------
    InputError
        For the first such link, by name. Nothing was read, written or deleted through it.
    """
    links = _Links(root)
    for name in (*FOLDERS, _PRIVATE, *(str(Path(file).parent) for file in FILES)):
        check_folder(root, name)
    for name in FILES:
        path = root / name
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            links.check(path)
    for name in FOLDERS:
        for path in _links_below(root / name):
            links.check(path)
    for path in _links_below(root / _PRIVATE, _PRIVATE_DEPTH):
        raise _refusal(root, path)


def check_folder(root: Path, name: str) -> None:
    """Refuse a link at any step of the way to a folder of the project.

    Parameters
    ----------
    root, name
        The project's folder, and the path below it.

    Raises
    ------
    InputError
        For the first link.
    """
    path = root
    for part in Path(name).parts:
        path /= part
        if path.is_symlink():
            raise _refusal(root, path)


def check_dataset_place(root: Path, name: str) -> None:
    """Refuse a dataset outside the project that is not in the repository around it.

    Parameters
    ----------
    root
        The project's folder, with no link in its own path.
    name
        `dataset.path`. One without `..` is not looked at here.

    Raises
    ------
    InputError
        If it is outside the git repository, or a link leads there; links of DVC to its own cache
        are accepted.
    """
    if ".." not in Path(name).parts:
        return
    path = Path(os.path.normpath(root / name))
    top = next((folder for folder in (root, *root.parents) if (folder / ".git").exists()), None)
    if top is None or not path.is_relative_to(top):
        raise InputError(
            f"params.yaml: dataset.path: {name} is outside the git repository",
            "a dataset outside the project is an output of DVC in the same repository",
        )
    try:
        check_folder(top, path.parent.relative_to(top).as_posix())
        if path.is_symlink():
            _Links(top).check(path)
    except InputError:
        raise InputError(
            f"params.yaml: dataset.path: {name} is, or is below, a symbolic link that is not one "
            "of DVC to its own cache",
            "put the file or folder itself in its place",
        ) from None


def check_row_file(root: Path, path: Path) -> None:
    """Refuse a file or folder of rows that is a link, or below one, but for DVC's own links.

    Parameters
    ----------
    root
        The project's folder, with no link in its own path.
    path
        A file or folder below it.

    Raises
    ------
    InputError
        If another file or folder would keep the rows.
    """
    try:
        check_folder(root, path.parent.relative_to(root).as_posix())
        if path.is_symlink():
            _Links(root).check(path)
    except InputError:
        name = path.relative_to(root).as_posix()
        raise InputError(
            f"{name} is, or is below, a symbolic link: the file that it leads to would keep the "
            "rows",
            "put the file itself in its place",
        ) from None


def _links_below(folder: Path, depth: int | None = None) -> Iterator[Path]:
    """Yield the links below a folder, to a depth; they are not followed."""
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return  # not made yet, or just deleted by another process
    for entry in found:
        if entry.is_symlink():
            yield Path(entry.path)
        elif depth != 1 and entry.is_dir(follow_symlinks=False):
            yield from _links_below(Path(entry.path), None if depth is None else depth - 1)


@dataclass
class _Links:
    """The links of one project."""

    root: Path
    #: Folders of the cache are few, its objects many.
    _real: dict[Path, Path] = field(default_factory=dict)

    def check(self, path: Path) -> None:
        """Refuse a link to anything but an object of DVC's cache."""
        target = path.parent / path.readlink()
        if target.parent not in self._real:
            self._real[target.parent] = target.parent.resolve()
        real = self._real[target.parent] / target.name
        own = self.cache
        if own is None or not real.is_relative_to(own) or real.is_symlink() or real.is_dir():
            raise _refusal(self.root, path)
        if _OBJECT.fullmatch(real.relative_to(own).as_posix()) is None:
            raise _refusal(self.root, path)

    @cached_property
    def cache(self) -> Path | None:
        """DVC's cache folder by DVC's own settings; None if they cannot be read."""
        # Only where there are links: it takes longer than all of the checks.
        from dvc.config import Config
        from dvc.exceptions import DvcException

        above = (folder / ".dvc" for folder in (self.root, *self.root.parents))
        settings = next((folder for folder in above if folder.is_dir()), None)
        if settings is None:
            return None
        try:
            named = Config(str(settings))["cache"].get("dir")
        except (DvcException, OSError, ValueError):
            return None
        return Path(named or settings / "cache").resolve()


def _refusal(root: Path, path: Path) -> InputError:
    return InputError(
        f"{path.relative_to(root).as_posix()} is a symbolic link: the pipeline would read, write "
        "or delete where it leads; nothing was changed",
        "only files may be symbolic links, and only those that DVC made to its own cache",
    )
