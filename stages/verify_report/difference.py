"""What someone who has two final models can tell about rows."""

from typing import ClassVar

from pydantic import Field
from unlearn.stages.verify_report.membership import Control, Difference
from unlearn.stages.verify_report.part import Interval, Part, Sentences


class DifferenceAttack(Part):
    """What one difference attack found; None where too few rows allow no number.

    Parameters
    ----------
    auc, ci
        Of the rows that went against non-members, with its 95 % interval.
    tpr_at_fpr_1pct, tpr_at_fpr_0_1pct
        Share of the rows that went that are found while so few non-members are; `_ci` their
        intervals.
    detectable_auc
        The smallest AUC that this number of rows distinguishes from .5.
    stayed
        The same attack on rows that both models were trained on.
    negative_control
        One half of the non-members against the other.
    older_alone, newer_alone
        The rows that went against non-members, by the answers of one of the two models.
    added
        By how much the AUC of both models is larger than that of the older one alone.
    """

    auc: float | None = None
    ci: Interval | None = None
    tpr_at_fpr_1pct: float | None = None
    tpr_at_fpr_1pct_ci: Interval | None = None
    tpr_at_fpr_0_1pct: float | None = None
    tpr_at_fpr_0_1pct_ci: Interval | None = None
    detectable_auc: float | None = None
    stayed: Control = Control()
    negative_control: Control = Control()
    older_alone: Control = Control()
    newer_alone: Control = Control()
    added: Difference = Difference()


class DifferenceAttacks(Part):
    """All difference attacks on one kind of target, by name."""

    attacks: dict[str, DifferenceAttack] = Field(default_factory=dict)


class Reconstruction(Part):
    """How much the rows that went resemble what was computed from the weights of linear models.

    Parameters
    ----------
    auc, ci
        Of the cosine between a row and the reconstruction of its shard, for rows that went against
        non-members, with its 95 % interval.
    cosine, cosine_of_others
        Median cosine of the rows that went, and of non-members.
    shards
        How many shards had a reconstruction.
    """

    auc: float | None = None
    ci: Interval | None = None
    cosine: float | None = None
    cosine_of_others: float | None = None
    shards: int = 0


class DifferenceCounts(Part):
    """How many rows there were.

    Parameters
    ----------
    lines
        Lines that came onto the forget list.
    without_rows
        Those that no row has.
    went
        Rows that only the older model was trained on.
    held_out
        Rows that were forgotten too, but that no model was trained on.
    shards
        How many shards had such rows.
    stayed, others
        Rows in the sample that are in both models, and that are in neither.
    """

    lines: int = 0
    without_rows: int = 0
    went: int = 0
    held_out: int = 0
    shards: int = 0
    stayed: int | None = None
    others: int | None = None


class ModelDifference(Part):
    """What two final models together give away.

    Parameters
    ----------
    rows
        The counts.
    reasons
        Why nothing, or not all, was measured, in sentences.
    notes
        What else differs between the two models.
    final_model
        Attacks on the answers of the two final models.
    shard_models
        The worst case: attacks on the two models of each row's own shard.
    reconstruction
        For linear models; None where there is none.
    """

    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"reconstruction"})

    rows: DifferenceCounts = DifferenceCounts()
    reasons: Sentences = ()
    notes: Sentences = ()
    final_model: DifferenceAttacks = DifferenceAttacks()
    shard_models: DifferenceAttacks = DifferenceAttacks()
    reconstruction: Reconstruction | None = None
