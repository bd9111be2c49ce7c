"""Pictures whose name, or a folder's above them, is the id of a forgotten record or person.

So a copy is found whose pixels changed, as those of a JPEG do when it is saved again.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.reading.dataset_files import PICTURE_FORMATS
from unlearn.stages.rows.forget_list import ForgetList
from unlearn.stages.rows.roles import role_columns

#: What findings call such a picture.
NAMED = "a picture named after a forgotten record or person"

#: Shorter names, and shorter ones without a letter or a digit, are ids by chance.
_LEAST, _LEAST_OF_ONE_KIND = 4, 6
_BETWEEN = re.compile(r"[^0-9A-Za-z]+")


@dataclass(frozen=True)
class NamedPictures:
    """The search for such names.

    Parameters
    ----------
    context, forget_list
        The project, and its list.
    """

    context: Context
    forget_list: ForgetList

    def has(self, name: str, *, in_project: bool) -> bool:
        """Return whether a file is a picture that is named after a listed record or person.

        Pictures of the dataset are left out: rows name those that stay.

        Parameters
        ----------
        name
            The file, relative to the place that is searched.
        in_project
            Whether that is the project's folder.
        """
        path = PurePosixPath(name)
        if not self._is_searched or not name.lower().endswith(PICTURE_FORMATS):
            return False
        if in_project and any(path.is_relative_to(folder) for folder in self._datasets):
            return False
        parts = [path.stem, *path.parent.parts]
        pieces = {piece for part in parts for piece in (part, *_BETWEEN.split(part))}
        return any(self._is_listed(piece) for piece in pieces if _is_long(piece))

    @cached_property
    def _is_searched(self) -> bool:
        kinds = self.context.params.dataset.features.values()
        return "image" in kinds and bool(self.forget_list.known)

    @cached_property
    def _datasets(self) -> list[str]:
        dataset = self.context.params.dataset
        return [name for name in (dataset.path, dataset.held_out) if name is not None]

    @cached_property
    def _tokens(self) -> frozenset[str]:
        # Of a line for one record of a person, the record: other rows of the person stay.
        return frozenset(line.rpartition(".")[2] for line in self.forget_list.known)

    @cached_property
    def _known(self) -> dict[str, bool]:
        return {}

    def _is_listed(self, piece: str) -> bool:
        # Many pictures are in one folder.
        if piece not in self._known:
            self._known[piece] = self._look_up(piece)
        return self._known[piece]

    def _look_up(self, piece: str) -> bool:
        for kind, _ in role_columns(self.context.params.dataset):
            try:
                if self.context.tokenizer.token(kind, piece) in self._tokens:
                    return True
            except (InputError, ValueError):
                continue  # no id of this type
        return False


def _is_long(piece: str) -> bool:
    """Return whether a name is long enough to be no id by chance."""
    if len(piece) < _LEAST:
        return False
    has_both = any(sign.isdigit() for sign in piece) and any(sign.isalpha() for sign in piece)
    return has_both or len(piece) >= _LEAST_OF_ONE_KIND
