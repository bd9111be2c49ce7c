"""What the attacks on the forgotten records found, as the page shows it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from markupsafe import Markup
from unlearn.stages.report import formatting, pictures
from unlearn.stages.report.attack_figures import Figure, roc_figures, score_figures
from unlearn.stages.report.attack_names import attack_name, deciding_attack, labels, models_of
from unlearn.stages.report.contents import Contents
from unlearn.stages.report.methods import REFERENCE
from unlearn.stages.verify_report.membership import (
    AttackResult,
    CanaryResult,
    Control,
    Membership,
)
from unlearn.stages.verify_report.report import Report


@dataclass(frozen=True)
class AttackRow:
    """An attack's line in the table of forgotten records; no cells if it was not made."""

    name: str
    decides: bool
    auc: formatting.Measured | None
    low: formatting.Measured | None = None
    lower: formatting.Measured | None = None
    balanced: str = formatting.MISSING
    detectable: str = formatting.MISSING


@dataclass(frozen=True)
class ControlRow:
    """An attack's line in the table of controls."""

    name: str
    decides: bool
    positive: formatting.Measured
    negative: formatting.Measured


@dataclass(frozen=True)
class ModelTables:
    """The attacks on the shard models, or on the final model."""

    name: str
    attacks: tuple[AttackRow, ...]
    controls: tuple[ControlRow, ...]


@dataclass(frozen=True)
class MembershipView:
    """The results of all attacks; `why_not` is the reason if there are none."""

    headline: str
    beside: str | None
    reasons: tuple[str, ...]
    why_not: str | None
    sizes: str
    tables: tuple[ModelTables, ...]
    roc: tuple[Figure, ...]
    scores: tuple[Figure, ...]
    no_plots: str | None
    canaries: tuple[tuple[str, str], ...]
    is_posthoc: bool = False


def membership(contents: Contents) -> MembershipView:
    """Return what the attacks on the forgotten records found."""
    report, found = contents.report, contents.report.membership
    canaries = _canaries(report.canaries)
    if found is None:
        headline = "There is no forgotten record in the report."
        return replace(_nothing_found(headline, _NO_ROWS_LEFT), canaries=canaries)
    if not contents.has_figures:
        name = attack_name(deciding_attack(found))
        headline = f"{name}, the deciding attack: {found.verdict or 'no verdict'}."
        shown = _nothing_found(headline, _ONLY_WORDS, found.reasons)
        return replace(shown, beside=_beside(report, found))
    models = models_of(report)
    attacks = {"shard_models": found.attacks, "final_model": found.final_model.attacks}
    tables = [
        table
        for model, title in models.items()
        if (table := _tables(model, title, attacks[model], deciding_attack(found)))
    ]
    if not tables and found.auc is not None:
        # A report from before there were several attacks: one number.
        name = deciding_attack(found)
        tables = [ModelTables([*models.values()][-1], (_attack_row(name, found, name),), ())]
    sizes = _sizes(found)
    if not tables:
        headline = "There are no membership numbers."
        why = f"{sizes} {_why_no_numbers(contents, found.forget_rows)}"
        return replace(_nothing_found(headline, why, found.reasons), canaries=canaries)
    roc, scores = roc_figures(contents, found), score_figures(contents, found)
    return MembershipView(
        headline=_membership_headline(report, found),
        beside=_beside(report, found),
        reasons=found.reasons,
        why_not=None,
        sizes=sizes,
        tables=tuple(tables),
        roc=roc,
        scores=scores,
        no_plots=None if roc or scores else _NO_PLOTS,
        canaries=canaries,
        is_posthoc=report.kind == "posthoc",
    )


_NO_ROWS_LEFT = (
    "Either there was no request, or the rows have been dropped from the dataset since. The "
    "verdict is based on exactness."
)
_ONLY_WORDS = "This page has the verdict in words. The figures are not on it."
_NO_PLOTS = (
    "The curves and score histograms are missing: reports/roc.csv and reports/scores.csv are made "
    "by a run and are in DVC's cache, or the sample was too small for a plot."
)


def _nothing_found(headline: str, why: str, reasons: tuple[str, ...] = ()) -> MembershipView:
    return MembershipView(headline, None, reasons, why, "", (), (), (), None, ())


def _sizes(found: Membership) -> str:
    if found.forget_rows is None or found.holdout_rows is None:
        return "The report does not give the number of records."
    forgotten, others = (formatting.count(n) for n in (found.forget_rows, found.holdout_rows))
    return f"{forgotten} forgotten and {others} unseen records."


def _why_no_numbers(contents: Contents, rows: int | None) -> str:
    if rows is not None and contents.min_rows is not None and rows < contents.min_rows:
        return (
            f"Fewer than {contents.min_rows} forgotten records are too few for a statistic that "
            "protects the persons, so only their number is published."
        )
    return (
        "No attack gave a number. The sample is too small, or the models give votes and not "
        "probabilities."
    )


