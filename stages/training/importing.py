"""A model from elsewhere as the original: what it has to be, and the folder that holds it.

Weights are read as safetensors, as what `torch.save` wrote of a state dict, or as a skops file;
never as a pickle that could run code.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from unlearn.stages.config.dataset import TENSOR_KINDS
from unlearn.stages.context import Context, PosthocContext
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.preprocessing import unlearned_preprocessor
from unlearn.stages.estimators.registry import estimator_of, find_spec
from unlearn.stages.estimators.spec import RowTransform
from unlearn.stages.estimators.tensor_transform import fit_inputs
from unlearn.stages.project.files import json_bytes
from unlearn.stages.rows.applied import read_applied
from unlearn.stages.rows.epochs import FIRST
from unlearn.stages.rows.shard_file import targets
from unlearn.stages.training.method_record import MethodRows, inputs_digest, is_genuine, read_record
from unlearn.stages.training.shard_model import FILE_NAME as MODEL_FILE
from unlearn.stages.training.shard_model import ShardModel, describe_model, read_shard_model

#: Beside an imported model: which lines of the forget list it honours already.
IMPORT_FILE = "import.json"


#: Kinds of features whose values are numbers that an imported model can have read as they are.
_AS_THEY_ARE = ("numeric", "datetime", "boolean", *TENSOR_KINDS)


@dataclass(frozen=True)
class Imported:
    """An imported model, checked.

    Parameters
    ----------
    files
        What models/original is to hold.
    holdout_accuracy, training_accuracy
        On the held-out rows, and on the others; of a language model the share of answer tokens
        that it gives as the likeliest.
    majority
        Share of the commonest class among the held-out rows; of a language model what its base
        gets right of the others.
    rows
        How many held-out rows there were.
    """

    files: dict[str, bytes]
    holdout_accuracy: float
    training_accuracy: float
    majority: float
    rows: int


def honoured_lines(context: Context) -> frozenset[str]:
    """Return the lines of the forget list that an imported original honours already."""
    epochs = FIRST.with_key(context.key)
    try:
        path = context.project.original / IMPORT_FILE
        content = json.loads(path.read_text(encoding="utf-8"))
        return frozenset(epochs.present(str(line)) or "" for line in content["honours"])
    except (OSError, ValueError, KeyError, TypeError):
        return frozenset()


def import_weights(context: Context, path: Path, training: pa.Table, holdout: pa.Table) -> Imported:
    """Check a file of weights against params.yaml and the dataset.

    Parameters
    ----------
    context
        The project: `train.model` names what the weights are for.
    path
        The file.
    training, holdout
        Rows of the dataset as the `shard` stage splits them.

    Raises
    ------
    InputError
        If the file cannot be read safely, does not fit the model, or answers no better than the
        commonest class does.
    """
    _check_task(context)
    _check_preprocessing(context)
    train = context.params.train
    preprocessor: RowTransform
    if context.layout.shapes:
        # Of no rows, nothing is learned.
        preprocessor = fit_inputs(context.layout.schema.empty_table(), context.layout, train)
    else:
        preprocessor = unlearned_preprocessor(context.layout)
    outputs = context.layout.outputs
    estimator = estimator_of(
        train,
        preprocessor,
        outputs,
        sliced=False,
        code=context.code,
        root=context.project.root,
    )
    weights = _read_weights(context, path)
    description = describe_model(
        train,
        context.layout,
        training.num_rows,
        {**estimator.describe(), "preprocessing": preprocessor.as_json()},
        probable=estimator.has_probabilities,
    )
    model = ShardModel(description, weights)
    note = json_bytes({"schema_version": 1, "honours": []})
    files = {
        MODEL_FILE: json_bytes(description),
        str(description["file"]): weights,
        IMPORT_FILE: note,
    }
    return _checked(context, path.name, model, files, training, holdout)


def import_checkpoint(
    context: Context, folder: Path, training: pa.Table, holdout: pa.Table
) -> Imported:
    """Check a tuned language model against params.yaml and the dataset; see `import_weights`.

    Parameters
    ----------
    context
        The project: `train.model` names what the checkpoint is, `train.options.base` its base.
    folder
        What transformers or PEFT wrote.
    training, holdout
        See `import_weights`.
    """
    from unlearn.stages.training.text_importing import read_checkpoint

    model = read_checkpoint(context, folder, training.num_rows)
    files = {
        MODEL_FILE: json_bytes(model.description),
        str(model.description["file"]): model.weights or b"",
        IMPORT_FILE: json_bytes({"schema_version": 1, "honours": []}),
    }
    return _checked(context, folder.name, model, files, training, holdout)


def import_unlearned(
    context: PosthocContext, method: str, rows: MethodRows, training: pa.Table, holdout: pa.Table
) -> Imported:
    """Take what a method made as the new original, which honours the list as it was applied.

    Parameters
    ----------
    context
        The project.
    method
        One of `unlearn.methods`.
    rows
        The forget set, the retain set and the calibration rows as they stand.
    training, holdout
        See `import_weights`.

    Raises
    ------
    InputError
        If the model is not of the forget set as it stands, or there is none.
    """
    _check_task(context)
    folder, name = context.project.unlearned / method, f"models/unlearned/{method}"
    record = read_record(folder, name)
    if not is_genuine(context.key, folder, record):
        raise InputError(f"{name} is not what its record says", "`unlearn repro` makes it again")
    if record.why_not is not None:
        raise InputError(f"{name} holds no model: {record.why_not}")
    original = read_shard_model(context.project.original, "models/original")
    if record.inputs != inputs_digest(context, record.method, original.digest, rows):
        raise InputError(f"{name} was not made from the current forget set")
    applied = read_applied(context.project)
    if applied is None:
        raise InputError("data/forget_set does not say which forget list was applied")
    lines = {*applied.tokens, *honoured_lines(context)}
    # As the list has them, so that they count with later keys too.
    honours = sorted(map(FIRST.with_key(context.key).written, lines))
    model = read_shard_model(folder, name)
    files = {
        MODEL_FILE: json_bytes(model.description),
        IMPORT_FILE: json_bytes({"schema_version": 1, "honours": honours}),
    }
    if model.weights is not None:
        files[str(model.description["file"])] = model.weights
    return _checked(context, name, model, files, training, holdout)


def _check_task(context: Context) -> None:
    """Refuse regressions: what is checked of an imported model is how often it is right."""
    if context.layout.outputs.is_number:
        raise InputError(
            "a model of a regression cannot be imported: the check of an imported model is for "
            "classifiers",
            "`unlearn repro` trains the original here",
        )


def _check_preprocessing(context: Context) -> None:
    """Refuse what the imported model cannot have learned: scales and categories of our fitting."""
    wanted = {"scale": "none", "impute": "zero"}
    found = context.params.train.preprocessing.model_dump(include=set(wanted))
    # Arrays are neither scaled nor imputed; `train.pixels` says what networks read of pictures.
    has_columns = context.layout.features.keys() != context.layout.shapes.keys()
    if has_columns and found != wanted:
        raise InputError(
            "an imported model reads the dataset's numbers unchanged, but params.yaml scales or "
            "imputes them",
            "set train.preprocessing to {scale: none, impute: zero}, and put the numbers that the "
            "model was trained on into the dataset",
        )
    for name, kind in context.layout.features.items():
        if kind not in _AS_THEY_ARE:
            raise InputError(
                f"column {name!r} is {kind}: how the imported model encodes it is not known",
                "put the numbers that the model was trained on into the dataset",
            )


def _read_weights(context: Context, path: Path) -> bytes:
    model, suffix = context.params.train.model, path.suffix.lower()
    try:
        content = path.read_bytes()
    except OSError:
        raise InputError(f"{path.name} cannot be read") from None
    importers = find_spec(model).importers
    if suffix in importers:
        return importers[suffix](path.name, content, context.layout)
    formats = ", ".join(importers) or "none"
    raise InputError(
        f"{path.name} is in no format for weights of {model}", f"its formats: {formats}"
    )


def _checked(
    context: Context,
    name: str,
    model: ShardModel,
    files: dict[str, bytes],
    training: pa.Table,
    holdout: pa.Table,
) -> Imported:
    """Ask the model about the dataset before it is accepted."""
    if holdout.num_rows == 0:
        raise InputError(
            "no row is held out, so the model cannot be checked", "set sharding.holdout"
        )
    if context.params.modality == "text":
        return _checked_text(context, name, model, files, training, holdout)
    try:
        predictor = model.predictor(
            context.code, context.params.train.trusted_types, context.project.root
        )
        answers = {side: predictor.probabilities(rows) for side, rows in _sides(training, holdout)}
    except InputError as error:
        raise InputError(f"{name}: {error.message}", *error.hints, facts=error.facts) from None
    except (RuntimeError, ValueError):
        raise InputError(f"{name} does not read the columns that schema.yaml names") from None
    classes = len(context.layout.classes)
    if any(found.shape[1] != classes for found in answers.values()):
        raise InputError(
            f"{name} answers with {answers['holdout'].shape[1]} classes, and schema.yaml pins "
            f"{classes}"
        )
    if not all(np.isfinite(found).all() for found in answers.values()):
        raise InputError(f"{name} does not give finite numbers for every row")
    right = {
        side: float(np.mean(answers[side].argmax(axis=1) == targets(rows, context.layout)))
        for side, rows in _sides(training, holdout)
    }
    truth = targets(holdout, context.layout)
    majority = float(np.bincount(truth, minlength=classes).max() / len(truth))
    if right["holdout"] <= majority and classes > 1:
        raise InputError(
            f"{name} is right on {right['holdout']:.1%} of the held-out rows, no more than the "
            f"share of the most common class ({majority:.1%})",
            "are the columns in the order and scale of its training, and the classes in its order?",
            *(
                ["does train.pixels have the mean and std of its training?"]
                if "image" in context.layout.features.values()
                else []
            ),
        )
    return Imported(files, right["holdout"], right.get("training", 0.0), majority, holdout.num_rows)


def _checked_text(
    context: Context,
    name: str,
    model: ShardModel,
    files: dict[str, bytes],
    training: pa.Table,
    holdout: pa.Table,
) -> Imported:
    from unlearn.stages.training.text_importing import token_accuracies

    tuned, unseen, base = token_accuracies(context, model, training, holdout)
    if tuned <= base and training.num_rows:
        raise InputError(
            f"{name} is right on {tuned:.1%} of the dataset's answer tokens, no more than its base "
            f"is ({base:.1%})",
            "is this the model that was fine-tuned on these rows, with the same prompt format?",
        )
    return Imported(files, unseen, tuned, base, holdout.num_rows)


def _sides(training: pa.Table, holdout: pa.Table) -> Iterable[tuple[str, pa.Table]]:
    yield "holdout", holdout
    if training.num_rows:
        yield "training", training
