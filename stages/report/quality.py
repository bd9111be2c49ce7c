"""What the checks found, what the final model is worth, and what all this was made in."""

from collections.abc import Mapping
from dataclasses import dataclass

from unlearn.stages.report import formatting, pictures
from unlearn.stages.report.contents import Contents
from unlearn.stages.report.language import utility_measures
from unlearn.stages.report.methods import kind_of, label_in_words
from unlearn.stages.report.number_quality import (
    is_of_numbers,
    number_headline,
    number_measures,
)
from unlearn.stages.verify_report.quality import ClassUtility, Utility
from unlearn.stages.verify_report.report import Report

#: How many classes a page can show and still be read.
_MOST_CLASSES = 40


@dataclass(frozen=True)
class ClassRow:
    """Accuracy on one class."""

    name: str
    rows: str
    accuracy: formatting.Measured
    before: str | None


@dataclass(frozen=True)
class UtilityView:
    """What the final model is worth."""

    headline: str
    measures: tuple[tuple[str, str, str | None, str], ...]
    has_before: bool
    classes: tuple[ClassRow, ...]
    left_out: int


def utility(contents: Contents) -> UtilityView:
    """Return the final model's quality, and that before the last run if it is known."""
    now = contents.report.utility
    before = None if contents.before is None else contents.before.utility
    if is_of_numbers(now):
        return _of_numbers(now, before)
    if before is not None and before.accuracy is None:
        before = None
    of_text = contents.report.modality == "text"
    accuracy, rows = now.accuracy, now.rows
    if accuracy is None:
        headline = "The final model's quality was not measured: there are no held-out records."
    elif of_text:
        headline = (
            f"The final model ranks {formatting.percent(accuracy)} of the tokens first in the "
            f"answers of {formatting.count(rows)} held-out records."
        )
    else:
        headline = (
            f"The final model is right on {formatting.percent(accuracy)} of "
            f"{formatting.count(rows)} held-out records."
        )
    measures = utility_measures(now, before) if of_text else _class_measures(now, before)
    values = (accuracy, now.macro_f1, now.log_loss, now.calibration_error)
    if all(value is None for value in values):
        measures = ()
    classes = _classes(now, None if before is None else before.per_class)
    return UtilityView(
        headline,
        measures,
        before is not None,
        classes[:_MOST_CLASSES],
        len(classes[_MOST_CLASSES:]),
    )


def _of_numbers(now: Utility, before: Utility | None) -> UtilityView:
    """Return the quality of a regression, which has no classes."""
    if before is not None and before.mean_absolute_error is None:
        before = None
    measures = number_measures(now, before)
    return UtilityView(number_headline(now), measures, before is not None, (), 0)


def _class_measures(
    now: Utility, before: Utility | None
) -> tuple[tuple[str, str, str | None, str], ...]:
    """Return name, value, value before and meaning of each measure of a classifier."""
    span = formatting.between_shares(formatting.wilson(now.accuracy, now.rows))
    old = before or Utility()

    def was(text: str) -> str | None:
        return None if before is None else text

    return (
        (
            "Accuracy",
            formatting.percent(now.accuracy) + (f" ({span})" if span else ""),
            was(formatting.percent(old.accuracy)),
            "share of records with the right class; 95% interval by Wilson",
        ),
        (
            "Macro F1",
            formatting.decimal(now.macro_f1),
            was(formatting.decimal(old.macro_f1)),
            "mean F1 of the classes, each with the same weight; 1 is best",
        ),
        (
            "Log loss",
            formatting.decimal(now.log_loss),
            was(formatting.decimal(old.log_loss)),
            "mean loss of the true class, in nats; 0 is best",
        ),
        (
            "Calibration error",
            formatting.decimal(now.calibration_error),
            was(formatting.decimal(old.calibration_error)),
            "difference between confidence and accuracy; 0 is best",
        ),
    )


def _classes(now: Utility, before: Mapping[str, ClassUtility] | None) -> tuple[ClassRow, ...]:
    """Return the classes, those first that the model gets wrong most often."""
    found = now.per_class
    if all(one.accuracy is None for one in found.values()):
        return ()
    rows = []
    for label in sorted(found, key=lambda label: _rank(found[label])):
        one = found[label]
        ends = formatting.wilson(one.accuracy, one.rows)
        picture = None
        if one.accuracy is not None:
            picture = pictures.on_a_scale(one.accuracy, ends, now.accuracy, "forgotten")
        was = (before or {}).get(label, ClassUtility())
        rows.append(
            ClassRow(
                formatting.plain(label),
                formatting.count(one.rows),
                formatting.Measured(
                    formatting.percent(one.accuracy), formatting.between_shares(ends), picture
                ),
                formatting.percent(was.accuracy) if before else None,
            )
        )
    return tuple(rows)


