"""What `unlearn verify` says of language models besides: tables of what they know."""

from collections.abc import Mapping
from typing import Any

_UNKNOWN = "-"

#: Of methods beside each other: the forgotten rows first, then what is left of the rest.
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
    methods: Mapping[str, Mapping[str, Any]], original: Mapping[str, Any] | None
) -> list[tuple[str, ...]]:
    """Return a table of what the original and every method's model knows, its head first.

    Parameters
    ----------
    methods
        By name, as in the report.
    original
        As in the report; None where it could not be asked.
    """
    models = {"(original)": original or {}, **methods}
    rows = [(name, found["language"]) for name, found in models.items() if found.get("language")]
    return [METHOD_COLUMNS, *(_method(name, found) for name, found in rows)] if rows else []


def of_rows(language: Mapping[str, Any] | None) -> list[tuple[str, ...]]:
    """Return a table of what the final model knows of forgotten and of unseen rows."""
    kinds = {"forgotten": "forgotten", "unseen": "holdout"}
    rows = [
        (said, known)
        for said, kind in kinds.items()
        if (known := (language or {}).get(kind)) is not None
    ]
    return [_ROW_COLUMNS, *(_row(said, known) for said, known in rows)] if rows else []


def in_words(known: Mapping[str, Any]) -> str:
    """Return a line on what a model knows of held-out rows."""
    said = (
        f"perplexity {_number(known['perplexity'])}, "
        f"extraction strength {_number(known['extraction_strength'])}"
    )
    spoken = known["rouge_l"]
    return said if spoken is None else f"{said}, ROUGE-L {_number(spoken)}"


def _method(name: str, found: Mapping[str, Any]) -> tuple[str, ...]:
    forget, unseen = found["forget"] or {}, found["holdout"] or {}
    relearned, rounded = found["relearned"] or {}, found["four_bit"] or {}
    return (
        f"{name}, collapsed" if found.get("collapsed") else name,
        _number(forget.get("extraction_strength")),
        _number(unseen.get("extraction_strength")),
        _number(forget.get("answer_probability")),
        _number(forget.get("truth_ratio")),
        _number(forget.get("rouge_l")),
        _number(found["utility_ratio"]),
        _number(found["perplexity_ratio"]),
        _from_to(relearned.get("before"), relearned.get("extraction_strength")),
        _number(rounded.get("extraction_strength")),
    )


def _row(said: str, known: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        said,
        f"{known['rows']:,}",
        _number(known["extraction_strength"]),
        _number(known["answer_probability"]),
        _number(known["truth_ratio"]),
        _number(known["rouge_l"]),
        _number(known["perplexity"]),
    )


def _from_to(before: float | None, after: float | None) -> str:
    # What was never forgotten can get less: tuned on one half, a model loses some of the other.
    return _number(after) if before is None else f"{_number(before)} > {_number(after)}"


def _number(value: float | None) -> str:
    if value is None:
        return _UNKNOWN
    # A model that has collapsed finds text as unlikely as floats go.
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.3g}"  # noqa: PLR2004 - wide enough
