"""How each method's model compares with the retrained one: matched pairs, and the relative test."""

from collections.abc import Mapping
from dataclasses import dataclass

from unlearn.stages.report import formatting
from unlearn.stages.verify_report.membership import MatchedResult, Membership
from unlearn.stages.verify_report.methods import MethodResult, RelativeResult

_NEARER = {
    "retrained": "nearer to the retrained model",
    "original": "nearer to the original",
    "changed": "changed, but further from the retrained model than the original is",
    "unclear": "not clear",
}


@dataclass(frozen=True)
class ComparedRow:
    """A method's line in the table; text that says so where there is no number."""

    name: str
    matched: str
    difference: formatting.Measured
    nearer: str
    p_value: str


def compared_rows(entries: Mapping[str, MethodResult], reference: str) -> tuple[ComparedRow, ...]:
    """Return a line for each method but the retrained model; none if nothing was compared.

    Parameters
    ----------
    entries
        All methods, by name.
    reference
        The name of the retrained model.
    """
    rows = []
    for name, entry in entries.items():
        matched = (entry.membership or Membership()).matched
        if name == reference or (matched is None and entry.relative is None):
            continue
        relative = entry.relative or RelativeResult()
        nearer = _NEARER.get(relative.nearer or "", formatting.MISSING)
        p_value = formatting.number(relative.strongest)
        rows.append(
            ComparedRow(
                formatting.plain(name, 40),
                _matched(matched),
                _difference(matched),
                nearer,
                formatting.MISSING if p_value is None else f"{p_value:.3g}",
            )
        )
    return tuple(rows)


def _matched(found: MatchedResult | None) -> str:
    if found is None or found.matched_rows is None or found.rows is None:
        return formatting.MISSING
    return f"{found.matched_rows:,} of {found.rows:,}"


def _difference(found: MatchedResult | None) -> formatting.Measured:
    if found is None or found.difference.auc is None:
        return formatting.Measured(formatting.MISSING, None)
    ends = found.difference.ci
    span = None if ends is None else f"{ends[0]:+.3f} to {ends[1]:+.3f}"
    return formatting.Measured(f"{found.difference.auc:+.3f}", span)
