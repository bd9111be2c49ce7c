"""What `unlearn init --json` prints."""

from typing import Literal

from unlearn.cli.answers import Answer
from unlearn.cli.init.request import Template

KeyName = Literal["demo", "unlearn.key"]


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
    classes, features
        How many of each the dataset has.
    model
        The model to train.
    template
        The pipeline.
    key
        `unlearn.key`, or `demo` for the public key of an example.
    ci
        The workflow that was written; None without `--ci`.
    """

    root: str
    rows: int
    shards: int
    slices: int
    classes: int
    features: int
    model: str
    template: Template
    key: KeyName
    ci: str | None = None


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
    key
        `unlearn.key`, or `demo` for the public key of an example.
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
    key: KeyName
    ci: str | None = None
