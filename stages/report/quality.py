"""What the checks found, what the final model is worth, and what all this was made in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from unlearn.stages.report import formatting as words
from unlearn.stages.report import pictures
from unlearn.stages.report.contents import Contents
from unlearn.stages.report.language import is_text, utility_measures
from unlearn.stages.report.methods import is_posthoc, kind_of, label_in_words

#: How many classes a page can show and still be read.
_MOST_CLASSES = 40
_MEASURES = ("accuracy", "macro_f1", "log_loss", "calibration_error")


@dataclass(frozen=True)
class ClassRow:
    """Accuracy on one class."""

    name: str
    rows: str
    accuracy: words.Measured
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
    """Return the final model's quality, beside that before the last run where it is known."""
    now = words.entry(contents.report, "utility")
    before = words.entry(contents.before, "utility")
    has_before = words.number(before.get("accuracy")) is not None
    accuracy, rows = now.get("accuracy"), now.get("rows")
    of_text = is_text(contents.report)
    if words.number(accuracy) is None:
        headline = "The final model's quality was not measured: there is nothing to measure it on."
    elif of_text:
        headline = (
            f"The final model finds {words.percent(accuracy)} of the tokens likeliest in the "
            f"answers of {words.count(rows)} held-out records."
        )
    else:
        headline = (
            f"The final model is right on {words.percent(accuracy)} of "
            f"{words.count(rows)} held-out records."
        )
    span = words.between_shares(words.wilson(accuracy, rows))

    def was(text: str) -> str | None:
        return text if has_before else None

    measures: tuple[tuple[str, str, str | None, str], ...] = (
        (
            "Accuracy",
            words.percent(accuracy) + (f" ({span})" if span else ""),
            was(words.percent(before.get("accuracy"))),
            "share of records whose class is right; 95% interval by Wilson",
        ),
        (
            "Macro F1",
            words.decimal(now.get("macro_f1")),
            was(words.decimal(before.get("macro_f1"))),
            "as good for rare classes as for common ones; 1 is best",
        ),
        (
            "Log loss",
            words.decimal(now.get("log_loss")),
            was(words.decimal(before.get("log_loss"))),
            "surprise at the truth, in nats; 0 is best",
        ),
        (
            "Calibration error",
            words.decimal(now.get("calibration_error")),
            was(words.decimal(before.get("calibration_error"))),
            "how far stated confidence is from the share that is right; 0 is best",
        ),
    )
    if of_text:
        measures = utility_measures(now, before, has_before=has_before)
    if all(words.number(now.get(key)) is None for key in _MEASURES):
        measures = ()
    classes = _classes(now, words.entry(before, "per_class") if has_before else {})
    return UtilityView(
        headline, measures, has_before, classes[:_MOST_CLASSES], len(classes[_MOST_CLASSES:])
    )


def _classes(now: Mapping[str, Any], before: Mapping[str, Any]) -> tuple[ClassRow, ...]:
    """Return the classes, those first that the model gets wrong most often."""
    found = words.entry(now, "per_class")
    if all(words.number(words.entry(found, label).get("accuracy")) is None for label in found):
        return ()
    rows = []
    for label in sorted(found, key=lambda label: _rank(words.entry(found, label))):
        one = words.entry(found, label)
        value = words.number(one.get("accuracy"))
        ends = words.wilson(value, one.get("rows"))
        overall = words.number(now.get("accuracy"))
        picture = None if value is None else pictures.on_a_scale(value, ends, overall, "forgotten")
        rows.append(
            ClassRow(
                words.plain(label),
                words.count(one.get("rows")),
                words.Measured(words.percent(value), words.between_shares(ends), picture),
                words.percent(words.entry(before, label).get("accuracy")) if before else None,
            )
        )
    return tuple(rows)


def _rank(one: Mapping[str, Any]) -> float:
    value = words.number(one.get("accuracy"))
    return 2.0 if value is None else value


