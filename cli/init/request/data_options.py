"""Options of `unlearn init` about the files of a dataset."""

from pathlib import Path
from typing import Annotated

import typer
from unlearn.cli import panels
from unlearn.cli.init.request.choices import MissingColumns
from unlearn.cli.init.scaffold import DEFAULT_HOLDOUT

DatasetPath = Annotated[
    Path | None,
    typer.Option(
        help="The dataset: a CSV, Parquet, JSON or Arrow file, or a folder of them. It is "
        "copied into the project.",
        rich_help_panel=panels.DATA,
    ),
]

DatasetOut = Annotated[
    Path | None,
    typer.Option(
        "--dataset-out",
        metavar="PATH",
        help="The dataset: an output of a DVC stage, or of a .dvc file, in this repository. It "
        "stays where it is, and what changes it reruns the pipeline.",
        rich_help_panel=panels.DATA,
    ),
]

HeldOut = Annotated[
    Path | None,
    typer.Option(
        help="A file of rows that the model was not trained on. It replaces --holdout, for "
        "--template posthoc only.",
        rich_help_panel=panels.DATA,
    ),
]

InFolder = Annotated[
    bool,
    typer.Option(
        "--in-folder",
        help="Put a dataset of one file into a folder, with a file of random bytes: its md5 in "
        "git can then not be tested against a guess of a row.",
        rich_help_panel=panels.DATA,
    ),
]

Multiline = Annotated[
    bool | None,
    typer.Option(
        "--multiline/--no-multiline",
        help="Whether values in quotes may have line ends in CSV files. The default is yes "
        "for text, and no for a table, where a missing quote would look the same.",
        show_default=False,
        rich_help_panel=panels.DATA,
    ),
]

MissingColumnsRule = Annotated[
    MissingColumns | None,
    typer.Option(
        help="What happens if a file of a directory lacks a column that others have: refuse "
        "it (the default), or read it with missing values there (null).",
        rich_help_panel=panels.DATA,
    ),
]

Holdout = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        max=0.9,
        help="The share of the rows that no model is trained on. The default is "
        f"{DEFAULT_HOLDOUT}.",
        rich_help_panel=panels.DATA,
    ),
]
