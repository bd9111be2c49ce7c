"""export.json: what an export says of itself, beside its model card."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["shards", "adapter", "merged", "onnx", "mlflow", "hub"]
Outcome = Literal["pass", "fail", "inconclusive"]

FILE_NAME, CARD_NAME = "export.json", "README.md"


class _Part(BaseModel):
    """A part of export.json."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class BaseFacts(_Part):
    """The model before tuning.

    Parameters
    ----------
    name
        Its name on the hub, or a relative path; never a path of the machine that made the export.
    revision
        The commit on the hub; null for a folder.
    digest
        SHA-256 over the digests of its files.
    """

    name: str
    revision: str | None
    digest: str


class Generation(_Part):
    """Which state of the project was exported.

    Parameters
    ----------
    commit
        The commit of git; null if git does not have this state.
    lock
        SHA-256 of dvc.lock.
    models
        Digest of the models that the export was made of. In copies for publication it is over what
        these hold of them, and not over the numbers of rows.
    members
        How many models these are.
    requests
        Requests to forget that were filed and not taken back; null in copies for publication.
    pending
        Lines of the forget list that these models may still hold the rows of; likewise.
    honours_all
        Whether there are no such lines.
    """

    commit: str | None
    lock: str
    models: str
    members: int
    requests: int | None
    pending: int | None
    honours_all: bool

    def published(self, models: str) -> "Generation":
        """Return what a copy for publication says: no number of requests, of lines or of rows.

        Parameters
        ----------
        models
            The digest of the models as the copy has them.
        """
        return self.model_copy(update={"models": models, "requests": None, "pending": None})


class Compression(_Part):
    """What a lower rank left out, as shares of the Frobenius norm of the weight updates.

    Parameters
    ----------
    rank, before
        The rank, and that of the adapter without compression.
    error
        Of all layers together.
    layers
        Of each layer.
    """

    rank: int
    before: int
    error: float
    layers: dict[str, float]


class Quality(_Part):
    """What a model makes of unseen rows, and of forgotten ones; null for too few rows.

    Parameters
    ----------
    perplexity, accuracy
        On held-out rows, of answer tokens: perplexity, and the share that are the likeliest.
    extraction
        Mean extraction strength of forgotten rows.
    unseen_extraction
        The same of held-out rows.
    """

    perplexity: float | None
    accuracy: float | None
    extraction: float | None
    unseen_extraction: float | None


class AttackFacts(_Part):
    """The deciding membership attack on the exported model.

    Parameters
    ----------
    attack
        Its name.
    auc, low, high
        Of forgotten rows against held-out ones, with the 95 % interval; null for too few rows.
    verdict
        What it shows by itself; null if no row was forgotten.
    reasons
        Why, in words without figures.
    """

    attack: str | None
    auc: float | None
    low: float | None
    high: float | None
    verdict: Outcome | None
    reasons: list[str]


class Measurement(_Part):
    """What was measured when the model was exported.

    Parameters
    ----------
    exported
        The exported model.
    deployed
        The project's final model, for comparison.
    perplexity_ratio
        Perplexity of the exported model on held-out rows, divided by that of the deployed one.
    membership
        The deciding attack on the exported model.
    missing
        Why figures are missing, in sentences.
    """

    exported: Quality | None
    deployed: Quality | None
    perplexity_ratio: float | None
    membership: AttackFacts | None
    missing: list[str]


class ExportRecord(_Part):
    """The content of export.json.

    Parameters
    ----------
    schema_version
        Always 1. Keys are only ever added.
    kind
        `shards`, `adapter` or `merged` of a language model; `onnx`, `mlflow` or `hub` of a table's.
    label
        `exact` if the model is a function of models that never saw a forgotten row; else
        `approximate` or `certified`, as the deployed method.
    verdict
        That of the project's report.
    base, generation
        What it was made from; no base for tables.
    precision
        Of merged weights; null otherwise.
    rank
        Of the adapter, or of merged weights' adapter; null for shards and whole tuned models.
    compression
        What a lower rank left out; null without `--rank`.
    measurement
        What was measured; null for `shards`, and with `--public`.
    files
        SHA-256 of every file but the model card and this one.
    """

    schema_version: Literal[1] = 1
    kind: Kind
    label: str
    verdict: Outcome
    base: BaseFacts | None
    generation: Generation
    precision: str | None
    rank: int | None
    compression: Compression | None
    measurement: Measurement | None
    files: dict[str, str] = Field(default_factory=dict)
