"""The section of params.yaml about requests that wait for each other."""

from pydantic import Field
from unlearn.stages.config.section import Section


class BatchParams(Section):
    """When requests that wait for each other are applied together.

    A run is due when `at_least` requests wait, or when the oldest of them waits `at_most_days`. It
    is due `days_before_due` days before the law wants an answer to one of them, at the latest.
    """

    at_least: int = Field(ge=1, le=1_000_000)
    at_most_days: int = Field(ge=0, le=3_650)
    days_before_due: int = Field(default=3, ge=0, le=365)