def _beside(report: Report, found: Membership) -> str | None:
    """Return how attacks that do not settle it go together with a verdict that does."""
    settled = report.label == "exact" and report.verdict == "pass"
    if not settled or found.verdict in {"pass", None}:
        return None
    return (
        "The verdict above is based on exactness: equal models give equal answers, whatever an "
        "attack finds. The attacks are reported as well."
    )


def _membership_headline(report: Report, found: Membership) -> str:
    name = attack_name(deciding_attack(found))
    if found.auc is None:
        return f"{name}, the deciding attack, gave no number."
    span = formatting.between(found.ci)
    measured = f"AUC {found.auc:.3f}" + (f", 95% interval {span}" if span else "")
    reference = _auc_of_reference(report)
    if reference is not None and report.deploy != REFERENCE:
        return _against_retrained(
            name, found, f"{measured}; {reference:.3f} on the retrained model"
        )
    if found.verdict == "fail":
        return f"Forgotten records can be distinguished from unseen ones ({measured})."
    if found.verdict == "inconclusive":
        return f"The attack is inconclusive ({measured})."
    if found.verdict == "pass":
        return f"{name} does not distinguish forgotten records from unseen ones ({measured})."
    return f"{name} on the forgotten records: {measured}."


def _auc_of_reference(report: Report) -> float | None:
    """Return what the deciding attack finds on the retrained model."""
    retrained = report.methods.get(REFERENCE)
    return None if retrained is None or retrained.membership is None else retrained.membership.auc


def _against_retrained(name: str, found: Membership, measured: str) -> str:
    """Return what an attack found that is judged by what it finds on the retrained model."""
    if found.verdict == "fail":
        return (
            "The answers on forgotten records differ from those of a model without them "
            f"({measured})."
        )
    if found.verdict == "pass":
        return (
            f"{name} finds no more than on a model trained without the forgotten records "
            f"({measured})."
        )
    return f"The attack is inconclusive ({measured})."


def _ordered(attacks: Mapping[str, AttackResult], deciding: str) -> list[str]:
    """Return the attacks by name: the one that decides, those known, then any others."""
    known = [deciding, *(name for name in labels() if name != deciding)]
    return [name for name in known if name in attacks] + sorted(attacks.keys() - set(known))


def _tables(
    model: str, title: str, attacks: Mapping[str, AttackResult], deciding: str
) -> ModelTables | None:
    """Return a model's tables; None where none of its attacks gave a number."""
    found = {name: attacks[name] for name in _ordered(attacks, deciding)}
    if all(_is_empty(one) for one in found.values()):
        return None
    # The verdict is on the shard models: the worst case.
    decides = deciding if model == "shard_models" else ""
    controls = [
        ControlRow(
            attack_name(name),
            name == decides,
            _auc(one.control, "control"),
            _auc(one.negative_control, "non_members"),
        )
        for name, one in found.items()
        if one.model_fields_set & {"control", "negative_control"}
    ]
    return ModelTables(
        title,
        tuple(_attack_row(name, one, decides) for name, one in found.items()),
        tuple(controls),
    )


def _is_empty(found: AttackResult) -> bool:
    return all(one.auc is None for one in (found, found.control, found.negative_control))


def _attack_row(name: str, found: AttackResult, deciding: str) -> AttackRow:
    if found.auc is None:
        return AttackRow(attack_name(name), name == deciding, None)
    return AttackRow(
        name=attack_name(name),
        decides=name == deciding,
        auc=_auc(found, "forgotten"),
        low=_rate(found.tpr_at_fpr_1pct, found.tpr_at_fpr_1pct_ci),
        lower=_rate(found.tpr_at_fpr_0_1pct, found.tpr_at_fpr_0_1pct_ci),
        balanced=formatting.percent(found.balanced_accuracy),
        detectable=formatting.decimal(found.detectable_auc),
    )


def _rate(share: float | None, ends: tuple[float, float] | None) -> formatting.Measured:
    return formatting.Measured(formatting.percent(share), formatting.between_shares(ends))


def _auc(found: AttackResult | Control, kind: str) -> formatting.Measured:
    if found.auc is None:
        return formatting.Measured(formatting.MISSING, None)
    picture: Markup = pictures.on_a_scale(found.auc, found.ci, 0.5, kind)
    return formatting.Measured(formatting.decimal(found.auc), formatting.between(found.ci), picture)


def _canaries(found: CanaryResult | None) -> tuple[tuple[str, str], ...]:
    if found is None or found == CanaryResult():
        return ()
    span = formatting.between(found.ci)
    return (
        ("Canaries, with random targets", formatting.count(found.count)),
        ("Of these in the training data, chosen by a fair coin", formatting.count(found.members)),
        ("Attack", attack_name(found.attack or formatting.MISSING)),
        (
            "AUC, trained on against left out",
            formatting.decimal(found.auc) + (f", 95% interval {span}" if span else ""),
        ),
        ("Guesses right", formatting.out_of(found.correct, found.guesses)),
        (
            "Lower bound on epsilon (Steinke et al. 2023)",
            formatting.decimal(found.epsilon_lower_bound),
        ),
    )
