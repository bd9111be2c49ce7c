"""What is known of each post-hoc method's model, and of the original."""

from typing import Any, ClassVar, Literal

from pydantic import Field
from unlearn.stages.verify_report.membership import Membership
from unlearn.stages.verify_report.part import Part, Sentences
from unlearn.stages.verify_report.quality import Knowledge

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
    disagreement_with_retrain, kl_from_retrain
        On these held-out rows; see `final_model/distance.py`.
    disagreement_on_forgotten
        On the forgotten rows.
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

    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"language", "reasons_in_words"})

    label: str | None = None
    verdict: MethodOutcome = "inconclusive"
    reasons: Sentences = ()
    reasons_in_words: Sentences = ()
    forget_accuracy: float | None = None
    retain_accuracy: float | None = None
    holdout_accuracy: float | None = None
    membership: Membership | None = None
    disagreement_with_retrain: float | None = None
    kl_from_retrain: float | None = None
    disagreement_on_forgotten: float | None = None
    relearning_ratio: float | None = None
    passes: dict[str, float] = Field(default_factory=dict)
    stopped_by: str | None = None
    rolled_back: bool = False
    facts: dict[str, Any] = Field(default_factory=dict)
    language: ModelKnowledge | None = None

    @property
    def kind_of_label(self) -> str | None:
        """The label without the numbers of a certificate."""
        return None if self.label is None else self.label.partition("(")[0]
