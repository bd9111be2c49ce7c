"""`unlearn init`: a new project, or one in a repository that exists."""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from unlearn.cli.init.files import (
    DIGITS_PATH,
    POSTHOC,
    SISA,
    Choices,
    copied_to,
    digits_csv,
    parse,
    pipeline,
    render_digits_params,
    render_params,
    template,
)
from unlearn.cli.init.setup import (
    check_rows,
    put_in_place,
    start_repositories,
    write,
    write_gitignore,
    write_project,
)
from unlearn.cli.init.text import (
    AUTHORS_PATH,
    GENERIC_PATH,
    TextFlags,
    TextRequest,
    init_authors,
    init_text,
)
from unlearn.cli.init.text_files import BASE_PATH
from unlearn.cli.output import JsonFlag, emit, plural, progress, say
from unlearn.stages.errors import InputError

if TYPE_CHECKING:
    from unlearn.stages.rows.schema import SchemaFinder

#: Share of rows that are never trained on, where nothing else is asked for.
_HOLDOUT = 0.2

#: Where the help lists what only text has.
_TEXT = "Text for a language model"


class Example(StrEnum):
    """Datasets that come with a library, or are made up."""

    DIGITS = "digits"
    AUTHORS = "authors"


class Template(StrEnum):
    """Pipelines that can be set up."""

    SISA = SISA
    POSTHOC = POSTHOC


class TooLong(StrEnum):
    """What happens to rows that are longer than the context."""

    REFUSE = "refuse"
    TRUNCATE = "truncate"


class CiSystem(StrEnum):
    """Systems that a workflow can be written for."""

    GITHUB = "github"
    GITLAB = "gitlab"


_CI_FILES = {
    CiSystem.GITHUB: (".github/workflows/unlearn.yml", "github.yml"),
    CiSystem.GITLAB: (".gitlab-ci.yml", "gitlab.yml"),
}


