"""What every section of params.yaml has in common."""

from pathlib import PurePosixPath
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

#: What the rows of a dataset are: features and a target, or text for a language model.
Modality = Literal["tabular", "text"]

#: What a model of a table predicts: one of the pinned classes, or a number.
Task = Literal["classification", "regression"]


class Section(BaseModel):
    """A section: no unknown keys, no silent conversions, no infinities.

    Attributes
    ----------
    later
        Settings that projects have had only since a later version. With their defaults they are no
        part of a digest, so that the digests of older projects stay as they are.
    only_classes
        Of the settings of a post-hoc method for tables: why it does not apply to a regression; None
        where it does.
    """

    later: ClassVar[frozenset[str]] = frozenset()
    only_classes: ClassVar[str | None] = None

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, ser_json_inf_nan="strings"
    )

    def digested(self) -> dict[str, Any]:
        """Return the settings as JSON values, as a digest has them; see `later`."""
        fields = type(self).model_fields
        absent = {name for name in self.later if getattr(self, name) == fields[name].default}
        return self.model_dump(mode="json", exclude=absent)


def inside_the_repository(value: str) -> str:
    """Return a path that may lead out of the project, upwards first; for validators.

    Whether it stays in the git repository depends on where the project is, see
    `containment.check_dataset_place`. An absolute path, or a way back up, is a ValueError.
    """
    parts = list(PurePosixPath(value).parts)
    while parts[:1] == [".."]:
        parts = parts[1:]
    if value.startswith("/") or ".." in parts or (not parts and value):
        raise ValueError("must be a path inside the repository")
    return value


def inside_the_project(value: str | None) -> str | None:
    """Return a path that stays in the project; for validators: any other is a ValueError."""
    path = PurePosixPath(value or "")
    if path.is_absolute() or ".." in path.parts:
        raise ValueError("must be a path inside the project")
    return value
