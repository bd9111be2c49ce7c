"""Options of `unlearn init` about the project: where it is, and what is in it."""

from pathlib import Path
from typing import Annotated

import typer
from unlearn.cli import panels
from unlearn.cli.init.request.choices import CiSystem, Example, Template

Directory = Annotated[
    Path,
    typer.Argument(help="The project's folder. It is created if it does not exist."),
]

ExampleName = Annotated[
    Example | None,
    typer.Option(
        help=(
            "Set up an example: scikit-learn's digits, made-up visits to a hospital, made-up "
            "pictures of shapes, or synthetic authors with a small language model. Its key is "
            "public."
        ),
        rich_help_panel=panels.DATA,
    ),
]

Into = Annotated[
    Path | None,
    typer.Option(
        "--into",
        metavar="FOLDER",
        help="A folder below the first one that the project is put into, with a dvc.yaml and a "
        "params.yaml of its own: for repositories that have a pipeline.",
        rich_help_panel=panels.OUTPUT,
    ),
]

TemplateName = Annotated[
    Template,
    typer.Option(
        "--template",
        help="The pipeline: sisa retrains shards and is exact, posthoc changes one trained model.",
        rich_help_panel=panels.MODEL,
    ),
]

CiName = Annotated[
    CiSystem | None,
    typer.Option(
        help="Write a workflow for this CI system as well.", rich_help_panel=panels.OUTPUT
    ),
]
