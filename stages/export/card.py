"""The model card of an export: what it is, what was measured, and what nobody claims of it."""

from collections.abc import Iterator

from unlearn.stages.export.record import AttackFacts, ExportRecord, Quality

_KINDS = {
    "shards": "The low-rank adapters of a project that can unlearn, a folder for each shard.",
    "adapter": "One low-rank adapter, made of the adapters of all shards of a project that can "
    "unlearn: its weight update is the mean of theirs.",
    "merged": "A whole model: the base with one low-rank adapter merged into its weights.",
}
_ONE_MODEL = {
    "shards": "The low-rank adapter of the one shard of a project that can unlearn.",
    "adapter": "The low-rank adapter of one tuned model.",
    "merged": "A whole tuned model.",
}
_MERGED_ADAPTER = "A whole model: the base with the low-rank adapter of one tuned model merged in."

#: What the table of figures has.
_COLUMNS = (
    "perplexity, unseen rows",
    "accuracy, unseen rows",
    "extraction, forgotten rows",
    "extraction, unseen rows",
)

_OTHER_MODEL = (
    "- It is another model than the ensemble of the project, which answers by the mean of the "
    "adapters' log-probabilities."
)
_FIGURES = " The figures below are of this model."
_APPROXIMATE = (
    "- It is not a deletion: an approximate method changed a model that had seen the forgotten "
    "rows."
)


def model_card(record: ExportRecord, *, one_model: bool) -> str:
    """Return the model card, in Markdown with the metadata that the hub reads.

    Parameters
    ----------
    record
        What the export says of itself.
    one_model
        Whether it was made of one model: then it is that of the project.
    """
    return "\n".join(_lines(record, one_model)) + "\n"


def _lines(record: ExportRecord, one_model: bool) -> Iterator[str]:
    base, state = record.base, record.generation
    if base is None:
        raise ValueError("the model is of a table")
    yield "---"
    if base.revision is not None:  # else it is no name on the hub
        yield f"base_model: {base.name}"
    yield f"library_name: {'transformers' if record.kind == 'merged' else 'peft'}"
    yield "tags:"
    yield "- machine-unlearning"
    yield "---"
    yield ""
    yield "# Exported language model"
    yield ""
    if one_model and record.kind == "merged" and record.rank is not None:
        yield _MERGED_ADAPTER
    else:
        yield (_ONE_MODEL if one_model else _KINDS)[record.kind]
    yield ""
    yield "| | |"
    yield "|---|---|"
    revision = "" if base.revision is None else f", revision {base.revision}"
    yield f"| base | `{base.name}`{revision} |"
    yield f"| digest of the base's files | `{base.digest}` |"
    yield f"| generation: commit of git | {_code(state.commit)} |"
    yield f"| generation: SHA-256 of dvc.lock | `{state.lock}` |"
    yield f"| digest of the models it was made of | `{state.models}` ({state.members}) |"
    if state.requests is not None:
        yield f"| requests honoured | {state.requests} |"
    if state.pending:
        yield f"| lines of the forget list that are not honoured yet | {state.pending} |"
    yield f"| label | {record.label} |"
    yield f"| verdict on the project | {record.verdict} |"
    if record.rank is not None:
        yield f"| rank of the adapter | {record.rank} |"
    if record.compression is not None:
        of = record.compression
        yield f"| compressed from rank {of.before}, relative error | {of.error:.3g} |"
    if record.precision is not None:
        yield f"| precision | {record.precision} |"
    yield ""
    yield "## What is claimed, and what is not"
    yield ""
    yield from claims(record, one_model=one_model)
    yield from _measured(record)
    yield ""
    yield "## Files"
    yield ""
    yield "| file | SHA-256 |"
    yield "|---|---|"
    for name, digest in record.files.items():
        yield f"| `{name}` | `{digest}` |"


def claims(record: ExportRecord, *, one_model: bool) -> Iterator[str]:
    """Yield what is claimed of a language model, and what is not, as items of a list."""
    yield from forgotten_rows(
        record,
        "its weights are byte for byte those of a project that never had the forgotten rows, in "
        "the same environment",
    )
    yield (
        "- Nothing is claimed of what the base learned in its own pre-training. If the base had "
        "seen the same rows, they are not removed from it."
    )
    if record.kind != "shards" and not one_model:
        yield _OTHER_MODEL if record.measurement is None else _OTHER_MODEL + _FIGURES
    yield (
        "- A later request changes the project and not this copy: it is to be deleted and exported "
        "again then."
    )


def forgotten_rows(record: ExportRecord, claim: str) -> Iterator[str]:
    """Yield what is claimed of forgotten rows, no more than the verdict says.

    Parameters
    ----------
    record
        What the export says of itself.
    claim
        What holds of an exact model, as a clause.
    """
    if record.label != "exact":
        yield _APPROXIMATE
    elif record.verdict == "pass":
        yield f"- {claim[0].upper()}{claim[1:]}."
    else:
        yield f"- It was not confirmed that {claim}: the verdict is {record.verdict}."
    if not record.generation.honours_all:
        yield "- Requests are pending, and the model may hold their rows."


def _measured(record: ExportRecord) -> Iterator[str]:
    found = record.measurement
    if found is None:
        return
    yield ""
    yield "## Measured at the export"
    yield ""
    yield f"| | {' | '.join(_COLUMNS)} |"
    yield "|---|---:|---:|---:|---:|"
    yield _row("this model", found.exported)
    yield _row("the final model of the project", found.deployed)
    if found.membership is not None:
        yield ""
        yield from _attack(found.membership)
    for why in found.missing:
        yield ""
        yield f"Note: {why}."


def _row(name: str, of: Quality | None) -> str:
    values = (
        (None,) * 4
        if of is None
        else (of.perplexity, of.accuracy, of.extraction, of.unseen_extraction)
    )
    return f"| {name} | " + " | ".join(map(_number, values)) + " |"


def _attack(of: AttackFacts) -> Iterator[str]:
    interval = "" if of.low is None else f" (95 % interval {_number(of.low)} to {_number(of.high)})"
    auc = "no figure" if of.auc is None else f"AUC {_number(of.auc)}{interval}"
    yield (
        f"Membership attack `{of.attack}` on this model: {auc}; verdict "
        f"{of.verdict or 'none: no row was forgotten'}."
    )
    for reason in of.reasons:
        yield f"- {reason}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _code(text: str | None) -> str:
    return "not committed" if text is None else f"`{text}`"
