"""Options of `unlearn init` that do not go together, or would have no effect."""

from dataclasses import fields

from unlearn.cli.init.request.choices import Example
from unlearn.cli.init.request.request import InitRequest
from unlearn.cli.init.request.text_request import TextOptions
from unlearn.stages.errors import InputError

#: Options that describe a dataset, which an example does not take.
_DATASET_OPTIONS = (
    "held_out",
    "in_folder",
    "id",
    "target",
    "weight",
    "task",
    "subject",
    "identity",
    "multiline",
    "delimiter",
    "quote",
    "columns",
    "decimal",
    "encoding",
    "drop",
    "keep",
    "kind",
    "missing",
    "missing_columns",
    "rare_categories",
    "category_texts",
    "drop_unlabelled",
    "shards",
    "slices",
    "holdout",
    "model",
    "raw",
    "trust_type",
    "epochs",
    "size",
    "layers_by_slice",
)

#: Those of them that an example takes.
_OWN_OPTIONS = {Example.AUTHORS: ["--size", "--layers-by-slice"], Example.VISITS: ["--model"]}


def given_options(options: InitRequest | TextOptions) -> list[str]:
    """Return the options with a value, as they are written on the command line.

    Of a whole request, these are the ones that describe a dataset.
    """
    if isinstance(options, TextOptions):
        names = [each.name for each in fields(options)]
        more = []
    else:
        names = list(_DATASET_OPTIONS)
        more = given_options(options.text)
    given = [name for name in names if getattr(options, name) not in (None, (), False)]
    return [*(f"--{name.replace('_', '-')}" for name in given), *more]


def check_options(request: InitRequest) -> None:
    """Check that there is a dataset, and that every option has an effect; nothing is written.

    Raises
    ------
    InputError
        If an option would be ignored.
    """
    if (request.example is None) == (request.dataset is None):
        raise InputError(
            "give either --example digits, visits, shapes or authors, or --dataset FILE",
            "--dataset-out PATH takes an output of DVC in this repository as the dataset",
        )
    given, example = given_options(request), request.example
    if "--size" in given and example is not Example.AUTHORS:
        raise InputError("--size is only for --example authors")
    if request.layers_by_slice and (not request.reads_text or request.is_posthoc):
        raise InputError("--layers-by-slice is for shards of a language model")
    if example is None:
        if {"--held-out", "--holdout"} <= set(given):
            raise InputError("give either --held-out or --holdout: a file of rows, or a share")
        if request.in_folder and request.is_output:
            raise InputError("--in-folder is for a copy of a file: --dataset-out copies nothing")
        if request.in_folder and request.dataset is not None and request.dataset.is_dir():
            raise InputError("--in-folder is for one file: a folder has a nonce in any case")
        if "--missing-columns" in given and request.pinned_missing_columns is None:
            raise InputError("--missing-columns is for a directory of files, not for one file")
        return
    own = _OWN_OPTIONS.get(example, [])
    if ignored := [name for name in given if name not in own]:
        raise InputError(
            f"--example {example} does not accept {', '.join(ignored)}",
            f"it takes {', '.join(['--template', '--ci', *own])}",
        )


def check_template(request: InitRequest) -> None:
    """Check that the template supports the given options.

    Raises
    ------
    InputError
        If shards were given for one model, or held-out rows for shards.
    """
    if request.is_posthoc and (request.shards or 1, request.slices or 1) != (1, 1):
        raise InputError(
            "--template posthoc trains one model: it does not accept --shards and --slices"
        )
    if not request.is_posthoc and request.held_out is not None:
        raise InputError("--held-out needs --template posthoc; with shards use --holdout")
