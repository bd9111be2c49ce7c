"""Options of `unlearn init` about the columns of a dataset."""

from typing import Annotated

import typer
from unlearn.cli import completion as completions
from unlearn.cli import panels
from unlearn.cli.init.request.choices import CategoryTexts, Identity, RareCategories

IdColumn = Annotated[
    str | None,
    typer.Option("--id", help="The column of record ids.", rich_help_panel=panels.DATA),
]

TargetColumns = Annotated[
    list[str] | None,
    typer.Option(
        help="The column of class labels, or of numbers to predict, for a table.",
        rich_help_panel=panels.DATA,
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

TaskName = Annotated[
    str | None,
    typer.Option(
        metavar="TASK",
        autocompletion=completions.tasks,
        help="What the target is: `classification` for classes, `regression` for numbers to "
        "predict. The default follows from its values; where these can be both, it is needed.",
        rich_help_panel=panels.DATA,
    ),
]

SubjectColumn = Annotated[
    str | None,
    typer.Option(
        help="The column that names the person a record is about. All rows of a person are "
        "in one shard.",
        rich_help_panel=panels.DATA,
    ),
]

IdentityRule = Annotated[
    Identity | None,
    typer.Option(
        help="Which ids are one: exact takes ids as they are written, folded ignores case, "
        "outer spaces and Unicode form. The default is exact if no two ids differ only so.",
        rich_help_panel=panels.DATA,
    ),
]

Drop = Annotated[
    list[str] | None,
    typer.Option(
        help="A column of a table that is no feature. Repeat the option for more columns.",
        rich_help_panel=panels.DATA,
    ),
]

Keep = Annotated[
    list[str] | None,
    typer.Option(
        help="A column of a table that is a feature, although it would be left out as row "
        "numbers, or refused as numbers with other values. Repeat the option for more columns.",
        rich_help_panel=panels.DATA,
    ),
]

Kinds = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN=KIND",
        help="What a column of a table is: numeric, boolean, categorical, datetime, calendar "
        "(a date with its weekday and month), ordinal:LEAST,NEXT,GREATEST, hashed_text (its "
        "words), image:3x32x32 or tensor:64. Repeat the option for more columns.",
        rich_help_panel=panels.DATA,
    ),
]

MissingTexts = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TEXT",
        help="A text that means a missing value in features of a table, in addition to the "
        "usual ones. Repeat the option for more texts.",
        rich_help_panel=panels.DATA,
    ),
]

RareCategoriesRule = Annotated[
    RareCategories | None,
    typer.Option(
        help="What happens to categories of a table that few rows, or people, share: bucket "
        "(the default) makes them one, keep has models learn each with its text.",
        rich_help_panel=panels.DATA,
    ),
]

CategoryTextsForm = Annotated[
    CategoryTexts | None,
    typer.Option(
        help="How shard files and models of a table have categories: clear (the default), or "
        "keyed, as digests. Predictions then need the key.",
        rich_help_panel=panels.DATA,
    ),
]

DropUnlabelled = Annotated[
    bool,
    typer.Option(
        "--drop-unlabelled",
        help="Leave out rows of a table without a class, or without a number to predict. By "
        "default they are an error.",
        rich_help_panel=panels.DATA,
    ),
]
