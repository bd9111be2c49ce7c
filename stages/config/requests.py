"""The sections of params.yaml below `requests`."""

from pydantic import Field, field_validator
from unlearn.stages.config.section import Section, inside_the_project


class BatchParams(Section):
    """When requests that wait for each other are applied together.

    A run is due when `at_least` requests wait, or when the oldest of them waits `at_most_days`. It
    is due `days_before_due` days before the law wants an answer to one of them, at the latest.
    """

    at_least: int = Field(ge=1, le=1_000_000)
    """How many waiting requests make a run due."""
    at_most_days: int = Field(ge=0, le=3_650)
    """After how many days the oldest request makes a run due."""
    days_before_due: int = Field(default=3, ge=0, le=365)
    """How many days before the due date of a request a run is due at the latest."""


class OpenDsrParams(Section):
    """How requests and answers of OpenDSR are exchanged with a controller.

    `controller_id` is the controller's identity in this system, which answers have to name.
    `domain` is this processor's OpenDSR domain: a request with extensions for other processors
    alone is refused. `certificate` is a file of the project with the controller's X.509
    certificate, in PEM: with it, requests have to be signed.
    """

    controller_id: str = Field(min_length=1)
    """The controller's identity in this system. Answers name it."""
    domain: str | None = None
    """The OpenDSR domain of this processor."""
    certificate: str | None = None
    """A file with the controller's X.509 certificate. With it, requests have to be signed."""

    @field_validator("certificate")
    @classmethod
    def _inside_the_project(cls, value: str | None) -> str | None:
        return inside_the_project(value)
