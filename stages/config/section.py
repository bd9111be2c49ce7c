"""What every section of params.yaml has in common."""

from pathlib import PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict

#: What the rows of a dataset are: features and a class, or text for a language model.
Modality = Literal["tabular", "text"]


class Section(BaseModel):
    """A section: no unknown keys, no silent conversions, no infinities."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, ser_json_inf_nan="strings"
    )


def inside_the_project(value: str | None) -> str | None:
    """Return a path that stays in the project; for validators: any other is a ValueError."""
    path = PurePosixPath(value or "")
    if path.is_absolute() or ".." in path.parts:
        raise ValueError("must be a path inside the project")
    return value
