"""What is known of each post-hoc method's model, and of the original."""

from typing import Any, ClassVar, Literal

from pydantic import Field
from unlearn.stages.verify_report.membership import Membership
from unlearn.stages.verify_report.part import Part, Sentences
from unlearn.stages.verify_report.quality import Knowledge

#: What a model answers like; see `RelativeResult`.
Finding = Literal["retrained", "changed", "original", "unclear"]

MethodOutcome = Literal["pass", "fail", "inconclusive", "not applicable"]


class ForgetQuality(Part):
    """Truth ratios compared with the retrained model's by a Kolmogorov-Smirnov test."""

    distance: float | None = None
    p_value: float | None = None


class Relearned(Part):
    """Extraction strength of one half of the forgotten rows after tuning on the other half.

    Parameters
    ----------
    extraction_strength, before
        After and before the tuning.
    rows, steps
        Rows that were evaluated, and steps of the training.
    """

    extraction_strength: float | None = None
    before: float | None = None
    rows: int | None = None
    steps: int | None = None


class FourBit(Part):
    """What is left when a model's weights are rounded to four bits."""

    extraction_strength: float | None = None
    utility_ratio: float | None = None


class ModelKnowledge(Part):
    """What a language model knows; None where too few rows allow no number.

    Parameters
    ----------
    forget, retain, holdout
        By kind of rows.
    utility, utility_ratio
        On retained and held-out rows, and as a share of the original's.
    perplexity, perplexity_ratio
        Of generic text, and as a multiple of the original's.
    forget_quality
        Against the retrained model.
    relearned, four_bit
        After a little tuning, and after rounding.
    priv_leak
        MUSE's measure of the deciding attack, against the retrained model; of a method.
    collapsed
        Whether the model no longer answers sensibly; of a method.
    """

    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"priv_leak", "collapsed"})

    forget: Knowledge | None = None
    retain: Knowledge | None = None
    holdout: Knowledge | None = None
    utility: float | None = None
    utility_ratio: float | None = None
    perplexity: float | None = None
    perplexity_ratio: float | None = None
    forget_quality: ForgetQuality | None = None
    relearned: Relearned | None = None
    four_bit: FourBit | None = None
    priv_leak: float | None = None
    collapsed: bool = False


class OriginalResult(Part):
    """What is known of the language model that all methods start from; see `MethodResult`."""

    forget_accuracy: float | None = None
    retain_accuracy: float | None = None
    holdout_accuracy: float | None = None
    language: ModelKnowledge | None = None


class RelativeResult(Part):
    """Whether a model answers the forgotten rows like the retrained model or like the original.

    Distances are maximum mean discrepancies of the logits of the right answers; 0 is no distance.

    Parameters
    ----------
    nearer
        `original`: the model is nearer to the original than to the retrained model. `changed`: it
        is not, but further from the retrained model than the original is. `retrained`: it is
        nearer to the retrained model than to the original, and nearer than the original is.
        `unclear`: none of these is significant at 5 %.
    to_retrained, to_original
        The model's distances.
    original_to_retrained
        The distance of the original from the retrained model.
    p_value, p_value_original
        Of the model being nearer to the retrained model than to the original, and the reverse.
    p_value_closer, p_value_further
        Of the model being nearer to the retrained model than the original is, and the reverse.
    rows
        Forgotten rows that were compared.
    """

    nearer: Finding | None = None
    to_retrained: float | None = None
    to_original: float | None = None
    original_to_retrained: float | None = None
    p_value: float | None = None
    p_value_original: float | None = None
    p_value_closer: float | None = None
    p_value_further: float | None = None
    rows: int | None = None

    @property
    def strongest(self) -> float | None:
        """The p-value behind `nearer`: of two that are both needed the larger one."""
        if self.nearer == "original":
            return self.p_value_original
        if self.nearer == "changed":
            return self.p_value_further
        if self.nearer is None or self.p_value is None or self.p_value_closer is None:
            return None
        return max(self.p_value, self.p_value_closer)


class MethodResult(Part):
    """What is known of one method; None where it could not be measured, or too few rows allow it.

    Parameters
    ----------
    label
        `exact`, `certified(...)` or `approximate`.
    verdict, reasons, reasons_in_words
        The outcome by itself, and why, with figures and without: `not applicable` where the method
        made no model.
    forget_accuracy, retain_accuracy, holdout_accuracy
        On forgotten rows, on retained rows, and on held-out rows that no guard looked at.
    membership
        What the attacks found.
    relative
        The relative test; absent if there is no retrained model or no original to compare with,
        and of the retrained model itself.
    forget_error, retain_error, holdout_error
        Of a regression in place of accuracies: root mean squared errors in the target's units.
    disagreement_with_retrain, kl_from_retrain
        On these held-out rows; see `final_model/distance.py`.
    disagreement_on_forgotten
        On the forgotten rows.
    distance_from_retrain, distance_on_forgotten
        Of a regression in place of these: root mean squared distances of both predictions, in the
        target's units.
    relearning_ratio
        Steps to learn the forgotten rows again, over those of the retrained model.
    passes
        How often each row was read, by `forget` and `retain`.
    stopped_by, rolled_back
        What ended an iterative method, and whether the guard went back.
    facts
        What else the method reports: JSON values by name.
    language
        For a language model; absent for other models.
    """

    OPTIONAL: ClassVar[frozenset[str]] = frozenset(
        {
            "language",
            "reasons_in_words",
            "relative",
            "forget_error",
            "retain_error",
            "holdout_error",
            "distance_from_retrain",
            "distance_on_forgotten",
        }
    )

    label: str | None = None
    verdict: MethodOutcome = "inconclusive"
    reasons: Sentences = ()
    reasons_in_words: Sentences = ()
    forget_accuracy: float | None = None
    retain_accuracy: float | None = None
    holdout_accuracy: float | None = None
    forget_error: float | None = None
    retain_error: float | None = None
    holdout_error: float | None = None
    membership: Membership | None = None
    relative: RelativeResult | None = None
    disagreement_with_retrain: float | None = None
    kl_from_retrain: float | None = None
    disagreement_on_forgotten: float | None = None
    distance_from_retrain: float | None = None
    distance_on_forgotten: float | None = None
    relearning_ratio: float | None = None
    passes: dict[str, float] = Field(default_factory=dict)
    stopped_by: str | None = None
    rolled_back: bool = False
    facts: dict[str, Any] = Field(default_factory=dict)
    language: ModelKnowledge | None = None

    @property
    def is_of_numbers(self) -> bool:
        """Whether it has errors of predicted numbers in place of accuracies."""
        return "forget_error" in self.model_fields_set

    @property
    def quality(self) -> tuple[float | None, float | None, float | None]:
        """Accuracies or errors on forgotten, retained and held-out rows."""
        if self.is_of_numbers:
            return self.forget_error, self.retain_error, self.holdout_error
        return self.forget_accuracy, self.retain_accuracy, self.holdout_accuracy

    @property
    def distances(self) -> tuple[float | None, float | None]:
        """How far it is from the retrained model, on held-out and on forgotten rows."""
        if self.is_of_numbers:
            return self.distance_from_retrain, self.distance_on_forgotten
        return self.disagreement_with_retrain, self.disagreement_on_forgotten

    @property
    def kind_of_label(self) -> str | None:
        """The label without the numbers of a certificate."""
        return None if self.label is None else self.label.partition("(")[0]
