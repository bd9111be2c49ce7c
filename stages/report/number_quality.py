"""What the final model of a regression is worth, as the page shows it."""

from unlearn.stages.report import formatting
from unlearn.stages.verify_report.quality import Utility


def is_of_numbers(utility: Utility) -> bool:
    """Return whether a report measured predicted numbers."""
    return "mean_absolute_error" in utility.model_fields_set


def number_headline(utility: Utility) -> str:
    """Return how far the predictions are from the targets, in one sentence."""
    rows, error = formatting.count(utility.rows), utility.mean_absolute_error
    if error is None:
        return f"The final model's quality was not measured: {rows} held-out records are too few."
    return (
        f"The predictions of the final model are {formatting.amount(error)} from the target on "
        f"average, on {rows} held-out records."
    )


def number_measures(
    now: Utility, before: Utility | None
) -> tuple[tuple[str, str, str | None, str], ...]:
    """Return name, value, value before and meaning of each measure of a regression."""
    old = before or Utility()

    def was(text: str) -> str | None:
        return None if before is None else text

    found = [
        (
            "Mean absolute error",
            formatting.amount(now.mean_absolute_error),
            was(formatting.amount(old.mean_absolute_error)),
            "mean distance of the prediction from the target, in its units; 0 is best",
        ),
        (
            "Root mean squared error",
            formatting.amount(now.root_mean_squared_error),
            was(formatting.amount(old.root_mean_squared_error)),
            "the same, with large distances counting more",
        ),
        (
            "R squared",
            formatting.decimal(now.r_squared),
            was(formatting.decimal(old.r_squared)),
            "share of the targets' variance that is explained; 1 is best, and 0 is their mean",
        ),
    ]
    if now.quantile is not None:
        found.append(
            (
                f"Pinball loss of the quantile {now.quantile:g}",
                formatting.amount(now.pinball_loss),
                was(formatting.amount(old.pinball_loss)),
                "how good the predicted quantile is, in units of the target; 0 is best",
            )
        )
    return tuple(found) if now.mean_absolute_error is not None else ()
