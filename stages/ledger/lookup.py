"""Looking tokens up in the rows that are here: data/shards, the dataset, and canaries."""

from dataclasses import dataclass, field

import pyarrow.compute as pc
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.project.paths import CANARIES, HOLDOUT, UNLABELLED
from unlearn.stages.rows.canaries import coin
from unlearn.stages.rows.forget_list import place_of_line
from unlearn.stages.rows.identity import TokenColumns, dataset_tokens
from unlearn.stages.rows.shard_file import (
    RECORD,
    SUBJECT,
    is_one_of,
    read_shard,
    record_tokens,
    subject_tokens,
)


@dataclass
class KnownTokens:
    """Which of the tokens in question the data holds.

    Parameters
    ----------
    subject_of
        By record token: the subject's token, or None where the dataset names no subjects.
    subjects
        Subject tokens that were found.
    left_out
        Those of both that belong to canaries that no model was trained on.
    unlabelled
        Those of both that have rows without a class only, which are in no shard.
    """

    subject_of: dict[str, str | None] = field(default_factory=dict)
    subjects: set[str] = field(default_factory=set)
    left_out: set[str] = field(default_factory=set)
    unlabelled: set[str] = field(default_factory=set)


def find_tokens(context: Context, records: set[str], subjects: set[str]) -> KnownTokens:
    """Look tokens up in data/shards, and what is not there in dataset and canaries themselves.

    Raises
    ------
    InputError
        If neither data/shards nor the dataset is there to ask.
    """
    known = KnownTokens()
    dataset = context.params.dataset
    project = context.project
    names = [*context.params.sharding.shards, HOLDOUT]
    if not context.has_subjects and dataset.held_out is None:
        names = sorted({place_of_line(token, context.params.sharding).shard for token in records})
    present = [name for name in names if project.shard_file(name).is_file()]
    for name in present:
        _note(_tokens_in_shard(context, name, records, subjects), records, subjects, known)
    _look_in_unlabelled(context, records, subjects, known)
    look_in_canaries(context, records, subjects, known)
    if records <= known.subject_of.keys() and subjects <= known.subjects:
        return known
    path = project.root / dataset.path
    if path.exists():
        for tokens in dataset_tokens(path, dataset, context.tokenizer):
            _note(tokens, records, subjects, known)
        if dataset.held_out is not None and (project.root / dataset.held_out).exists():
            named = dataset.model_copy(update={"path": dataset.held_out})
            for tokens in dataset_tokens(project.root / named.path, named, context.tokenizer):
                _note(tokens, records, subjects, known)
    elif not project.shards.is_dir():
        raise InputError(
            f"neither data/shards nor {dataset.path} is here to look ids up in",
            "fetch them with `dvc pull`",
        )
    return known


def _tokens_in_shard(
    context: Context, name: str, records: set[str], subjects: set[str]
) -> TokenColumns:
    """Return the tokens of the rows that have one of these; only those are made text."""
    columns = [RECORD, SUBJECT] if context.has_subjects else [RECORD]
    path = context.project.shard_file(name)
    rows = read_shard(path, f"data/shards/{path.name}", columns).rows
    asked = is_one_of(rows[RECORD], records)
    if not context.has_subjects:
        return TokenColumns(record_tokens(rows.filter(asked)), None)
    found = rows.filter(pc.or_(asked, is_one_of(rows[SUBJECT], subjects)))
    return TokenColumns(record_tokens(found), subject_tokens(found))


def _look_in_unlabelled(
    context: Context, records: set[str], subjects: set[str], known: KnownTokens
) -> None:
    """Look among the rows without a class, which no model is trained on."""
    if not context.project.shard_file(UNLABELLED).is_file():
        return
    found = KnownTokens()
    tokens = _tokens_in_shard(context, UNLABELLED, records, subjects)
    _note(tokens, records, subjects, found)
    known.unlabelled |= found.subject_of.keys() - known.subject_of.keys()
    known.unlabelled |= found.subjects - known.subjects
    known.subject_of |= found.subject_of
    known.subjects |= found.subjects


def look_in_canaries(
    context: Context, records: set[str], subjects: set[str], known: KnownTokens
) -> None:
    """Look among the canaries: those in data/shards, and those not there yet."""
    dataset = context.params.dataset
    if dataset.canaries is None:
        return
    found = []
    if context.project.shard_file(CANARIES).is_file():
        found.append(_tokens_in_shard(context, CANARIES, records, subjects))
    if (path := context.project.root / dataset.canaries).exists():
        named = dataset.of_any_type(dataset.canaries)
        found += dataset_tokens(path, named, context.tokenizer)
    for tokens in found:
        _note(tokens, records, subjects, known)
        for record, governing in zip(tokens.records, tokens.governing, strict=True):
            if (record in records or governing in subjects) and not coin(context.key, record):
                known.left_out |= {record, governing}


def _note(found: TokenColumns, records: set[str], subjects: set[str], known: KnownTokens) -> None:
    if found.subjects is None:
        known.subject_of.update(dict.fromkeys(records.intersection(found.records)))
        return
    for record, subject in zip(found.records, found.subjects, strict=True):
        if record in records:
            known.subject_of[record] = subject
        if subject in subjects:
            known.subjects.add(subject)
