"""A model's utility on unseen rows, and its memorisation of any rows."""

from typing import ClassVar

from pydantic import Field
from unlearn.stages.verify_report.part import Part


class Knowledge(Part):
    """What a language model knows of some rows: means over rows unless it says otherwise.

    Parameters
    ----------
    rows, tokens
        How many rows, and tokens of answers.
    extraction_strength, exact_memorisation, answer_probability
        See `stages/text/metrics.py`.
    perplexity
        Over all tokens of answers.
    truth_ratio
        Whether the right answer is likelier than wrong ones; None where no row has both.
    rouge_l
        Recall of greedy generation, on a sample; None for rows without prompts, or whose answers
        have no word that ROUGE sees.
    rouge_l_stemmed
        The same by the stems of words, as in published figures of TOFU.
    """

    #: Older reports do not have it.
    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"rouge_l_stemmed"})

    rows: int | None = None
    tokens: int | None = None
    extraction_strength: float | None = None
    exact_memorisation: float | None = None
    answer_probability: float | None = None
    perplexity: float | None = None
    truth_ratio: float | None = None
    rouge_l: float | None = None
    rouge_l_stemmed: float | None = None


class KnowledgeOfRows(Part):
    """A final model's memorisation of forgotten rows, and of unseen rows."""

    forgotten: Knowledge | None = None
    holdout: Knowledge | None = None


class ClassUtility(Part):
    """Quality on the holdout's rows of one class; accuracy None where these are too few."""

    rows: int | None = None
    accuracy: float | None = None


class Utility(Part):
    """Quality on the holdout; None if there are no rows.

    Parameters
    ----------
    rows
        Number of rows that were evaluated.
    accuracy, log_loss
        Of classes; for rows of text, of the answers' tokens.
    macro_f1, calibration_error
        Of classes.
    per_class
        By class label.
    mean_absolute_error, root_mean_squared_error, r_squared
        Of predicted numbers; None for fewer rows than verify.min_rows, and R squared where all
        targets are the same.
    quantile, pinball_loss
        Of a regression that predicts a quantile: which one, and its mean pinball loss.
    language
        What a language model knows of these rows; for rows of text alone.
    """

    OPTIONAL: ClassVar[frozenset[str]] = frozenset(
        {
            "mean_absolute_error",
            "root_mean_squared_error",
            "r_squared",
            "quantile",
            "pinball_loss",
            "language",
        }
    )

    rows: int | None = None
    accuracy: float | None = None
    log_loss: float | None = None
    macro_f1: float | None = None
    calibration_error: float | None = None
    per_class: dict[str, ClassUtility] = Field(default_factory=dict)
    mean_absolute_error: float | None = None
    root_mean_squared_error: float | None = None
    r_squared: float | None = None
    quantile: float | None = None
    pinball_loss: float | None = None
    language: Knowledge | None = None
