"""The pictures that rows name: files below the dataset's folder, or data URIs."""

import base64
import binascii
import os
import posixpath
import unicodedata
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

from unlearn.stages.config.dataset import DatasetParams
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.reading.dataset_files import find_files, is_object_of_dvc
from unlearn.stages.reading.picture_decoding import PictureError

#: Bytes of the file of a picture, at most.
MOST_BYTES = 256 << 20

#: What a picture that stands in the text itself begins with.
_URI = "data:"

#: How many pictures an error names.
_SHOWN = 3


class PicturePathError(PictureError):
    """The value of a row names no picture; the message follows the name of its column."""


class PictureFolder:
    """The pictures of a dataset, by the paths that its rows have for them.

    Parameters
    ----------
    folder
        Where the paths start.
    names
        All pictures in it; None for a dataset of one file, beside which there can be other files.
    label
        What errors call the folder.
    """

    def __init__(self, folder: Path, names: Sequence[str] | None, label: str) -> None:
        self._folder, self._label = folder, label
        #: Whether rows may name files; see `of_tracked`.
        self.reads_files = True
        self._start = f"{folder}/"
        self._numbers = None if names is None else {name: at for at, name in enumerate(names)}
        # Not a set of names: a folder may have millions of pictures.
        self._named = bytearray(len(names or ()))

    @classmethod
    def of(cls, path: Path, name: str) -> "PictureFolder":
        """Return the pictures of a dataset.

        Parameters
        ----------
        path, name
            The dataset, a file or a folder, and what errors call it.

        Raises
        ------
        InputError
            If the names of two pictures differ only by upper and lower case, or as `find_files`.
        """
        if not path.is_dir():
            label = name.rpartition("/")[0]
            return cls(path.parent, None, label or ".")
        names = find_files(path, name).pictures
        _refuse_same_names(names, name)
        return cls(path, names, name)

    @classmethod
    def of_dataset(cls, root: Path, dataset: DatasetParams, path: str) -> "PictureFolder | None":
        """Return the pictures of a dataset with this path below `root`; None if it has no images.

        See `of` for errors.
        """
        return cls.of(root / path, path) if "image" in dataset.features.values() else None

    @classmethod
    def of_tracked(cls, root: Path, dataset: DatasetParams, path: str) -> "PictureFolder | None":
        """Return the pictures of a dataset that DVC tracks; see `of_dataset`.

        Beside a dataset of one file, DVC would not see that a picture changed. So the rows of such
        a dataset can have data URIs, and no paths.
        """
        found = cls.of_dataset(root, dataset, path)
        if found is not None:
            found.reads_files = (root / path).is_dir()
        return found

    def label(self, text: str) -> str | None:
        """Return what errors call the picture that a row names; None if there is no such file."""
        if is_data_uri(text):
            return None
        place = _normal(text)
        if place is None or not self._has(place):
            return None
        return f"{self._label}/{place}".removeprefix("./")

    def read(self, text: str) -> bytes:
        """Return the bytes of the picture that a row names; it counts as named from then on.

        Parameters
        ----------
        text
            A path with `/`, relative to the folder, or a data URI in base64.

        Raises
        ------
        PicturePathError
            If the path leaves the folder, there is no such file, or rows may name none.
        PictureError
            If the file cannot be read, or is too large.
        """
        if is_data_uri(text):
            return content_of_uri(text)
        if not self.reads_files:
            raise PicturePathError(
                "names a picture in another file, of which DVC would not see that it changed",
                "put the table and its pictures into one folder, and name the folder in "
                "`dataset.path` of params.yaml",
            )
        number = None if self._numbers is None else self._numbers.get(text)
        if number is None:
            text = self._checked(text)
            number = None if self._numbers is None else self._numbers[text]
        if number is not None:
            self._named[number] = 1
        return _content(self._start + text)

    def refuse_unnamed(self) -> None:
        """Raise an InputError if there is a picture that no row named."""
        if self._numbers is None or all(self._named):
            return
        unnamed = [name for name, at in self._numbers.items() if not self._named[at]]
        shown = ", ".join(f"{self._label}/{name}" for name in unnamed[:_SHOWN])
        more = f" and {len(unnamed) - _SHOWN:,} more" if len(unnamed) > _SHOWN else ""
        raise InputError(
            f"no row names {shown}{more}",
            "name it in a row, or move it to another folder: no request reaches a picture that "
            "belongs to no row",
            facts=Facts(file=f"{self._label}/{unnamed[0]}"),
        )

    def _has(self, place: str) -> bool:
        if self._numbers is not None:
            return place in self._numbers
        return (self._folder / place).is_file()

    def _checked(self, text: str) -> str:
        """Return a path as the folder's listing has it, if it leads to a picture in the folder."""
        place = _normal(text)
        if place is None:
            raise PicturePathError(
                "has a path that leaves the folder of the dataset",
                "write paths relative to that folder, without `..`",
            )
        if self._numbers is None:
            self._check_alone(place)
            return place
        if place in self._numbers:
            return place
        if (other := self._by_folded.get(_folded(place))) is not None:
            raise PicturePathError(
                f"names a picture that is {self._label}/{other} but for upper and lower case, or "
                "the form of its accents",
                "write the name in the table as the file has it",
            )
        hints = []
        if "\\" in text and text.replace("\\", "/") in self._numbers:
            hints = ["write / in paths, not \\"]
        elif PurePosixPath(text).suffix.lower() not in (".png", ".jpg", ".jpeg"):
            hints = ["the names of pictures end in .png, .jpg or .jpeg"]
        raise PicturePathError("names a picture that is not in the folder of the dataset", *hints)

    @cached_property
    def _by_folded(self) -> dict[str, str]:
        return {_folded(name): name for name in self._numbers or ()}

    def _check_alone(self, place: str) -> None:
        """Check a path of a dataset of one file: without a listing of all there is."""
        file = self._folder / place
        there = file.parent.iterdir() if file.parent.is_dir() else ()
        beside = {each.name for each in there}
        if file.name not in beside or not file.is_file():
            other = next((name for name in beside if _folded(name) == _folded(file.name)), None)
            if other is not None:
                raise PicturePathError(
                    f"names a picture whose file is called {other}",
                    "write the name in the table as the file has it",
                )
            raise PicturePathError("names a picture that is not in the folder of the dataset")
        target = file.resolve()
        if not target.is_relative_to(self._folder.resolve()) and not is_object_of_dvc(target):
            raise PicturePathError("names a picture through a link that leaves the folder")


