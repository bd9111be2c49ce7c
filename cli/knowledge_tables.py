"""What `unlearn verify` says of language models besides: tables of what they know."""

from collections.abc import Mapping

from unlearn.stages.verify_report.methods import (
    FourBit,
    MethodResult,
    ModelKnowledge,
    OriginalResult,
    Relearned,
)
from unlearn.stages.verify_report.quality import Knowledge, KnowledgeOfRows

_UNKNOWN = "-"

#: Columns of the comparison of methods: the forgotten rows first, then the others.
METHOD_COLUMNS = (
    "method",
    "extraction",
    "unseen",
    "probability",
    "truth ratio",
    "ROUGE-L",
    "utility",
    "perplexity",
    "relearned",
    "4-bit",
)
_ROW_COLUMNS = ("rows", "number", *METHOD_COLUMNS[1:2], *METHOD_COLUMNS[3:6], "perplexity")


def of_methods(
    methods: Mapping[str, MethodResult], original: OriginalResult | None
) -> list[tuple[str, ...]]:
    """Return a table of what the original and every method's model knows, its head first.

    Parameters
    ----------
    methods
        By name, as in the report.
    original
        As in the report; None if it could not be evaluated.
    """
    known = {"(original)": None if original is None else original.language}
    known |= {name: found.language for name, found in methods.items()}
    rows = [(name, found) for name, found in known.items() if found is not None]
    return [METHOD_COLUMNS, *(_method(name, found) for name, found in rows)] if rows else []


def of_rows(language: KnowledgeOfRows | None) -> list[tuple[str, ...]]:
    """Return a table of what the final model knows of forgotten and of unseen rows."""
    if language is None:
        return []
    kinds = {"forgotten": language.forgotten, "unseen": language.holdout}
    rows = [(title, known) for title, known in kinds.items() if known is not None]
    return [_ROW_COLUMNS, *(_row(title, known) for title, known in rows)] if rows else []


def in_words(known: Knowledge) -> str:
    """Return a line on what a model knows of held-out rows."""
    line = (
        f"perplexity {_number(known.perplexity)}, "
        f"extraction strength {_number(known.extraction_strength)}"
    )
    return line if known.rouge_l is None else f"{line}, ROUGE-L {_number(known.rouge_l)}"


def _method(name: str, found: ModelKnowledge) -> tuple[str, ...]:
    forget, unseen = found.forget or Knowledge(), found.holdout or Knowledge()
    relearned, rounded = found.relearned or Relearned(), found.four_bit or FourBit()
    return (
        f"{name}, collapsed" if found.collapsed else name,
        _number(forget.extraction_strength),
        _number(unseen.extraction_strength),
        _number(forget.answer_probability),
        _number(forget.truth_ratio),
        _number(forget.rouge_l),
        _number(found.utility_ratio),
        _number(found.perplexity_ratio),
        _from_to(relearned.before, relearned.extraction_strength),
        _number(rounded.extraction_strength),
    )


def _row(title: str, known: Knowledge) -> tuple[str, ...]:
    return (
        title,
        _UNKNOWN if known.rows is None else f"{known.rows:,}",
        _number(known.extraction_strength),
        _number(known.answer_probability),
        _number(known.truth_ratio),
        _number(known.rouge_l),
        _number(known.perplexity),
    )


def _from_to(before: float | None, after: float | None) -> str:
    # What was never forgotten can get less: tuned on one half, a model loses some of the other.
    return _number(after) if before is None else f"{_number(before)} > {_number(after)}"


def _number(value: float | None) -> str:
    if value is None:
        return _UNKNOWN
    # A model that has collapsed finds text as unlikely as floats go.
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.3g}"  # noqa: PLR2004 - wide enough
