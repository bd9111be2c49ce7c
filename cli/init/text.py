"""`unlearn init` for a language model: a user's own text and base, or an example made here."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn.cli.init.files import POSTHOC, SISA, copied_to, parse, text_pipeline
from unlearn.cli.init.setup import (
    add_to_dvc,
    check_rows,
    put_in_place,
    refuse_tracked,
    start_repositories,
    write,
    write_gitignore,
    write_project,
)
from unlearn.cli.init.text_files import BASE_PATH, TextChoices, render_text_params
from unlearn.cli.output import plural, progress, say
from unlearn.stages.errors import InputError

if TYPE_CHECKING:
    from unlearn.cli.examples.tiny_base import Example
    from unlearn.stages.config.params import Params

AUTHORS_PATH, GENERIC_PATH = "data/authors.jsonl", "data/generic.jsonl"

#: Tokens that a row may have, where the base reads as many.
_CONTEXT = 512

#: Of the base and of the authors. Another one would be another example.
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


@dataclass(frozen=True)
class TextFlags:
    """What `init` was asked for that only text has."""

    base: str | None = None
    revision: str | None = None
    prompt: str | None = None
    completion: str | None = None
    text: str | None = None
    paraphrase: str | None = None
    perturbed: tuple[str, ...] = ()
    topic: str | None = None
    context: int | None = None
    too_long: str | None = None

    @property
    def given(self) -> bool:
        """Whether the dataset is one of text."""
        return self != TextFlags()

    @property
    def options(self) -> dict[str, object]:
        """The value of each option, by its name on the command line."""
        return {
            f"--{field.name.replace('_', '-')}": getattr(self, field.name) for field in fields(self)
        }

    @property
    def roles(self) -> dict[str, str]:
        """The role of each column that was named, in the order of params.yaml.

        Raises
        ------
        InputError
            If they do not make up rows that can be trained on.
        """
        named = {
            "prompt": self.prompt,
            "completion": self.completion,
            "body": self.text,
            "paraphrase": self.paraphrase,
        }
        columns = [(column, role) for role, column in named.items() if column is not None]
        columns += [(column, "perturbed") for column in self.perturbed]
        if self.topic is not None:
            columns.append((self.topic, "topic"))
        if self.text is not None and (self.prompt or self.completion):
            raise InputError("give either --prompt with --completion, or --text")
        if self.text is None and not (self.prompt and self.completion):
            raise InputError("a dataset of text needs --prompt with --completion, or --text")
        if len({column for column, _ in columns}) != len(columns):
            raise InputError("one column cannot be two things: each option names another one")
        return dict(columns)


@dataclass(frozen=True)
class TextRequest:
    """A user's own text, and what was asked of the project; None to have it chosen."""

    source: Path
    id: str
    subject: str | None
    flags: TextFlags
    template: str
    model: str | None
    shards: int | None
    slices: int | None
    holdout: float
    held_out: Path | None
    epochs: int | None


def init_text(root: Path, asked: TextRequest) -> dict[str, Any]:
    """Set up a project on a user's own text; return what there is to say of it.

    Raises
    ------
    InputError
        If the base or the rows are not as they must be; nothing was changed.
    """
    import secrets

    from unlearn.stages.config.params import check_params
    from unlearn.stages.rows.tokens import Key

    key = Key(secrets.token_hex(32))
    choices = _choices(root, asked)
    source = asked.source
    path = copied_to("dataset", source)
    params_text = render_text_params(key.check, path, choices)
    params = check_params(parse(params_text))
    copies = {path: source}
    if asked.held_out is not None and choices.held_out_path is not None:
        copies[choices.held_out_path] = asked.held_out
    adds_base = choices.base.startswith("models/")
    adds_base &= not (root / f"{choices.base}.dvc").exists()
    if adds_base:
        refuse_tracked(root, [choices.base])
    rows = _check_text(root, copies, params, key)
    if Path(choices.base).is_absolute():
        say(
            f"note: the base is outside the project, at {choices.base}: other machines need it "
            "there. One below models/, tracked by `dvc add`, comes with `dvc pull`"
        )
    put_in_place(
        root,
        copies,
        key=key.text,
        params_text=params_text,
        pipeline_text=text_pipeline(
            choices.template,
            base=_inside(root, choices.base),
            held_out=asked.held_out is not None,
        ),
    )
    if adds_base:
        add_to_dvc(root, [choices.base])  # git ignores what is there
    return _summary(root, params, rows, key="unlearn.key")


def init_authors(root: Path, template: str, size: str) -> dict[str, Any]:
    """Set up the example: a base made here of public authors, and private ones to tune it on.

    Raises
    ------
    InputError
        If there is no such size, or the libraries are not installed; nothing was changed.
    """
    from unlearn.cli.examples.tiny_base import SIZES, example_files
    from unlearn.stages.config.params import check_params
    from unlearn.stages.project.files import scratch_folder
    from unlearn.stages.rows.tokens import DEMO_KEY, Key
    from unlearn.stages.text.base import pin_files, require_libraries

    require_libraries()
    if size not in SIZES:
        raise InputError(f"--size: there is no size {size!r}", f"sizes: {', '.join(SIZES)}")
    refuse_tracked(root, [BASE_PATH])
    write_gitignore(root, [f"!/{AUTHORS_PATH}", f"!/{GENERIC_PATH}"])
    with scratch_folder(root / ".unlearn/scratch/base") as scratch:
        say(f"training a base of size {size} on public authors")
        example = example_files(scratch / "base", size, _EXAMPLE_SEED)
        files = pin_files(scratch / "base", "the base")
        for name in files:
            write(root / BASE_PATH / name, (scratch / "base" / name).read_bytes())
    choices = _example_choices(template, files, example)
    params_text = render_text_params(Key(DEMO_KEY).check, AUTHORS_PATH, choices)
    start_repositories(root)
    write(root / AUTHORS_PATH, example.dataset)
    if template == POSTHOC:
        write(root / GENERIC_PATH, example.generic)
    write_project(root, params_text, text_pipeline(template, base=BASE_PATH, generic=GENERIC_PATH))
    add_to_dvc(root, [BASE_PATH])
    return _summary(root, check_params(parse(params_text)), example.rows, key="demo")


