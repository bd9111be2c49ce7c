"""What `unlearn plan --json` answers."""

from pydantic import Field
from unlearn.cli.answers import Answer, AnswerPart
from unlearn.cli.batch_answer import BatchAnswer
from unlearn.stages.requests.costs import Option


class PlanCosts(AnswerPart):
    """Seconds by the timings of this machine; None where there is none yet.

    Parameters
    ----------
    this_request
        `unlearn repro` as a whole: training, the retraining check and everything else.
    whole_pipeline
        The same if every slice of every shard were trained.
    one_plain_model
        Training one model without shards on all remaining rows; nothing else.
    training
        The part of `this_request` that trains.
    check
        The part of `this_request` that is the retraining check of `verify`.
    cheapest
        The cheapest of the first three.
    jobs
        Shards that are trained in parallel.
    """

    this_request: float | None
    whole_pipeline: float | None
    one_plain_model: float | None
    training: float | None
    check: float | None
    cheapest: Option | None
    jobs: int


class PlanAnswer(Answer):
    """What the next run would do.

    Parameters
    ----------
    shards
        Shards to retrain.
    records
        Rows to forget.
    rows_to_retrain
        Rows that training reads; a row counts in each slice that reads it. Where a model is
        changed, what the change reads, in rows of a training: a row of a forest is in several
        trees, and counts as one where all of them read it.
    fraction_of_full_training
        The same as a share of all.
    stages
        Stages to run, in order.
    seconds_expected
        What `unlearn repro` will take, by the timings of this machine.
    slices
        The first slice to retrain, by shard.
    rows_remaining
        Rows that stay.
    costs
        Of this and of other ways to the same models.
    batch
        The requests that wait for each other, with that of `--ids` and `--subjects`; None if the
        settings let no request wait.
    changed
        Those of `shards` whose model is changed by single rows in place of being trained.
    refitted
        Those whose model could be changed, but is trained, because so many rows come or go that a
        change would not be faster. The result is the same.
    rows_by_shard
        What `rows_to_retrain` adds up, by shard.
    seconds_by_shard
        What the training of each is expected to take in one process; empty before the first
        training.
    seconds_by_stage
        What other stages of `stages` took the last time, where that was recorded.
    causes
        Files and settings that have changed, by stage of `stages`, where DVC names any.
    unchanged
        Stages that stay as they are, in order.
    shards_in_all, slices_in_all
        Shards of the project, and slices of each.
    """

    shards: list[str]
    records: int
    rows_to_retrain: int
    fraction_of_full_training: float
    stages: list[str]
    seconds_expected: float | None
    slices: dict[str, int]
    rows_remaining: int
    costs: PlanCosts
    batch: BatchAnswer | None = None
    changed: list[str] = Field(default_factory=list)
    refitted: list[str] = Field(default_factory=list)
    rows_by_shard: dict[str, int] = Field(default_factory=dict)
    seconds_by_shard: dict[str, float] = Field(default_factory=dict)
    seconds_by_stage: dict[str, float] = Field(default_factory=dict)
    causes: dict[str, list[str]] = Field(default_factory=dict)
    unchanged: list[str] = Field(default_factory=list)
    shards_in_all: int = 0
    slices_in_all: int = 1


class MethodsPlanAnswer(PlanAnswer):
    """The same in a post-hoc pipeline, which has no shards.

    Parameters
    ----------
    methods
        Seconds of the last run, by method to run.
    """

    methods: dict[str, float | None]
