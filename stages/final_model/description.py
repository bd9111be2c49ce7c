"""ensemble.json: what a final model's folder says of itself."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from unlearn.stages.config.dataset import DatasetParams
from unlearn.stages.config.params import AggregationRule
from unlearn.stages.errors import InputError
from unlearn.stages.training.shard_model import PUBLIC_VERSION

FILE_NAME = "ensemble.json"


class _Entry(BaseModel):
    """A part of ensemble.json."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class MemberEntry(_Entry):
    """One member: `rows` is how many its shard has."""

    shard: str = Field(pattern=r"^s\d{3,}$")
    rows: int | None = Field(default=None, ge=1)
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

    Version 2 is that of a copy for publication; see `published.py`. It has numbers of rows only
    where the rule weighs by them.
    """

    schema_version: Literal[1, 2]
    rule: AggregationRule
    dataset: DatasetParams
    has_probabilities: bool
    members: list[MemberEntry]
    empty: list[str]
    code: CodeEntry | None
    adapter: str | None = None
    category_check: str | None = None

    @property
    def is_public(self) -> bool:
        """Whether the folder is a copy for publication."""
        return self.schema_version == PUBLIC_VERSION

    @model_validator(mode="after")
    def _rows_are_where_they_belong(self) -> Self:
        has_rows = not self.is_public or self.rule == "size_weighted"
        if any((entry.rows is not None) is not has_rows for entry in self.members):
            raise ValueError("rows: are missing, or there are too many")
        if self.is_public and (self.dataset.modality == "text" or self.adapter is not None):
            raise ValueError("schema_version: 2 is for tables")
        return self


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
