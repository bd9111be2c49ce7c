"""Options of `unlearn init` about an estimator of one's own, and about weights of rows."""

from typing import Annotated

import typer
from unlearn.cli import panels

RawFlag = Annotated[
    bool,
    typer.Option(
        "--raw",
        help="Give an estimator of your own a pandas DataFrame of the features, in place of scaled "
        "numbers.",
        rich_help_panel=panels.MODEL,
    ),
]

TrustedTypes = Annotated[
    list[str] | None,
    typer.Option(
        "--trust-type",
        metavar="NAME",
        help="A type of another package than scikit-learn that model files of your own estimator "
        "may hold. Repeat the option for more types.",
        rich_help_panel=panels.MODEL,
    ),
]

WeightColumn = Annotated[
    str | None,
    typer.Option(
        help="A column of a table with the weight of each row, above 0. Models that take weights "
        "are trained with it, and measures of quality count rows by it.",
        rich_help_panel=panels.DATA,
    ),
]
