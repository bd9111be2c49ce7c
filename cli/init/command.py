"""`unlearn init`: a new project, or one in a repository that exists."""

from pathlib import Path
from typing import Annotated

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
from unlearn.cli.init.checks.folder import check_folder
from unlearn.cli.init.checks.options import check_options
from unlearn.cli.init.dataset.dvc_output import find_output
from unlearn.cli.init.description import describe
from unlearn.cli.init.files.workflow import files_above, find_workflow
from unlearn.cli.init.repository.placing import write_workflow
from unlearn.cli.init.request.choices import CategoryTexts, Template
from unlearn.cli.init.request.column_options import (
    CategoryTextsForm,
    Drop,
    DropUnlabelled,
    IdColumn,
    IdentityRule,
    Keep,
    Kinds,
    MissingTexts,
    RareCategoriesRule,
    SubjectColumn,
    TargetColumns,
    TaskName,
    WeightColumn,
)
from unlearn.cli.init.request.data_options import (
    DatasetOut,
    DatasetPath,
    HeldOut,
    Holdout,
    InFolder,
    MissingColumnsRule,
    Multiline,
)
from unlearn.cli.init.request.folders import project_folder, there
from unlearn.cli.init.request.model_options import (
    Epochs,
    ModelName,
    RawFlag,
    Shards,
    Slices,
    TrustedTypes,
)
from unlearn.cli.init.request.project_options import (
    CiName,
    Directory,
    ExampleName,
    Into,
    TemplateName,
)
from unlearn.cli.init.request.request import InitRequest
from unlearn.cli.init.request.tasks import one_target, task_of
from unlearn.cli.init.request.text_options import (
    Base,
    CompletionColumn,
    Context,
    LayersBySlice,
    MessagesColumn,
    ParaphraseColumn,
    PerturbedColumns,
    PromptColumn,
    PromptInputColumn,
    Revision,
    Rule,
    Size,
    TextColumn,
    TooLongRule,
    ToolsColumn,
    TopicColumn,
)
from unlearn.cli.init.request.text_request import TextOptions
from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, emit
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.registry import find_spec


def init(
    directory: Directory = Path(),
    example: ExampleName = None,
    dataset: DatasetPath = None,
    dataset_out: DatasetOut = None,
    into: Into = None,
    held_out: HeldOut = None,
    in_folder: InFolder = False,
    id_column: IdColumn = None,
    target: TargetColumns = None,
    weight: WeightColumn = None,
    task: TaskName = None,
    subject: SubjectColumn = None,
    identity: IdentityRule = None,
    multiline: Multiline = None,
    delimiter: Annotated[DelimiterName | None, delimiter_option("found from the header")] = None,
    quote: Annotated[QuoteName | None, quote_option("found from the first rows")] = None,
    columns: Annotated[str | None, columns_option()] = None,
    decimal: Annotated[DecimalMark | None, decimal_option("found from all rows")] = None,
    encoding: Annotated[
        EncodingName | None,
        encoding_option("utf-8, or utf-16 if the file begins with a byte order mark"),
    ] = None,
    drop: Drop = None,
    keep: Keep = None,
    kind: Kinds = None,
    missing: MissingTexts = None,
    missing_columns: MissingColumnsRule = None,
    rare_categories: RareCategoriesRule = None,
    category_texts: CategoryTextsForm = None,
    drop_unlabelled: DropUnlabelled = False,
    holdout: Holdout = None,
    pipeline: TemplateName = Template.SISA,
    shards: Shards = None,
    slices: Slices = None,
    model: ModelName = None,
    raw: RawFlag = False,
    trust_type: TrustedTypes = None,
    epochs: Epochs = None,
    base: Base = None,
    revision: Revision = None,
    prompt: PromptColumn = None,
    completion: CompletionColumn = None,
    text: TextColumn = None,
    messages: MessagesColumn = None,
    tools: ToolsColumn = None,
    prompt_input: PromptInputColumn = None,
    paraphrase: ParaphraseColumn = None,
    perturbed: PerturbedColumns = None,
    topic: TopicColumn = None,
    context: Context = None,
    rule: Rule = None,
    too_long: TooLongRule = None,
    layers_by_slice: LayersBySlice = False,
    size: Size = None,
    ci: CiName = None,
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
    check_folder(request)
    check_options(request)
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
