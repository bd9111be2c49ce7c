"""`unlearn init` for a language model: a user's own text and base, or made-up authors."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from unlearn.cli.examples.authors import AUTHORS_PATH, BASE_PATH, GENERIC_PATH, PERTURBED
from unlearn.cli.examples.tiny_base import CONTEXT, MEMORISED, SIZES, Example, example_files
from unlearn.cli.init.answer import KeyName, TextProject
from unlearn.cli.init.checks.options import check_template, given_options
from unlearn.cli.init.checks.rows import check_rows
from unlearn.cli.init.dataset.csv_format import find_csv
from unlearn.cli.init.dataset.file_notes import check_files, say_about_files
from unlearn.cli.init.dataset.roles import Roles, find_roles
from unlearn.cli.init.dataset.text_columns import say_about_columns, with_text_columns
from unlearn.cli.init.files.params import TextParams
from unlearn.cli.init.files.pipeline import render_pipeline
from unlearn.cli.init.files.settings import parse, render_text_params
from unlearn.cli.init.key import choose_key
from unlearn.cli.init.repository.copies import copies_of, outputs_of
from unlearn.cli.init.repository.ignore_files import write_ignore_files
from unlearn.cli.init.repository.placing import put_in_place, write_project
from unlearn.cli.init.repository.repositories import add_to_dvc, refuse_tracked, start_repositories
from unlearn.cli.init.request.choices import AdapterRule, Identity, TooLong
from unlearn.cli.init.request.request import InitRequest
from unlearn.cli.init.scaffold import Plan, suggest_text
from unlearn.cli.output import plural, say
from unlearn.stages.config.params import Params
from unlearn.stages.config.text import LoraOptions
from unlearn.stages.context import check_params
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.layer_groups import layer_groups
from unlearn.stages.estimators.registry import find_spec, specs, text_options
from unlearn.stages.project.files import scratch_folder, write_bytes
from unlearn.stages.rows.shard_file import Layout
from unlearn.stages.rows.tokens import Key
from unlearn.stages.shard.chats import chat_problems
from unlearn.stages.text.adapters import resolve_targets
from unlearn.stages.text.base import (
    check_causal,
    check_fit,
    commit_of,
    find_base,
    load_module,
    load_tokenizer,
    locate,
    pin_files,
    require_libraries,
)
from unlearn.stages.text.context_length import longest
from unlearn.stages.text.encoding import Encoder

#: Tokens that a row may have, where the base reads as many.
_CONTEXT = 512

#: Of the example's base and authors: another seed would be another example.
_EXAMPLE_SEED = 1

#: Shards and slices of the example: four authors a shard.
_EXAMPLE_SHARDS, _EXAMPLE_SLICES = 8, 2

#: What makes methods forget on models as small as the example's (docs/language-models.md): the
#: defaults are those of their papers, for a billion parameters and more.
_UNLEARN_BATCH = 8
#: Times the rate that all weights are tuned at: an adapter takes more.
_UNLEARN_RATES = 2
_SETTINGS: dict[str, dict[str, Any]] = {
    "npo": {"alpha": 0.1},
    "simnpo": {"delta": 2.0, "alpha": 0.25},
    "idk_dpo": {"beta": 0.05},
    "rmu": {"alpha": 0.05, "strength": 6.0},
    "task_vector": {"scale": 16.0},
}


def init_text(request: InitRequest) -> TextProject:
    """Set up a project on a user's own text; return the summary.

    Raises
    ------
    InputError
        If the options, the base or the rows are not as they must be; nothing was changed.
    """
    if request.dataset is None or request.id is None or request.target is not None:
        raise InputError(
            "a dataset of text needs --id, and no --target: rows have no class",
            f"only for text: {', '.join(given_options(request.text))}",
            "--id names the column with an id of each row: requests name rows by it",
        )
    for option, given in (
        ("--weight", request.weight),
        ("--drop", request.drop),
        ("--keep", request.keep),
        ("--missing", request.missing),
        ("--kind", request.kind),
        ("--rare-categories", request.rare_categories),
        ("--category-texts", request.category_texts),
        ("--drop-unlabelled", request.drop_unlabelled),
    ):
        if given:
            raise InputError(
                f"{option} is for tables; of a dataset of text, only named columns are read"
            )
    check_files(request)
    root = request.root
    key, key_name = choose_key("unlearn.key")
    copies = copies_of(request)
    values = _params(request, request.id)
    settings = render_text_params(key.check, values)
    params = check_params(parse(settings))
    base = values.base
    adds_base = base.startswith("models/") and not (root / f"{base}.dvc").exists()
    if adds_base:
        refuse_tracked(root, [base])
    rows = _check_text(root, copies, params, key)
    say_about_files(request, values.csv)
    say_about_columns(request, values.features)
    if Path(base).is_absolute():
        say(
            f"note: the base is outside the project, at {base}: other machines need it at the "
            "same path. A base below models/ that DVC tracks is fetched by `dvc pull`"
        )
    pipeline_text = render_pipeline(
        request.template,
        is_text=True,
        made_with=_inside(root, base),
        held_out=request.held_out is not None,
        layers_by_slice=request.layers_by_slice,
    )
    inside = _inside(root, base)
    put_in_place(
        root,
        copies,
        key=key if key_name == "unlearn.key" else None,
        settings=settings,
        pipeline_text=pipeline_text,
        hashed=[] if inside is None else [f"{inside}/"],
        outputs=outputs_of(request),
    )
    if adds_base:
        add_to_dvc(root, [base])  # git ignores what is there
    return _summary(request, params, rows, key=key_name)


def init_authors(request: InitRequest) -> TextProject:
    """Set up the example: a base made here of public authors, and private ones to tune it on.

    Raises
    ------
    InputError
        If there is no such size, or the libraries are not installed; nothing was changed.
    """
    root, size = request.root, request.size or "tiny"
    require_libraries()
    if size not in SIZES:
        raise InputError(f"--size: there is no size {size!r}", f"sizes: {', '.join(SIZES)}")
    refuse_tracked(root, [BASE_PATH])
    key, key_name = choose_key("demo")
    public = [AUTHORS_PATH, GENERIC_PATH]
    write_ignore_files(root, [f"!/{path}" for path in public], public)
    with scratch_folder(root / ".unlearn/scratch/base") as scratch:
        say(f"training a base of size {size} on public authors")
        example = example_files(scratch / "base", size, _EXAMPLE_SEED)
        files = pin_files(scratch / "base", "the base")
        for name in files:
            write_bytes(root / BASE_PATH / name, (scratch / "base" / name).read_bytes())
    settings = render_text_params(key.check, _example_params(request, files, example))
    start_repositories(root)
    write_bytes(root / AUTHORS_PATH, example.dataset)
    if request.is_posthoc:
        write_bytes(root / GENERIC_PATH, example.generic)
    pipeline_text = render_pipeline(
        request.template,
        is_text=True,
        made_with=BASE_PATH,
        generic=GENERIC_PATH,
        layers_by_slice=request.layers_by_slice,
    )
    write_project(root, settings, pipeline_text)
    add_to_dvc(root, [BASE_PATH])
    return _summary(request, check_params(parse(settings)), example.rows, key=key_name)


def _example_params(request: InitRequest, files: dict[str, str], example: Example) -> TextParams:
    roles = ["prompt", "completion", "paraphrase"]
    features = dict(zip(roles, roles, strict=True))
    features |= {f"perturbed_{number}": "perturbed" for number in range(1, PERTURBED + 1)}
    posthoc = request.is_posthoc
    # All authors at once are more than an adapter of this rank takes in on so small a base.
    tuning = example.full if posthoc else example.lora
    shards, slices = (1, 1) if posthoc else (_EXAMPLE_SHARDS, _EXAMPLE_SLICES)
    return TextParams(
        path=AUTHORS_PATH,
        id="id",
        roles=Roles(subject_type="text"),
        subject="author",
        features=features | {"topic": "topic"},
        base=BASE_PATH,
        files=files,
        template=request.template,
        model="causal_lm" if posthoc else "lora",
        plan=Plan(shards, slices, tuning.epochs),
        batch=tuning.batch,
        rate=tuning.rate,
        context=CONTEXT,
        device="cpu",
        generic=GENERIC_PATH,
        gate=MEMORISED,
        unlearn_rate=_UNLEARN_RATES * example.full.rate,
        unlearn_batch=_UNLEARN_BATCH,
        settings=_SETTINGS,
        layers_by_slice=request.layers_by_slice,
    )


def _params(request: InitRequest, id_: str) -> TextParams:
    request = with_text_columns(request, id_)
    root, options = request.root, request.text
    path, *others = copies_of(request)
    if options.base is None:
        raise InputError(
            "a dataset of text needs --base: a checkpoint's folder, or a name on the hub"
        )
    require_libraries()
    model = request.model or "lora"
    if find_spec(model).modality != "text":
        reading = [name for spec in specs() if spec.modality == "text" for name in spec.models]
        raise InputError(f"--model {model} does not read text: use {' or '.join(reading)}")
    check_template(request)
    if options.rule is not None and request.is_posthoc:
        raise InputError("--rule is for the adapters of shards, and --template posthoc has none")
    base = _name_of(root, options.base)
    is_here = (root / base).is_dir()
    if is_here and options.revision is not None:
        raise InputError(f"--revision is for a name on the hub, and {options.base} is a folder")
    folder = locate(base, root, options.revision)
    features = request.text.roles
    csv = find_csv(request, [id_, *features])
    roles, rows = find_roles(request, id_, csv=csv)
    return TextParams(
        path=path,
        id=id_,
        roles=roles,
        subject=request.subject,
        features=features,
        base=base,
        files=pin_files(folder, f"the base {options.base}"),
        # Whatever a branch's name stands for later, the files are those of this commit.
        revision=None if is_here else commit_of(folder) or options.revision,
        template=request.template,
        model=model,
        plan=_plan(request, model, rows),
        holdout=request.holdout_share,
        held_out=others[0] if others else None,
        multiline=request.has_line_ends,
        missing_columns=request.pinned_missing_columns,
        csv=csv,
        context=options.context or min(_CONTEXT, longest(folder) or _CONTEXT),
        too_long=(options.too_long or TooLong.REFUSE).value,
        rule=(options.rule or AdapterRule.MEAN).value,
        layers_by_slice=request.layers_by_slice,
    )


def _plan(request: InitRequest, model: str, rows: int) -> Plan:
    single = request.is_posthoc or model == "causal_lm"
    plan = suggest_text(
        rows,
        holdout=request.holdout_share,
        shards=1 if single else request.shards,
        slices=1 if request.is_posthoc else request.slices,
    )
    # Shards that one model cannot have are refused with the other settings.
    shards = (request.shards or 1) if single else plan.shards
    return Plan(shards, plan.slices, request.epochs or plan.epochs)


def _name_of(root: Path, base: str) -> str:
    """Return what params.yaml is to call a base: relative to the project where it is in it."""
    folder = Path(base).expanduser()
    if not folder.is_dir():
        return base
    folder = folder.resolve()
    return folder.relative_to(root).as_posix() if folder.is_relative_to(root) else str(folder)


def _inside(root: Path, base: str) -> str | None:
    """Return a base's path where it is in the project: what DVC can watch."""
    return base if not Path(base).is_absolute() and (root / base).is_dir() else None


