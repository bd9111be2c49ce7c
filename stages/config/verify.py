"""Settings of the evidence that `verify` gathers."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator
from unlearn.stages.config.section import Section


class VerifyParams(Section):
    """How much evidence a run gathers.

    `rerun` is how many touched shards are retrained as a check, or how many trees are fitted again
    where the models are of trees that are changed in place of being trained.
    `attack` names the attack that decides the membership verdict, within `margin` of what it finds
    where rows were never seen; `verify.membership.registry` checks the name. `reference_models` are
    trained to compare with where fewer than four shards have models. `online` trains as many more
    on halves of all compared rows, forgotten ones included, for post-hoc methods alone: they are
    in memory only. `negatives` says what the
    forgotten rows of a post-hoc method are compared with: unseen rows of their classes, or pairs
    that retrained models find as unlikely, which are `matched`. `references` is the number of
    retrained models for that, the method `retrain` included. `publish` says what git gets
    of the report: verdicts in words, or its figures too.
    """

    rerun: Annotated[int, Field(ge=0)] | Literal["all"] = 1
    min_rows: int = Field(default=10, ge=1)
    attack: str = "lira"
    margin: Annotated[float, Field(gt=0, lt=0.5, strict=False)] = 0.1
    reference_models: int = Field(default=0, ge=0)
    online: bool = False
    negatives: Literal["class", "matched"] = "class"
    references: int = Field(default=1, ge=1)
    publish: Literal["verdict", "figures"] = "verdict"

    @field_validator("reference_models")
    @classmethod
    def _enough_for_a_spread(cls, value: int) -> int:
        # Each row is in half of them, and three have to be left that never saw it.
        if 0 < value < 5:  # noqa: PLR2004 - see above
            raise ValueError("must be 0 or at least 5")
        return value

    @model_validator(mode="after")
    def _enough_with_and_without_a_row(self) -> "VerifyParams":
        if self.online and self.reference_models < 6:  # noqa: PLR2004 - three each
            raise ValueError("online: needs `reference_models` of at least 6; 32 are sufficient")
        return self

    @model_validator(mode="after")
    def _references_are_for_matching(self) -> "VerifyParams":
        if self.references > 1 and self.negatives != "matched":
            raise ValueError("references: more than 1 needs `negatives: matched`")
        return self
