"""ensemble.json: what a final model's folder says of itself."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from unlearn.stages.config.dataset import DatasetParams
from unlearn.stages.config.params import AggregationRule
from unlearn.stages.errors import InputError

FILE_NAME = "ensemble.json"


class _Entry(BaseModel):
    """A part of ensemble.json."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _MemberEntry(_Entry):
    shard: str = Field(pattern=r"^s\d{3,}$")
    rows: int = Field(ge=1)
    digest: str


class CodeEntry(_Entry):
    """The user's own module."""

    name: str = Field(pattern=r"^[^/\\]+\.py$")
    sha256: str


class Description(_Entry):
    """ensemble.json.

    By the rule `merged`, `adapter` is the digest of the one adapter in the folder, and the members
    are what it was made of; their own files are not there. If categories are keyed,
    `category_check` tells the key from others.
    """

    schema_version: Literal[1]
    rule: AggregationRule
    dataset: DatasetParams
    has_probabilities: bool
    members: list[_MemberEntry]
    empty: list[str]
    code: CodeEntry | None
    adapter: str | None = None
    category_check: str | None = None


def read_description(folder: Path) -> Description:
    """Return the ensemble.json of a final model's folder.

    Raises
    ------
    InputError
        If it is missing or not readable.
    """
    try:
        return Description.model_validate_json((folder / FILE_NAME).read_bytes())
    except FileNotFoundError:
        raise InputError(
            f"there is no final model in {folder.name}", "`unlearn repro` makes it"
        ) from None
    except ValidationError:
        raise InputError(f"{folder.name}/{FILE_NAME} is not readable as a final model") from None
