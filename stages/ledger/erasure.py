"""What an entry of the request log says about an erasure. Git is public, so it has no counts."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ErasedPlace(BaseModel):
    """A place that could hold copies of rows, or models that were trained on them.

    Parameters
    ----------
    name
        The place, such as DVC's cache.
    state
        `purged` if no copy is left in it; `pending` if one may be.
    method
        How its copies were deleted; None if nothing was done.
    why
        Why it is pending; None if it is purged.
    residual
        How many files the residue scan found in it. In the log, 1 stands for any number.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    name: str
    state: Literal["purged", "pending"]
    method: str | None = None
    why: str | None = None
    residual: int = 0


class Erasure(BaseModel):
    """What became of the copies when the rows of all lines of the list were erased.

    Parameters
    ----------
    places
        All places that can hold copies.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    places: tuple[ErasedPlace, ...] = Field(strict=False)

    @property
    def complete(self) -> bool:
        """Whether no place is pending."""
        return all(place.state == "purged" for place in self.places)

    def without_counts(self) -> "Erasure":
        """Return what may be in git."""
        places = (
            place.model_copy(update={"residual": min(place.residual, 1)}) for place in self.places
        )
        return Erasure(places=tuple(places))

    @property
    def pending(self) -> tuple[ErasedPlace, ...]:
        """The places that may still hold copies."""
        return tuple(place for place in self.places if place.state == "pending")
