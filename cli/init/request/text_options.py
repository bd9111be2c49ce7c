"""Options of `unlearn init` about text for a language model."""

from typing import Annotated

import typer
from unlearn.cli import panels
from unlearn.cli.init.request.choices import AdapterRule, TooLong

Base = Annotated[
    str | None,
    typer.Option(
        help="The pretrained model: the folder of a checkpoint, or a name on the Hugging Face hub.",
        rich_help_panel=panels.TEXT,
    ),
]

Revision = Annotated[
    str | None,
    typer.Option(help="The commit of a base from the hub.", rich_help_panel=panels.TEXT),
]

PromptColumn = Annotated[
    str | None, typer.Option(help="The column of prompts.", rich_help_panel=panels.TEXT)
]

CompletionColumn = Annotated[
    str | None,
    typer.Option(
        help="The column of completions. The loss counts these alone.",
        rich_help_panel=panels.TEXT,
    ),
]

TextColumn = Annotated[
    str | None,
    typer.Option(
        help="The column of running text. It replaces --prompt and --completion.",
        rich_help_panel=panels.TEXT,
    ),
]

MessagesColumn = Annotated[
    str | None,
    typer.Option(
        help="The column of chats: lists of messages with a role and a content, or of "
        "ShareGPT. It replaces --prompt and --completion. Without any of these options, the "
        "columns messages, conversations, instruction with output, and prompt with completion "
        "are found by their names.",
        rich_help_panel=panels.TEXT,
    ),
]

ToolsColumn = Annotated[
    str | None,
    typer.Option(
        help="The column of definitions of functions, which the chat template gets with chats.",
        rich_help_panel=panels.TEXT,
    ),
]

PromptInputColumn = Annotated[
    str | None,
    typer.Option(
        help="The column of what goes behind a prompt, after an empty line, where it has any.",
        rich_help_panel=panels.TEXT,
    ),
]

ParaphraseColumn = Annotated[
    str | None,
    typer.Option(
        help="The column of completions in other words. It is used by the evaluation only.",
        rich_help_panel=panels.TEXT,
    ),
]

PerturbedColumns = Annotated[
    list[str] | None,
    typer.Option(
        help="A column of wrong completions, used by the evaluation only. Repeat the option "
        "for more columns.",
        rich_help_panel=panels.TEXT,
    ),
]

TopicColumn = Annotated[
    str | None,
    typer.Option(
        help="The column of public topics, by which rows can be routed to shards.",
        rich_help_panel=panels.TEXT,
    ),
]

Context = Annotated[
    int | None,
    typer.Option(
        min=2,
        help="The largest number of tokens in a row. The default is 512, or what the base "
        "allows if that is less.",
        rich_help_panel=panels.TEXT,
    ),
]

Rule = Annotated[
    AdapterRule | None,
    typer.Option(
        help="How the adapters of shards answer together. The default is mean_log_probability.",
        rich_help_panel=panels.TEXT,
    ),
]

TooLongRule = Annotated[
    TooLong | None,
    typer.Option(
        help="What happens to rows with more tokens. The default is refuse.",
        rich_help_panel=panels.TEXT,
    ),
]

LayersBySlice = Annotated[
    bool,
    typer.Option(
        "--layers-by-slice",
        help="Train each slice on layers of its own, so that `unlearn repro --switch-off` "
        "can switch them off.",
        rich_help_panel=panels.TEXT,
    ),
]

Size = Annotated[
    str | None,
    typer.Option(
        help="The size of the base of --example authors: tiny (the default), small or medium.",
        rich_help_panel=panels.TEXT,
    ),
]
