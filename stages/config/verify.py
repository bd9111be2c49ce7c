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
    """How many touched shards, or trees, are trained again as a check."""
    min_rows: int = Field(default=10, ge=1)
    """With fewer forgotten rows, reports have counts and no figures."""
    attack: str = "lira"
    """The membership attack that decides the verdict."""
    margin: Annotated[float, Field(gt=0, lt=0.5, strict=False)] = 0.1
    """How far the attack may be from what it finds on rows that were never seen."""
    reference_models: int = Field(default=0, ge=0)
    """How many reference models are trained where there are too few shards."""
    online: bool = False
    """Whether reference models are trained on forgotten rows too, in memory only."""
    negatives: Literal["class", "matched"] = "class"
    """What forgotten rows are compared with: unseen rows of their classes, or matched pairs."""
    references: int = Field(default=1, ge=1)
    """How many retrained models there are for matched pairs."""
    publish: Literal["verdict", "figures"] = "verdict"
    """What git gets of the report: the verdict in words, or its figures too."""

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