def _normal(text: str) -> str | None:
    """Return a path without `.` in it; None if it is none, or leads out of its folder."""
    if not text or text.startswith("/") or "\x00" in text or ".." in text.split("/"):
        return None
    return posixpath.normpath(text)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _refuse_same_names(names: Sequence[str], label: str) -> None:
    """Refuse pictures that are one file on systems that take upper and lower case for the same."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(_folded(name), name)
        if other != name:
            raise InputError(
                f"{label}/{other} and {label}/{name} differ only by upper and lower case, or by "
                "the form of an accent",
                "rename one of them: some systems take them for one file",
                facts=Facts(file=f"{label}/{name}"),
            )


def _content(path: str) -> bytes:
    try:
        number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(number).st_size
            if size > MOST_BYTES:
                raise PictureError(f"has more than {MOST_BYTES >> 20} MB")
            return os.read(number, size)
        finally:
            os.close(number)
    except OSError as error:
        raise PictureError(
            f"cannot be read: {error.strerror or 'an error of the file system'}"
        ) from None


def is_data_uri(text: str) -> bool:
    """Tell whether a picture stands in the text itself."""
    return text[: len(_URI)].lower() == _URI


def content_of_uri(text: str) -> bytes:
    """Return the bytes of the picture in a data URI; raises PicturePathError without base64."""
    head, comma, data = text.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise PictureError("is a data URI without `;base64,`")
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise PictureError("is a data URI that is not valid base64") from None
