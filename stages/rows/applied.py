"""`data/forget_set/applied.json`: which forget list the `forget` stage applied last, and to what.

DVC hashes the list after the stage, when it may have grown already.
"""

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from unlearn.stages.project.files import write_json
from unlearn.stages.project.paths import Project


class AppliedShard(BaseModel):
    """The files of a shard, or of the holdout, as the stage left them: SHA-256 digests.

    Parameters
    ----------
    source
        Of the file in `data/shards`.
    forgotten
        Of the tokens of the forgotten rows, and of the first slice that is off where one is.
    retain, forget
        Of the files in `data/retain_set` and `data/forget_set`; `forget` is None where no row of
        the shard is forgotten.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    source: str
    forgotten: str
    retain: str | None = None
    forget: str | None = None


class Applied(BaseModel):
    """What the `forget` stage applied.

    Parameters
    ----------
    digest
        SHA-256 of the forget list; `list` in the file.
    tokens
        Its lines.
    without_rows
        How many of them no row has.
    shards
        By shard, and of the holdout.
    """

    model_config = ConfigDict(frozen=True, strict=True, populate_by_name=True)

    # The file is a dependency of the stages `unlearn`: another key would rerun them all.
    schema_version: Literal[1] = 1
    digest: str = Field(validation_alias="list", serialization_alias="list")
    tokens: tuple[str, ...] = Field(strict=False)
    without_rows: int
    shards: dict[str, AppliedShard]


def read_applied(project: Project) -> Applied | None:
    """Return what the stage applied last; None where it never ran, or the file is damaged."""
    try:
        value: Any = json.loads(project.applied.read_bytes())
        return Applied.model_validate(value)
    except (OSError, ValueError):  # ValidationError is a ValueError
        return None


def write_applied(project: Project, applied: Applied) -> None:
    """Write what the stage applied."""
    write_json(project.applied, applied.model_dump(mode="json", by_alias=True))
