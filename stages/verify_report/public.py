"""`reports/verdict.json`: what everybody may know of a report, and what git holds of it.

Two reports that differ by one row give away that row: their figures can be subtracted. So the
verdicts, in words, are in git, and the figures are where the rows are.
"""

from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, model_validator
from unlearn.stages.config.params import Kind
from unlearn.stages.config.section import Modality
from unlearn.stages.verify_report.membership import Membership, Outcome
from unlearn.stages.verify_report.methods import MethodOutcome, MethodResult
from unlearn.stages.verify_report.part import Part, Sentences
from unlearn.stages.verify_report.report import (
    ExactnessCounts,
    ForgetListState,
    Report,
    infer_kind_and_modality,
)
from unlearn.stages.verify_report.words import UNSETTLED, without_figures

#: What git may know of rows that were dropped.
SUPPRESSED_ROWS = "the dataset had rows of erased or suppressed people, which were dropped"


class PublicMembership(Part):
    """What the deciding attack shows.

    Parameters
    ----------
    attack
        Its name.
    verdict, reasons
        What it shows by itself, and why, without figures.
    """

    attack: str | None = None
    verdict: Outcome | None = None
    reasons: Sentences = ()


class PublicMethod(Part):
    """The verdict on one post-hoc method.

    Parameters
    ----------
    label
        `exact`, `certified` or `approximate`.
    verdict, reasons
        The outcome, and why, without figures.
    """

    label: str | None = None
    verdict: MethodOutcome = "inconclusive"
    reasons: Sentences = ()


class PublicReport(Part):
    """The verdicts of one run of `verify`, without any number that depends on the values of rows.

    Parameters
    ----------
    schema_version
        Of the file's format.
    kind, modality, covers, forget_list, settings, models, exactness, deploy, environment
        As in the report; the list's digest alone.
    label
        What the deployed model may be called: `exact`, `certified` or `approximate`.
    verdict, reasons
        The outcome, and why, without figures.
    membership
        What the deciding attack shows; None where no forgotten row is left.
    methods
        All methods by name; for `posthoc`.
    suppressed
        A sentence, if the dataset had rows of erased or suppressed people that were dropped; only
        for `verify.min_rows` of them or more.
    figures
        The seal of the report that the figures are in, reports/verify.json.
    seal
        A digest of all the rest, under the project key.
    """

    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"covers", "deploy", "methods", "suppressed"})

    schema_version: Literal[1] = 1
    kind: Kind
    modality: Modality
    label: str | None = None
    verdict: Outcome = "inconclusive"
    reasons: Sentences = ()
    covers: str | None = None
    forget_list: str | None = None
    settings: str | None = None
    models: dict[str, str] = Field(default_factory=dict)
    exactness: ExactnessCounts = ExactnessCounts()
    membership: PublicMembership | None = None
    deploy: str | None = None
    methods: dict[str, PublicMethod] = Field(default_factory=dict)
    suppressed: str | None = None
    environment: dict[str, str] = Field(default_factory=dict)
    figures: str | None = None
    seal: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _infer(cls, value: Any, info: ValidationInfo) -> Any:
        return infer_kind_and_modality(value, info)

    def as_report(self) -> Report:
        """Return the report as far as it is public: every figure counts as not measured."""
        some: dict[str, Any] = {
            name: getattr(self, name) for name in ("covers", "deploy") if name in self._given
        }
        if "methods" in self._given:
            some["methods"] = {
                name: MethodResult(label=one.label, verdict=one.verdict, reasons=one.reasons)
                for name, one in self.methods.items()
            }
        membership = None
        if self.membership is not None:
            found = self.membership
            membership = Membership(
                attack=found.attack, verdict=found.verdict, reasons=found.reasons
            )
        return Report(
            kind=self.kind,
            modality=self.modality,
            label=self.label,
            verdict=self.verdict,
            reasons=self.reasons,
            forget_list=ForgetListState(digest=self.forget_list),
            settings=self.settings,
            models=self.models,
            exactness=self.exactness,
            membership=membership,
            environment=self.environment,
            **some,
        )

    @property
    def _given(self) -> set[str]:
        return self.model_fields_set


#: The largest caution, in what one row can change of an AUC at most.
_CAUTION = 20


def public_part(report: Report, caution: float = 0.0, min_rows: int = 1) -> PublicReport:
    """Return what git may hold of a report. This is the one place that decides it.

    A rule with a limit tells of a row that takes the result across it. The verdict of an exact
    model does not depend on the values of rows, and that of an approximate method is public as it
    is. The membership verdict of an exact model decides nothing: it is public only where the
    result is further from the limit than `caution` asks for, and else *inconclusive*.

    Parameters
    ----------
    report
        With all its figures.
    caution
        From 0 to 1, evenly distributed, and known to nobody without the project key: who knew
        it would know where the limit is.
    min_rows
        The fewest rows that anything is told about.

    Returns
    -------
    PublicReport
        Without its seal.
    """
    some: dict[str, Any] = {
        name: getattr(report, name)
        for name in ("covers", "deploy")
        if name in report.model_fields_set
    }
    if "methods" in report.model_fields_set:
        some["methods"] = {
            name: PublicMethod(label=one.kind_of_label, verdict=one.verdict, reasons=_words(one))
            for name, one in report.methods.items()
        }
    if (report.suppressed or 0) >= max(min_rows, 1):
        some["suppressed"] = SUPPRESSED_ROWS
    membership = None
    if report.membership is not None:
        membership = _public_membership(report.membership, report.label, caution)
    return PublicReport(
        kind=report.kind,
        modality=report.modality,
        label=None if report.label is None else report.label.partition("(")[0],
        verdict=report.verdict,
        reasons=_words(report),
        forget_list=report.forget_list.digest,
        settings=report.settings,
        models=report.models,
        exactness=_counts(report.exactness),
        membership=membership,
        environment=report.environment,
        figures=report.seal,
        **some,
    )


def _counts(found: ExactnessCounts) -> ExactnessCounts:
    """Return the counts without the shards that could not be trained.

    A shard that cannot be trained since a request tells of which class the forgotten row was.
    """
    names = found.model_fields_set - {"constant"}
    return ExactnessCounts(**{name: getattr(found, name) for name in names})


def _public_membership(found: Membership, label: str | None, caution: float) -> PublicMembership:
    """Return the verdict of the deciding attack, unless it is close to a limit."""
    verdict, reasons = found.verdict, _words(found)
    if label == "exact" and verdict in {"pass", "fail"}:
        fewest = min(found.forget_rows or 1, found.holdout_rows or 1)
        if found.room is None or found.room < caution * _CAUTION / fewest:
            verdict, reasons = "inconclusive", (UNSETTLED,)
    return PublicMembership(attack=found.attack, verdict=verdict, reasons=reasons)


def _words(part: Report | Membership | MethodResult) -> tuple[str, ...]:
    """Return the reasons without figures; in a report of an older version, without such reasons."""
    return without_figures(part.reasons_in_words or part.reasons)
