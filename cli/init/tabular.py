"""`unlearn init` for a table: a user's own dataset, or the digits."""

from dataclasses import replace

from unlearn.cli.examples.digits import CLASSES, DIGITS_PATH, PIXELS, ROWS, digits_csv
from unlearn.cli.init.answer import KeyName, TableProject
from unlearn.cli.init.csv_format import find_csv
from unlearn.cli.init.file_notes import check_files, say_about_files
from unlearn.cli.init.files import (
    TableParams,
    copied_to,
    parse,
    render_pipeline,
    render_table_params,
)
from unlearn.cli.init.request import Identity, InitRequest
from unlearn.cli.init.roles import find_roles
from unlearn.cli.init.scaffold import Plan, suggest
from unlearn.cli.init.setup import (
    check_rows,
    choose_key,
    put_in_place,
    start_repositories,
    write,
    write_ignore_files,
    write_project,
)
from unlearn.cli.output import say
from unlearn.stages.columns.schema_finder import SchemaFinder
from unlearn.stages.config.params import Params
from unlearn.stages.context import check_params
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.registry import find_spec

#: Shards, slices and epochs of the digits example; of one model in the pipeline without shards.
_DIGITS_PLAN = Plan(shards=8, slices=3, epochs=60)
_ONE_MODEL = Plan(shards=1, slices=1, epochs=60)


def init_digits(request: InitRequest) -> TableProject:
    """Set up the digits example; return the summary."""
    values = TableParams(
        path=DIGITS_PATH,
        id="id",
        target="digit",
        plan=_ONE_MODEL if request.is_posthoc else _DIGITS_PLAN,
        features=dict.fromkeys(PIXELS, "numeric"),
        classes=list(CLASSES),
        template=request.template,
    )
    key, key_name = choose_key("demo")
    settings = render_table_params(key.check, values)
    root = request.root
    write_ignore_files(root, [f"!/{DIGITS_PATH}"], [DIGITS_PATH])
    start_repositories(root)
    write(root / DIGITS_PATH, digits_csv())
    write_project(root, settings, render_pipeline(request.template))
    return _summary(request, check_params(parse(settings)), ROWS, key=key_name)


def init_table(request: InitRequest) -> TableProject:
    """Set up a project on a user's own table; return the summary.

    Raises
    ------
    InputError
        If the options or the rows are not as they must be; nothing was changed.
    """
    source = request.dataset
    if source is None or request.id is None or request.target is None:
        raise InputError("--dataset needs --id and --target; for text --id, --base and --prompt")
    request.check_template()
    check_files(request)
    root = request.root
    key, key_name = choose_key("unlearn.key")
    csv = find_csv(request, [request.id, request.target])
    schema = SchemaFinder(
        request.id,
        request.target,
        request.subject,
        request.choice(),
        is_csv=csv is not None,
        known_decimal=None if request.decimal is None else request.decimal.value,
    )
    roles, rows = find_roles(request, request.id, schema.see, csv)
    classes = schema.classes
    features = schema.features
    if not features:
        raise InputError(
            f"{source.name} has no columns other than id, subject and target that can be features",
            *(f"column {name!r} was left out: {why}" for name, why in schema.left_out.items()),
        )
    copies = {copied_to("dataset", source): source}
    if request.held_out is not None:
        copies[copied_to("held_out", request.held_out)] = request.held_out
    path, *others = copies
    values = TableParams(
        path=path,
        id=request.id,
        target=request.target,
        plan=_plan(request, rows - schema.target.unlabelled),
        features=features,
        classes=classes,
        roles=roles,
        subject=request.subject,
        holdout=request.holdout_share,
        held_out=others[0] if others else None,
        multiline=request.has_line_ends,
        missing_columns=request.pinned_missing_columns,
        csv=None if csv is None else csv.model_copy(update={"decimal": schema.decimal}),
        missing=schema.choice.missing,
        rare_categories="keep" if request.keeps_rare else "bucket",
        categories=schema.categories or {},
        date_formats=schema.date_formats,
        drop_unlabelled=bool(request.drop_unlabelled),
        model=request.model or "mlp",
        template=request.template,
    )
    settings = render_table_params(key.check, values)
    params = check_params(parse(settings))
    code = params.train.code_path
    if code is not None and not (root / code).is_file():
        raise InputError(f"--model: there is no {code} in {root.name}")
    check_rows(copies, params, key)
    say_about_files(request, values.csv)
    _say_about_columns(schema)
    pipeline_text = render_pipeline(request.template, made_with=code, held_out=bool(others))
    put_in_place(
        root,
        copies,
        key=key if key_name == "unlearn.key" else None,
        settings=settings,
        pipeline_text=pipeline_text,
        hashed=[] if code is None else [code],
    )
    return _summary(request, params, rows, key=key_name, left_out=schema.left_out)


def _say_about_columns(schema: SchemaFinder) -> None:
    for column, reason in schema.left_out.items():
        say(f"note: column {column!r} was left out: {reason}")
    for note in (
        *schema.notes_on_dates(),
        *schema.notes_on_values(),
        *schema.target.notes(),
        *schema.notes_on_categories(),
    ):
        say(f"note: {note}")
    for column in schema.many_categories:
        say(
            f"note: column {column!r} has very many different values; if it is a name or free "
            "text, leave it out with --drop, or remove it from features in schema.yaml"
        )


def _plan(request: InitRequest, rows: int) -> Plan:
    model = request.model or "mlp"
    plan = suggest(
        rows,
        holdout=request.holdout_share,
        can_slice=find_spec(model).can_slice(model),
        shards=1 if request.is_posthoc else request.shards,
        slices=1 if request.is_posthoc else request.slices,
    )
    return plan if request.epochs is None else replace(plan, epochs=request.epochs)


def _summary(
    request: InitRequest,
    params: Params,
    rows: int,
    *,
    key: KeyName,
    left_out: dict[str, str] | None = None,
) -> TableProject:
    return TableProject(
        root=str(request.root),
        rows=rows,
        shards=len(params.sharding.shards),
        slices=params.sharding.slices,
        classes=len(params.dataset.classes),
        features=len(params.dataset.features),
        left_out=left_out or {},
        model=params.train.model,
        template=request.template,
        id_type=params.dataset.id_type or "text",
        subject_type=params.dataset.subject_type,
        identity=Identity(params.dataset.identity or "exact"),
        csv=params.dataset.csv,
        key=key,
    )