def _check_text(root: Path, copies: dict[str, Path], params: Params, key: Key) -> int:
    """Check the rows as the stages will, and whether the base can read them; return how many."""
    options = text_options(params.train)
    problems = chat_problems(params, root)
    tables = check_rows(copies, params, key, params.dataset.features, problems=problems)
    folder = find_base(options, root)
    tokenizer = load_tokenizer(folder)
    module = load_module(folder, options, torch.device("cpu"), half=True)
    check_fit(tokenizer, module)
    check_causal(module)
    if isinstance(options, LoraOptions) and options.layers_by_slice:
        layer_groups(resolve_targets(module, options.targets), params.sharding.slices)
    encoder = Encoder(tokenizer, options, Layout.of(params.dataset))
    rows = pa.concat_tables(tables)
    truncated = encoder.encode(rows).truncated
    if truncated:
        say(f"note: {plural(truncated, 'row')} will be truncated to {options.context} tokens")
    return int(rows.num_rows)


def _summary(request: InitRequest, params: Params, rows: int, *, key: KeyName) -> TextProject:
    return TextProject(
        root=str(request.root),
        rows=rows,
        shards=len(params.sharding.shards),
        slices=params.sharding.slices,
        base=text_options(params.train).base,
        model=params.train.model,
        template=request.template,
        id_type=params.dataset.id_type or "text",
        subject_type=params.dataset.subject_type,
        identity=Identity(params.dataset.identity or "exact"),
        csv=params.dataset.csv,
        key=key,
    )