def _example_choices(template: str, files: dict[str, str], example: "Example") -> TextChoices:
    from unlearn.cli.examples.authors import PERTURBED
    from unlearn.cli.examples.tiny_base import CONTEXT, MEMORISED

    features = {"prompt": "prompt", "completion": "completion", "paraphrase": "paraphrase"}
    features |= {f"perturbed_{number}": "perturbed" for number in range(1, PERTURBED + 1)}
    sharded = template == SISA
    # All authors at once are more than an adapter of this rank takes in on so small a base.
    tuning = example.lora if sharded else example.full
    return TextChoices(
        id="id",
        subject="author",
        features=features | {"topic": "topic"},
        base=BASE_PATH,
        files=files,
        template=template,
        model="lora" if sharded else "causal_lm",
        shards=_EXAMPLE_SHARDS if sharded else 1,
        slices=_EXAMPLE_SLICES if sharded else 1,
        epochs=tuning.epochs,
        batch=tuning.batch,
        rate=tuning.rate,
        context=CONTEXT,
        device="cpu",
        generic=GENERIC_PATH,
        gate=MEMORISED,
        unlearn_rate=_UNLEARN_RATES * example.full.rate,
        unlearn_batch=_UNLEARN_BATCH,
        settings=_SETTINGS,
    )


def _choices(root: Path, asked: TextRequest) -> TextChoices:
    from unlearn.cli.init.scaffold import suggest_text
    from unlearn.stages.config.text import LANGUAGE_MODELS
    from unlearn.stages.text.base import commit_of, locate, longest, pin_files, require_libraries

    flags, posthoc = asked.flags, asked.template == POSTHOC
    features = flags.roles
    if flags.base is None:
        raise InputError(
            "a dataset of text needs --base: a checkpoint's folder, or a name on the hub"
        )
    require_libraries()
    model = asked.model or "lora"
    if model not in LANGUAGE_MODELS:
        raise InputError(f"--model {model} does not read text: take {' or '.join(LANGUAGE_MODELS)}")
    if posthoc and (asked.shards or 1, asked.slices or 1) != (1, 1):
        raise InputError("--template posthoc is for one model: without --shards, --slices")
    if not posthoc and asked.held_out is not None:
        raise InputError("--held-out is for --template posthoc; shards hold out a share")
    base = _name_of(root, flags.base)
    is_here = (root / base).is_dir()
    if is_here and flags.revision is not None:
        raise InputError(f"--revision is for a name on the hub, and {flags.base} is a folder")
    folder = locate(base, root, flags.revision)
    files = pin_files(folder, f"the base {flags.base}")
    single = posthoc or model == "causal_lm"
    plan = suggest_text(
        _count(asked.source),
        holdout=asked.holdout,
        shards=1 if single else asked.shards,
        slices=1 if posthoc else asked.slices,
    )
    return TextChoices(
        id=asked.id,
        subject=asked.subject,
        features=features,
        base=base,
        files=files,
        # Whatever a branch's name stands for later, the files are those of this commit.
        revision=None if is_here else commit_of(folder) or flags.revision,
        template=asked.template,
        model=model,
        shards=(asked.shards or 1) if single else plan.shards,
        slices=plan.slices,
        holdout=0.0 if asked.held_out is not None else asked.holdout,
        held_out=asked.held_out,
        epochs=asked.epochs or plan.epochs,
        context=flags.context or min(_CONTEXT, longest(folder) or _CONTEXT),
        too_long=flags.too_long or "refuse",
    )


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


def _count(source: Path) -> int:
    from unlearn.stages.rows.records import read_batches

    with progress("reading rows", None) as advance:
        rows = 0
        for batch in read_batches(source, source.name):
            rows += batch.num_rows
            advance(batch.num_rows)
    if rows == 0:
        raise InputError(f"{source.name} has no rows")
    return rows


def _check_text(root: Path, copies: dict[str, Path], params: "Params", key: Any) -> int:
    """Check the rows as the stages will, and whether the base can read them; return how many."""
    import pyarrow as pa
    import torch
    from unlearn.stages.rows.shard_file import Layout
    from unlearn.stages.text.base import (
        check_causal,
        check_fit,
        find_base,
        load_module,
        load_tokenizer,
    )
    from unlearn.stages.text.encoding import Encoder

    options = params.train.language
    tables = check_rows(copies, params, key)
    folder = find_base(options, root)
    tokenizer = load_tokenizer(folder)
    module = load_module(folder, options, torch.device("cpu"), half=True)
    check_fit(tokenizer, module)
    check_causal(module)
    encoder = Encoder(tokenizer, options, Layout.of(params.dataset))
    rows = pa.concat_tables(tables)
    truncated = encoder.encode(rows).truncated
    if truncated:
        say(f"note: {plural(truncated, 'row')} will be truncated to {options.context} tokens")
    return int(rows.num_rows)


def _summary(root: Path, params: "Params", rows: int, *, key: str) -> dict[str, Any]:
    return {
        "root": str(root),
        "rows": rows,
        "shards": len(params.sharding.shards),
        "slices": params.sharding.slices,
        "base": params.train.language.base,
        "model": params.train.model,
        "template": SISA if params.kind == "exact" else POSTHOC,
        "key": key,
    }