def init(
    directory: Annotated[Path, typer.Argument(help="Where; made if missing.")] = Path(),
    example: Annotated[
        Example | None, typer.Option(help="A small public dataset, with a published demo key.")
    ] = None,
    pipeline_template: Annotated[
        Template,
        typer.Option(
            "--template", help="sisa: exact, by shards. posthoc: for one model without shards."
        ),
    ] = Template.SISA,
    dataset: Annotated[
        Path | None,
        typer.Option(help="A CSV, Parquet or JSONL file, or a directory of them."),
    ] = None,
    held_out: Annotated[
        Path | None,
        typer.Option(
            help="posthoc: a file of rows that the model never saw, in place of --holdout."
        ),
    ] = None,
    id_column: Annotated[str | None, typer.Option("--id", help="Column of record ids.")] = None,
    target: Annotated[str | None, typer.Option(help="Column of class labels.")] = None,
    subject: Annotated[
        str | None, typer.Option(help="Column that names the person a record is about.")
    ] = None,
    shards: Annotated[int | None, typer.Option(min=1, help="By default from the rows.")] = None,
    slices: Annotated[int | None, typer.Option(min=1, help="By default from the rows.")] = None,
    holdout: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=0.9, help=f"Share of rows never trained on; by default {_HOLDOUT}."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="mlp (by default), a sklearn. import path, or path/to/net.py:build; of text: "
            "lora (by default) or causal_lm."
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="By default from the rows.")] = None,
    ci: Annotated[CiSystem | None, typer.Option(help="Also write a CI workflow.")] = None,
    base: Annotated[
        str | None,
        typer.Option(help="A checkpoint's folder or hub name.", rich_help_panel=_TEXT),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Commit of a hub name.", rich_help_panel=_TEXT)
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(help="Column of prompts.", rich_help_panel=_TEXT)
    ] = None,
    completion: Annotated[
        str | None, typer.Option(help="Column of their completions.", rich_help_panel=_TEXT)
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="Column of running text, instead.", rich_help_panel=_TEXT)
    ] = None,
    paraphrase: Annotated[
        str | None,
        typer.Option(help="Column of completions in other words.", rich_help_panel=_TEXT),
    ] = None,
    perturbed: Annotated[
        list[str] | None,
        typer.Option(help="Column of wrong completions; again for more.", rich_help_panel=_TEXT),
    ] = None,
    topic: Annotated[
        str | None, typer.Option(help="Public column to route by.", rich_help_panel=_TEXT)
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Tokens that a row may have; by default 512, or what the base reads.",
            rich_help_panel=_TEXT,
        ),
    ] = None,
    too_long: Annotated[
        TooLong | None,
        typer.Option(help="What happens to longer ones; by default refuse.", rich_help_panel=_TEXT),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            help="Of --example authors: tiny (by default), small, medium.", rich_help_panel=_TEXT
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Set up git, DVC and the pipeline for a dataset."""
    root = directory.resolve()
    _check_folder(root, ci, example, pipeline_template)
    workflow = None if ci is None else template(f"ci/{_CI_FILES[ci][1]}")
    if (example is None) == (dataset is None):
        raise InputError("give either --example digits, --example authors or --dataset FILE")
    flags = TextFlags(
        base,
        revision,
        prompt,
        completion,
        text,
        paraphrase,
        tuple(perturbed or ()),
        topic,
        context,
        None if too_long is None else too_long.value,
    )
    options = {
        "--held-out": held_out,
        "--id": id_column,
        "--target": target,
        "--subject": subject,
        "--shards": shards,
        "--slices": slices,
        "--holdout": holdout,
        "--model": model,
        "--epochs": epochs,
        "--size": size,
    }
    _refuse_ignored(example, options | flags.options)
    share = _HOLDOUT if holdout is None else holdout
    source = None if dataset is None else dataset.resolve()
    others = None if held_out is None else held_out.resolve()
    if example is Example.AUTHORS:
        said = init_authors(root, pipeline_template, size or "tiny")
    elif source is None or example is not None:
        said = _init_example(root, pipeline_template)
    elif flags.given:
        if id_column is None or target is not None:
            of_text = [name for name, value in flags.options.items() if value not in (None, ())]
            raise InputError(
                "a dataset of text needs --id, and no --target: rows have no class",
                f"for text alone: {', '.join(of_text)}",
            )
        asked = TextRequest(
            source,
            id_column,
            subject,
            flags,
            pipeline_template,
            model,
            shards,
            slices,
            share,
            others,
            epochs,
        )
        said = init_text(root, asked)
    else:
        if id_column is None or target is None:
            raise InputError("--dataset needs --id and --target; of text, --base and --prompt")
        choices = Choices(
            id_column,
            target,
            subject,
            shards,
            slices,
            share,
            model or "mlp",
            epochs,
            pipeline_template,
            others,
        )
        said = _init_dataset(root, source, _for_template(choices))
    if ci is not None and workflow is not None:
        said["ci"] = _CI_FILES[ci][0]
        write(root / said["ci"], workflow)
    emit(said, as_json=as_json, text=lambda: _describe(said, directory))


def _refuse_ignored(example: Example | None, options: dict[str, object]) -> None:
    """Refuse options that would not be looked at."""
    given = [name for name, value in options.items() if value not in (None, ())]
    if "--size" in given and example is not Example.AUTHORS:
        raise InputError("--size is of --example authors")
    if example is None:
        if {"--held-out", "--holdout"} <= set(given):
            raise InputError("give either --held-out or --holdout: a file of rows, or a share")
        return
    sized = ["--size"] if example is Example.AUTHORS else []
    if beside := [name for name in given if name not in sized]:
        raise InputError(
            f"--example {example.value} is as it is: without {', '.join(beside)}",
            f"it takes {', '.join(['--template', '--ci', *sized])}",
        )


def _check_folder(root: Path, ci: CiSystem | None, example: Example | None, of: Template) -> None:
    """Refuse a folder whose files would be overwritten."""
    if root.exists() and not root.is_dir():
        raise InputError(f"{root.name} is a file")
    taken = ["dvc.yaml", "params.yaml", "unlearn.key", "data/forget_list.txt"]
    taken.append("data/requests.jsonl")
    if example is Example.DIGITS:
        taken.append(DIGITS_PATH)
    elif example is Example.AUTHORS:
        taken += [AUTHORS_PATH, BASE_PATH, f"{BASE_PATH}.dvc"]
        if of is Template.POSTHOC:
            taken.append(GENERIC_PATH)
    if ci is not None:
        taken.append(_CI_FILES[ci][0])
        if any((folder / ".git").exists() for folder in root.parents):
            raise InputError(
                "--ci: workflows are read at the top of a repository, and this is a folder in one"
            )
    for name in taken:
        if (root / name).exists():
            raise InputError(
                f"{name} is there already; nothing was changed",
                "init does not overwrite: choose another folder, or move the file away",
            )


def _init_example(root: Path, of: Template) -> dict[str, Any]:
    from unlearn.stages.rows.tokens import DEMO_KEY, Key

    params_text = render_digits_params(Key(DEMO_KEY).check, of)
    write_gitignore(root, [f"!/{DIGITS_PATH}"])
    start_repositories(root)
    write(root / DIGITS_PATH, digits_csv())
    write_project(root, params_text, pipeline(None, of))
    return _summary(root, params_text, rows=1797)


def _for_template(choices: Choices) -> Choices:
    """Return what the template makes of the choices."""
    if choices.template != POSTHOC:
        if choices.held_out is not None:
            raise InputError("--held-out is for --template posthoc; shards hold out a share")
        return choices
    if (choices.shards or 1, choices.slices or 1) != (1, 1):
        raise InputError("--template posthoc is for one model: without --shards, --slices")
    share = 0.0 if choices.held_out is not None else choices.holdout
    return replace(choices, shards=1, slices=1, holdout=share)


def _init_dataset(root: Path, source: Path, choices: Choices) -> dict[str, Any]:
    import secrets

    from unlearn.cli.init.scaffold import suggest
    from unlearn.stages.config.params import check_params
    from unlearn.stages.config.train import TrainParams
    from unlearn.stages.rows.tokens import Key

    finder = _find_schema(source, choices)
    key = Key(secrets.token_hex(32))
    plan = suggest(
        finder.rows,
        holdout=choices.holdout,
        can_slice=TrainParams.model_construct(model=choices.model).can_slice,
        shards=choices.shards,
        slices=choices.slices,
    )
    if choices.epochs is not None:
        plan = replace(plan, epochs=choices.epochs)
    path = copied_to("dataset", source)
    params_text = render_params(
        key.check,
        path=path,
        choices=choices,
        plan=plan,
        features=dict(finder.features),
        classes=finder.classes,
    )
    params = check_params(parse(params_text))
    if params.train.code_path is not None and not (root / params.train.code_path).is_file():
        raise InputError(f"--model: there is no {params.train.code_path} in {root.name}")
    copies = {path: source}
    if choices.held_out is not None and choices.held_out_path is not None:
        copies[choices.held_out_path] = choices.held_out
    check_rows(copies, params, key)
    for column in finder.many_categories:
        say(
            f"note: column {column!r} has very many different values; if it is a name or free "
            "text, take it out of dataset.features in params.yaml"
        )
    pipeline_text = pipeline(
        params.train.code_path, choices.template, held_out=choices.held_out is not None
    )
    put_in_place(root, copies, key=key.text, params_text=params_text, pipeline_text=pipeline_text)
    return _summary(root, params_text, finder.rows)


def _find_schema(source: Path, choices: Choices) -> "SchemaFinder":
    from unlearn.stages.rows.records import read_batches
    from unlearn.stages.rows.schema import SchemaFinder

    finder = SchemaFinder(choices.id, choices.target, choices.subject)
    with progress("reading rows", None) as advance:
        for batch in read_batches(source, source.name):
            finder.see(batch, source.name)
            advance(batch.num_rows)
    if finder.rows == 0:
        raise InputError(f"{source.name} has no rows")
    if not finder.features:
        raise InputError(f"{source.name} has no column beside id, subject and target")
    return finder


def _summary(root: Path, params_text: bytes, rows: int) -> dict[str, Any]:
    params = parse(params_text)
    return {
        "root": str(root),
        "rows": rows,
        "shards": len(params["sharding"]["shards"]),
        "slices": params["sharding"]["slices"],
        "classes": len(params["dataset"]["classes"]),
        "features": len(params["dataset"]["features"]),
        "model": params["train"]["model"],
        "template": POSTHOC if "unlearn" in params else SISA,
        "key": "demo" if not (root / "unlearn.key").exists() else "unlearn.key",
    }


def _describe(said: dict[str, Any], directory: Path) -> str:
    go = "" if directory == Path() else f"cd {directory} && "
    found = [plural(said["rows"], "row")]
    if "base" in said:
        found.append(f"base {said['base']}")
    else:
        found.append(plural(said["features"], "feature"))
        found.append(plural(said["classes"], "class", "classes"))
    plan = f"{plural(said['shards'], 'shard')} of {plural(said['slices'], 'slice')}"
    if said["template"] == POSTHOC:
        plan = "one model without shards"
    lines = [
        f"{', '.join(found)}: {plan}, model {said['model']}",
        "key: unlearn.key, in no backup yet: keep a copy where secrets are kept"
        if said["key"] != "demo"
        else "key: the published demo key of the example",
        f"next: {go}unlearn repro",
    ]
    if "ci" in said:
        lines.insert(2, f"wrote {said['ci']}; it reads the key from the secret UNLEARN_KEY")
    return "\n".join(lines)
