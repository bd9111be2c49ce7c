"""The whole report."""

from collections.abc import Mapping
from typing import Any, ClassVar, get_args

from pydantic import Field, ValidationInfo, model_validator
from unlearn.stages.config.params import Kind
from unlearn.stages.config.section import Modality
from unlearn.stages.verify_report.membership import CanaryResult, Membership, Outcome
from unlearn.stages.verify_report.methods import MethodResult, OriginalResult
from unlearn.stages.verify_report.part import Part, Sentences
from unlearn.stages.verify_report.quality import KnowledgeOfRows, Utility

#: The newest format that this version reads and the one that it writes. Version 1 did not say
#: `kind` and `modality`.
SCHEMA_VERSION = 2


class ForgetListState(Part):
    """The forget list that the report is on: its SHA-256, and how many lines it has."""

    digest: str | None = None
    tokens: int | None = None


class ExactnessCounts(Part):
    """What the checks of the models found.

    Parameters
    ----------
    touched
        Shards that the list names; without shards, whether the list names any row: 0 or 1.
    reran, matched
        Models trained again to check, or trees fitted again, and those that came out the same.
    trees
        Trees of the touched shards, where `reran` counts trees. Only of models of trees that are
        changed in place of being trained.
    lineage_clean
        Whether every lineage is that of the rows it should come from.
    problems
        How many checks found a difference.
    constant
        Shards whose rows could not be trained on, with the reason: their models answer with class
        frequencies. Not in reports/verdict.json.
    """

    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"constant", "trees"})

    touched: int | None = None
    reran: int | None = None
    matched: int | None = None
    trees: int | None = None
    lineage_clean: bool | None = None
    problems: int | None = None
    constant: dict[str, str] = Field(default_factory=dict)


class Report(Part):
    """The evidence of one run of `verify`: aggregates only.

    Parameters
    ----------
    schema_version
        Of the file's format.
    kind
        `exact` for a pipeline of shards, `posthoc` for one model and post-hoc methods.
    modality
        `tabular` for rows with classes, `text` for rows of text.
    label
        What the deployed model may be called: `exact`, `certified(...)` or `approximate`.
    verdict, reasons, reasons_in_words
        The outcome, and why: with figures, and without.
    covers
        What the verdict is about and what it is not; for rows of text.
    forget_list, settings
        The list, and the SHA-256 of the settings, that the report is on.
    models
        The md5 of every model that was checked, by shard or method.
    exactness, membership, canaries, utility
        What checks, attacks and measurements found; `membership` is None where no forgotten row
        is left, and `canaries` where none are planted.
    language
        What a language model of shards knows of rows; for rows of text.
    deploy, methods
        The deployed method, and all methods by name; for `posthoc`.
    original
        What is known of the model that all methods start from; for `posthoc` and rows of text.
    unlabelled
        Rows of the dataset without a class, which no model is trained on, where they are at least
        `verify.min_rows`.
    suppressed
        Rows of erased or suppressed people that the dataset has, and that were dropped, if there
        are any.
    environment
        What the checks ran in, by name.
    seal
        A digest of all the rest, under the project key.
    """

    OPTIONAL: ClassVar[frozenset[str]] = frozenset(
        {
            "covers",
            "language",
            "deploy",
            "methods",
            "original",
            "reasons_in_words",
            "seal",
            "suppressed",
            "unlabelled",
        }
    )

    schema_version: int = SCHEMA_VERSION
    kind: Kind
    modality: Modality
    label: str | None = None
    verdict: Outcome = "inconclusive"
    reasons: Sentences = ()
    reasons_in_words: Sentences = ()
    covers: str | None = None
    forget_list: ForgetListState = ForgetListState()
    settings: str | None = None
    models: dict[str, str] = Field(default_factory=dict)
    exactness: ExactnessCounts = ExactnessCounts()
    membership: Membership | None = None
    canaries: CanaryResult | None = None
    utility: Utility = Utility()
    language: KnowledgeOfRows | None = None
    deploy: str | None = None
    methods: dict[str, MethodResult] = Field(default_factory=dict)
    original: OriginalResult | None = None
    unlabelled: int | None = None
    suppressed: int | None = None
    environment: dict[str, str] = Field(default_factory=dict)
    seal: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _infer_kind_and_modality(cls, value: Any, info: ValidationInfo) -> Any:
        return infer_kind_and_modality(value, info)


def infer_kind_and_modality(value: Any, info: ValidationInfo) -> Any:
    """Add to a file's content the kind and modality that it does not say, or says wrongly.

    Parameters
    ----------
    value, info
        What a validator that runs before all others is given.
    """
    if info.context is None or not isinstance(value, Mapping):
        return value
    found = dict(value)
    if found.get("kind") not in get_args(Kind):
        found["kind"] = "posthoc" if found.get("methods") else "exact"
    if found.get("modality") not in get_args(Modality):
        found["modality"] = "text" if "covers" in found else "tabular"
    return found
