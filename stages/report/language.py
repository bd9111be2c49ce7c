"""What a language model knows of forgotten and of other records, as the page shows it."""

from dataclasses import dataclass

from unlearn.stages.report import formatting
from unlearn.stages.report.contents import Contents
from unlearn.stages.report.methods import REFERENCE
from unlearn.stages.verify_report.methods import ModelKnowledge, Relearned
from unlearn.stages.verify_report.quality import Knowledge, Utility


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
    "Extraction strength: the share of an answer that the model completes from its beginning; "
    "100% if the prompt is enough. After exact forgetting both kinds of records are at the same "
    "level. Truth ratio: 1 if the paraphrased true answer is far more likely than wrong answers "
    "of the same form. ROUGE-L: the share of an answer's words in the generated text."
)
_METHOD_COLUMNS = (
    "Method",
    "Extraction, forgotten",
    "Extraction, unseen",
    "Answer probability",
    "Truth ratio",
    "ROUGE-L",
    "Utility kept",
    "Perplexity of generic text",
    "After relearning",
    "After four bits",
)
_METHOD_NOTE = (
    "Extraction strength: the share of an answer that the model completes from its beginning. "
    "Answer probability, truth ratio and ROUGE-L are for the forgotten records; a truth ratio of "
    "1 means that right and wrong answers are equally likely. Utility and perplexity are relative "
    "to the original. After relearning: extraction strength of one half of the forgotten records "
    "after short training on the other half, and before. After four bits: after the weights were "
    "rounded to four bits. Records that were only hidden reappear there. Collapsed: the model no "
    "longer produces language; that it reveals nothing is not a success."
)


def knowledge(contents: Contents) -> KnowledgeView | None:
    """Return what a language model knows; None for a report on another kind of model."""
    report = contents.report
    if report.modality != "text":
        return None
    covers = None if report.covers is None else formatting.plain(report.covers, 400)
    if report.kind == "posthoc":
        return _of_methods(contents, covers)
    return _of_rows(contents, covers)


def utility_measures(
    now: Utility, before: Utility | None
) -> tuple[tuple[str, str, str | None, str], ...]:
    """Return name, value, value before and meaning of each measure of quality.

    Parameters
    ----------
    now, before
        The final model's quality, and that before the last run; None where it is not known.
    """
    known = now.language or Knowledge()
    old = before or Utility()
    was_known = old.language or Knowledge()

    def was(text: str) -> str | None:
        return None if before is None else text

    return (
        (
            "Tokens right",
            formatting.percent(now.accuracy),
            was(formatting.percent(old.accuracy)),
            "share of the answers' tokens that the model ranks first",
        ),
        (
            "Log loss",
            formatting.decimal(now.log_loss),
            was(formatting.decimal(old.log_loss)),
            "mean loss of the true answer, in nats per token; 0 is best",
        ),
        (
            "Perplexity",
            formatting.decimal(known.perplexity),
            was(formatting.decimal(was_known.perplexity)),
            "effective number of tokens the model chooses between; 1 is best",
        ),
        (
            "ROUGE-L",
            formatting.decimal(known.rouge_l),
            was(formatting.decimal(was_known.rouge_l)),
            "share of the true answer's words in the generated text; 1 is best",
        ),
    )


def _of_rows(contents: Contents, covers: str | None) -> KnowledgeView:
    language = contents.report.language
    forgotten = None if language is None else language.forgotten
    unseen = None if language is None else language.holdout
    rows = [
        (title, False, _row(known))
        for title, known in (("Forgotten", forgotten), ("Never seen", unseen))
        if known is not None
    ]
    own, other = (
        None if known is None else known.extraction_strength for known in (forgotten, unseen)
    )
    if own is not None and other is not None:
        headline = (
            f"The final model reproduces {formatting.percent(own)} of a forgotten answer, and "
            f"{formatting.percent(other)} of an unseen one."
        )
    else:
        headline = "The memorisation of forgotten records is not published."
    caption = "Memorisation of the final model"
    why_not = None if rows else _few(contents)
    return KnowledgeView(headline, covers, caption, _ROW_NOTE, _ROW_COLUMNS, tuple(rows), why_not)


def _row(known: Knowledge) -> tuple[str, ...]:
    return (
        formatting.count(known.rows),
        formatting.percent(known.extraction_strength),
        formatting.percent(known.exact_memorisation),
        formatting.percent(known.answer_probability),
        formatting.decimal(known.truth_ratio),
        formatting.decimal(known.rouge_l),
        formatting.decimal(known.perplexity),
    )


def _of_methods(contents: Contents, covers: str | None) -> KnowledgeView:
    report, deployed = contents.report, contents.report.deploy
    order = sorted(report.methods, key=lambda name: (name != REFERENCE, name != deployed, name))
    known = {name: report.methods[name].language for name in order}
    original = None if report.original is None else report.original.language
    rows = [
        (_named(name, found), name == deployed, _method(found))
        for name, found in {"the original": original, **known}.items()
        if found is not None and found.forget is not None
    ]
    own = None if deployed is None else _given_back(known.get(deployed))
    retrained, before = _given_back(known.get(REFERENCE)), _given_back(original)
    if own is None:
        headline = "The deployed model's memorisation of forgotten records is not published."
    else:
        headline = f"The deployed model reproduces {formatting.percent(own)} of a forgotten answer"
        others = []
        if retrained is not None and deployed != REFERENCE:
            others.append(f"retrained it is {formatting.percent(retrained)}")
        if before is not None:
            others.append(f"before it was {formatting.percent(before)}")
        headline = f"{headline}; {', and '.join(others)}." if others else f"{headline}."
    caption = "Memorisation of forgotten records, and utility"
    why_not = None if rows else _few(contents)
    return KnowledgeView(
        headline, covers, caption, _METHOD_NOTE, _METHOD_COLUMNS, tuple(rows), why_not
    )


def _given_back(found: ModelKnowledge | None) -> float | None:
    """Return the extraction strength of the forgotten records."""
    return None if found is None or found.forget is None else found.forget.extraction_strength


def _named(name: str, known: ModelKnowledge) -> str:
    plain = formatting.plain(name, 40)
    return f"{plain}, collapsed" if known.collapsed else plain


def _method(known: ModelKnowledge) -> tuple[str, ...]:
    forget, unseen = known.forget or Knowledge(), known.holdout or Knowledge()
    return (
        formatting.percent(forget.extraction_strength),
        formatting.percent(unseen.extraction_strength),
        formatting.percent(forget.answer_probability),
        formatting.decimal(forget.truth_ratio),
        formatting.decimal(forget.rouge_l),
        formatting.percent(known.utility_ratio),
        _times(known.perplexity_ratio),
        _relearned(known.relearned),
        formatting.percent(None if known.four_bit is None else known.four_bit.extraction_strength),
    )


def _relearned(found: Relearned | None) -> str:
    if found is None:
        return formatting.MISSING
    after = formatting.percent(found.extraction_strength)
    return after if found.before is None else f"{formatting.percent(found.before)} to {after}"


def _times(value: float | None) -> str:
    return formatting.MISSING if value is None else f"{value:,.3g} times"


def _few(contents: Contents) -> str:
    return (
        "No numbers are given: there is no forgotten record, or there are too few (fewer than "
        f"{contents.min_rows}) for a statistic that protects the persons."
        if contents.min_rows is not None
        else "No numbers are given: there are too few records."
    )
