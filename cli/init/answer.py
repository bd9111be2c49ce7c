"""What `unlearn init --json` prints."""

from typing import Literal

from unlearn.cli.answers import Answer
from unlearn.cli.init.request.choices import Identity, Template
from unlearn.stages.config.dataset import CsvParams, IdType
from unlearn.stages.config.section import Task

KeyName = Literal["demo", "unlearn.key", "UNLEARN_KEY"]


class TableProject(Answer):
    """A project on a table.

    Parameters
    ----------
    root
        The project's folder.
    rows
        Rows of the dataset.
    shards, slices
        Shards, and slices of each.
    plain_training
        About how many seconds one plain model trains on all rows: the number of shards follows
        from it. None if that is not known, or did not decide.
    task
        Whether classes or numbers are predicted.
    classes, features
        How many of each the dataset has; no classes for a regression.
    left_out
        The reason by column that is no feature, without those of `--drop`.
    model
        The model to train.
    template
        The pipeline.
    id_type, subject_type
        What the ids of records, and of people, are; `subject_type` is None without people.
    identity
        Which ids are one.
    csv
        How CSV files are written; None if the dataset has none.
    key
        `unlearn.key`, `UNLEARN_KEY` for the key in this environment variable, or `demo` for the
        public key of an example.
    ci
        The workflow that was written; None without `--ci`.
    why_model
        Why this model was proposed; None where an option decided, and for examples.
    """

    root: str
    rows: int
    shards: int
    slices: int
    plain_training: float | None
    task: Task
    classes: int
    features: int
    left_out: dict[str, str]
    model: str
    template: Template
    id_type: IdType
    subject_type: IdType | None
    identity: Identity
    csv: CsvParams | None
    key: KeyName
    ci: str | None = None
    why_model: str | None = None


class TextProject(Answer):
    """A project on text for a language model.

    Parameters
    ----------
    root
        The project's folder.
    rows
        Rows of the dataset.
    shards, slices
        Shards, and slices of each.
    base
        The pretrained model.
    model
        The model to train.
    template
        The pipeline.
    id_type, subject_type
        What the ids of records, and of people, are; `subject_type` is None without people.
    identity
        Which ids are one.
    csv
        How CSV files are written; None if the dataset has none.
    key
        `unlearn.key`, `UNLEARN_KEY` for the key in this environment variable, or `demo` for the
        public key of an example.
    ci
        The workflow that was written; None without `--ci`.
    """

    root: str
    rows: int
    shards: int
    slices: int
    base: str
    model: str
    template: Template
    id_type: IdType
    subject_type: IdType | None
    identity: Identity
    csv: CsvParams | None
    key: KeyName
    ci: str | None = None
