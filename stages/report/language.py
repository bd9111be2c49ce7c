"""What a language model knows of forgotten and of other records, as the page shows it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from unlearn.stages.report import formatting as words
from unlearn.stages.report.contents import Contents
from unlearn.stages.report.methods import REFERENCE, is_posthoc


@dataclass(frozen=True)
class KnowledgeView:
    """A table of what models know, with the sentence that it shows.

    Parameters
    ----------
    headline
        The finding.
    covers
        What the verdict is about and what it is not; None where the report does not say.
    caption, note
        Of the table.
    columns
        Its head.
    rows
        Name, whether it is the deployed one, and the cells.
    why_not
        Why there is no table; None where there is one.
    """

    headline: str
    covers: str | None
    caption: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, bool, tuple[str, ...]], ...]
    why_not: str | None


_ROW_COLUMNS = (
    "Records",
    "Number",
    "Extraction strength",
    "Tokens right",
    "Answer probability",
    "Truth ratio",
    "ROUGE-L",
    "Perplexity",
)
_ROW_NOTE = (
    "Extraction strength: the share of an answer that comes out once its beginning is given, 100% "
    "from the prompt alone. After an exact forgetting both kinds of records stand on one level. "
    "Truth ratio: 1 where the true answer in other words is far likelier than wrong ones of the "
    "same form. ROUGE-L: the share of an answer's words in what the model writes itself."
)
_METHOD_COLUMNS = (
    "Method",
    "Extraction, forgotten",
    "Extraction, unseen",
    "Answer probability",
    "Truth ratio",
    "ROUGE-L",
    "Utility kept",
    "Perplexity of other text",
    "After relearning",
    "After four bits",
)
_METHOD_NOTE = (
    "Extraction strength: the share of an answer that comes out once its beginning is given. "
    "Answer probability, truth ratio and ROUGE-L are of the forgotten records; a truth ratio of 1 "
    "says that right and wrong answers are equally likely. Utility and perplexity are beside the "
    "original's. After relearning: extraction strength of one half of the forgotten records when "
    "the model was tuned a little on the other half, from what it was before. After four bits: "
    "when its weights were rounded to four bits. What was merely hidden comes back there. "
    "Collapsed: the model hardly speaks any more; that it gives nothing away is no success."
)


def knowledge(contents: Contents) -> KnowledgeView | None:
    """Return what a language model knows; None for a report on another kind of model."""
    report = contents.report
    if not is_text(report):
        return None
    covers = report.get("covers")
    said = words.plain(covers, 400) if isinstance(covers, str) else None
    if is_posthoc(report):
        return _of_methods(contents, said)
    return _of_rows(contents, said)


def is_text(report: Mapping[str, Any]) -> bool:
    """Tell whether a report is on a language model."""
    return "covers" in report


def utility_measures(
    now: Mapping[str, Any], before: Mapping[str, Any], *, has_before: bool
) -> tuple[tuple[str, str, str | None, str], ...]:
    """Return name, value, value before and meaning of each measure of quality."""
    known, old = words.entry(now, "language"), words.entry(before, "language")

    def was(text: str) -> str | None:
        return text if has_before else None

    return (
        (
            "Tokens right",
            words.percent(now.get("accuracy")),
            was(words.percent(before.get("accuracy"))),
            "share of the answers' tokens that the model finds likeliest",
        ),
        (
            "Log loss",
            words.decimal(now.get("log_loss")),
            was(words.decimal(before.get("log_loss"))),
            "surprise at the true answer, in nats a token; 0 is best",
        ),
        (
            "Perplexity",
            words.decimal(known.get("perplexity")),
            was(words.decimal(old.get("perplexity"))),
            "between how many tokens it wavers, on average; 1 is best",
        ),
        (
            "ROUGE-L",
            words.decimal(known.get("rouge_l")),
            was(words.decimal(old.get("rouge_l"))),
            "share of the true answer's words in what it writes itself; 1 is best",
        ),
    )


def _of_rows(contents: Contents, covers: str | None) -> KnowledgeView:
    language = words.entry(contents.report, "language")
    forgotten, unseen = (words.entry(language, kind) for kind in ("forgotten", "holdout"))
    rows = [
        (said, False, _row(known))
        for said, known in (("Forgotten", forgotten), ("Never seen", unseen))
        if known
    ]
    gone, other = (known.get("extraction_strength") for known in (forgotten, unseen))
    if words.number(gone) is not None and words.number(other) is not None:
        headline = (
            f"The final model gives back {words.percent(gone)} of a forgotten answer, and "
            f"{words.percent(other)} of one that it never saw."
        )
    else:
        headline = "What the model knows of forgotten records is not published."
    caption = "What the final model knows"
    why_not = None if rows else _few(contents)
    return KnowledgeView(headline, covers, caption, _ROW_NOTE, _ROW_COLUMNS, tuple(rows), why_not)


def _row(known: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        words.count(known.get("rows")),
        words.percent(known.get("extraction_strength")),
        words.percent(known.get("exact_memorisation")),
        words.percent(known.get("answer_probability")),
        words.decimal(known.get("truth_ratio")),
        words.decimal(known.get("rouge_l")),
        words.decimal(known.get("perplexity")),
    )


def _of_methods(contents: Contents, covers: str | None) -> KnowledgeView:
    report = contents.report
    methods, deployed = words.entry(report, "methods"), str(report.get("deploy"))
    models = {"the original": words.entry(report, "original")}
    order = sorted(methods, key=lambda name: (name != REFERENCE, name != deployed, name))
    models |= {name: words.entry(methods, name) for name in order}
    rows = [
        (_named(name, known), name == deployed, _method(known))
        for name, found in models.items()
        if (known := words.entry(found, "language")) and words.entry(known, "forget")
    ]

    def given_back(found: Mapping[str, Any]) -> float | None:
        return words.number(words.entry(found, "language", "forget").get("extraction_strength"))

    own = given_back(words.entry(methods, deployed))
    anew, before = given_back(words.entry(methods, REFERENCE)), given_back(models["the original"])
    if own is None:
        headline = "What the deployed model knows of forgotten records is not published."
    else:
        headline = f"The deployed model gives back {words.percent(own)} of a forgotten answer"
        beside = [
            f"{said} {words.percent(value)}"
            for said, value in (("trained anew it is", anew), ("before it was", before))
            if value is not None and not (said.startswith("trained") and deployed == REFERENCE)
        ]
        headline = f"{headline}; {', and '.join(beside)}." if beside else f"{headline}."
    caption = "What is left of the forgotten records, and what of the rest"
    why_not = None if rows else _few(contents)
    return KnowledgeView(
        headline, covers, caption, _METHOD_NOTE, _METHOD_COLUMNS, tuple(rows), why_not
    )


def _named(name: str, known: Mapping[str, Any]) -> str:
    plain = words.plain(name, 40)
    return f"{plain}, collapsed" if known.get("collapsed") else plain


def _method(known: Mapping[str, Any]) -> tuple[str, ...]:
    forget, unseen = words.entry(known, "forget"), words.entry(known, "holdout")
    return (
        words.percent(forget.get("extraction_strength")),
        words.percent(unseen.get("extraction_strength")),
        words.percent(forget.get("answer_probability")),
        words.decimal(forget.get("truth_ratio")),
        words.decimal(forget.get("rouge_l")),
        words.percent(known.get("utility_ratio")),
        _times(known.get("perplexity_ratio")),
        _relearned(words.entry(known, "relearned")),
        words.percent(words.entry(known, "four_bit").get("extraction_strength")),
    )


def _relearned(found: Mapping[str, Any]) -> str:
    after = words.percent(found.get("extraction_strength"))
    before = words.number(found.get("before"))
    return after if before is None else f"{words.percent(before)} to {after}"


def _times(value: object) -> str:
    found = words.number(value)
    return words.MISSING if found is None else f"{found:,.3g} times"


def _few(contents: Contents) -> str:
    return (
        "No numbers are given: no forgotten record is left to ask about, or there are so few "
        f"(fewer than {contents.min_rows}) that they are a person, not a statistic."
        if contents.min_rows is not None
        else "No numbers are given: too few records are left to ask about."
    )
