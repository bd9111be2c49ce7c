"""Results of membership inference, and of the attack on canaries."""

from typing import ClassVar, Literal

from pydantic import Field
from unlearn.stages.verify_report.part import Interval, Part, Sentences

Outcome = Literal["pass", "fail", "inconclusive"]


class Control(Part):
    """An AUC whose answer is known beforehand; None where the samples are too small.

    Parameters
    ----------
    auc, ci
        The AUC and its 95 % interval.
    rows
        How many rows stood in for the forgotten ones.
    """

    auc: float | None = None
    ci: Interval | None = None
    rows: int = 0


class AttackResult(Part):
    """What one attack found; None where it could not be made or too few rows allow no number.

    Parameters
    ----------
    auc, ci
        Of forgotten rows against non-members, with its 95 % interval.
    tpr_at_fpr_1pct, tpr_at_fpr_0_1pct
        Share of forgotten rows found while so few non-members are; `_ci` their intervals.
    balanced_accuracy
        The best over all thresholds.
    detectable_auc
        The smallest AUC that this number of rows distinguishes from .5.
    forget_rows, holdout_rows
        Sample sizes.
    control
        Rows that are in the models, against the same non-members.
    negative_control
        One half of the non-members against the other.
    """

    auc: float | None = None
    ci: Interval | None = None
    tpr_at_fpr_1pct: float | None = None
    tpr_at_fpr_1pct_ci: Interval | None = None
    tpr_at_fpr_0_1pct: float | None = None
    tpr_at_fpr_0_1pct_ci: Interval | None = None
    balanced_accuracy: float | None = None
    detectable_auc: float | None = None
    forget_rows: int | None = None
    holdout_rows: int | None = None
    control: Control = Control()
    negative_control: Control = Control()


class Difference(Part):
    """By how much an AUC is larger than that on the retrained model, with its 95 % interval."""

    auc: float | None = None
    ci: Interval | None = None


class MatchedResult(Part):
    """What the deciding attack finds on pairs that are as hard as the forgotten rows.

    A pair is a held-out row with a forgotten row's label. None where too few forgotten rows have a
    match to give any number.

    Parameters
    ----------
    rows
        Forgotten rows.
    matched_rows
        Those with at least one match: the others are not judged.
    harder_rows, easier_rows
        Those without a match because all pairs of their label are easier, or harder.
    pairs
        Matches.
    holdout_rows
        Held-out rows in any match.
    caliper
        The largest difference of logits within a match.
    references
        Retrained models, the method `retrain` included.
    auc, retrained_auc
        Of forgotten rows against pairs: by this model, and by retrained models on average.
    difference
        By how much the former is larger, less what it is for a retrained model on average.
    control
        The same of the original.
    spread
        Standard deviation of the difference among retrained models; None with one.
    """

    rows: int | None = None
    matched_rows: int | None = None
    harder_rows: int | None = None
    easier_rows: int | None = None
    pairs: int | None = None
    holdout_rows: int | None = None
    caliper: float | None = None
    references: int | None = None
    auc: float | None = None
    retrained_auc: float | None = None
    difference: Difference = Difference()
    control: Difference = Difference()
    spread: float | None = None


class ModelAttacks(Part):
    """All attacks on one model, by name."""

    attacks: dict[str, AttackResult] = Field(default_factory=dict)


class Membership(AttackResult):
    """The result of the deciding attack on the shard models, and of all other attacks.

    Without shards the one model is reported under both names.

    Parameters
    ----------
    attack
        The deciding attack.
    verdict, reasons, reasons_in_words
        What it shows by itself, and why: with figures, and without.
    attacks
        All attacks on the shard models, by name.
    room
        By how much the AUCs could change without another verdict; None if it is inconclusive.
    final_model
        All attacks on the final model.
    difference_from_retrain
        For a post-hoc method; None if it could not be measured.
    matched
        The deciding attack on pairs that are as hard, which decides the verdict if
        `verify.negatives` is `matched`; absent if it is not, and None if it could not be measured.
    """

    OPTIONAL: ClassVar[frozenset[str]] = frozenset(
        {"difference_from_retrain", "matched", "reasons_in_words", "room"}
    )

    attack: str | None = None
    verdict: Outcome | None = None
    reasons: Sentences = ()
    reasons_in_words: Sentences = ()
    room: float | None = None
    attacks: dict[str, AttackResult] = Field(default_factory=dict)
    final_model: ModelAttacks = ModelAttacks()
    difference_from_retrain: Difference | None = None
    matched: MatchedResult | None = None


class CanaryResult(Part):
    """What an attack on the shard models found of canaries that are not on the forget list.

    Parameters
    ----------
    count, members
        Canaries in all, and those that were trained on.
    attack
        LiRA, or the loss where there are too few shards to compare with; None where the models
        only vote, or answer with something that is no number.
    auc, ci
        Members against those left out, with a 95 % interval; None where either are too few.
    guesses, correct, epsilon_lower_bound
        See `one_run_audit.OneRun`.
    """

    count: int | None = None
    members: int | None = None
    attack: str | None = None
    auc: float | None = None
    ci: Interval | None = None
    guesses: int | None = None
    correct: int | None = None
    epsilon_lower_bound: float | None = None
