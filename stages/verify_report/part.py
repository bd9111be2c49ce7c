"""What all parts of the report share: how they are checked, read, written and described."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

#: Decimals of a number in the file: more would be noise in every diff.
DECIMALS = 6

#: The two ends of a confidence interval; JSON has a list.
Interval = Annotated[tuple[float, float], Field(strict=False)]

#: Sentences, in order; JSON has a list.
Sentences = Annotated[tuple[str, ...], Field(strict=False)]

_TOLERANT = "tolerant"


def _require_what_is_written(schema: dict[str, Any], part: type[BaseModel]) -> None:
    """Mark in a JSON schema the fields that every written report has."""
    if issubclass(part, Part):
        schema["required"] = [name for name in part.model_fields if name not in part.OPTIONAL]


class Part(BaseModel):
    """A part of the report. It does not change, and every field has a default: nothing known.

    Whoever builds a part gets an error for a value of the wrong type or for a number that is not
    finite. `read` instead takes the default in its place, so that one damaged value does not hide
    the rest of an old report.
    """

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        json_schema_extra=_require_what_is_written,
    )

    #: Fields that the file has only where they were set.
    OPTIONAL: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def read(cls, value: object) -> Self:
        """Return the part that a JSON value describes; missing values get their defaults.

        Parameters
        ----------
        value
            A JSON value of any type.
        """
        return cls.model_validate(value, context={_TOLERANT: True})

    @model_validator(mode="before")
    @classmethod
    def _nothing_known_if_damaged(cls, value: Any, info: ValidationInfo) -> Any:
        if _is_tolerant(info) and not isinstance(value, Mapping):
            return {}
        return value

    @field_validator("*", mode="wrap")
    @classmethod
    def _default_if_damaged(
        cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> Any:
        try:
            return handler(value)
        except ValidationError:
            if not _is_tolerant(info) or info.field_name is None:
                raise
            return cls.model_fields[info.field_name].get_default(call_default_factory=True)

    def as_json(self) -> dict[str, Any]:
        """Return the part as the file has it: JSON values, numbers with six decimals."""
        return {
            name: json_value(value)
            for name, value in self
            if name not in self.OPTIONAL or name in self.model_fields_set
        }

    def rounded(self) -> Self:
        """Return the part as a reader of the file gets it."""
        return self.model_validate(self.as_json())


def _is_tolerant(info: ValidationInfo) -> bool:
    return bool(info.context and info.context.get(_TOLERANT))


def json_value(value: Any) -> Any:
    """Return a value as the file has it: numbers with six decimals, tuples as lists."""
    if isinstance(value, Part):
        return value.as_json()
    if isinstance(value, float):
        return round(value, DECIMALS)
    if isinstance(value, dict):
        return {key: json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    return value
