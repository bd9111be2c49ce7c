"""How each method's model compares with the retrained one: matched pairs, and the relative test."""

from collections.abc import Mapping
from dataclasses import dataclass

from unlearn.stages.report import formatting, pictures
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
    unmatched: formatting.Measured
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
        membership = entry.membership or Membership()
        matched = membership.matched
        if name == reference or (matched is None and entry.relative is None):
            continue
        relative = entry.relative or RelativeResult()
        nearer = _NEARER.get(relative.nearer or "", formatting.MISSING)
        p_value = formatting.number(relative.strongest)
        rows.append(
            ComparedRow(
                formatting.plain(name, 40),
                _matched(matched),
                _unmatched(membership),
                nearer,
                formatting.MISSING if p_value is None else f"{p_value:.3g}",
            )
        )
    return tuple(rows)


def _matched(found: MatchedResult | None) -> str:
    if found is None or found.matched_rows is None or found.rows is None:
        return formatting.MISSING
    return f"{found.matched_rows:,} of {found.rows:,}"


def _unmatched(found: Membership) -> formatting.Measured:
    if found.auc is None:
        return formatting.Measured(formatting.MISSING, None)
    return formatting.Measured(formatting.decimal(found.auc), formatting.between(found.ci))


def is_matched(entries: Mapping[str, MethodResult]) -> bool:
    """Return whether matched pairs decide: the report then has their counts at least.

    Parameters
    ----------
    entries
        All methods, by name.
    """
    found = (entry.membership for entry in entries.values())
    return any(one is not None and one.matched is not None for one in found)


def matched_auc(membership: Membership | None) -> formatting.Measured:
    """Return by how much the AUC on matched pairs is larger than the retrained model's.

    Its picture shows where the AUC would be: at the retrained model's plus this difference.

    Parameters
    ----------
    membership
        What the deciding attack found in a method's model.
    """
    found = (membership or Membership()).matched or MatchedResult()
    value, ends, at = found.difference.auc, found.difference.ci, found.retrained_auc
    if value is None:
        return formatting.Measured(formatting.MISSING, None)
    span = None if ends is None else f"{ends[0]:+.3f} to {ends[1]:+.3f}"
    picture = None
    if at is not None:
        places = None if ends is None else (at + ends[0], at + ends[1])
        picture = pictures.on_a_scale(at + value, places, at, "forgotten")
    return formatting.Measured(f"{value:+.3f}", span, picture)