def _rank(one: ClassUtility) -> float:
    return 2.0 if one.accuracy is None else one.accuracy


@dataclass(frozen=True)
class ExactnessView:
    """What recomputing and retraining found."""

    headline: str
    rows: tuple[tuple[str, str], ...]
    is_posthoc: bool
    is_of_trees: bool = False


def exactness(report: Report) -> ExactnessView:
    """Return what recomputing every lineage, and retraining, found."""
    if report.kind == "posthoc":
        return _of_one_model(report)
    found = report.exactness
    reran, matched = found.reran, found.matched
    clean, problems = found.lineage_clean, found.problems
    if problems:
        headline = f"{formatting.plural(problems, 'check')} found a difference."
    elif clean is True and reran and reran == matched:
        headline = "Every link was recomputed, and what was retrained came out the same."
        if found.trees is not None:
            headline = "Every link was recomputed, and trees that were fitted again are the same."
    elif clean is True:
        headline = "Every link was recomputed from the rows; no shard was retrained as a check."
    else:
        headline = "Not all checks were made."
    again = (
        (
            ("Of these retrained on the retained rows", formatting.count(reran)),
            ("Gave the same model", formatting.count(matched)),
        )
        if found.trees is None
        else (
            ("Trees of their models", formatting.count(found.trees)),
            ("Of these fitted again on the retained rows", formatting.count(reran)),
            ("Gave the same tree", formatting.count(matched)),
        )
    )
    rows = (
        ("Shards touched by the forget list", formatting.count(found.touched)),
        *again,
        (
            "Lineage of every shard recomputed from its rows",
            formatting.MISSING
            if clean is None
            else "agrees"
            if clean is True
            else "does not agree",
        ),
        ("Differences found", formatting.count(problems)),
    )
    return ExactnessView(headline, rows, is_posthoc=False, is_of_trees=found.trees is not None)


def _of_one_model(report: Report) -> ExactnessView:
    """Return what the checks found of the deployed model in a project without shards."""
    found = report.exactness
    reran, matched = found.reran, found.matched
    clean, problems = found.lineage_clean, found.problems
    is_exact = kind_of(report.label) == "exact"
    if problems:
        headline = f"{formatting.plural(problems, 'check')} found a difference."
    elif problems is None:
        headline = "Not all checks were made."
    elif not is_exact:
        headline = "No exactness is claimed; the checks found no difference."
    elif reran and reran == matched and clean is True:
        headline = (
            "The deployed model was retrained on the retained records: the result is the same."
        )
    elif clean is True:
        headline = "Its lineage is that of the retained records; it was not retrained as a check."
    else:
        headline = "Not all checks were made."
    rows = [("Differences found", formatting.count(problems))]
    if is_exact:
        said = "agrees" if clean is True else "does not agree"
        again = "the same numbers" if reran == matched else "other numbers"
        rows += [
            (
                "Lineage of the deployed model, recomputed from the retained records",
                formatting.MISSING if clean is None else said,
            ),
            ("Retrained on these records", again if reran else "not done"),
        ]
    held = "yes" if found.touched else "no"
    rows.append(
        (
            "The original was trained on records of the forget list",
            formatting.MISSING if found.touched is None else held,
        )
    )
    return ExactnessView(headline, tuple(rows), is_posthoc=True)


@dataclass(frozen=True)
class IdentityView:
    """The environment of the evidence, and digests of its inputs."""

    label: str
    is_posthoc: bool
    environment: tuple[tuple[str, str], ...]
    digests: tuple[tuple[str, str], ...]
    models: tuple[tuple[str, str], ...]


def identity(contents: Contents) -> IdentityView:
    """Return the environment of the evidence, and digests of its inputs."""
    report = contents.report
    is_posthoc = report.kind == "posthoc"
    facts, models = report.environment, report.models
    return IdentityView(
        label=label_in_words(report.label) if is_posthoc else formatting.plain(report.label, 40),
        is_posthoc=is_posthoc,
        environment=tuple(
            (formatting.plain(name, 40), formatting.plain(facts[name], 120))
            for name in sorted(facts)
        ),
        digests=(
            ("Forget list, SHA-256", formatting.plain(report.forget_list.digest)),
            ("Settings, SHA-256", formatting.plain(report.settings)),
        ),
        models=tuple(
            (formatting.plain(name, 24), formatting.plain(models[name], 48)) for name in models
        ),
    )