@dataclass(frozen=True)
class ExactnessView:
    """What recomputing and retraining found."""

    headline: str
    rows: tuple[tuple[str, str], ...]
    is_posthoc: bool


def exactness(report: Mapping[str, Any]) -> ExactnessView:
    """Return what recomputing every lineage, and retraining, found."""
    found = words.entry(report, "exactness")
    reran, matched = words.number(found.get("reran")), words.number(found.get("matched"))
    clean = found.get("lineage_clean")
    problems = words.number(found.get("problems"))
    if is_posthoc(report):
        return _of_one_model(report, found)
    if problems:
        headline = f"{words.plural(int(problems), 'check')} found a difference."
    elif clean is True and reran and reran == matched:
        headline = "Every link was recomputed, and what was retrained came out the same."
    elif clean is True:
        headline = "Every link was recomputed from the rows; no shard was trained again to check."
    else:
        headline = "The checks were not all made."
    rows = (
        ("Shards that the forget list touches", words.count(found.get("touched"))),
        ("Of these trained again, from the rows that stay", words.count(reran)),
        ("Came out with the same numbers", words.count(matched)),
        (
            "Lineage of every shard recomputed from its rows",
            words.MISSING if clean is None else "agrees" if clean is True else "does not agree",
        ),
        ("Differences found", words.count(problems)),
    )
    return ExactnessView(headline, rows, is_posthoc=False)


def _of_one_model(report: Mapping[str, Any], found: Mapping[str, Any]) -> ExactnessView:
    """Return what the checks found of the deployed model in a project without shards."""
    reran, matched = words.number(found.get("reran")), words.number(found.get("matched"))
    clean, problems = found.get("lineage_clean"), words.number(found.get("problems"))
    is_exact = kind_of(report.get("label")) == "exact"
    if problems:
        headline = f"{words.plural(int(problems), 'check')} found a difference."
    elif problems is None:
        headline = "The checks were not all made."
    elif not is_exact:
        headline = "No exactness is claimed; the checks found no difference."
    elif reran and reran == matched and clean is True:
        headline = "The deployed model was trained again from the records that stay: the same."
    elif clean is True:
        headline = (
            "Its lineage is that of the records that stay; it was not trained again to check."
        )
    else:
        headline = "The checks were not all made."
    rows = [("Differences found", words.count(problems))]
    if is_exact:
        said = "agrees" if clean is True else "does not agree"
        again = "the same numbers" if reran == matched else "other numbers"
        rows += [
            (
                "Lineage of the deployed model, recomputed from the records that stay",
                words.MISSING if clean is None else said,
            ),
            ("Trained again from these records", again if reran else "not done"),
        ]
    touched = words.number(found.get("touched"))
    held = "yes" if touched else "no"
    rows.append(
        (
            "The original was trained on records of the forget list",
            words.MISSING if touched is None else held,
        )
    )
    return ExactnessView(headline, tuple(rows), is_posthoc=True)


@dataclass(frozen=True)
class IdentityView:
    """What the evidence was made in, and what it was made of."""

    label: str
    is_posthoc: bool
    environment: tuple[tuple[str, str], ...]
    digests: tuple[tuple[str, str], ...]
    models: tuple[tuple[str, str], ...]


def identity(contents: Contents) -> IdentityView:
    """Return the environment that the evidence was made in, and digests of what it was made of."""
    report = contents.report
    facts, models = words.entry(report, "environment"), words.entry(report, "models")
    return IdentityView(
        label=(
            label_in_words(report.get("label"))
            if is_posthoc(report)
            else words.plain(report.get("label"), 40)
        ),
        is_posthoc=is_posthoc(report),
        environment=tuple(
            (words.plain(name, 40), words.plain(facts[name], 120)) for name in sorted(facts)
        ),
        digests=(
            (
                "Forget list, SHA-256",
                words.plain(words.entry(report, "forget_list").get("digest")),
            ),
            ("Settings, SHA-256", words.plain(report.get("settings"))),
        ),
        models=tuple((words.plain(name, 24), words.plain(models[name], 48)) for name in models),
    )
