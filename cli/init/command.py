"""`unlearn init`: a new project, or one in a repository that exists."""

from pathlib import Path
from typing import Annotated

import typer
from unlearn.cli import completion as completions
from unlearn.cli import panels
from unlearn.cli.csv_options import (
    DecimalMark,
    DelimiterName,
    EncodingName,
    QuoteName,
    columns_option,
    decimal_option,
    delimiter_option,
    encoding_option,
    quote_option,
)
from unlearn.cli.init import tabular
from unlearn.cli.init.answer import TableProject, TextProject
from unlearn.cli.init.dataset_out import (
    DatasetOut,
    Into,
    find_output,
    project_folder,
    there,
)
from unlearn.cli.init.description import describe
from unlearn.cli.init.model_options import RawFlag, TrustedTypes, WeightColumn
from unlearn.cli.init.request import (
    AdapterRule,
    CategoryTexts,
    CiSystem,
    Example,
    Identity,
    InitRequest,
    MissingColumns,
    RareCategories,
    Template,
    TextOptions,
    TooLong,
)
from unlearn.cli.init.scaffold import DEFAULT_HOLDOUT
from unlearn.cli.init.setup import write_workflow
from unlearn.cli.init.tasks import one_target, task_of
from unlearn.cli.init.workflow import files_above, find_workflow
from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, emit
from unlearn.stages.config.params import MAX_SHARDS, MAX_SLICES
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.registry import find_spec


