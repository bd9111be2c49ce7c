"""What verifying a project found, whichever its pipeline."""

from dataclasses import dataclass

from unlearn.stages.verify.evidence import Evidence
from unlearn.stages.verify.exactness.found import Exactness
from unlearn.stages.verify.verdict import Verdict
from unlearn.stages.verify_report.membership import CanaryResult
from unlearn.stages.verify_report.methods import MethodResult, OriginalResult
from unlearn.stages.verify_report.quality import KnowledgeOfRows, Utility


@dataclass(frozen=True)
class Methods:
    """What was found of all post-hoc methods.

    Parameters
    ----------
    deployed
        The method whose model is the final model.
    results
        By method, in the order of params.yaml.
    original
        What was measured of a language model that all methods start from; None for other models,
        or where it cannot be asked.
    """

    deployed: str
    results: dict[str, MethodResult]
    original: OriginalResult | None = None


@dataclass(frozen=True)
class Findings:
    """What a report is written from.

    Parameters
    ----------
    label
        What the final model may be called: `exact`, `certified(...)` or `approximate`.
    verdict
        The outcome, and why.
    exactness
        What the checks of the models found.
    utility
        Quality of the final model on held-out rows.
    evidence
        What membership inference found.
    canaries
        The result of the attack on canaries; None if there are none.
    language
        What a language model of shards knows of rows; None for other models.
    methods
        Of the post-hoc pipeline; None for shards.
    """

    label: str
    verdict: Verdict
    exactness: Exactness
    utility: Utility
    evidence: Evidence
    canaries: CanaryResult | None = None
    language: KnowledgeOfRows | None = None
    methods: Methods | None = None
