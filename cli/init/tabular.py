"""`unlearn init` for a table: a user's own dataset, or an example."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from math import prod
from pathlib import Path

import pyarrow as pa
from unlearn.cli.canary import plant
from unlearn.cli.examples import visits
from unlearn.cli.init.answer import KeyName, TableProject
from unlearn.cli.init.checks.options import check_template
from unlearn.cli.init.checks.rows import check_rows
from unlearn.cli.init.dataset.csv_format import find_csv
from unlearn.cli.init.dataset.file_notes import check_files, say_about_files
from unlearn.cli.init.dataset.ranges import columns_with_ranges, find_ranges
from unlearn.cli.init.dataset.roles import find_roles
from unlearn.cli.init.files.params import TableParams
from unlearn.cli.init.files.pipeline import render_pipeline
from unlearn.cli.init.files.settings import parse, render_table_params
from unlearn.cli.init.key import choose_key
from unlearn.cli.init.model.exact_models import (
    EXACT_MODELS,
    choose_model,
    first_options,
    is_of_sets,
)
from unlearn.cli.init.model.own_estimators import look_at, needs_trial, try_model
from unlearn.cli.init.repository.copies import copies_of, outputs_of, write_dataset
from unlearn.cli.init.repository.ignore_files import write_ignore_files
from unlearn.cli.init.repository.placing import put_in_place, write_project
from unlearn.cli.init.repository.repositories import add_to_dvc, start_repositories
from unlearn.cli.init.request.choices import Example, Identity
from unlearn.cli.init.request.request import InitRequest
from unlearn.cli.init.scaffold import Plan, suggest, suggest_by_time
from unlearn.cli.init.table_examples import EXAMPLES
from unlearn.cli.output import say
from unlearn.stages.columns.column_notes import notes_on_kinds
from unlearn.stages.columns.schema_finder import SchemaFinder
from unlearn.stages.columns.target_scale import find_scale
from unlearn.stages.config.dataset import TargetScale
from unlearn.stages.config.params import Params
from unlearn.stages.context import check_params, open_project, with_category_key
from unlearn.stages.erasure.dataset.nonce import confirm_nonce
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.registry import find_spec
from unlearn.stages.estimators.spec import TrainingSize
from unlearn.stages.project.paths import Project
from unlearn.stages.reading.picture_files import PictureFolder
from unlearn.stages.rows.shard_file import TARGET, target_numbers

#: Stands for the categories of a feature that are not pinned.
_SOME_CATEGORIES = "0123456789"

#: Stands for the plan while it is not known yet.
_ONE_MODEL = Plan(shards=1, slices=1, epochs=1)


def init_example(request: InitRequest, name: Example) -> TableProject:
    """Set up an example that is a table; return the summary."""
    example = EXAMPLES[name]
    values = replace(example.params, template=request.template)
    if request.model is not None:
        if request.is_posthoc:
            raise InputError("--example visits accepts --model for the exact template only")
        values = _with_exact_model(values, request.model, example.rows)
    if request.is_posthoc or request.model is not None:
        values = replace(values, plan=replace(values.plan, shards=1, slices=1))
    key, key_name = choose_key("demo")
    settings = render_table_params(key.check, values)
    root = request.root
    tracked = [] if example.is_kept_by_dvc else [values.path]
    write_ignore_files(root, [f"!/{path}" for path in tracked], tracked)
    start_repositories(root)
    write_dataset(root / values.path, example.files())
    write_project(root, settings, render_pipeline(request.template))
    if example.is_kept_by_dvc:
        add_to_dvc(root, [values.path])
        confirm_nonce(Project(root), (values.path,))
    if example.canaries and not request.is_posthoc:
        plant(open_project(Project(root)), example.canaries)
    return _summary(
        request,
        check_params(parse(settings)),
        example.rows,
        key=key_name,
        plain_training=(
            None
            if request.is_posthoc or request.model is not None
            else _plain_training(values, example.rows)
        ),
    )


def _with_exact_model(values: TableParams, model: str, rows: int) -> TableParams:
    """Return the settings of the visits with a model of a set of rows."""
    if model not in EXACT_MODELS:
        raise InputError(
            f"--example visits does not accept --model {model}",
            f"it takes {', '.join(EXACT_MODELS)}; without --model, it has shards of an mlp",
        )
    training = round(rows * (1 - values.holdout))
    options = first_options(model, values.features, training, len(values.classes))
    ends = {name: list(pair) for name, pair in visits.RANGES.items()}
    return replace(values, model=model, options=options | {"range": ends})


def _plain_training(values: TableParams, rows: int) -> float | None:
    """Return about how long one plain model trains on all rows; None if that is not known."""
    spec = find_spec(values.model)
    return spec.seconds(
        TrainingSize(
            model=values.model,
            rows=max(1, round(rows * (1 - values.holdout))),
            inputs=(
                len(values.features)
                if spec.native
                else _inputs(values.features, values.categories, values.shapes)
            ),
            classes=len(values.classes),
            epochs=values.plan.epochs,
            batch=values.batch,
            options=values.options,
        )
    )


def init_table(request: InitRequest) -> TableProject:
    """Set up a project on a user's own table; return the summary.

    Raises
    ------
    InputError
        If the options or the rows are not as they must be; nothing was changed.
    """
    source = request.dataset
    if source is None or request.id is None or request.target is None:
        raise InputError("--dataset needs --id and --target; for text and chats --id and --base")
    check_template(request)
    check_files(request)
    root = request.root
    key, key_name = choose_key("unlearn.key")
    csv = find_csv(request, [request.id, request.target, *filter(None, [request.weight])])
    pictures = PictureFolder.of(source, source.name)
    schema = SchemaFinder(
        request.id,
        request.target,
        request.subject,
        request.choice(),
        is_csv=csv is not None,
        known_decimal=None if request.decimal is None else request.decimal.value,
        weight_column=request.weight,
        pictures=pictures,
    )
    roles, rows = find_roles(request, request.id, schema.see, csv)
    task, features = schema.task, schema.features
    if not features:
        raise InputError(
            f"{source.name} has no columns other than id, subject and target that can be features",
            *(f"column {name!r} was left out: {why}" for name, why in schema.left_out.items()),
        )
    shapes = schema.arrays.shapes
    _refuse_loose_pictures(source, schema)
    copies = copies_of(request)
    path, *others = copies
    model, why = choose_model(request, features, shapes)
    own = look_at(request, model, task)
    model = own.model
    find_spec(model).check_installed()
    values = TableParams(
        path=path,
        id=request.id,
        target=request.target,
        weight=request.weight,
        plan=_ONE_MODEL,
        features=features,
        classes=schema.classes,
        task=task,
        target_scale=TargetScale() if task == "regression" else None,
        roles=roles,
        subject=request.subject,
        holdout=request.holdout_share,
        held_out=others[0] if others else None,
        multiline=request.has_line_ends,
        missing_columns=request.pinned_missing_columns,
        csv=None if csv is None else csv.model_copy(update={"decimal": schema.decimal}),
        shapes=shapes,
        resized=tuple(schema.arrays.resized),
        missing=schema.choice.missing,
        rare_categories="keep" if request.keeps_rare else "bucket",
        categories=schema.categories,
        hashed_columns=dict(schema.choice.hashed_columns),
        date_formats=schema.date_formats,
        category_texts=request.category_texts,
        drop_unlabelled=bool(request.drop_unlabelled),
        model=model,
        raw=own.raw,
        trusted_types=own.trusted_types,
        rule=own.rule,
        template=request.template,
    )
    numbers = columns_with_ranges(model, features)
    labelled = rows - schema.target.without_target(task)
    training = (1 - values.holdout) * labelled / (request.shards or 1)
    first = first_options(model, features, round(training), len(values.classes))
    values = replace(values, options=values.options | first)
    plan, expected = _plan(request, values, labelled)
    settings = render_table_params(key.check, replace(values, plan=plan))
    params = with_category_key(check_params(parse(settings)), key)
    code = params.train.code_path
    look = partial(try_model, params, key, root) if needs_trial(model) else None
    scaled = [TARGET] if task == "regression" else []
    tables = check_rows(copies, params, key, [*numbers, *scaled], look=look)
    if numbers or scaled:
        values = _with_scales(replace(values, plan=plan), tables, numbers)
        settings = render_table_params(key.check, values)
        params = with_category_key(check_params(parse(settings)), key)
    pipeline_text = render_pipeline(
        request.template, made_with=code, held_out=bool(others), task=task
    )
    put_in_place(
        root,
        copies,
        key=key if key_name == "unlearn.key" else None,
        settings=settings,
        pipeline_text=pipeline_text,
        hashed=[] if code is None else [code],
        outputs=outputs_of(request),
    )
    say_about_files(request, values.csv)
    _say_about_columns(schema)
    is_decided = request.shards is not None or request.is_posthoc or is_of_sets(model)
    if expected is None and not is_decided:
        say(
            f"note: how long {values.model} trains is not known, so the number of shards follows "
            "from the rows alone (--shards sets another number)"
        )
    summary = _summary(
        request, params, rows, key=key_name, left_out=schema.left_out, plain_training=expected
    )
    return summary.model_copy(update={"why_model": why})


def _refuse_loose_pictures(source: Path, schema: SchemaFinder) -> None:
    """Refuse a dataset of one file whose pictures are other files: DVC would not keep them."""
    if schema.arrays.paths and not source.is_dir():
        raise InputError(
            f"column {min(schema.arrays.paths)!r} of {source.name} names pictures, which are in "
            "files of their own",
            "give the folder that has the file and the pictures: --dataset FOLDER",
        )


def _with_scales(values: TableParams, tables: list[pa.Table], numbers: list[str]) -> TableParams:
    """Return the settings with what is pinned by all rows: the scales of numbers."""
    if numbers:
        values = replace(values, options=values.options | {"range": find_ranges(tables, numbers)})
    if values.task == "regression":
        values = replace(values, target_scale=find_scale(map(target_numbers, tables)))
    return values


def _say_about_columns(schema: SchemaFinder) -> None:
    say("features by kind (--kind COLUMN=KIND chooses another one):")
    for line in notes_on_kinds(schema.features):
        say(f"  {line}")
    for column, reason in schema.left_out.items():
        say(f"note: column {column!r} was left out: {reason}")
    for note in (
        *schema.arrays.notes(),
        *schema.notes_on_dates(),
        *schema.notes_on_values(),
        *schema.target.notes(schema.decimal),
        *schema.notes_on_categories(),
    ):
        say(f"note: {note}")
    for column in schema.many_categories:
        say(
            f"note: column {column!r} has very many different values; if it is a name or free "
            "text, leave it out with --drop, or remove it from features in schema.yaml"
        )


def _plan(request: InitRequest, values: TableParams, rows: int) -> tuple[Plan, float | None]:
    """Return the plan, and the seconds of one plain training that it follows from."""
    model = values.model
    spec = find_spec(model)

    def plan(shards: int | None) -> Plan:
        found = suggest(
            rows,
            holdout=request.holdout_share,
            can_slice=spec.can_slice(model),
            shards=shards,
            slices=1 if request.is_posthoc else request.slices,
            most=spec.most_shards,
        )
        return found if request.epochs is None else replace(found, epochs=request.epochs)

    shards = 1 if request.is_posthoc else request.shards
    if shards is None and is_of_sets(model):
        shards = 1
    return suggest_by_time(
        plan,
        lambda one: _plain_training(replace(values, plan=one), rows),
        shards=shards,
        slices=request.slices,
    )


def _inputs(
    features: Mapping[str, str],
    pinned: Mapping[str, list[str]],
    shapes: Mapping[str, tuple[int, ...]],
) -> int:
    """Return about how many numbers a model reads: one for each category, and for each pixel."""
    return sum(
        prod(shapes.get(name, ()))
        if kind != "categorical"
        else max(1, len(pinned.get(name, _SOME_CATEGORIES)))
        for name, kind in features.items()
    )


def _summary(
    request: InitRequest,
    params: Params,
    rows: int,
    *,
    key: KeyName,
    left_out: dict[str, str] | None = None,
    plain_training: float | None = None,
) -> TableProject:
    return TableProject(
        root=str(request.root),
        rows=rows,
        shards=len(params.sharding.shards),
        slices=params.sharding.slices,
        plain_training=plain_training,
        task=params.dataset.task,
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