def init(
    directory: Annotated[
        Path,
        typer.Argument(help="The project's folder. It is created if it does not exist."),
    ] = Path(),
    example: Annotated[
        Example | None,
        typer.Option(
            help=(
                "Set up an example: scikit-learn's digits, made-up visits to a hospital, made-up "
                "pictures of shapes, or synthetic authors with a small language model. Its key is "
                "public."
            ),
            rich_help_panel=panels.DATA,
        ),
    ] = None,
    dataset: Annotated[
        Path | None,
        typer.Option(
            help="The dataset: a CSV, Parquet, JSON or Arrow file, or a folder of them. It is "
            "copied into the project.",
            rich_help_panel=panels.DATA,
        ),
    ] = None,
    dataset_out: DatasetOut = None,
    into: Into = None,
    held_out: Annotated[
        Path | None,
        typer.Option(
            help="A file of rows that the model was not trained on. It replaces --holdout, for "
            "--template posthoc only.",
            rich_help_panel=panels.DATA,
        ),
    ] = None,
    in_folder: Annotated[
        bool,
        typer.Option(
            "--in-folder",
            help="Put a dataset of one file into a folder, with a file of random bytes: its md5 in "
            "git can then not be tested against a guess of a row.",
            rich_help_panel=panels.DATA,
        ),
    ] = False,
    id_column: Annotated[
        str | None,
        typer.Option("--id", help="The column of record ids.", rich_help_panel=panels.DATA),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            help="The column of class labels, or of numbers to predict, for a table.",
            rich_help_panel=panels.DATA,
        ),
    ] = None,
    weight: WeightColumn = None,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="TASK",
            autocompletion=completions.tasks,
            help="What the target is: `classification` for classes, `regression` for numbers to "
            "predict. The default follows from its values; where these can be both, it is needed.",
            rich_help_panel=panels.DATA,
        ),
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option(
            help="The column that names the person a record is about. All rows of a person are "
            "in one shard.",
            rich_help_panel=panels.DATA,
        ),
    ] = None,
    identity: Annotated[
        Identity | None,
        typer.Option(
            help="Which ids are one: exact takes ids as they are written, folded ignores case, "
            "outer spaces and Unicode form. The default is exact if no two ids differ only so.",
            rich_help_panel=panels.DATA,
        ),
    ] = None,
    multiline: Annotated[
        bool | None,
        typer.Option(
            "--multiline/--no-multiline",
            help="Whether values in quotes may have line ends in CSV files. The default is yes "
            "for text, and no for a table, where a missing quote would look the same.",
            show_default=False,
            rich_help_panel=panels.DATA,
        ),
    ] = None,
    delimiter: Annotated[DelimiterName | None, delimiter_option("found from the header")] = None,
    quote: Annotated[QuoteName | None, quote_option("found from the first rows")] = None,
    columns: Annotated[str | None, columns_option()] = None,
    decimal: Annotated[DecimalMark | None, decimal_option("found from all rows")] = None,
    encoding: Annotated[
        EncodingName | None,
        encoding_option("utf-8, or utf-16 if the file begins with a byte order mark"),
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(
            help="A column of a table that is no feature. Repeat the option for more columns.",
            rich_help_panel=panels.DATA,
        ),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            help="A column of a table that is a feature, although it would be left out as row "
            "numbers, or refused as numbers with other values. Repeat the option for more columns.",
            rich_help_panel=panels.DATA,
        ),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=KIND",
            help="What a column of a table is: numeric, boolean, categorical, datetime, calendar "
            "(a date with its weekday and month), ordinal:LEAST,NEXT,GREATEST, hashed_text (its "
            "words), image:3x32x32 or tensor:64. Repeat the option for more columns.",
            rich_help_panel=panels.DATA,
        ),
    ] = None,
    missing: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="A text that means a missing value in features of a table, in addition to the "
            "usual ones. Repeat the option for more texts.",
            rich_help_panel=panels.DATA,
        ),
    ] = None,
    missing_columns: Annotated[
        MissingColumns | None,
        typer.Option(
            help="What happens if a file of a directory lacks a column that others have: refuse "
            "it (the default), or read it with missing values there (null).",
            rich_help_panel=panels.DATA,
        ),
    ] = None,
    rare_categories: Annotated[
        RareCategories | None,
        typer.Option(
            help="What happens to categories of a table that few rows, or people, share: bucket "
            "(the default) makes them one, keep has models learn each with its text.",
            rich_help_panel=panels.DATA,
        ),
    ] = None,
    category_texts: Annotated[
        CategoryTexts | None,
        typer.Option(
            help="How shard files and models of a table have categories: clear (the default), or "
            "keyed, as digests. Predictions then need the key.",
            rich_help_panel=panels.DATA,
        ),
    ] = None,
    drop_unlabelled: Annotated[
        bool,
        typer.Option(
            "--drop-unlabelled",
            help="Leave out rows of a table without a class, or without a number to predict. By "
            "default they are an error.",
            rich_help_panel=panels.DATA,
        ),
    ] = False,
    holdout: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=0.9,
            help="The share of the rows that no model is trained on. The default is "
            f"{DEFAULT_HOLDOUT}.",
            rich_help_panel=panels.DATA,
        ),
    ] = None,
    pipeline: Annotated[
        Template,
        typer.Option(
            "--template",
            help="The pipeline: sisa retrains shards and is exact, posthoc changes one trained "
            "model.",
            rich_help_panel=panels.MODEL,
        ),
    ] = Template.SISA,
    shards: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MAX_SHARDS,
            help="The number of shards. The default is one, if a training is so short that more "
            "shards save no time.",
            rich_help_panel=panels.MODEL,
        ),
    ] = None,
    slices: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MAX_SLICES,
            help="The number of slices in a shard. The default depends on the number of rows.",
            rich_help_panel=panels.MODEL,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="The model of a table: exact_forest, exact_boosting, exact_linear, "
            "exact_naive_bayes, mlp, perturbed_logistic, resnet (pictures), a scikit-learn "
            "class such as sklearn.naive_bayes.GaussianNB, xgboost.XGBClassifier, "
            "lightgbm.LGBMClassifier, catboost.CatBoostClassifier, or a torch module or an "
            "estimator of your own, returned by path/to/model.py:build. The default is "
            "exact_forest, and mlp with --shards, --slices, --epochs or --template posthoc. "
            "The model of text: lora (the default) or causal_lm.",
            autocompletion=completions.families,
            rich_help_panel=panels.MODEL,
        ),
    ] = None,
    raw: RawFlag = False,
    trust_type: TrustedTypes = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="The number of training epochs. The default depends on the number of rows.",
            rich_help_panel=panels.MODEL,
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            help="The pretrained model: the folder of a checkpoint, or a name on the Hugging Face "
            "hub.",
            rich_help_panel=panels.TEXT,
        ),
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option(help="The commit of a base from the hub.", rich_help_panel=panels.TEXT),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(help="The column of prompts.", rich_help_panel=panels.TEXT)
    ] = None,
    completion: Annotated[
        str | None,
        typer.Option(
            help="The column of completions. The loss counts these alone.",
            rich_help_panel=panels.TEXT,
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(
            help="The column of running text. It replaces --prompt and --completion.",
            rich_help_panel=panels.TEXT,
        ),
    ] = None,
    messages: Annotated[
        str | None,
        typer.Option(
            help="The column of chats: lists of messages with a role and a content, or of "
            "ShareGPT. It replaces --prompt and --completion. Without any of these options, the "
            "columns messages, conversations, instruction with output, and prompt with completion "
            "are found by their names.",
            rich_help_panel=panels.TEXT,
        ),
    ] = None,
    tools: Annotated[
        str | None,
        typer.Option(
            help="The column of definitions of functions, which the chat template gets with chats.",
            rich_help_panel=panels.TEXT,
        ),
    ] = None,
    prompt_input: Annotated[
        str | None,
        typer.Option(
            help="The column of what goes behind a prompt, after an empty line, where it has any.",
            rich_help_panel=panels.TEXT,
        ),
    ] = None,
    paraphrase: Annotated[
        str | None,
        typer.Option(
            help="The column of completions in other words. It is used by the evaluation only.",
            rich_help_panel=panels.TEXT,
        ),
    ] = None,
    perturbed: Annotated[
        list[str] | None,
        typer.Option(
            help="A column of wrong completions, used by the evaluation only. Repeat the option "
            "for more columns.",
            rich_help_panel=panels.TEXT,
        ),
    ] = None,
    topic: Annotated[
        str | None,
        typer.Option(
            help="The column of public topics, by which rows can be routed to shards.",
            rich_help_panel=panels.TEXT,
        ),
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="The largest number of tokens in a row. The default is 512, or what the base "
            "allows if that is less.",
            rich_help_panel=panels.TEXT,
        ),
    ] = None,
    rule: Annotated[
        AdapterRule | None,
        typer.Option(
            help="How the adapters of shards answer together. The default is mean_log_probability.",
            rich_help_panel=panels.TEXT,
        ),
    ] = None,
    too_long: Annotated[
        TooLong | None,
        typer.Option(
            help="What happens to rows with more tokens. The default is refuse.",
            rich_help_panel=panels.TEXT,
        ),
    ] = None,
    layers_by_slice: Annotated[
        bool,
        typer.Option(
            "--layers-by-slice",
            help="Train each slice on layers of its own, so that `unlearn repro --switch-off` "
            "can switch them off.",
            rich_help_panel=panels.TEXT,
        ),
    ] = False,
    size: Annotated[
        str | None,
        typer.Option(
            help="The size of the base of --example authors: tiny (the default), small or medium.",
            rich_help_panel=panels.TEXT,
        ),
    ] = None,
    ci: Annotated[
        CiSystem | None,
        typer.Option(
            help="Write a workflow for this CI system as well.", rich_help_panel=panels.OUTPUT
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Set up git, DVC and the pipeline for a dataset."""
    root = project_folder(directory, into)
    if dataset_out is not None:
        if dataset is not None:
            raise InputError("give either --dataset or --dataset-out")
        dataset = find_output(there(directory.resolve()), root, dataset_out)
    summary = _set_up(
        InitRequest(
            root=root,
            example=example,
            template=pipeline,
            ci=ci,
            dataset=dataset if dataset is None or dataset_out else dataset.resolve(),
            is_output=dataset_out is not None,
            held_out=None if held_out is None else held_out.resolve(),
            in_folder=in_folder,
            id=id_column,
            target=one_target(target),
            weight=weight,
            task=None if task is None else task_of(task),
            subject=subject,
            identity=identity,
            multiline=multiline,
            delimiter=delimiter,
            quote=quote,
            columns=columns,
            decimal=decimal,
            encoding=encoding,
            drop=tuple(drop or ()),
            keep=tuple(keep or ()),
            kind=tuple(kind or ()),
            missing=tuple(missing or ()),
            missing_columns=missing_columns,
            rare_categories=rare_categories,
            category_texts="keyed" if category_texts is CategoryTexts.KEYED else None,
            drop_unlabelled=drop_unlabelled or None,
            shards=shards,
            slices=slices,
            holdout=holdout,
            model=model,
            raw=raw,
            trust_type=tuple(trust_type or ()),
            epochs=epochs,
            size=size,
            layers_by_slice=layers_by_slice,
            text=TextOptions(
                base=base,
                revision=revision,
                prompt=prompt,
                completion=completion,
                text=text,
                messages=messages,
                tools=tools,
                prompt_input=prompt_input,
                paraphrase=paraphrase,
                perturbed=tuple(perturbed or ()),
                topic=topic,
                context=context,
                too_long=too_long,
                rule=rule,
            ),
        )
    )
    folder = directory if into is None else directory / into
    emit(summary, as_json=as_json, text=lambda: describe(summary, folder, dataset))


COMMAND = Command(
    init,
    example="""\
unlearn init digits --example digits
unlearn init . --dataset visits.csv --id visit --target readmitted""",
    answer=TableProject | TextProject,
)


def _set_up(request: InitRequest) -> TableProject | TextProject:
    """Set up the project; return the summary. A table does not wait for torch to be imported."""
    request.check()
    workflow = None if request.ci is None else find_workflow(request.root, request.ci)
    upstream: list[str] = []
    if workflow is not None:
        workflow.check()
        if request.is_output and request.dataset is not None:
            upstream = files_above(workflow, request.dataset)
    summary: TableProject | TextProject
    if request.reads_text:
        # For text alone: torch takes seconds to load.
        from unlearn.cli.init import text  # noqa: PLC0415

        init_text = text.init_text if request.example is None else text.init_authors
        summary = init_text(request)
    else:
        example = request.example
        summary = (
            tabular.init_table(request)
            if example is None
            else tabular.init_example(request, example)
        )
    if workflow is not None:
        is_text = isinstance(summary, TextProject)
        library = None if is_text else find_spec(summary.model).extra
        write_workflow(
            request.root,
            workflow,
            is_text=is_text,
            distributions=() if library is None else library.distributions,
            upstream=upstream,
        )
        summary = summary.model_copy(update={"ci": workflow.path})
    return summary
